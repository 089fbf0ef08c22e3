"""Reading on after a failure: it is kept and raised at the end, so that one closed door hides nothing behind the others.

What a source found before and after a failure still protects; the failure itself is the gap (`ports.Source`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure, ClosedByOrganization
from ecrsweep.ports import Place

T = TypeVar("T")
R = TypeVar("R")


class Attempts:
    """The calls of one reading. May be used by several threads at once."""

    def __init__(self) -> None:
        """Begin without a failure."""
        self._failures: list[AwsFailure] = []
        self._answered = False

    def each(
        self, place: Place, work: Callable[[T], R], items: Iterable[T], *, gone: Collection[str] = ()
    ) -> Iterator[R]:
        """`work` of each item, side by side, in order; the items for which it fails are left out, and the failures noted.

        `gone` are the error codes by which AWS says that what was asked for does not exist any more: no failure.
        """
        for found in place.each(lambda item: tuple(self.of(lambda: work(item), gone=gone)), items):
            yield from found

    def of(self, work: Callable[[], R], *, gone: Collection[str] = ()) -> Iterator[R]:
        """What one piece of work finds, or nothing where it fails, as in `each`."""
        return self.listed((work() for _ in range(1)), gone=gone)

    def listed(self, items: Iterable[T], *, gone: Collection[str] = ()) -> Iterator[T]:
        """The items as they come; what came before a failure counts, and the failure is noted."""
        try:
            for item in items:
                self._answered = True
                yield item
        except AwsFailure as failure:
            if code_of(failure) not in gone:
                self._failures.append(failure)
                return
        self._answered = True

    def raise_failure(self) -> None:
        """Raise the first failure, if there is one: that the region is closed only if every call was refused so."""
        others = [failure for failure in self._failures if not isinstance(failure, ClosedByOrganization)]
        if others:
            raise others[0]
        if self._failures and self._answered:
            closed = self._failures[0]
            raise AwsFailure(str(closed), action=closed.action)
        if self._failures:
            raise self._failures[0]
