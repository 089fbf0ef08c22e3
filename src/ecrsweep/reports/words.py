"""How numbers, sizes and evidence read to people, the same in every report."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from ecrsweep.core.holds import HOLDS_SOURCE
from ecrsweep.core.ledger import LEDGER_SOURCE
from ecrsweep.core.sharing import CONSUMERS_SOURCE
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
    outsiders = [
        entry for entry in coverage if entry.source == CONSUMERS_SOURCE and entry.status is not CoverageStatus.FAILED
    ]
    apart = {id(entry) for entry in (*ledger, *unread, *outsiders)}
    coverage = [entry for entry in coverage if id(entry) not in apart]
    lines = []
    complete = [entry for entry in coverage if entry.status is CoverageStatus.COMPLETE]
    if complete:
        lines.append(_asked(complete, foreign_uses))
    lines += _skips(coverage)
    lines += _gaps(coverage)
    lines += (f"DROP{_accepted(entry)}: {entry.drop}" for entry in coverage if entry.drop is not None)
    lines += (line for entry in outsiders for line in _outsider_lines(entry))
    lines += (line for entry in ledger for line in _ledger_lines(entry))
    lines += (f"Holds: not used: {entry.error}." for entry in unread if not ledger)
    lines += (f"Note: {entry.place}: {note}" for entry in coverage for note in entry.notes)
    return lines


def _gaps(coverage: Iterable[Coverage]) -> Iterable[str]:
    """What could not be read; an account that lets nobody in is told once, not for each source."""
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for entry in coverage:
        if entry.status is CoverageStatus.FAILED:
            key = (entry.account, entry.region, entry.error or "", _accepted(entry))
            alike.setdefault(key, []).append(entry.source)
    for (account, region, error, accepted), sources in alike.items():
        where = f"@{account}/{region}"
        word = sources[0] if len(sources) == 1 else f"all {len(sources)} sources"
        yield f"GAP{accepted}: {word}{where}: {error}"


def _accepted(entry: Coverage) -> str:
    return " (accepted)" if entry.accepted else ""


def _outsider_lines(entry: Coverage) -> Iterable[str]:
    """Who may pull and is not asked: what only such an account runs is not seen."""
    where = f"the registry of {entry.account} in {entry.region}"
    if entry.error:
        yield f"Warning: {where}: {entry.error}"
    yield from (f"Warning: {where}: {note}" for note in entry.notes)


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
    accounts = len({entry.account for entry in complete if entry.region != _EVERYWHERE})
    found: Counter[str] = Counter()
    for entry in complete:
        found[entry.source] += entry.uses
    by_source = ", ".join(f"{source} {number:,}" for source, number in sorted(found.items()) if number)
    where = f" in {counted(regions, 'region')}" if regions else ""
    where += f" of {accounts} accounts" if accounts > 1 else ""
    told = f"{counted(found.total(), 'use')}" + (f" ({by_source})" if by_source else "")
    elsewhere = f", {foreign_uses:,} of them of public images" if foreign_uses else ""
    return f"Asked {counted(sources, 'source')}{where}: {told}{elsewhere}."


def _skips(coverage: Sequence[Coverage]) -> Iterable[str]:
    """What was not asked, sources that were left out in the same places for the same reason together."""
    several = len({entry.account for entry in coverage}) > 1
    places: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for entry in coverage:
        if entry.status is CoverageStatus.SKIPPED:
            place = (entry.account if several else "", entry.region)
            places.setdefault((entry.source, entry.error or ""), set()).add(place)
    alike: dict[tuple[str, frozenset[tuple[str, str]]], list[str]] = {}
    for (source, why), where in places.items():
        alike.setdefault((why, frozenset(where)), []).append(source)
    for (why, skipped), sources in alike.items():
        accounts = sorted({account for account, _ in skipped})
        regions = _listed(sorted({region for _, region in skipped}))
        of = f" of {accounts[0] if len(accounts) == 1 else f'{len(accounts)} accounts'}" if several else ""
        yield f"Not asked: {', '.join(sorted(sources))} in {regions}{of}: {why}."


def _listed(regions: Sequence[str]) -> str:
    if set(regions) == {_EVERYWHERE}:
        return "all regions"
    return ", ".join(regions) if len(regions) <= _FEW else counted(len(regions), "region")
