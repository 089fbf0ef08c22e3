"""Plan and apply against moto alone: another implementation of the wire than our own."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.sources import OWN
from tests.support import ACCOUNT, Cli, ago

pytest.importorskip("moto")

ENVIRON = {
    "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}  # fmt: skip
NOT_IN_MOTO = [flag for name in OWN if name != "ecs" for flag in ("--skip-source", name)]


@pytest.fixture
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def client(url: str, service: str) -> Any:
    import boto3

    maker: Any = boto3.client
    return maker(
        service, endpoint_url=url, region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )


def manifest(number: int) -> str:
    config = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": 7,
        "digest": f"sha256:{number:064x}",
    }
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "size": 9,
        "digest": f"sha256:{number:064x}",
    }
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]})


def test_plan_and_apply_against_moto_alone(moto: str, tmp_path: Path) -> None:
    from moto.ecr.models import ecr_backends

    ecr, ecs = client(moto, "ecr"), client(moto, "ecs")
    uri = ecr.create_repository(repositoryName="team/app")["repository"]["repositoryUri"]
    digests = [
        ecr.put_image(repositoryName="team/app", imageManifest=manifest(n), imageTag=f"v{n}")["image"]["imageId"][
            "imageDigest"
        ]
        for n in range(6)
    ]
    for age, image in enumerate(ecr_backends[ACCOUNT]["us-east-1"].repositories["team/app"].images):
        image.image_pushed_at = (ago(days=100) + timedelta(days=age)).timestamp()
    ecs.create_cluster(clusterName="prod")
    containers = [{"name": "web", "image": f"{uri}:v0", "memory": 64}]
    ecs.register_task_definition(family="web", containerDefinitions=containers)
    network = {"awsvpcConfiguration": {"subnets": [client(moto, "ec2").describe_subnets()["Subnets"][0]["SubnetId"]]}}
    ecs.run_task(cluster="prod", taskDefinition="web", launchType="FARGATE", networkConfiguration=network)
    cli = Cli({**ENVIRON, "AWS_ENDPOINT_URL": moto}, tmp_path)

    plan = cli.plan("--keep-newest", "2", *NOT_IN_MOTO)
    assert plan.status == 0, plan.err
    assert [plan.action(digest) for digest in digests] == ["keep", "delete", "delete", "delete", "keep", "keep"]
    assert "in_use" in plan.codes(digests[0])

    ended = cli("apply", "--yes", "--keep-newest", "2", "--pulled-within", "0d", "--output", "json", *NOT_IN_MOTO)
    assert ended.status == 0, ended.err
    left = ecr.describe_images(repositoryName="team/app")["imageDetails"]
    assert {tag for image in left for tag in image["imageTags"]} == {"v0", "v4", "v5"}


def test_what_moto_does_not_implement_is_a_gap(moto: str, tmp_path: Path) -> None:
    ecs = client(moto, "ecs")
    ecs.create_cluster(clusterName="svc")
    ecs.register_task_definition(family="svc", containerDefinitions=[{"name": "web", "image": "nginx", "memory": 64}])
    ecs.create_service(cluster="svc", serviceName="web", taskDefinition="svc", desiredCount=0)
    cli = Cli({**ENVIRON, "AWS_ENDPOINT_URL": moto, "AWS_MAX_ATTEMPTS": "1"}, tmp_path)
    plan = cli.plan("--consumer-region", "us-east-1", *NOT_IN_MOTO)
    assert plan.status == 5
    failed = next(entry for entry in plan.json["coverage"] if entry["status"] == "failed")
    assert "ecs:ListServiceDeployments" in failed["error"]
