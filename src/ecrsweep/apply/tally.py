"""What became of each image of a repository so far: read at any moment, from another thread too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from ecrsweep.core.document import PlannedImage
from ecrsweep.core.outcomes import Outcome, Result


class Before(msgspec.Struct, frozen=True):
    """What an earlier part of a run has done in a repository, by digest, and what it asked for without reading the answer."""

    done: Mapping[str, Outcome] = {}
    asked: frozenset[str] = frozenset()


NOTHING: Final = Before()


class Tally:
    """The images that were planned, and their results as they come."""

    def __init__(self, images: Iterable[PlannedImage], before: Before = NOTHING) -> None:
        """`before` is what an earlier part of the run has done."""
        self.planned = {image.digest: image for image in images}
        self.done: dict[str, Result] = {}
        self.asked = before.asked
        """The images whose change was asked for by an earlier part of the run, and nobody knows what came of it."""
        for digest, outcome in before.done.items():
            if digest in self.planned:
                self.mark([digest], outcome)
        self.in_flight: frozenset[str] = frozenset()
        """The images of the call that is under way."""

    def open(self) -> list[str]:
        """The digests without a result, in the order of the plan."""
        return [digest for digest in self.planned if digest not in self.done]

    def mark(
        self, digests: Iterable[str], outcome: Outcome, code: str | None = None, message: str | None = None
    ) -> None:
        """This is what became of these."""
        for digest in digests:
            self.done[digest] = Result(self.planned[digest], outcome, code, message)

    def mark_open(self, digests: Iterable[str], outcome: Outcome, code: str | None, message: str) -> None:
        """The same, of those that were planned and have no result."""
        self.mark(
            [digest for digest in digests if digest in self.planned and digest not in self.done], outcome, code, message
        )

    def results(self, why_not: str | None) -> list[Result]:
        """One result for each planned image, in the order of the plan; `why_not` tells why some were not tried."""
        return [self.done.get(digest) or self._unfinished(image, why_not) for digest, image in self.planned.items()]

    def only(self, digests: Sequence[str], *outcomes: Outcome) -> list[str]:
        """Those of `digests` that came to one of these outcomes."""
        return [digest for digest in digests if digest in self.done and self.done[digest].outcome in outcomes]

    def _unfinished(self, image: PlannedImage, why_not: str | None) -> Result:
        if image.digest in self.in_flight:
            return Result(image, Outcome.UNKNOWN, message="the call was under way: AWS may have carried it out")
        return Result(image, Outcome.NOT_TRIED, message=why_not)
