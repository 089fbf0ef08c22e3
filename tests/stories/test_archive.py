"""Archive, trial, owners and the journal, by the command line: what is moved, what comes of it later, and what is written down."""

import json
import shutil
from pathlib import Path

import pytest

from ecrsweep.core.decisions import Action
from ecrsweep.core.journal import History, read_journal
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.stories.test_apply import NO_RULES, outcomes
from tests.support import ACCOUNT, Cli, Finished, ago

ARCHIVE = ("--otherwise", "archive", *NO_RULES)
TRIAL = ("--otherwise", "trial", *NO_RULES)


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """An index of two platforms with a signature, and a plain image."""
    made = aws.ecr.repository("team/app")
    children = [made.push_image(pushed_at=ago(days=90)) for _ in range(2)]
    index = made.push_index(children, tags=("v1",), pushed_at=ago(days=90))
    made.push_signature(index, pushed_at=ago(days=90))
    made.push_image(tags=("plain",), pushed_at=ago(days=80))
    return made


def apply(cli: Cli, *arguments: str) -> Finished:
    return cli("apply", "--yes", "--output", "json", *arguments)


def states(repo: Repository) -> set[str]:
    return {image.status(repo._clock.seconds) for image in repo.images()}


def journal(ended: Finished) -> History:
    with Path(ended.json["journal"]).open("rb") as lines:
        return read_journal(lines)


def calls(aws: Emulator, operation: str) -> int:
    return sum(call.operation == operation for call in aws.calls.log)


def test_everything_moves_into_the_archive_roots_first_and_a_second_run_has_nothing_to_do(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    ended = apply(cli, *ARCHIVE)
    assert ended.status == 0, ended.err
    assert set(outcomes(ended).values()) == {"archived"}
    assert states(repo) == {"ARCHIVED"}
    moved = [c.parameters["imageId"]["imageDigest"] for c in aws.calls.log if c.operation == "UpdateImageStorageClass"]
    index = repo.digest_of("v1")
    assert all(moved.index(index) < moved.index(child) for child in repo.by_digest[index].children)
    assert {touched.digest for _, touched in journal(ended).only(Action.ARCHIVE)} == set(moved)
    shutil.rmtree(cli.home / "cache")
    again = cli.plan("--otherwise", "archive", "--keep-newest", "0")
    assert again.status == 0, "what the index contains is remembered, although nobody can read it any more"
    assert again.json["summary"]["keep"] == 5


def test_lost_edges_of_an_archived_index_hold_its_repository(aws: Emulator, cli: Cli, repo: Repository) -> None:
    apply(cli, *ARCHIVE)
    for folder in ("cache", "state"):
        shutil.rmtree(cli.home / folder)
    repo.push_image(tags=("new",), pushed_at=ago(days=70))
    held = cli.plan("--otherwise", "archive", "--keep-newest", "0")
    assert held.status == 5
    assert held.json["summary"]["hold"] == 1
    assert "nobody noted before what it contains" in held.json["coverage"][-1]["error"] + str(held.json["coverage"])


def test_a_root_that_is_refused_keeps_its_children_where_they_are(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault("error", "ecr", "UpdateImageStorageClass", code="AccessDeniedException", times=1))
    ended = apply(cli, *ARCHIVE)
    assert ended.status == 4
    found = outcomes(ended)
    index = repo.digest_of("v1")
    assert found[repo.digest_of("plain")] == "refused" or found[index] == "refused"
    assert "archived" in found.values()
    for child in repo.by_digest[index].children if found[index] == "refused" else ():
        assert found[child] == "kept_with_parent"


def test_an_image_in_use_that_is_archived_is_told_of_first_and_a_restore_is_proposed(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    apply(cli, *ARCHIVE)
    aws.ecs.register("web", {"web": f"{repo.uri}:plain"})
    ended = cli("plan", "--otherwise", "archive", *NO_RULES)
    lines = ended.out.splitlines()
    first = next(number for number, line in enumerate(lines) if "in use cannot be pulled" in line)
    assert first < next(number for number, line in enumerate(lines) if line.startswith("REPOSITORY"))
    assert f"bring it back: ecrsweep restore {repo.uri}@{repo.digest_of('plain')}" in ended.out
    (told,) = cli.plan("--keep-newest", "0").json["archived_in_use"]
    assert told["tags"] == ["plain"]
    assert "web:1" in told["used_by"][0]


def test_what_passed_its_trial_is_deleted_with_its_artifact_and_says_so(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    assert apply(cli, *TRIAL).json["summary"]["archived"] == 5
    plan = cli.plan("--otherwise", "trial", "--trial-for", "0d", "--keep-newest", "0")
    assert plan.json["summary"]["delete"] == 5
    assert all("trial_passed" in plan.codes(image.digest) for image in repo.images())
    assert cli.plan("--otherwise", "trial", "--keep-newest", "0").json["summary"]["keep"] == 5, "not yet"
    ended = apply(cli, "--otherwise", "trial", "--trial-for", "0d", *NO_RULES)
    assert ended.json["summary"]["deleted"] == 5
    assert repo.images() == []


def test_what_was_restored_since_the_plan_is_spared(aws: Emulator, cli: Cli, repo: Repository) -> None:
    apply(cli, *TRIAL)
    path = str(cli.home / "plan.jsonl")
    cli("plan", "--save", path, "--otherwise", "trial", "--trial-for", "0d", *NO_RULES)
    plain = repo.by_digest[repo.digest_of("plain")]
    plain.archived, plain.restored_at = False, aws.clock.seconds
    ended = cli("apply", path, "--yes", "--output", "json")
    assert outcomes(ended)[plain.digest] == "spared"
    assert plain.digest in repo.by_digest
    assert ended.json["summary"]["deleted"] == 4


def test_a_repository_that_is_tagged_never_is_left_alone(aws: Emulator, cli: Cli, repo: Repository) -> None:
    repo.tags_of_resource["ecrsweep"] = "never"
    other = aws.ecr.repository("other")
    gone = other.push_image(tags=("v1",), pushed_at=ago(days=90))
    plan = cli.plan("--keep-newest", "0")
    assert all("held_by_owner" in plan.codes(image.digest) for image in repo.images())
    assert plan.action(gone) == "delete"
    assert calls(aws, "GetResources") == 1, "one call for all repositories of a registry"


def test_tags_that_may_not_be_read_hold_everything_and_can_be_accepted(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    aws.faults.add(Fault("error", "tagging", "GetResources", code="AccessDeniedException", status=400))
    held = cli("plan", *NO_RULES)
    assert held.status == 5
    assert "tag:GetResources" in held.out + held.err
    assert "--accept-gap" in held.out
    applied = apply(cli, *NO_RULES)
    assert applied.status == 5
    assert len(repo.images()) == 5
    assert cli.plan("--keep-newest", "0", "--accept-gap", "owners").json["summary"]["delete"] == 5


def test_what_is_deleted_can_be_read_in_the_journal_with_its_manifests(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    texts = {image.digest: image.manifest for image in repo.images()}
    ended = apply(cli, *NO_RULES)
    found = journal(ended)
    (kept,) = found.manifests.values()
    assert {digest: manifest.content for digest, manifest in kept.items()} == texts
    assert kept[next(d for d, m in kept.items() if "v1" in m.tags)].tags == ("v1",)
    assert {touched.digest for _, touched in found.only(Action.DELETE)} == set(texts)
    assert found.whole
    agents = {call.agent for call in aws.calls.log if call.operation == "BatchDeleteImage"}
    assert all(f"run/{found.run}" in agent for agent in agents), "CloudTrail lines up with the journal"


def test_manifests_can_be_left_out_and_the_journal_can_lie_elsewhere(aws: Emulator, cli: Cli, repo: Repository) -> None:
    place = cli.home / "here" / "journal.jsonl"
    ended = apply(cli, *NO_RULES, "--no-manifests", "--journal", str(place))
    assert ended.json["journal"] == str(place)
    assert journal(ended).manifests == {}
    reads = calls(aws, "BatchGetImage")
    assert reads == 1, "what the index contains, and nothing else"


def test_a_journal_in_a_bucket_is_kept_in_parts(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.client("s3").create_bucket(Bucket="journals")
    ended = apply(cli, *NO_RULES, "--journal", "s3://journals/runs/one")
    assert ended.status == 0, ended.err
    parts = aws.client("s3").list_objects_v2(Bucket="journals")["Contents"]
    text = b"".join(aws.client("s3").get_object(Bucket="journals", Key=part["Key"])["Body"].read() for part in parts)
    found = read_journal(text.splitlines(keepends=True))
    assert found.whole
    assert len(list(found.only(Action.DELETE))) == 5


def test_where_the_journal_cannot_be_written_nothing_is_deleted(aws: Emulator, cli: Cli, repo: Repository) -> None:
    ended = apply(cli, *NO_RULES, "--journal", "/dev/full")
    assert ended.status in {1, 4}
    assert len(repo.images()) == 5
    assert "No space left" in ended.err + ended.out


def test_a_manifest_that_cannot_be_kept_keeps_its_image(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = str(cli.home / "plan.jsonl")
    cli("plan", "--save", path, *NO_RULES)
    aws.faults.add(Fault("error", "ecr", "BatchGetImage", code="AccessDeniedException"))
    ended = cli("apply", path, "--yes", "--output", "json")
    assert ended.status == 4
    assert len(repo.images()) == 5
    assert "--no-manifests" in json.dumps(ended.json["results"])


def test_the_prompt_says_what_is_deleted_and_what_is_archived(aws: Emulator, cli: Cli, repo: Repository) -> None:
    path = str(cli.home / "plan.jsonl")
    cli("plan", "--save", path, *ARCHIVE)
    ended = cli("apply", path, "--yes")
    assert "Archived 5 images" in ended.out
    assert "Deleted" not in ended.out
    assert f"Written down in {cli.home}" in ended.out
    assert ACCOUNT in ended.out


def test_a_lost_answer_of_an_archive_is_found_out(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault("drop_after", "ecr", "UpdateImageStorageClass"))
    ended = apply(cli, *ARCHIVE)
    assert states(repo) == {"ARCHIVED"}
    assert set(outcomes(ended).values()) == {"archived"}
