"""One run at a time: a lease on each registry, over a state store, with an expiry that a living run moves on.

Whoever comes second is told who is at work. A run that was killed leaves its lease behind: it ends by itself, and at once
where the same machine can tell that the process is gone.
"""

import os
import socket
from collections.abc import Callable, Iterable
from typing import Annotated, Final

import msgspec

from ecrsweep.core.errors import Busy, StateFailure
from ecrsweep.core.names import Registry
from ecrsweep.core.times import parse_rfc3339, rfc3339
from ecrsweep.ports import Kept, StateStore

LEASE_FORMAT: Final = "ecrsweep.lease/1"
LIFE: Final = 900.0
"""Seconds for which a lease holds unless it is renewed."""

_TRIES: Final = 3

Clock = Callable[[], float]


class _Lease(msgspec.Struct):
    """A lease, as it is written."""

    format: str
    run: str
    who: str
    host: str
    pid: Annotated[int, msgspec.Meta(ge=1)]
    since: str
    until: str

    def holds(self, now: float) -> bool:
        if parse_rfc3339(self.until) <= now:
            return False
        return self.host != socket.gethostname() or _is_alive(self.pid)


class Leases:
    """The leases of one run on some registries."""

    def __init__(self, store: StateStore, registries: Iterable[Registry], run: str, *, clock: Clock) -> None:
        """Nothing is taken yet. `clock` tells seconds since the epoch."""
        self._store = store
        self._names = {f"leases/{one.account}/{one.region}.json": one for one in sorted(registries)}
        self._run = run
        self._clock = clock
        self._held: dict[str, str] = {}
        self._renewed = 0.0

    def take(self) -> None:
        """Take all of them, or none. Raises `Busy` where another run has one, and `StateFailure`."""
        self._since = rfc3339(self._clock())
        try:
            for name in self._names:
                self._take(name)
        except (Busy, StateFailure):
            self.release()
            raise
        self._renewed = self._clock()

    def renew(self) -> None:
        """Say that this run is alive, now and then. Raises `Busy` where another run has taken over, and `StateFailure`."""
        if self._clock() - self._renewed < LIFE / 3:
            return
        for name in self._held:
            if not self._write(name, self._read(name)):
                where = _words(self._names[name])
                raise Busy(f"the lease on {where} had ended before it was renewed, and another run has taken over")
        self._renewed = self._clock()

    def release(self) -> None:
        """Let go of those that are ours. What cannot be let go of ends by itself."""
        try:
            ours = [name for name in self._held if self._is_ours(self._read(name))]
            self._store.remove(ours)
        except StateFailure:
            return
        finally:
            self._held.clear()

    def _take(self, name: str) -> None:
        for _ in range(_TRIES):
            there = self._read(name)
            other = _parsed(there)
            if other is not None and other.run != self._run and other.holds(self._clock()):
                raise Busy(self._told(name, other))
            if self._write(name, there):
                self._held[name] = self._run
                return
        raise Busy(f"Several runs want to change {_words(self._names[name])} at once. Nothing was changed. Try again")

    def _told(self, name: str, other: _Lease) -> str:
        return (
            f"Another run is changing the registry of {_words(self._names[name])}: {other.run} of {other.who} on "
            f"{other.host}, since {other.since}. Nothing was changed. Wait for it; its lease ends at {other.until} unless it is "
            f"renewed, and is {name} at {self._store.location}"
        )

    def _write(self, name: str, there: Kept | None) -> bool:
        """Put our lease in the place of what was read. False where another was faster, or has it."""
        other = _parsed(there)
        if name in self._held and not self._is_ours(there):
            return False
        if other is not None and other.run != self._run and other.holds(self._clock()):
            return False
        until = rfc3339(self._clock() + LIFE)
        lease = _Lease(LEASE_FORMAT, self._run, _who(), socket.gethostname(), os.getpid(), self._since, until)
        content = msgspec.json.format(msgspec.json.encode(lease), indent=1)
        return self._store.replace(name, content, None if there is None else there.version)

    def _is_ours(self, there: Kept | None) -> bool:
        lease = _parsed(there)
        return lease is not None and lease.run == self._run

    def _read(self, name: str) -> Kept | None:
        return next(iter(self._store.read([name])), None)


def _parsed(there: Kept | None) -> _Lease | None:
    """The lease; None where there is none, or nothing that can be read as one."""
    if there is None:
        return None
    try:
        lease = msgspec.json.decode(there.content, type=_Lease)
        parse_rfc3339(lease.until)
    except (msgspec.MsgspecError, ValueError):
        return None
    return lease


def _who() -> str:
    return (
        os.environ.get("USER") or os.environ.get("USERNAME") or os.environ.get("AWS_LAMBDA_FUNCTION_NAME") or "somebody"
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _words(registry: Registry) -> str:
    return f"{registry.account} in {registry.region}"
