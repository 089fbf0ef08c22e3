"""How far reading may run ahead of deciding: in images, because repositories differ a thousandfold.

Repositories are read side by side and decided on in order (`aws/pool.py`), so what was read waits for its turn. The one whose
turn is next reads on whatever is held, so that this ends whatever its size; the others ask for a page when there is room for
it, the earlier ones first. A page of DescribeImages has a thousand images at most.
"""

import threading
from contextvars import ContextVar
from typing import Final

from ecrsweep.core.errors import Interrupted

MOST: Final = 80_000
"""Images that are read and not decided on yet, but for those of the repository whose turn is next: some 55 MB.

Enough for 64 repositories that are read side by side, a page each.
"""


class Ahead:
    """What the items of one walk hold, by their numbers: from 0 on, in the order in which they are taken."""

    def __init__(self, most: int = MOST) -> None:
        """Nothing is held yet; `most` is how many images may be."""
        self._most = most
        self._lock = threading.Lock()
        self._held: dict[int, int] = {}
        self._total = 0
        self._waiting: dict[int, tuple[int, threading.Event]] = {}
        self._next = 0
        self._ended = False

    def reserve(self, number: int, images: int) -> None:
        """Wait until the item with this number may hold so many images more. Raises `Interrupted` where the walk has ended."""
        may_go_on = threading.Event()
        with self._lock:
            self._waiting[number] = (images, may_go_on)
            self._let_go_on()
        may_go_on.wait()
        if self._ended:
            raise Interrupted("Nobody waits for these images any more")

    def give_back(self, number: int, images: int) -> None:
        """So many of those reserved did not come."""
        with self._lock:
            self._hold(number, -images)
            self._let_go_on()

    def taken(self, number: int) -> None:
        """The item with this number holds nothing any more, and it is the turn of the one after it."""
        with self._lock:
            self._total -= self._held.pop(number, 0)
            self._next = number + 1
            self._let_go_on()

    def end(self) -> None:
        """Nobody takes anything any more: whoever waits is sent home, and whoever comes."""
        with self._lock:
            self._ended = True
            self._let_go_on()

    def _let_go_on(self) -> None:
        """The earlier ones first; the one whose turn is next is the first of all."""
        for number in sorted(self._waiting):
            images, may_go_on = self._waiting[number]
            if not (self._ended or number == self._next or self._total + images <= self._most):
                return
            del self._waiting[number]
            self._hold(number, images)
            may_go_on.set()

    def _hold(self, number: int, images: int) -> None:
        self._held[number] = self._held.get(number, 0) + images
        self._total += images


class Seat:
    """One item of a walk."""

    def __init__(self, ahead: Ahead, number: int) -> None:
        """The item with this number."""
        self._ahead, self._number = ahead, number

    def reserve(self, images: int) -> None:
        """Wait until so many images more may be held. Raises `Interrupted` where nobody waits for them any more."""
        self._ahead.reserve(self._number, images)

    def give_back(self, images: int) -> None:
        """So many of those reserved did not come."""
        self._ahead.give_back(self._number, images)


def seat_of_thread() -> Seat:
    """The item that this thread works on. Where nothing is read ahead it is the first, which never waits."""
    return SEAT.get() or Seat(Ahead(), 0)


SEAT: ContextVar[Seat | None] = ContextVar("SEAT", default=None)
