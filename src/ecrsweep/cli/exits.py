"""Exit statuses, part of the public contract, and which of several wins."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """What the exit status of a command says."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    CANDIDATES = 3
    """`--exit-code` was given and something can go."""
    LEFT_UNDONE = 4
    """AWS refused something, or it was left undone."""
    HELD = 5
    """A safety gate holds: a gap, a limit, a stale plan."""
    INTERRUPTED = 130


_ORDER: Final = (Exit.INTERRUPTED, Exit.LEFT_UNDONE, Exit.HELD, Exit.ERROR, Exit.CANDIDATES)


def gravest(found: Iterable[Exit]) -> Exit:
    """The one to leave with where several hold."""
    holding = set(found)
    return next((status for status in _ORDER if status in holding), Exit.DONE)
