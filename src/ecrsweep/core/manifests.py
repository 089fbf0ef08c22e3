"""What a manifest names: the children of an index, the layers of an image, and every digest in a kind that nobody here knows.

Rests on the OCI image specification 1.1 and Docker's schema 2.
https://github.com/opencontainers/image-spec/blob/main/image-index.md and manifest.md there
"""

import re
from typing import Annotated, Final

import msgspec

from ecrsweep.core.errors import BadInput
from ecrsweep.core.images import IMAGE_TYPES, INDEX_TYPES, OCI_INDEX, Blob

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DOCKER_1: Final = "application/vnd.docker.distribution.manifest.v1+json"
_ABSENT: Final = msgspec.Raw()
_OCI_IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
# What a registry does not store: whoever pulls fetches it from where it may be distributed, as the layers of old Windows images.
_FOREIGN: Final = ("application/vnd.docker.image.rootfs.foreign.", "application/vnd.oci.image.layer.nondistributable.")


class Contents(msgspec.Struct, frozen=True):
    """What reading a manifest told: its media type, the digests it names as children, and what it stores.

    `blobs` None: it does not say so, or not in a way that is known here.
    """

    media_type: str
    children: tuple[str, ...]
    blobs: tuple[Blob, ...] | None = None


class _Descriptor(msgspec.Struct):
    digest: str


class _Stored(msgspec.Struct, rename="camel"):
    digest: Annotated[str, msgspec.Meta(min_length=1)]
    size: Annotated[int, msgspec.Meta(ge=0)]
    media_type: str = ""
    urls: list[str] | None = None

    @property
    def is_foreign(self) -> bool:
        return bool(self.urls) or self.media_type.startswith(_FOREIGN)


class _Image(msgspec.Struct):
    """An image manifest of Docker's schema 2 or of the OCI, or an artifact manifest, which has `blobs` and no configuration."""

    config: _Stored | None = None
    layers: list[_Stored] | None = None
    blobs: list[_Stored] | None = None


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
        return Contents(known, _children(raw), ())
    if known in IMAGE_TYPES:
        return Contents(known, (), _blobs(raw))
    return Contents(known, tuple(dict.fromkeys(_DIGEST.findall(raw))))


def _children(raw: str) -> tuple[str, ...]:
    try:
        body = msgspec.json.decode(raw, type=_Body)
    except msgspec.MsgspecError as error:
        raise BadInput(f"not an image index: {error}") from error
    if body.manifests is None:
        raise BadInput("not an image index: it has no list of manifests")
    return tuple(dict.fromkeys(child.digest for child in body.manifests))


def _blobs(raw: str) -> tuple[Blob, ...] | None:
    """The configuration and the layers that a registry stores, each once; None where no sizes are told, as by schema 1."""
    try:
        body = msgspec.json.decode(raw, type=_Image)
    except msgspec.MsgspecError:
        return None
    listed = body.layers if body.layers is not None else body.blobs
    if listed is None:
        return None
    found = {one.digest: Blob(one.digest, one.size) for one in listed if not one.is_foreign}
    if body.config is not None:
        found[body.config.digest] = Blob(body.config.digest, body.config.size)
    return tuple(found.values())


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
