"""The clock of the emulated AWS: it stands still until it is set, or runs with the machine's."""

import threading
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """A clock that stands at a moment until somebody moves it."""

    def __init__(self, moment: datetime) -> None:
        """Begin at `moment`, which has a time zone."""
        self._lock = threading.Lock()
        self._seconds: float | None = moment.timestamp()
        self._shift = 0.0

    @classmethod
    def real(cls) -> "Clock":
        """A clock that runs with the machine's, and can be moved ahead of it."""
        clock = cls(datetime.now(UTC))
        clock._seconds = None
        return clock

    @property
    def seconds(self) -> float:
        """Seconds since the epoch."""
        with self._lock:
            return (time.time() if self._seconds is None else self._seconds) + self._shift

    @property
    def now(self) -> datetime:
        """The moment, in UTC."""
        return datetime.fromtimestamp(self.seconds, UTC)

    def set(self, moment: datetime) -> None:
        """Stand at this moment."""
        with self._lock:
            self._seconds, self._shift = moment.timestamp(), 0.0

    def advance(self, span: timedelta) -> None:
        """Move on by this much."""
        with self._lock:
            self._shift += span.total_seconds()
