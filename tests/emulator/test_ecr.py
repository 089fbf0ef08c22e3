"""The emulated ECR against what is documented and known of the real one, through boto3 over HTTP."""

import json
from datetime import timedelta
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.manifests import digest_of, image_manifest, index_manifest
from tests.support import ACCOUNT

NAME = "team/app"


@pytest.fixture
def ecr(aws: Emulator) -> Any:
    aws.ecr.repository(NAME)
    return aws.client("ecr")


def refused(code: str, call: Any, **parameters: Any) -> None:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code


def put(ecr: Any, manifest: dict[str, Any], tag: str | None = None) -> str:
    extra = {} if tag is None else {"imageTag": tag}
    answer = ecr.put_image(repositoryName=NAME, imageManifest=json.dumps(manifest), **extra)
    return str(answer["image"]["imageId"]["imageDigest"])


def described(ecr: Any, **parameters: Any) -> dict[str, Any]:
    found = ecr.describe_images(repositoryName=NAME, filter={"imageStatus": "ANY"}, **parameters)["imageDetails"]
    return {image["imageDigest"]: image for image in found}


def delete(ecr: Any, *ids: dict[str, str]) -> tuple[list[Any], list[str]]:
    answer = ecr.batch_delete_image(repositoryName=NAME, imageIds=list(ids))
    return answer["imageIds"], [failure["failureCode"] for failure in answer["failures"]]


def test_a_push_is_named_by_the_digest_of_its_bytes(ecr: Any) -> None:
    manifest = image_manifest("a")
    assert put(ecr, manifest, "v1") == digest_of(json.dumps(manifest))
    refused(
        "ImageAlreadyExistsException",
        ecr.put_image,
        repositoryName=NAME,
        imageManifest=json.dumps(manifest),
        imageTag="v1",
    )


def test_a_tag_that_moves_leaves_the_old_image_untagged_and_its_push_time_alone(aws: Emulator, ecr: Any) -> None:
    old = put(ecr, image_manifest("a"), "v1")
    before = described(ecr)[old]["imagePushedAt"]
    aws.clock.advance(timedelta(hours=1))
    new = put(ecr, image_manifest("b"), "v1")
    found = described(ecr)
    assert "imageTags" not in found[old]
    assert found[new]["imageTags"] == ["v1"]
    assert found[old]["imagePushedAt"] == before


def test_an_immutable_tag_does_not_move(ecr: Any) -> None:
    ecr.put_image_tag_mutability(repositoryName=NAME, imageTagMutability="IMMUTABLE")
    put(ecr, image_manifest("a"), "v1")
    text = json.dumps(image_manifest("b"))
    refused("ImageTagAlreadyExistsException", ecr.put_image, repositoryName=NAME, imageManifest=text, imageTag="v1")


def test_an_index_of_what_is_not_there_is_refused(ecr: Any) -> None:
    text = json.dumps(index_manifest([digest_of("nothing")]))
    refused("ReferencedImagesNotFoundException", ecr.put_image, repositoryName=NAME, imageManifest=text)


def test_pages_are_a_hundred_by_default_and_a_thousand_at_most(aws: Emulator, ecr: Any) -> None:
    repo = aws.ecr.repository(NAME)
    for number in range(1500):
        repo.push_image((f"v{number}",))
    first = ecr.describe_images(repositoryName=NAME)
    assert len(first["imageDetails"]) == 100
    pages = list(
        ecr.get_paginator("describe_images").paginate(repositoryName=NAME, PaginationConfig={"PageSize": 1000})
    )
    assert [len(page["imageDetails"]) for page in pages] == [1000, 500]
    assert len({image["imageDigest"] for page in pages for image in page["imageDetails"]}) == 1500
    refused("InvalidParameterException", ecr.describe_images, repositoryName=NAME, nextToken="nonsense")


def test_archived_images_are_listed_only_when_asked_for_and_cannot_be_read(aws: Emulator, ecr: Any) -> None:
    digest = put(ecr, image_manifest("a"), "v1")
    identity = {"imageDigest": digest}
    ecr.update_image_storage_class(repositoryName=NAME, imageId=identity, targetStorageClass="ARCHIVE")
    assert ecr.describe_images(repositoryName=NAME)["imageDetails"] == []
    assert described(ecr)[digest]["imageStatus"] == "ARCHIVED"
    assert ecr.batch_get_image(repositoryName=NAME, imageIds=[identity])["images"] == []
    restored = ecr.update_image_storage_class(repositoryName=NAME, imageId=identity, targetStorageClass="STANDARD")
    assert restored["imageStatus"] == "ACTIVATING"
    aws.clock.advance(timedelta(minutes=21))
    assert described(ecr)[digest]["imageStatus"] == "ACTIVE"


def test_one_missing_image_fails_the_whole_description(ecr: Any) -> None:
    digest = put(ecr, image_manifest("a"), "v1")
    ids = [{"imageDigest": digest}, {"imageDigest": digest_of("gone")}]
    refused("ImageNotFoundException", ecr.describe_images, repositoryName=NAME, imageIds=ids)
    assert set(described(ecr, imageIds=ids[:1])) == {digest}


def test_more_than_a_hundred_ids_are_refused(ecr: Any) -> None:
    ids = [{"imageDigest": digest_of(str(number))} for number in range(101)]
    for call in (ecr.describe_images, ecr.batch_get_image, ecr.batch_delete_image):
        refused("InvalidParameterException", call, repositoryName=NAME, imageIds=ids)


def test_reading_a_manifest_moves_its_pull_time_to_the_date_of_the_answer(aws: Emulator, ecr: Any) -> None:
    digest = put(ecr, image_manifest("a"), "v1")
    assert "lastRecordedPullTime" not in described(ecr)[digest]
    answer = ecr.batch_get_image(repositoryName=NAME, imageIds=[{"imageTag": "v1"}])
    assert json.loads(answer["images"][0]["imageManifest"]) == image_manifest("a")
    pulled = described(ecr)[digest]["lastRecordedPullTime"]
    assert abs((pulled - aws.clock.now).total_seconds()) < 1
    assert answer["ResponseMetadata"]["HTTPHeaders"]["date"] == f"{aws.clock.now:%a, %d %b %Y %H:%M:%S GMT}"


def test_a_child_of_an_index_is_refused_until_its_index_is_gone(aws: Emulator, ecr: Any) -> None:
    leaf = put(ecr, image_manifest("a"))
    inner = put(ecr, index_manifest([leaf]))
    outer = put(ecr, index_manifest([inner]), "v1")
    assert delete(ecr, {"imageDigest": leaf}, {"imageDigest": inner}) == ([], ["ImageReferencedByManifestList"] * 2)
    gone, failures = delete(ecr, {"imageDigest": outer}, {"imageDigest": inner}, {"imageDigest": leaf})
    assert [image["imageDigest"] for image in gone] == [outer, inner, leaf]
    assert failures == []
    assert aws.ecr.repository(NAME).images() == []


def test_deleting_by_tag_takes_the_tag_and_with_the_last_one_the_image(aws: Emulator, ecr: Any) -> None:
    digest = put(ecr, image_manifest("a"), "v1")
    aws.ecr.repository(NAME).tag("v2", digest)
    assert delete(ecr, {"imageTag": "v1"})[0] == [{"imageDigest": digest, "imageTag": "v1"}]
    assert set(described(ecr)) == {digest}
    delete(ecr, {"imageTag": "v2"})
    assert described(ecr) == {}


def test_every_bad_id_has_its_own_failure_code(ecr: Any) -> None:
    digest = put(ecr, image_manifest("a"), "v1")
    other = put(ecr, image_manifest("b"), "v2")
    _, failures = delete(
        ecr, {"imageDigest": digest_of("gone")}, {"imageTag": "gone"}, {"imageDigest": "sha256:short"}, {"imageTag": "-bad"},
        {}, {"imageDigest": other, "imageTag": "v1"},
    )  # fmt: skip
    assert failures == [
        "ImageNotFound", "ImageNotFound", "InvalidImageDigest", "InvalidImageTag", "MissingDigestAndTag",
        "ImageTagDoesNotMatchDigest",
    ]  # fmt: skip
    assert set(described(ecr)) == {digest, other}


def test_referrers_are_listed_and_described_by_their_subject(ecr: Any) -> None:
    subject = put(ecr, image_manifest("a"), "v1")
    signature = put(ecr, image_manifest("s", subject=subject, artifact_type="application/vnd.sig"))
    assert described(ecr)[signature]["subjectManifestDigest"] == subject
    found = ecr.list_image_referrers(repositoryName=NAME, subjectId={"imageDigest": subject})["referrers"]
    assert [(entry["digest"], entry["artifactType"]) for entry in found] == [(signature, "application/vnd.sig")]


def test_an_index_has_the_size_of_its_largest_child(aws: Emulator, ecr: Any) -> None:
    repo = aws.ecr.repository(NAME)
    index = repo.push_index([repo.push_image(size=5), repo.push_image(size=9)])
    assert described(ecr)[index]["imageSizeInBytes"] == 9


def test_accounts_and_regions_are_strangers_to_each_other(aws: Emulator, ecr: Any) -> None:
    put(ecr, image_manifest("a"), "v1")
    elsewhere = aws.client("ecr", region="eu-west-1")
    refused("RepositoryNotFoundException", elsewhere.describe_images, repositoryName=NAME)
    refused("AccessDeniedException", ecr.describe_repositories, registryId="210987654321")


def test_a_region_that_is_not_switched_on_refuses_all_credentials(aws: Emulator) -> None:
    refused("UnrecognizedClientException", aws.client("ecr", region="af-south-1").describe_repositories)


def test_an_operation_that_ecr_does_not_have_is_not_answered_by_moto(aws: Emulator, ecr: Any) -> None:
    refused("UnknownOperationException", ecr.get_registry_scanning_configuration)


POLICY = '{"Version": "2012-10-17", "Statement": []}'


def test_a_repository_has_a_policy_of_its_own_or_none(ecr: Any) -> None:
    refused("RepositoryPolicyNotFoundException", ecr.get_repository_policy, repositoryName=NAME)
    ecr.set_repository_policy(repositoryName=NAME, policyText=POLICY)
    assert ecr.get_repository_policy(repositoryName=NAME)["policyText"] == POLICY
    refused("InvalidParameterException", ecr.set_repository_policy, repositoryName=NAME, policyText="[]")


def test_a_registry_has_a_policy_or_none(aws: Emulator, ecr: Any) -> None:
    for call in (ecr.get_registry_policy, ecr.delete_registry_policy):
        refused("RegistryPolicyNotFoundException", call)
    refused("InvalidParameterException", ecr.put_registry_policy, policyText="{")
    ecr.put_registry_policy(policyText=POLICY)
    assert ecr.get_registry_policy()["policyText"] == POLICY
    refused("RegistryPolicyNotFoundException", aws.client("ecr", region="eu-west-1").get_registry_policy)
    assert ecr.delete_registry_policy()["policyText"] == POLICY
    refused("RegistryPolicyNotFoundException", ecr.get_registry_policy)


def test_a_registry_tells_its_replication_rules_and_takes_none_to_itself(ecr: Any) -> None:
    assert ecr.describe_registry()["replicationConfiguration"] == {"rules": []}
    wanted = {"rules": [{"destinations": [{"region": "eu-west-1", "registryId": ACCOUNT}]}]}
    ecr.put_replication_configuration(replicationConfiguration=wanted)
    assert ecr.describe_registry()["replicationConfiguration"] == wanted
    itself = {"rules": [{"destinations": [{"region": "us-east-1", "registryId": ACCOUNT}]}]}
    refused("InvalidParameterException", ecr.put_replication_configuration, replicationConfiguration=itself)


def test_a_bucket_throttles_what_exceeds_it(aws: Emulator) -> None:
    aws.throttle("ecr", "DescribeRepositories", rate=0.001, burst=1)
    import boto3
    from botocore.config import Config

    maker: Any = boto3.client
    impatient = maker(
        "ecr", endpoint_url=aws.url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    impatient.describe_repositories()
    refused("ThrottlingException", impatient.describe_repositories)


def test_every_answer_has_only_members_that_the_service_model_knows(aws: Emulator, ecr: Any) -> None:
    repo = aws.ecr.repository(NAME)
    image = repo.push_image(("v1",))
    repo.push_index([image], ("multi",))
    repo.push_signature(image)
    repo.archive(repo.push_image(("cold",)))
    repo.pull("v1")
    definition = aws.ecs.register("web", {"web": f"{repo.uri}:v1"})
    service = aws.ecs.service("web", definition, count=2)
    task = aws.ecs.run(definition)[0]
    ecs = aws.client("ecs")
    deployments = ecs.list_service_deployments(cluster="default", service=service)["serviceDeployments"]
    revisions = [entry["targetServiceRevisionArn"] for entry in deployments]
    model = botocore.session.get_session()
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("ecr", "DescribeImages", {"repositoryName": NAME, "filter": {"imageStatus": "ANY"}}),
        ("ecr", "DescribeRepositories", {}),
        ("ecr", "BatchGetImage", {"repositoryName": NAME, "imageIds": [{"imageTag": "v1"}, {"imageTag": "no"}]}),
        ("ecr", "ListImages", {"repositoryName": NAME}),
        ("ecr", "ListImageReferrers", {"repositoryName": NAME, "subjectId": {"imageDigest": image}}),
        ("ecs", "DescribeTasks", {"cluster": "default", "tasks": [task]}),
        ("ecs", "DescribeServices", {"cluster": "default", "services": [service]}),
        ("ecs", "DescribeTaskDefinition", {"taskDefinition": definition}),
        ("ecs", "ListServiceDeployments", {"cluster": "default", "service": service}),
        (
            "ecs",
            "DescribeServiceDeployments",
            {"serviceDeploymentArns": [d["serviceDeploymentArn"] for d in deployments]},
        ),
        ("ecs", "DescribeServiceRevisions", {"serviceRevisionArns": revisions}),
        ("ecs", "DescribeClusters", {"clusters": ["default"]}),
    ]
    for service_name, operation, parameters in asked:
        api: Any = aws._ecr_api if service_name == "ecr" else aws.ecs
        answer = api.operation(operation)(aws.account, "us-east-1", parameters)
        shape = model.get_service_model(service_name).operation_model(operation).output_shape
        assert list(strangers(answer, shape)) == [], operation


def strangers(value: Any, shape: Any, path: str = "") -> Any:
    """The members of an answer that the model does not have, or has of another type."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            if name not in shape.members:
                yield f"{path}.{name}"
            else:
                yield from strangers(inner, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for inner in value:
            yield from strangers(inner, shape.member, f"{path}[]")
    elif not isinstance(
        value, {"string": str, "timestamp": float, "boolean": bool, "map": dict}.get(shape.type_name, (int, float))
    ):
        yield f"{path} is {value!r}"


def test_faults_do_what_they_say_and_as_often(aws: Emulator, ecr: Any) -> None:
    aws.faults.add(Fault.denied("ecr", "DescribeRepositories", times=1, skip=1))
    ecr.describe_repositories()
    refused("AccessDeniedException", ecr.describe_repositories)
    ecr.describe_repositories()
    assert aws.calls.count("ecr", "DescribeRepositories") == 3
