"""An examination for people: one line a source, exceptions named, and at the end what to do."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ecrsweep.core.diagnosis import (
    Account,
    Diagnosis,
    Exclusion,
    Registry,
    State,
    by_source,
    closed_regions,
    overall,
    state_of,
    unreachable_regions,
)
from ecrsweep.core.sharing import CONSUMERS_SOURCE
from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage
from ecrsweep.reports.words import counted, printable

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

DELETING: Final = "ecr:BatchDeleteImage"
_STYLES: Final = {
    State.WORKS: "green",
    State.UNTRIED: "",
    State.OFF: "dim",
    State.NOT_OFFERED: "dim",
    State.SKIPPED: "dim",
}


def show_diagnosis(out: Console, found: Diagnosis) -> None:
    """Who asks, what works and what does not, where the account of the credentials is the only one."""
    for line in [*identity_lines(found), *_region_lines(found.home)]:
        out.print(printable(line))
    out.print()
    out.print(registry_table(found.registries))
    out.print()
    out.print(source_table(found.coverage, found.off_by_default))
    out.print()
    for line in [
        *_trouble_lines(found), *outsider_lines(found), *_delete_lines(found.home), *_exclusion_lines(found),
        *state_lines(found),
    ]:  # fmt: skip
        out.print(Text(printable(line), style="bold red" if line.startswith("GAP:") else ""), soft_wrap=True)
    out.print(Text(verdict(found), style="bold"))


def verdict(found: Diagnosis) -> str:
    """What it comes to, in a sentence."""
    if found.gaps:
        return f"{counted(len(found.gaps), 'gap')}: a plan would hold images until that is mended or accepted."
    return "All that was asked works."


def identity_lines(found: Diagnosis) -> Iterator[str]:
    """Who asks, and with what."""
    identity = found.identity
    yield f"Account {identity.account} as {identity.arn}"
    until = "they do not say until when they are valid"
    if identity.valid_until is not None:
        until = f"valid until {rfc3339(identity.valid_until)}"
    yield f"Credentials: {identity.origin or 'of unknown origin'}; {until}"


def _region_lines(account: Account) -> Iterator[str]:
    regions = account.regions
    if regions.error is not None:
        yield f"Regions: not known: {regions.error}"
        return
    off = f", {len(regions.disabled)} not switched on" if regions.disabled else ""
    yield f"Regions: {len(regions.enabled)} enabled{off}"
    if closed := closed_regions(account.coverage):
        yield f"    closed by a service control policy: {', '.join(closed)}"
    if unreachable := unreachable_regions(account.coverage):
        yield f"    unreachable: {', '.join(unreachable)}"


def registry_table(registries: Iterable[Registry]) -> Table:
    """A line a registry of one account."""
    table = plain_table("REGISTRY", "REPOSITORIES", "DESCRIBE REPOSITORIES", "DESCRIBE IMAGES", "READ MANIFESTS")
    for registry in registries:
        number = "?" if registry.repositories is None else f"{registry.repositories:,}"
        table.add_row(registry.region, number, *(styled(check.state) for check in registry.checks))
    return table


def source_table(coverage: Iterable[Coverage], off_by_default: Iterable[str] = ()) -> Table:
    """A line a source of one account, and those that are not asked unless somebody says so."""
    table = plain_table("SOURCE", "STATE", "REGIONS", "USES")
    table.add_column("EXCEPT", overflow="fold")  # the one that gives way where a terminal is narrow
    for name, entries in by_source(coverage).items():
        works = [entry for entry in entries if state_of(entry) is State.WORKS]
        uses = f"{sum(entry.uses for entry in works):,}"
        regions = f"{len(works)} of {len(entries)}"
        table.add_row(name, styled(overall(entries)), regions, uses, "; ".join(_exceptions(entries)))
    for name in off_by_default:
        table.add_row(name, styled(State.OFF), "-", "-", f"--with-source {name}")
    return table


def _exceptions(entries: Iterable[Coverage]) -> Iterator[str]:
    """Where it does not work, grouped by how."""
    by_state: dict[str, list[str]] = {}
    for entry in entries:
        state = state_of(entry)
        if state is not State.WORKS:
            by_state.setdefault(how_it_ended(entry), []).append(entry.region)
    for words, regions in by_state.items():
        yield f"{words} in {', '.join(regions)}"


def how_it_ended(entry: Coverage) -> str:
    """The state of an entry, with the action that was denied."""
    state = state_of(entry)
    return f"{state.value} {entry.action}" if state is State.DENIED and entry.action else state.value


def _trouble_lines(found: Diagnosis) -> Iterator[str]:
    for entry in found.gaps:
        yield f"GAP: {entry.place}: {entry.drop or entry.error}"
    for entry in found.coverage:
        if entry.source == CONSUMERS_SOURCE:
            continue
        yield from (f"Note: {entry.place}: {note}" for note in entry.notes)
    if found.untried:
        yield f"Not tried, because nothing here gave a reason to: {', '.join(found.untried)}"
        refused = [action for action in found.untried if found.home.simulated.get(action, "allowed") != "allowed"]
        if refused:
            yield f"    IAM would refuse, by its own simulation: {', '.join(refused)}"


def outsider_lines(found: Diagnosis, few: int = 3) -> Iterator[str]:
    """Who may pull and is not asked; where that is not known, what follows from it. So many places are named one by one."""
    notes = [(note, entry.place) for entry in found.outsiders for note in entry.notes]
    for note, told in grouped(notes, lambda one: one[0]).items():
        yield f"Who else may pull: {note}: {named([place.partition('@')[2] for _, place in told], few)}"
    unknown = [entry for entry in found.outsiders if entry.error is not None and not entry.is_gap]
    for alike in grouped(unknown, lambda entry: entry.action).values():
        where = named([entry.place.partition("@")[2] for entry in alike], few)
        yield f"Who else may pull: not known in {where}: if an account that is not asked does, nobody would notice"
        yield f"    {str(alike[0].error).partition(': ')[2]}"
    if not found.outsiders and any(registry.repositories for registry in found.registries):
        yield "Who else may pull: nobody who is not asked, by the policies of registries and repositories"


def _delete_lines(account: Account) -> Iterator[str]:
    decision = account.simulated.get(DELETING)
    if decision is None:
        why = account.unsimulated or "IAM did not answer that"
        yield (
            "Deleting (ecr:BatchDeleteImage) cannot be tried without deleting, and IAM could not be asked to simulate it: "
            f"{why}"
        )
    else:
        words = "allowed" if decision == "allowed" else f"not allowed ({decision})"
        yield f"Deleting (ecr:BatchDeleteImage): {words}, by the simulation of IAM"


def _exclusion_lines(found: Diagnosis) -> Iterator[str]:
    """Our own reads move pull times, unless the role is registered: a hint, never a gap."""
    for entry in found.exclusions:
        if entry.registered:
            yield f"Pull times in {entry.region}: reads of this identity do not move them"
        else:
            yield from _not_registered(entry)


def _not_registered(entry: Exclusion) -> Iterator[str]:
    if entry.registered is None:
        yield f"Pull times in {entry.region}: not known whether reads of this identity move them: {entry.error}"
        return
    yield f"Pull times in {entry.region}: reading an index moves its pull time. To change that:"
    yield f"    {registering(entry)}"


def registering(entry: Exclusion) -> str:
    """The command after which reads of an identity are no pulls any more."""
    return f"aws ecr register-pull-time-update-exclusion --region {entry.region} --principal-arn {entry.principal}"


def state_lines(found: Diagnosis) -> Iterator[str]:
    """What outlives a run, and where."""
    yield f"Manifest cache: {found.manifest_cache.location}: {found.manifest_cache.content}"
    yield f"Ledger: {found.ledger.location}: {found.ledger.content}"


def styled(state: State) -> Text:
    """The word of a state, coloured by how grave it is."""
    return Text(state.value, style=_STYLES.get(state, "bold red"))


def plain_table(*names: str, gap: int = 3) -> Table:
    """An empty table without lines, with so much space between its columns."""
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items that are alike, in the order of the first of each kind."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def named(names: Sequence[str], few: int) -> str:
    """So many names, and how many more there are."""
    more = f" and {len(names) - few:,} more" if len(names) > few else ""
    return ", ".join(names[:few]) + more
