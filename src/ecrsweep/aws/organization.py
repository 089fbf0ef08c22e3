"""The accounts of an organisation, as AWS Organizations knows them: all of them, or those of some units and tags.

Asked by the management account, or by one to which that has delegated reading. A list that cannot be read to its end is an
error, because an account that is missing from it would be an account that nobody asks.
https://docs.aws.amazon.com/organizations/latest/APIReference/API_ListAccounts.html
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from ecrsweep.aws.partitions import main_region
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.core.errors import Malformed

ORGANIZATION_ACTIONS: Final = (
    "organizations:ListAccounts",
    "organizations:ListAccountsForParent",
    "organizations:ListOrganizationalUnitsForParent",
    "organizations:ListTagsForResource",
)


class Account(msgspec.Struct, frozen=True, order=True):
    """An account of the organisation. `state` in AWS's word: ACTIVE, PENDING_ACTIVATION, SUSPENDED, PENDING_CLOSURE, CLOSED."""

    number: str
    name: str
    state: str


def accounts_of(
    session: AwsSession,
    units: Collection[str] = (),
    tags: Mapping[str, str] | None = None,
    besides: Collection[str] = (),
) -> tuple[Account, ...]:
    """The accounts of the organisation of this session, sorted by their numbers, whatever their state.

    With `units`, ids of organisational units or of the root, only those anywhere below them; with `tags` only those that
    have all of them; never those `besides`. Raises `AwsFailure` where anything of that cannot be read.
    """
    place = AwsPlace(session, main_region(session.partition))
    found = {one.number: one for one in _below(place, units)} if units else _everybody(place)
    left = [one for number, one in sorted(found.items()) if number not in besides]
    if not tags:
        return tuple(left)
    tagged = place.each(lambda one: tags.items() <= _tags_of(place, one).items(), left)
    return tuple(one for one, wanted in zip(left, tagged, strict=True) if wanted)


def _everybody(place: AwsPlace) -> dict[str, Account]:
    action = "organizations:ListAccounts"
    found = {one.number: one for one in _listed(place)}
    if not found:
        raise Malformed(
            f"{action} named no account at all, not even the one that the organisation is of", action=action
        )
    return found


def _below(place: AwsPlace, units: Collection[str]) -> Iterator[Account]:
    """The accounts in these units and in those inside them; a unit that stands inside another is read once."""
    seen: set[str] = set()
    waiting = sorted(units)
    while waiting:
        unit = waiting.pop()
        if unit in seen:
            continue
        seen.add(unit)
        yield from _listed(place, unit)
        inner = place.pages(
            "organizations", "list_organizational_units_for_parent", "OrganizationalUnits", ParentId=unit
        )
        waiting += [_text(one, "Id", "organizations:ListOrganizationalUnitsForParent") for one in inner]


def _listed(place: AwsPlace, parent: str | None = None) -> Iterator[Account]:
    """The accounts of the organisation, or those that stand right below a parent."""
    if parent is None:
        action, told = "organizations:ListAccounts", place.pages("organizations", "list_accounts", "Accounts")
    else:
        action = "organizations:ListAccountsForParent"
        told = place.pages("organizations", "list_accounts_for_parent", "Accounts", ParentId=parent)
    for entry in told:
        # Status is the older word for it, which AWS takes away in September 2026.
        state = "State" if entry.get("State") else "Status"
        yield Account(_text(entry, "Id", action), str(entry.get("Name", "")), _text(entry, state, action))


def _tags_of(place: AwsPlace, account: Account) -> dict[str, str]:
    tags = place.pages("organizations", "list_tags_for_resource", "Tags", ResourceId=account.number)
    action = "organizations:ListTagsForResource"
    return {_text(tag, "Key", action): _text(tag, "Value", action) for tag in tags}


def _text(told: Mapping[str, Any], key: str, action: str) -> str:
    if not isinstance(told.get(key), str):
        raise Malformed(f"{action} told of something without {key}", action=action)
    return str(told[key])
