"""Reading runs ahead of deciding by so many images, and no further; nobody waits for ever, and nobody waits for nothing."""

import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecrsweep.aws.ahead import Ahead, Seat, seat_of_thread
from ecrsweep.aws.ecr import PAGE
from ecrsweep.aws.pool import ordered_map
from ecrsweep.core.errors import Interrupted

MOST = 5_000


class Repositories:
    """Reads repositories of so many images as `EcrStore` does, and notes the most that was held but for the next one's."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.most = 0
        self._held: Counter[int] = Counter()
        self._taken = 0
        self._lock = threading.Lock()

    def read(self, number: int) -> int:
        seat, left = seat_of_thread(), self.sizes[number]
        while True:
            seat.reserve(PAGE)
            found = min(PAGE, left)
            self._note(number, found)
            seat.give_back(PAGE - found)
            left -= found
            if not left:
                return self.sizes[number]

    def all(self, workers: int = 8, most: int = MOST) -> Iterator[int]:
        for number, found in enumerate(ordered_map(self.read, range(len(self.sizes)), workers, Ahead(most))):
            yield found
            with self._lock:
                del self._held[number]
                self._taken = number + 1

    def _note(self, number: int, found: int) -> None:
        with self._lock:
            self._held[number] += found
            self.most = max(self.most, sum(held for one, held in self._held.items() if one != self._taken))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9_000) | st.integers(0, 40), max_size=25))
def test_any_sizes_come_through_in_order_and_no_more_is_held_than_may_be(sizes: list[int]) -> None:
    repositories = Repositories(sizes)
    assert list(repositories.all()) == sizes
    assert repositories.most <= MOST


@pytest.mark.parametrize("most", [0, 1, PAGE])
def test_repositories_larger_than_the_bound_are_read_one_after_the_other(most: int) -> None:
    sizes = [9_000, 7_001, 0, 8_000]
    repositories = Repositories(sizes)
    assert list(repositories.all(most=most)) == sizes
    assert repositories.most <= most


def test_small_repositories_are_read_side_by_side_as_before() -> None:
    together = threading.Barrier(64)

    def read(number: int) -> int:
        seat = seat_of_thread()
        seat.reserve(PAGE)
        together.wait(30)  # breaks where fewer than 64 are let in at once
        seat.give_back(PAGE - 10)
        return number

    assert list(ordered_map(read, range(128), 64)) == list(range(128))


def test_the_earlier_ones_go_first() -> None:
    ahead, order = Ahead(PAGE), list[int]()
    ahead.reserve(1, PAGE)

    def read(number: int) -> None:
        ahead.reserve(number, PAGE)
        order.append(number)
        ahead.give_back(number, PAGE)

    threads = [threading.Thread(target=read, args=(number,)) for number in (4, 3, 2)]
    for thread in threads:
        thread.start()
    while len(ahead._waiting) < 3:
        pass
    ahead.give_back(1, PAGE)
    for thread in threads:
        thread.join(10)
    assert sorted(order) == [2, 3, 4]
    assert order[0] == 2


def test_who_waits_when_nobody_takes_anything_any_more_is_sent_home() -> None:
    sent_home = threading.Semaphore(0)
    started = threading.Barrier(4)

    def read(number: int) -> int:
        seat = seat_of_thread()
        seat.reserve(PAGE)
        if number < 4:
            started.wait(10)
        try:
            seat.reserve(10 * MOST)
        except Interrupted:
            sent_home.release()
            raise
        return number

    found = ordered_map(read, range(20), 4, Ahead(MOST))
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    for _ in range(3):
        assert sent_home.acquire(timeout=10)


def test_what_is_not_read_ahead_waits_for_nothing() -> None:
    seat = seat_of_thread()
    seat.reserve(10**9)
    seat.give_back(10**9)
    with pytest.raises(Interrupted):
        _after_the_end().reserve(1)


def _after_the_end() -> Seat:
    ahead = Ahead()
    ahead.end()
    return Seat(ahead, 0)


def test_what_is_gathered_at_once_does_not_wait_for_one_that_takes_long() -> None:
    """A walk takes no more than it can hold; a census is over only when all have answered, so none of them waits."""
    others = threading.Event()
    done = iter(range(40))

    def ask(number: int) -> int:
        if number == 0:
            assert others.wait(10), "all others answer meanwhile, however many there are"
        elif next(done) == 38:
            others.set()
        return number

    assert list(ordered_map(ask, range(40), 2, at_once=True)) == list(range(40))
