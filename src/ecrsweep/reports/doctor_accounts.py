"""An examination of several accounts for people: a line an account, and below it what is not as it should be.

Two hundred accounts in seventeen regions have the same few troubles, so that what is alike is told once, with where it is.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ecrsweep.core.diagnosis import (
    Access,
    Account,
    Diagnosis,
    Exclusion,
    Remedy,
    State,
    closed_regions,
    state_of,
    unreachable_regions,
)
from ecrsweep.core.sharing import CONSUMERS_SOURCE
from ecrsweep.core.uses import Coverage
from ecrsweep.reports.doctor import (
    DELETING,
    grouped,
    how_it_ended,
    identity_lines,
    named,
    outsider_lines,
    plain_table,
    registering,
    registry_table,
    source_table,
    state_lines,
    verdict,
)
from ecrsweep.reports.words import counted, printable

_FEW: Final = 3
"""So many accounts are named one by one."""
_ASIDE: Final = frozenset({State.SKIPPED, State.NOT_OFFERED, State.CLOSED})
"""Where nobody was to be asked, or nobody can be."""
_BAD: Final = "bold red"


def show_accounts(out: Console, found: Diagnosis, *, verbose: bool = False) -> None:
    """A table of all accounts, what is wrong with them, and what would mend it. `verbose` shows every place of each."""
    for line in identity_lines(found):
        out.print(printable(line))
    out.print(_summary(found.accounts))
    out.print()
    out.print(_table(found.accounts))
    out.print()
    if verbose:
        _show_each(out, found.accounts)
    few = sys.maxsize if verbose else _FEW
    for line in _lines(found, few):
        text = Text("\n".join(map(printable, line.splitlines())), style=_BAD if line.startswith(_GRAVE) else "")
        out.print(text, soft_wrap=True)
    out.print(Text(verdict(found), style="bold"))


_GRAVE: Final = ("GAP:", "Not asked:")


def _summary(accounts: Sequence[Account]) -> str:
    states = Counter(account.way.access for account in accounts)
    return f"{counted(len(accounts), 'account')}: " + ", ".join(
        f"{states[access]} {access.value}" for access in Access if states[access]
    )


def _table(accounts: Iterable[Account]) -> Table:
    names = any(account.name for account in accounts)
    table = plain_table("ACCOUNT", "STATE", "REGISTRIES", "REGIONS", "SOURCES", "USES", "GAPS", gap=2)
    for column in table.columns[2:]:
        column.justify = "right"
    if names:
        table.add_column("NAME", overflow="fold")  # the one that gives way where a terminal is narrow
    for account in accounts:
        table.add_row(*_row(account), *([printable(account.name)] if names else []))
    return table


def _row(account: Account) -> Iterator[str | Text]:
    yield account.account
    yield Text(account.way.access.value, style="green" if account.way.is_open else _BAD)
    reads = [registry for registry in account.registries if registry.repositories is not None]
    yield _of(len(reads), len(account.registries))
    yield _of(len(account.asked_regions), len(account.regions.enabled))
    entries = [entry for entry in account.coverage if _is_of_source(entry) and state_of(entry) not in _ASIDE]
    works = [entry for entry in entries if state_of(entry) is State.WORKS]
    yield _of(len(works), len(entries))
    yield f"{sum(entry.uses for entry in works):,}"
    yield Text(f"{len(account.gaps):,}", style=_BAD if account.gaps else "")


def _is_of_source(entry: Coverage) -> bool:
    return entry.source not in {"ecr", "owners", "regions", CONSUMERS_SOURCE}


def _of(some: int, all_of_them: int) -> str:
    return f"{some:,} of {all_of_them:,}" if all_of_them else "-"


def _show_each(out: Console, accounts: Iterable[Account]) -> None:
    """Every place of every account that lets us in."""
    for account in accounts:
        if not account.way.is_open or not account.coverage:
            continue
        out.print(Text(printable(f"Account {account.account} as {account.way.arn}"), style="bold"))
        if account.regions.disabled:
            out.print(f"Not switched on: {', '.join(account.regions.disabled)}")
        if account.registries:
            out.print(registry_table(account.registries))
        out.print(source_table(account.coverage))
        out.print()


def _lines(found: Diagnosis, few: int) -> Iterator[str]:
    yield from _way_lines(found.accounts, few)
    yield from _region_lines(found.accounts, few)
    yield from _gap_lines(found.accounts, few)
    yield from _permission_lines(found.accounts, few)
    yield from _note_lines(found, few)
    yield from outsider_lines(found, few)
    yield from _delete_lines(found.accounts, few)
    yield from _pull_time_lines(found.exclusions, few)
    yield from state_lines(found)


def _way_lines(accounts: Iterable[Account], few: int) -> Iterator[str]:
    """The accounts that nobody lets us into; those that the same would mend together."""
    shut = [account for account in accounts if not account.way.is_open]
    for (access, remedies), alike in grouped(shut, lambda account: (account.way.access, account.way.remedies)).items():
        yield f"Not asked: {access.value}: {_accounts_of(alike, few)}"
        yield from _first([account.way.error or "" for account in alike], few)
        for remedy in remedies:
            yield from _remedy_lines(remedy)


def _remedy_lines(remedy: Remedy) -> Iterator[str]:
    first, *rest = remedy.text.splitlines()
    yield "\n".join([f"    {first}", *(f"    {line}" for line in rest)]) + (":" if remedy.commands else "")
    yield from (f"        {command}" for command in remedy.commands)


def _region_lines(accounts: Sequence[Account], few: int) -> Iterator[str]:
    for words, regions_of in (
        ("Closed by a service control policy", lambda account: closed_regions(account.coverage)),
        ("Unreachable", lambda account: unreachable_regions(account.coverage)),
        ("Not switched on", lambda account: account.regions.disabled),
    ):
        asked = [account for account in accounts if account.way.access is Access.ASKED]
        for regions, alike in grouped(asked, lambda account: tuple(regions_of(account))).items():  # noqa: B023 - used at once
            if regions:
                yield f"{words}: {', '.join(regions)}: {_accounts_of(alike, few)}"
    for error, alike in grouped(accounts, lambda account: account.regions.error).items():
        if error is not None and any(account.consumer for account in alike):
            yield f"Regions not known: {_accounts_of(alike, few)}: {error}"


def _gap_lines(accounts: Iterable[Account], few: int) -> Iterator[str]:
    """What holds a run in accounts that let us in, told once where it is alike."""
    gaps = [entry for account in accounts if account.way.is_open for entry in account.gaps]
    for (source, words), alike in grouped(gaps, lambda entry: (entry.source, how_it_ended(entry))).items():
        yield f"GAP: {source}: {words}: {_places(alike, few)}"
        yield from _first([entry.drop or entry.error or "" for entry in alike], few)


def _permission_lines(accounts: Iterable[Account], few: int) -> Iterator[str]:
    for remedy, alike in grouped(accounts, lambda account: account.remedy).items():
        if remedy is not None:
            yield f"Missing permissions: {_accounts_of(alike, few)}"
            yield from _remedy_lines(remedy)


def _note_lines(found: Diagnosis, few: int) -> Iterator[str]:
    notes = [
        (entry, note) for entry in found.coverage if entry.source != CONSUMERS_SOURCE for note in entry.notes
    ]  # fmt: skip
    for (source, note), alike in grouped(notes, lambda told: (told[0].source, told[1])).items():
        yield f"Note: {source}: {_places([entry for entry, _ in alike], few)}: {note}"
    for refused, accounts in grouped(found.accounts, _refused).items():
        if refused:
            yield f"IAM would refuse, by its own simulation: {', '.join(refused)}: {_accounts_of(accounts, few)}"


def _refused(account: Account) -> tuple[str, ...]:
    return tuple(action for action in account.untried if account.simulated.get(action, "allowed") != "allowed")


def _delete_lines(accounts: Iterable[Account], few: int) -> Iterator[str]:
    """Whether images may be deleted where registries are; it cannot be tried without deleting."""
    holding = [account for account in accounts if account.registries and account.way.access is Access.ASKED]
    for words, alike in grouped(holding, _deleting).items():
        yield f"Deleting ({DELETING}): {words}: {_accounts_of(alike, few)}"


def _deleting(account: Account) -> str:
    decision = account.simulated.get(DELETING)
    if decision is None:
        return "not known, because IAM may not be asked to simulate it" if account.unsimulated else "not known"
    return "allowed, by the simulation of IAM" if decision == "allowed" else f"not allowed ({decision})"


def _pull_time_lines(exclusions: Iterable[Exclusion], few: int) -> Iterator[str]:
    """Our own reads move pull times, unless the role is registered in each registry: a hint, never a gap."""
    for registered, alike in grouped(exclusions, lambda entry: entry.registered).items():
        places = _places(alike, few)
        if registered:
            yield f"Pull times: reads of the role do not move them: {places}"
        elif registered is None:
            yield f"Pull times: not known whether reads of the role move them: {places}: {alike[0].error}"
        else:
            yield f"Pull times: reading an index moves its pull time: {places}"
            yield "    To change that, with credentials of each account (many at once: docs/organization.md):"
            yield from (f"        {registering(entry)}" for entry in alike[:few])
            if len(alike) > few:
                yield f"    ... and {len(alike) - few:,} more (--verbose)"


def _accounts_of(accounts: Sequence[Account], few: int) -> str:
    word = "account" if len(accounts) == 1 else f"{len(accounts):,} accounts:"
    return f"{word} {named([account.account for account in accounts], few)}"


def _places(entries: Iterable[Coverage | Exclusion], few: int) -> str:
    """Regions by account; only how many where they are more than few."""
    found = grouped(entries, lambda entry: entry.account)
    return named([f"{account}/{_regions_of(alike, few)}" for account, alike in found.items()], few)


def _regions_of(entries: Sequence[Coverage | Exclusion], few: int) -> str:
    regions = sorted({entry.region for entry in entries})
    return "+".join(regions) if len(regions) <= few else f"{len(regions)} regions"


def _first(errors: Sequence[str], few: int) -> Iterator[str]:
    """What AWS said: once where many are alike, each where all is to be shown."""
    shown = errors if few >= len(errors) else errors[:1]
    yield from (f"    {error}" for error in shown)
    if len(shown) < len(errors):
        yield f"    ... and {len(errors) - len(shown):,} like that (--verbose)"
