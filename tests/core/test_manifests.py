"""Manifests: what they contain, and what cannot be said of them."""

import json

import pytest

from ecrsweep.core.errors import BadInput
from ecrsweep.core.images import DOCKER_LIST, IMAGE_TYPES, OCI_INDEX
from ecrsweep.core.manifests import read_manifest
from tests.core.worlds import digest

INDEX = json.dumps(
    {"schemaVersion": 2, "manifests": [{"digest": digest(1)}, {"digest": digest(2)}], "subject": {"digest": digest(3)}}
)


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_contains_what_it_lists_and_not_its_subject(media_type: str) -> None:
    assert read_manifest(INDEX, media_type).children == (digest(1), digest(2))


@pytest.mark.parametrize(
    "raw", ["", "{", "[]", "{}", '{"manifests": 7}', '{"manifests": [{}]}', '{"manifests": [{"digest": 1}]}']
)
def test_an_index_that_does_not_follow_its_specification_is_refused(raw: str) -> None:
    with pytest.raises(BadInput):
        read_manifest(raw, OCI_INDEX)


@pytest.mark.parametrize("media_type", sorted(IMAGE_TYPES))
def test_images_contain_nothing(media_type: str) -> None:
    assert read_manifest(INDEX, media_type).children == ()


def test_of_an_unknown_kind_every_digest_counts() -> None:
    raw = f"whatever {digest(1)} and [{digest(2)}] and {digest(1)}"
    assert read_manifest(raw, "application/vnd.example").children == (digest(1), digest(2))


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        ({"mediaType": DOCKER_LIST, "manifests": []}, DOCKER_LIST),
        ({"manifests": [{"digest": digest(1)}]}, OCI_INDEX),
        ({"config": {}, "layers": []}, "application/vnd.oci.image.manifest.v1+json"),
        ({"schemaVersion": 1, "fsLayers": []}, "application/vnd.docker.distribution.manifest.v1+json"),
        ({"something": "else"}, ""),
    ],
)
def test_a_manifest_of_which_ecr_says_nothing_says_itself_what_it_is(body: dict[str, object], media_type: str) -> None:
    assert read_manifest(json.dumps(body), None).media_type == media_type


OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(2), "size": 20}
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(1), "size": 10}


def blobs(manifest: object) -> dict[str, int] | None:
    found = read_manifest(json.dumps(manifest), OCI_IMAGE).blobs
    return None if found is None else {blob.digest: blob.size for blob in found}


def test_an_image_stores_its_configuration_and_each_layer_once() -> None:
    assert blobs({"config": CONFIG, "layers": [LAYER, LAYER]}) == {digest(1): 10, digest(2): 20}


def test_an_artifact_manifest_stores_its_blobs() -> None:
    assert blobs({"blobs": [LAYER], "subject": {"digest": digest(3), "size": 5}}) == {digest(2): 20}


@pytest.mark.parametrize(
    "foreign",
    [
        {"urls": ["https://example.com/layer"]},
        {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"},
    ],
)
def test_layers_that_lie_elsewhere_are_not_stored(foreign: dict[str, object]) -> None:
    assert blobs({"config": CONFIG, "layers": [LAYER | foreign]}) == {digest(1): 10}


@pytest.mark.parametrize(
    "manifest",
    [
        {"schemaVersion": 1, "fsLayers": [{"blobSum": digest(1)}]},
        {"config": CONFIG, "layers": [{"digest": digest(2)}]},
        {"config": CONFIG, "layers": [{"digest": digest(2), "size": -1}]},
        {"config": CONFIG, "layers": [{"digest": digest(2), "size": "20"}]},
        {"config": CONFIG, "layers": [{"digest": "", "size": 1}]},
        {"config": CONFIG},
        [],
    ],
)
def test_a_manifest_that_does_not_tell_its_sizes_is_no_empty_one(manifest: object) -> None:
    assert blobs(manifest) is None


def test_an_index_stores_nothing_besides_itself_and_of_an_unknown_kind_nothing_is_known() -> None:
    assert read_manifest(INDEX, OCI_INDEX).blobs == ()
    assert read_manifest(INDEX, "application/vnd.example").blobs is None
