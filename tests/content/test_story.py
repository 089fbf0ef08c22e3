"""A repository with everything in it, made by real tools, through plan and apply: what stays is whole, and what goes leaves nothing behind."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from tests.content.checks import (
    assert_all_kept_can_be_pulled,
    assert_cannot_be_pulled,
    assert_nothing_dangles,
    partners,
    skopeo,
)
from tests.content.makers import KINDS, PROGRAMS, VARIANTS, Content
from tests.content.registry import Registry
from tests.support import Cli

pytestmark = pytest.mark.needs_system(*PROGRAMS)

RULES = (
    "--keep-newest", "0", "--pulled-within", "0d", "--used-within", "0d", "--keep-tag", "*-kept", "--max-fraction", "1",
)  # fmt: skip


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


@pytest.fixture
def repo(aws: Emulator, content: Content) -> Repository:
    """Each kind twice, pushed hour by hour long ago."""
    aws.clock.set(datetime.now(UTC) - timedelta(days=100))
    made = aws.ecr.repository("team/app")
    for kind in KINDS:
        for variant in VARIANTS:
            content.push(aws, made, content.of(kind, variant))
            aws.clock.advance(timedelta(hours=1))
    aws.clock.set(datetime.now(UTC))
    return made


def staying(content: Content) -> set[str]:
    """All of the variant with the tag that is kept, but for the twin of the index with a child in common."""
    twin = content.of("shared-child")
    kept = {digest for kind in KINDS for digest in content.of(kind, "kept").digests}
    return kept - {twin["twin"], twin["twin's own"]}


def test_what_stays_can_be_pulled_layer_by_layer_and_nothing_is_left_of_what_goes(
    aws: Emulator, cli: Cli, content: Content, repo: Repository, tmp_path: Path
) -> None:
    before, number = partners(repo), len(repo.images())
    ended = cli("apply", "--yes", "--output", "json", *RULES)
    assert ended.status == 0, ended.err
    kept = {image.digest for image in repo.images()}
    assert kept == staying(content)
    assert ended.json["summary"]["deleted"] == number - len(kept)
    assert_nothing_dangles(before, repo)
    aws.ecr.expire_layers()
    assert_all_kept_can_be_pulled(aws, repo, tmp_path)
    gone = content.of("multi-platform", "gone")
    assert_cannot_be_pulled(aws, repo, [*gone.digests, "multi-platform-gone"])
    own = content.registry.manifest("content", gone["amd64"]).blobs[-1]
    assert not Registry(aws.url.removeprefix("http://")).has_blob(repo.uri, own), "its layer is gone too"


def test_archived_restored_and_deleted_at_last_what_stays_is_whole_at_every_step(
    aws: Emulator, cli: Cli, content: Content, repo: Repository, tmp_path: Path
) -> None:
    trial = ("--otherwise", "trial", *RULES)
    before = partners(repo)
    archived = cli("apply", "--yes", "--output", "json", *trial)
    assert archived.status == 0, archived.err
    now = aws.clock.seconds
    assert {image.digest for image in repo.images() if image.status(now) == "ACTIVE"} == staying(content)
    assert_nothing_dangles(before, repo)
    assert_all_kept_can_be_pulled(aws, repo, tmp_path)
    signed = content.of("cosign", "gone")
    assert_cannot_be_pulled(aws, repo, [*signed.digests, "multi-platform-gone"])

    back = cli("restore", f"team/app@{signed['image']}", "--yes", "--no-wait", "--output", "json")
    assert back.status in {0, 4}, back.err
    aws.clock.advance(timedelta(minutes=21))
    now = aws.clock.seconds
    states = {image.digest: image.status(now) for image in repo.images()}
    assert all(states[digest] == "ACTIVE" for digest in signed.digests), "it comes back with its signature"
    assert_all_kept_can_be_pulled(aws, repo, tmp_path)

    over = cli("apply", "--yes", "--output", "json", *trial[:2], "--trial-for", "0d", *RULES)
    assert over.status == 0, over.err
    assert {image.digest for image in repo.images()} == staying(content) | signed.digests
    assert_nothing_dangles(before, repo)
    aws.ecr.expire_layers()
    assert_all_kept_can_be_pulled(aws, repo, tmp_path)


def test_what_was_deleted_comes_back_from_the_journal_while_its_layers_are_there(
    aws: Emulator, cli: Cli, content: Content, repo: Repository, tmp_path: Path
) -> None:
    everything = {(image.digest, tuple(sorted(image.tags))) for image in repo.images()}
    deleted = cli("apply", "--yes", "--output", "json", *RULES)
    assert deleted.status == 0, deleted.err
    back = cli("restore", "--journal", deleted.json["journal"], "--yes", "--output", "json")
    assert back.status == 0, back.out + back.err
    assert {(image.digest, tuple(sorted(image.tags))) for image in repo.images()} == everything
    assert_all_kept_can_be_pulled(aws, repo, tmp_path)

    for image in repo.images():
        image.pushed_at -= 100 * 86_400  # what was pushed back is new, and kept for that
    again = cli("apply", "--yes", "--output", "json", *RULES)
    aws.ecr.expire_layers()
    lost = cli("restore", "--journal", again.json["journal"], "--yes", "--output", "json")
    assert lost.status == 4
    outcomes = {row["digest"]: row["outcome"] for row in lost.json["results"]}
    assert outcomes[content.of("plain", "gone")["image"]] == "layers_gone"


def test_a_use_of_any_member_keeps_that_artifact_whole(
    aws: Emulator, cli: Cli, content: Content, repo: Repository, tmp_path: Path
) -> None:
    """Nothing is kept by tag: a task runs one platform of each kind, by digest, as a node resolved it."""
    before = partners(repo)
    running = {
        "multi-platform": "arm64", "nested": "amd64", "docker-list": "amd64", "attested": "image", "soci-v2": "image",
        "soci-v1": "image", "referrer-of-child": "amd64", "cosign": "image", "schema-1": "image",
    }  # fmt: skip
    for kind, role in running.items():
        image = f"{repo.uri}@{content.of(kind, 'gone')[role]}"
        aws.ecs.run(aws.ecs.register(kind, {"app": image}))
    ended = cli(
        "apply", "--yes", "--output", "json", "--keep-newest", "0", "--pulled-within", "0d", "--max-fraction", "1"
    )
    assert ended.status == 0, ended.err
    assert {image.digest for image in repo.images()} == {
        digest for kind in running for digest in content.of(kind, "gone").digests
    }
    assert_nothing_dangles(before, repo)
    aws.ecr.expire_layers()
    assert_all_kept_can_be_pulled(aws, repo, tmp_path)


def test_the_checks_of_this_story_can_fail(aws: Emulator, content: Content, repo: Repository, tmp_path: Path) -> None:
    before = partners(repo)
    multi, signed = content.of("multi-platform"), content.of("cosign")
    repo.remove(multi["index"])
    with pytest.raises(AssertionError, match="which are gone"):
        assert_nothing_dangles(before, repo)
    repo.remove(multi["amd64"])
    repo.remove(multi["arm64"])
    assert_nothing_dangles(before, repo)
    repo.remove(content.of("nested")["amd64"])
    with pytest.raises(AssertionError, match="has lost its child"):
        assert_nothing_dangles(before, repo)
    before = partners(repo)
    repo.remove(signed["sig"])
    with pytest.raises(AssertionError, match="were parted"):
        assert_nothing_dangles(before, repo)
    layer = content.registry.manifest("content", content.of("plain")["image"]).blobs[-1]
    repo.layers._known[layer].content = b"something else"
    with pytest.raises(AssertionError, match="Digest did not match"):
        assert_all_kept_can_be_pulled(aws, repo, tmp_path)


def test_skopeo_pushes_and_pulls_like_a_build_and_a_node(aws: Emulator, content: Content, tmp_path: Path) -> None:
    repo = aws.ecr.repository("team/web", region="eu-west-1")
    source = f"docker://{content.registry.address}/content:multi-platform-kept-index"
    target = f"docker://{aws.url.removeprefix('http://')}/{repo.uri}:v1"
    ended = skopeo("copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", source, target)
    assert ended.returncode == 0, ended.stderr
    assert {image.digest for image in repo.images()} == content.of("multi-platform").digests
    assert_all_kept_can_be_pulled(aws, repo, tmp_path)
    assert all(image.pulled_at == aws.clock.seconds for image in repo.images())
    assert {record["userIdentity"]["arn"] for record in aws.trail.records(region="eu-west-1")} == {
        "arn:aws:sts::123456789012:assumed-role/node/docker"
    }
