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
