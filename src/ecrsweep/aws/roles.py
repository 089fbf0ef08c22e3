"""The role of an account that is not ours: its name, and the credentials of it that a session signs with.

STS lets one who is trusted assume it for an hour, and botocore renews what it gave before it ends. An hour is what a role
gives that was itself reached through a role, so nobody need know how the caller came by its credentials.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

import re
import time
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Final

import msgspec
from botocore.credentials import AssumeRoleCredentialFetcher, CredentialProvider, DeferredRefreshableCredentials

from ecrsweep.aws.errors import code_of, translated
from ecrsweep.aws.session import AwsSession
from ecrsweep.core.accounts import Member
from ecrsweep.core.errors import (
    AwsFailure,
    BadInput,
    CallerFailure,
    CredentialsFailure,
    Denied,
    RoleForbidden,
    RoleRefused,
    RoleRegionDisabled,
    RoleUnreachable,
    Unreachable,
)

ASSUME_ACTIONS: Final = ("sts:AssumeRole",)
"""What assuming a role needs of IAM, on the role, in the account of the caller."""

_SECONDS: Final = 3600
_REMEMBERED: Final = 60.0
"""For so many seconds a refusal holds: a run asks an account thousands of things, and STS answers all of them alike."""
_LONGEST_SESSION_NAME: Final = 64
_ARN: Final = re.compile(r"arn:(?P<partition>[a-z0-9-]+):iam::(?P<account>[0-9]{12}):role/(?P<name>.+)")
_NAME: Final = re.compile(r"(?:[\x21-\x2e\x30-\x7e]+/)*[A-Za-z0-9_+=,.@-]{1,64}")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}")
_POLICY_ABOVE: Final = re.compile(r"(service|resource) control policy")


class Role(msgspec.Struct, frozen=True):
    """A role of an account; `name` with its path, if it has one: `service-role/ecrsweep`."""

    partition: str
    account: str
    name: str
    external_id: str | None = None

    @property
    def arn(self) -> str:
        """The name by which it is assumed."""
        return f"arn:{self.partition}:iam::{self.account}:role/{self.name}"


def role_of(text: str, *, partition: str, account: str | None = None, external_id: str | None = None) -> Role:
    """The role that a user means by an ARN, or by a name, with its path, in an account. Raises `BadInput`."""
    found = _ARN.fullmatch(text)
    if found is None and text.startswith("arn:"):
        raise BadInput(f"{text[:200]} is not the ARN of a role: accepted is arn:aws:iam::123456789012:role/NAME")
    name = text.removeprefix("/") if found is None else found["name"]
    owner = account if found is None else found["account"]
    if not _NAME.fullmatch(name):
        raise BadInput(f"{text[:200]} is not the name of a role: accepted is NAME or PATH/NAME, or a whole ARN")
    if owner is None or not _ACCOUNT.fullmatch(owner):
        raise BadInput(f"The role {text[:200]} needs the account that it is of, which has twelve digits")
    if account not in {None, owner}:
        raise BadInput(f"The role {text[:200]} is of account {owner}, and was named for account {account}")
    if external_id is not None and not _EXTERNAL_ID.fullmatch(external_id):
        raise BadInput(f"The external id for {text[:200]} has a character that none may have, or is too short or long")
    return Role(partition if found is None else found["partition"], owner, name, external_id)


def session_name(run: str) -> str:
    """The name by which the accounts see this run in their CloudTrail."""
    return re.sub(r"[^A-Za-z0-9_+=,.@-]", "-", f"ecrsweep-{run}")[:_LONGEST_SESSION_NAME]


def assumed(home: AwsSession, member: Member) -> AwsSession:
    """The session of an account of the run: of its profile, or of its role, which the credentials of `home` assume.

    Nothing is asked yet. What is asked with it raises `RoleRefused`, `RoleForbidden`, `RoleRegionDisabled`, `RoleUnreachable`
    or `CallerFailure` where the role cannot be assumed, and `WrongAccount` where it leads elsewhere. Raises `BadInput` for a
    role that makes no sense, and `CredentialsFailure` for an unknown profile.
    """
    if member.profile is not None:
        return home.another(member.account, profile=member.profile)
    if member.role is None:
        raise AwsFailure(f"There is no way to account {member.account}: neither a role nor a profile is named for it")
    role = role_of(member.role, partition=home.partition, account=member.account, external_id=member.external_id)
    if role.partition != home.partition:
        raise BadInput(
            f"The role {role.arn} is in another partition than the credentials, which are of {home.partition}"
        )
    return home.another(member.account, credentials=AssumedRole(role, home).load())


class AssumedRole(CredentialProvider):
    """Where a botocore session finds the credentials of a role: asked for when first needed, and again before they end."""

    METHOD = "assume-role"

    def __init__(self, role: Role, caller: AwsSession, clock: Callable[[], float] = time.monotonic) -> None:
        """The role as this caller assumes it; `clock` gives seconds from any moment on."""
        super().__init__()
        self._role, self._caller, self._clock = role, caller, clock
        self._failure: AwsFailure | None = None
        self._until = 0.0

    def load(self) -> DeferredRefreshableCredentials:
        """The credentials, which nobody has asked for yet. They raise `AwsFailure` when they cannot be had."""
        return DeferredRefreshableCredentials(refresh_using=self._fetched, method=self.METHOD)

    def _fetched(self) -> Mapping[str, Any]:
        """What botocore calls, one thread at a time, when the credentials are about to end."""
        if self._failure is not None and self._clock() < self._until:
            raise copy(self._failure) from self._failure.__cause__
        try:
            return self._asked()
        except AwsFailure as failure:
            self._failure, self._until = self._told(failure), self._clock() + _REMEMBERED
            self._failure.__cause__ = failure.__cause__
            raise copy(self._failure) from failure.__cause__

    def _asked(self) -> Mapping[str, Any]:
        region = self._caller.home_region
        arguments = {"RoleSessionName": session_name(self._caller.run), "DurationSeconds": _SECONDS}
        if self._role.external_id is not None:
            arguments["ExternalId"] = self._role.external_id
        with translated(ASSUME_ACTIONS[0], region):
            fetcher = AssumeRoleCredentialFetcher(
                # The caller's own client: it keeps to the caller's pace and renews the caller's credentials.
                client_creator=lambda *_, **__: self._caller.client("sts", region),
                source_credentials=self._caller.source_credentials,
                role_arn=self._role.arn,
                extra_args=arguments,
            )
            found: Mapping[str, Any] = fetcher.fetch_credentials()
            return found

    def _told(self, failure: AwsFailure) -> AwsFailure:
        """The failure as the error of a role: what it means, and what is to be done."""
        kind, why, todo = self._meant(failure)
        text = (
            f"The role {self._role.arn} cannot be assumed: {why}. {str(failure).rstrip('.')}. "
            f"Until it can, nothing is asked or changed in account {self._role.account}"
        )
        return kind(f"{text}. {todo}" if todo else text, action=failure.action)

    def _meant(self, failure: AwsFailure) -> tuple[type[AwsFailure], str, str]:
        account = self._role.account
        match failure:
            case CredentialsFailure():
                return CallerFailure, "the credentials that are to assume it cannot be used", ""
            case Unreachable():
                todo = "See that this machine reaches STS there (network, proxy, VPC endpoint), and try again"
                return RoleUnreachable, "STS does not answer", todo
            case Denied() if code_of(failure) == "RegionDisabledException":
                region = self._caller.home_region
                todo = f"Activate STS in {region} for account {account}, or begin in another region (AWS_REGION)"
                return RoleRegionDisabled, f"account {account} gives no temporary credentials in {region}", todo
            case Denied() if _POLICY_ABOVE.search(str(failure)):
                todo = "Let that policy allow sts:AssumeRole on this role"
                return RoleForbidden, "a policy of the organisation forbids it", todo
            case Denied():
                given = "no external id" if self._role.external_id is None else "the external id that is configured"
                why = (
                    f"AWS does not say whether account {account} has no such role, or it does not trust {self._caller.arn}, "
                    f"who gives {given}, or that identity is not allowed sts:AssumeRole on it"
                )
                todo = "Create the role or mend its trust policy. An account that is suspended or closed answers so too"
                return RoleRefused, why, todo
            case _:
                return type(failure), "STS gave no credentials", ""
