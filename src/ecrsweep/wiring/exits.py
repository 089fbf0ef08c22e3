"""Exit statuses, part of the public contract, and which of several wins.

`ecrsweep --help` loads this module: what it only names in types is not imported.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ecrsweep.core.document import Footer
    from ecrsweep.core.outcomes import ApplyResult
    from ecrsweep.core.restoring import RestoreResult


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


def plan_statuses(footer: "Footer", *, exit_code: bool) -> Iterator[Exit]:
    """What a plan says; candidates count only where they are asked for (`--exit-code`)."""
    limited = footer.limited or footer.held_registries or footer.verdict is not None
    if limited or any(entry.is_gap for entry in footer.coverage):
        yield Exit.HELD
    if exit_code and footer.summary.changing:
        yield Exit.CANDIDATES


def apply_statuses(result: "ApplyResult") -> Iterator[Exit]:
    """What an apply says."""
    if result.interrupted:
        yield Exit.INTERRUPTED
    if result.left_undone:
        yield Exit.LEFT_UNDONE
    if result.held or any(entry.is_gap for entry in result.coverage):
        yield Exit.HELD


def restore_statuses(result: "RestoreResult") -> Iterator[Exit]:
    """What a restore says."""
    if result.interrupted:
        yield Exit.INTERRUPTED
    if result.left_undone:
        yield Exit.LEFT_UNDONE
