"""What must hold of a repository after any run that changed it, whatever it did: nothing dangles, and all that is kept can be pulled.

Told from the manifests alone, read again here: none of it asks the code under test what belongs together.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ecrsweep.emulator import Emulator
from ecrsweep.emulator.manifests import DOCKER_LIST, OCI_INDEX
from ecrsweep.emulator.registry import Repository, StoredImage
from tests.content.registry import EVERY_KIND, Manifest, Registry, digest_of

_INDEXES = (DOCKER_LIST, OCI_INDEX)
_REFERRER_TAG = re.compile(r"sha256-([0-9a-f]{64})(\.\w+)?")


@dataclass(frozen=True)
class Partners:
    """Who belonged to whom at one moment: pairs of digests that were both there."""

    contained: frozenset[tuple[str, str]]
    """An index and what it lists."""
    about: frozenset[tuple[str, str]]
    """A referrer and its subject, by field or by tag."""


def partners(repository: Repository) -> Partners:
    """What belongs together in a repository now. Ask before the run that is to be judged."""
    held = {image.digest: image for image in repository.images()}
    contained = {
        (digest, child)
        for digest, image in held.items()
        if image.media_type in _INDEXES
        for child in _manifest(image).named("manifests")
    }
    about = {(digest, subject) for digest, image in held.items() for subject in _subjects(image)}
    return Partners(
        frozenset(pair for pair in contained if pair[1] in held),
        frozenset(pair for pair in about if pair[1] in held),
    )


def assert_nothing_dangles(before: Partners, repository: Repository) -> None:
    """No index has lost a child, no child all of its indexes, no referrer its subject and no subject a referrer."""
    held = {image.digest for image in repository.images()}
    for index, child in before.contained:
        assert index not in held or child in held, f"the index {index} has lost its child {child}"
    for child in {child for _, child in before.contained} & held:
        indexes = {index for index, its in before.contained if its == child}
        assert indexes & held, f"{child} is left of the indexes {sorted(indexes)}, which are gone"
    for referrer, subject in before.about:
        assert (referrer in held) == (subject in held), f"{referrer} and its subject {subject} were parted"


def assert_all_kept_can_be_pulled(aws: Emulator, repository: Repository, folder: Path) -> None:
    """Pull all that is active with skopeo, by digest and by tag, and look at every layer. Archived images are left out."""
    now = aws.clock.seconds
    for image in repository.images():
        if image.status(now) != "ACTIVE":
            continue
        for reference in (f"@{image.digest}", *(f":{tag}" for tag in image.tags)):
            _pull(aws, repository, image, reference, folder)


def assert_cannot_be_pulled(aws: Emulator, repository: Repository, references: Iterable[str]) -> None:
    """skopeo is told of each of these tags and digests that it is not there."""
    for reference in references:
        address = _address(aws, repository, f"@{reference}" if ":" in reference else f":{reference}")
        ended = skopeo("inspect", "--raw", "--tls-verify=false", address)
        assert ended.returncode != 0, f"{reference} can be pulled"
        assert "manifest unknown" in ended.stderr, ended.stderr


def _pull(aws: Emulator, repository: Repository, image: StoredImage, reference: str, folder: Path) -> None:
    address, what = _address(aws, repository, reference), f"{repository.name}{reference}"
    if image.media_type not in EVERY_KIND:
        _pull_what_skopeo_does_not_know(aws, repository, image)
        return
    raw = skopeo("inspect", "--raw", "--tls-verify=false", address)
    assert raw.returncode == 0, f"{what}: {raw.stderr}"
    got = Manifest(raw.stdout.encode(), image.media_type)
    assert got.digest == image.digest, f"{what} is not what it says"
    if any(child["mediaType"] in _INDEXES for child in got.body.get("manifests", ())):
        return  # skopeo 1.9 cannot copy an index of indexes; what it lists is pulled by itself
    target = folder / f"pull-{image.digest[7:19]}-{digest_of(reference.encode())[7:15]}"
    ended = skopeo("copy", "--all", "--src-tls-verify=false", address, f"dir:{target}")
    assert ended.returncode == 0, f"{what}: {ended.stderr}"
    _check_files(target, [got] if "manifests" not in got.body else _listed(target, got), what)


def _listed(target: Path, index: Manifest) -> list[Manifest]:
    """The manifests of an index, as skopeo wrote them into the folder."""
    return [
        Manifest((target / f"{child['digest'][7:]}.manifest.json").read_bytes(), child["mediaType"])
        for child in index.body["manifests"]
    ]


def _check_files(target: Path, manifests: Iterable[Manifest], what: str) -> None:
    for manifest in manifests:
        for blob in manifest.blobs:
            assert digest_of((target / blob[7:]).read_bytes()) == blob, f"{what}: its layer {blob} is broken"


def _pull_what_skopeo_does_not_know(aws: Emulator, repository: Repository, image: StoredImage) -> None:
    registry = Registry(aws.url.removeprefix("http://"))
    assert registry.manifest(repository.uri, image.digest).digest == image.digest
    for blob in image.layers:
        registry.blob(repository.uri, blob)


def _address(aws: Emulator, repository: Repository, reference: str) -> str:
    return f"docker://{aws.url.removeprefix('http://')}/{repository.uri}{reference}"


def skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run skopeo to its end."""
    return subprocess.run(["skopeo", *arguments], capture_output=True, text=True, check=False, timeout=60)


def _manifest(image: StoredImage) -> Manifest:
    return Manifest(image.manifest.encode(), image.media_type)


def _subjects(image: StoredImage) -> set[str]:
    """The subject of the field, and those of the tags where an image has no others."""
    try:
        body: Mapping[str, object] = json.loads(image.manifest)
    except ValueError:
        return set()
    subject = body.get("subject")
    named = {str(subject["digest"])} if isinstance(subject, dict) else set()
    by_tag = [_REFERRER_TAG.fullmatch(tag) for tag in image.tags]
    return named | ({f"sha256:{tag[1]}" for tag in by_tag if tag} if all(by_tag) else set())
