"""When a function stops: early enough to tell what it did, and not earlier."""

import threading
from types import SimpleNamespace

import pytest

from ecrsweep.serverless.deadline import FOR_THE_LOG, Deadline, OutOfTime


@pytest.mark.parametrize(("limit", "margin"), [(900, 60), (300, 60), (100, 20), (60, 12), (3, 0.6)])
def test_work_stops_60_seconds_or_a_fifth_of_the_limit_before_it(limit: float, margin: float) -> None:
    left = [float(limit)]
    deadline = Deadline(lambda: left[0])
    assert deadline.margin == pytest.approx(margin)
    left[0] = margin + 0.01
    assert not deadline.passed()
    left[0] = margin - 0.01
    assert deadline.passed()


def test_lambda_tells_milliseconds() -> None:
    deadline = Deadline.of(SimpleNamespace(get_remaining_time_in_millis=lambda: 100_000))
    assert deadline.margin == pytest.approx(20)


def test_by_hand_there_is_no_limit() -> None:
    deadline = Deadline.of(None)
    assert not deadline.passed()
    assert deadline.run(lambda: "done") == "done"


def test_an_error_of_the_work_comes_out_as_it_is() -> None:
    def work() -> None:
        raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        Deadline(lambda: 10.0).run(work)


@pytest.mark.parametrize(("left", "leaving"), [(1.1, 0.5), (0.3, FOR_THE_LOG)])
def test_work_that_hangs_is_left_to_itself_while_there_is_time_to_tell(left: float, leaving: float) -> None:
    told = iter([10.0])  # the margin is 2 seconds, whatever is left later
    deadline = Deadline(lambda: next(told, left))
    never = threading.Event()
    try:
        with pytest.raises(OutOfTime):
            deadline.run(never.wait, leaving=leaving)
    finally:
        never.set()
