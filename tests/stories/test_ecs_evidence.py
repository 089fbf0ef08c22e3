"""ECS as witness: whatever ECS runs, may start, or would return to keeps its image, and the plan names the workload."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ecrsweep.emulator import Clock, Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, REGIONS, Cli, ago

HOST = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """A repository of old images, v1 to v5 from the oldest on; no rule keeps any."""
    made = aws.ecr.repository("team/app")
    for version in range(1, 6):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=100 - version))
    return made


def plan(cli: Cli) -> Any:
    return cli.plan("--keep-newest", "0")


def kept_for(cli: Cli, digest: str, workload: str, *, others: Iterator[str] | list[str]) -> None:
    """The image stays because of this workload, and the others go."""
    found = plan(cli)
    assert found.status == 0, found.err
    assert found.action(digest) == "keep"
    assert "in_use" in found.codes(digest)
    assert workload in found.details(digest)
    assert {found.action(other) for other in others} <= {"delete"}


def outdate(aws: Emulator, family: str, repo: Repository) -> None:
    """Register newer revisions, so that the family's older ones are not among the newest three."""
    for _ in range(3):
        aws.ecs.register(family, {"app": f"{repo.uri}:v5"})


def test_a_running_task_is_named_with_its_container(aws: Emulator, cli: Cli, repo: Repository) -> None:
    task = aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:v1"}))[0]
    kept_for(cli, repo.digest_of("v1"), f"{task} container web", others=[repo.digest_of("v2")])


def test_sidecars_and_init_containers_count(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:v5", "init": f"{repo.uri}:v1"}))
    kept_for(cli, repo.digest_of("v1"), "container init", others=[repo.digest_of("v2")])


def test_a_stopped_task_counts(aws: Emulator, cli: Cli, repo: Repository) -> None:
    definition = aws.ecs.register("job", {"job": f"{repo.uri}:v1"})
    task = aws.ecs.run(definition)[0]
    outdate(aws, "job", repo)
    aws.client("ecs").stop_task(cluster="default", task=task)
    kept_for(cli, repo.digest_of("v1"), task, others=[repo.digest_of("v2")])


def test_an_image_used_only_by_digest_stays(aws: Emulator, cli: Cli, repo: Repository) -> None:
    digest = repo.digest_of("v1")
    aws.ecs.register("web", {"web": f"{repo.uri}@{digest}"})
    kept_for(cli, digest, "task-definition/web:1", others=[repo.digest_of("v2")])


def test_an_image_used_only_through_a_dual_stack_name_stays(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.ecs.register("web", {"web": f"{ACCOUNT}.dkr-ecr.us-east-1.on.aws/team/app:v1"})
    kept_for(cli, repo.digest_of("v1"), "task-definition/web:1", others=[repo.digest_of("v2")])


def test_an_image_of_an_old_deployment_that_still_serves_stays(aws: Emulator, cli: Cli, repo: Repository) -> None:
    service = aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}), count=0)
    aws.ecs.forget_revisions(service)
    aws.ecs.deploy("web", aws.ecs.register("web", {"web": f"{repo.uri}:v2"}))
    outdate(aws, "web", repo)
    aws.ecs.forget_revisions(service)
    kept_for(cli, repo.digest_of("v1"), f"{service} deployment", others=[repo.digest_of("v3")])


def test_an_image_of_a_task_set_stays(aws: Emulator, cli: Cli, repo: Repository) -> None:
    service = aws.ecs.service("web", "", controller="EXTERNAL")
    aws.ecs.task_set(service, aws.ecs.register("web", {"web": f"{repo.uri}:v1"}))
    outdate(aws, "web", repo)
    kept_for(cli, repo.digest_of("v1"), f"{service} task set", others=[repo.digest_of("v2")])


def test_an_image_of_a_service_at_zero_stays(aws: Emulator, cli: Cli, repo: Repository) -> None:
    definition = aws.ecs.register("web", {"web": f"{repo.uri}:v1"})
    service = aws.ecs.service("web", definition, count=0)
    outdate(aws, "web", repo)
    kept_for(cli, repo.digest_of("v1"), service, others=[repo.digest_of("v2")])


def test_the_image_that_a_rollback_would_return_to_stays(aws: Emulator, cli: Cli, repo: Repository) -> None:
    service = aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}), count=0)
    aws.ecs.deploy("web", aws.ecs.register("web", {"web": f"{repo.uri}:v2"}))
    aws.ecs.settle(service)
    outdate(aws, "web", repo)
    kept_for(cli, repo.digest_of("v1"), f"{service} revision", others=[repo.digest_of("v3")])


def test_what_lies_before_the_last_rollback_target_goes(aws: Emulator, cli: Cli, repo: Repository) -> None:
    service = aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}), count=0)
    for version in ("v2", "v3"):
        aws.clock.advance(timedelta(minutes=1))
        aws.ecs.deploy("web", aws.ecs.register("web", {"web": f"{repo.uri}:{version}"}))
        aws.ecs.settle(service)
    outdate(aws, "web", repo)
    kept_for(cli, repo.digest_of("v2"), service, others=[repo.digest_of("v1"), repo.digest_of("v4")])


def test_the_digest_that_a_service_pinned_stays_after_its_tag_has_moved(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    pinned = repo.digest_of("v1")
    service = aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}))
    repo.tag("v1", repo.digest_of("v5"))
    assert repo.by_digest[pinned].tags == []
    kept_for(cli, pinned, service, others=[repo.digest_of("v2")])


def test_a_reported_digest_counts_in_the_repository_that_the_definition_names(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    task = aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:v5"}))[0]
    container = aws.ecs.task(task)["containers"][0]
    container |= {"image": "somewhere/else:v9", "imageDigest": repo.digest_of("v1")}
    kept_for(cli, repo.digest_of("v1"), task, others=[repo.digest_of("v2")])


def test_without_a_digest_earlier_untagged_images_stay_once_the_tag_has_moved(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    aws.ecs.reports_digests = False
    old = repo.digest_of("v1")
    repo.tag("prod", old)
    task = aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:prod"}))[0]
    aws.ecs.task(task).update(
        {key: ago(days=60).timestamp() for key in ("createdAt", "pullStartedAt", "pullStoppedAt", "startedAt")}
    )
    newer = repo.push_image(tags=("prod",), pushed_at=ago(days=40))
    repo.untag("v2")
    stranger = repo.push_image(pushed_at=ago(days=50))
    repo.by_digest[old].tags.remove("v1")
    del repo.by_tag["v1"]
    found = plan(cli)
    assert found.action(newer) == "keep"
    assert found.codes(old) == {"in_use"}
    assert "possible" in found.details(old)
    assert found.action(stranger) == "delete", "it was pushed after the task started"


def test_the_newest_three_revisions_of_a_family_stay_and_older_ones_do_not(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    for version in range(1, 6):
        aws.ecs.register("web", {"web": f"{repo.uri}:v{version}"})
    found = plan(cli)
    actions = [found.action(repo.digest_of(f"v{version}")) for version in range(1, 6)]
    assert actions == ["delete", "delete", "keep", "keep", "keep"]


def test_an_inactive_revision_in_use_is_described(aws: Emulator, cli: Cli, repo: Repository) -> None:
    definition = aws.ecs.register("web", {"web": f"{repo.uri}:v1"})
    service = aws.ecs.service("web", definition, count=0)
    aws.ecs.forget_revisions(service)
    aws.client("ecs").deregister_task_definition(taskDefinition=definition)
    kept_for(cli, repo.digest_of("v1"), service, others=[repo.digest_of("v2")])


def test_a_use_in_another_region_protects_at_home(aws: Emulator, cli: Cli, repo: Repository) -> None:
    task = aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:v1"}, region="eu-west-1"), region="eu-west-1")[0]
    kept_for(cli, repo.digest_of("v1"), task, others=[repo.digest_of("v2")])


def test_more_than_a_page_of_everything_is_read(aws: Emulator, cli: Cli, repo: Repository) -> None:
    last = repo.digest_of("v1")
    for number in range(120):
        aws.ecs.cluster(f"c{number}")
    other = aws.ecs.register("filler", {"app": f"{repo.uri}:v5"})
    for number in range(115):
        aws.ecs.service(f"s{number}", other, cluster="c0", count=1)
    definition = aws.ecs.register("web", {"web": f"{repo.uri}:v1"})
    outdate(aws, "web", repo)
    service = aws.ecs.service("zz-last", definition, cluster="c119", count=0)
    kept_for(cli, last, service, others=[repo.digest_of("v2")])


def test_one_description_a_task_definition_and_few_calls_for_ten_thousand_images(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("big/app")
    for number in range(10_000):
        repo.push_image(tags=(f"v{number}",), pushed_at=ago(days=50, minutes=number))
    definitions = [aws.ecs.register(f"family-{n}", {"app": f"{repo.uri}:v{n}"}) for n in range(20)]
    for definition in definitions:
        aws.ecs.run(definition, count=10)
    aws.calls.reset()
    found = cli.plan()
    assert found.status == 0
    assert found.json["summary"]["images"] == 10_000
    assert aws.calls.count("ecr", "DescribeImages") <= 10
    assert aws.calls.count("ecs", "DescribeTaskDefinition") <= 20
    assert aws.calls.count("ecs", "DescribeTasks") <= 2


@pytest.mark.parametrize(
    "operation",
    [
        "ListClusters", "ListTasks", "DescribeTasks", "ListServices", "DescribeServices", "ListServiceDeployments",
        "DescribeServiceDeployments", "DescribeServiceRevisions", "ListTaskDefinitions", "DescribeTaskDefinition",
    ],
)  # fmt: skip
def test_each_call_that_is_denied_is_a_gap_and_holds_every_candidate(
    aws: Emulator, cli: Cli, repo: Repository, operation: str
) -> None:
    aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}))
    aws.faults.add(Fault.denied("ecs", operation, region="us-east-1"))
    alone = ("--keep-newest", "0", "--skip-source", "ecs-daemons")  # it lists clusters too
    found = cli.plan(*alone)
    assert found.status == 5
    assert {found.action(image.digest) for image in repo.images()} <= {"keep", "hold"}
    failed = [entry for entry in found.json["coverage"] if entry["status"] == "failed"]
    assert [(entry["source"], entry["region"]) for entry in failed] == [("ecs", "us-east-1")]
    assert f"ecs:{operation}" in failed[0]["error"]
    accepted = cli.plan(*alone, "--accept-gap", "ecs/us-east-1")
    assert accepted.status == 0
    assert accepted.action(repo.digest_of("v2")) == "delete"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("garbage", "ecs", "ListTasks"),
        Fault("garbage", "ecs", "ListTasks", body=b"{}"),
        Fault("garbage", "ecs", "DescribeTasks", body=b'{"tasks": [{"containers": 7}]}'),
        Fault("garbage", "ecs", "ListClusters", body=b"[]"),
        Fault("garbage", "ecs", "ListTasks", body=b'{"taskArns": ["arn:a"], "nextToken": "again"}'),
        Fault.error("ecs", "ListClusters", "ThrottlingException", "Rate exceeded"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_gap_not_an_absence(
    aws: Emulator, cli: Cli, repo: Repository, fault: Fault
) -> None:
    aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:v1"}))
    aws.faults.add(fault)
    found = cli("plan", "--output", "json", "--keep-newest", "0", "--pulled-within", "0d", AWS_MAX_ATTEMPTS="2")
    assert found.status == 5
    assert {found.action(image.digest) for image in repo.images()} <= {"keep", "hold"}


def test_a_cluster_deleted_in_between_is_no_gap(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.ecs.cluster("gone")
    missing = Fault.error("ecs", "ListTasks", "ClusterNotFoundException", "Cluster not found.")
    aws.faults.add(missing)
    assert plan(cli).status == 0


@pytest.mark.parametrize(
    "operation", ["ListServiceDeployments", "DescribeServiceDeployments", "DescribeServiceRevisions"]
)
def test_a_service_deleted_in_between_takes_no_other_service_of_its_cluster_along(
    aws: Emulator, cli: Cli, repo: Repository, operation: str
) -> None:
    aws.ecs.service("first", aws.ecs.register("first", {"web": f"{repo.uri}:v4"}))
    service = aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}), count=0)
    outdate(aws, "web", repo)
    gone = Fault.error("ecs", operation, "ServiceNotFoundException", "Service not found.", times=1)
    aws.faults.add(gone)
    kept_for(cli, repo.digest_of("v1"), service, others=[repo.digest_of("v2")])


@pytest.mark.parametrize("operation", ["ListServices", "DescribeServices", "DescribeServiceRevisions"])
def test_something_missing_that_is_no_cluster_and_no_service_is_a_gap(
    aws: Emulator, cli: Cli, repo: Repository, operation: str
) -> None:
    aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}), count=0)
    aws.faults.add(Fault.error("ecs", operation, "ResourceNotFoundException", "Something was not found."))
    found = plan(cli)
    assert found.status == 5
    assert {found.action(image.digest) for image in repo.images()} <= {"keep", "hold"}


def test_a_skipped_source_is_shown_and_holds_nothing(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:v1"}))
    found = cli.plan("--keep-newest", "0", "--skip-source", "ecs")
    assert found.status == 0
    assert {entry["status"] for entry in found.json["coverage"] if entry["source"] == "ecs"} == {"skipped"}
    assert cli.plan("--skip-source", "nosuch").status == 2


def test_the_clock_of_the_fixture_stands_at_the_present(aws: Emulator) -> None:
    assert isinstance(aws.clock, Clock)
    assert abs((aws.clock.now - ago()).total_seconds()) < 60
    assert set(REGIONS) == set(aws.regions)
