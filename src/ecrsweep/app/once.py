"""What is asked once, whoever needs it: others who need the same wait for that answer, and nobody else waits."""

from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Once(Generic[K, V]):
    """The answers by what they are about. Iterating gives what was asked about so far."""

    def __init__(self, ask: Callable[[K], V]) -> None:
        """Nothing is asked yet."""
        self._ask = ask
        self._known: dict[K, Future[V]] = {}
        self._lock = Lock()

    def of(self, key: K) -> V:
        """What is said of this. Raises what asking raised."""
        with self._lock:
            known, answer = key in self._known, self._known.setdefault(key, Future())
        if not known:
            try:
                answer.set_result(self._ask(key))
            except BaseException as error:  # noqa: BLE001 - those who wait get it too
                answer.set_exception(error)
        return answer.result()

    def __iter__(self) -> Iterator[K]:
        """What was asked about, in any order."""
        with self._lock:
            return iter(list(self._known))
