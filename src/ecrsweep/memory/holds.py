"""Holds that ecrsweep itself has put on images, over a state store: a file each, which whoever lifts the hold removes.

A hold that is there and makes no sense may be of any image: that is a gap. Where nothing can be read at all, it is told like
that of the ledger, and is a gap where artifacts are on trial: only holds say which of them somebody missed.
"""

from typing import Final

import msgspec

from ecrsweep.core.errors import BadInput, StateFailure
from ecrsweep.core.holds import HOLDS_SOURCE, Hold, Holds
from ecrsweep.core.times import parse_rfc3339
from ecrsweep.core.uses import Coverage, CoverageStatus
from ecrsweep.ports import StateStore

HOLD_FORMAT: Final = "ecrsweep.hold/1"
_EVERYWHERE: Final = "all"


class HoldBook:
    """The holds of one account."""

    def __init__(self, store: StateStore, account: str) -> None:
        """Nothing is read yet."""
        self._store = store
        self._account = account
        self._folder = f"holds/{account}/"

    @property
    def location(self) -> str:
        """Where they lie."""
        return f"{self._store.location}/{self._folder.rstrip('/')}"

    def add(self, name: str, hold: Hold) -> bool:
        """Put a hold under a name; False where one is there already, which stays as it is. Raises `StateFailure`."""
        document = {"format": HOLD_FORMAT, **hold.document()}
        content = msgspec.json.format(msgspec.json.encode(document), indent=1)
        return self._store.replace(f"{self._folder}{name}.json", content, None)

    def recall(self) -> tuple[tuple[Hold, ...], tuple[Coverage, ...]]:
        """All holds, and what could not be read of them. Never raises `StateFailure`."""
        found: list[Hold] = []
        gaps: list[Coverage] = []
        try:
            names = self._store.names(self._folder)
            for name, kept in zip(names, self._store.read(names), strict=True):
                if kept is None:
                    continue
                try:
                    found.append(_read(kept.content))
                except (BadInput, msgspec.MsgspecError, KeyError, TypeError) as error:
                    gaps.append(self._gap(f"{name} at {self._store.location} is no hold: {error}"))
        except StateFailure as failure:
            unread = self._gap(f"the holds at {self.location} cannot be read: {failure}")
            gaps.append(msgspec.structs.replace(unread, status=CoverageStatus.SKIPPED))
        return tuple(found), tuple(gaps)

    def _gap(self, error: str) -> Coverage:
        return Coverage(self._account, _EVERYWHERE, HOLDS_SOURCE, CoverageStatus.FAILED, error=error)


def _read(content: bytes) -> Hold:
    raw = msgspec.json.decode(content, type=dict[str, str | None])
    if raw.get("format") != HOLD_FORMAT:
        raise BadInput(f"its format is {raw.get('format')!r}, not {HOLD_FORMAT!r}")
    until = raw.get("until")
    hold = Hold(str(raw["image"]), raw.get("who") or "", raw.get("why") or "", parse_rfc3339(until) if until else None)
    Holds([hold], 0.0)
    return hold
