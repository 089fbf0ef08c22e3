"""The time limit of a function: work stops early enough that what was done can still be told.

https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
"""

import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ecrsweep.core.errors import EcrsweepError

T = TypeVar("T")

LONGEST_MARGIN: Final = 60.0
"""Seconds before the limit at which work stops, where 20 % of the limit is more."""
MARGIN_SHARE: Final = 0.2
FOR_THE_REPORT: Final = 0.5
"""Of the margin: what is left for writing the report when a call does not come back."""
FOR_THE_LOG: Final = 0.1
"""Of the margin: what is left for the log when the report cannot be written either."""


class OutOfTime(EcrsweepError):
    """The work did not come back before the margin was used up: some call hangs."""


class Deadline:
    """When to stop: 60 seconds or 20 % of the limit before it, whichever is less."""

    def __init__(self, seconds_left: Callable[[], float]) -> None:
        """`seconds_left` until the limit, now; asked first when the invocation begins."""
        self._seconds_left = seconds_left
        self.margin = min(LONGEST_MARGIN, MARGIN_SHARE * seconds_left())

    @classmethod
    def of(cls, context: Any) -> "Deadline":  # noqa: ANN401 - Lambda's context object; None where somebody calls by hand
        """The deadline of an invocation; endless without a context."""
        ask = getattr(context, "get_remaining_time_in_millis", None)
        return cls(lambda: float("inf") if ask is None else ask() / 1000)

    def passed(self) -> bool:
        """True from the moment at which work should stop."""
        return self._seconds_left() <= self.margin

    def run(self, work: Callable[[], T], *, leaving: float = FOR_THE_REPORT) -> T:
        """The result of `work`, which is expected to ask `passed` and end on its own.

        Where a call keeps it from that, `OutOfTime` is raised while `leaving` of the margin is left for what is still
        to be told; the work is left to itself, and whoever catches that must see to it that nothing comes of it any more.
        """
        patience = self._seconds_left() - self.margin * leaving
        if patience == float("inf"):
            return work()
        answers: list[T] = []
        errors: list[BaseException] = []

        def caught() -> None:
            try:
                answers.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                errors.append(error)

        thread = threading.Thread(target=caught, name="ecrsweep-work", daemon=True)
        thread.start()
        thread.join(max(0.0, patience))
        if errors:
            raise errors[0]
        if not answers:
            raise OutOfTime("The time limit of the function came while a call had not been answered.")
        return answers[0]
