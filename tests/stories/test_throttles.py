"""What becomes of a run that AWS throttles: it slows down, loses nothing, and says so where it is asked to tell more."""

import json
from typing import Any

from ecrsweep.emulator import Emulator, Fault
from tests.support import Cli, ago


def decided(lines: str) -> list[Any]:
    """What a plan decides, without when."""
    return [row for row in map(json.loads, lines.splitlines()) if "digest" in row and "repository" in row]


def test_a_tight_bucket_slows_a_plan_down_and_changes_nothing_of_it(aws: Emulator, cli: Cli) -> None:
    for number in range(30):
        for age in (40, 50):
            aws.ecr.repository(f"team/app-{number:02}").push_image(tags=(f"v{age}",), pushed_at=ago(days=age))
    ask = ("plan", "--output", "jsonl", "--verbose", "--keep-newest", "1", "--pulled-within", "0d", "--region", "us-east-1",
           "--consumer-region", "us-east-1")  # fmt: skip
    free = cli(*ask)
    aws.throttle("ecr", "DescribeImages", rate=12, burst=3)
    throttled = cli(*ask)
    assert (free.status, throttled.status) == (0, 0), throttled.err
    assert decided(throttled.out) == decided(free.out)
    assert len(decided(free.out)) == 60
    assert "throttled" not in free.err
    assert "AWS throttled ecr:DescribeImages in us-east-1" in throttled.err


def test_a_repository_whose_listing_is_throttled_to_the_end_is_a_gap(aws: Emulator, cli: Cli) -> None:
    for name in ("team/app", "team/web"):
        for age in (40, 50):
            aws.ecr.repository(name).push_image(tags=(f"v{age}",), pushed_at=ago(days=age))
    aws.faults.add(
        Fault.error(
            "ecr", "DescribeImages", "ThrottlingException", "Rate exceeded",
            when=lambda parameters: parameters["repositoryName"] == "team/web",
        )
    )  # fmt: skip
    plan = cli.plan("--keep-newest", "1", "--consumer-region", "us-east-1")
    assert plan.status == 5
    assert {decision["repository"] for decision in plan.json["decisions"]} == {"team/app"}
    assert [entry["error"] for entry in plan.json["coverage"] if entry["status"] == "failed"] == [
        "team/web: ecr:DescribeImages was throttled in us-east-1, retries included: ThrottlingException: Rate exceeded"
    ]
