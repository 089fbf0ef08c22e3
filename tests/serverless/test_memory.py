"""The function has no disk that lasts: what it remembers lies in its bucket."""

import json
import sys
import uuid
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.ecs import EcsState
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, ago

SCRIPT = """
import json, sys
from ecrsweep.serverless.handler import handler

for event in json.load(sys.stdin):
    try:
        print(json.dumps(handler(event, None)))
    except Exception as error:
        print(json.dumps({"raised": type(error).__name__, "text": str(error)}))
"""
PLAN = {"command": "plan", "keep_newest": 0, "pulled_within": "0d"}


@pytest.fixture
def repo(aws: Emulator, cli: Cli) -> Repository:
    """Three old images, one of them in use, and the bucket of the function."""
    cli.environ |= {"ECRSWEEP_BUCKET": f"sweep-{uuid.uuid4()}", "AWS_LAMBDA_FUNCTION_NAME": "sweep"}
    aws.client("s3").create_bucket(Bucket=cli.environ["ECRSWEEP_BUCKET"])
    made = aws.ecr.repository("team/app")
    for version in range(1, 4):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=90))
    aws.ecs.register("web", {"web": f"{made.uri}:v1"})
    return made


def ask(cli: Cli, *events: dict[str, Any], **environ: str) -> list[dict[str, Any]]:
    """What the handler answered to these events, or raised."""
    ended = cli.run([sys.executable, "-c", SCRIPT], json.dumps(events), environ)
    assert ended.status == 0, ended.err
    told = [json.loads(line) for line in ended.out.splitlines()]
    return [entry for entry in told if "summary" not in entry or "run" in entry]


def stored(aws: Emulator, cli: Cli, prefix: str) -> list[str]:
    found = aws.client("s3").list_objects_v2(Bucket=cli.environ["ECRSWEEP_BUCKET"], Prefix=prefix)
    return [entry["Key"] for entry in found.get("Contents", [])]


def forget(aws: Emulator) -> None:
    aws.ecs = EcsState(aws.clock, aws.ecr, aws.account, aws.region)


def test_the_function_remembers_in_its_bucket_and_holds_when_a_source_falls_silent(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    assert ask(cli, PLAN)[-1]["summary"]["delete"] == 2
    assert len(stored(aws, cli, f"state/ledger/{ACCOUNT}/segments/")) == 1
    assert stored(aws, cli, "state/counts/") == [f"state/counts/{ACCOUNT}.json"]
    forget(aws)
    assert ask(cli, PLAN)[-1]["raised"] == "Incomplete"
    assert ask(cli, PLAN | {"accept_drops": "ecs"})[-1]["summary"]["delete"] == 2
    assert ask(cli, PLAN | {"used_within": "0d"})[-1]["summary"]["delete"] == 3


def test_a_plan_and_its_apply_are_one_run(aws: Emulator, cli: Cli, repo: Repository) -> None:
    assert ask(cli, PLAN | {"command": "apply"})[-1]["deleted"] == 2
    assert len(stored(aws, cli, f"state/ledger/{ACCOUNT}/segments/")) == 1


def test_a_ledger_that_may_not_be_written_is_no_failure_of_the_run(aws: Emulator, cli: Cli, repo: Repository) -> None:
    elsewhere = PLAN | {"state": "s3://no-such-bucket/state"}
    assert ask(cli, elsewhere)[-1]["summary"]["delete"] == 2
    aws.faults.add(Fault.denied("ecs", "ListClusters"))
    assert ask(cli, elsewhere)[-1]["raised"] == "Incomplete"
