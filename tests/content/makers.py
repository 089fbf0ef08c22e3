"""Real content: images made with umoci, buildah and skopeo in a real registry, and around their blobs every kind of artifact there is.

A kind is made by its tools where these are on a plain Debian; what cosign, BuildKit, Helm and the SOCI snapshotter write is put
together here as they write it. Each is made twice, as two variants that share nothing but the layer below.
"""

import json
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from tests.content.registry import Manifest, Registry, copy

PROGRAMS = ("skopeo", "umoci", "buildah", "docker-registry", "root")
"""What making needs: buildah without a daemon and a user of its own wants to be root."""
VARIANTS = ("kept", "gone")

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
STORE = "content"
"""The repository of the real registry in which all is made."""


@dataclass(frozen=True)
class Member:
    """One manifest of an artifact: what it is there, its digest, and the tags that its push gives it."""

    role: str
    digest: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """All manifests of one artifact, in the order in which they can be pushed."""

    kind: str
    members: tuple[Member, ...]

    def __getitem__(self, role: str) -> str:
        """The digest of the manifest that has this role."""
        return next(member.digest for member in self.members if member.role == role)

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(member.digest for member in self.members)


class Content:
    """What was made: the registry that holds it, and the artifacts by kind and variant."""

    def __init__(self, registry: Registry, artifacts: dict[tuple[str, str], Artifact]) -> None:
        self.registry, self._artifacts = registry, artifacts

    def of(self, kind: str, variant: str = "kept") -> Artifact:
        return self._artifacts[kind, variant]

    def push(self, aws: Emulator, repository: Repository, artifact: Artifact) -> None:
        """Copy an artifact into an emulated repository, blob by blob and a manifest a second, by its Distribution API."""
        target = Registry(aws.url.removeprefix("http://")), repository.uri
        for member in artifact.members:
            copied = copy((self.registry, STORE), target, member.digest, member.tags)
            assert copied == member.digest
            aws.clock.advance(timedelta(seconds=1))


class Workshop:
    """The tools, a folder to work in, and the registry that they push to."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder, self.registry = folder, registry
        self._layout = folder / "layout"
        self._storage = ("--storage-driver", "vfs", "--root", str(folder / "store"), "--runroot", str(folder / "run"))
        self.run("umoci", "init", "--layout", str(self._layout))
        self.run("umoci", "new", "--image", f"{self._layout}:empty")
        self._add_layer("empty", "base", self._archive("below all"))

    def run(self, *command: str) -> str:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stderr}"
        return ended.stdout

    def image(self, seed: str, architecture: str = "amd64", *, written_as: str = "oci") -> Manifest:
        """An image of two layers, made with umoci; the lower one is that of all images. Pushed with skopeo."""
        tag = self._built(seed, architecture)
        name = f"docker://{self.registry.address}/{STORE}:{tag}"
        self.run("skopeo", "copy", "--dest-tls-verify=false", "--format", written_as, f"oci:{self._layout}:{tag}", name)
        return self.registry.manifest(STORE, tag)

    def index(self, seed: str) -> tuple[Manifest, list[Manifest]]:
        """A multi-platform index and its two images, put together and pushed with buildah."""
        tag = _tag(f"{seed} index")
        self._buildah("manifest", "create", tag)
        for architecture in ("amd64", "arm64"):
            built = f"oci:{self._layout}:{self._built(seed, architecture)}"
            self._buildah("manifest", "add", "--os", "linux", "--arch", architecture, tag, built)
        name = f"docker://{self.registry.address}/{STORE}:{tag}"
        self._buildah("manifest", "push", "--all", "--format", "oci", "--tls-verify=false", tag, name)
        made = self.registry.manifest(STORE, tag)
        return made, [self.registry.manifest(STORE, child) for child in made.named("manifests")]

    def docker_list(self, seed: str) -> tuple[Manifest, list[Manifest]]:
        """A manifest list of Docker images, as skopeo converts an OCI index."""
        self.index(seed)
        tag, list_tag = _tag(f"{seed} index"), _tag(f"{seed} list")
        name = f"docker://{self.registry.address}/{STORE}"
        self.run(
            "skopeo", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2",
            f"{name}:{tag}", f"{name}:{list_tag}",
        )  # fmt: skip
        made = self.registry.manifest(STORE, list_tag)
        return made, [self.registry.manifest(STORE, child) for child in made.named("manifests")]

    def built_from_scratch(self, seed: str) -> Manifest:
        """An image in Docker's format, built with buildah from nothing."""
        file, tag = self.folder / "file", _tag(seed)
        file.write_text(seed)
        container = self._buildah("from", "scratch").strip()
        self._buildah("add", container, str(file), "/file")
        self._buildah("config", "--os", "linux", "--arch", "amd64", "--label", f"seed={seed}", container)
        name = f"docker://{self.registry.address}/{STORE}:{tag}"
        self._buildah("commit", "--format", "docker", "--rm", "--tls-verify=false", container, name)
        return self.registry.manifest(STORE, tag)

    def assembled(
        self,
        config_type: str,
        config: Any,
        layers: Sequence[tuple[str, bytes]],
        tags: Sequence[str] = (),
        **members: Any,
    ) -> Manifest:
        """A manifest around blobs of these types. `members` are added to it, `subject` as a manifest."""
        body = {
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "config": self._blob(config_type, json.dumps(config).encode()),
            "layers": [self._blob(media_type, content) for media_type, content in layers],
        }
        return self._pushed(body, OCI_IMAGE, tags, members)

    def listed(self, children: Sequence[tuple[Manifest, dict[str, Any]]], **members: Any) -> Manifest:
        """An OCI index of these manifests, each with what else its descriptor says."""
        body = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor(child) | more for child, more in children],
        }
        return self._pushed(body, OCI_INDEX, (), members)

    def changed(self, manifest: Manifest, **members: Any) -> Manifest:
        """A manifest with more in it, as tools write it that convert what was built."""
        return self._pushed(manifest.body, manifest.media_type, (), members)

    def _pushed(self, body: dict[str, Any], media_type: str, tags: Sequence[str], members: dict[str, Any]) -> Manifest:
        subject = members.pop("subject", None)
        body |= members | ({"subject": descriptor(subject)} if subject else {})
        made = Manifest(json.dumps(body).encode(), media_type)
        self.registry.push(STORE, made, *tags)
        return made

    def _blob(self, media_type: str, content: bytes) -> dict[str, Any]:
        return {
            "mediaType": media_type,
            "digest": self.registry.upload(STORE, content),
            "size": len(content),
        }

    def _built(self, seed: str, architecture: str) -> str:
        """An image in the layout, by its tag."""
        tag = _tag(f"{seed} {architecture}")
        self._add_layer("base", tag, self._archive(f"{seed} {architecture}"))
        self.run("umoci", "config", "--image", f"{self._layout}:{tag}", "--os", "linux", "--architecture", architecture)
        return tag

    def _add_layer(self, below: str, tag: str, archive: Path) -> None:
        self.run("umoci", "raw", "add-layer", "--image", f"{self._layout}:{below}", "--tag", tag, str(archive))

    def _archive(self, text: str) -> Path:
        file, archive = self.folder / "file", self.folder / "layer.tar"
        file.write_text(text)
        with tarfile.open(archive, "w") as writing:
            writing.add(file, text.replace(" ", "-"))
        return archive

    def _buildah(self, *command: str) -> str:
        return self.run("buildah", *self._storage, *command)


def descriptor(manifest: Manifest) -> dict[str, Any]:
    return {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.content)}


def platform(architecture: str, system: str = "linux") -> dict[str, Any]:
    return {"platform": {"architecture": architecture, "os": system}}


def _tag(text: str) -> str:
    return text.replace(" ", "-")


_Make = Callable[[Workshop, str], list[tuple[str, Manifest, tuple[str, ...]]]]
KINDS: dict[str, _Make] = {}
"""What makes each kind: role, manifest and tags of its members, in the order in which they can be pushed."""


def _kind(make: _Make) -> _Make:
    KINDS[make.__name__.strip("_").replace("_", "-")] = make
    return make


@_kind
def _plain(shop: Workshop, seed: str) -> Any:
    return [("image", shop.built_from_scratch(seed), (_tag(seed),))]


@_kind
def _multi_platform(shop: Workshop, seed: str) -> Any:
    index, (amd, arm) = shop.index(seed)
    return [("amd64", amd, ()), ("arm64", arm, ()), ("index", index, (_tag(seed),))]


@_kind
def _docker_list(shop: Workshop, seed: str) -> Any:
    index, (amd, arm) = shop.docker_list(seed)
    return [("amd64", amd, ()), ("arm64", arm, ()), ("index", index, (_tag(seed),))]


@_kind
def _nested(shop: Workshop, seed: str) -> Any:
    """An index of an index and of an image, the way in which some tools collect variants."""
    inner, (amd, arm) = shop.index(seed)
    other = shop.image(f"{seed} other", "s390x")
    outer = shop.listed([(inner, {}), (other, platform("s390x"))])
    return [
        ("amd64", amd, ()), ("arm64", arm, ()), ("inner", inner, ()), ("s390x", other, ()), ("outer", outer, (_tag(seed),)),
    ]  # fmt: skip


@_kind
def _shared_child(shop: Workshop, seed: str) -> Any:
    """Two indexes with one child in common: a rebuild that left one platform as it was."""
    common = shop.image(f"{seed} common")
    own, twins = shop.image(f"{seed} own", "arm64"), shop.image(f"{seed} twin", "arm64")
    index = shop.listed([(common, platform("amd64")), (own, platform("arm64"))])
    twin = shop.listed([(common, platform("amd64")), (twins, platform("arm64"))])
    return [
        ("common", common, ()), ("twin's own", twins, ()), ("twin", twin, (_tag(f"{seed} twin"),)), ("own", own, ()),
        ("index", index, (_tag(seed),)),
    ]  # fmt: skip


@_kind
def _tagged_child(shop: Workshop, seed: str) -> Any:
    index, (amd, arm) = shop.index(seed)
    return [("amd64", amd, (_tag(f"{seed} amd64"),)), ("arm64", arm, ()), ("index", index, (_tag(seed),))]


@_kind
def _attested(shop: Workshop, seed: str) -> Any:
    """What BuildKit pushes by default: beside each image its provenance, as a manifest for no platform.

    https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md
    """
    image = shop.image(seed)
    statement = {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://slsa.dev/provenance/v0.2"}
    attestation = shop.assembled(
        OCI_CONFIG,
        {"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}},
        [("application/vnd.in-toto+json", json.dumps(statement | {"subject": [seed]}).encode())],
    )
    about = {
        "vnd.docker.reference.digest": image.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    index = shop.listed(
        [(image, platform("amd64")), (attestation, platform("unknown", "unknown") | {"annotations": about})]
    )
    return [("image", image, ()), ("attestation", attestation, ()), ("index", index, (_tag(seed),))]


@_kind
def _cosign(shop: Workshop, seed: str) -> Any:
    """Signature, attestation and SBOM under tags that cosign makes of the digest of the image.

    https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
    """
    image = shop.image(seed)
    members = [("image", image, (_tag(seed),))]
    kinds = {
        "sig": "application/vnd.dev.cosign.simplesigning.v1+json",
        "att": "application/vnd.dsse.envelope.v1+json",
        "sbom": "text/spdx+json",
    }
    for suffix, media_type in kinds.items():
        tags = (f"{image.digest.replace(':', '-')}.{suffix}",)
        made = shop.assembled(OCI_CONFIG, {}, [(media_type, f"{seed} {suffix}".encode())], tags)
        members.append((suffix, made, tags))
    return members


@_kind
def _referrers(shop: Workshop, seed: str) -> Any:
    """OCI 1.1: an SBOM of an image, its signature, and the signature of the image."""
    image = shop.image(seed)
    sbom = _refers(shop, image, "application/spdx+json", f"{seed} sbom")
    signatures = [
        _refers(shop, subject, "application/vnd.dev.cosign.artifact.sig.v1+json", f"{seed} {name}")
        for name, subject in (("signature", image), ("signature of the sbom", sbom))
    ]
    return [
        ("image", image, (_tag(seed),)), ("sbom", sbom, ()), ("signature", signatures[0], ()),
        ("signature of the sbom", signatures[1], ()),
    ]  # fmt: skip


def _refers(shop: Workshop, subject: Manifest, artifact_type: str, text: str) -> Manifest:
    return shop.assembled(EMPTY, {}, [(artifact_type, text.encode())], artifactType=artifact_type, subject=subject)


@_kind
def _referrer_of_child(shop: Workshop, seed: str) -> Any:
    """An index of which one platform has an SBOM."""
    index, (amd, arm) = shop.index(seed)
    sbom = _refers(shop, arm, "application/spdx+json", f"{seed} sbom")
    return [("amd64", amd, ()), ("arm64", arm, ()), ("index", index, (_tag(seed),)), ("sbom", sbom, ())]


@_kind
def _soci_v1(shop: Workshop, seed: str) -> Any:
    """A SOCI index as it was first: a referrer of the image that it makes lazy loading possible for.

    https://github.com/awslabs/soci-snapshotter/blob/main/docs/soci-index-manifest-v2.md tells both versions.
    """
    image = shop.image(seed)
    soci = shop.assembled(
        "application/vnd.amazon.soci.index.v1+json", {}, [("application/octet-stream", f"{seed} ztoc".encode())],
        subject=image, annotations={"com.amazon.soci.build-tool-identifier": "AWS SOCI CLI v0.1"},
    )  # fmt: skip
    return [("image", image, (_tag(seed),)), ("soci", soci, ())]


@_kind
def _soci_v2(shop: Workshop, seed: str) -> Any:
    """A SOCI index as it is now: no referrer, but one more child of the image's index; the image names it in an annotation."""
    soci = shop.assembled(
        "application/vnd.amazon.soci.index.v2+json", {}, [("application/octet-stream", f"{seed} ztoc".encode())],
        artifactType="application/vnd.amazon.soci.index.v2+json",
    )  # fmt: skip
    to_soci = {"annotations": {"com.amazon.soci.index-digest": soci.digest}}
    image = shop.changed(shop.image(seed), **to_soci)
    about = {
        "artifactType": "application/vnd.amazon.soci.index.v2+json",
        "annotations": {"com.amazon.soci.image-manifest-digest": image.digest},
    }
    index = shop.listed([(image, platform("amd64") | to_soci), (soci, platform("amd64") | about)])
    return [("image", image, ()), ("soci", soci, ()), ("index", index, (_tag(seed),))]


@_kind
def _helm(shop: Workshop, seed: str) -> Any:
    chart = shop.assembled(
        "application/vnd.cncf.helm.config.v1+json", {"name": "app", "version": "0.1.0", "apiVersion": "v2"},
        [("application/vnd.cncf.helm.chart.content.v1.tar+gzip", f"{seed} chart".encode())],
    )  # fmt: skip
    return [("chart", chart, (_tag(seed),))]


@_kind
def _buildcache(shop: Workshop, seed: str) -> Any:
    """BuildKit's cache as ECR takes it (`image-manifest=true`): an image by its media type, that nobody can run."""
    cache = shop.assembled(
        "application/vnd.buildkit.cacheconfig.v0", {"layers": [], "records": []},
        [("application/vnd.oci.image.layer.v1.tar+gzip", f"{seed} layer".encode())],
    )  # fmt: skip
    return [("cache", cache, (_tag(seed),))]


@_kind
def _schema_1(shop: Workshop, seed: str) -> Any:
    return [("image", shop.image(seed, written_as="v2s1"), (_tag(seed),))]


@contextmanager
def made(folder: Path) -> Iterator[Content]:
    """All kinds and variants in a real registry, which runs for as long as the context."""
    with _running(folder) as registry:
        shop = Workshop(folder, registry)
        artifacts = {}
        for kind, make in KINDS.items():
            for variant in VARIANTS:
                members = make(shop, f"{kind} {variant}")
                artifacts[kind, variant] = Artifact(
                    kind, tuple(Member(role, manifest.digest, tags) for role, manifest, tags in members)
                )
        yield Content(registry, artifacts)


@contextmanager
def _running(folder: Path) -> Iterator[Registry]:
    """Debian's docker-registry, over the files of a folder."""
    address = f"127.0.0.1:{_free_port()}"
    configuration = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": address},
        "compatibility": {"schema1": {"enabled": True}},
    }
    written = folder / "registry.yml"
    written.write_text(json.dumps(configuration))
    with (folder / "registry.log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(written)], stdout=log, stderr=log)
    try:
        registry = Registry(address)
        _wait_for(registry, process)
        yield registry
    finally:
        process.terminate()
        process.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(registry: Registry, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the registry has ended"
        with suppress(OSError):
            registry.ask("GET", "")
            return
        time.sleep(0.05)
    raise AssertionError("the registry does not answer")
