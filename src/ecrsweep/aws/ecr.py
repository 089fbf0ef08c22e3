"""One private registry over the ECR API (`ports.ImageStore`).

API: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/Welcome.html
Every list asks for images of any state; manifests are read for indexes and unknown kinds alone, others where
somebody asks for their layers, and each once in its life, because reading one moves its recorded pull time.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from ecrsweep.aws.ahead import seat_of_thread
from ecrsweep.aws.cache import ManifestCache, OwnRead
from ecrsweep.aws.decoding import image_of
from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import (
    AwsFailure,
    BadInput,
    LayersGone,
    Malformed,
    Missing,
    PartsGone,
    PolicyUnreadable,
    TagTaken,
)
from ecrsweep.core.images import (
    IMAGE_TYPES,
    INDEX_TYPES,
    Blob,
    Gap,
    Image,
    Inventory,
    Kind,
    Layers,
    OwnReads,
    Status,
)
from ecrsweep.core.manifests import Contents, read_manifest
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.sharing import Replica, replicas
from ecrsweep.ports import Deletion, Manifest, Place

READ_ACTIONS: Final = ("ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeRepositories")
NAMED_ACTIONS: Final = ("ecr:BatchGetImage", "ecr:DescribeImages")
"""What reading needs where the repository is known."""

OWNERS_ACTIONS: Final = ("tag:GetResources",)
SHARING_ACTIONS: Final = ("ecr:DescribeRegistry", "ecr:GetRegistryPolicy", "ecr:GetRepositoryPolicy")
"""What finding out who else may pull needs: replication rules, and the policies of registry and repositories."""

DELETE_ACTIONS: Final = ("ecr:BatchDeleteImage",)
ARCHIVE_ACTIONS: Final = ("ecr:UpdateImageStorageClass",)
PUSH_ACTIONS: Final = ("ecr:PutImage",)
GUARD_ACTIONS: Final = ("ecr:GetLifecyclePolicy",)
PREVIEW_ACTIONS: Final = ("ecr:GetLifecyclePolicyPreview", "ecr:StartLifecyclePolicyPreview")

PAGE: Final = 1000
BATCH: Final = 100
_OWN_READ_SLACK: Final = 2.0
_PREVIEW_WAITS: Final = (0.5, 1, 2, 4, *[10] * 30)
_READABLE_TYPES: Final = sorted(INDEX_TYPES | IMAGE_TYPES)


class EcrStore:
    """The images of one registry."""

    def __init__(self, place: Place, registry: Registry, cache: ManifestCache) -> None:
        """The registry of this place; `cache` knows what its indexes contain."""
        self.registry = registry
        self._place = place
        self._cache = cache

    def repository_names(self) -> Sequence[str]:
        """The names of all repositories (DescribeRepositories), sorted. Raises `AwsFailure`."""
        found = self._place.pages(
            "ecr", "describe_repositories", "repositories", registryId=self.registry.account, maxResults=PAGE
        )
        return sorted(repository["repositoryName"] for repository in found)

    def inventory(self, name: str, *, with_layers: bool = False) -> Inventory:
        """All images of a repository with what its indexes contain. Raises `Missing` where it is gone.

        `with_layers` also reads what each manifest stores. That comes last, so that it changes no decision.
        """
        repository = Repository(self.registry, name)
        images, ours = self._without_own_reads(repository, self._listed(name))
        reading = _Reading(self._place, self._cache, repository)
        contents = reading.contents([image for image in images.values() if image.needs_reading])
        held = reading.without_gone(_with_kinds(images, contents))
        layers = reading.layers(held) if with_layers else None
        held = reading.without_gone(held)
        edges = {digest: found.children for digest, found in contents.items() if found.children}
        return Inventory(repository, tuple(held), edges, tuple(reading.gaps), ours + reading.reads, layers)

    def _listed(self, name: str) -> dict[str, Image]:
        """All images by digest. Where repositories are read ahead, a page is asked for when there is room for it."""
        seat, found = seat_of_thread(), dict[str, Image]()
        for details in self._place.page_by_page(
            "ecr", "describe_images", "imageDetails", lambda: seat.reserve(PAGE),
            maxResults=PAGE, **self._named(name), filter=_ANY,
        ):  # fmt: skip
            found |= _images(details)
            seat.give_back(PAGE - len(details))
        return found

    def lifecycle_policy(self, name: str) -> str | None:
        """The text of the lifecycle policy in place (GetLifecyclePolicy); None where there is none. Raises `AwsFailure`."""
        return self._text("get_lifecycle_policy", "lifecyclePolicyText", "LifecyclePolicyNotFound", **self._named(name))

    def repository_policy(self, name: str) -> str | None:
        """The text of a repository's own policy (GetRepositoryPolicy); None where it has none. Raises `AwsFailure`."""
        return self._text("get_repository_policy", "policyText", "RepositoryPolicyNotFound", **self._named(name))

    def registry_policy(self) -> str | None:
        """The text of the registry's policy (GetRegistryPolicy); None where it has none. Raises `AwsFailure`."""
        return self._text("get_registry_policy", "policyText", "RegistryPolicyNotFound")

    def replication(self) -> tuple[Replica, ...]:
        """The registries that get copies (DescribeRegistry), sorted. Raises `AwsFailure`."""
        action = "ecr:DescribeRegistry"
        answer = self._place.call("ecr", "describe_registry")
        try:
            return replicas(answer["replicationConfiguration"]["rules"])
        except (KeyError, TypeError, PolicyUnreadable) as error:
            raise Malformed(f"{action} in {self.registry.region} told of no rules: {error}", action=action) from error

    def previewed(self, name: str) -> dict[str, int]:
        """The rule that would expire each image, by digest, as AWS previews it (StartLifecyclePolicyPreview).

        Waits until the preview is there, five minutes at most. Raises `AwsFailure`.
        """
        try:
            self._place.call("ecr", "start_lifecycle_policy_preview", **self._named(name))
        except AwsFailure as failure:
            if code_of(failure) != "LifecyclePolicyPreviewInProgressException":
                raise
        for wait in _PREVIEW_WAITS:
            state = self._place.call("ecr", "get_lifecycle_policy_preview", **self._named(name), maxResults=1)["status"]
            if state == "COMPLETE":
                found = self._place.pages(
                    "ecr", "get_lifecycle_policy_preview", "previewResults", **self._named(name), maxResults=BATCH
                )
                return {entry["imageDigest"]: entry["appliedRulePriority"] for entry in found}
            if state != "IN_PROGRESS":
                break
            time.sleep(wait)
        raise AwsFailure(
            f"ecr:StartLifecyclePolicyPreview of {name} in {self.registry.region} came to no result: {state.lower()}",
            action="ecr:StartLifecyclePolicyPreview",
        )

    def describe(self, name: str, digests: Sequence[str]) -> dict[str, Image]:
        """These images as they are now (DescribeImages by digest); those that are gone are left out."""
        found: dict[str, Image] = {}
        for start in range(0, len(digests), BATCH):
            found |= _images(self._described(name, digests[start : start + BATCH]))
        return self._without_own_reads(Repository(self.registry, name), found)[0]

    def tagged(self, name: str, tag: str) -> Image | None:
        """The image that a tag names now, whatever its state (DescribeImages); None where it names none. Raises `AwsFailure`."""
        try:
            answer = self._place.call(
                "ecr", "describe_images", **self._named(name), imageIds=[{"imageTag": tag}], filter=_ANY
            )
        except Missing:
            return None
        found = self._without_own_reads(Repository(self.registry, name), _images(answer["imageDetails"]))[0]
        return next(iter(found.values()), None)

    def delete(self, name: str, digests: Sequence[str]) -> Sequence[Deletion]:
        """Delete at most 100 images by digest (BatchDeleteImage): one answer an image, whatever AWS left unsaid.

        An image that was not there any more counts as gone. Raises `AwsFailure` where the call as a whole failed.
        """
        answer = self._place.call("ecr", "batch_delete_image", **self._named(name), imageIds=_ids(digests))
        failures = {failure.get("imageId", {}).get("imageDigest"): failure for failure in answer.get("failures", [])}
        gone = {image.get("imageDigest") for image in answer.get("imageIds", [])}
        request = _request_of(answer)
        return [_deletion(digest, failures.get(digest), digest in gone, request) for digest in digests]

    def untag(self, name: str, tags: Sequence[tuple[str, str]]) -> Sequence[Deletion]:
        """Take at most 100 tags off (BatchDeleteImage), each from the digest that is named with it: one answer a tag.

        A tag that names something else by now is refused by ECR (`ImageTagDoesNotMatchDigest`), one that is not there any
        more counts as gone. ECR deletes an image with its last tag: the caller sees to it that another is there.
        """
        ids = [{"imageTag": tag, "imageDigest": digest} for tag, digest in tags]
        answer = self._place.call("ecr", "batch_delete_image", **self._named(name), imageIds=ids)
        failures = {failure.get("imageId", {}).get("imageTag"): failure for failure in answer.get("failures", [])}
        gone = {image.get("imageTag") for image in answer.get("imageIds", [])}
        request = _request_of(answer)
        return [_deletion(digest, failures.get(tag), tag in gone, request, tag) for tag, digest in tags]

    def archive(self, name: str, digest: str) -> Deletion:
        """Move one image into the archive (UpdateImageStorageClass); there is no call for several. Raises `AwsFailure`."""
        answer = self._move(name, digest, "ARCHIVE")
        return Deletion(digest, request=_request_of(answer))

    def restore(self, name: str, digest: str) -> str:
        """Bring one image back from the archive (UpdateImageStorageClass); its state then. Raises `AwsFailure`."""
        return str(self._move(name, digest, "STANDARD").get("imageStatus", ""))

    def manifests(self, name: str, images: Sequence[Image]) -> Sequence[Manifest]:
        """The manifests of at most 100 images, as just described (BatchGetImage), byte for byte. Noted as reads of our own.

        Raises `AwsFailure`.
        """
        return _Reading(self._place, self._cache, Repository(self.registry, name)).manifests(images)

    def push(self, name: str, manifest: Manifest, tag: str | None) -> None:
        """Push a manifest back (PutImage). One that is there already is no failure.

        Raises `LayersGone`, `PartsGone`, `TagTaken` and other `AwsFailure`.
        """
        named = {"imageTag": tag} if tag is not None else {}
        kind = {"imageManifestMediaType": manifest.media_type} if manifest.media_type else {}
        try:
            self._place.call(
                "ecr", "put_image", **self._named(name), imageManifest=manifest.content, imageDigest=manifest.digest,
                **named, **kind,
            )  # fmt: skip
        except AwsFailure as failure:
            code = code_of(failure)
            if code in _NOT_PUSHED:
                raise _NOT_PUSHED[code](str(failure), action=failure.action) from failure.__cause__
            if code != "ImageAlreadyExistsException":
                raise

    def owners_tags(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """The tags of the repositories that have one of these keys, by name (GetResources of the tagging API). Raises `AwsFailure`."""
        found: dict[str, dict[str, str]] = {}
        for key in keys:
            tagged = self._place.pages(
                "resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList",
                ResourceTypeFilters=["ecr:repository"], TagFilters=[{"Key": key}],
            )  # fmt: skip
            try:
                for resource in tagged:
                    name = resource["ResourceARN"].partition(":repository/")[2]
                    found[name] = {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
            except (KeyError, TypeError) as error:
                action = "tag:GetResources"
                raise Malformed(
                    f"{action} told of tags in a way that is not known here: {error!r}", action=action
                ) from error
        return found

    def _text(self, operation: str, key: str, absent: str, /, **parameters: object) -> str | None:
        """The text that a call tells; None where it tells that there is none."""
        try:
            told = self._place.call("ecr", operation, **parameters).get(key)
        except Missing as failure:
            if code_of(failure) == f"{absent}Exception":
                return None
            raise
        if not isinstance(told, str):
            raise Malformed(f"{operation} of ECR in {self.registry.region} answered without {key}")
        return told

    def _move(self, name: str, digest: str, target: str) -> dict[str, Any]:
        return self._place.call(
            "ecr", "update_image_storage_class", **self._named(name), imageId={"imageDigest": digest},
            targetStorageClass=target,
        )  # fmt: skip

    def _named(self, name: str) -> dict[str, Any]:
        return {"registryId": self.registry.account, "repositoryName": name}

    def _described(self, name: str, digests: Sequence[str]) -> Iterator[Image | Mapping[str, Any]]:
        """One image that is gone fails the whole call: look for it by halves."""
        try:
            answer = self._place.call(
                "ecr", "describe_images", **self._named(name), imageIds=_ids(digests), filter=_ANY
            )
            yield from answer["imageDetails"]
        except Missing as failure:
            if code_of(failure) == "RepositoryNotFoundException":
                return
            if len(digests) > 1:
                half = len(digests) // 2
                yield from self._described(name, digests[:half])
                yield from self._described(name, digests[half:])

    def _without_own_reads(self, repository: Repository, images: dict[str, Image]) -> tuple[dict[str, Image], OwnReads]:
        """The images with their pull times as they were before we read them ourselves, and how many that concerns."""
        ours = OwnReads()
        reads = self._cache.own_reads(repository)
        for digest in reads.keys() & images.keys():
            pulled = images[digest].pulled_at
            for read in reads[digest]:
                if pulled is not None and abs(pulled - read.read_at) <= _OWN_READ_SLACK:
                    images[digest] = msgspec.structs.replace(images[digest], pulled_at=read.pulled_before)
                    ours += _own_reads([images[digest]])
                    break
        return images, ours


class _Reading:
    """The reading of those manifests of a repository that nobody has read before."""

    def __init__(self, place: Place, cache: ManifestCache, repository: Repository) -> None:
        self._place = place
        self._cache = cache
        self._repository = repository
        self._blobs: dict[str, tuple[Blob, ...] | None] = {}
        self.gaps: list[Gap] = []
        self.gone: set[str] = set()
        self.reads = OwnReads()

    def without_gone(self, images: list[Image]) -> list[Image]:
        """The images but for those that reading showed to be gone."""
        return [image for image in images if image.digest not in self.gone] if self.gone else images

    def contents(self, images: Sequence[Image]) -> dict[str, Contents]:
        """What these manifests contain, from the cache or by reading them; the rest are in `gaps` and `gone`."""
        found = self._cache.contents([image.digest for image in images])
        read = self._readings(
            [image for image in images if image.digest not in found], "nobody noted before what it contains"
        )
        for reading in read:
            self.gaps += dict.fromkeys(reading.failures.values())  # a batch that fails as a whole is one gap
            self._cache.remember((digest, reading.contents[digest]) for digest in reading.lasting)
            found |= reading.contents
        return found

    def layers(self, images: Sequence[Image]) -> Layers:
        """What these manifests store, from the cache or by reading them. An index stores nothing besides itself."""
        plain = [image for image in images if image.media_type in IMAGE_TYPES]
        found = self._cache.layers([image.digest for image in plain]) | self._blobs
        unread = {
            image.digest: "it is of a kind that is not known here" for image in images if image.kind is Kind.UNKNOWN
        }
        left = [image for image in plain if image.digest not in found]
        for reading in self._readings(left, "nobody noted before which layers it has"):
            unread |= {digest: gap.error for digest, gap in reading.failures.items()}
            found |= {digest: contents.blobs for digest, contents in reading.contents.items()}
        unread |= {digest: "its manifest tells no sizes" for digest, blobs in found.items() if blobs is None}
        one_of_each: dict[Blob, Blob] = {}
        known = {
            digest: tuple(one_of_each.setdefault(blob, blob) for blob in blobs)
            for digest, blobs in found.items()
            if blobs is not None
        }
        indexes = {image.digest: () for image in images if image.media_type in INDEX_TYPES}
        return Layers(known | indexes, unread)

    def _readings(self, images: Sequence[Image], not_noted: str) -> Iterator["_Answer"]:
        """The answers for these manifests, a batch at a time; first those that cannot be asked for, in whatever state."""
        away = {
            image.digest: self._gap(image.digest, f"it is {image.status.lower()}, and {not_noted}")
            for image in images
            if image.status != Status.ACTIVE
        }
        if away:
            yield _Answer({}, away, ())
        there = [image for image in images if image.status == Status.ACTIVE]
        for start in range(0, len(there), BATCH):
            yield self._read(there[start : start + BATCH])

    def manifests(self, images: Sequence[Image]) -> list[Manifest]:
        """The manifests of at most 100 images, as far as they can be read. Raises `AwsFailure`."""
        active = [image for image in images if image.status == Status.ACTIVE]
        found = self._get(active).get("images", []) if active else []
        return [
            Manifest(entry["imageId"]["imageDigest"], entry.get("imageManifestMediaType"), entry["imageManifest"])
            for entry in found
            if entry.get("imageManifest")
        ]

    def _read(self, images: Sequence[Image]) -> "_Answer":
        try:
            answer = self._get(images)
        except AwsFailure as failure:
            gap = Gap(f"{self._repository.name}: {failure}", failure.action)
            return _Answer({}, dict.fromkeys((image.digest for image in images), gap), ())
        manifests = {entry["imageId"]["imageDigest"]: entry for entry in answer.get("images", [])}
        self.reads += _own_reads(image for image in images if image.digest in manifests)
        failures = {failure.get("imageId", {}).get("imageDigest"): failure for failure in answer.get("failures", [])}
        return self._understood(images, manifests, failures)

    def _get(self, images: Sequence[Image]) -> dict[str, Any]:
        """One BatchGetImage, noted as a read of our own. Raises `AwsFailure`."""
        types = sorted({*_READABLE_TYPES, *(image.media_type for image in images if image.media_type)})
        answer = self._place.call(
            "ecr", "batch_get_image",
            registryId=self._repository.registry.account, repositoryName=self._repository.name,
            imageIds=_ids(image.digest for image in images), acceptedMediaTypes=types,
        )  # fmt: skip
        self._note(images, answer)
        return answer

    def _understood(
        self, images: Sequence[Image], manifests: Mapping[str, Any], failures: Mapping[str | None, Any]
    ) -> "_Answer":
        found: dict[str, Contents] = {}
        gaps: dict[str, Gap] = {}
        lasting: list[str] = []
        for image in images:
            if image.digest in manifests:
                entry = manifests[image.digest]
                raw = entry.get("imageManifest", "")
                try:
                    found[image.digest] = read_manifest(raw, image.media_type or entry.get("imageManifestMediaType"))
                except BadInput as error:
                    gaps[image.digest] = self._gap(image.digest, str(error))
                    continue
                if f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == image.digest:
                    lasting.append(image.digest)
            elif failures.get(image.digest, {}).get("failureCode") == "ImageNotFound":
                self.gone.add(image.digest)
            else:
                failure = failures.get(image.digest, {})
                why = failure.get("failureReason") or failure.get("failureCode") or "no answer"
                gaps[image.digest] = self._gap(image.digest, why)
        blobs = {digest: contents.blobs for digest, contents in found.items() if contents.media_type in IMAGE_TYPES}
        self._blobs |= blobs
        self._cache.remember_layers((digest, blobs[digest]) for digest in lasting if digest in blobs)
        return _Answer(found, gaps, lasting)

    def _note(self, images: Sequence[Image], answer: Mapping[str, Any]) -> None:
        """Write down our own read, by the clock of AWS, with the pull times seen just before."""
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        try:
            read_at = parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError):
            return
        self._cache.note_reads(self._repository, (OwnRead(image.digest, read_at, image.pulled_at) for image in images))

    def _gap(self, digest: str, why: str) -> Gap:
        return Gap(f"{self._repository.name}: the manifest {digest} could not be read: {why}")


class _Answer(msgspec.Struct):
    """What reading a batch of manifests told. `lasting` are those whose bytes have their digest."""

    contents: dict[str, Contents]
    failures: dict[str, Gap]
    lasting: Sequence[str]


_ANY: Final = {"imageStatus": "ANY"}
_NOT_PUSHED: Final[Mapping[str, type[AwsFailure]]] = {
    "LayersNotFoundException": LayersGone,
    "ReferencedImagesNotFoundException": PartsGone,
    "ImageTagAlreadyExistsException": TagTaken,
}


def _ids(digests: Iterable[str]) -> list[dict[str, str]]:
    return [{"imageDigest": digest} for digest in digests]


def _own_reads(images: Iterable[Image]) -> OwnReads:
    """These images as a count of what we read ourselves."""
    needed = [image.needs_reading for image in images]
    return OwnReads(sum(needed), len(needed) - sum(needed))


def _images(details: Iterable[Image | Mapping[str, Any]]) -> dict[str, Image]:
    """Images by digest, as DescribeImages told them; an entry that comes on two pages counts once."""
    images = [detail if type(detail) is Image else image_of(detail) for detail in details]
    return {image.digest: image for image in images}


def _with_kinds(images: dict[str, Image], contents: Mapping[str, Contents]) -> list[Image]:
    """The images; where ECR does not say what a manifest is, the manifest itself may."""
    told = {
        digest: msgspec.structs.replace(images[digest], media_type=found.media_type or None)
        for digest, found in contents.items()
        if images[digest].media_type is None
    }
    return list((images | told).values() if told else images.values())


def _request_of(answer: Mapping[str, Any]) -> str | None:
    """AWS's word for a call, by which CloudTrail knows it."""
    request = answer.get("ResponseMetadata", {}).get("RequestId")
    return None if request is None else str(request)


def _deletion(
    digest: str,
    failure: Mapping[str, Any] | None,
    gone: bool,  # noqa: FBT001 - two facts of one answer
    request: str | None,
    tag: str | None = None,
) -> Deletion:
    if failure is not None:
        code = str(failure.get("failureCode", "unknown"))
        if code == "ImageNotFound":
            return Deletion(digest, tag=tag, request=request)
        return Deletion(digest, code, failure.get("failureReason"), tag, request)
    if gone:
        return Deletion(digest, tag=tag, request=request)
    return Deletion(digest, "NoAnswer", "AWS named it neither as deleted nor as refused", tag, request)
