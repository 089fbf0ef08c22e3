"""What would mend a way to an account or the permissions there: sentences, and the very commands to type.

A command names no account where the same one mends several. It makes the role of deploy/organization/member-role.yaml, or
attaches what `ecrsweep iam-policy` prints. https://docs.aws.amazon.com/cli/latest/reference/cloudformation/deploy/
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ecrsweep.aws.partitions import main_region
from ecrsweep.aws.roles import Role
from ecrsweep.core.diagnosis import Identity, Remedy
from ecrsweep.wiring.grants import statement

_PRINCIPAL: Final = re.compile(r"arn:[a-z-]+:iam::\d{12}:(?P<kind>role|user)/(?P<name>.+)")
_OF_PEOPLE: Final = "AWSReservedSSO_"
"""Roles that AWS IAM Identity Center makes, and that nobody else can change."""
_TEMPLATE: Final = "deploy/organization/member-role.yaml"
_ORGANIZATION: Final = "$(aws organizations describe-organization --query Organization.Id --output text)"


def for_role(role: Role, caller: Identity) -> Remedy:
    """What makes the role of an account, trusting this caller and nobody else."""
    trust = f"that trusts {caller.principal or caller.arn}"
    if role.external_id is not None:
        trust += f" with the external id {role.external_id}"
    if ":role/" not in caller.principal:
        return Remedy(
            f"The template {_TEMPLATE} trusts a role, and {caller.arn} is none: run ecrsweep as a role, or make a role {role.name} "
            f"{trust}, with this policy",
            ("ecrsweep iam-policy --for member",),
        )
    if "/" in role.name:
        text = f"The template {_TEMPLATE} makes no role with a path: make {role.name} {trust}, with this policy"
        return Remedy(text, ("ecrsweep iam-policy --for member",))
    unsure = f". The path of that role, if it has one, is not known here and must stand in its ARN: {caller.unsure}"
    return Remedy(
        f"Make the role {role.name} {trust}. With credentials of the account itself, in the folder of ecrsweep's repository "
        f"(AllowDelete=true besides lets it delete; many accounts at once by a stack set: docs/organization.md)"
        f"{unsure if caller.unsure else ''}",
        (_deployed(role, caller),),
    )


def _deployed(role: Role, caller: Identity) -> str:
    parameters = [f"CallerRoleArn={caller.principal}", f"RoleName={role.name}"]
    if role.external_id is not None:
        parameters.append(f"ExternalId={role.external_id}")
    words = [
        "aws", "cloudformation", "deploy", "--region", main_region(role.partition), "--stack-name", "ecrsweep-member-role",
        "--template-file", _TEMPLATE, "--capabilities", "CAPABILITY_NAMED_IAM", "--parameter-overrides", *parameters,
    ]  # fmt: skip
    return f'{shlex.join(words)} "OrganizationId={_ORGANIZATION}"'


def for_caller(role: Role, caller: Identity, *, certain: bool = True) -> Remedy:
    """What lets the caller assume the role of that name, in any account; `certain` where that is what lacks."""
    text = (
        "Let this identity assume the role"
        if certain
        else "Or, if that is what lacks, let this identity assume the role"
    )
    asked = f"ecrsweep iam-policy --for caller --role-name {shlex.quote(role.name)} --partition {role.partition}"
    return _attached(text, caller.principal, asked, "caller.json")


def for_permissions(principal: str, missing: Sequence[str], *, member: bool, sources: Iterable[str]) -> Remedy:
    """What grants these actions to a principal; with its whole policy, which asks these sources besides."""
    besides = "".join(f" --with-source {shlex.quote(name)}" for name in sources)
    asked = f"ecrsweep iam-policy --for {'member' if member else 'plan'}{besides}"
    return _attached(
        f"The policy of {_named(principal)} lacks this statement:\n{statement(missing)}\nIts whole policy",
        principal,
        asked,
        "policy.json",
    )


def _named(principal: str) -> str:
    """A principal without its account, so that the same of several accounts is told once."""
    found = _PRINCIPAL.fullmatch(principal)
    return "this identity" if found is None else f"the {found['kind']} {found['name'].rpartition('/')[2]}"


def _attached(text: str, principal: str, asked: str, file: str) -> Remedy:
    found = _PRINCIPAL.fullmatch(principal)
    if found is None or found["name"].rpartition("/")[2].startswith(_OF_PEOPLE):
        return Remedy(f"{text}, for whoever grants permissions to it (a permission set, a group)", (asked,))
    return Remedy(text, tuple(_put(found["kind"], found["name"].rpartition("/")[2], asked, file)))


def _put(kind: str, name: str, asked: str, file: str) -> Iterator[str]:
    yield f"{asked} > {file}"
    yield (
        f"aws iam put-{kind}-policy --{kind}-name {shlex.quote(name)} --policy-name ecrsweep-{file.removesuffix('.json')} "
        f"--policy-document file://{file}"
    )
