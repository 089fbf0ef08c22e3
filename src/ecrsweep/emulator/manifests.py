"""Manifests as build tools write them: real JSON, real digests, deterministic by their seed. And what any manifest says.

https://github.com/opencontainers/image-spec/blob/main/manifest.md, and Docker's schema 1 and 2.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

DOCKER_1: Final = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_2: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT: Final = "application/vnd.oci.artifact.manifest.v1+json"

PLATFORMS: Final = (("linux", "amd64"), ("linux", "arm64"), ("linux", "arm"), ("linux", "s390x"))


def digest_of(content: bytes | str) -> str:
    """The digest of any content."""
    raw = content.encode() if isinstance(content, str) else content
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def digest_of_manifest(text: str) -> str:
    """The digest under which a registry has a manifest: of its text, but of a signed one of schema 1, of what was signed.

    So it is with every registry that follows the specification, and a client that pulls by digest checks it; of ECR
    nobody has written it down.
    https://github.com/distribution/distribution/blob/v2.8.2/docs/spec/manifest-v2-1.md#signed-manifests
    """
    try:
        body = json.loads(text)
        told = json.loads(_from_base64(body["signatures"][0]["protected"]))
        return digest_of(text.encode()[: told["formatLength"]] + _from_base64(told["formatTail"]))
    except (ValueError, KeyError, IndexError, TypeError):
        return digest_of(text)


def _from_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def image_manifest(
    seed: str,
    *,
    media_type: str = OCI_IMAGE,
    subject: str | None = None,
    artifact_type: str | None = None,
    size: int = 10_000_000,
    shared: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """An image manifest of one layer, unlike that of any other seed, upon layers that any image may have: `shared`, sizes by seed.

    `size` is that of all layers together.
    """  # fmt: skip
    config = (
        "application/vnd.docker.container.image.v1+json"
        if media_type == DOCKER_2
        else "application/vnd.oci.image.config.v1+json"
    )
    layer = (
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
        if media_type == DOCKER_2
        else "application/vnd.oci.image.layer.v1.tar+gzip"
    )
    below = dict(shared or {})
    sizes = below | {seed: size - sum(below.values())}
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config, "digest": digest_of(f"config {seed}"), "size": 1500},
        "layers": [
            {"mediaType": layer, "digest": digest_of(f"layer {of}"), "size": size} for of, size in sizes.items()
        ],
    }
    return manifest | _optional(subject, artifact_type)


def schema_1_manifest(seed: str) -> dict[str, Any]:
    """A manifest of Docker's first schema."""
    return {
        "schemaVersion": 1, "name": "app", "tag": "old", "architecture": "amd64",
        "fsLayers": [{"blobSum": digest_of(f"layer {seed}")}], "history": [{"v1Compatibility": "{}"}],
    }  # fmt: skip


def artifact_manifest(seed: str, subject: str | None = None) -> dict[str, Any]:
    """An artifact manifest as the OCI once had them."""
    blob = {"mediaType": "application/octet-stream", "digest": digest_of(f"blob {seed}"), "size": 10}
    return {"mediaType": OCI_ARTIFACT, "artifactType": "application/vnd.example", "blobs": [blob]} | _optional(
        subject, None
    )


def index_manifest(
    children: Sequence[str],
    *,
    media_type: str = OCI_INDEX,
    subject: str | None = None,
    note: str = "",
    attestations: Iterable[str] = (),
) -> dict[str, Any]:
    """An index of these children, each of another platform; attestations stand in it as BuildKit writes them."""  # fmt: skip
    of_image = DOCKER_2 if media_type == DOCKER_LIST else OCI_IMAGE
    entries = [
        {
            "mediaType": of_image, "digest": digest, "size": 1000,
            "platform": dict(zip(("os", "architecture"), PLATFORMS[number % len(PLATFORMS)], strict=True)),
        }
        for number, digest in enumerate(children)
    ]  # fmt: skip
    entries += [
        {
            "mediaType": of_image, "digest": digest, "size": 500,
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
        }
        for digest in attestations
    ]  # fmt: skip
    manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return manifest | _optional(subject, None) | ({"annotations": {"note": note}} if note else {})


def encoded(manifest: dict[str, Any] | bytes | str) -> str:
    """The text of a manifest, as it is pushed."""
    if isinstance(manifest, bytes):
        return manifest.decode()
    return manifest if isinstance(manifest, str) else json.dumps(manifest, separators=(",", ":"))


@dataclass(frozen=True)
class Contents:
    """What a manifest says of itself: `layers` are the digests of its configuration and of all other blobs that it needs."""

    media_type: str
    artifact_type: str | None
    subject: str | None
    children: tuple[str, ...]
    layers: tuple[str, ...]
    size: int


def contents(text: str, media_type: str | None = None) -> Contents:
    """What a manifest says. `media_type` is what the push called it. One that makes no sense says nothing."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    body: dict[str, Any] = found if isinstance(found, dict) else {}
    kind = media_type or body.get("mediaType") or DOCKER_1
    config, layers = _described(body, "config"), _described(body, "layers")
    subject = _digests(_described(body, "subject"))
    return Contents(
        media_type=kind,
        artifact_type=body.get("artifactType") or (config[0].get("mediaType") if config else None),
        subject=subject[0] if subject else None,
        children=_digests(_described(body, "manifests")) if kind in {OCI_INDEX, DOCKER_LIST} else (),
        layers=_digests([*config, *layers, *_described(body, "blobs")])
        + _digests(_described(body, "fsLayers"), "blobSum"),
        size=sum(layer.get("size", 0) for layer in layers),
    )


def _described(body: dict[str, Any], member: str) -> list[dict[str, Any]]:
    """The descriptors in a member, which is one or a list of them."""
    told = body.get(member)
    return [entry for entry in (told if isinstance(told, list) else [told]) if isinstance(entry, dict)]


def _digests(descriptors: Iterable[dict[str, Any]], member: str = "digest") -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry[member] for entry in descriptors if isinstance(entry.get(member), str)))


def _optional(subject: str | None, artifact_type: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if subject is not None:
        found["subject"] = {"mediaType": OCI_IMAGE, "digest": subject, "size": 1000}
    if artifact_type is not None:
        found["artifactType"] = artifact_type
    return found
