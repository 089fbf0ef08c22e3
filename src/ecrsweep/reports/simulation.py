"""What a policy would have cost in the past, for people: a line a policy, the regrets that matter most, and a verdict."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ecrsweep.core.decisions import Action
from ecrsweep.core.simulation import PolicyReplay, Regret, Simulation
from ecrsweep.core.times import rfc3339
from ecrsweep.reports.table import borderless, line_style, rules
from ecrsweep.reports.words import counted, coverage_lines, printable

_SHOWN: Final = 10
_SHORT_DIGEST: Final = 19


def show_simulation(out: Console, found: Simulation, where: str, *, verbose: bool) -> None:
    """The whole of it. `where` names account and regions; `verbose` shows every regret."""
    first, last = (_day(moment) for moment in (found.moments[0], found.moments[-1]))
    days = f"a day, {first}," if first == last else f"{len(found.moments):,} days, {first} to {last},"
    out.print(Text(f"Replay of {days} for {where}", style="bold"))
    for replayed in found.policies:
        out.print(printable(f"Policy {replayed.policy.name} keeps {rules(replayed.policy)}."))
    out.print("Replayed from push and pull times alone: what was in use then is not known, and kept nothing here.")
    out.print()
    out.print(_policy_table(found.policies))
    out.print()
    _show_regrets(out, found, None if verbose else _SHOWN)
    for line in coverage_lines(found.coverage, found.foreign_uses):
        out.print(Text(printable(line), style=line_style(line)))
    if any(entry.is_gap for entry in found.coverage):
        out.print(Text("What could not be read was not replayed, and may be in use.", style="bold red"))
    for replayed in found.policies:
        out.print(Text(printable(verdict(replayed)), style="bold"))


def verdict(replayed: PolicyReplay) -> str:
    """What the replay says of a policy, in a sentence or two."""
    name, gone, regretted = replayed.policy.name, counted(replayed.gone, "image"), len(replayed.regrets)
    if not replayed.gone:
        return f"{name}: it would have let nothing go."
    if not regretted:
        return f"{name}: it would have let {gone} go, and none of them was pulled afterwards."
    # A pull that hides those before it may hide the one that would have kept the image.
    bound = "at most " if replayed.policy.pulled_within else ""
    were = "was" if regretted == 1 else "were"
    found = (
        f"{name}: it would have let {gone} go, and {bound}{regretted:,} {were} pulled afterwards ({_span(replayed)})."
    )
    if not replayed.unsaved:
        them = "It is in use now, or was" if regretted == 1 else f"All {regretted:,} are in use now, or were"
        return f"{found} {them} seen in use then: a plan keeps what is in use."
    alone = "that pull speaks for it" if regretted == 1 else f"a pull speaks for {replayed.unsaved:,} of them"
    return f"{found} Nothing but {alone}: keep more, or for longer, before it is switched on."


def _span(replayed: PolicyReplay) -> str:
    """The first and the last day on which something went that was missed."""
    first, last = (_day(when(regret.gone_at for regret in replayed.regrets)) for when in (min, max))
    return f"gone on {first}" if first == last else f"gone between {first} and {last}"


def _policy_table(policies: Sequence[PolicyReplay]) -> Table:
    """A row a policy; a dash is a zero."""
    table = borderless()
    table.add_column("POLICY", overflow="fold", min_width=len("default"))
    for name in ("IMAGES", "WOULD GO", "PULLED AFTER", "IN USE NOW", "SEEN THEN", "NEITHER"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for one in policies:
        counts = (one.images, one.gone, len(one.regrets), one.in_use_now, one.seen_then, one.unsaved)
        cells = (f"{count:,}" if count else "-" for count in counts)
        table.add_row(printable(one.policy.name), *cells, style="red" if one.unsaved else "")
    return table


def _show_regrets(out: Console, found: Simulation, most: int | None) -> None:
    regrets = found.regrets
    if not regrets:
        return
    shown = regrets[:most]
    out.print(_regret_table(shown, policies=len(found.policies)))
    if len(shown) < len(regrets):
        out.print(f"and {len(regrets) - len(shown):,} more (--verbose)")
    out.print()


def _regret_table(regrets: Sequence[Regret], *, policies: int) -> Table:
    many = len({regret.repository.registry.region for regret in regrets}) > 1
    table = borderless()
    for name in (*(["POLICY"] * (policies > 1)), "IMAGE"):
        table.add_column(name, overflow="fold", min_width=_SHORT_DIGEST)
    for name in ("WOULD GO", "PULLED", ""):
        table.add_column(name, no_wrap=True)
    for regret in regrets:
        place = f"{regret.repository.registry.region} " if many else ""
        named = ", ".join(sorted(regret.image.tags)) or regret.image.digest[:_SHORT_DIGEST]
        separator = ":" if regret.image.tags else "@"
        table.add_row(
            *([printable(regret.policy)] * (policies > 1)),
            printable(f"{place}{regret.repository.name}{separator}{named}"),
            _day(regret.gone_at) + (" (archive)" if regret.action is Action.ARCHIVE else ""),
            _day(regret.pulled_at),
            _evidence(regret),
            style="" if regret.is_saved else "red",
        )
    return table


def _evidence(regret: Regret) -> str:
    """What would have kept it, had it been known then what is known now."""
    found = ["in use now"] * regret.in_use_now + ["seen in use then"] * regret.seen_then
    return ", ".join(found) or "nothing else speaks for it"


def _day(seconds: float) -> str:
    return rfc3339(seconds)[:10]
