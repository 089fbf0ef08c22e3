"""Throttled calls through a real client: repeated at their turn, a set number of times, or as the user has asked for."""

from collections.abc import Callable

import pytest

from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.turns import ATTEMPTS
from ecrsweep.emulator import Emulator, Fault

Open = Callable[..., AwsSession]


@pytest.fixture
def opened(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> Open:
    """A session against the emulator, with further variables of a user, whose budgets wait for nothing."""

    def made(**further: str) -> AwsSession:
        environ = aws.environ() | further
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        session = AwsSession(region="us-east-1", environ=environ)
        monkeypatch.setattr(session.pace, "_sleep", lambda seconds: None)
        monkeypatch.setattr(session.pace, "_clock", iter(range(10**9)).__next__)
        return session

    return made


def throttled(aws: Emulator, times: int | None) -> None:
    """Throttle the next calls of DescribeRepositories, or all."""
    aws.faults.add(Fault.error("ecr", "DescribeRepositories", "ThrottlingException", "Rate exceeded", times=times))


def asked(aws: Emulator) -> int:
    """How often DescribeRepositories was asked."""
    return sum(call.operation == "DescribeRepositories" for call in aws.calls.log)


def test_a_throttled_call_is_repeated_and_counted(aws: Emulator, opened: Open) -> None:
    throttled(aws, ATTEMPTS - 1)
    session = opened()
    assert session.client("ecr", "us-east-1").describe_repositories()["repositories"] == []
    assert asked(aws) == ATTEMPTS
    assert session.pace.throttled == {("ecr:DescribeRepositories", "us-east-1"): ATTEMPTS - 1}


def test_a_call_that_is_throttled_each_time_is_an_error(aws: Emulator, opened: Open) -> None:
    throttled(aws, None)
    client = opened().client("ecr", "us-east-1")
    with pytest.raises(client.exceptions.ClientError, match="ThrottlingException"):
        client.describe_repositories()
    assert asked(aws) == ATTEMPTS


def test_who_asks_for_other_retries_gets_them(aws: Emulator, opened: Open) -> None:
    throttled(aws, None)
    client = opened(AWS_MAX_ATTEMPTS="2", AWS_RETRY_MODE="standard").client("ecr", "us-east-1")
    with pytest.raises(client.exceptions.ClientError, match="ThrottlingException"):
        client.describe_repositories()
    assert asked(aws) == 2


def test_what_is_no_throttle_is_judged_by_botocore(aws: Emulator, opened: Open) -> None:
    aws.faults.add(Fault("drop_before", "ecr", "DescribeRepositories", times=1))
    aws.faults.add(Fault("html", "ecr", "DescribeRepositories", status=503, times=1, skip=1))
    session = opened()
    assert session.client("ecr", "us-east-1").describe_repositories()["repositories"] == []
    assert asked(aws) == 3
    assert session.pace.throttled == {}
