"""How every source reads on after a failure. It knows no service.

A part of a service that cannot be read is a gap, and no reason to leave the rest unread: what the rest names is protected
even where the user accepts the gap. So failures are kept, and raised when everything has been tried.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from ecrsweep.aws.clients import action_of
from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import (
    AwsFailure,
    ClosedByOrganization,
    CredentialsFailure,
    Malformed,
    Throttled,
    Unreachable,
)
from ecrsweep.ports import Place

Json = Mapping[str, Any]
T = TypeVar("T")
R = TypeVar("R")

_HOPELESS: Final = (CredentialsFailure, Throttled, Unreachable)
"""What the next item would meet too: asking on would only be impolite."""

_ODD_SHAPES: Final = (AttributeError, KeyError, TypeError, ValueError)
"""What comes of an answer that lacks what its service documents, or has something else in its place."""

_NOT_KNOWN_THERE: Final = "UnknownOperationException"
"""What a service answers where it does not (yet) have an operation, and so nothing that the operation could list."""

ECR_NAME: Final = re.compile(
    r"(?<![\w.-])\d{12}\.dkr[.-]ecr(?:-fips)?\.[a-z0-9-]+\.[a-z0-9.-]+(?::443)?/[A-Za-z0-9._/-]*[A-Za-z0-9]"
    r"(?::[A-Za-z0-9_](?:[\w.-]*\w)?)?(?:@sha256:[0-9a-f]{64})?"
)
"""The name of an image in private ECR, wherever it stands in a text."""


class Reading:
    """The reads of one service in one place. A failure is kept, so that the rest is still read; `finish` raises it.

    Several threads may read at once.
    """

    def __init__(self, place: Place, service: str, is_gone: Callable[[AwsFailure], bool] = lambda _: False) -> None:
        """`service` by botocore's name; `is_gone` tells the failure of what was deleted in between: that is no gap."""
        self.place = place
        self._service = service
        self._is_gone = is_gone
        self._failures: list[AwsFailure] = []
        self._answered = False

    def described(self, operation: str, key: str, /, **parameters: object) -> Json:
        """The answer to one call. Raises `AwsFailure`, and `Malformed` where it lacks `key`, which it always has."""
        answer = self.place.call(self._service, operation, **parameters)
        self._answered = True
        if answer.get(key) is None:
            action = action_of(self.place.client(self._service), operation)
            raise Malformed(f"{action} in {self.place.region} answered without {key}", action=action)
        return answer

    def listed(self, operation: str, key: str, /, *, inside: bool = False, **parameters: Any) -> Iterator[Any]:  # noqa: ANN401 - a keyword of `pages` is no parameter
        """The items under `key` of all pages, up to the first failure.

        `inside`: they belong to something that was listed before, and may be gone with it.
        """
        try:
            for item in self.place.pages(self._service, operation, key, **parameters):
                self._answered = True
                yield item
            self._answered = True
        except AwsFailure as failure:
            if not (inside and self._is_gone(failure)):
                self._failures.append(failure)

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Each item with what `work` makes of it, side by side, in order. What is gone or fails is left out."""
        return self.found(lambda item: ((item, work(item)) for _ in range(1)), items)

    def found(self, work: Callable[[T], Iterable[R]], items: Iterable[T]) -> Iterator[R]:
        """All that `work` finds of each item, side by side, in the order of the items; also what it found before it failed."""
        for found, failure in self.place.each(lambda item: self._tried(work, item), list(items)):
            yield from found
            self._note(failure)
            if isinstance(failure, _HOPELESS):
                return

    def attempted(self, work: Callable[[], T]) -> Iterator[T]:
        """What one piece of work makes, or nothing where it is gone or fails."""
        found, failure = self._tried(lambda _: (work() for _ in range(1)), None)
        self._note(failure)
        yield from found

    def part(self, found: Iterable[T]) -> Iterator[T]:
        """All that is found, up to a failure or an answer that lacks what its service documents."""
        try:
            for item in found:
                self._answered = True
                yield item
        except AwsFailure as failure:
            self._failures.append(failure)
        except _ODD_SHAPES as error:
            self._failures.append(self._malformed(error))

    def finish(self) -> None:
        """Raise what failed, if anything did: that the region is closed only where no call at all was answered."""
        failures = [failure for failure in self._failures if not (self._answered and _is_not_known_there(failure))]
        # By text, because threads fail in any order, and the same inputs give the same plan.
        failures.sort(key=lambda failure: (isinstance(failure, ClosedByOrganization), str(failure)))
        if not failures:
            return
        first = failures[0]
        if isinstance(first, ClosedByOrganization) and self._answered:
            raise AwsFailure(str(first), action=first.action) from first
        raise first

    def _note(self, failure: AwsFailure | None) -> None:
        if failure is None:
            self._answered = True
        elif not self._is_gone(failure):
            self._failures.append(failure)

    def _tried(self, work: Callable[[T], Iterable[R]], item: T) -> tuple[list[R], AwsFailure | None]:
        found: list[R] = []
        try:
            found.extend(work(item))
        except AwsFailure as failure:
            return found, failure
        except _ODD_SHAPES as error:
            return found, self._malformed(error)
        return found, None

    def _malformed(self, error: Exception) -> Malformed:
        what = f"{type(error).__name__}: {error}"
        return Malformed(f"{self._service} in {self.place.region} did not answer as it documents: {what}")


def answering(*codes: str) -> Callable[[AwsFailure], bool]:
    """Tells the failures in which AWS answered one of these codes."""
    return lambda failure: code_of(failure) in codes


def member(answer: Json, key: str, action: str) -> Any:  # noqa: ANN401 - JSON is Any
    """What an answer has under a key that the service always gives. Raises `Malformed` where it has none."""
    if answer.get(key) is None:
        raise Malformed(f"{action} answered without {key}", action=action)
    return answer[key]


def in_batches(items: Sequence[T], size: int) -> list[list[T]]:
    """The items in order, at most `size` together."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def ecr_names(text: str) -> Iterator[str]:
    """The names of private ECR that stand in a text, whatever is around them."""
    return (found.group() for found in ECR_NAME.finditer(text))


def strings(node: object) -> Iterator[str]:
    """Every string that is a value in a JSON document."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, Collection):
        for value in node:
            yield from strings(value)


def seconds(moment: object) -> float | None:
    """A moment of botocore's in seconds since the epoch; None where there is none."""
    return moment.timestamp() if isinstance(moment, datetime) else None


def in_words(*parts: str) -> str:
    """Where in a workload an image stands: the parts that say something, with commas."""
    return ", ".join(part for part in parts if part)


def _is_not_known_there(failure: AwsFailure) -> bool:
    return code_of(failure) == _NOT_KNOWN_THERE
