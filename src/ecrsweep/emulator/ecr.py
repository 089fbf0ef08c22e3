"""The ECR API over the emulated registries: what a request may say, and how AWS answers it.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html and, where that is silent, what is
known of the service: an index protects its children, batches report failures inside a 200, reading moves pull times.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ecrsweep.emulator import manifests
from ecrsweep.emulator.errors import AwsError, invalid
from ecrsweep.emulator.lifecycle import preview
from ecrsweep.emulator.registry import EcrState, Repository, StoredImage

_Json = dict[str, Any]

_NAME: Final = re.compile(r"(?:[a-z0-9]+(?:[._-]+[a-z0-9]+)*/)*[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PAGE: Final = 100
_LARGEST_PAGE: Final = 1000
_LARGEST_BATCH: Final = 100
_SHORTEST_NAME: Final = 2
_LONGEST_NAME: Final = 256


class EcrApi:
    """The operations, one registry at a time: the account and region of the request."""

    def __init__(self, state: EcrState) -> None:
        """Operate on these registries."""
        self._state = state
        self._pages: dict[str, list[Any]] = {}

    def operation(self, name: str) -> Callable[[str, str, _Json], _Json] | None:
        """The method for an operation of the API; None for one that ECR does not have."""
        return {
            "BatchDeleteImage": self._batch_delete,
            "BatchGetImage": self._batch_get,
            "CreateRepository": self._create,
            "DeleteLifecyclePolicy": self._policy("lifecycle", "delete"),
            "DeleteRepository": self._delete_repository,
            "DeleteRepositoryPolicy": self._policy("access", "delete"),
            "DeregisterPullTimeUpdateExclusion": self._include,
            "DeleteRegistryPolicy": self._registry_policy("delete"),
            "DescribeImages": self._describe_images,
            "DescribeRegistry": self._describe_registry,
            "DescribeRepositories": self._describe_repositories,
            "GetLifecyclePolicy": self._policy("lifecycle", "get"),
            "GetLifecyclePolicyPreview": self._get_preview,
            "StartLifecyclePolicyPreview": self._start_preview,
            "GetRegistryPolicy": self._registry_policy("get"),
            "GetRepositoryPolicy": self._policy("access", "get"),
            "ListImageReferrers": self._list_referrers,
            "ListImages": self._list_images,
            "ListPullTimeUpdateExclusions": self._list_exclusions,
            "ListTagsForResource": self._list_tags,
            "PutImage": self._put_image,
            "PutImageTagMutability": self._put_mutability,
            "PutLifecyclePolicy": self._policy("lifecycle", "put"),
            "PutRegistryPolicy": self._registry_policy("put"),
            "PutReplicationConfiguration": self._put_replication,
            "RegisterPullTimeUpdateExclusion": self._exclude,
            "SetRepositoryPolicy": self._policy("access", "put"),
            "TagResource": self._tag_resource,
            "UntagResource": self._untag_resource,
            "UpdateImageStorageClass": self._update_storage_class,
        }.get(name)

    def _create(self, account: str, region: str, asked: _Json) -> _Json:
        name = asked.get("repositoryName", "")
        if not _SHORTEST_NAME <= len(name) <= _LONGEST_NAME or not _NAME.fullmatch(name):
            raise invalid(f"Invalid parameter at 'repositoryName' failed to satisfy constraint: '{name}'")
        if name in self._state.registry(account, region):
            raise AwsError(
                "RepositoryAlreadyExistsException",
                f"The repository with name '{name}' already exists in the registry with id '{account}'",
            )
        repository = self._state.repository(name, account=account, region=region)
        repository.mutability = asked.get("imageTagMutability", "MUTABLE")
        repository.tags_of_resource = {tag["Key"]: tag["Value"] for tag in asked.get("tags", ())}
        return {"repository": _described(repository)}

    def _describe_repositories(self, account: str, region: str, asked: _Json) -> _Json:
        held = self._registry(account, region, asked)
        names = asked.get("repositoryNames")
        if names is None:
            return self._page(asked, "repositories", lambda: [_described(held[name]) for name in sorted(held)])
        return {"repositories": [_described(_existing(held, name, account)) for name in names]}

    def _delete_repository(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        if repository.by_digest and not asked.get("force"):
            raise AwsError(
                "RepositoryNotEmptyException",
                f"The repository with name '{repository.name}' in registry with id '{account}' cannot be deleted because it still contains images",
            )
        del self._state.registry(account, region)[repository.name]
        return {"repository": _described(repository)}

    def _put_image(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        text, tag = asked["imageManifest"], asked.get("imageTag")
        media_type = asked.get("imageManifestMediaType")
        digest = manifests.digest_of_manifest(text)
        if asked.get("imageDigest") not in {None, digest}:
            raise AwsError("ImageDigestDoesNotMatchException", "The digest does not match that of the manifest")
        if tag is not None and not _TAG.fullmatch(tag):
            raise invalid(f"Invalid parameter at 'imageTag' failed to satisfy constraint: '{tag}'")
        with repository.lock:
            self._check_push(repository, digest, tag, text, media_type)
            repository.push(text, () if tag is None else (tag,), media_type=media_type)
            image = repository.by_digest[digest]
        found = {"imageDigest": digest} | ({} if tag is None else {"imageTag": tag})
        return {
            "image": _named(repository)
            | {"imageId": found, "imageManifest": text, "imageManifestMediaType": image.media_type}
        }

    def _check_push(
        self, repository: Repository, digest: str, tag: str | None, text: str, media_type: str | None
    ) -> None:
        held = repository.by_tag.get(tag) if tag else None
        if digest in repository.by_digest and (tag is None or held == digest):
            raise AwsError(
                "ImageAlreadyExistsException", f"Image with digest '{digest}' already exists in '{repository.name}'"
            )
        if held not in {None, digest} and repository.mutability.startswith("IMMUTABLE"):
            raise AwsError(
                "ImageTagAlreadyExistsException",
                f"The image tag '{tag}' already exists in the '{repository.name}' repository and cannot be overwritten because the tag is immutable.",
            )
        found = manifests.contents(text, media_type)
        missing = repository.layers.missing(found.layers)
        if missing:
            raise AwsError(
                "LayersNotFoundException",
                f"Layers with digests '[{', '.join(missing)}]' required for pushing image into repository with name "
                f"'{repository.name}' in the registry with id '{repository.account}' do not exist",
            )
        if any(child not in repository.by_digest for child in found.children):
            raise AwsError(
                "ReferencedImagesNotFoundException", "The manifest list is referencing an image that does not exist."
            )

    def _describe_images(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        now = self._state.clock.seconds
        ids = asked.get("imageIds")
        if ids is None:
            matches = _filter(asked.get("filter", {}), now)
            return self._page(
                asked, "imageDetails",
                lambda: [image.digest for image in repository.images() if matches(image)],
                lambda digest: _detail(repository, repository.by_digest[digest], now) if digest in repository.by_digest else None,
            )  # fmt: skip
        if {"nextToken", "maxResults"} & asked.keys():
            raise invalid("imageIds cannot be given together with nextToken or maxResults")
        _check_batch(ids)
        matches = _filter(asked.get("filter", {}), now)
        found = {image.digest: image for image in (_wanted(repository, wanted) for wanted in ids)}
        return {"imageDetails": [_detail(repository, image, now) for image in found.values() if matches(image)]}

    def _list_images(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        matches = _filter(asked.get("filter", {}), self._state.clock.seconds)

        def all_ids() -> list[_Json]:
            return [
                {"imageDigest": image.digest} | ({"imageTag": tag} if tag else {})
                for image in repository.images()
                if matches(image)
                for tag in (image.tags or [""])
            ]

        return self._page(asked, "imageIds", all_ids)

    def _list_referrers(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        subject = asked["subjectId"]["imageDigest"]
        wanted = asked.get("filter", {}).get("artifactStatus", "ACTIVE")
        types = asked.get("filter", {}).get("artifactTypes")
        now = self._state.clock.seconds
        return self._page(
            asked, "referrers",
            lambda: [
                {
                    "digest": image.digest, "mediaType": image.media_type, "artifactType": image.artifact_type or "",
                    "size": len(image.manifest), "artifactStatus": image.status(now),
                }
                for image in repository.images()
                if image.subject == subject and wanted in {"ANY", image.status(now)} and (not types or image.artifact_type in types)
            ],
        )  # fmt: skip

    def _batch_get(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        _check_batch(asked.get("imageIds", ()))
        now = self._state.clock.seconds
        images, failures = [], []
        with repository.lock:
            for wanted in asked["imageIds"]:
                failure = _bad_id(wanted)
                image = None if failure else _find(repository, wanted)
                if image is None or image.status(now) != "ACTIVE":
                    failures.append(failure or _failure(wanted, "ImageNotFound", "Requested image not found"))
                    continue
                if not self.excluded(account, region):
                    image.pulled_at = now
                found = {"imageDigest": image.digest} | (
                    {"imageTag": wanted["imageTag"]} if "imageTag" in wanted else {}
                )
                images.append(
                    _named(repository)
                    | {"imageId": found, "imageManifest": image.manifest, "imageManifestMediaType": image.media_type}
                )
        return {"images": images, "failures": failures}

    def excluded(self, account: str, region: str) -> bool:
        """Whether the reads of this account's role leave pull times alone."""
        return bool(self._state.exclusions.get((account, region)))

    def _batch_delete(self, account: str, region: str, asked: _Json, refused: Mapping[str, str] | None = None) -> _Json:
        repository = self._repository(account, region, asked)
        _check_batch(asked.get("imageIds", ()))
        gone, failures = [], []
        with repository.lock:
            for wanted in asked["imageIds"]:
                failure = _bad_id(wanted) or self._delete_failure(repository, wanted, refused or {})
                if failure is not None:
                    failures.append(failure)
                    continue
                gone += _deleted(repository, wanted)
        return {"imageIds": gone, "failures": failures}

    def _delete_failure(self, repository: Repository, wanted: _Json, refused: Mapping[str, str]) -> _Json | None:
        image = _find(repository, wanted, exact=False)
        if image is None:
            return _failure(wanted, "ImageNotFound", "Requested image not found")
        if "imageTag" in wanted and wanted.get("imageDigest") not in {None, image.digest}:
            return _failure(wanted, "ImageTagDoesNotMatchDigest", "The tag does not name the digest")
        code = refused.get(image.digest) or refused.get("*")
        if code is not None:
            return _failure(wanted, code, f"The image could not be deleted: {code}")
        goes = "imageTag" not in wanted or image.tags == [wanted["imageTag"]]
        holders = list(repository.containing(image.digest)) if goes else []
        if holders:
            why = f"Requested image referenced by manifest list: [{', '.join(holders)}]"
            return _failure(wanted, "ImageReferencedByManifestList", why)
        return None

    def delete_refusing(self, account: str, region: str, asked: _Json, refused: Mapping[str, str]) -> _Json:
        """BatchDeleteImage in which some images fail, as a fault asks."""
        return self._batch_delete(account, region, asked, refused)

    def _update_storage_class(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        image = _find(repository, asked["imageId"])
        now = self._state.clock.seconds
        if image is None:
            raise AwsError("ImageNotFoundException", "The image requested does not exist in the specified repository.")
        wanted = asked["targetStorageClass"]
        if wanted not in {"ARCHIVE", "STANDARD"}:
            raise AwsError("ValidationException", f"targetStorageClass {wanted}")
        if (wanted == "ARCHIVE") == image.archived or image.status(now) == "ACTIVATING":
            raise AwsError(
                "ImageStorageClassUpdateNotSupportedException",
                "The image is already in, or on its way to, that storage class.",
            )
        if wanted == "ARCHIVE":
            repository.archive(image.digest)
        else:
            image.archived, image.restored_at = False, now
        return _named(repository) | {"imageId": {"imageDigest": image.digest}, "imageStatus": image.status(now)}

    def _put_mutability(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        repository.mutability = asked["imageTagMutability"]
        return _named(repository) | {"imageTagMutability": repository.mutability}

    def _policy(self, kind: str, act: str) -> Callable[[str, str, _Json], _Json]:
        key, missing = {
            "lifecycle": ("lifecyclePolicyText", "LifecyclePolicyNotFoundException"),
            "access": ("policyText", "RepositoryPolicyNotFoundException"),
        }[kind]

        def operate(account: str, region: str, asked: _Json) -> _Json:
            repository = self._repository(account, region, asked)
            if act == "put":
                repository.policies[kind] = asked[key] if kind == "lifecycle" else _policy_text(asked)
            if kind not in repository.policies:
                raise AwsError(
                    missing, f"There is no {kind} policy on '{repository.name}' in the registry with id '{account}'"
                )
            text = repository.policies.pop(kind) if act == "delete" else repository.policies[kind]
            return _named(repository) | {key: text}

        return operate

    def _registry_policy(self, act: str) -> Callable[[str, str, _Json], _Json]:
        def operate(account: str, region: str, asked: _Json) -> _Json:
            held = self._state.registry_policies
            if act == "put":
                held[account, region] = _policy_text(asked)
            if (account, region) not in held:
                raise AwsError(
                    "RegistryPolicyNotFoundException",
                    f"Registry policy does not exist in the registry with id '{account}'",
                )
            text = held.pop((account, region)) if act == "delete" else held[account, region]
            return {"registryId": account, "policyText": text}

        return operate

    def _describe_registry(self, account: str, region: str, _: _Json) -> _Json:
        rules = self._state.replication.get((account, region), [])
        return {"registryId": account, "replicationConfiguration": {"rules": rules}}

    def _put_replication(self, account: str, region: str, asked: _Json) -> _Json:
        """Note the rules. Nothing is replicated: what a registry holds is what was pushed to it."""
        configuration = asked["replicationConfiguration"]
        targets = [target for rule in configuration["rules"] for target in rule["destinations"]]
        if {"region": region, "registryId": account} in targets:
            raise invalid(
                "Invalid parameter at 'replicationConfiguration' failed to satisfy constraint: "
                "'Replication destination cannot be the same as the source registry'"
            )
        self._state.replication[account, region] = configuration["rules"]
        return {"replicationConfiguration": configuration}

    def _start_preview(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        text = (
            asked.get("lifecyclePolicyText")
            or self._policy("lifecycle", "get")(account, region, asked)["lifecyclePolicyText"]
        )
        repository.policies["preview"] = text
        return _named(repository) | {"lifecyclePolicyText": text, "status": "IN_PROGRESS"}

    def _get_preview(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._repository(account, region, asked)
        text = repository.policies.get("preview")
        if text is None:
            raise AwsError("LifecyclePolicyPreviewNotFoundException", f"There is no preview of '{repository.name}'")
        found = preview(text, repository.images(), self._state.clock.seconds)
        results = [
            {
                "imageTags": list(image.tags), "imageDigest": image.digest, "imagePushedAt": image.pushed_at,
                "action": {"type": "EXPIRE"}, "appliedRulePriority": rule,
            }
            for image, rule in found
        ]  # fmt: skip
        page = self._page(asked, "previewResults", lambda: results)
        whole = {
            "lifecyclePolicyText": text,
            "status": "COMPLETE",
            "summary": {"expiringImageTotalCount": len(results)},
        }
        return _named(repository) | whole | page

    def _list_tags(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._by_arn(account, region, asked["resourceArn"])
        return {"tags": [{"Key": key, "Value": value} for key, value in repository.tags_of_resource.items()]}

    def _tag_resource(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._by_arn(account, region, asked["resourceArn"])
        repository.tags_of_resource |= {tag["Key"]: tag["Value"] for tag in asked["tags"]}
        return {}

    def _untag_resource(self, account: str, region: str, asked: _Json) -> _Json:
        repository = self._by_arn(account, region, asked["resourceArn"])
        for key in asked["tagKeys"]:
            repository.tags_of_resource.pop(key, None)
        return {}

    def _exclude(self, account: str, region: str, asked: _Json) -> _Json:
        held = self._state.exclusions.setdefault((account, region), {})
        if asked["principalArn"] in held:
            raise AwsError("ExclusionAlreadyExistsException", f"{asked['principalArn']} is excluded already")
        held[asked["principalArn"]] = self._state.clock.seconds
        return {"principalArn": asked["principalArn"], "createdAt": held[asked["principalArn"]]}

    def _include(self, account: str, region: str, asked: _Json) -> _Json:
        held = self._state.exclusions.setdefault((account, region), {})
        if held.pop(asked["principalArn"], None) is None:
            raise AwsError("ExclusionNotFoundException", f"{asked['principalArn']} is not excluded")
        return {"principalArn": asked["principalArn"]}

    def _list_exclusions(self, account: str, region: str, asked: _Json) -> _Json:
        held = self._state.exclusions.get((account, region), {})
        return self._page(asked, "pullTimeUpdateExclusions", lambda: list(held))

    def _registry(self, account: str, region: str, asked: _Json) -> dict[str, Repository]:
        if asked.get("registryId") not in {None, account}:
            raise AwsError("AccessDeniedException", f"No access to the registry with id '{asked['registryId']}'")
        return self._state.registry(account, region)

    def _repository(self, account: str, region: str, asked: _Json) -> Repository:
        if not asked.get("repositoryName"):
            raise invalid("repositoryName is required")
        return _existing(self._registry(account, region, asked), asked["repositoryName"], account)

    def _by_arn(self, account: str, region: str, arn: str) -> Repository:
        return _existing(self._state.registry(account, region), arn.partition(":repository/")[2], account)

    def _page(
        self,
        asked: _Json,
        key: str,
        items: Callable[[], Sequence[Any]],
        shown: Callable[[Any], Any] = lambda item: item,
    ) -> _Json:
        """A page of what there was when the first page was asked for, and a token for the next."""
        size = asked.get("maxResults", _PAGE)
        if not 1 <= size <= _LARGEST_PAGE:
            raise invalid(
                f"Invalid parameter at 'maxResults' failed to satisfy constraint: {size} is not within 1 and 1000"
            )
        if "nextToken" in asked:
            if asked["nextToken"] not in self._pages:
                raise invalid("Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'")
            waiting = self._pages[asked["nextToken"]]
        else:
            waiting = list(items())
        answer: _Json = {key: [found for item in waiting[:size] if (found := shown(item)) is not None]}
        if len(waiting) > size:
            answer["nextToken"] = secrets.token_urlsafe(24)
            self._pages[answer["nextToken"]] = waiting[size:]
        return answer


def _policy_text(asked: _Json) -> str:
    """The text of a policy, which is kept as it is given; ECR takes none that is no JSON object."""
    text = str(asked["policyText"])
    try:
        right = isinstance(json.loads(text), dict)
    except ValueError:
        right = False
    if not right:
        raise invalid("Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid policy provided'")
    return text


def _existing(held: Mapping[str, Repository], name: str, account: str) -> Repository:
    if name not in held:
        raise AwsError(
            "RepositoryNotFoundException",
            f"The repository with name '{name}' does not exist in the registry with id '{account}'",
        )
    return held[name]


def _named(repository: Repository) -> _Json:
    return {"registryId": repository.account, "repositoryName": repository.name}


def _described(repository: Repository) -> _Json:
    return _named(repository) | {
        "repositoryArn": repository.arn,
        "repositoryUri": repository.uri,
        "createdAt": repository.created_at,
        "imageTagMutability": repository.mutability,
        "imageScanningConfiguration": {"scanOnPush": False},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }


def _detail(repository: Repository, image: StoredImage, now: float) -> _Json:
    optional = {
        "imageTags": list(image.tags) or None,
        "lastRecordedPullTime": image.pulled_at,
        "artifactMediaType": image.artifact_type,
        "subjectManifestDigest": image.subject,
        "lastArchivedAt": image.archived_at,
        "lastActivatedAt": image.restored_at,
    }
    return (
        _named(repository)
        | {
            "imageDigest": image.digest,
            "imageSizeInBytes": image.size,
            "imagePushedAt": image.pushed_at,
            "imageManifestMediaType": image.media_type,
            "imageStatus": image.status(now),
        }
        | {name: value for name, value in optional.items() if value is not None}
    )


def _filter(asked: _Json, now: float) -> Callable[[StoredImage], bool]:
    status, tagged = asked.get("imageStatus", "ACTIVE"), asked.get("tagStatus", "ANY")
    if status not in {"ANY", "ACTIVE", "ARCHIVED", "ACTIVATING"} or tagged not in {"ANY", "TAGGED", "UNTAGGED"}:
        raise invalid("Invalid parameter at 'filter' failed to satisfy constraint")
    return lambda image: (
        status in {"ANY", image.status(now)} and tagged in {"ANY", "TAGGED" if image.tags else "UNTAGGED"}
    )


def _check_batch(ids: Iterable[_Json]) -> None:
    number = len(list(ids))
    if not 1 <= number <= _LARGEST_BATCH:
        raise invalid(f"Invalid parameter at 'imageIds' failed to satisfy constraint: {number} is not within 1 and 100")


def _find(repository: Repository, wanted: _Json, *, exact: bool = True) -> StoredImage | None:
    """The image that an id means; with `exact`, digest and tag have to fit each other."""
    if "imageTag" in wanted:
        image = repository.by_digest.get(repository.by_tag.get(wanted["imageTag"], ""))
        fits = image is not None and wanted.get("imageDigest") in {None, image.digest}
        return image if fits or not exact else None
    return repository.by_digest.get(wanted.get("imageDigest", ""))


def _wanted(repository: Repository, wanted: _Json) -> StoredImage:
    image = _find(repository, wanted)
    if image is None:
        digest, tag = wanted.get("imageDigest", "null"), wanted.get("imageTag", "null")
        raise AwsError(
            "ImageNotFoundException",
            f"The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the repository "
            f"with name '{repository.name}' in the registry with id '{repository.account}'",
        )
    return image


def _bad_id(wanted: _Json) -> _Json | None:
    if not wanted.get("imageDigest") and not wanted.get("imageTag"):
        return _failure(wanted, "MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
    if wanted.get("imageDigest") and not _DIGEST.fullmatch(wanted["imageDigest"]):
        return _failure(
            wanted, "InvalidImageDigest", "Invalid request parameters: image digest should satisfy the regex"
        )
    if wanted.get("imageTag") and not _TAG.fullmatch(wanted["imageTag"]):
        return _failure(wanted, "InvalidImageTag", "Invalid request parameters: image tag should satisfy the regex")
    return None


def _failure(wanted: _Json, code: str, reason: str) -> _Json:
    return {"imageId": dict(wanted), "failureCode": code, "failureReason": reason}


def _deleted(repository: Repository, wanted: _Json) -> list[_Json]:
    """By tag, the tag goes and with the last one the image; by digest, the image with all tags."""
    if "imageTag" in wanted:
        digest = repository.by_tag[wanted["imageTag"]]
        repository.untag(wanted["imageTag"])
        return [{"imageDigest": digest, "imageTag": wanted["imageTag"]}]
    image = repository.by_digest[wanted["imageDigest"]]
    tags = list(image.tags)
    repository.remove(image.digest)
    return [{"imageDigest": image.digest, "imageTag": tag} for tag in tags] or [{"imageDigest": image.digest}]
