"""The emulated registries as docker, containerd and skopeo speak to them: the OCI Distribution API under `/v2/`.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md, with what ECR makes of it: a push is a PutImage, a
pull is a BatchGetImage, and there is no deleting this way.

Which registry is meant: the one whose host name the request was sent to (`123456789012.dkr.ecr.eu-west-1.amazonaws.com`);
or, because all come to one port here, the one whose host name stands before the name of the repository, so that
`docker://127.0.0.1:4000/` with a `repositoryUri` behind it is that repository; or else the emulator's own.

Anybody may come in. Who gives the user `AWS` and a password as docker does is who the password says, in the words of
`cloudtrail.identity`: `user/dana`, or `ROLE/SESSION`.
"""

import base64
import json
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from ecrsweep.core.names import private_registry
from ecrsweep.emulator import manifests
from ecrsweep.emulator.answers import Answer
from ecrsweep.emulator.calls import Call
from ecrsweep.emulator.cloudtrail import TrailState
from ecrsweep.emulator.ecr import EcrApi
from ecrsweep.emulator.errors import AwsError
from ecrsweep.emulator.registry import EcrState, Repository

SERVICE: Final = "distribution"
"""What these requests are called among the calls, for faults and for throttles."""
DEFAULT_PULLER: Final = "node/docker"

_NAME: Final = r"/v2/(?P<name>[^?]+)"
_ROUTES: Final = tuple(
    (operation, frozenset(methods.split()), re.compile(path))
    for operation, methods, path in (
        ("GetBase", "GET HEAD", r"/v2/?"),
        ("ListTags", "GET HEAD", _NAME + r"/tags/list"),
        ("GetManifest", "GET HEAD", _NAME + r"/manifests/(?P<reference>[^/]+)"),
        ("PutManifest", "PUT", _NAME + r"/manifests/(?P<reference>[^/]+)"),
        ("GetBlob", "GET HEAD", _NAME + r"/blobs/(?P<digest>[^/]+:[^/]+)"),
        ("StartUpload", "POST", _NAME + r"/blobs/uploads/?"),
        ("ContinueUpload", "PATCH", _NAME + r"/blobs/uploads/(?P<upload>[^/]+)"),
        ("FinishUpload", "PUT", _NAME + r"/blobs/uploads/(?P<upload>[^/]+)"),
    )
)
# What the specification calls the errors of ECR, and the status that goes with each.
_CODES: Final[Mapping[str, tuple[str, int]]] = {
    "RepositoryNotFoundException": ("NAME_UNKNOWN", 404),
    "ImageNotFoundException": ("MANIFEST_UNKNOWN", 404),
    "ImageTagAlreadyExistsException": ("TAG_INVALID", 400),
    "ImageDigestDoesNotMatchException": ("DIGEST_INVALID", 400),
    "LayersNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 404),
    "ReferencedImagesNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 404),
    "InvalidParameterException": ("MANIFEST_INVALID", 400),
    "AccessDeniedException": ("DENIED", 403),
    "UnrecognizedClientException": ("UNAUTHORIZED", 401),
    "ThrottlingException": ("TOOMANYREQUESTS", 429),
}


@dataclass(frozen=True)
class _Asked:
    """A request: the repository and how the client named it, what else stands in the address, headers and body."""

    repository: Repository
    path: str
    parts: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Distribution:
    """The operations of the API over the emulated registries."""

    def __init__(self, state: EcrState, api: EcrApi, trail: TrailState) -> None:
        """Pushes go through the API of ECR; pulls are written down in CloudTrail."""
        self._state, self._api, self._trail = state, api, trail
        self._uploads: dict[str, bytes] = {}

    def answer(self, call: Call, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The response to a call. Raises `AwsError`."""
        if call.operation == "GetBase":
            return _answer(200, b"{}")
        operate: Callable[[_Asked], Answer] | None = {
            "ListTags": self._list_tags,
            "GetManifest": self._get_manifest,
            "PutManifest": self._put_manifest,
            "GetBlob": self._get_blob,
            "StartUpload": self._start,
            "ContinueUpload": self._continue,
            "FinishUpload": self._finish,
        }.get(call.operation)
        if operate is None:
            raise AwsError("UNSUPPORTED", "The operation is unsupported.", 405)
        parts = call.parameters
        repository = self._repository(call.account, call.region, parts["repositoryName"])
        return operate(
            _Asked(repository, parts["path"], parts, dict(parse_qsl(urlsplit(address).query)), headers, body)
        )

    def _repository(self, account: str, region: str, name: str) -> Repository:
        found = self._state.registry(account, region).get(name)
        if found is None:
            raise AwsError(
                "RepositoryNotFoundException",
                f"The repository with name '{name}' does not exist in the registry with id '{account}'",
            )
        return found

    def _list_tags(self, asked: _Asked) -> Answer:
        """The tags of what is active, as ListImages has them without a filter; in pages where the client wants some."""
        now = self._state.clock.seconds
        tags = sorted(tag for image in asked.repository.images() if image.status(now) == "ACTIVE" for tag in image.tags)
        tags = [tag for tag in tags if tag > asked.query.get("last", "")]
        page = tags[: int(asked.query.get("n", len(tags)))]
        body = json.dumps({"name": asked.path, "tags": page}).encode()
        if len(page) == len(tags) or not page:
            return _answer(200, body)
        following = urlencode({"n": asked.query["n"], "last": page[-1]})
        return _answer(200, body, Link=f'</v2/{asked.path}/tags/list?{following}>; rel="next"')

    def _get_manifest(self, asked: _Asked) -> Answer:
        """A pull: BatchGetImage, in the name of whoever pulls. `Accept` is not looked at: nothing is converted.

        Not known: whether HEAD moves the pull time and is written down by CloudTrail. It needs the permission for
        BatchGetImage, so here it is one. How CloudTrail tells of a pull of what is not there, or is archived, is not
        documented either: the API itself answers that with a failure inside a 200.
        """
        reference, repository = asked.parts["reference"], asked.repository
        named = {"digest" if ":" in reference else "tag": reference}
        try:
            image = repository.by_digest[repository.pull(reference)]
        except AwsError as error:
            self._trail.pull(repository, by=_puller(asked.headers), at=self._state.clock.now, error=error.code, **named)
            raise
        self._trail.pull(repository, by=_puller(asked.headers), at=self._state.clock.now, **named)
        return _answer(200, image.manifest.encode(), image.media_type, Docker_Content_Digest=image.digest)

    def _put_manifest(self, asked: _Asked) -> Answer:
        """A push: PutImage. To push what is there already is no error, as with docker."""
        repository, reference = asked.repository, asked.parts["reference"]
        try:
            text = asked.body.decode()
        except UnicodeDecodeError as error:
            raise AwsError("InvalidParameterException", f"The manifest is no text: {error}") from error
        media_type = asked.headers.get("content-type", "").partition(";")[0] or None
        put = self._api.operation("PutImage")
        assert put is not None
        try:
            put(repository.account, repository.region, {
                "repositoryName": repository.name, "imageManifest": text, "imageManifestMediaType": media_type,
                "imageDigest" if ":" in reference else "imageTag": reference,
            })  # fmt: skip
        except AwsError as error:
            if error.code != "ImageAlreadyExistsException":
                raise
        digest = manifests.digest_of_manifest(text)
        subject = manifests.contents(text, media_type).subject
        extra = {"OCI_Subject": subject} if subject else {}
        return _created(asked, f"manifests/{digest}", digest, **extra)

    def _get_blob(self, asked: _Asked) -> Answer:
        """The bytes of a layer; ECR would send the client on to S3 for them (GetDownloadUrlForLayer)."""
        digest = asked.parts["digest"]
        content = asked.repository.layers.content(digest)
        if content is None:
            raise AwsError("BLOB_UNKNOWN", f"blob {digest} is unknown to the registry, or made up", 404)
        return _answer(200, content, "application/octet-stream", Docker_Content_Digest=digest)

    def _start(self, asked: _Asked) -> Answer:
        """Begin an upload; or take the layer from another repository of the registry, where that has it."""
        origin = self._state.registry(asked.repository.account, asked.repository.region).get(
            asked.query.get("from", "").removeprefix(asked.path.removesuffix(asked.repository.name))
        )
        content = origin.layers.content(asked.query.get("mount", "")) if origin else None
        if content is not None:
            return self._taken_in(asked, content, asked.query["mount"])
        if "digest" in asked.query:
            return self._taken_in(asked, asked.body, asked.query["digest"])
        upload = str(uuid.uuid4())
        self._uploads[upload] = b""
        return self._going_on(asked, upload)

    def _continue(self, asked: _Asked) -> Answer:
        upload = self._upload(asked)
        self._uploads[upload] += asked.body
        return self._going_on(asked, upload)

    def _finish(self, asked: _Asked) -> Answer:
        upload = self._upload(asked)
        answer = self._taken_in(asked, self._uploads[upload] + asked.body, asked.query.get("digest", ""))
        del self._uploads[upload]
        return answer

    def _upload(self, asked: _Asked) -> str:
        if asked.parts["upload"] not in self._uploads:
            raise AwsError("BLOB_UPLOAD_UNKNOWN", "The upload is not known.", 404)
        return asked.parts["upload"]

    def _going_on(self, asked: _Asked, upload: str) -> Answer:
        received = max(len(self._uploads[upload]) - 1, 0)
        location = f"/v2/{asked.path}/blobs/uploads/{upload}"
        return _answer(202, b"", Location=location, Range=f"0-{received}", Docker_Upload_UUID=upload)

    def _taken_in(self, asked: _Asked, content: bytes, digest: str) -> Answer:
        if manifests.digest_of(content) != digest:
            raise AwsError("DIGEST_INVALID", "The digest is not that of what was uploaded.")
        with asked.repository.lock:
            asked.repository.layers.upload(content)
        return _created(asked, f"blobs/{digest}", digest)


def understood(method: str, address: str, headers: Mapping[str, str], account: str, region: str) -> Call | None:
    """The call that a request means; None where it means none of this API. `account` and `region` hold where none is named."""
    path = urlsplit(address).path
    if not re.match(r"/v2(/|$)", path):
        return None
    agent = headers.get("user-agent", "")
    for operation, methods, pattern in _ROUTES:
        found = pattern.fullmatch(path)
        if found is None or method not in methods:
            continue
        parts = found.groupdict()
        name = parts.pop("name", "")
        registry = private_registry(headers.get("host", "").partition(":")[0])
        first, _, rest = name.partition("/")
        if registry is None and (registry := private_registry(first)) is not None:
            parts["repositoryName"], parts["path"] = rest, name
        else:
            parts["repositoryName"] = parts["path"] = name
        where = (registry.account, registry.region) if registry else (account, region)
        return Call(SERVICE, operation, *where, parts, agent=agent)
    return Call(SERVICE, f"{method} {path}", account, region, agent=agent)


def failed(error: AwsError) -> Answer:
    """An error, as clients of this API read it."""
    code, status = _CODES.get(error.code, (error.code, error.status))
    body: dict[str, Any] = {"errors": [{"code": code, "message": error.message, "detail": {}}]}
    return _answer(status, json.dumps(body).encode())


def _puller(headers: Mapping[str, str]) -> str:
    scheme, _, told = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            user, _, password = base64.b64decode(told).decode().partition(":")
            if user == "AWS" and "/" in password:
                return password
    return DEFAULT_PULLER


def _created(asked: _Asked, what: str, digest: str, **headers: str) -> Answer:
    return _answer(201, b"", Location=f"/v2/{asked.path}/{what}", Docker_Content_Digest=digest, **headers)


def _answer(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> Answer:
    named = {"Docker_Distribution_Api_Version": "registry/2.0"} | headers
    return Answer(status, body, content_type, tuple((name.replace("_", "-"), value) for name, value in named.items()))
