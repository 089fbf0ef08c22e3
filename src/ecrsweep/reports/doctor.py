"""An examination for people: one line a source, exceptions named, and at the end what to do."""

from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ecrsweep.core.diagnosis import Diagnosis, Exclusion, Registry, State, overall, state_of
from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage
from ecrsweep.reports.words import counted, printable

_STYLES: Final = {
    State.WORKS: "green",
    State.UNTRIED: "",
    State.OFF: "dim",
    State.NOT_OFFERED: "dim",
    State.SKIPPED: "dim",
}


def show_diagnosis(out: Console, found: Diagnosis) -> None:
    """Who asks, what works and what does not."""
    for line in _identity_lines(found):
        out.print(printable(line))
    out.print()
    out.print(_registry_table(found.registries))
    out.print()
    out.print(_source_table(found))
    out.print()
    for line in [*_trouble_lines(found), *_delete_lines(found), *_exclusion_lines(found), *_state_lines(found)]:
        out.print(Text(printable(line), style="bold red" if line.startswith("GAP:") else ""))
    out.print(Text(verdict(found), style="bold"))


def verdict(found: Diagnosis) -> str:
    """What it comes to, in a sentence."""
    if found.gaps:
        return f"{counted(len(found.gaps), 'gap')}: a plan would hold images until that is mended or accepted."
    return "All that was asked works."


def _identity_lines(found: Diagnosis) -> Iterator[str]:
    identity = found.identity
    yield f"Account {identity.account} as {identity.arn}"
    until = "they do not say until when they are valid"
    if identity.valid_until is not None:
        until = f"valid until {rfc3339(identity.valid_until)}"
    yield f"Credentials: {identity.origin or 'of unknown origin'}; {until}"
    if found.regions_error is not None:
        yield f"Regions: not known: {found.regions_error}"
        return
    off = f", {len(found.disabled_regions)} not switched on" if found.disabled_regions else ""
    yield f"Regions: {len(found.enabled_regions)} enabled{off}"
    if found.closed_regions:
        yield f"    closed by a service control policy: {', '.join(found.closed_regions)}"
    if found.unreachable_regions:
        yield f"    unreachable: {', '.join(found.unreachable_regions)}"


def _registry_table(registries: Iterable[Registry]) -> Table:
    table = _table("REGISTRY", "REPOSITORIES", "DESCRIBE REPOSITORIES", "DESCRIBE IMAGES", "READ MANIFESTS")
    for registry in registries:
        number = "?" if registry.repositories is None else f"{registry.repositories:,}"
        table.add_row(registry.region, number, *(_styled(check.state) for check in registry.checks))
    return table


def _source_table(found: Diagnosis) -> Table:
    table = _table("SOURCE", "STATE", "REGIONS", "USES", "EXCEPT")
    for name, entries in found.sources.items():
        works = [entry for entry in entries if state_of(entry) is State.WORKS]
        uses = f"{sum(entry.uses for entry in works):,}"
        regions = f"{len(works)} of {len(entries)}"
        table.add_row(name, _styled(overall(entries)), regions, uses, "; ".join(_exceptions(entries)))
    for name in found.off_by_default:
        table.add_row(name, _styled(State.OFF), "-", "-", f"--with-source {name}")
    return table


def _exceptions(entries: Iterable[Coverage]) -> Iterator[str]:
    """Where it does not work, grouped by how."""
    by_state: dict[str, list[str]] = {}
    for entry in entries:
        state = state_of(entry)
        if state is not State.WORKS:
            words = f"{state.value} {entry.action}" if state is State.DENIED and entry.action else state.value
            by_state.setdefault(words, []).append(entry.region)
    for words, regions in by_state.items():
        yield f"{words} in {', '.join(regions)}"


def _trouble_lines(found: Diagnosis) -> Iterator[str]:
    for entry in found.gaps:
        yield f"GAP: {entry.place}: {entry.drop or entry.error}"
    for entry in found.coverage:
        yield from (f"Note: {entry.place}: {note}" for note in entry.notes)
    if found.untried:
        yield f"Not tried, because nothing here gave a reason to: {', '.join(found.untried)}"
        refused = [action for action in found.untried if found.simulated.get(action, "allowed") != "allowed"]
        if refused:
            yield f"    IAM would refuse, by its own simulation: {', '.join(refused)}"


def _delete_lines(found: Diagnosis) -> Iterator[str]:
    decision = found.simulated.get("ecr:BatchDeleteImage")
    if decision is None:
        why = found.unsimulated or "IAM did not answer that"
        yield (
            "Deleting (ecr:BatchDeleteImage) cannot be tried without deleting, and IAM could not be asked to simulate it: "
            f"{why}"
        )
    else:
        words = "allowed" if decision == "allowed" else f"not allowed ({decision})"
        yield f"Deleting (ecr:BatchDeleteImage): {words}, by the simulation of IAM"


def _exclusion_lines(found: Diagnosis) -> Iterator[str]:
    """Our own reads move pull times, unless the role is registered: a hint, never a gap."""
    principal = found.identity.principal
    for entry in found.exclusions:
        if entry.registered:
            yield f"Pull times in {entry.region}: reads of this identity do not move them"
        else:
            yield from _not_registered(entry, principal)


def _not_registered(entry: Exclusion, principal: str) -> Iterator[str]:
    if entry.registered is None:
        yield f"Pull times in {entry.region}: not known whether reads of this identity move them: {entry.error}"
        return
    yield f"Pull times in {entry.region}: reading an index moves its pull time. To change that:"
    yield f"    aws ecr register-pull-time-update-exclusion --region {entry.region} --principal-arn {principal}"


def _state_lines(found: Diagnosis) -> Iterator[str]:
    yield f"Manifest cache: {found.manifest_cache.location}: {found.manifest_cache.content}"
    yield f"Ledger: {found.ledger.location}: {found.ledger.content}"


def _styled(state: State) -> Text:
    return Text(state.value, style=_STYLES.get(state, "bold red"))


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, no_wrap=True)
    return table
