"""The ledger of one account, over a state store: read, add to, put together; and the counts of the last accepted run.

A run adds a segment, a file of its own, so that writers never meet. Now and then the segments are put together into one
file, which is replaced only if it is still the one that was read; the segments go afterwards. A reader takes
the segments first and that file last: whatever vanishes in between stands in it. Nothing is ever lost on the way, and
what is read twice counts once.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec

from ecrsweep.core.counts import Count, Key
from ecrsweep.core.errors import StateFailure
from ecrsweep.core.ledger import LEDGER_SOURCE, Recollection, ahead, lines_of, merged, read_lines
from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage, CoverageStatus, Sighting
from ecrsweep.ports import Kept, StateStore

MANY: Final = 16
"""From so many segments on, they are put together."""

COUNTS_FORMAT: Final = "ecrsweep.counts/1"
_EVERYWHERE: Final = "all"
_TRIES: Final = 5


class _Count(msgspec.Struct):
    """A count, as it is written."""

    account: str
    region: str
    source: str
    options: str
    uses: int
    images: int
    at: Annotated[datetime, msgspec.Meta(tz=True)]

    def read(self) -> Count:
        return Count(self.account, self.region, self.source, self.options, self.uses, self.images, self.at.timestamp())


class _Counts(msgspec.Struct):
    format: str
    account: str
    counts: list[_Count]


class _Reading(msgspec.Struct):
    """What was found in the files of the ledger, file by file."""

    sightings: list[Sighting] = msgspec.field(default_factory=list)
    damaged: list[bytes] = msgspec.field(default_factory=list)
    refused: list[str] = msgspec.field(default_factory=list)
    taken: list[str] = msgspec.field(default_factory=list)
    """The segments that were understood, and may go once they stand elsewhere."""
    version: str | None = None
    """That of the file into which they are put together."""
    whole: bool = True
    """False where that file is not ours to replace."""
    files: int = 0


class Ledger:
    """What earlier runs of an account left, and the way to add to it."""

    def __init__(self, store: StateStore, account: str) -> None:
        """Nothing is read yet."""
        self._store = store
        self._account = account
        self._together = f"ledger/{account}/ledger.jsonl"
        self._segments = f"ledger/{account}/segments/"
        self._damaged = f"ledger/{account}/damaged/"
        self._counts = f"counts/{account}.json"
        self._to_mend = False

    @property
    def location(self) -> str:
        """Where it is, as the user would write it."""
        return self._store.location

    def recall(self, now: float) -> Recollection:
        """All that earlier runs left. Never raises `StateFailure`: what cannot be read is said in the coverage."""
        try:
            found = self._read()
            counts, lost, _ = self._understood(self._kept(self._counts))
        except StateFailure as failure:
            entry = self._coverage(CoverageStatus.SKIPPED, error=f"the ledger cannot be read: {failure}")
            return Recollection(entry)
        self._to_mend = bool(found.damaged)
        sightings = merged(found.sightings)
        notes = (*_notes(found, sightings, now), *lost)
        return Recollection(
            self._coverage(CoverageStatus.COMPLETE, uses=len(sightings), notes=notes), sightings, tuple(counts.values())
        )

    @property
    def segments(self) -> int:
        """How many files wait to be put together. Raises `StateFailure`."""
        return len(self._store.names(self._segments))

    def add(self, sightings: Sequence[Sighting], name: str | None = None) -> None:
        """Write down what a run saw, in a segment of its own. The same name and content may come twice. Raises `StateFailure`."""
        if sightings:
            segment = name or f"{max(one.last_seen for one in sightings):.0f}-{uuid.uuid4().hex}"
            self._store.add(f"{self._segments}{segment}.jsonl", lines_of(self._account, sightings))

    def put_together(self, *, least: int = MANY) -> None:
        """Make one file of the segments, if they are many or damaged, and no other writer does it now. Raises `StateFailure`."""
        if self.segments < least and not self._to_mend:
            return
        found = self._read()
        if not found.whole or not (found.taken or found.damaged):
            return
        if found.damaged:
            self._store.add(f"{self._damaged}{uuid.uuid4().hex}.txt", b"\n".join([*found.damaged, b""]))
        together = lines_of(self._account, merged(found.sightings))
        if self._store.replace(self._together, together, found.version):
            self._store.remove(found.taken)

    def accept(self, counts: Iterable[Count]) -> None:
        """Make these the counts that later runs are held against; those of other sources stay. Raises `StateFailure`."""
        new = {count.key: count for count in counts}
        for _ in range(_TRIES if new else 0):
            there = self._kept(self._counts)
            known, _, ours = self._understood(there)
            if not ours:
                return
            document = {
                "format": COUNTS_FORMAT,
                "account": self._account,
                "counts": [
                    msgspec.to_builtins(count) | {"at": rfc3339(count.at)} for _, count in sorted((known | new).items())
                ],
            }
            content = msgspec.json.format(msgspec.json.encode(document), indent=1)
            if self._store.replace(self._counts, content, None if there is None else there.version):
                return

    def _read(self) -> _Reading:
        """Segments first, what they were put together into last: whatever vanishes in between stands there."""
        found = _Reading()
        names = self._store.names(self._segments)
        read = [*zip(names, self._store.read(names), strict=True)]
        read.append((self._together, self._kept(self._together)))
        for name, kept in read:
            if kept is None:
                continue
            found.files += 1
            lines = read_lines(self._account, kept.content)
            found.sightings += lines.sightings
            found.damaged += lines.damaged
            if name == self._together:
                found.version, found.whole = kept.version, lines.refused is None
            elif lines.refused is None:
                found.taken.append(name)
            if lines.refused is not None:
                found.refused.append(f"{name} was not read: {lines.refused}")
        return found

    def _kept(self, name: str) -> Kept | None:
        return next(iter(self._store.read([name])))

    def _understood(self, kept: Kept | None) -> tuple[dict[Key, Count], tuple[str, ...], bool]:
        """The counts by what makes them comparable, in words what is wrong with them, and whether they are ours to replace."""
        if kept is None:
            return {}, (), True
        try:
            found = msgspec.json.decode(kept.content, type=_Counts)
        except (msgspec.MsgspecError, ValueError) as error:
            why = f"{self._counts} is damaged, so nothing is known of how much each source told before ({error})"
            return {}, (why,), True
        if (found.format, found.account) != (COUNTS_FORMAT, self._account):
            return {}, (f"{self._counts} is of {found.format} and account {found.account}, and was not read",), False
        return {count.key: count for count in (entry.read() for entry in found.counts)}, (), True

    def _coverage(
        self, status: CoverageStatus, *, uses: int = 0, error: str | None = None, notes: tuple[str, ...] = ()
    ) -> Coverage:
        return Coverage(self._account, _EVERYWHERE, LEDGER_SOURCE, status, uses, error, notes=notes)


def _notes(found: _Reading, sightings: Sequence[Sighting], now: float) -> list[str]:
    """What people should know of the ledger, in sentences."""
    notes = list(found.refused)
    if not found.files:
        notes.append("no earlier run has written one yet")
    if found.damaged:
        lines = "1 line is" if len(found.damaged) == 1 else f"{len(found.damaged):,} lines are"
        notes.append(f"{lines} damaged and set aside, the rest was read")
    early = ahead(sightings, now)
    if early:
        latest = rfc3339(max(one.last_seen for one in sightings))
        notes.append(f"{early:,} of its entries are ahead of this clock, up to {latest}: they protect until then")
    return notes
