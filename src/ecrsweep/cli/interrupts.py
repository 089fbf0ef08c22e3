"""Ctrl-C and SIGTERM while something is being changed: what is in flight is finished, and the report is true."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ecrsweep.wiring.exits import Exit

_FIRST: Final = "Stopping after the batch in flight. Once more stops at once."
_SECOND: Final = "Stopped at once. What was in flight may have been deleted without a report."


@contextmanager
def stopping(first: str = _FIRST, second: str = _SECOND) -> Iterator[threading.Event]:
    """The first Ctrl-C or SIGTERM finishes what is in flight and reports; the second stops now. Each says its sentence."""
    asked = threading.Event()

    def stop(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal handler
        if asked.is_set():
            print(f"\n{second}", file=sys.stderr)
            sys.stderr.flush()
            os._exit(Exit.INTERRUPTED)
        asked.set()
        print(f"\n{first}", file=sys.stderr)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
