"""STS of the emulated AWS: who somebody is, and the roles that one may assume in another account.

What AWS refuses is refused in AWS's words, and what it gives ends by the emulated clock.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html and, for role chaining,
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining
"""

import re
import secrets
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from xml.sax.saxutils import escape

from ecrsweep.emulator.clock import Clock
from ecrsweep.emulator.errors import AwsError

SECRET: Final = "emulated"  # noqa: S105 - nothing here is secret
TEMPORARY_KEY: Final = re.compile(r"ASIAEMULATED(\d{12})[0-9A-F]{8}")

_LONG_LIVED_SESSION: Final = "assumed-role/sweeper/run"
"""Whom the keys of an account's own are of, which never end."""
_CHAINED_AT_MOST: Final = 3600
_SHORTEST: Final = 900
_LONGEST: Final = 43_200
_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_ROLE_ARN: Final = re.compile(r"arn:[a-z0-9-]+:iam::(?P<account>\d{12}):role/(?P<name>.+)")
_PARTITIONS: Final = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("eusc-", "aws-eusc"), ("", "aws"))
_DENIED_ABOVE: Final = " with an explicit deny in a service control policy"


@dataclass(frozen=True)
class Role:
    """A role of an account, and whom it trusts: accounts, or ARNs of roles and their sessions."""

    account: str
    name: str
    trusted: tuple[str, ...]
    external_id: str | None
    max_session: int


@dataclass(frozen=True)
class Session:
    """Temporary credentials: whose they are, and until when, in seconds since the epoch."""

    role: Role
    name: str
    token: str
    until: float

    @property
    def path(self) -> str:
        """The last part of its ARN: a role's path is not in it."""
        return f"assumed-role/{self.role.name.rpartition('/')[2]}/{self.name}"


class Roles:
    """The roles of all accounts, and the credentials that they gave."""

    def __init__(self, clock: Clock) -> None:
        """Begin with no role anywhere."""
        self._clock = clock
        self._lock = threading.Lock()
        self._roles: dict[tuple[str, str], Role] = {}
        self._sessions: dict[str, Session] = {}
        self.forbidden: set[str] = set()
        """The accounts that a service control policy keeps from assuming any role."""
        self.without_sts: set[tuple[str, str]] = set()
        """The accounts and regions in which STS is switched off."""

    def add(
        self,
        account: str,
        name: str,
        trusted: Collection[str] = (),
        *,
        external_id: str | None = None,
        max_session: int = 3600,
    ) -> str:
        """Put up a role, its path in its name, or change it; the ARN it has in the main partition."""
        with self._lock:
            self._roles[account, name] = Role(account, name, tuple(trusted), external_id, max_session)
        return f"arn:aws:iam::{account}:role/{name}"

    def remove(self, account: str, name: str) -> None:
        """Take a role away, and what it gave."""
        with self._lock:
            del self._roles[account, name]
            gone = [
                key for key, held in self._sessions.items() if (held.role.account, held.role.name) == (account, name)
            ]
            for key in gone:
                del self._sessions[key]

    def session(self, key: str) -> Session | None:
        """The session of an access key; None for a key of an account's own."""
        return self._sessions.get(key)

    def refusal(self, key: str, token: str, service: str, *, is_json: bool) -> AwsError | None:
        """Why these credentials are refused, in the words of the service's protocol; None where they hold."""
        if not TEMPORARY_KEY.fullmatch(key):
            return None
        held = self._sessions.get(key)
        if held is None or held.token != token:
            code = {"ec2": "AuthFailure", "s3": "InvalidToken"}.get(service, "InvalidClientTokenId")
            text = "The security token included in the request is invalid."
            return AwsError("UnrecognizedClientException" if is_json else code, text, 400 if is_json else 403)
        if self._clock.seconds >= held.until:
            code = {"ec2": "RequestExpired"}.get(service, "ExpiredToken")
            text = "The security token included in the request is expired"
            return AwsError("ExpiredTokenException" if is_json else code, text, 400 if is_json else 403)
        return None

    def told(self, operation: str, key: str, account: str, region: str, asked: Mapping[str, Any]) -> str | None:
        """What STS answers, as XML; None for an operation that is not emulated. Raises `AwsError`."""
        match operation:
            case "GetCallerIdentity":
                told = f"<Arn>{self.arn(key, account, region)}</Arn><UserId>AROAEMULATED:run</UserId><Account>{account}</Account>"
            case "AssumeRole":
                told = self._assumed(key, account, region, asked)
            case _:
                return None
        return (
            f"<{operation}Response xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><{operation}Result>{told}</{operation}Result>"
            f"<ResponseMetadata><RequestId>{secrets.token_hex(16)}</RequestId></ResponseMetadata></{operation}Response>"
        )

    def arn(self, key: str, account: str, region: str) -> str:
        """Who signs with a key."""
        held = self._sessions.get(key)
        return f"arn:{partition_of(region)}:sts::{account}:{_LONG_LIVED_SESSION if held is None else held.path}"

    def _assumed(self, key: str, account: str, region: str, asked: Mapping[str, Any]) -> str:
        arn, name = str(asked.get("RoleArn", "")), str(asked.get("RoleSessionName", ""))
        seconds = int(asked.get("DurationSeconds", 3600))
        _check(arn, name, seconds)
        role = self._trusting(self.arn(key, account, region), arn, account, asked.get("ExternalId"))
        if (role.account, region) in self.without_sts:
            text = f"STS is not activated in this region for account:{role.account}. Your account administrator can activate STS in this region using the IAM Console."
            raise AwsError("RegionDisabledException", text, 403)
        if self.session(key) is not None and seconds > _CHAINED_AT_MOST:
            raise _invalid(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
            )
        if seconds > role.max_session:
            raise _invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
        made = Session(role, name, secrets.token_urlsafe(48), self._clock.seconds + seconds)
        new_key = f"ASIAEMULATED{role.account}{secrets.token_hex(4).upper()}"
        with self._lock:
            self._sessions[new_key] = made
        until = datetime.fromtimestamp(made.until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"<Credentials><AccessKeyId>{new_key}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
            f"<SessionToken>{made.token}</SessionToken><Expiration>{until}</Expiration></Credentials>"
            f"<AssumedRoleUser><Arn>{self.arn(new_key, role.account, region)}</Arn><AssumedRoleId>AROAEMULATED:{escape(name)}"
            "</AssumedRoleId></AssumedRoleUser><PackedPolicySize>1</PackedPolicySize>"
        )

    def _trusting(self, caller: str, arn: str, account: str, external_id: str | None) -> Role:
        """The role, where it exists and trusts the caller, and nothing above forbids it. AWS refuses the rest alike."""
        denied = f"User: {caller} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        if account in self.forbidden:
            raise AwsError("AccessDenied", denied + _DENIED_ABOVE, 403)
        named = _ROLE_ARN.fullmatch(arn)
        role = self._roles.get((named["account"], named["name"])) if named else None
        if (
            role is None
            or arn.split(":")[1] != caller.split(":")[1]
            or not _trusts(role, caller, account)
            or role.external_id not in {None, external_id}
        ):
            raise AwsError("AccessDenied", denied, 403)
        return role


def partition_of(region: str) -> str:
    """The partition of a region, by how its name begins."""
    return next(partition for prefix, partition in _PARTITIONS if region.startswith(prefix))


def _check(arn: str, name: str, seconds: int) -> None:
    if not _ROLE_ARN.fullmatch(arn):
        raise _invalid(f"{arn} is invalid")
    if not _SESSION_NAME.fullmatch(name):
        raise _invalid(
            f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [\\w+=,.@-]*"
        )
    if not _SHORTEST <= seconds <= _LONGEST:
        raise _invalid(
            f"1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: "
            f"Member must have value greater than or equal to {_SHORTEST}"
        )


def _trusts(role: Role, caller: str, account: str) -> bool:
    """Whether a trust policy with these principals lets a session in: by its account, its role or itself."""
    kind, _, rest = caller.split(":", 5)[5].partition("/")
    own_role = rest.partition("/")[0] if kind == "assumed-role" else None
    return any(
        trusted in {account, f"arn:{caller.split(':')[1]}:iam::{account}:root", caller}
        or (trusted.split(":")[4:5] == [account] and trusted.rpartition("/")[2] == own_role and ":role/" in trusted)
        for trusted in role.trusted
    )


def _invalid(text: str) -> AwsError:
    return AwsError("ValidationError", text)
