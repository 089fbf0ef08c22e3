"""What failed while a source read on: what could be read protects, and the first failure is raised at the end.

For sources that begin with a listing and ask for each item of it: one item that cannot be read keeps no other from being seen.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ecrsweep.core.errors import AwsFailure, ClosedByOrganization
from ecrsweep.ports import Place

T = TypeVar("T")
R = TypeVar("R")


class Failures:
    """The failures of one reading of one place."""

    def __init__(self) -> None:
        """None yet, and nothing answered."""
        self._failures: list[AwsFailure] = []
        self._answered = False

    def until_failure(self, items: Iterable[T]) -> Iterator[T]:
        """The items, up to the first that cannot be read."""
        try:
            for item in items:
                self._answered = True
                yield item
            self._answered = True
        except AwsFailure as failure:
            self._failures.append(failure)

    def each(self, place: Place, work: Callable[[T], Iterable[R]], items: Iterable[T]) -> Iterator[R]:
        """All that `work` finds of each item, side by side, in the order of the items, also before it fails."""

        def attempt(item: T) -> tuple[list[R], AwsFailure | None]:
            found: list[R] = []
            try:
                found.extend(work(item))
            except AwsFailure as failure:
                return found, failure
            return found, None

        for found, failure in place.each(attempt, items):
            yield from found
            if failure is None:
                self._answered = True
            else:
                self._failures.append(failure)

    def raise_first(self) -> None:
        """Raise the first failure, if there is one. That the region is closed only where nothing else was answered."""
        others = [failure for failure in self._failures if not isinstance(failure, ClosedByOrganization)]
        if others:
            raise others[0]
        if self._failures and self._answered:
            closed = self._failures[0]
            raise AwsFailure(str(closed), action=closed.action)
        if self._failures:
            raise self._failures[0]
