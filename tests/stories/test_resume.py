"""A run that dies at any moment: what it did is written down, another takes it up, and all comes out the same."""

import json
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.core.journal import read_journal
from ecrsweep.emulator import Call, Emulator, Fault
from ecrsweep.sources import OWN
from tests.support import Cli, Finished, ago

RULES = ("--keep-newest", "0", "--pulled-within", "0d", "--used-within", "0d")
CHANGING = {"BatchDeleteImage", "UpdateImageStorageClass"}
QUICK = tuple(word for name in OWN if name != "ecs" for word in ("--skip-source", name))
"""These stories are not about who uses what."""


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


def build(aws: Emulator, since: datetime) -> None:
    """Two repositories: an index with two platforms and a signature, plain images, one of which is in use."""
    aws.reset()
    app = aws.ecr.repository("team/app")
    children = [app.push_image(pushed_at=since) for _ in range(2)]
    index = app.push_index(children, tags=("v1",), pushed_at=since)
    app.push_signature(index, pushed_at=since)
    app.push_image(tags=("v2",), pushed_at=since)
    other = aws.ecr.repository("team/other")
    other.push_image(tags=("v1",), pushed_at=since)
    used = other.push_image(tags=("v2",), pushed_at=since)
    aws.ecs.run(aws.ecs.register("web", {"web": f"{other.uri}@{used}"}))


def registry(aws: Emulator) -> dict[str, tuple[str, tuple[str, ...]]]:
    now = aws.clock.seconds
    return {
        image.digest: (image.status(now), tuple(sorted(image.tags)))
        for name in ("team/app", "team/other")
        for image in aws.ecr.repository(name).images()
    }


def killed_in(aws: Emulator, cli: Cli, kind: Any, number: int, *arguments: str) -> int:
    """Run the command; kill it with its n-th call of ECR on the way, before or after that has had its effect."""
    started: list[subprocess.Popen[bytes]] = []

    def kill(call: Call) -> None:
        started[0].send_signal(signal.SIGKILL)
        started[0].wait()

    aws.faults.add(Fault(kind, "ecr", skip=number, times=1, run=kill))
    command = [sys.executable, "-m", "ecrsweep", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=cli.environ) as process:
        started.append(process)
        status = process.wait()
    aws.faults.clear()
    return status


def told(ended: Finished) -> dict[str, str]:
    return {f"{row['repository']}@{row['digest']}": row["outcome"] for row in ended.json["results"]}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("otherwise", ["delete", "archive"])
def test_killed_at_any_call_and_resumed_registry_report_and_journal_are_the_same(
    aws: Emulator, cli: Cli, otherwise: str
) -> None:
    since, plan = ago(days=90), str(cli.home / "plan.jsonl")
    build(aws, since)
    cli("plan", "--save", plan, "--otherwise", otherwise, *RULES, *QUICK)
    aws.calls.reset()
    whole = cli("apply", plan, "--yes", "--output", "json", "--journal", str(cli.home / "whole.jsonl"))
    assert whole.status == 0, whole.err
    expected, calls = registry(aws), [call.operation for call in aws.calls.log if call.service == "ecr"]
    assert CHANGING & set(calls), "otherwise nothing is tested"
    for number, operation in enumerate(calls):
        # To be killed after a call that changes nothing is to be killed before the next one.
        for kind in ("before", "after") if operation in CHANGING else ("before",):
            build(aws, since)
            journal = str(cli.home / f"{kind}-{number}.jsonl")
            common = ("--yes", "--output", "json")
            status = killed_in(aws, cli, kind, number, "apply", plan, *common, "--journal", journal)
            assert status == -signal.SIGKILL
            begun = Path(journal).exists()
            again = ("--resume", journal) if begun else (plan, "--journal", journal)
            ended = cli("apply", *again, *common)
            where = f"killed {kind} call {number}"
            assert ended.status == 0, f"{where}: {ended.err}"
            assert registry(aws) == expected, where
            assert told(ended) == told(whole), where
            with Path(journal).open("rb") as lines:
                history = read_journal(lines)
            assert history.whole
            assert history.resumed == begun
            assert set(history.summary or ()) == set(whole.json["summary"])
            assert history.summary == whole.json["summary"], where


def test_what_was_deployed_while_the_run_was_dead_is_spared(aws: Emulator, cli: Cli) -> None:
    since, plan, journal = ago(days=90), str(cli.home / "plan.jsonl"), str(cli.home / "journal.jsonl")
    build(aws, since)
    cli("plan", "--save", plan, *RULES, *QUICK)
    assert killed_in(aws, cli, "before", 2, "apply", plan, "--yes", "--journal", journal) == -signal.SIGKILL
    assert Path(journal).exists()
    app = aws.ecr.repository("team/app")
    aws.ecs.run(aws.ecs.register("late", {"web": f"{app.uri}:v2"}))
    ended = cli("apply", "--resume", journal, "--yes", "--output", "json")
    assert ended.status == 0, ended.err
    assert set(app.by_tag) == {"v2"}
    assert told(ended)[f"team/app@{app.digest_of('v2')}"] == "spared"


def test_limits_that_the_run_overrode_stay_overridden_when_it_is_taken_up_again(aws: Emulator, cli: Cli) -> None:
    build(aws, ago(days=90))
    plan, journal = str(cli.home / "plan.jsonl"), str(cli.home / "journal.jsonl")
    assert cli("plan", "--save", plan, "--max-images", "3", *RULES, *QUICK).status == 5
    begun = ("apply", plan, "--override-limits", "--yes", "--journal", journal)
    assert killed_in(aws, cli, "before", 2, *begun) == -signal.SIGKILL
    ended = cli("apply", "--resume", journal, "--yes")
    assert ended.status == 0, ended.err
    assert "Limits are overridden" in ended.err
    assert [image.tags for image in aws.ecr.repository("team/other").images()] == [["v2"]]
    with Path(journal).open("rb") as lines:
        events = [json.loads(line) for line in lines if line.strip()]
    assert [event["override_limits"] for event in events if event["event"] in {"begun", "resumed"}] == [True, True]


def test_resume_takes_neither_another_plan_nor_rules_and_refuses_what_is_no_journal(aws: Emulator, cli: Cli) -> None:
    build(aws, ago(days=90))
    plan = str(cli.home / "plan.jsonl")
    cli("plan", "--save", plan, *RULES, *QUICK)
    assert cli("apply", plan, "--resume", "x.jsonl", "--yes").status == 2
    assert "cannot be read" in cli("apply", "--resume", "nosuch.jsonl", "--yes").err
    refused = cli("apply", "--resume", plan, "--yes")
    assert refused.status == 1
    assert "no journal" in refused.err
    assert "Traceback" not in refused.err


def test_a_second_run_is_told_who_is_at_work_and_changes_nothing(aws: Emulator, cli: Cli) -> None:
    build(aws, ago(days=90))
    second: list[Finished] = []
    aws.faults.add(
        Fault("before", "ecr", "BatchDeleteImage", times=1,
              run=lambda _: second.append(cli("apply", "--yes", *RULES, *QUICK)))
    )  # fmt: skip
    first = cli("apply", "--yes", "--output", "json", *RULES, *QUICK)
    assert first.status == 0, first.err
    assert second[0].status == 5
    assert "Another run is changing the registry" in second[0].err
    assert first.json["journal"].rsplit("/", 1)[1].removesuffix(".jsonl") in second[0].err
    assert cli("apply", "--yes", *RULES, *QUICK).status == 0, "the lease is gone with its run"


def test_the_lease_of_a_dead_run_elsewhere_ends_by_itself(aws: Emulator, cli: Cli) -> None:
    build(aws, ago(days=90))
    folder = cli.home / "state" / "ecrsweep" / "leases" / aws.account
    folder.mkdir(parents=True)
    lease = {"format": "ecrsweep.lease/1", "run": "r", "who": "dana", "host": "elsewhere", "pid": 7, "since": "x"}
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    file = folder / "us-east-1.json"
    file.write_text(json.dumps(lease | {"until": soon}))
    held = cli("apply", "--yes", *RULES, *QUICK)
    assert held.status == 5
    assert "dana on elsewhere" in held.err
    file.write_text(json.dumps(lease | {"until": "2020-01-01T00:00:00Z"}))
    assert cli("apply", "--yes", *RULES, *QUICK).status == 0
