"""Carrying out: what goes, in which order, what is spared when the world has moved, and what is said of it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.emulator import Call, Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, REGIONS, Cli, Finished, ago

NO_RULES = ("--keep-newest", "0", "--pulled-within", "0d", "--max-fraction", "1")


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Ten old images, one tag each."""
    made = aws.ecr.repository("team/app")
    for number in range(10):
        made.push_image(tags=(f"v{number}",), pushed_at=ago(days=100 - number))
    return made


def save(cli: Cli, *arguments: str) -> str:
    path = str(cli.home / "plan.jsonl")
    ended = cli("plan", "--save", path, *(arguments or NO_RULES))
    assert ended.status in {0, 5}, ended.err
    return path


def apply(cli: Cli, path: str, *arguments: str) -> Finished:
    return cli("apply", path, "--yes", "--output", "json", *arguments)


def outcomes(ended: Finished) -> dict[str, str]:
    return {entry["digest"]: entry["outcome"] for entry in ended.json["results"]}


def on_first(operation: str, run: Any) -> Fault:
    """Let something happen right before the first call of this kind."""
    return Fault("before", "ecr", operation, times=1, run=run)


def test_a_saved_plan_is_carried_out_in_batches_of_a_hundred(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    for number in range(230):
        repo.push_image(tags=(f"v{number}",), pushed_at=ago(days=60, minutes=number))
    ended = apply(cli, save(cli))
    assert ended.status == 0, ended.err
    assert ended.json["summary"]["deleted"] == 230
    assert repo.images() == []
    sizes = [len(call.parameters["imageIds"]) for call in aws.calls.log if call.operation == "BatchDeleteImage"]
    assert sizes == [100, 100, 30]


def test_without_a_file_it_plans_shows_and_applies(aws: Emulator, cli: Cli, repo: Repository) -> None:
    ended = cli("apply", "--yes", "--keep-newest", "4", "--pulled-within", "0d")
    assert ended.status == 0, ended.err
    assert "team/app" in ended.out
    assert "Deleted 6 images" in ended.out
    assert len(repo.images()) == 4


def test_without_a_terminal_it_needs_yes_and_asks_aws_nothing(aws: Emulator, cli: Cli, repo: Repository) -> None:
    ended = cli("apply", *NO_RULES)
    assert ended.status == 2
    assert "--yes" in ended.err
    assert aws.calls.log == []


def test_parents_go_before_children_level_by_level(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    leaf = repo.push_image(pushed_at=ago(days=90))
    inner = repo.push_index([leaf], pushed_at=ago(days=90))
    outer = repo.push_index([inner], tags=("v1",), pushed_at=ago(days=90))
    signature = repo.push_signature(outer, pushed_at=ago(days=90))
    ended = apply(cli, save(cli))
    assert ended.status == 0, ended.out
    deleted = [
        [image["imageDigest"] for image in call.parameters["imageIds"]]
        for call in aws.calls.log
        if call.operation == "BatchDeleteImage"
    ]
    assert deleted[0] == [outer]
    assert sorted(deleted[1]) == sorted([inner, signature])
    assert deleted[2] == [leaf]
    assert repo.images() == []


def test_a_refused_parent_keeps_its_children_and_the_exit_status_says_so(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    leaf = repo.push_image(pushed_at=ago(days=90))
    index = repo.push_index([leaf], tags=("v1",), pushed_at=ago(days=90))
    free = repo.push_image(tags=("v2",), pushed_at=ago(days=90))
    aws.faults.add(Fault("failures", "ecr", "BatchDeleteImage", failures={index: "KmsError"}))
    ended = apply(cli, save(cli))
    assert ended.status == 4
    assert outcomes(ended) == {index: "refused", leaf: "kept_with_parent", free: "deleted"}
    assert {image.digest for image in repo.images()} == {index, leaf}
    shown = cli("apply", "--yes", *NO_RULES)
    assert shown.status == 4
    assert "KmsError" in shown.out


CODES = (
    "InvalidImageDigest", "InvalidImageTag", "ImageTagDoesNotMatchDigest", "MissingDigestAndTag",
    "ImageReferencedByManifestList", "KmsError", "UpstreamAccessDenied", "UpstreamTooManyRequests",
    "UpstreamUnavailable", "ImageInaccessible",
)  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_every_failure_code_is_reported_and_nothing_is_claimed(
    aws: Emulator, cli: Cli, repo: Repository, code: str
) -> None:
    refused = repo.digest_of("v3")
    aws.faults.add(Fault("failures", "ecr", "BatchDeleteImage", failures={refused: code}))
    ended = apply(cli, save(cli))
    assert ended.status == 4
    assert [image.digest for image in repo.images()] == [refused]
    entry = next(entry for entry in ended.json["results"] if entry["digest"] == refused)
    assert (entry["outcome"], entry["code"]) == ("refused", code)
    assert ended.json["summary"]["deleted"] == 9


def test_an_image_that_is_gone_already_is_no_failure(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = save(cli)
    gone, late = repo.digest_of("v1"), repo.digest_of("v2")
    repo.remove(gone)
    aws.faults.add(on_first("BatchDeleteImage", lambda call: repo.remove(late)))
    ended = apply(cli, path)
    assert ended.status == 0
    assert outcomes(ended)[gone] == "already_gone"
    assert repo.images() == []


def test_a_repository_that_is_gone_is_no_failure(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = save(cli)
    del aws.ecr.registry(ACCOUNT, "us-east-1")["team/app"]
    ended = apply(cli, path)
    assert ended.status == 0
    assert set(outcomes(ended).values()) == {"already_gone"}


def note(_: object) -> None:
    """What a fault ran returns nothing."""


def changed_by(repo: Repository, how: str) -> str:
    """Change the world after the plan; the digest that this must spare."""
    digest = repo.digest_of("v1")
    match how:
        case "tag moved here":
            repo.tag("prod", digest)
        case "tag moved away":
            repo.tag("v1", repo.digest_of("v2"))
        case "pulled":
            repo.pull("v1")
        case "pushed again":
            repo.by_digest[digest].pushed_at += 60
    return digest


@pytest.mark.parametrize("how", ["tag moved here", "tag moved away", "pulled", "pushed again"])
@pytest.mark.parametrize("moment", ["after the plan", "right before the batch"])
def test_what_changed_is_spared(aws: Emulator, cli: Cli, repo: Repository, how: str, moment: str) -> None:
    path, digest = save(cli), repo.digest_of("v1")
    if moment == "after the plan":
        changed_by(repo, how)
    else:
        look_again = Fault("before", "ecr", "DescribeImages", times=1, run=lambda _: note(changed_by(repo, how)))
        look_again.when = lambda asked: "imageIds" in asked
        aws.faults.add(look_again)
    ended = apply(cli, path)
    assert ended.status == 0, ended.err
    entry = next(entry for entry in ended.json["results"] if entry["digest"] == digest)
    assert (entry["outcome"], entry["action"]) == ("spared", "hold")
    assert entry["reasons"][0]["code"] == "changed"
    assert digest in {image.digest for image in repo.images()}
    assert ended.json["summary"]["deleted"] == (8 if how == "tag moved away" else 9)


def test_what_came_into_use_since_the_plan_is_spared(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = save(cli)
    aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:v1"}, region="eu-west-1"), region="eu-west-1")
    ended = apply(cli, path)
    assert ended.status == 0
    assert outcomes(ended)[repo.digest_of("v1")] == "spared"
    assert [image.tags for image in repo.images()] == [["v1"]]


def test_a_child_that_changed_spares_its_whole_artifact(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    leaves = [repo.push_image(pushed_at=ago(days=90)) for _ in range(2)]
    index = repo.push_index(leaves, tags=("v1",), pushed_at=ago(days=90))
    path = save(cli)
    repo.tag("handmade", leaves[0])
    ended = apply(cli, path)
    assert outcomes(ended) == {index: "spared", leaves[0]: "spared", leaves[1]: "spared"}
    assert len(repo.images()) == 3


def test_an_image_pushed_after_the_plan_is_never_touched(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = save(cli)
    fresh = repo.push_image(tags=("new",), pushed_at=ago(days=80))
    apply(cli, path)
    assert [image.digest for image in repo.images()] == [fresh]


def test_a_gap_at_apply_deletes_nothing(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = save(cli)
    aws.faults.add(Fault.denied("ecs", "ListTasks"))
    aws.ecs.cluster("prod")
    ended = apply(cli, path)
    assert ended.status == 5
    assert set(outcomes(ended).values()) == {"held"}
    assert aws.calls.count("ecr", "BatchDeleteImage") == 0
    assert apply(cli, path, "--accept-gap", "ecs").status == 0


def test_a_plan_with_a_gap_holds_everything_and_apply_does_so_too(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.ecs.cluster("prod")
    aws.faults.add(Fault.denied("ecs", "ListTasks"))
    ended = cli("apply", "--yes", *NO_RULES)
    assert ended.status == 5
    assert aws.calls.count("ecr", "BatchDeleteImage") == 0


def unreadable(aws: Emulator) -> Fault:
    """Another repository, which may not be listed."""
    aws.ecr.repository("team/hidden").push_image(tags=("v1",), pushed_at=ago(days=90))
    return aws.faults.add(
        Fault.denied("ecr", "DescribeImages", when=lambda asked: asked["repositoryName"] == "team/hidden")
    )


def test_a_repository_that_cannot_be_read_does_not_hold_the_others_and_the_exit_status_says_so(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    unreadable(aws)
    ended = cli("apply", "--yes", "--output", "json", *NO_RULES)
    assert ended.status == 5, "the plan that it made itself has a gap"
    assert ended.json["summary"]["deleted"] == 10
    assert repo.images() == []


def test_a_repository_that_cannot_be_read_fails_the_invocation_of_the_handler(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    unreadable(aws)
    ended = cli.handler({"command": "apply", "regions": ["us-east-1"], "keep_newest": 0, "pulled_within": "0d"})
    assert ended.status == 1
    assert "ended with status 5" in ended.err
    assert repo.images() == []


def test_a_lost_answer_is_found_out(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = save(cli)
    aws.faults.add(Fault("drop_after", "ecr", "BatchDeleteImage"))
    ended = cli("apply", path, "--yes", "--output", "json", AWS_MAX_ATTEMPTS="1")
    assert ended.status == 0, ended.out
    assert set(outcomes(ended).values()) == {"deleted"}
    assert repo.images() == []


def test_a_refused_call_leaves_everything_and_says_which_permission_is_missing(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    path = save(cli)
    aws.faults.add(Fault.denied("ecr", "BatchDeleteImage"))
    ended = apply(cli, path)
    assert ended.status == 4
    assert set(outcomes(ended).values()) == {"refused"}
    assert "ecr:BatchDeleteImage" in ended.out
    assert len(repo.images()) == 10


def test_credentials_that_expire_stop_the_run_with_a_true_report(aws: Emulator, cli: Cli, repo: Repository) -> None:
    for number in range(3):
        aws.ecr.repository("team/web").push_image(tags=(f"w{number}",), pushed_at=ago(days=90))
    path = save(cli)
    expired = Fault.error("ecr", "BatchDeleteImage", "ExpiredTokenException", "The security token has expired")
    aws.faults.add(expired)
    ended = apply(cli, path)
    assert ended.status == 4
    assert ended.json["stopped_by"]
    assert ended.json["summary"]["deleted"] == 0
    assert set(outcomes(ended).values()) <= {"refused", "not_tried"}


def test_the_first_interrupt_finishes_the_batch_and_reports(aws: Emulator, cli: Cli) -> None:
    for name in ("team/a", "team/b"):
        for number in range(150):
            aws.ecr.repository(name).push_image(tags=(f"v{number}",), pushed_at=ago(days=60, minutes=number))
    path = save(cli)
    started: list[subprocess.Popen[str]] = []

    def interrupt(call: Call) -> None:
        started[0].send_signal(signal.SIGINT)
        time.sleep(0.3)

    aws.faults.add(on_first("BatchDeleteImage", interrupt))
    command = [sys.executable, "-m", "ecrsweep", "apply", path, "--yes", "--output", "json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.environ, cwd=cli.home
    ) as process:
        started.append(process)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    report = json.loads(out)
    left = {image.digest for name in ("team/a", "team/b") for image in aws.ecr.repository(name).images()}
    said = {entry["digest"] for entry in report["results"] if entry["outcome"] == "deleted"}
    assert len(said) == 100
    assert len(left) == 200
    assert not said & left
    again = apply(cli, path)
    assert again.status == 0
    assert aws.ecr.repository("team/b").images() == []


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        (lambda text: text.replace('"v3"', '"v4"', 1), 1, "changed after it was saved"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", 1, "cut short"),
        (lambda text: text[: len(text) // 2], 1, ""),
        (lambda text: "", 1, "not a saved plan"),
        (lambda text: "# a shopping list\n- milk\n", 1, "not"),
        (lambda text: json.dumps({"format": "ecrsweep.plan/9"}) + "\n{}\n", 1, "plan/9"),
        (lambda text: json.dumps([1, 2]) + "\n" + json.dumps([3]) + "\n", 1, ""),
    ],
)
def test_a_plan_that_cannot_be_checked_is_refused(
    aws: Emulator, cli: Cli, repo: Repository, change: Any, status: int, word: str
) -> None:  # fmt: skip
    path = Path(save(cli))
    path.write_text(change(path.read_text()))
    ended = apply(cli, str(path))
    assert ended.status == status
    assert word in ended.err
    assert "Traceback" not in ended.err
    assert aws.calls.count("ecr", "BatchDeleteImage") == 0


def test_a_plan_of_another_account_is_refused(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = save(cli)
    with Emulator(account="210987654321") as other:
        ended = Cli(other.environ(), cli.home)("apply", path, "--yes")
    assert ended.status == 1
    assert ACCOUNT in ended.err
    assert "210987654321" in ended.err


def test_a_saved_plan_keeps_its_own_rules(aws: Emulator, cli: Cli, repo: Repository) -> None:
    ended = apply(cli, save(cli), "--keep-newest", "3")
    assert ended.status == 2
    assert "--keep-newest" in ended.err


def test_the_prompt_wants_account_and_number(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = save(cli)
    assert prompted(cli, path, "y\n") == 1
    assert len(repo.images()) == 10
    assert prompted(cli, path, f"{ACCOUNT} 9\n") == 1
    assert len(repo.images()) == 10
    assert prompted(cli, path, f"{ACCOUNT} 10\n") == 0
    assert repo.images() == []


def prompted(cli: Cli, path: str, typed: str) -> int:
    """The exit status of an apply on a terminal, into which somebody types."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ecrsweep", "apply", path], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=cli.environ, cwd=cli.home,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, typed.encode())
        process.communicate(timeout=60)
        os.close(ours)
    return process.returncode


def filled(aws: Emulator, number: int) -> list[Repository]:
    made = [aws.ecr.repository(name) for name in ("team/a", "team/b")]
    for repository in made:
        for version in range(number):
            repository.push_image(tags=(f"v{version}",), pushed_at=ago(days=60, minutes=version))
    return made


@pytest.mark.parametrize("kind", ["5xx", "expired"])
def test_what_gives_out_in_the_middle_ends_in_a_true_report(aws: Emulator, cli: Cli, kind: str) -> None:
    """The first repository goes; then deletes answer 500, or credentials expire."""
    first, second = filled(aws, 5)
    path = save(cli)
    lasting = {
        "5xx": Fault.error("ecr", "BatchDeleteImage", "ServerException", "Internal", 500, skip=1),
        "expired": Fault.error("ecr", "BatchDeleteImage", "ExpiredTokenException", "It has expired", skip=1),
    }
    aws.faults.add(lasting[kind])
    ended = cli("apply", path, "--yes", "--output", "json", AWS_MAX_ATTEMPTS="1")
    left = {image.digest for repository in (first, second) for image in repository.images()}
    said = {digest for digest, outcome in outcomes(ended).items() if outcome == "deleted"}
    assert not said & left, "nothing is claimed"
    assert len(said) + len(left) == 10
    assert "Traceback" not in ended.err
    assert len(second.images()) == 5
    assert ended.status == 4
    assert bool(ended.json["stopped_by"]) == (kind == "expired")
    aws.faults.clear()
    assert apply(cli, path).status == 0
    assert second.images() == []


SILENT = {
    "no connection": Fault.unreachable("us-east-1"),
    "5xx": Fault.error("ecr", "*", "ServerException", "Internal", 500, region="us-east-1"),
}


def two_registries(aws: Emulator, cli: Cli) -> tuple[str, list[Repository], list[Repository]]:
    """A plan over two regions; in each, two repositories of which everything is to go."""
    made = [[aws.ecr.repository(name, region=region) for name in ("team/a", "team/b")] for region in REGIONS[1:]]
    for repository in (*made[0], *made[1]):
        for version in range(3):
            repository.push_image(tags=(f"v{version}",), pushed_at=ago(days=60, minutes=version))
    regions = [word for region in REGIONS[1:] for word in ("--region", region)]
    return save(cli, *NO_RULES, *regions), made[0], made[1]


def images_in(repositories: list[Repository]) -> int:
    return sum(len(repository.images()) for repository in repositories)


def change_then(aws: Emulator, fault: Fault) -> None:
    """With the first delete something happens to the registry."""
    aws.faults.add(Fault("after", "ecr", "BatchDeleteImage", times=1, run=lambda _: note(aws.faults.add(fault))))


@pytest.mark.parametrize("silence", SILENT)
def test_a_region_that_goes_away_while_it_is_changed_is_left_undone_and_the_others_are_done(
    aws: Emulator, cli: Cli, silence: str
) -> None:
    path, gone, other = two_registries(aws, cli)
    change_then(aws, replace(SILENT[silence]))
    ended = cli("apply", path, "--yes", "--output", "json", AWS_MAX_ATTEMPTS="1")
    assert ended.status == 4, "left undone, and not a gap"
    assert (images_in(gone), images_in(other)) == (3, 0)
    left = [row for row in ended.json["results"] if row["outcome"] != "deleted"]
    assert {(row["region"], row["repository"], row["outcome"]) for row in left} == {
        ("us-east-1", "team/b", "not_tried")
    }
    for row in left:
        assert "123456789012/us-east-1 went away while this run was changing it" in row["message"]
        assert "run apply again" in row["message"]
    assert not ended.json["held"]
    aws.faults.clear()
    assert apply(cli, path).status == 0
    assert images_in(gone) == 0


def test_a_region_that_is_gone_is_not_asked_once_more_for_each_repository(aws: Emulator, cli: Cli) -> None:
    for number in range(6):
        aws.ecr.repository(f"team/{number}").push_image(tags=("v1",), pushed_at=ago(days=60))
    path = save(cli)
    aws.calls.reset()
    change_then(aws, Fault.unreachable("us-east-1", service="ecr"))
    ended = cli("apply", path, "--yes", "--output", "table", AWS_MAX_ATTEMPTS="1")
    assert ended.status == 4
    assert "5 images not tried" in ended.out
    assert aws.calls.log[-1].operation == "DescribeImages"
    asked_after = [call.operation for call in aws.calls.log if call.service == "ecr"]
    assert asked_after[asked_after.index("BatchDeleteImage") + 1 :] == ["DescribeImages"]


@pytest.mark.parametrize("silence", SILENT)
def test_a_region_that_cannot_be_looked_at_before_anything_was_changed_there_is_a_gap(
    aws: Emulator, cli: Cli, silence: str
) -> None:
    path, silent, other = two_registries(aws, cli)
    fault = replace(SILENT[silence])
    fault.service, fault.operation = "ecr", "DescribeImages"
    aws.faults.add(fault)
    ended = cli("apply", path, "--yes", "--output", "json", AWS_MAX_ATTEMPTS="1")
    assert ended.status == 5
    assert (images_in(silent), images_in(other)) == (6, 0)
    assert {row["outcome"] for row in ended.json["results"] if row["region"] == "us-east-1"} == {"held"}


def test_what_is_refused_for_another_reason_in_the_middle_stays_a_gap(aws: Emulator, cli: Cli) -> None:
    path, denied, other = two_registries(aws, cli)
    change_then(aws, Fault.denied("ecr", "DescribeImages", region="us-east-1"))
    ended = cli("apply", path, "--yes", "--output", "json", AWS_MAX_ATTEMPTS="1")
    assert ended.status == 5
    assert (images_in(denied), images_in(other)) == (3, 0)
    assert ended.json["summary"]["held"] == 3


def test_a_region_that_goes_away_with_the_first_archive_leaves_that_batch_in_doubt(aws: Emulator, cli: Cli) -> None:
    first, second = filled(aws, 3)
    path = save(cli, *NO_RULES, "--otherwise", "archive")
    aws.faults.add(Fault("drop_after", "ecr", "UpdateImageStorageClass"))
    change = Fault("before", "ecr", "UpdateImageStorageClass", times=1)
    change.run = lambda _: note(aws.faults.add(Fault("drop_before", "ecr", "DescribeImages")))
    aws.faults.add(change)
    ended = cli("apply", path, "--yes", "--output", "json", AWS_MAX_ATTEMPTS="1")
    assert ended.status == 4
    told = {(row["repository"], row["outcome"]) for row in ended.json["results"]}
    assert told == {("team/a", "unknown"), ("team/b", "not_tried")}, "nobody can say that AWS refused"
    assert [image.archived for image in first.images()].count(True) == 1
    aws.faults.clear()
    assert apply(cli, path).status == 0
    assert all(image.archived for image in (*first.images(), *second.images()))
