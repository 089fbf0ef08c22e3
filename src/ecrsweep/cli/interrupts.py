"""Ctrl-C and SIGTERM while images are being deleted: the batch in flight is finished, and the report is true."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ecrsweep.wiring.exits import Exit


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """The first Ctrl-C or SIGTERM finishes the batch in flight and reports; the second stops now."""
    asked = threading.Event()

    def stop(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal handler
        if asked.is_set():
            print("\nStopped at once. What was in flight may have been deleted without a report.", file=sys.stderr)
            sys.stderr.flush()
            os._exit(Exit.INTERRUPTED)
        asked.set()
        print("\nStopping after the batch in flight. Once more stops at once.", file=sys.stderr)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
