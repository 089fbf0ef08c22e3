"""Memory of use: what earlier runs saw, merged, bounded, written down as lines, and what it says for an image now.

Every source is a snapshot; what ran between two of them stands here only. Memory is evidence of use and nothing else: it
can keep an image, never let one go. Merging is idempotent and knows no order, so the same entry may be read
twice and from anywhere. Where the lines are kept is not known here. The format is public: docs/formats.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from ecrsweep.core.counts import Count
from ecrsweep.core.decisions import Code, Reason
from ecrsweep.core.holds import Hold
from ecrsweep.core.images import Image
from ecrsweep.core.names import (
    AliasReference,
    EcrReference,
    Registry,
    Repository,
    UnreadableReference,
    parse_reference,
)
from ecrsweep.core.policy import DAY, format_duration
from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage, Matched, Sighting, Use, UseIndex

LEDGER_FORMAT: Final = "ecrsweep.ledger/1"
LEDGER_SOURCE: Final = "ledger"
"""The word in coverage for the memory of earlier runs."""

MOST_WORKLOADS: Final = 50
"""How many workloads of an image and source are remembered: those seen last. An image is never forgotten with them."""

CLOCK_SLACK: Final = DAY
"""Seconds that a time may lie ahead before somebody is told that a clock is wrong."""

_Key = tuple[str, str, str, str, str]


class Recollection(msgspec.Struct, frozen=True):
    """What was found of earlier runs when this one began: sightings, accepted counts, holds, and how the reading went."""

    coverage: Coverage
    sightings: tuple[Sighting, ...] = ()
    counts: tuple[Count, ...] = ()
    holds: tuple[Hold, ...] = ()
    gaps: tuple[Coverage, ...] = ()
    """What of it could not be read although something may be held by it."""


class Lines(msgspec.Struct, frozen=True):
    """What a file of the ledger holds. `refused` says why none of it may be taken, `damaged` are the lines that make no sense."""

    sightings: tuple[Sighting, ...] = ()
    damaged: tuple[bytes, ...] = ()
    refused: str | None = None


class _Entry(msgspec.Struct, omit_defaults=True):
    """A line, as it is written."""

    image: str
    workload: str
    source: str
    first_seen: Annotated[datetime, msgspec.Meta(tz=True)]
    last_seen: Annotated[datetime, msgspec.Meta(tz=True)]
    digest: str | None = None
    region: str = ""
    possible: bool = False


def seen_in(repository: Repository, matched: Matched, now: float) -> Iterator[Sighting]:
    """What a run saw of a repository: each image that some use means, under its digest."""
    for digest, matches in matched.found.items():
        for match in matches:
            first, last = _when(match.use, now)
            yield Sighting(
                f"{repository.uri}@{digest}",
                match.use.described,
                match.use.source,
                first,
                last,
                possible=match.possible,
            )


def seen_by_digest(uses: Iterable[Use], now: float) -> Iterator[Sighting]:
    """What a run saw by digest, whether it read the registry or not. A tag alone says nothing without one."""
    for use in uses:
        first, last = _when(use, now)
        if use.anywhere and use.digest:
            yield Sighting("", use.described, use.source, first, last, use.digest, use.region)
        for image in _by_digest(use.image, use.digest):
            yield Sighting(image, use.described, use.source, first, last)


def _when(use: Use, now: float) -> tuple[float, float]:
    """When a use was seen: now, but for pulls, which were when they were."""
    return (now, now) if use.pulls is None else (use.pulls.first, use.pulls.last)


@lru_cache(maxsize=65_536)
def _by_digest(text: str, observed: str | None) -> tuple[str, ...]:
    """The names by digest that a name, with the digest observed under it, stands for."""
    reference = parse_reference(text)
    match reference:
        case EcrReference(repository=repository):
            where = repository.uri
        case AliasReference(host=host, path=path):
            where = f"{host}/{path}"
        case UnreadableReference(digests=digests) if digests:
            return (text,)
        case _:
            return ()
    return tuple(f"{where}@{digest}" for digest in dict.fromkeys((reference.digest, observed)) if digest)


def merged(sightings: Iterable[Sighting]) -> tuple[Sighting, ...]:
    """Each use once, first seen when it was first seen by anybody, last when it was last; sorted, and bounded.

    Whatever is merged, in whatever order and however often, the newest sighting of every image stays.
    """
    found: dict[_Key, Sighting] = {}
    for one in sightings:
        key = (one.image, one.digest or "", one.region, one.source, one.workload)
        other = found.get(key)
        found[key] = one if other is None else _joined(one, other)
    by_image: dict[tuple[str, ...], list[tuple[_Key, Sighting]]] = defaultdict(list)
    for key, one in found.items():
        by_image[key[:-1]].append((key, one))
    kept = []
    for group in by_image.values():
        group.sort(key=lambda entry: (-entry[1].last_seen, entry[0]))
        kept += group[:MOST_WORKLOADS]
    return tuple(one for _, one in sorted(kept, key=lambda entry: entry[0]))


def _joined(one: Sighting, other: Sighting) -> Sighting:
    return msgspec.structs.replace(
        one,
        first_seen=min(one.first_seen, other.first_seen),
        last_seen=max(one.last_seen, other.last_seen),
        possible=one.possible and other.possible,
    )


def recent(
    sightings: Iterable[Sighting], within: float, now: float, aliases: Mapping[str, Registry] | None = None
) -> UseIndex:
    """What was seen within so many seconds before now. A time ahead of this clock is recent: one of two clocks is wrong."""
    return UseIndex((one.as_use() for one in sightings if now - one.last_seen <= within), aliases)


def used_recently(index: UseIndex, repository: Repository, images: Iterable[Image], within: float) -> dict[str, Reason]:
    """What memory says for the images of a repository, by digest: one reason an image, of the use that was seen last."""
    found = index.match(repository, images).found
    return {
        digest: _recalled(list(dict.fromkeys(match.use for match in matches)), within)
        for digest, matches in found.items()
    }


def _recalled(uses: Sequence[Use], within: float) -> Reason:
    last = max(uses, key=lambda use: (use.resolved_until or 0.0, use.workload, use.source))
    first, until = rfc3339(last.resolved_from or 0.0), rfc3339(last.resolved_until or 0.0)
    others = f"; and by {len(uses) - 1} more" if len(uses) > 1 else ""
    limit = format_duration(within)
    return Reason(
        Code.USED_RECENTLY,
        f"last seen {until}, within {limit}, by {last.workload} ({last.source}), first {first}{others}",
    )


def history(
    sightings: Iterable[Sighting], repository: Repository, images: Sequence[Image], digest: str
) -> tuple[Sighting, ...]:
    """The life of an image: all that is remembered of its use, the newest first.

    `images` are all that the repository holds; an image that is not there any more is found under its own name.
    """
    own = f"{repository.uri}@{digest}"
    ours = [one for one in sightings if one.image == own or _may_mean(one, repository, images, digest)]
    return tuple(sorted(ours, key=lambda one: (-one.last_seen, -one.first_seen, one.source, one.workload)))


def _may_mean(one: Sighting, repository: Repository, images: Sequence[Image], digest: str) -> bool:
    if "@" in one.image and digest not in one.image:
        return False
    return digest in UseIndex([one.as_use()]).match(repository, images).found


def ahead(sightings: Iterable[Sighting], now: float) -> int:
    """How many are from the future: the clock of some run, or this one, is wrong."""
    return sum(one.last_seen > now + CLOCK_SLACK for one in sightings)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Entry).decode


def lines_of(account: str, sightings: Iterable[Sighting]) -> bytes:
    """The sightings as JSON Lines, behind a line that says the format and the account whose runs saw them."""
    header = {"format": LEDGER_FORMAT, "account": account}
    return b"".join(_encode(line) + b"\n" for line in (header, *(_entry(one) for one in sightings)))


def read_lines(account: str, raw: bytes) -> Lines:
    """What `lines_of` wrote, as far as it is whole. What makes no sense is set apart, and the rest is taken."""
    found: list[Sighting] = []
    damaged: list[bytes] = []
    for line in raw.splitlines():
        try:
            found.append(_sighting(_decode(line)))
        except (msgspec.MsgspecError, ValueError, OverflowError):
            header = _header(line)
            if header is None:
                damaged += [line] if line.strip() else []
            elif header.get("format") != LEDGER_FORMAT:
                return Lines(refused=f"its format is {header.get('format')}, which this version cannot read")
            elif header.get("account") != account:
                return Lines(refused=f"it is of account {header.get('account')}, not of {account}")
    return Lines(tuple(found), tuple(damaged))


def _header(line: bytes) -> dict[str, Any] | None:
    try:
        header = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError):
        return None
    return header if "format" in header else None


def _entry(one: Sighting) -> _Entry:
    first, last = (datetime.fromtimestamp(moment, UTC) for moment in (one.first_seen, one.last_seen))
    return _Entry(one.image, one.workload, one.source, first, last, one.digest, one.region, one.possible)


def _sighting(entry: _Entry) -> Sighting:
    first, last = entry.first_seen.timestamp(), entry.last_seen.timestamp()
    if first > last or not (entry.image or entry.digest):
        raise ValueError("no such sighting")
    return Sighting(entry.image, entry.workload, entry.source, first, last, entry.digest, entry.region, entry.possible)
