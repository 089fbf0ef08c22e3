"""A credential that is made when it is first wanted, and anew when it grows old or is refused."""

import threading
import time
from collections.abc import Callable, Sequence

import msgspec

Pairs = tuple[tuple[str, str], ...]


class Made(msgspec.Struct, frozen=True):
    """The headers that say who asks, and until when they are good, in seconds since the epoch."""

    headers: Pairs
    until: float = float("inf")


class Bearer:
    """Headers for `api.Door`, shared by threads."""

    def __init__(self, make: Callable[[], Made], clock: Callable[[], float] = time.time) -> None:
        """`make` makes them, and may raise `AwsFailure`."""
        self._make, self._clock = make, clock
        self._lock = threading.Lock()
        self._made: Made | None = None

    def __call__(self, renew: bool) -> Sequence[tuple[str, str]]:  # noqa: FBT001 - the form of `api.Headers`
        """The headers; `renew` makes them anew although they should be good."""
        with self._lock:
            if renew or self._made is None or self._made.until <= self._clock():
                self._made = self._make()
            return self._made.headers
