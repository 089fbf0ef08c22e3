"""The emulated ECS: what it remembers of deployments, and that nothing moves by being looked at."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ecrsweep.emulator import Emulator


def test_later_tasks_of_a_deployment_start_by_the_digest_that_it_resolved(aws: Emulator) -> None:
    repo = aws.ecr.repository("team/app")
    old = repo.push_image(("prod",))
    service = aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:prod"}), count=1)
    repo.push_image(("prod",))
    ecs = aws.client("ecs")
    ecs.update_service(cluster="default", service=service, desiredCount=3)
    tasks = ecs.list_tasks(cluster="default", serviceName="web")["taskArns"]
    found = ecs.describe_tasks(cluster="default", tasks=tasks)["tasks"]
    assert len(found) == 3
    assert {container["imageDigest"] for task in found for container in task["containers"]} == {old}


def test_a_rollout_keeps_its_old_deployment_until_it_settles(aws: Emulator) -> None:
    service = aws.ecs.service("web", aws.ecs.register("web", {"web": "nginx:1"}))
    second = aws.ecs.register("web", {"web": "nginx:2"})
    aws.ecs.deploy("web", second)
    ecs: Any = aws.client("ecs")

    def deployments() -> list[str]:
        found = ecs.describe_services(cluster="default", services=[service])["services"][0]
        return [entry["status"] for entry in found["deployments"]]

    assert deployments() == ["PRIMARY", "ACTIVE"]
    assert deployments() == ["PRIMARY", "ACTIVE"]
    aws.ecs.settle(service)
    assert deployments() == ["PRIMARY"]


def test_stopped_tasks_are_listed_apart_and_vanish_after_an_hour(aws: Emulator) -> None:
    task = aws.ecs.run(aws.ecs.register("job", {"job": "nginx"}))[0]
    ecs = aws.client("ecs")
    ecs.stop_task(cluster="default", task=task)
    assert ecs.list_tasks(cluster="default")["taskArns"] == []
    assert ecs.list_tasks(cluster="default", desiredStatus="STOPPED")["taskArns"] == [task]
    aws.clock.advance(timedelta(minutes=61))
    assert ecs.list_tasks(cluster="default", desiredStatus="STOPPED")["taskArns"] == []


def test_a_deregistered_definition_is_described_and_a_missing_one_refused(aws: Emulator) -> None:
    arn = aws.ecs.register("web", {"web": "nginx"})
    ecs = aws.client("ecs")
    ecs.deregister_task_definition(taskDefinition=arn)
    assert ecs.list_task_definitions()["taskDefinitionArns"] == []
    assert ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]["status"] == "INACTIVE"
    with pytest.raises(ClientError, match="Unable to describe task definition"):
        ecs.describe_task_definition(taskDefinition="web:7")


def test_batches_have_the_limits_of_the_api(aws: Emulator) -> None:
    aws.ecs.cluster("default")
    ecs = aws.client("ecs")
    for call, parameters in (
        (ecs.describe_services, {"cluster": "default", "services": [f"s{n}" for n in range(11)]}),
        (ecs.describe_tasks, {"cluster": "default", "tasks": [f"t{n}" for n in range(101)]}),
        (ecs.describe_service_revisions, {"serviceRevisionArns": [f"r{n}" for n in range(21)]}),
    ):
        with pytest.raises(ClientError, match="InvalidParameterException"):
            call(**parameters)


def test_a_cluster_that_is_not_there_is_refused(aws: Emulator) -> None:
    with pytest.raises(ClientError, match="ClusterNotFoundException"):
        aws.client("ecs").list_tasks(cluster="nosuch")


def test_other_services_are_answered_by_moto_behind_the_same_endpoint(aws: Emulator) -> None:
    pytest.importorskip("moto")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="plans")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["plans"]
    assert aws.client("sts").get_caller_identity()["Account"] == aws.account
    regions = aws.client("ec2").describe_regions()["Regions"]
    assert {region["RegionName"] for region in regions} == set(aws.regions)
