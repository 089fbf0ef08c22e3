"""Work side by side with answers in order, so that what is printed does not depend on who answered first."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import TypeVar

from ecrsweep.aws.ahead import SEAT, Ahead, Seat

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(
    work: Callable[[T], R], items: Iterable[T], workers: int, ahead: Ahead | None = None, *, at_once: bool = False
) -> Iterator[R]:
    """`work` of each item, at most `workers` at a time and `2 * workers` ahead, or all `at_once`; answers in order.

    `ahead` bounds the images that are held meanwhile. The first error is raised where its answer would stand; what has not
    started by then never starts.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ecrsweep")
    ahead = ahead or Ahead()
    waiting: deque[Future[R]] = deque()
    taken = count()

    def seated(number: int, item: T) -> R:
        SEAT.set(Seat(ahead, number))
        return work(item)

    try:
        for number, item in enumerate(items):
            waiting.append(pool.submit(seated, number, item))
            if len(waiting) >= 2 * workers and not at_once:
                yield waiting.popleft().result()
                ahead.taken(next(taken))
        while waiting:
            yield waiting.popleft().result()
            ahead.taken(next(taken))
    finally:
        ahead.end()
        pool.shutdown(wait=False, cancel_futures=True)
