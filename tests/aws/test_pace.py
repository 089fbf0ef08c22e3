"""Our calls take a share of what AWS allows, and never more; where nobody says what that is, they find out gently."""

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.aws.pace import BURSTS, RATES, Pace
from ecrsweep.aws.turns import ATTEMPTS, retry_after
from ecrsweep.core.errors import Interrupted


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def taken(calls: int, action: str, regions: tuple[str, ...] = ("us-east-1",)) -> float:
    """Seconds that these calls take, one after the other."""
    time = Time()
    pace = Pace(time.clock, time.sleep)
    for number in range(calls):
        pace.wait(action, regions[number % len(regions)])
    return time.now - 1000.0


def test_a_long_run_keeps_to_the_rate() -> None:
    seconds = taken(500, "lambda:ListFunctions")
    assert 0.95 <= 500 / seconds / RATES["lambda"] <= 1.05


def test_a_few_calls_wait_for_nothing() -> None:
    assert taken(8, "lambda:ListAliases") == 0.0


def test_where_the_bucket_is_known_to_be_deep_the_first_calls_wait_for_nothing() -> None:
    action = "states:ListStateMachineVersions"
    assert taken(int(BURSTS[action]), action) == 0.0
    assert taken(int(BURSTS[action]) + 80, action) >= 79 / RATES[action]


def test_calls_of_one_service_share_its_bucket_and_regions_do_not() -> None:
    assert taken(40, "lambda:ListFunctions", ("us-east-1", "eu-west-1")) < taken(40, "lambda:ListFunctions")
    time = Time()
    pace = Pace(time.clock, time.sleep)
    for _ in range(20):
        pace.wait("lambda:ListFunctions", "us-east-1")
        pace.wait("lambda:ListAliases", "us-east-1")
    assert time.now - 1000.0 > 5


def test_where_aws_allows_two_calls_a_second_there_is_no_burst() -> None:
    time = Time()
    pace = Pace(time.clock, time.sleep)
    moments = [pace.wait("cloudtrail:LookupEvents", "us-east-1") - 1000.0 for _ in range(3)]
    assert [round(moment, 2) for moment in moments] == [0.0, 0.67, 1.33]


def test_a_service_whose_calls_have_buckets_of_their_own_waits_for_each_by_itself() -> None:
    time = Time()
    pace = Pace(time.clock, time.sleep)
    for _ in range(int(BURSTS["ecs tasks"])):
        pace.wait("ecs:DescribeTasks", "us-east-1")
    assert pace.turn("ecs:ListTasks", "us-east-1") > 0
    assert pace.turn("ecs:DescribeServices", "us-east-1") == 0.0


@dataclass
class Run:
    """What became of many calls against a bucket."""

    seconds: float
    throttled: int
    lost: int
    pace: Pace


def against_a_bucket(
    calls: int,
    rate: float,
    burst: float,
    *,
    latency: float = 0.05,
    threads: int = 64,
    action: str = "ecr:DescribeImages",
) -> Run:
    """So many calls by so many threads against the bucket of a service, in a time that only waiting moves."""
    time = Time()
    pace = Pace(time.clock, time.sleep)
    tokens, filled = burst, time.now
    answers: list[tuple[float, int, int, bool, float]] = []
    waiting, left = deque([1] * threads), calls - threads
    run, order = Run(0.0, 0, 0, pace), itertools.count()
    while waiting or answers:
        delay = pace.turn(action, "us-east-1") if waiting else 1e9
        if not delay:
            tokens, filled = min(burst, tokens + (time.now - filled) * rate), time.now
            allowed = tokens >= 1
            tokens -= allowed
            heapq.heappush(answers, (time.now + latency, next(order), waiting.popleft(), allowed, time.now))
        elif answers and answers[0][0] <= time.now + delay:
            time.now, _, attempt, allowed, sent = heapq.heappop(answers)
            if allowed:
                pace.served(action, "us-east-1")
                waiting.extend([1] * (left > 0))
                left -= 1
            else:
                run.throttled += 1
                pace.refused(action, "us-east-1", sent)
                run.lost += attempt >= ATTEMPTS
                waiting.extend([attempt + 1] * (attempt < ATTEMPTS))
        else:
            time.now += delay
    run.seconds = time.now - 1000.0
    return run


@pytest.mark.parametrize("latency", [0.005, 0.05, 0.2])
@pytest.mark.parametrize("threads", [16, 64])
def test_a_bucket_that_nobody_publishes_is_used_up_and_hardly_ever_overrun(latency: float, threads: int) -> None:
    run = against_a_bucket(1000, rate=20, burst=20, latency=latency, threads=threads)
    assert run.seconds <= 1.1 * (1000 - 20) / 20 + latency
    assert run.throttled < 0.05 * 1000
    assert run.lost == 0


@given(rate=st.floats(5, 200), burst=st.floats(5, 300), latency=st.floats(0.001, 0.3), threads=st.integers(1, 64))
def test_no_call_is_lost_whatever_the_bucket(rate: float, burst: float, latency: float, threads: int) -> None:
    run = against_a_bucket(600, rate, burst, latency=latency, threads=threads)
    assert run.lost == 0
    assert sum(run.pace.throttled.values()) == run.throttled


def test_where_nothing_is_refused_a_thousand_calls_are_not_held_up_for_long() -> None:
    run = against_a_bucket(1000, rate=1e9, burst=1e9, latency=0.2)
    assert run.throttled == 0
    assert run.seconds < 3 * 1000 * 0.2 / 64


def steps(pace: Pace, action: str, time: Time) -> Iterator[float]:
    """The rate after each of many calls that are answered at once."""
    while True:
        pace.wait(action, "us-east-1")
        pace.served(action, "us-east-1")
        yield pace.rate(action, "us-east-1")


def test_the_first_throttle_halves_the_rate_and_those_already_under_way_cut_it_no_further() -> None:
    time = Time()
    pace = Pace(time.clock, time.sleep)
    rising = list(itertools.islice(steps(pace, "ecr:DescribeImages", time), 50))
    assert rising == sorted(rising)
    sent = time.now
    time.now += 0.1
    for _ in range(10):
        pace.refused("ecr:DescribeImages", "us-east-1", sent)
    assert pace.rate("ecr:DescribeImages", "us-east-1") == pytest.approx(rising[-1] / 2)
    pace.refused("ecr:DescribeImages", "us-east-1", time.now + 0.1)
    assert pace.rate("ecr:DescribeImages", "us-east-1") < rising[-1] / 2
    assert pace.throttled == {("ecr:DescribeImages", "us-east-1"): 11}
    assert pace.rate("ecr:DescribeImages", "eu-west-1") == pace.rate("ecr:ListImages", "us-east-1") == 20.0


def test_a_known_share_is_never_exceeded_and_given_up_when_throttled() -> None:
    time = Time()
    pace = Pace(time.clock, time.sleep)
    assert max(itertools.islice(steps(pace, "lambda:ListFunctions", time), 200)) == RATES["lambda"]
    pace.refused("lambda:ListFunctions", "us-east-1", time.now)
    assert pace.rate("lambda:ListFunctions", "us-east-1") == RATES["lambda"] / 2
    assert max(itertools.islice(steps(pace, "lambda:ListFunctions", time), 500)) == RATES["lambda"]


def test_deletions_have_a_budget_that_is_lower_than_that_of_reading() -> None:
    deleting = against_a_bucket(64, rate=1e9, burst=1e9, action="ecr:BatchDeleteImage")
    assert deleting.seconds > 2 * against_a_bucket(64, rate=1e9, burst=1e9).seconds
    assert taken(40, "ecr:BatchDeleteImage") == taken(40, "ecr:UpdateImageStorageClass")


def test_the_wait_that_aws_asks_for_is_kept() -> None:
    time = Time()
    pace = Pace(time.clock, time.sleep)
    sent = pace.wait("ecr:DescribeImages", "us-east-1")
    pace.refused("ecr:DescribeImages", "us-east-1", sent, pause=7.0)
    assert pace.wait("ecr:DescribeImages", "us-east-1") >= sent + 7.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"retry-after": "3"}, 3.0),
        ({"x-amz-retry-after": "1500"}, 1.5),
        ({"retry-after": "Wed, 25 Nov 2026 10:00:05 GMT", "date": "Wed, 25 Nov 2026 10:00:00 GMT"}, 5.0),
        ({"retry-after": "Wed, 25 Nov 2026 10:00:05 GMT"}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "-1"}, 0.0),
    ],
)
def test_what_aws_asks_to_wait_is_read_in_each_form(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers) == seconds


def test_no_turn_comes_when_the_run_has_ended() -> None:
    pace = Pace(sleep=lambda _: pace.close())
    pace.wait("cloudtrail:LookupEvents", "us-east-1")
    with pytest.raises(Interrupted):
        pace.wait("cloudtrail:LookupEvents", "us-east-1")
