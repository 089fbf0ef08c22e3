"""App Runner as witness: the image of every service stays, paused or failed, and what a tag named when it was deployed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, REGIONS, Cli, ago

STATES = ("RUNNING", "PAUSED", "OPERATION_IN_PROGRESS", "CREATE_FAILED", "DELETE_FAILED")


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """A repository of old images, v1 to v7; no rule keeps any."""
    made = aws.ecr.repository("web/site")
    for version in range(1, 8):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=100 - version))
    return made


def arn(name: str) -> str:
    return f"arn:aws:apprunner:us-east-1:{ACCOUNT}:service/{name}/8fe1e10304f84fd2b0df550fe98a71fa"


def service(name: str, image: str | None, status: str = "RUNNING", kind: str = "ECR") -> dict[str, Any]:
    """A service as DescribeService answers it; without an image, one that is built from source code."""
    source: dict[str, Any] = {"ImageRepository": {"ImageIdentifier": image, "ImageRepositoryType": kind}}
    if image is None:
        version = {"Type": "BRANCH", "Value": "main"}
        source = {"CodeRepository": {"RepositoryUrl": "https://example.org/x", "SourceCodeVersion": version}}
    long_ago = ago(days=200).timestamp()
    return {
        "ServiceName": name, "ServiceId": "8fe1e103-04f8-1fd2-80df-550fe98a71fa", "ServiceArn": arn(name),
        "CreatedAt": long_ago, "UpdatedAt": long_ago, "Status": status, "SourceConfiguration": source,
        "InstanceConfiguration": {}, "AutoScalingConfigurationSummary": {}, "NetworkConfiguration": {},
    }  # fmt: skip


def operation(kind: str, started: datetime, status: str = "SUCCEEDED") -> dict[str, Any]:
    return {"Type": kind, "Status": status, "StartedAt": started.timestamp(), "EndedAt": started.timestamp() + 300}


def tell(
    aws: Emulator,
    *services: Mapping[str, Any],
    operations: Sequence[Mapping[str, Any]] = (),
    gone: Sequence[str] = (),
    region: str | None = None,
) -> None:
    """Let App Runner hold these services; each has had these operations, the newest first."""
    brief = ("ServiceName", "ServiceId", "ServiceArn", "Status")
    listed = [{key: each[key] for key in brief} for each in services]
    held = {each["ServiceArn"]: {"Service": each} for each in services if each["ServiceName"] not in gone}
    aws.scripts.listed("apprunner", "ListServices", "ServiceSummaryList", listed, page=20, region=region)
    aws.scripts.described(
        "apprunner", "DescribeService", "ServiceArn", held, "ResourceNotFoundException", region=region
    )
    aws.scripts.listed("apprunner", "ListOperations", "OperationSummaryList", operations, page=20, region=region)


def plan(cli: Cli, *arguments: str, **environ: str) -> Any:
    return cli("plan", "--output", "json", "--keep-newest", "0", "--pulled-within", "0d", *arguments, **environ)


def test_a_service_in_whatever_state_keeps_its_image(aws: Emulator, cli: Cli, repo: Repository) -> None:
    states = {f"v{number}": state for number, state in enumerate(STATES, 1)}
    services = [service(f"service-{tag}", f"{repo.uri}:{tag}", state) for tag, state in states.items()]
    others = [
        service("deleted", f"{repo.uri}:v6", "DELETED"), service("vanished", f"{repo.uri}:v7"), service("code", None),
        service("going", f"{repo.uri}:v6"), service("public", "public.ecr.aws/aws-containers/hello-app-runner:latest", kind="ECR_PUBLIC"),
    ]  # fmt: skip
    tell(aws, *others, *services, operations=[operation("CREATE_SERVICE", ago(days=30))], gone=["vanished"])
    others[3]["Status"] = "DELETED"  # between listing and asking
    found = plan(cli)
    assert found.status == 0, found.err
    for tag, state in states.items():
        assert found.codes(repo.digest_of(tag)) == {"in_use"}, state
        assert arn(f"service-{tag}") in found.details(repo.digest_of(tag))
    assert {found.action(repo.digest_of(tag)) for tag in ("v6", "v7")} == {"delete"}
    assert found.json["unresolved"] == []
    asked = [call.parameters["ServiceArn"] for call in aws.calls.log if call.operation == "DescribeService"]
    assert arn("deleted") not in asked


@pytest.mark.parametrize(
    ("operations", "kept"),
    [
        ([operation("START_DEPLOYMENT", ago(days=60))], (False, True)),
        ([operation("START_DEPLOYMENT", ago(days=5)), operation("CREATE_SERVICE", ago(days=60))], (False, False)),
        (
            [operation("START_DEPLOYMENT", ago(days=5), "FAILED"), operation("CREATE_SERVICE", ago(days=60))],
            (True, True),
        ),
        ([operation("UPDATE_SERVICE", ago(days=5))] * 45 + [operation("CREATE_SERVICE", ago(days=60))], (True, True)),
        ([], (True, True)),
    ],
    ids=["by hand", "deployed since", "failed since", "updated since", "no history"],
)
def test_what_a_tag_named_before_it_moved_stays_if_nothing_was_deployed_since(
    aws: Emulator, cli: Cli, repo: Repository, operations: list[dict[str, Any]], kept: tuple[bool, bool]
) -> None:
    runs = repo.push_image(tags=("prod",), pushed_at=ago(days=70))
    between = repo.push_image(tags=("prod",), pushed_at=ago(days=40))
    newest = repo.push_image(tags=("prod",), pushed_at=ago(days=20))
    tell(aws, service("site", f"{repo.uri}:prod"), operations=operations)
    found = plan(cli)
    assert found.status == 0, found.err
    assert found.action(newest) == "keep"
    assert (found.action(between) == "keep", found.action(runs) == "keep") == kept
    assert found.action(repo.digest_of("v1")) == "delete"


def test_more_than_a_page_is_read_and_a_service_pinned_to_a_digest_is_asked_no_more(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    image = f"{repo.uri}@{repo.digest_of('v1')}"
    tell(aws, *(service(f"code{n}", None) for n in range(44)), service("last", image))
    found = plan(cli)
    assert found.action(repo.digest_of("v1")) == "keep"
    assert found.action(repo.digest_of("v2")) == "delete"
    assert aws.calls.count("apprunner", "ListServices", region="us-east-1") == 3
    assert aws.calls.count("apprunner", "ListOperations") == 0


def test_a_service_deleted_while_its_operations_are_asked_for_takes_no_other_along(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    tell(aws, service("going", f"{repo.uri}:v1"), service("site", f"{repo.uri}:v2"))
    gone = Fault.error("apprunner", "ListOperations", "ResourceNotFoundException", "It is gone.")
    gone.when = lambda asked: "/going/" in asked["ServiceArn"]
    aws.faults.add(gone)
    found = plan(cli)
    assert found.status == 0, found.err
    assert arn("site") in found.details(repo.digest_of("v2"))
    assert found.action(repo.digest_of("v3")) == "delete"


def all_hold(aws: Emulator, cli: Cli, repo: Repository, faults: Sequence[Fault]) -> list[str]:
    """Let each fault befall a region of its own: every candidate is held. The error of each region."""
    for region, fault in zip(REGIONS, faults, strict=False):
        tell(aws, service("site", f"{repo.uri}:v1"), region=region)
        aws.faults.add(replace(fault, region=region))
    found = plan(cli, AWS_MAX_ATTEMPTS="1")
    assert found.status == 5
    assert {found.action(each.digest) for each in repo.images()} <= {"keep", "hold"}
    assert found.json["summary"]["hold"] >= 6
    failed = [entry for entry in found.json["coverage"] if entry["status"] == "failed"]
    assert [(entry["source"], entry["region"]) for entry in failed] == [
        ("apprunner", region) for region in REGIONS[: len(faults)]
    ]
    return [entry["error"] for entry in failed]


@pytest.mark.parametrize("refusal", [Fault.denied, partial(Fault.closed, "")], ids=["denied", "closed"])
def test_each_call_that_is_refused_is_a_gap_and_holds_every_candidate(
    aws: Emulator, cli: Cli, repo: Repository, refusal: Any
) -> None:
    operations = ("ListServices", "DescribeService", "ListOperations")
    errors = all_hold(aws, cli, repo, [refusal("apprunner", operation) for operation in operations])
    for operation, error in zip(operations, errors, strict=True):
        assert f"apprunner:{operation}" in error


@pytest.mark.parametrize(
    "faults",
    [
        [
            Fault("garbage", "apprunner", "ListServices", body=b"{}"),
            Fault("garbage", "apprunner", "ListServices", body=b'{"ServiceSummaryList": [{"Status": "RUNNING"}]}'),
            Fault("garbage", "apprunner", "DescribeService", body=b"{}"),
        ],
        [
            Fault("garbage", "apprunner", "DescribeService"),
            Fault("garbage", "apprunner", "ListOperations", body=b"{}"),
            Fault.error("apprunner", "DescribeService", "ThrottlingException", "Rate exceeded"),
        ],
    ],
    ids=["listing", "service"],
)
def test_an_answer_that_makes_no_sense_is_a_gap_not_an_absence(
    aws: Emulator, cli: Cli, repo: Repository, faults: list[Fault]
) -> None:
    all_hold(aws, cli, repo, faults)


def test_one_service_that_cannot_be_read_keeps_no_other_from_being_seen(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    tell(aws, service("first", f"{repo.uri}:v1"), service("second", f"{repo.uri}:v2"))
    aws.faults.add(Fault.denied("apprunner", "DescribeService", when=lambda asked: "/first/" in asked["ServiceArn"]))
    aws.faults.add(Fault.denied("apprunner", "ListOperations"))
    found = plan(cli, "--accept-gap", "apprunner")
    assert [found.action(repo.digest_of(tag)) for tag in ("v1", "v2", "v3")] == ["delete", "keep", "delete"]
