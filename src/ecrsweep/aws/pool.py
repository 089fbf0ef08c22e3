"""Work side by side with answers in order, so that what is printed does not depend on who answered first."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(work: Callable[[T], R], items: Iterable[T], workers: int, *, ahead: int | None = None) -> Iterator[R]:
    """`work` of each item, at most `workers` at a time and `ahead` of what was taken; answers in the order of the items.

    The first error is raised where its answer would stand; what has not started by then never starts.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ecrsweep")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
