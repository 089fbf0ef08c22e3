"""Undoing: archived images come back whole, deleted ones from the journal while their layers are there, and no tag is stolen."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.core.decisions import Action
from ecrsweep.core.document import Header, SavedPlan, Scope
from ecrsweep.core.journal import KeptManifest, Touched, answered, asking, begun, failed, lines_of, manifests_kept
from ecrsweep.core.names import Registry
from ecrsweep.core.names import Repository as Place
from ecrsweep.core.plan import Summary
from ecrsweep.emulator import Call, Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, Finished, ago

NO_RULES = ("--keep-newest", "0", "--pulled-within", "0d", "--used-within", "0d")


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


class Artifact:
    """An old multi-platform image with its signature."""

    def __init__(self, repo: Repository, *tags: str) -> None:
        self.leaves = [repo.push_image(pushed_at=ago(days=90)) for _ in range(2)]
        self.index = repo.push_index(self.leaves, tags=tags, pushed_at=ago(days=90))
        self.signature = repo.push_signature(self.index, pushed_at=ago(days=90))
        self.all = {*self.leaves, self.index, self.signature}


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    return aws.ecr.repository("team/app")


def apply(cli: Cli, otherwise: str, *arguments: str) -> Finished:
    ended = cli("apply", "--yes", "--output", "json", "--otherwise", otherwise, *NO_RULES, *arguments)
    assert ended.status == 0, ended.err
    return ended


def restore(cli: Cli, *arguments: str, **environ: str) -> Finished:
    return cli("restore", "--yes", "--output", "json", *arguments, **environ)


def outcomes(ended: Finished) -> dict[Any, str]:
    """By digest, and by tag where a result is of a tag."""
    return {entry["tag"] or entry["digest"]: entry["outcome"] for entry in ended.json["results"]}


def time_flies(aws: Emulator, run: Callable[[Call], None] | None = None) -> None:
    """When it is asked what became of images, twenty minutes are over; or something else happens."""
    flies = run or (lambda _: aws.clock.advance(timedelta(minutes=21)))
    aws.faults.add(Fault("before", "ecr", "DescribeImages", run=flies, when=lambda asked: "imageIds" in asked))


def states(aws: Emulator, repo: Repository) -> dict[str, str]:
    return {image.digest: image.status(aws.clock.seconds) for image in repo.images()}


def called(aws: Emulator, operation: str, before_it: int = 0) -> list[dict[str, Any]]:
    """What was asked by these calls, without so many calls before."""
    return [call.parameters for call in aws.calls.log[before_it:] if call.operation == operation]


def test_one_part_is_named_and_the_whole_artifact_comes_back(aws: Emulator, cli: Cli, repo: Repository) -> None:
    wanted, _ = Artifact(repo, "v1"), Artifact(repo, "v2")
    apply(cli, "archive")
    assert set(states(aws, repo).values()) == {"ARCHIVED"}
    before_it = len(aws.calls.log)
    time_flies(aws)
    ended = restore(cli, f"team/app@{wanted.leaves[0][:20]}")
    assert ended.status == 0, ended.err
    assert outcomes(ended) == dict.fromkeys(wanted.all, "restored")
    assert {digest for digest, state in states(aws, repo).items() if state == "ACTIVE"} == wanted.all
    order = [asked["imageId"]["imageDigest"] for asked in called(aws, "UpdateImageStorageClass", before_it)]
    assert set(order[:2]) == set(wanted.leaves)
    assert order[2:] == [wanted.index, wanted.signature]
    assert called(aws, "BatchGetImage", before_it) == [], "what they contain was noted"
    again = restore(cli, "team/app:v1")
    assert (again.status, set(outcomes(again).values())) == (0, {"was_active"})


def test_an_index_of_which_nobody_noted_what_it_contains_tells_when_it_is_back(
    aws: Emulator, cli: Cli, repo: Repository, tmp_path: Path
) -> None:
    wanted = Artifact(repo, "v1")
    for digest in wanted.all:
        repo.archive(digest)
    time_flies(aws)
    ended = restore(cli, "team/app:v1")
    assert ended.status == 0, ended.err
    assert outcomes(ended) == dict.fromkeys(wanted.all, "restored")


def expired(path: Path) -> None:
    """Make a saved plan older than it may be, as if it had been saved so."""
    header, *rows, footer = path.read_bytes().splitlines(keepends=True)
    header = json.dumps(json.loads(header) | {"expires_at": "2020-01-01T00:00:00Z"}).encode() + b"\n"
    last = json.loads(footer)
    last.pop("digest")
    digest = hashlib.sha256(b"".join([header, *rows, json.dumps(last, separators=(",", ":")).encode()])).hexdigest()
    path.write_bytes(b"".join([header, *rows, json.dumps(last | {"digest": f"sha256:{digest}"}).encode() + b"\n"]))


def test_what_a_plan_archived_comes_back_even_if_it_has_expired_and_nobody_waits(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    path = cli.home / "plan.jsonl"
    for version in range(3):
        repo.push_image(tags=(f"v{version}",), pushed_at=ago(days=90))
    assert cli("plan", "--save", str(path), "--otherwise", "archive", *NO_RULES).status == 0
    planned = {image.digest for image in repo.images()}
    untouched = repo.push_image(tags=("since",), pushed_at=ago(days=90))
    for digest in (*planned, untouched):
        repo.archive(digest)
    gone = repo.digest_of("v2")
    repo.remove(gone)
    expired(path)
    ended = restore(cli, "--plan", str(path), "--no-wait")
    assert ended.status == 4, "one of them is gone"
    assert "expired" in ended.err
    assert outcomes(ended) == dict.fromkeys(planned, "activating") | {gone: "gone"}
    assert states(aws, repo)[untouched] == "ARCHIVED"
    path.write_text(path.read_text().replace('"v1"', '"v9"'))
    assert restore(cli, "--plan", str(path)).status == 1, "an altered one is refused"


def test_what_a_run_deleted_is_pushed_back_as_it_was_and_no_tag_is_stolen(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    lost = aws.ecr.repository("team/lost")
    wanted = Artifact(repo, "v1", "stable")
    single = lost.push_image(tags=("v7",), pushed_at=ago(days=90))
    before = {image.digest: image.manifest for image in repo.images()}
    journal = str(cli.home / "journal.jsonl")
    apply(cli, "delete", "--journal", journal)
    assert repo.images() == lost.images() == []
    fresh = repo.push_image(tags=("stable",))
    lost.layers.expire()
    ended = restore(cli, "--journal", journal)
    assert ended.status == 4
    pushed = dict.fromkeys(wanted.all, "pushed_back")
    taken = {"v1": "tag_put_back", "stable": "tag_taken"}
    assert outcomes(ended) == pushed | taken | {single: "layers_gone", "v7": "layers_gone"}
    assert {image.digest: image.manifest for image in repo.images() if image.digest != fresh} == before
    assert (repo.digest_of("v1"), repo.digest_of("stable")) == (wanted.index, fresh)
    order = [asked["imageDigest"] for asked in called(aws, "PutImage") if asked["repositoryName"] == "team/app"]
    assert order[2:] == [wanted.index, wanted.signature, wanted.index]
    shown = cli("restore", "--yes", "--journal", journal)
    assert shown.status == 4
    assert "cannot come back: its layers are gone from ECR: push it again from its build" in shown.out
    assert f"the tag names {fresh} now" in shown.out


def test_tags_that_a_run_took_off_are_put_back_and_what_may_have_been_done_counts(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    kept = repo.push_image(tags=("main", "taken"), pushed_at=ago(days=90))
    fresh = repo.push_image(tags=("else",))
    place = Place(Registry(ACCOUNT, "us-east-1"), "team/app")
    leaf, unnoted = repo.push_image(), repo.push_image()
    index = repo.push_index([leaf])
    manifest = KeptManifest(index, repo.by_digest[index].media_type, (), repo.by_digest[index].manifest)
    for digest in (index, leaf, unnoted):
        repo.remove(digest)
    tags = [Touched(kept, "old"), Touched(kept, "main"), Touched(kept, "else"), Touched(fresh, "refused", "KmsError")]
    header = Header(time.time(), time.time(), "0", (), Scope(ACCOUNT, ("us-east-1",)))
    plan = SavedPlan(header, (), Summary(), None, "sha256:0")
    events = [
        *begun("run", ACCOUNT, "0", time.time(), plan, override_limits=False),
        asking(1, Action.UNTAG, place, tags, time.time(), window=0.1),
        answered(1, tags, None, time.time()),
        manifests_kept(place, [manifest], time.time()),
        asking(3, Action.DELETE, place, [Touched(index), Touched(unnoted)], time.time(), window=0.1),
        failed(3, "no answer", time.time()),
        asking(2, Action.ARCHIVE, place, [Touched(kept), Touched(fresh)], time.time(), window=0.1),
    ]
    journal = cli.home / "journal.jsonl"
    journal.write_bytes(lines_of(events) + b'{"event": "answ')
    ended = restore(cli, "--journal", str(journal))
    assert ended.status == 4
    assert "did not come to its end" in ended.err
    expected = {"old": "tag_put_back", "main": "was_active", "else": "tag_taken"}
    assert outcomes(ended) == {kept: "was_active", fresh: "was_active", index: "parts_gone", unnoted: "gone"} | expected
    assert repo.digest_of("old") == kept
    with Emulator(account="210987654321") as other:
        refused = restore(Cli(other.environ(), cli.home), "--journal", str(journal))
    assert (refused.status, ACCOUNT in refused.err, "210987654321" in refused.err) == (2, True, True)


def test_ctrl_c_leaves_with_a_true_report_and_the_time_given_can_be_over(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    digest = repo.push_image(tags=("v1",), pushed_at=ago(days=90))
    repo.archive(digest)
    started: list[subprocess.Popen[str]] = []
    time_flies(aws, lambda _: started[0].send_signal(signal.SIGINT))
    command = [sys.executable, "-m", "ecrsweep", "restore", "team/app:v1", "--yes", "--output", "json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.environ, cwd=cli.home
    ) as process:
        started.append(process)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    ended = Finished(130, out, err)
    assert (outcomes(ended), ended.json["interrupted"]) == ({digest: "activating"}, True)
    assert "goes on by itself" in err
    assert states(aws, repo) == {digest: "ACTIVATING"}
    aws.faults.clear()
    late = restore(cli, "team/app:v1", "--timeout", "1s")
    assert (late.status, outcomes(late), late.json["timed_out"]) == (4, {digest: "activating"}, True)


def test_what_may_not_be_done_is_said_with_the_statement_that_lacks(aws: Emulator, cli: Cli, repo: Repository) -> None:
    digest = repo.push_image(tags=("v1",), pushed_at=ago(days=90))
    repo.archive(digest)
    aws.faults.add(Fault.denied("ecr", "UpdateImageStorageClass"))
    ended = restore(cli, "team/app:v1")
    assert (ended.status, outcomes(ended)) == (4, {digest: "refused"})
    assert '"ecr:UpdateImageStorageClass"' in ended.err
    assert "iam-policy --for restore" in ended.err
    aws.faults.clear()
    aws.faults.add(Fault("drop_after", "ecr", "UpdateImageStorageClass"))
    lost = restore(cli, "team/app:v1", "--no-wait", AWS_MAX_ATTEMPTS="1")
    assert (lost.status, outcomes(lost)) == (0, {digest: "activating"}), (
        "the answer was lost, and it was asked what came of it"
    )


def test_without_a_terminal_it_needs_yes_and_with_one_it_asks(aws: Emulator, cli: Cli, repo: Repository) -> None:
    digest = repo.push_image(tags=("v1",), pushed_at=ago(days=90))
    repo.archive(digest)
    ended = cli("restore", "team/app:v1")
    assert (ended.status, "--yes" in ended.err, aws.calls.log) == (2, True, [])
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "ecrsweep", "restore", "team/app:v1"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.environ, cwd=cli.home
    ) as process:
        os.close(theirs)
        os.write(ours, b"n\n")
        _, err = process.communicate(timeout=60)
        os.close(ours)
    assert process.returncode == 1
    assert "This brings 1 image (10.0 MB at most) out of the archive, in account" in err
    assert states(aws, repo) == {digest: "ARCHIVED"}
