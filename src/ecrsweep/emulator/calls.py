"""What was asked of the emulated AWS, in order: tests count calls and look at their parameters."""

import threading
from dataclasses import dataclass, field
from typing import Any

from ecrsweep.emulator.wire import Wire


@dataclass(frozen=True)
class Call:
    """One request, as it was signed and what it asked."""

    service: str
    operation: str
    account: str
    region: str
    parameters: dict[str, Any] = field(default_factory=dict)
    wire: Wire | None = field(default=None, compare=False, repr=False)
    """How the service is spoken to, where it speaks JSON and is not answered by the emulator's own ECR and ECS."""
    agent: str = field(default="", compare=False)
    """What the caller says that it is."""
    key: str = field(default="", compare=False, repr=False)
    """The access key that signed it."""
    session: str = field(default="", compare=False)
    """The name of the session of a role whose credentials signed it, "" for others."""


class Calls:
    """The log of all requests."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._log: list[Call] = []

    @property
    def log(self) -> list[Call]:
        """All requests so far, in the order of their arrival."""
        with self._lock:
            return list(self._log)

    def add(self, call: Call) -> None:
        """Note a request."""
        with self._lock:
            self._log.append(call)

    def reset(self) -> None:
        """Forget all."""
        with self._lock:
            self._log.clear()

    def count(
        self, service: str, operation: str | None = None, *, region: str | None = None, account: str | None = None
    ) -> int:
        """How many requests were of this kind."""
        return sum(
            call.service == service
            and operation in {None, call.operation}
            and region in {None, call.region}
            and account in {None, call.account}
            for call in self.log
        )
