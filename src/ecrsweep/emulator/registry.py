"""The state of the emulated ECR, and the direct way to build it: repositories, images, tags, who contains whom.

The rules that hold for every way in (API or Python) are here; what a request may say is in `ecr`.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from ecrsweep.emulator import manifests
from ecrsweep.emulator.clock import Clock
from ecrsweep.emulator.errors import AwsError
from ecrsweep.emulator.layers import Layers

RESTORE_TIME: Final = timedelta(minutes=20).total_seconds()
LAYERS_STAY: Final = timedelta(days=1)
"""How long a layer stays that no image has. A guess: AWS does not say."""
_SUFFIXES: Final = (("cn-", "amazonaws.com.cn"), ("eusc-", "amazonaws.eu"), ("", "amazonaws.com"))


@dataclass
class StoredImage:
    """One manifest in a repository. Times are seconds since the epoch."""

    digest: str
    manifest: str
    media_type: str
    pushed_at: float
    size: int
    tags: list[str] = field(default_factory=list)
    pulled_at: float | None = None
    artifact_type: str | None = None
    subject: str | None = None
    children: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    archived_at: float | None = None
    restored_at: float | None = None
    archived: bool = False

    def status(self, now: float) -> str:
        """ACTIVE, ARCHIVED, or ACTIVATING for some time after a restore began."""
        if self.archived:
            return "ARCHIVED"
        restoring = self.restored_at is not None and now < self.restored_at + RESTORE_TIME
        return "ACTIVATING" if restoring else "ACTIVE"


class Repository:
    """One repository, and the direct way to fill it."""

    def __init__(
        self, name: str, account: str, region: str, clock: Clock, layers_stay: Callable[[], timedelta] = lambda: LAYERS_STAY
    ) -> None:  # fmt: skip
        """An empty repository."""
        self.name, self.account, self.region = name, account, region
        self.created_at = clock.seconds
        self.mutability = "MUTABLE"
        self.tags_of_resource: dict[str, str] = {}
        self.policies: dict[str, str] = {}
        self.by_digest: dict[str, StoredImage] = {}
        self.by_tag: dict[str, str] = {}
        self.lock = threading.RLock()
        self.layers = Layers(clock, lambda: layers_stay().total_seconds())
        self._clock = clock
        self._seeds = itertools.count()

    @property
    def uri(self) -> str:
        """Host and name."""
        suffix = next(suffix for prefix, suffix in _SUFFIXES if self.region.startswith(prefix))
        return f"{self.account}.dkr.ecr.{self.region}.{suffix}/{self.name}"

    @property
    def arn(self) -> str:
        """The resource name."""
        partition = "aws-cn" if self.region.startswith("cn-") else "aws"
        return f"arn:{partition}:ecr:{self.region}:{self.account}:repository/{self.name}"

    def push(
        self,
        manifest: dict[str, Any] | bytes | str,
        tags: Sequence[str] = (),
        *,
        media_type: str | None = None,
        pushed_at: datetime | None = None,
        pulled_at: datetime | None = None,
        size: int | None = None,
    ) -> str:
        """Push a manifest, and move tags to it; the digest. A tag that moves leaves the old image untagged.

        Nothing is checked: whatever layers it names are here from now on.
        """  # fmt: skip
        text = manifests.encoded(manifest)
        digest = manifests.digest_of_manifest(text)
        with self.lock:
            if digest not in self.by_digest:
                pushed = self._clock.seconds if pushed_at is None else pushed_at.timestamp()
                stored = self.by_digest[digest] = self._stored(digest, text, media_type, pushed, size)
                self.layers.taken(stored.layers)
            if pulled_at is not None:
                self.by_digest[digest].pulled_at = pulled_at.timestamp()
            for tag in tags:
                self.tag(tag, digest)
        return digest

    def push_image(self, tags: Sequence[str] = (), *, media_type: str = manifests.OCI_IMAGE, **rest: Any) -> str:
        """Push an image unlike any other; `shared` are the layers that others may have too (`manifests.image_manifest`)."""
        seed = rest.pop("seed", f"{self.uri} {next(self._seeds)}")
        size = rest.get("size") or 10_000_000
        made = manifests.image_manifest(
            seed, media_type=media_type, subject=rest.pop("subject", None), artifact_type=rest.pop("artifact_type", None),
            size=size, shared=rest.pop("shared", None),
        )  # fmt: skip
        return self.push(made, tags, **rest)

    def push_index(
        self,
        children: Sequence[str],
        tags: Sequence[str] = (),
        *,
        media_type: str = manifests.OCI_INDEX,
        **rest: Any,
    ) -> str:
        """Push an index of these children."""
        made = manifests.index_manifest(
            children, media_type=media_type, subject=rest.pop("subject", None), note=rest.pop("note", ""),
            attestations=rest.pop("attestations", ()),
        )  # fmt: skip
        return self.push(made, tags, **rest)

    def push_signature(self, subject: str, style: str = "oci", **rest: Any) -> str:
        """Push a signature of an image, by subject ("oci") or under the tag that cosign uses ("cosign-tag")."""
        if style == "oci":
            return self.push_image(
                subject=subject, artifact_type="application/vnd.dev.cosign.artifact.sig.v1+json", **rest
            )
        return self.push_image(tags=(subject.replace(":", "-") + ".sig",), **rest)

    def images(self) -> list[StoredImage]:
        """All images, in the order in which they were first pushed."""
        with self.lock:
            return list(self.by_digest.values())

    def digest_of(self, tag: str) -> str:
        """What a tag names."""
        return self.by_tag[tag]

    def pull(self, tag_or_digest: str, at: datetime | None = None) -> str:
        """Pull an image, as docker would: its pull time moves. Raises `AwsError` for one that cannot be pulled."""
        with self.lock:
            image = self.by_digest.get(self.by_tag.get(tag_or_digest, tag_or_digest))
            if image is None or image.status(self._clock.seconds) != "ACTIVE":
                raise AwsError("ImageNotFoundException", f"{tag_or_digest} cannot be pulled", 404)
            image.pulled_at = self._clock.seconds if at is None else at.timestamp()
            return image.digest

    def archive(self, digest: str) -> None:
        """Put an image into the archive."""
        with self.lock:
            image = self.by_digest[digest]
            image.archived, image.archived_at = True, self._clock.seconds

    def tag(self, tag: str, digest: str) -> None:
        """Move a tag."""
        with self.lock:
            if tag in self.by_tag:
                self.by_digest[self.by_tag[tag]].tags.remove(tag)
            self.by_tag[tag] = digest
            self.by_digest[digest].tags.append(tag)

    def untag(self, tag: str) -> None:
        """Take a tag away; the last one takes its image along."""
        with self.lock:
            image = self.by_digest[self.by_tag.pop(tag)]
            image.tags.remove(tag)
            if not image.tags:
                del self.by_digest[image.digest]
                self.layers.left(image.layers)

    def remove(self, digest: str) -> None:
        """Delete an image and all its tags."""
        with self.lock:
            image = self.by_digest.pop(digest)
            for tag in image.tags:
                del self.by_tag[tag]
            self.layers.left(image.layers)

    def containing(self, digest: str) -> Iterator[str]:
        """The digests of the indexes here that contain a manifest."""
        return (image.digest for image in self.by_digest.values() if digest in image.children)

    def _stored(self, digest: str, text: str, media_type: str | None, pushed: float, size: int | None) -> StoredImage:
        found = manifests.contents(text, media_type)
        held = [self.by_digest[child].size for child in found.children if child in self.by_digest]
        return StoredImage(
            digest=digest,
            manifest=text,
            media_type=found.media_type,
            pushed_at=pushed,
            size=size if size is not None else max(held, default=found.size),
            artifact_type=found.artifact_type,
            subject=found.subject,
            children=found.children,
            layers=found.layers,
        )


class EcrState:
    """All registries: repositories by account, region and name."""

    def __init__(self, clock: Clock, account: str, region: str) -> None:
        """`account` and `region` are meant where none is given."""
        self.clock = clock
        self.layers_stay = LAYERS_STAY
        self.exclusions: dict[tuple[str, str], dict[str, float]] = {}
        self.registry_policies: dict[tuple[str, str], str] = {}
        self.replication: dict[tuple[str, str], list[dict[str, Any]]] = {}
        """Policies and rules of registries, by account and region."""
        self._account, self._region = account, region
        self._lock = threading.RLock()
        self._repositories: dict[tuple[str, str], dict[str, Repository]] = {}

    def repository(self, name: str, *, account: str | None = None, region: str | None = None) -> Repository:
        """The repository of this name, made where there is none."""
        held = self.registry(account or self._account, region or self._region)
        with self._lock:
            if name not in held:
                place = account or self._account, region or self._region
                held[name] = Repository(name, *place, self.clock, lambda: self.layers_stay)
            return held[name]

    def registry(self, account: str, region: str) -> dict[str, Repository]:
        """The repositories of a registry, by name."""
        with self._lock:
            return self._repositories.setdefault((account, region), {})

    def expire_layers(self) -> None:
        """Let the layers go, everywhere, that no image has."""
        for registry in list(self._repositories.values()):
            for repository in registry.values():
                with repository.lock:
                    repository.layers.expire()

    def resolve(self, image: str) -> str | None:
        """The digest that a full image name means now; None where it means nothing here."""
        named, _, digest = image.partition("@")
        host, _, rest = named.partition("/")
        parts = host.replace("dkr-ecr", "dkr.ecr").split(".")
        if len(parts) < 4 or not rest:  # noqa: PLR2004 - account.dkr.ecr.region
            return None
        path, _, tag = rest.partition(":")
        repository = self.registry(parts[0], parts[3]).get(path)
        if repository is None:
            return None
        found = digest or repository.by_tag.get(tag or "latest")
        return found if found in repository.by_digest else None

    def pulled(self, image: str) -> None:
        """Note that something pulled a full image name."""
        digest = self.resolve(image)
        if digest is not None:
            parts = image.replace("dkr-ecr", "dkr.ecr").split(".")
            path = image.partition("/")[2].partition("@")[0].partition(":")[0]
            self.registry(parts[0], parts[3])[path].by_digest[digest].pulled_at = self.clock.seconds
