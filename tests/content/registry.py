"""A small client of the OCI Distribution API, and copying from one registry to another, manifest by manifest.

skopeo copies what it understands; this one copies any manifest, byte for byte, with whatever blobs it names.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

EVERY_KIND = (
    "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws", "*/*",
)  # fmt: skip


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """A manifest, byte for byte."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """That of the bytes; of a signed manifest of schema 1, of what was signed.

        https://github.com/distribution/distribution/blob/v2.8.2/docs/spec/manifest-v2-1.md#signed-manifests
        """
        if not self.media_type.endswith("v1+prettyjws"):
            return digest_of(self.content)
        told = json.loads(_decoded(self.body["signatures"][0]["protected"]))
        return digest_of(self.content[: told["formatLength"]] + _decoded(told["formatTail"]))

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found

    def named(self, member: str, name: str = "digest") -> tuple[str, ...]:
        """The digests in a member, which is one descriptor or a list of them."""
        told = self.body.get(member) or []
        return tuple(entry[name] for entry in (told if isinstance(told, list) else [told]))

    @property
    def blobs(self) -> tuple[str, ...]:
        return (
            *self.named("config"),
            *self.named("layers"),
            *self.named("blobs"),
            *self.named("fsLayers", "blobSum"),
        )


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Refused(Exception):
    """The registry answered with an error."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body.decode(errors='replace')}")
        self.status, self.codes = status, [error["code"] for error in json.loads(body or b"{}").get("errors", ())]


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Registry:
    """A registry on this machine."""

    def __init__(self, address: str, headers: Mapping[str, str] | None = None) -> None:
        """`address` is host and port; `headers` go with every request."""
        self.address, self._headers = address, dict(headers or {})

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Response:
        """One request under `/v2/`; raises `Refused`."""
        connection = HTTPConnection(self.address, timeout=30)
        try:
            named = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path if path.startswith("/v2/") else f"/v2/{path}", body, named)
            answer = connection.getresponse()
            found = Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()
        if found.status >= 400:
            raise Refused(found.status, found.body)
        return found

    def tags(self, name: str) -> list[str]:
        return list(json.loads(self.ask("GET", f"{name}/tags/list").body)["tags"])

    def manifest(self, name: str, reference: str) -> Manifest:
        answer = self.ask("GET", f"{name}/manifests/{reference}", Accept=", ".join(EVERY_KIND))
        return Manifest(answer.body, answer.headers["content-type"])

    def push(self, name: str, manifest: Manifest, *tags: str) -> str:
        """Push a manifest under its tags, or else by its digest."""
        for reference in tags or (manifest.digest,):
            self.ask("PUT", f"{name}/manifests/{reference}", manifest.content, Content_Type=manifest.media_type)
        return manifest.digest

    def blob(self, name: str, digest: str) -> bytes:
        """The bytes of a blob. They are looked at: they must be what the digest says."""
        content = self.ask("GET", f"{name}/blobs/{digest}").body
        assert digest_of(content) == digest, f"{name}: the blob {digest} is not what it says"
        return content

    def has_blob(self, name: str, digest: str) -> bool:
        try:
            self.ask("HEAD", f"{name}/blobs/{digest}")
        except Refused:
            return False
        return True

    def upload(self, name: str, content: bytes) -> str:
        begun = self.ask("POST", f"{name}/blobs/uploads/").headers["location"]
        path = "/v2/" + begun.partition("/v2/")[2]
        digest = digest_of(content)
        self.ask("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", content)
        return digest


def copy(source: tuple[Registry, str], target: tuple[Registry, str], reference: str, tags: Sequence[str] = ()) -> str:
    """Copy one manifest with its blobs, and give it these tags; its digest in the target."""
    (there, name), (here, wanted) = source, target
    manifest = there.manifest(name, reference)
    for blob in manifest.blobs:
        if not here.has_blob(wanted, blob):
            here.upload(wanted, there.blob(name, blob))
    return here.push(wanted, manifest, *tags)
