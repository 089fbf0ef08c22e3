"""What a manifest names: the children of an index, and every digest in a kind that nobody here knows.

Rests on the OCI image specification 1.1 and Docker's schema 2.
https://github.com/opencontainers/image-spec/blob/main/image-index.md
"""

import re
from typing import Final

import msgspec

from ecrsweep.core.errors import BadInput
from ecrsweep.core.images import IMAGE_TYPES, INDEX_TYPES, OCI_INDEX

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DOCKER_1: Final = "application/vnd.docker.distribution.manifest.v1+json"
_ABSENT: Final = msgspec.Raw()
_OCI_IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"


class Contents(msgspec.Struct, frozen=True):
    """What reading a manifest told: its media type, and the digests it names as children."""

    media_type: str
    children: tuple[str, ...]


class _Descriptor(msgspec.Struct):
    digest: str


class _Body(msgspec.Struct, rename="camel"):
    schema_version: int | None = None
    media_type: str | None = None
    manifests: list[_Descriptor] | None = None
    config: msgspec.Raw = _ABSENT
    layers: msgspec.Raw = _ABSENT
    fs_layers: msgspec.Raw = _ABSENT


def read_manifest(raw: str, media_type: str | None) -> Contents:
    """The contents of a manifest as BatchGetImage returned it.

    `media_type` is what ECR says it is, None where it does not say. Raises `BadInput` for an index
    that does not follow its specification: what it holds is then not known.
    """
    known = media_type or _media_type_of(raw)
    if known in INDEX_TYPES:
        return Contents(known, _children(raw))
    if known in IMAGE_TYPES:
        return Contents(known, ())
    return Contents(known, tuple(dict.fromkeys(_DIGEST.findall(raw))))


def _children(raw: str) -> tuple[str, ...]:
    try:
        body = msgspec.json.decode(raw, type=_Body)
    except msgspec.MsgspecError as error:
        raise BadInput(f"not an image index: {error}") from error
    if body.manifests is None:
        raise BadInput("not an image index: it has no list of manifests")
    return tuple(dict.fromkeys(child.digest for child in body.manifests))


def _media_type_of(raw: str) -> str:
    """The media type that the manifest gives itself or, where it is silent, that its shape shows; "" where neither does."""
    try:
        body = msgspec.json.decode(raw, type=_Body)
    except msgspec.MsgspecError:
        return ""
    if body.media_type:
        return body.media_type
    if body.manifests is not None:
        return OCI_INDEX
    if bytes(body.config) and bytes(body.layers):
        return _OCI_IMAGE
    return _DOCKER_1 if body.schema_version == 1 and bytes(body.fs_layers) else ""
