"""Our calls take a share of what AWS allows, and never more."""

from ecrsweep.aws.pace import BURSTS, RATES, Pace


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


def test_what_has_no_known_rate_is_left_to_the_retries() -> None:
    assert taken(10_000, "ecr:DescribeImages") == 0.0


def test_where_aws_allows_two_calls_a_second_there_is_no_burst() -> None:
    waits: list[float] = []
    pace = Pace(clock=lambda: 100.0, sleep=waits.append)
    for _ in range(3):
        pace.wait("cloudtrail:LookupEvents", "us-east-1")
    assert [round(wait, 2) for wait in waits] == [0.67, 1.33]
