"""CodeBuild as witness: the build image of every project, and of builds and batches under way, stays."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, REGIONS, Cli, ago

YAML = """
version: 0.2
batch:
  build-graph:
    - identifier: first
      env:
        image: "{uri}:v4"
        type: LINUX_CONTAINER
  build-matrix:
    dynamic:
      env:
        image:
          - aws/codebuild/standard:7.0
          - {uri}:v5
phases:
  build:
    commands:
      - docker push {uri}:v8
"""


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """A repository of old images, v1 to v9; no rule keeps any."""
    made = aws.ecr.repository("ci/build")
    for version in range(1, 10):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=100 - version))
    return made


def environment(image: str) -> dict[str, Any]:
    return {"environment": {"type": "LINUX_CONTAINER", "image": image, "computeType": "BUILD_GENERAL1_SMALL"}}


def project(name: str, image: str, buildspec: str = "buildspec.yml") -> dict[str, Any]:
    source = {"type": "NO_SOURCE", "buildspec": buildspec}
    return {
        "name": name,
        "arn": f"arn:aws:codebuild:us-east-1:{ACCOUNT}:project/{name}",
        "source": source,
    } | environment(image)


def build(
    number: int, image: str, *, status: str = "IN_PROGRESS", hours: float = 1.0, kind: str = "build"
) -> dict[str, Any]:
    name = f"web:{number}"
    return {
        "id": name, "arn": f"arn:aws:codebuild:us-east-1:{ACCOUNT}:{kind}/{name}", "projectName": "web",
        "buildStatus" if kind == "build" else "buildBatchStatus": status, "startTime": ago(hours=hours).timestamp(),
    } | environment(image)  # fmt: skip


def tell(
    aws: Emulator,
    *,
    projects: Sequence[Mapping[str, Any]] = (),
    batches: Sequence[Mapping[str, Any]] = (),
    builds: Sequence[Mapping[str, Any]] = (),
    gone: Sequence[str] = (),
    region: str | None = None,
) -> None:
    """Let CodeBuild hold these; those in `gone` are listed, and deleted before they are asked for."""

    def answer(
        key: str, items: Sequence[Mapping[str, Any]], asked_as: str
    ) -> Callable[[dict[str, Any]], dict[str, Any]]:
        held = {item.get("id") or item["name"]: item for item in items}

        def told(asked: dict[str, Any]) -> dict[str, Any]:
            assert 1 <= len(asked[asked_as]) <= 100
            # In another order than asked, as a batch call may.
            found = [held[name] for name in reversed(asked[asked_as]) if name in held]
            missing = [name for name in asked[asked_as] if name not in held]
            return {key: found} | ({f"{key}NotFound": missing} if missing else {})

        return told

    names = [item["name"] for item in projects] + list(gone)
    aws.scripts.listed("codebuild", "ListProjects", "projects", names, page=100, region=region)
    aws.scripts.answer("codebuild", "BatchGetProjects", answer("projects", projects, "names"), region=region)
    ids = [item["id"] for item in batches]
    aws.scripts.listed("codebuild", "ListBuildBatches", "ids", ids, page=100, region=region)
    aws.scripts.answer("codebuild", "BatchGetBuildBatches", answer("buildBatches", batches, "ids"), region=region)
    ids = [item["id"] for item in builds]
    aws.scripts.listed("codebuild", "ListBuilds", "ids", ids, page=100, region=region)
    aws.scripts.answer("codebuild", "BatchGetBuilds", answer("builds", builds, "ids"), region=region)


def plan(cli: Cli, *arguments: str, **environ: str) -> Any:
    return cli("plan", "--output", "json", "--keep-newest", "0", "--pulled-within", "0d", *arguments, **environ)


def test_projects_builds_and_batches_keep_their_images(aws: Emulator, cli: Cli, repo: Repository) -> None:
    tell(
        aws,
        projects=[
            project("web", f"{repo.uri}:v1"),
            project("managed", "aws/codebuild/standard:7.0"),
            project("batch", f"{repo.uri}@{repo.digest_of('v9')}", YAML.format(uri=repo.uri)),
            project("cdk", "aws/codebuild/standard:7.0", json.dumps({"batch": {"env": {"image": f"{repo.uri}:v6"}}})),
        ],
        batches=[build(1, f"{repo.uri}:v2", kind="build-batch")],
        builds=[build(3, f"{repo.uri}:v3"), build(2, f"{repo.uri}:v7", status="SUCCEEDED")],
        gone=["deleted-in-between"],
    )
    found = plan(cli)
    assert found.status == 0, found.err
    for tag, workload in (
        ("v1", "project/web build image"), ("v2", "build-batch/web:1 build image"), ("v3", "build/web:3 build image"),
        ("v4", "project/batch image in its buildspec"), ("v5", "project/batch image in its buildspec"),
        ("v6", "project/cdk image in its buildspec"), ("v9", "project/batch build image"),
    ):  # fmt: skip
        assert found.codes(repo.digest_of(tag)) == {"in_use"}, tag
        assert workload in found.details(repo.digest_of(tag))
    assert found.action(repo.digest_of("v7")) == "delete", "that build is over"
    assert found.action(repo.digest_of("v8")) == "delete", "it is not an image that builds run in"
    assert found.json["foreign_uses"] == 2
    batches = [call.parameters for call in aws.calls.log if call.operation == "ListBuildBatches"]
    assert batches
    assert all(asked["filter"] == {"status": "IN_PROGRESS"} for asked in batches)


def test_more_than_a_page_of_projects_is_read_a_hundred_at_a_time(aws: Emulator, cli: Cli, repo: Repository) -> None:
    others = [project(f"p{n}", "aws/codebuild/standard:7.0") for n in range(250)]
    tell(aws, projects=[*others, project("last", f"{repo.uri}:v1")])
    found = plan(cli)
    assert found.action(repo.digest_of("v1")) == "keep"
    assert found.action(repo.digest_of("v2")) == "delete"
    assert aws.calls.count("codebuild", "ListProjects", region="us-east-1") == 3
    assert aws.calls.count("codebuild", "BatchGetProjects") == 3


@pytest.mark.parametrize(("is_sorted", "pages"), [(True, 2), (False, 4)])
def test_builds_are_read_back_to_where_none_can_run_as_far_as_their_order_tells(
    aws: Emulator, cli: Cli, repo: Repository, is_sorted: bool, pages: int
) -> None:
    image = f"{repo.uri}:v9"
    builds = [build(n, image, status="FAILED", hours=n * 0.3) for n in range(1, 350)]
    builds[140] = build(141, f"{repo.uri}:v1", hours=42)
    if not is_sorted:
        builds.reverse()
    tell(aws, builds=builds)
    found = plan(cli)
    assert found.status == 0, found.err
    assert found.action(repo.digest_of("v1")) == "keep"
    assert found.action(repo.digest_of("v9")) == "delete"
    assert aws.calls.count("codebuild", "BatchGetBuilds") == pages


def all_hold(aws: Emulator, cli: Cli, repo: Repository, faults: Sequence[Fault]) -> list[str]:
    """Let each fault befall a region of its own: every candidate is held. The error of each region."""
    image = f"{repo.uri}:v1"
    for region, fault in zip(REGIONS, faults, strict=False):
        batches, builds = [build(1, image, kind="build-batch")], [build(1, image)]
        tell(aws, projects=[project("web", image)], batches=batches, builds=builds, region=region)
        aws.faults.add(replace(fault, region=region))
    found = plan(cli, AWS_MAX_ATTEMPTS="1")
    assert found.status == 5
    assert {found.action(each.digest) for each in repo.images()} <= {"keep", "hold"}
    assert found.json["summary"]["hold"] >= 8
    failed = [entry for entry in found.json["coverage"] if entry["status"] == "failed"]
    assert [(entry["source"], entry["region"]) for entry in failed] == [
        ("codebuild", region) for region in REGIONS[: len(faults)]
    ]
    return [entry["error"] for entry in failed]


@pytest.mark.parametrize(
    "operations",
    [
        ("ListProjects", "BatchGetProjects", "ListBuildBatches"),
        ("BatchGetBuildBatches", "ListBuilds", "BatchGetBuilds"),
    ],
    ids=["projects", "builds"],
)
@pytest.mark.parametrize("refusal", [Fault.denied, partial(Fault.closed, "")], ids=["denied", "closed"])
def test_each_call_that_is_refused_is_a_gap_and_holds_every_candidate(
    aws: Emulator, cli: Cli, repo: Repository, refusal: Any, operations: tuple[str, ...]
) -> None:
    errors = all_hold(aws, cli, repo, [refusal("codebuild", operation) for operation in operations])
    for operation, error in zip(operations, errors, strict=True):
        assert f"codebuild:{operation}" in error


@pytest.mark.parametrize(
    "faults",
    [
        [
            Fault("garbage", "codebuild", "ListProjects", body=b"{}"),
            Fault("garbage", "codebuild", "BatchGetProjects", body=b'{"projects": []}'),
            Fault("garbage", "codebuild", "BatchGetProjects", body=b'{"projects": [{"name": "web"}]}'),
        ],
        [
            Fault("garbage", "codebuild", "ListBuilds", body=b'{"ids": ["web:1"], "nextToken": "again"}'),
            Fault("garbage", "codebuild", "BatchGetBuilds", body=b"[]"),
            Fault.error("codebuild", "ListBuildBatches", "ThrottlingException", "Rate exceeded"),
        ],
    ],
    ids=["projects", "builds"],
)
def test_an_answer_that_makes_no_sense_is_a_gap_not_an_absence(
    aws: Emulator, cli: Cli, repo: Repository, faults: list[Fault]
) -> None:
    all_hold(aws, cli, repo, faults)


def test_what_cannot_be_read_keeps_nothing_else_from_being_seen(aws: Emulator, cli: Cli, repo: Repository) -> None:
    projects = [project(f"p{n}", f"{repo.uri}:v1") for n in range(100)]
    tell(aws, projects=[*projects, project("last", f"{repo.uri}:v2")], builds=[build(1, f"{repo.uri}:v3")])
    aws.faults.add(Fault.denied("codebuild", "BatchGetProjects", when=lambda asked: "p0" in asked["names"]))
    aws.faults.add(Fault.denied("codebuild", "ListBuildBatches"))
    found = plan(cli, "--accept-gap", "codebuild")
    assert [found.action(repo.digest_of(tag)) for tag in ("v1", "v2", "v3")] == ["delete", "keep", "keep"]


def test_a_project_that_moto_holds_keeps_its_image(aws: Emulator, cli: Cli, repo: Repository) -> None:
    pytest.importorskip("moto")
    client = aws.client("codebuild")
    client.create_project(
        name="web", serviceRole=f"arn:aws:iam::{ACCOUNT}:role/build", artifacts={"type": "NO_ARTIFACTS"},
        source={"type": "S3", "location": "bucket/path/key.zip"}, **environment(f"{repo.uri}:v1"),
    )  # fmt: skip
    client.start_build(projectName="web")
    found = plan(cli)
    assert found.status == 0, found.err
    assert "project/web build image" in found.details(repo.digest_of("v1"))
    assert found.action(repo.digest_of("v2")) == "delete"
