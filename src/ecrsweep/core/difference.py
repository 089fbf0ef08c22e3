"""What changed between two plans: images that came and went, and decisions that are others now."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from ecrsweep.core.decisions import Action
from ecrsweep.core.document import PlannedImage, SavedPlan, read_rows
from ecrsweep.core.times import rfc3339

DIFFERENCE_FORMAT: Final = "ecrsweep.difference/1"
ABSENT: Final = "absent"
"""Stands for the decision where a plan does not know the image."""

Key = tuple[str, str, str, str]


class Change(msgspec.Struct, frozen=True):
    """An image whose decision is another than before; the image as it is now, or was, where it is gone."""

    image: PlannedImage
    before: str
    after: str

    def document(self) -> dict[str, Any]:
        """JSON-able: the image without its decision, the two decisions, and the reasons for the later one."""
        fields: dict[str, Any] = msgspec.to_builtins(self.image)
        del fields["action"]
        return fields | {"before": self.before, "after": self.after}


class OldPlan:
    """A plan made before, as what a new one is held against."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Read it; it may have expired. Raises `PlanUnreadable` or `PlanAltered`."""
        self._rows: dict[Key, PlannedImage] = {}
        self.saved: SavedPlan = read_rows(lines, self._take)

    @property
    def described(self) -> str:
        """In words, which one it is."""
        return f"the plan of {rfc3339(self.saved.header.created_at)}"

    def compare(self, rows: Iterable[PlannedImage]) -> Iterator[Change]:
        """The changes that these decisions of the new plan show."""
        for row in rows:
            before = self._rows.pop(_key(row), None)
            was = ABSENT if before is None else before.action.value
            if was != row.action.value:
                yield Change(row, was, row.action.value)

    def gone(self) -> Iterator[Change]:
        """The images that the new plan, whose decisions have all been compared, knows nothing of."""
        for row in self._rows.values():
            yield Change(msgspec.structs.replace(row, reasons=()), row.action.value, ABSENT)

    def _take(self, row: PlannedImage) -> None:
        self._rows[_key(row)] = row


def goes_now(change: Change) -> bool:
    """True where an image goes that did not before."""
    return change.after in {Action.DELETE, Action.ARCHIVE} and change.before not in {Action.DELETE, Action.ARCHIVE}


def _key(row: PlannedImage) -> Key:
    return (row.account, row.region, row.repository, row.digest)
