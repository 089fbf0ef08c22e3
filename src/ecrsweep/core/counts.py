"""How much each source told in the last run that was accepted, and when telling so little now is suspicious.

A source that answers without an error and names almost nothing any more is more often a permission, a filter or a
wrong account than a company that has stopped working. The rules are explained to users in docs/retention.md.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage, CoverageStatus

FEW: Final = 10
"""So few uses come and go: below, only silence is suspicious."""

Key = tuple[str, str, str, str]


class Count(msgspec.Struct, frozen=True):
    """What a source told in one account and region, with these options, in a run that nothing held."""

    account: str
    region: str
    source: str
    options: str
    uses: int
    images: int
    at: float

    @property
    def key(self) -> Key:
        """What makes two counts comparable."""
        return self.account, self.region, self.source, self.options


def counts_of(coverage: Iterable[Coverage], options: Mapping[str, str], at: float) -> dict[Key, Count]:
    """What was told by every source that was read to its end. `options` by source; `at` is the moment of the run."""
    found: dict[Key, Count] = {}
    for entry in coverage:
        if entry.status is CoverageStatus.COMPLETE:
            count = _count(entry, options, at)
            other = found.get(count.key)  # two uses files of one name count together
            if other is not None:
                count = msgspec.structs.replace(count, uses=count.uses + other.uses, images=count.images + other.images)
            found[count.key] = count
    return found


def with_drops(
    coverage: Iterable[Coverage], before: Iterable[Count], options: Mapping[str, str]
) -> tuple[Coverage, ...]:
    """The coverage, where each source that tells suspiciously little beside `before` carries the sentence that says so."""
    entries = tuple(coverage)
    now = counts_of(entries, options, 0.0)
    accepted = {count.key: count for count in before}

    def judged(entry: Coverage) -> Coverage:
        count = now.get(_count(entry, options, 0.0).key)
        then = None if count is None else accepted.get(count.key)
        if entry.status is not CoverageStatus.COMPLETE or count is None or then is None:
            return entry
        return msgspec.structs.replace(entry, drop=_drop(then, count))

    return tuple(judged(entry) for entry in entries)


def _drop(then: Count, now: Count) -> str | None:
    """In words, how suspiciously little is told now; None where it is enough.

    Tasks come and go with the time of day; what they run is what matters. So "fewer than half" is asked of the images that
    the uses name, and not where there were few uses. Pulls name none: they come and go with the days.
    """
    shrunk = 2 * now.images < then.images and then.uses >= FEW
    if not then.images or not (now.images == 0 or shrunk):
        return None
    where = "" if now.region == "all" else f" in {now.region}"
    had = f"{now.source}{where} had {_uses(then)} at the last accepted run ({rfc3339(then.at)})"
    return f"{had}, now {_uses(now) if now.images else 'none'}"


def _uses(count: Count) -> str:
    images = "1 image" if count.images == 1 else f"{count.images:,} images"
    return f"1 use of {images}" if count.uses == 1 else f"{count.uses:,} uses of {images}"


def _count(entry: Coverage, options: Mapping[str, str], at: float) -> Count:
    return Count(entry.account, entry.region, entry.source, options.get(entry.source, ""), entry.uses, entry.images, at)
