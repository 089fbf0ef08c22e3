"""How fast we may ask: rates belong to the deployments of an account first, so we start low, and give way at once.

Each account and region has a budget an API family, shared by all threads. Where AWS publishes the family's bucket the
budget is a share of that, and never more; elsewhere it grows while nothing is refused. A throttle halves it.
Quotas: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html,
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html and the services' own pages.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from ecrsweep.core.errors import Interrupted

RATES: Final[Mapping[str, float]] = {
    "lambda:GetFunction": 30.0,  # of 100 a second
    "lambda": 5.0,  # of 15 a second for all other calls together
    "cloudtrail:LookupEvents": 1.5,  # of 2 a second
    "scheduler:GetSchedule": 100.0,  # of 250 a second in the smaller regions
    "states:DescribeStateMachine": 10.0,  # of 20 a second
    "states:ListStateMachineVersions": 0.8,  # of 1 a second
    "sagemaker": 10.0,  # not published; there is a call a model, and deployments need the same calls
    "cloudformation": 5.0,  # not published; a call a stack, and few a second are known to be refused
    "ecs tasks": 15.0,  # of 20 a second, as all of ECS here
    "ecs services": 15.0,
    "ecs task definitions": 15.0,
    "ecs clusters": 15.0,
    "ecs:ListServiceDeployments": 15.0,
    "ecs:DescribeServiceDeployments": 15.0,
    "ecs:DescribeServiceRevisions": 15.0,
    "ecr:BatchGetImage": 500.0,  # of 2,000 a second; every pull needs it
    "ecr changes": 5.0,  # not published; nobody waits for a clean-up
    "s3": 1000.0,  # of 5,500 a second and prefix
}
"""Calls a second at most, by IAM action, by family or by service: the rest of a service shares one bucket."""

BURSTS: Final[Mapping[str, float]] = {
    "states:DescribeStateMachine": 100.0,  # of 200
    "states:ListStateMachineVersions": 50.0,  # of 100
    "ecs tasks": 50.0,  # of 100
    "ecs services": 50.0,  # of 100
    "ecs task definitions": 25.0,  # of 50, as the rest of ECS
    "ecs clusters": 25.0,
    "ecs:ListServiceDeployments": 25.0,
    "ecs:DescribeServiceDeployments": 25.0,
    "ecs:DescribeServiceRevisions": 25.0,
}
"""Calls at once, where a service's bucket is known to hold more than a moment of its rate."""

_FAMILIES: Final[Mapping[str, str]] = {
    "ecs:DescribeTasks": "ecs tasks",
    "ecs:ListTasks": "ecs tasks",
    "ecs:DescribeServices": "ecs services",
    "ecs:ListServices": "ecs services",
    "ecs:DescribeTaskDefinition": "ecs task definitions",
    "ecs:ListTaskDefinitions": "ecs task definitions",
    "ecs:DescribeClusters": "ecs clusters",
    "ecs:ListClusters": "ecs clusters",
    "ecr:BatchDeleteImage": "ecr changes",
    "ecr:PutImage": "ecr changes",
    "ecr:UpdateImageStorageClass": "ecr changes",
}
"""Actions that share a bucket with others."""

_BURST_SECONDS: Final = 2.0
_SLOW: Final = 2.0
"""Where AWS allows so few calls a second, it allows no burst either."""

_START: Final = 20.0
"""Calls a second to begin with where nobody publishes what is allowed; half of them at once."""
_SEARCH: Final = 60.0
"""By so many calls a second does a budget grow every second while nothing was refused."""
_LOWEST: Final = 0.5
_NEAR: Final = 0.9
"""So close to what is known to be allowed a budget grows slowly."""
_PROBE: Final = 0.02
_PROBE_SECONDS: Final = 5.0
_WINDOW: Final = 1.0
"""Seconds that it takes to tell a rate by counting."""
_LONGEST_PAUSE: Final = 60.0


class _Budget:
    """What one family may ask in one region: a bucket whose rate follows what is refused. Times in seconds."""

    __slots__ = (
        "_burst", "_ceiling", "_cut_at", "_most", "_paused_until", "_served", "_then", "_tokens", "_waited", "rate", "turnstile",
    )  # fmt: skip

    def __init__(self, now: float, most: float | None, burst: float) -> None:
        """`most` is the rate never to exceed, None where nobody publishes one."""
        self.turnstile = threading.Lock()
        self.rate = _START if most is None else most
        self._most, self._burst = most, burst
        self._tokens, self._then = burst, now
        self._paused_until = now
        self._ceiling: float | None = None
        """The rate that is thought to be allowed, once something was refused."""
        self._cut_at = 0.0
        self._served = 0
        self._waited = False

    def take(self, now: float) -> float:
        """Take a turn; 0, or the seconds after which to ask again."""
        depth = self._burst if self._most is not None else max(1.0, min(self._burst, self.rate / 10))
        gained = (now - self._then) * self.rate
        self._tokens = max(min(self._tokens, self._burst), min(depth, self._tokens + gained))
        self._then = now
        if now < self._paused_until:
            return self._paused_until - now
        if self._tokens >= 1 - 1e-9:
            self._tokens -= 1
            return 0.0
        self._waited = True
        return (1 - self._tokens) / self.rate

    def served(self, now: float) -> None:
        """A call was answered. Where calls have to wait for their turns, there may be more of them."""
        self._served += 1
        if self._waited:
            self._waited = False
            grown = self.rate + self._slope(now) / self.rate
            self.rate = grown if self._most is None else min(grown, self._most)

    def refused(self, sent: float, now: float, pause: float) -> None:
        """A call was throttled; those that were under way already when the budget was cut cut it no further."""
        self._paused_until = max(self._paused_until, now + min(pause, _LONGEST_PAUSE))
        if sent < self._cut_at:
            return
        since = now - self._cut_at
        # At both moments the bucket was empty: what it served in between is what it is filled with.
        counted = self._served / since if self._ceiling is not None and since >= _WINDOW else None
        self._ceiling = max(_LOWEST, min(counted or self.rate * 0.7, self.rate))
        self.rate = max(_LOWEST, min(self._ceiling, self.rate / 2) if counted is None else self._ceiling / 2)
        self._tokens = min(self._tokens, 0.0)
        self._cut_at, self._served = now, 0

    def _slope(self, now: float) -> float:
        """By how much the rate grows in a second: fast to what is thought to be allowed, and on from there with care."""
        if self._ceiling is None:
            return _SEARCH
        if self.rate < _NEAR * self._ceiling:
            return self._ceiling
        return self._ceiling * _PROBE * max(1.0, (now - self._cut_at) / _PROBE_SECONDS)


class Pace:
    """The budgets of one account."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        """`clock` gives seconds from any moment on, `sleep` waits for seconds."""
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._budgets: dict[tuple[str, str], _Budget] = {}
        self._throttled: dict[tuple[str, str], int] = defaultdict(int)
        self._closed = False

    def wait(self, action: str, region: str) -> float:
        """Wait for the turn of one more call, first come first served; the moment at which it came. Raises `Interrupted`."""
        budget = self._budget(action, region)
        with budget.turnstile:
            while True:
                if self._closed:
                    raise Interrupted("This run has ended: nothing more is sent to AWS")
                delay = self.turn(action, region)
                if not delay:
                    return self._clock()
                self._sleep(delay)

    def turn(self, action: str, region: str) -> float:
        """Take a turn without waiting for it; 0, or the seconds after which to try again."""
        budget = self._budget(action, region)
        with self._lock:
            return budget.take(self._clock())

    def served(self, action: str, region: str) -> None:
        """A call was answered, with whatever but a throttle."""
        budget = self._budget(action, region)
        with self._lock:
            budget.served(self._clock())

    def refused(self, action: str, region: str, sent: float, pause: float = 0.0) -> None:
        """A call was throttled whose turn was at `sent`; AWS asks to wait for `pause` seconds."""
        budget = self._budget(action, region)
        with self._lock:
            budget.refused(sent, self._clock(), pause)
            self._throttled[action, region] += 1

    def rate(self, action: str, region: str) -> float:
        """Calls a second that are allowed now."""
        return self._budget(action, region).rate

    @property
    def throttled(self) -> Mapping[tuple[str, str], int]:
        """How often calls were throttled so far, by action and region."""
        with self._lock:
            return dict(self._throttled)

    def close(self) -> None:
        """No turn comes any more."""
        self._closed = True

    def _budget(self, action: str, region: str) -> _Budget:
        family = _family(action)
        with self._lock:
            if (region, family) not in self._budgets:
                most = RATES.get(family)
                burst = (
                    _START / 2 if most is None else BURSTS.get(family, most * _BURST_SECONDS if most > _SLOW else 1.0)
                )
                self._budgets[region, family] = _Budget(self._clock(), most, burst)
            return self._budgets[region, family]


def _family(action: str) -> str:
    """What shares a budget with this action: a family, else the action alone, else what is left of a known service."""
    if action in RATES:
        return action
    service = action.partition(":")[0]
    return _FAMILIES.get(action, service if service in RATES else action)
