"""The emulated registries as docker's kind of client sees them: pushes, pulls, layers that come and go, and what CloudTrail tells."""

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.manifests import OCI_IMAGE, OCI_INDEX, index_manifest
from tests.content.registry import Manifest, Refused, Registry, digest_of

NAME = "team/app"


@pytest.fixture
def registry(aws: Emulator) -> Registry:
    aws.ecr.repository(NAME)
    return Registry(aws.url.removeprefix("http://"))


def image(registry: Registry, text: str = "layer", **more: Any) -> Manifest:
    """An image manifest around blobs that are there."""
    config, layer = b"{}", text.encode()
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": registry.upload(NAME, config),
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": registry.upload(NAME, layer),
                "size": len(layer),
            }
        ],
    }
    return Manifest(json.dumps(body | more).encode(), OCI_IMAGE)


def index(*children: str) -> Manifest:
    return Manifest(json.dumps(index_manifest(children)).encode(), OCI_INDEX)


def refused(code: str, status: int, registry: Registry, method: str, path: str, body: bytes | None = None) -> None:
    with pytest.raises(Refused) as caught:
        registry.ask(method, path, body)
    assert (caught.value.codes, caught.value.status) == ([code], status)


def records(aws: Emulator) -> list[tuple[Any, ...]]:
    """Who pulled what, and the error, the first first."""
    found = [
        (record["userIdentity"]["arn"], record["requestParameters"]["imageIds"][0], record.get("errorCode"))
        for record in aws.trail.records()
    ]
    return found[::-1]


def test_what_was_pushed_is_pulled_byte_for_byte_by_tag_and_by_digest(aws: Emulator, registry: Registry) -> None:
    assert registry.ask("GET", "").headers["docker-distribution-api-version"] == "registry/2.0"
    made = image(registry)
    digest = registry.push(NAME, made, "v1", "v2")
    assert digest == digest_of(made.content) == aws.ecr.repository(NAME).digest_of("v1")
    for reference in ("v1", "v2", digest):
        assert registry.manifest(NAME, reference) == made
    assert registry.blob(NAME, made.blobs[1]) == b"layer"
    assert registry.tags(NAME) == ["v1", "v2"]
    assert aws.ecr.repository(NAME).images()[0].size == len(b"layer")


def test_head_tells_the_length_and_sends_no_body(registry: Registry) -> None:
    made = image(registry)
    registry.push(NAME, made, "v1")
    found = registry.ask("HEAD", f"{NAME}/manifests/v1")
    assert found.headers["docker-content-digest"] == made.digest
    assert (found.headers["content-length"], found.body) == (str(len(made.content)), b"")


def test_tags_come_in_pages_where_the_client_wants_pages(aws: Emulator, registry: Registry) -> None:
    for number in range(5):
        aws.ecr.repository(NAME).push_image((f"v{number}",))
    seen, path = [], f"/v2/{NAME}/tags/list?n=2"
    while path:
        answer = registry.ask("GET", path)
        seen.append(json.loads(answer.body)["tags"])
        path = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert seen == [["v0", "v1"], ["v2", "v3"], ["v4"]]


def test_a_layer_is_uploaded_at_once_in_parts_in_chunks_or_taken_from_another_repository(
    aws: Emulator, registry: Registry
) -> None:
    aws.ecr.repository("team/other")
    at_once, in_parts = digest_of(b"one"), digest_of(b"twothree")
    registry.ask("POST", f"{NAME}/blobs/uploads/?digest={at_once}", b"one")
    path = registry.ask("POST", f"{NAME}/blobs/uploads/").headers["location"]
    assert registry.ask("PATCH", path, b"two").headers["range"] == "0-2"
    registry.ask("PATCH", path, (part for part in (b"th", b"ree")))  # type: ignore[arg-type]  # sent in chunks
    registry.ask("PUT", f"{path}?digest={in_parts}", b"")
    assert (registry.blob(NAME, at_once), registry.blob(NAME, in_parts)) == (b"one", b"twothree")
    assert registry.ask("POST", f"team/other/blobs/uploads/?mount={at_once}&from={NAME}").status == 201
    assert registry.blob("team/other", at_once) == b"one"
    assert registry.ask("POST", f"team/other/blobs/uploads/?mount={digest_of(b'?')}&from={NAME}").status == 202
    refused("BLOB_UNKNOWN", 404, registry, "GET", f"team/other/blobs/{in_parts}")
    refused("BLOB_UPLOAD_UNKNOWN", 404, registry, "PUT", f"{path}?digest={in_parts}", b"")


def test_what_does_not_fit_its_digest_is_refused(registry: Registry) -> None:
    refused("DIGEST_INVALID", 400, registry, "POST", f"{NAME}/blobs/uploads/?digest={digest_of(b'one')}", b"two")
    made = image(registry)
    refused("DIGEST_INVALID", 400, registry, "PUT", f"{NAME}/manifests/{digest_of(b'other')}", made.content)
    refused("MANIFEST_INVALID", 400, registry, "PUT", f"{NAME}/manifests/v1", b"\xff")


def test_what_is_not_there_and_what_cannot_be_done_is_said_as_docker_reads_it(registry: Registry) -> None:
    refused("NAME_UNKNOWN", 404, registry, "GET", "nobody/nothing/tags/list")
    refused("MANIFEST_UNKNOWN", 404, registry, "GET", f"{NAME}/manifests/gone")
    refused("UNSUPPORTED", 405, registry, "DELETE", f"{NAME}/manifests/gone")
    made = image(registry)
    layers = json.dumps(made.body | {"layers": [{"digest": digest_of(b"never"), "size": 5}]}).encode()
    refused("MANIFEST_BLOB_UNKNOWN", 404, registry, "PUT", f"{NAME}/manifests/v1", layers)
    orphaned = index(digest_of(b"no child"))
    refused("MANIFEST_BLOB_UNKNOWN", 404, registry, "PUT", f"{NAME}/manifests/v1", orphaned.content)


def test_a_fault_and_an_immutable_tag_are_said_as_docker_reads_it(aws: Emulator, registry: Registry) -> None:
    registry.push(NAME, image(registry), "v1")
    aws.ecr.repository(NAME).mutability = "IMMUTABLE"
    registry.push(NAME, image(registry), "v1")
    refused("TAG_INVALID", 400, registry, "PUT", f"{NAME}/manifests/v1", image(registry, "other").content)
    aws.faults.add(Fault.error("distribution", "GetManifest", "ThrottlingException", "Rate exceeded"))
    refused("TOOMANYREQUESTS", 429, registry, "GET", f"{NAME}/manifests/v1")


def test_a_referrer_is_acknowledged(aws: Emulator, registry: Registry) -> None:
    subject = registry.push(NAME, image(registry), "v1")
    made = image(registry, "signature", subject={"digest": subject}, artifactType="application/vnd.sig")
    answer = registry.ask("PUT", f"{NAME}/manifests/{made.digest}", made.content, Content_Type=OCI_IMAGE)
    assert answer.headers["oci-subject"] == subject
    assert aws.ecr.repository(NAME).by_digest[made.digest].subject == subject


def test_the_host_name_says_which_registry_and_so_does_one_before_the_repository(aws: Emulator) -> None:
    abroad = aws.ecr.repository(NAME, account="210987654321", region="eu-west-1")
    digest = abroad.push_image(("v1",))
    address = aws.url.removeprefix("http://")
    by_host = Registry(address, {"Host": f"{abroad.uri.partition('/')[0]}:443"})
    assert by_host.manifest(NAME, "v1").digest == digest
    assert Registry(address).manifest(abroad.uri, "v1").digest == digest
    assert [(call.account, call.region) for call in aws.calls.log] == [("210987654321", "eu-west-1")] * 2
    refused("NAME_UNKNOWN", 404, Registry(address), "GET", f"{NAME}/manifests/v1")
    path = Registry(address).ask("POST", f"{abroad.uri}/blobs/uploads/").headers["location"]
    Registry(address).ask("PUT", f"{path}?digest={digest_of(b'one')}", b"one")
    assert by_host.blob(NAME, digest_of(b"one")) == b"one"


def test_each_pull_moves_the_pull_time_and_is_one_event_of_whoever_pulls(aws: Emulator, registry: Registry) -> None:
    child = registry.push(NAME, image(registry))
    parent = registry.push(NAME, index(child), "v1")
    aws.clock.advance(timedelta(hours=1))
    dana = Registry(registry.address, {"Authorization": f"Basic {b64encode(b'AWS:user/dana').decode()}"})
    dana.manifest(NAME, "v1")
    images = {image.digest: image for image in aws.ecr.repository(NAME).images()}
    assert images[parent].pulled_at == aws.clock.seconds
    assert images[child].pulled_at is None, "it was not asked for"
    aws.clock.advance(timedelta(seconds=1))
    registry.manifest(NAME, child)
    assert images[child].pulled_at == aws.clock.seconds
    assert records(aws) == [
        ("arn:aws:iam::123456789012:user/dana", {"imageTag": "v1"}, None),
        ("arn:aws:sts::123456789012:assumed-role/node/docker", {"imageDigest": child}, None),
    ]


def test_an_archived_image_is_not_found_until_it_is_restored_and_who_missed_it_stands_in_the_trail(
    aws: Emulator, registry: Registry
) -> None:
    made = image(registry)
    digest = registry.push(NAME, made, "v1")
    ecr: Any = aws.client("ecr")
    ecr.update_image_storage_class(repositoryName=NAME, imageId={"imageDigest": digest}, targetStorageClass="ARCHIVE")
    refused("MANIFEST_UNKNOWN", 404, registry, "GET", f"{NAME}/manifests/v1")
    assert registry.tags(NAME) == []
    aws.clock.advance(timedelta(minutes=1))
    ecr.update_image_storage_class(repositoryName=NAME, imageId={"imageDigest": digest}, targetStorageClass="STANDARD")
    refused("MANIFEST_UNKNOWN", 404, registry, "GET", f"{NAME}/manifests/{digest}")
    aws.clock.advance(timedelta(minutes=20))
    assert registry.manifest(NAME, "v1") == made
    assert [(asked, error) for _, asked, error in records(aws)] == [
        ({"imageTag": "v1"}, "ImageNotFoundException"),
        ({"imageDigest": digest}, "ImageNotFoundException"),
        ({"imageTag": "v1"}, None),
    ]


def put(aws: Emulator, manifest: Manifest) -> str:
    """Push by ECR's own API; "" where that went well, or else the code."""
    try:
        aws.client("ecr").put_image(
            repositoryName=NAME, imageManifest=manifest.content.decode(), imageManifestMediaType=manifest.media_type
        )
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_a_layer_stays_while_an_image_has_it_and_a_while_after(aws: Emulator, registry: Registry) -> None:
    first, second = image(registry), image(registry, "second")
    shared = first.blobs[0]
    for made in (first, second):
        registry.push(NAME, made)
    repo = aws.ecr.repository(NAME)
    repo.remove(first.digest)
    aws.ecr.layers_stay = timedelta(hours=3)
    aws.clock.advance(timedelta(hours=2))
    assert put(aws, first) == "", "its layers are still there"
    repo.remove(first.digest)
    aws.clock.advance(timedelta(hours=4))
    assert put(aws, first) == "LayersNotFoundException"
    assert not registry.has_blob(NAME, first.blobs[1])
    assert registry.has_blob(NAME, shared), "the other image has it"
    registry.upload(NAME, b"layer")
    assert put(aws, first) == ""


def test_an_index_whose_child_is_gone_is_not_taken_back(aws: Emulator, registry: Registry) -> None:
    made = image(registry)
    parent = index(registry.push(NAME, made))
    registry.push(NAME, parent)
    for digest in (parent.digest, made.digest):
        aws.ecr.repository(NAME).remove(digest)
    assert put(aws, parent) == "ReferencedImagesNotFoundException"
    assert put(aws, made) == ""
    assert put(aws, parent) == ""


def test_unreferenced_layers_can_be_made_to_expire_at_once(aws: Emulator, registry: Registry) -> None:
    made = image(registry)
    registry.push(NAME, made, "v1")
    aws.ecr.expire_layers()
    assert registry.blob(NAME, made.blobs[1]) == b"layer"
    aws.client("ecr").batch_delete_image(repositoryName=NAME, imageIds=[{"imageTag": "v1"}])
    aws.ecr.expire_layers()
    assert put(aws, made) == "LayersNotFoundException"


def test_made_up_layers_count_as_there_until_their_image_is_gone_and_they_have_expired(
    aws: Emulator, registry: Registry
) -> None:
    repo = aws.ecr.repository(NAME)
    digest = repo.push_image(("v1",))
    made = registry.manifest(NAME, "v1")
    assert not registry.has_blob(NAME, made.blobs[0]), "nobody has its bytes"
    repo.remove(digest)
    assert put(aws, made) == ""
    repo.remove(digest)
    aws.ecr.expire_layers()
    assert put(aws, made) == "LayersNotFoundException"


def test_a_manifest_that_makes_no_sense_is_taken_by_the_api_as_it_is(aws: Emulator, registry: Registry) -> None:
    for text in ("[]", '{"manifests": 7, "config": 1, "subject": "x"}', '{"manifests": [{"digest": 1}, 2]}', "nothing"):
        assert put(aws, Manifest(text.encode(), OCI_INDEX)) == ""
    assert len(aws.ecr.repository(NAME).images()) == 4
