"""The accounts that a user lists: one by its number, or those that AWS Organizations knows, and how each is reached."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ecrsweep.config.grammar import ListOf, MapOf, Member, Table, Text
from ecrsweep.core.errors import BadInput

_ACCOUNT: Final = Text("an account of 12 digits in quotes", r"^[0-9]{12}$")
_ROLE_NAME: Final = r"[A-Za-z0-9_+=,.@/-]+"
_ROLE: Final = re.compile(rf"(arn:[a-z-]+:iam::[0-9]{{12}}:role/)?{_ROLE_NAME}")


class Units(msgspec.Struct, frozen=True):
    """Those accounts of the organisation that are in one of some units, have all of some tags, and are not left out."""

    units: tuple[str, ...] = ()
    tags: Mapping[str, str] = {}
    besides: tuple[str, ...] = ()


class Listed(msgspec.Struct, frozen=True):
    """One entry of a list of accounts: `account` or `organization` says which; the rest how, and where its registries are."""

    account: str | None = None
    organization: Units | None = None
    role: str | None = None
    external_id: str | None = None
    profile: str | None = None
    regions: tuple[str, ...] = ()


def check_role(text: str) -> str:
    """A role as users name it: its name, with its path if it has one, or its ARN. Raises `BadInput`."""
    if not _ROLE.fullmatch(text):
        raise BadInput(f'the role "{text}": accepted is its name, with its path if it has one, or its ARN')
    return text


def check_account_number(text: str, flag: str = "--account") -> str:
    """The number of an account. Raises `BadInput`."""
    if not re.fullmatch(r"[0-9]{12}", text):
        raise BadInput(f'{flag} "{text}": accepted is the number of an account, 12 digits')
    return text


def accounts(region: Text, *, with_regions: bool) -> ListOf:
    """A list of accounts as a configuration has it. `region` is what may name a region of their registries, or `all`."""
    members = {
        "account": Member(_ACCOUNT, "One account, 12 digits in quotes."),
        "organization": Member(
            Table(
                {
                    "units": Member(
                        ListOf(
                            Text("the ID of a unit or root, such as ou-ab12-34cd56ef", r"^(ou|r)-[a-z0-9-]+$"), least=1
                        ),
                        "Only accounts in these units, or in units inside them.",
                        "the whole organisation",
                    ),
                    "tags": Member(
                        MapOf(Text("a key"), Text("a value"), "keys with their values"),
                        "Only accounts that have all of these tags.",
                        "any",
                    ),
                    "except": Member(ListOf(_ACCOUNT), "Not these accounts.", "none"),
                },
                lambda said: Units(said.get("units", ()), said.get("tags", {}), said.get("except", ())),
            ),
            "Instead of `account`: all accounts that AWS Organizations knows, as far as they fit; `{}` is all.",
        ),
        "role": Member(
            Text("the name of a role, or its ARN", check=check_role),
            "The role to assume there. `--role-name`.",
            "none: the credentials in hand must be of that account",
        ),
        "external_id": Member(Text("a text"), "What the role wants to be told besides. `--external-id`.", "none"),
        "profile": Member(Text("a profile"), "Instead of a role: a profile of the AWS configuration.", "none"),
    }
    if with_regions:
        members["regions"] = Member(
            ListOf(region, least=1), "The regions of its registries, or `all`.", "those of `registry` or `--region`"
        )
    return ListOf(Table(members, _listed), least=1)


def _listed(said: dict[str, Any]) -> Listed:
    if ("account" in said) == ("organization" in said):
        raise BadInput("each entry names either an account or organization")
    if "profile" in said and ({"role", "external_id", "organization"} & said.keys()):
        raise BadInput(
            "a profile is of one account, and has no role or external_id beside it: those stand in the profile itself"
        )
    return Listed(**said)
