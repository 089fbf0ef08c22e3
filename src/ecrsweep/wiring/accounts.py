"""From the lists of accounts that a user gives, or that AWS Organizations knows, to the members of a run.

Without any list a run is of the account of the credentials alone. Registries and consumers are separate lists; who is on
both is one member.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from ecrsweep.aws.organization import Account, accounts_of
from ecrsweep.aws.pool import ordered_map
from ecrsweep.aws.roles import assumed
from ecrsweep.aws.session import AwsSession
from ecrsweep.config import Listed, Settings, check_account_number, check_role
from ecrsweep.core.accounts import Member
from ecrsweep.core.errors import AwsFailure, BadInput

ALL_REGIONS: Final = "all"
_OPEN: Final = "ACTIVE"
_SIDE_BY_SIDE: Final = 64


class _Found(msgspec.Struct, frozen=True):
    """An account of a list, and whether it is named there by itself."""

    member: Member
    named: bool

    def told_of(self, account: Account) -> "_Found":
        """The same, with what AWS Organizations says of it."""
        member = msgspec.structs.replace(self.member, name=account.name, closed=_closed(account))
        return _Found(member, self.named)


def check_accounts(settings: Settings) -> None:
    """Before AWS is asked anything. Raises `BadInput`."""
    for account in settings.accounts:
        check_account_number(account)
    if settings.role_name is not None:
        check_role(settings.role_name)
    if settings.profile is not None and settings.role_name is not None and not _lists(settings):
        raise BadInput("--role-name is of accounts that are listed: name them with --account, or in the configuration")


def members_of(settings: Settings, session: AwsSession) -> tuple[Member, ...]:
    """The accounts of the run, by number; none where no list was given. Raises `BadInput` and `AwsFailure`."""
    if not _lists(settings):
        return ()
    holding = _unfolded(_holding(settings), settings, session)
    asked = holding if settings.consumers is None else _unfolded(settings.consumers, settings, session)
    chosen = _chosen(holding, settings)
    members = [_joined(chosen.get(account), asked.get(account)) for account in sorted(chosen.keys() | asked.keys())]
    return tuple(_with_regions(members, session))


def connect(home: AwsSession, member: Member) -> AwsSession:
    """The session of a member (`aws.world.Connect`)."""
    if member.closed is None and member.profile is None and member.role is None:
        return home
    return assumed(home, member)


def _lists(settings: Settings) -> bool:
    return bool(settings.accounts or settings.registries is not None or settings.consumers is not None)


def _holding(settings: Settings) -> Sequence[Listed]:
    """The accounts whose images may go."""
    if settings.registries is not None:
        return settings.registries
    return [Listed(account) for account in settings.accounts] or [Listed()]


def _chosen(holding: dict[str, _Found], settings: Settings) -> dict[str, _Found]:
    """Those of them that `--account` names. Everybody else is asked all the same."""
    if not settings.accounts:
        return holding
    strangers = sorted(set(settings.accounts) - holding.keys())
    if strangers:
        raise BadInput(f"--account {strangers[0]}: the configuration lists no such account under registries")
    return {account: found for account, found in holding.items() if account in settings.accounts}


def _unfolded(listed: Iterable[Listed], settings: Settings, session: AwsSession) -> dict[str, _Found]:
    """Each account of a list once, with its defaults. One that is named by itself stands as it is written there."""
    found: dict[str, _Found] = {}
    for entry in sorted(listed, key=lambda entry: entry.organization is not None):
        for account in _accounts(entry, session):
            if account.number not in found:
                found[account.number] = _Found(_member(entry, account, settings, session), entry.organization is None)
            elif entry.organization is None:
                raise BadInput(f"account {account.number} is listed twice")
            else:
                found[account.number] = found[account.number].told_of(account)
    return found


def _accounts(entry: Listed, session: AwsSession) -> Iterator[Account]:
    if entry.organization is None:
        yield Account(entry.account or session.account, "", _OPEN)
        return
    units = entry.organization
    yield from accounts_of(session, units.units, units.tags, units.besides)


def _member(entry: Listed, account: Account, settings: Settings, session: AwsSession) -> Member:
    regions = entry.regions or settings.regions or tuple(filter(None, [session.configured_region]))
    _check_profile(entry, account, session)
    role, external = _role(entry, account, settings, session)
    return Member(
        account.number, regions, role=role, external_id=external, profile=entry.profile, name=account.name,
        closed=_closed(account),
    )  # fmt: skip


def _check_profile(entry: Listed, account: Account, session: AwsSession) -> None:
    if entry.profile is not None and entry.profile not in session.profiles:
        known = ", ".join(sorted(session.profiles)) or "none"
        raise BadInput(
            f'account {account.number}: the AWS configuration has no profile "{entry.profile}"; it has: {known}'
        )


def _role(entry: Listed, account: Account, settings: Settings, session: AwsSession) -> tuple[str | None, str | None]:
    """The role, and what it wants to be told. The account of the credentials needs none, unless one is written for it."""
    if account.number == session.account:
        return (entry.role, entry.external_id) if entry.organization is None else (None, None)
    role, external = entry.role or settings.role_name, entry.external_id or settings.external_id
    if entry.profile is not None:
        return None, None
    if role is None:
        raise BadInput(
            f"account {account.number} is not that of the credentials, {session.account}: name a role (--role-name, or role in "
            "the configuration) or a profile for it"
        )
    return role, external


def _closed(account: Account) -> str | None:
    return None if account.state == _OPEN else account.state


def _joined(holding: _Found | None, asked: _Found | None) -> Member:
    """One account, whichever of the lists it is on; the way to it is the one of the list that names it by itself."""
    both = [found for found in (holding, asked) if found is not None]
    named = [found for found in both if found.named] or both
    if len({_way(found.member) for found in named}) > 1:
        account = named[0].member.account
        raise BadInput(f"account {account} is listed under registries and consumers with different roles or profiles")
    return msgspec.structs.replace(
        named[0].member,
        regions=() if holding is None else holding.member.regions,
        asked=asked is not None,
        name=next((found.member.name for found in both if found.member.name), ""),
        closed=next((found.member.closed for found in both if found.member.closed), None),
    )


def _way(member: Member) -> tuple[str | None, str | None, str | None]:
    return member.role, member.external_id, member.profile


def _with_regions(members: Sequence[Member], session: AwsSession) -> Iterator[Member]:
    """The members, `all` regions by name: each account says itself which these are, many side by side."""
    named = ordered_map(lambda member: _named(member, session), members, _SIDE_BY_SIDE)
    for member, regions in zip(members, named, strict=True):
        yield msgspec.structs.replace(member, regions=tuple(sorted(set(regions))))


def _named(member: Member, session: AwsSession) -> Sequence[str]:
    return _enabled(member, session) if ALL_REGIONS in member.regions else member.regions


def _enabled(member: Member, session: AwsSession) -> Sequence[str]:
    """The regions of an account; where they are not known, one of them: the run will tell why it cannot be read."""
    try:
        return connect(session, member).enabled_regions()
    except AwsFailure:
        return [session.home_region]
