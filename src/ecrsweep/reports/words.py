"""How numbers, sizes and evidence read to people, the same in every report."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from ecrsweep.core.holds import HOLDS_SOURCE
from ecrsweep.core.ledger import LEDGER_SOURCE
from ecrsweep.core.uses import Coverage, CoverageStatus

OVERRIDDEN: Final = "Limits are overridden (--override-limits): nothing is held for how much would go."
"""What whoever makes a plan or carries one out should see, whoever it was that overrode them."""

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP: Final = 1000
_FEW: Final = 4
_EVERYWHERE: Final = "all"
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"


def size(count: int) -> str:
    """Bytes as people write them: `0 B`, `512 kB`, `1.2 GB` (powers of 1000; AWS bills by powers of 1024)."""
    value = float(count)
    for unit in _UNITS:
        if value < _STEP or unit == _UNITS[-1]:
            break
        value /= _STEP
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"  # noqa: PLR2004 - three digits are enough


def counted(number: int, noun: str) -> str:
    """`1 image`, `1,024 images`."""
    plural = noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def printable(text: str) -> str:
    """Text of others, safe for a terminal: what is not printable, escape sequences first of all, is replaced."""
    return "".join(character if character.isprintable() else _REPLACED for character in text)


def coverage_lines(coverage: Sequence[Coverage], foreign_uses: int) -> list[str]:
    """What was asked, in one line when all is well, and a line for each gap and each kind of skip when not."""
    ledger = [entry for entry in coverage if entry.source == LEDGER_SOURCE]
    unread = [entry for entry in coverage if entry.source == HOLDS_SOURCE and entry.status is CoverageStatus.SKIPPED]
    coverage = [entry for entry in coverage if entry.source != LEDGER_SOURCE and entry not in unread]
    lines = []
    complete = [entry for entry in coverage if entry.status is CoverageStatus.COMPLETE]
    if complete:
        lines.append(_asked(complete, foreign_uses))
    lines += _skips(coverage)
    for entry in coverage:
        if entry.status is CoverageStatus.FAILED:
            accepted = " (accepted)" if entry.accepted else ""
            lines.append(f"GAP{accepted}: {entry.place}: {entry.error}")
        elif entry.drop is not None:
            lines.append(f"DROP{' (accepted)' if entry.accepted else ''}: {entry.drop}")
    lines += (line for entry in ledger for line in _ledger_lines(entry))
    lines += (f"Holds: not used: {entry.error}." for entry in unread if not ledger)
    lines += (f"Note: {entry.place}: {note}" for entry in coverage for note in entry.notes)
    return lines


def _ledger_lines(entry: Coverage) -> Iterable[str]:
    """What earlier runs left: memory is no source that was asked, so it has lines of its own."""
    if entry.status is not CoverageStatus.COMPLETE:
        yield f"Ledger: not used: {entry.error}. What only earlier runs saw in use is not protected."
    elif entry.uses:
        yield f"Ledger: {counted(entry.uses, 'use')} remembered of runs so far."
    yield from (f"Ledger: {note}." for note in entry.notes)


def _asked(complete: Sequence[Coverage], foreign_uses: int) -> str:
    """How many sources were asked in how many regions, and which of them found something."""
    sources = len({entry.source for entry in complete})
    regions = len({entry.region for entry in complete} - {_EVERYWHERE})
    found: Counter[str] = Counter()
    for entry in complete:
        found[entry.source] += entry.uses
    by_source = ", ".join(f"{source} {number:,}" for source, number in sorted(found.items()) if number)
    where = f" in {counted(regions, 'region')}" if regions else ""
    told = f"{counted(found.total(), 'use')}" + (f" ({by_source})" if by_source else "")
    elsewhere = f", {foreign_uses:,} of them of public images" if foreign_uses else ""
    return f"Asked {counted(sources, 'source')}{where}: {told}{elsewhere}."


def _skips(coverage: Iterable[Coverage]) -> Iterable[str]:
    """What was not asked, sources that were left out in the same places for the same reason together."""
    places: dict[tuple[str, str], list[str]] = {}
    for entry in coverage:
        if entry.status is CoverageStatus.SKIPPED:
            places.setdefault((entry.source, entry.error or ""), []).append(entry.region)
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (source, why), regions in places.items():
        alike.setdefault((why, tuple(sorted(regions))), []).append(source)
    for (why, where), sources in alike.items():
        yield f"Not asked: {', '.join(sorted(sources))} in {_listed(where)}: {why}."


def _listed(regions: Sequence[str]) -> str:
    if set(regions) == {_EVERYWHERE}:
        return "all regions"
    return ", ".join(regions) if len(regions) <= _FEW else counted(len(regions), "region")
