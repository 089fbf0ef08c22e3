"""How fast we may ask: a share of the rates that AWS gives an account, because the rest belongs to its deployments.

Quotas: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html and the services' own pages.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

RATES: Final[Mapping[str, float]] = {
    "lambda:GetFunction": 30.0,  # of 100 a second
    "lambda": 5.0,  # of 15 a second for all other calls together
    "cloudtrail:LookupEvents": 1.5,  # of 2 a second
    "scheduler:GetSchedule": 100.0,  # of 250 a second in the smaller regions
    "states:DescribeStateMachine": 10.0,  # of 20 a second
    "states:ListStateMachineVersions": 0.8,  # of 1 a second
}
"""Calls a second, by IAM action or by service: the rest of a service shares one bucket."""

BURSTS: Final[Mapping[str, float]] = {
    "states:DescribeStateMachine": 100.0,  # of 200
    "states:ListStateMachineVersions": 50.0,  # of 100
}
"""Calls at once, where a service's bucket is known to hold more than a moment of its rate."""

_BURST_SECONDS: Final = 2.0
_SLOW: Final = 2.0
"""Where AWS allows so few calls a second, it allows no burst either."""


class Pace:
    """Token buckets, one a region and action or service."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`clock` gives seconds from any moment on, `sleep` waits for seconds."""
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._free_from: dict[tuple[str, str], float] = {}

    def wait(self, action: str, region: str) -> None:
        """Wait until one more call of this kind may go out."""
        name = action if action in RATES else action.partition(":")[0]
        rate = RATES.get(name)
        if rate is None:
            return
        with self._lock:
            now = self._clock()
            # The moment at which the bucket is empty again moves on by one token; it may lie a burst in the past.
            burst = BURSTS.get(name, rate * _BURST_SECONDS if rate > _SLOW else 0.0) / rate
            turn = max(self._free_from.get((region, name), now - burst), now - burst)
            self._free_from[region, name] = turn + 1 / rate
        if turn > now:
            self._sleep(turn - now)
