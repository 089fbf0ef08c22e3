"""What apply did, image by image, as data."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec

from ecrsweep.core.decisions import Code, Reason
from ecrsweep.core.document import PlannedImage, coverage_document
from ecrsweep.core.uses import Coverage

APPLY_FORMAT: Final = "ecrsweep.apply/1"


class Outcome(StrEnum):
    """What became of an image that the plan changes."""

    DELETED = "deleted"
    ARCHIVED = "archived"
    UNTAGGED = "untagged"
    """The tags that the plan names are gone from it, and it stays."""
    ALREADY_GONE = "already_gone"
    SPARED = "spared"
    """The world changed: it is in use now, or not what was planned any more."""
    HELD = "held"
    """A gate holds it: a gap or a limit."""
    REFUSED = "refused"
    """AWS refused, and it is still there."""
    KEPT_WITH_PARENT = "kept_with_parent"
    """What it belongs to was refused or spared."""
    UNKNOWN = "unknown"
    """The call failed, and so did asking what became of it."""
    NOT_TRIED = "not_tried"
    """Stopped before its turn."""


CHANGED: Final = frozenset({Outcome.DELETED, Outcome.ARCHIVED, Outcome.UNTAGGED})

LEFT_UNDONE: Final = frozenset({Outcome.REFUSED, Outcome.UNKNOWN, Outcome.NOT_TRIED, Outcome.KEPT_WITH_PARENT})


class Result(msgspec.Struct, frozen=True):
    """One image: as it was planned, what became of it, and why. `code` is that of AWS or of a reason."""

    image: PlannedImage
    outcome: Outcome
    code: str | None = None
    message: str | None = None

    def document(self) -> dict[str, Any]:
        """JSON-able: the image as in a plan, with what holds it as its action, and the outcome beside."""
        spared = {Outcome.SPARED: "changed", Outcome.HELD: self.code or "coverage_gap"}.get(self.outcome)
        image = self.image
        if spared is not None:
            reason = Reason(Code(spared), self.message or "")
            image = msgspec.structs.replace(image, action="hold", reasons=(reason,))
        fields: dict[str, Any] = msgspec.to_builtins(image)
        return fields | {"outcome": self.outcome.value, "code": self.code, "message": self.message}


class ApplyResult(msgspec.Struct, frozen=True):
    """What a whole apply came to. `held` tells that a safety gate held something back, here or in the plan."""

    results: tuple[Result, ...]
    coverage: tuple[Coverage, ...]
    held: bool = False
    interrupted: bool = False
    stopped_by: str | None = None
    """Why nothing further was tried, where credentials, permissions or the journal gave out."""
    journal: str | None = None
    """Where it is written down, if it is."""

    @property
    def changed(self) -> int:
        """How many images were deleted, archived or lost tags."""
        return self.count(*CHANGED)

    def count(self, *outcomes: Outcome) -> int:
        """How many images came to one of these outcomes."""
        return sum(result.outcome in outcomes for result in self.results)

    @property
    def left_undone(self) -> bool:
        """True where something that should have gone is still there, or may be."""
        return any(result.outcome in LEFT_UNDONE for result in self.results)

    def only(self, *outcomes: Outcome) -> Iterator[Result]:
        """The images that came to one of these outcomes."""
        return (result for result in self.results if result.outcome in outcomes)

    def summary(self) -> dict[str, int]:
        """Counts by outcome, and the upper bound of the bytes that went."""
        counts = {outcome.value: self.count(outcome) for outcome in Outcome}
        return counts | {"deleted_bytes_upper_bound": sum(r.image.size_bytes for r in self.only(Outcome.DELETED))}

    def document(self) -> dict[str, Any]:
        """JSON-able: everything."""
        return {"format": APPLY_FORMAT, "results": [entry.document() for entry in self.results], **self.footer()}

    def footer(self) -> dict[str, Any]:
        """JSON-able: all but the images."""
        return {
            "coverage": [coverage_document(entry) for entry in self.coverage],
            "summary": self.summary(),
            "held": self.held,
            "interrupted": self.interrupted,
            "stopped_by": self.stopped_by,
            **({"journal": self.journal} if self.journal is not None else {}),
        }
