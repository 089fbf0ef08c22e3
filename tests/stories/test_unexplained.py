"""`ecrsweep uses --unexplained`: who pulls an image that nothing else is known to use."""

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, ago


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """An image that ECS runs by the tag of its index, and one that only a host pulls."""
    made = aws.ecr.repository("team/app")
    child = made.push_image(pushed_at=ago(days=90))
    index = made.push_index([child], tags=("v1", "prod"), pushed_at=ago(days=90))
    made.push_signature(index, pushed_at=ago(days=90))
    aws.ecs.run(aws.ecs.register("web", {"web": f"{made.uri}:prod"}))
    for name in ("v1", index, child, made.images()[-1].digest):  # what a node pulls to run it
        asked = {"digest": name} if name.startswith("sha256:") else {"tag": name}
        aws.trail.pull(made, by="node/i-1", at=ago(days=3), **asked)
    made.push_image(tags=("v2",), pushed_at=ago(days=90))
    aws.trail.pull(made, tag="v2", by="host/i-9", at=ago(days=3), address="203.0.113.9", agent="docker/27")
    aws.trail.pull(made, tag="v2", by="host/i-9", at=ago(days=2), address="203.0.113.9", agent="docker/27")
    return made


def test_only_pulls_that_no_other_source_explains_are_told(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.trail.pull(repo, tag="gone", by="user/dana", at=ago(days=1))
    aws.trail.pull(repo, digest=repo.digest_of("v2"), by="user/long-ago", at=ago(days=40))
    far = aws.ecr.repository("far/app", account="210987654321")
    aws.trail.pull(far, tag="v1", by="user/dana", account=ACCOUNT, at=ago(days=1), recipientAccountId=ACCOUNT)
    found = cli("uses", "--unexplained", "--output", "json")
    assert found.status == 0, found.err
    assert found.json["format"] == "ecrsweep.unexplained/1"
    told = {(row["account"], row["repository"], row["tag"]): row for row in found.json["unexplained"]}
    assert set(told) == {(ACCOUNT, "team/app", "v2"), (ACCOUNT, "team/app", "gone"), ("210987654321", "far/app", "v1")}
    row = told[ACCOUNT, "team/app", "v2"]
    assert row["principal"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/host/i-9"
    assert (row["times"], row["address"], row["user_agent"], row["digest"]) == (2, "203.0.113.9", "docker/27", None)
    assert row["first_at"] < row["last_at"]
    assert {entry["source"] for entry in found.json["coverage"]} >= {"cloudtrail", "ecs"}
    explained = cli(
        "uses", "--unexplained", "--output", "jsonl", "--uses-file", "-", stdin=f"{repo.uri}:v2\n{repo.uri}:gone"
    )
    assert [line for line in explained.out.splitlines() if "team/app" in line] == []


def test_people_get_a_table(aws: Emulator, cli: Cli, repo: Repository) -> None:
    shown = cli("uses", "--unexplained").out
    (line,) = [line for line in shown.splitlines() if "host/i-9" in line]
    assert line.split()[1:5] == ["us-east-1", "team/app", "v2", "2"]
    assert line.rstrip().endswith("203.0.113.9, docker/27")
    assert "1 image pulled by somebody of whom no other source knows." in shown
    aws.trail.pull(repo, tag="\x1b[2Jv2", by="user/x", at=ago(days=1), userAgent="\x1b]0;owned\x07")
    assert "\x1b" not in cli("uses", "--unexplained").out


def test_gaps_are_told_and_the_source_cannot_be_left_out(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault.denied("ecr", "DescribeImages"))
    blind = cli("uses", "--unexplained", "--output", "json")
    assert blind.status == 5
    (failed,) = [entry for entry in blind.json["coverage"] if entry["status"] == "failed"]
    assert (failed["source"], failed["region"]) == ("ecr", "us-east-1")
    aws.faults.clear()
    aws.faults.add(Fault.denied("cloudtrail", "LookupEvents"))
    assert cli("uses", "--unexplained").status == 5
    assert cli("uses", "--unexplained", "--skip-source", "cloudtrail").status == 2
