"""What a plan says of each kind of artifact, made by the tools that make it: what it is, what stays with what, and that it counts once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from ecrsweep.emulator import Clock, Emulator
from ecrsweep.emulator.manifests import OCI_ARTIFACT, OCI_INDEX
from ecrsweep.emulator.registry import Repository
from tests.content.makers import KINDS, PROGRAMS, STORE, Artifact, Content
from tests.content.registry import Manifest, Registry
from tests.support import ACCOUNT, REGIONS, Cli, Finished

pytestmark = pytest.mark.needs_system(*PROGRAMS)

# What each member is, where it is no plain image, and why it stays when its artifact does, where it is no child.
SAID = {
    "index": ("index", "newest"),
    "twin": ("index", "newest"),
    "inner": ("index", "child_of_kept"),
    "outer": ("index", "newest"),
    "sig": ("referrer", "referrer_of_kept"),
    "att": ("referrer", "referrer_of_kept"),
    "sbom": ("referrer", "referrer_of_kept"),
    "signature": ("referrer", "referrer_of_kept"),
    "signature of the sbom": ("referrer", "referrer_of_kept"),
    ("soci-v1", "soci"): ("referrer", "referrer_of_kept"),
    ("attested", "image"): ("image", "child_of_kept"),
    ("soci-v2", "image"): ("image", "child_of_kept"),
    "image": ("image", "newest"),
    "chart": ("image", "newest"),
    "cache": ("image", "newest"),
}
GOES = {"newest": "not_kept", "child_of_kept": "child_of_deleted", "referrer_of_kept": "referrer_of_deleted"}
ONE_ARTIFACT = sorted(KINDS.keys() - {"shared-child"})


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


def said(kind: str, role: str) -> tuple[str, str]:
    return SAID.get((kind, role)) or SAID.get(role) or ("image", "child_of_kept")


@dataclass(frozen=True)
class World:
    """A repository a kind: two plain images, and the artifact, which was pushed last."""

    aws: Emulator
    content: Content
    cli: Cli
    older: dict[str, tuple[str, str]]
    two_kept: Finished
    none_kept: Finished


@pytest.fixture(scope="module")
def world(content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    long_ago = datetime.now(UTC) - timedelta(days=100)
    with Emulator(clock=Clock(long_ago), account=ACCOUNT, regions=REGIONS) as aws:
        cli = Cli(aws.environ(), tmp_path_factory.mktemp("home"))
        older = {}
        for kind in KINDS:
            repository = aws.ecr.repository(f"kinds/{kind}")
            older[kind] = (
                repository.push_image(("oldest",), pushed_at=long_ago - timedelta(days=2)),
                repository.push_image(("older",), pushed_at=long_ago - timedelta(days=1)),
            )
            content.push(aws, repository, content.of(kind))
        aws.clock.set(datetime.now(UTC))
        plans = [cli.plan("--keep-newest", str(number)) for number in (2, 0)]
        yield World(aws, content, cli, older, *plans)


@pytest.mark.parametrize("kind", ONE_ARTIFACT)
def test_an_artifact_counts_once_among_the_newest_and_all_of_it_stays(world: World, kind: str) -> None:
    artifact, (oldest, older) = world.content.of(kind), world.older[kind]
    assert world.two_kept.status == 0, world.two_kept.err
    assert (world.two_kept.action(older), world.two_kept.action(oldest)) == ("keep", "delete")
    for member in artifact.members:
        what, why = said(kind, member.role)
        decision = world.two_kept.decisions[member.digest]
        assert (decision["action"], decision["kind"]) == ("keep", what), member.role
        assert world.two_kept.codes(member.digest) == {why}, member.role


@pytest.mark.parametrize("kind", ONE_ARTIFACT)
def test_an_artifact_that_nothing_keeps_goes_as_a_whole(world: World, kind: str) -> None:
    for member in world.content.of(kind).members:
        assert world.none_kept.action(member.digest) == "delete"
        assert world.none_kept.codes(member.digest) == {GOES[said(kind, member.role)[1]]}, member.role


def test_two_indexes_with_a_child_in_common_count_twice_and_each_speaks_for_that_child(world: World) -> None:
    artifact, (oldest, older) = world.content.of("shared-child"), world.older["shared-child"]
    plan = world.two_kept
    assert {plan.action(digest) for digest in (oldest, older)} == {"delete"}
    assert {plan.action(digest) for digest in artifact.digests} == {"keep"}
    reasons = plan.decisions[artifact["common"]]["reasons"]
    assert {reason["detail"] for reason in reasons} == {artifact["index"], artifact["twin"]}


def test_a_child_in_common_stays_when_one_of_its_indexes_goes(world: World) -> None:
    artifact = world.content.of("shared-child")
    plan = world.cli.plan("--keep-newest", "1", "--repository", "kinds/shared-child")
    kept = {role for role in ("common", "own", "index", "twin", "twin's own") if plan.action(artifact[role]) == "keep"}
    assert kept == {"common", "own", "index"}


def alone(aws: Emulator, content: Content, kind: str, name: str = "team/app") -> tuple[Repository, Artifact]:
    """A repository with one old artifact."""
    aws.clock.set(datetime.now(UTC) - timedelta(days=100))
    repository = aws.ecr.repository(name)
    content.push(aws, repository, content.of(kind))
    return repository, content.of(kind)


def put(aws: Emulator, repository: Repository, text: str, media_type: str) -> str:
    """Push a manifest by ECR's own API, and go on to the present."""
    answer = aws.client("ecr").put_image(
        repositoryName=repository.name, imageManifest=text, imageManifestMediaType=media_type
    )
    aws.clock.set(datetime.now(UTC))
    return str(answer["image"]["imageId"]["imageDigest"])


BROKEN = ("{", "[]", '{"manifests": 7}', '{"schemaVersion": 2}', '{"manifests": [{"digest": 1}]}')


def test_an_index_that_cannot_be_understood_keeps_all_that_it_might_hold(
    aws: Emulator, cli: Cli, content: Content
) -> None:
    artifact = content.of("multi-platform")
    broken = {}
    for number, text in enumerate(BROKEN):
        repository, _ = alone(aws, content, artifact.kind, f"broken/{number}")
        broken[repository.name] = put(aws, repository, text, OCI_INDEX)
    alone(aws, content, artifact.kind, "whole")
    aws.clock.set(datetime.now(UTC))
    plan = cli.plan("--keep-newest", "0")
    assert plan.status == 5
    for decision in plan.json["decisions"]:
        name, why = decision["repository"], {reason["code"]: reason["detail"] for reason in decision["reasons"]}
        if name == "whole":
            assert decision["action"] == "delete", "the gap is that of another repository"
        elif decision["digest"] == broken[name]:
            assert decision["action"] in {"keep", "hold"}
        else:
            assert decision["action"] == "hold"
            assert broken[name] in why["coverage_gap"]


def test_a_kind_that_nobody_knows_stays_with_every_digest_in_it_and_an_artifact_manifest_is_a_referrer(
    aws: Emulator, cli: Cli, content: Content
) -> None:
    repository, artifact = alone(aws, content, "multi-platform")
    text = f"a format of our own\nbuilt-from {artifact['arm64']}\n"
    strange = put(aws, repository, text, "application/vnd.example.bundle+text")
    other, plain = alone(aws, content, "plain", "team/other")
    sbom = put(aws, other, json.dumps({
        "mediaType": OCI_ARTIFACT, "artifactType": "application/spdx+json",
        "blobs": [{"digest": Registry(aws.url.removeprefix("http://")).upload(other.uri, b"an sbom"), "size": 7}],
        "subject": {"mediaType": OCI_ARTIFACT, "digest": plain["image"], "size": 1},
    }), OCI_ARTIFACT)  # fmt: skip
    plan = cli.plan("--keep-newest", "0")
    assert plan.status == 0, plan.err
    assert (plan.decisions[strange]["kind"], plan.codes(strange)) == ("unknown", {"unknown_artifact"})
    assert plan.codes(artifact["arm64"]) == {"child_of_kept"}
    assert {plan.action(artifact[role]) for role in ("index", "amd64")} == {"delete"}
    assert (plan.decisions[sbom]["kind"], plan.codes(sbom)) == ("referrer", {"referrer_of_deleted"})


def test_a_build_cache_written_as_an_index_is_no_image_of_ecr(aws: Emulator, content: Content) -> None:
    """BuildKit's older form lists layers as if they were manifests. ECR takes only an index of manifests that it has."""
    repository, artifact = alone(aws, content, "buildcache")
    cache = content.registry.manifest(STORE, artifact["cache"]).body
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*cache["layers"], cache["config"]]}
    with pytest.raises(ClientError, match="ReferencedImagesNotFound"):
        put(aws, repository, json.dumps(body), OCI_INDEX)
    assert len(repository.images()) == 1


def test_the_tools_made_what_their_names_say(content: Content) -> None:
    """That it is real: media types, platforms and tags as the tools wrote them."""

    def manifest(kind: str, role: str) -> Manifest:
        return content.registry.manifest(STORE, content.of(kind)[role])

    assert manifest("multi-platform", "index").media_type == OCI_INDEX
    listed = manifest("docker-list", "index")
    assert "manifest.list.v2" in listed.media_type
    assert {child["platform"]["architecture"] for child in listed.body["manifests"]} == {"amd64", "arm64"}
    assert "manifest.v2" in manifest("plain", "image").media_type
    assert content.registry.manifest(STORE, "schema-1-kept-amd64").body["schemaVersion"] == 1
    assert manifest("multi-platform", "amd64").blobs[1] == manifest("nested", "arm64").blobs[1], "the layer below"
