"""Faults by rule, and throttles: what goes wrong on the way to AWS and back, when a test asks for it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ecrsweep.emulator.calls import Call

Kind = Literal["error", "html", "drop_before", "drop_after", "garbage", "delay", "before", "after", "failures"]


@dataclass
class Fault:
    """What goes wrong, and with which calls: those that match every given part, after `skip` of them, `times` times."""

    kind: Kind
    service: str = "*"
    operation: str = "*"
    region: str | None = None
    account: str | None = None
    when: Callable[[dict[str, Any]], bool] | None = None
    times: int | None = None
    skip: int = 0
    code: str = "ServerException"
    message: str = "An internal error occurred."
    status: int = 400
    seconds: float = 0.0
    body: bytes = b'{"imageDeta'
    run: Callable[[Call], None] | None = None
    failures: dict[str, str] = field(default_factory=dict)
    """For `failures`: the code by which an image is refused, by digest; "*" for every image."""

    @classmethod
    def error(cls, service: str, operation: str, code: str, message: str, status: int = 400, **where: Any) -> "Fault":
        """An error of the service."""
        return cls("error", service, operation, code=code, message=message, status=status, **where)

    @classmethod
    def denied(cls, service: str, operation: str, **where: Any) -> "Fault":
        """What an identity without the permission gets."""
        message = (
            "User: arn:aws:sts::123456789012:assumed-role/sweeper/run is not authorized to perform: "
            f"{service}:{operation} because no identity-based policy allows the {service}:{operation} action"
        )
        return cls.error(service, operation, "AccessDeniedException", message, 400, **where)

    @classmethod
    def closed(cls, region: str, service: str = "*", operation: str = "*", **where: Any) -> "Fault":
        """What everybody gets in a region that a service control policy closes."""
        message = (
            "User: arn:aws:sts::123456789012:assumed-role/sweeper/run is not authorized to perform: "
            f"{service}:{operation} with an explicit deny in a service control policy"
        )
        return cls.error(service, operation, "AccessDeniedException", message, 400, region=region, **where)

    @classmethod
    def unreachable(cls, region: str, **where: Any) -> "Fault":
        """No connection to a region comes to anything."""
        return cls("drop_before", region=region, **where)


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a rule in force."""
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        """Take all rules back."""
        with self._lock:
            self._rules.clear()

    def matching(self, call: Call) -> list[Fault]:
        """The rules that this call meets; each meeting is counted."""
        with self._lock:
            return [fault for fault in self._rules if _meets(fault, call) and _is_due(fault)]


def _meets(fault: Fault, call: Call) -> bool:
    return (
        fault.service in {"*", call.service}
        and fault.operation in {"*", call.operation}
        and fault.region in {None, call.region}
        and fault.account in {None, call.account}
        and (fault.when is None or fault.when(call.parameters))
    )


def _is_due(fault: Fault) -> bool:
    if fault.skip > 0:
        fault.skip -= 1
        return False
    if fault.times is None:
        return True
    fault.times -= 1
    return fault.times >= 0


class Throttles:
    """Token buckets per account, region and operation, in real time."""

    def __init__(self) -> None:
        """Begin with no limit anywhere."""
        self._lock = threading.Lock()
        self._limits: dict[tuple[str, str], tuple[float, float]] = {}
        self._buckets: dict[tuple[str, ...], tuple[float, float]] = {}

    def limit(self, service: str, operation: str, rate: float, burst: float) -> None:
        """Allow `rate` calls a second and `burst` at once; operation "*" is each operation of the service."""
        with self._lock:
            self._limits[service, operation] = (rate, burst)

    def allows(self, call: Call) -> bool:
        """Whether the bucket has a token for this call; takes it."""
        with self._lock:
            limit = self._limits.get((call.service, call.operation)) or self._limits.get((call.service, "*"))
            if limit is None:
                return True
            rate, burst = limit
            key = (call.account, call.region, call.service, call.operation)
            now = time.monotonic()
            tokens, then = self._buckets.get(key, (burst, now))
            tokens = min(burst, tokens + (now - then) * rate)
            self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
            return tokens >= 1
