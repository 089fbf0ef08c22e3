"""What is asked once, whoever needs it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ecrsweep.app.once import Once
from ecrsweep.core.errors import AwsFailure


def test_many_that_need_the_same_ask_once_and_keep_nobody_else_waiting() -> None:
    asked: list[str] = []
    may_answer = threading.Event()

    def ask(key: str) -> str:
        asked.append(key)
        assert key == "quick" or may_answer.wait(10)
        return key.upper()

    once = Once(ask)
    with ThreadPoolExecutor(9) as pool:
        slow = [pool.submit(once.of, "slow") for _ in range(8)]
        assert pool.submit(once.of, "quick").result(10) == "QUICK"
        may_answer.set()
        assert {answer.result(10) for answer in slow} == {"SLOW"}
    assert sorted(asked) == sorted(once) == ["quick", "slow"]


def test_what_fails_fails_for_all_that_ask() -> None:
    def ask(key: str) -> str:
        raise AwsFailure(f"no answer of {key}")

    once = Once(ask)
    for _ in range(2):
        with pytest.raises(AwsFailure, match="no answer of registry"):
            once.of("registry")
