"""Images and what a repository holds, as ECR describes them.

Rests on DescribeImages and BatchGetImage. Knows nothing of uses, policies or decisions.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from ecrsweep.core.names import Repository

DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
INDEX_TYPES: Final = frozenset({DOCKER_LIST, OCI_INDEX})
IMAGE_TYPES: Final = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.artifact.manifest.v1+json",
    }
)

# The tag under which tools older than the `subject` field file a signature, SBOM or attestation.
_REFERRER_TAG: Final = re.compile(r"sha256-([0-9a-f]{64})(?![0-9a-f])")
_LIKE_A_REFERRER: Final = "sha256-"


class Kind(StrEnum):
    """What a manifest is, by its media type and subject."""

    IMAGE = "image"
    INDEX = "index"
    REFERRER = "referrer"
    UNKNOWN = "unknown"


_KINDS: Final[Mapping[str | None, Kind]] = {
    **dict.fromkeys(INDEX_TYPES, Kind.INDEX),
    **dict.fromkeys(IMAGE_TYPES, Kind.IMAGE),
}
"""Of the media types that are understood here."""


class Status(StrEnum):
    """The storage states of an image that are known (`imageStatus`); AWS may add others."""

    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"
    ACTIVATING = "ACTIVATING"


Moment = Annotated[float, msgspec.Meta(ge=0, lt=253_402_300_800)]
"""Seconds since the epoch, before the year 10000: what can be written as a date."""

_AS_ECR_SAYS: Final = {
    "digest": "imageDigest",
    "tags": "imageTags",
    "media_type": "imageManifestMediaType",
    "artifact_type": "artifactMediaType",
    "pushed_at": "imagePushedAt",
    "pulled_at": "lastRecordedPullTime",
    "size_bytes": "imageSizeInBytes",
    "subject": "subjectManifestDigest",
    "status": "imageStatus",
    "archived_at": "lastArchivedAt",
    "activated_at": "lastActivatedAt",
}


class Image(msgspec.Struct, frozen=True, gc=False, rename=_AS_ECR_SAYS):
    """One manifest in a repository. `pulled_at` leaves out our own reads; None means that no pull was recorded.

    Its fields are read under the names that DescribeImages gives them (`ImageDetail`).
    """

    digest: str
    tags: tuple[str, ...] = ()
    media_type: str | None = None
    artifact_type: str | None = None
    pushed_at: Moment | None = None
    pulled_at: Moment | None = None
    size_bytes: int = 0
    subject: str | None = None
    status: str = Status.ACTIVE
    archived_at: Moment | None = None
    activated_at: Moment | None = None
    """When it last came back from the archive."""

    @property
    def kind(self) -> Kind:
        """Unknown media types stay unknown whatever subject they name: we don't know what they mean."""
        kind = _KINDS.get(self.media_type)
        if kind is None:
            return Kind.UNKNOWN
        if self.may_refer and (self.subject is not None or self.refers_by_tag_alone):
            return Kind.REFERRER
        return kind

    @property
    def is_known(self) -> bool:
        """True where its media type is one that is understood here."""
        return self.media_type in _KINDS

    @property
    def needs_reading(self) -> bool:
        """True for the manifests that may name other manifests: indexes and unknown kinds."""
        return self.media_type not in IMAGE_TYPES

    @property
    def may_refer(self) -> bool:
        """False for the many of which it is plain that they say nothing about another manifest."""
        if self.subject is not None:
            return True
        for tag in self.tags:  # noqa: SIM110 - this is asked of every image, and a generator costs three times as much
            if tag.startswith(_LIKE_A_REFERRER):
                return True
        return False

    @property
    def refers_by_tag_alone(self) -> bool:
        """True where every tag is of the form `sha256-<hex>...`: a tag of another form makes it an image of its own."""
        return bool(self.tags) and all(names_a_subject(tag) for tag in self.tags)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The digests that this manifest says something about: by its subject field and by its tags."""
        found = [self.subject] if self.subject is not None else []
        found += [f"sha256:{named[1]}" for tag in self.tags if (named := _REFERRER_TAG.match(tag))]
        return tuple(dict.fromkeys(found))


def names_a_subject(tag: str) -> bool:
    """True for a tag of the form `sha256-<hex>...`, under which a signature, SBOM or attestation is filed."""
    return _REFERRER_TAG.match(tag) is not None


class Gap(msgspec.Struct, frozen=True):
    """Something of a repository that could not be read: what and why, and the IAM action that was refused, if one was."""

    error: str
    action: str | None = None


class Blob(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A layer or configuration in a repository: stored once, however many manifests name it. Its size in bytes."""

    digest: str
    size: int


class Layers(msgspec.Struct, frozen=True):
    """What the manifests of a repository store, each by its digest; why that is not known is in `unread`."""

    blobs: dict[str, tuple[Blob, ...]]
    unread: dict[str, str]


class OwnReads(msgspec.Struct, frozen=True):
    """How many manifests were last read by ourselves: a real pull within a day of that may hide behind it."""

    indexes: int = 0
    images: int = 0

    def __add__(self, other: "OwnReads") -> "OwnReads":
        """Field by field."""
        return OwnReads(self.indexes + other.indexes, self.images + other.images)


class Inventory(msgspec.Struct, frozen=True):
    """What one repository holds at one moment.

    `edges` are the digests that each index or unknown manifest names. Where there are `gaps`, nothing
    of the repository may go. `layers` None: nobody asked for them.
    """

    repository: Repository
    images: tuple[Image, ...]
    edges: dict[str, tuple[str, ...]]
    gaps: tuple[Gap, ...] = ()
    own_reads: OwnReads = OwnReads()
    layers: Layers | None = None
