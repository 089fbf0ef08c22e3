"""The way to each account of a run, tried: who we are there, or why nobody lets us in, and what would mend it.

STS refuses alike where a role is missing, where it does not trust, and where the caller may not assume it; IAM is asked which
of them it is, where it may be asked. https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

import re
from collections.abc import Mapping
from typing import Final

from ecrsweep.aws.roles import ASSUME_ACTIONS, Role, role_of
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.accounts import Member
from ecrsweep.core.diagnosis import Access, Identity, Remedy, Way
from ecrsweep.core.errors import (
    AwsFailure,
    ClosedByOrganization,
    RoleForbidden,
    RoleRefused,
    Unreachable,
    WrongAccount,
)
from ecrsweep.wiring.principals import principal_of, simulated
from ecrsweep.wiring.remedies import for_caller, for_role

IN_HAND: Final = "the credentials in hand"

_KINDS: Final[Mapping[type[AwsFailure], Access]] = {
    RoleForbidden: Access.FORBIDDEN,
    ClosedByOrganization: Access.FORBIDDEN,
    WrongAccount: Access.OTHER_ACCOUNT,
    Unreachable: Access.UNREACHABLE,
}
_OF_CALLER: Final = re.compile(r"no identity-based policy allows|explicit deny in an identity-based policy")
_OF_ROLE: Final = re.compile(r"(no|in a) resource-based policy")
"""How AWS says whose policy it was, where it says so."""


def way_to(world: AwsWorld, member: Member, caller: Identity) -> Way:
    """Try the way to a member (AssumeRole, GetCallerIdentity; GetRole for the identity behind a profile)."""
    role = _role(world, member)
    by = _by(member, role)
    if member.closed is not None:
        error = f"account {member.account} is {member.closed}, says AWS Organizations: nobody can ask what runs there"
        return Way(by, Access.CLOSED, error, remedies=(_left_out(member),))
    try:
        world.reach(member.account).require()
        session = world.session_of(member.account)
        if role is not None:
            return Way(by, Access.ASKED, arn=session.arn, principal=role.arn)
        if session is world.home:
            return Way(by, Access.ASKED, arn=caller.arn, principal=caller.principal)
        principal, _ = principal_of(session.arn, world.reach(member.account).place(session.home_region))
        return Way(by, Access.ASKED, arn=session.arn, principal=principal)
    except AwsFailure as failure:
        if isinstance(failure, RoleRefused) and role is not None:
            return _refused(world, by, role, caller, failure)
        access = next((access for kind, access in _KINDS.items() if isinstance(failure, kind)), Access.FAILED)
        return Way(by, access, str(failure))


def _role(world: AwsWorld, member: Member) -> Role | None:
    if member.role is None or member.profile is not None:
        return None
    return role_of(member.role, partition=world.home.partition, account=member.account, external_id=member.external_id)


def _by(member: Member, role: Role | None) -> str:
    if member.profile is not None:
        return f"profile {member.profile}"
    return IN_HAND if role is None else f"role {role.arn}"


def _left_out(member: Member) -> Remedy:
    return Remedy(
        "Have it reopened, or leave it out: name it under `except` of `organization` in the configuration, or take it off its "
        f"list. For one run: --accept-gap all@{member.account}"
    )


def _refused(world: AwsWorld, by: str, role: Role, caller: Identity, failure: RoleRefused) -> Way:
    allowed = _may_assume(world, role, caller, failure)
    if allowed is None:
        return Way(
            by, Access.REFUSED, str(failure), remedies=(for_role(role, caller), for_caller(role, caller, certain=False))
        )
    if allowed:
        error = f"{failure}. IAM would let the caller assume it, so the role or its trust is what lacks"
        return Way(by, Access.REFUSED, error, remedies=(for_role(role, caller),))
    return Way(by, Access.NOT_ALLOWED, str(failure), remedies=(for_caller(role, caller),))


def _may_assume(world: AwsWorld, role: Role, caller: Identity, failure: RoleRefused) -> bool | None:
    """Whether the caller's own policies let it assume a role; None where neither STS nor IAM says so."""
    if _OF_CALLER.search(str(failure)):
        return False
    if _OF_ROLE.search(str(failure)):
        return True
    if not caller.principal:
        return None
    try:
        found = simulated(world.place(world.home_region), caller.principal, ASSUME_ACTIONS, role.arn)
        return found[ASSUME_ACTIONS[0]] == "allowed"
    except (AwsFailure, KeyError):
        return None  # what is not known is told by naming both remedies
