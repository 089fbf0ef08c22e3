"""Image names in objects whose shape is not known: custom resources, and what ControllerRevisions keep.

Argo Rollouts and Workflows, Knative, Tekton, KEDA, JobSet, Ray, Helm and Kustomize values of GitOps tools: each keeps
images elsewhere. So every text under a name with "image" in it counts, every text anywhere that has the host of a
private registry in it, and registry, repository and tag that stand side by side. Too many names only protect too much.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ecrsweep.core.names import AliasReference, EcrReference, parse_reference
from ecrsweep.sources.clusters.kinds import Found

_Json = Mapping[str, Any]
_Path = tuple[str, ...]

_HINT: Final = re.compile(rb"(?i)image|\.dkr[.-]ecr")
"""An object without this in its bytes names no image that would be found."""

_ECR_NAME: Final = re.compile(
    r"\d{12}\.dkr[.-]ecr(?:-fips)?\.[a-z0-9.-]+(?::443)?/[a-z0-9][a-z0-9._/-]*"
    r"(?P<ending>(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?)"
)
_EXPRESSION: Final = re.compile(r"\{\{|\$[({]")
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{64}")

_REGISTRIES: Final = ("registry", "host", "hub", "imageRegistry", "repoURL")
_REPOSITORIES: Final = (
    "repository", "image", "name", "newName", "imageRepository", "imageName", "baseImage", "url", "chart",
)  # fmt: skip
_TAGS: Final = ("tag", "newTag", "imageTag", "version", "targetRevision")
_DIGESTS: Final = ("digest", "sha", "sha256", "imageDigest")
_CONTAINERS: Final = {
    "containers": "container",
    "initContainers": "init container",
    "ephemeralContainers": "ephemeral container",
}
_WANTED: Final = ("spec", "data")
"""What an object asks for stands here. Names elsewhere count too, but nobody will pull for them of their own accord."""
_OVER: Final = frozenset({"Succeeded", "Failed", "Error", "Completed"})
_OVER_SINCE: Final = ("completionTime", "completionTimestamp", "finishedAt")
_BESIDE_THE_POINT: Final = frozenset({"managedFields"})

EXPRESSION: Final = "names an image by an expression"
TAGLESS: Final = "names a repository without a tag"


class Doubt(msgspec.Struct, frozen=True):
    """A place where an image is named in a way that says too little."""

    why: str
    where: str
    text: str


def is_interesting(body: bytes | msgspec.Raw) -> bool:
    """Whether an object can name an image at all: cheap, and right for most of those that cannot."""
    return _HINT.search(body) is not None


def images_in(thing: Any, *, paths: Sequence[str] = (), prefix: str = "") -> Iterator[Found | Doubt]:  # noqa: ANN401 - JSON
    """Every image name in an object, with the path to it, each once; and where one is named that cannot be understood.

    `paths` lead to further names, as `spec.pools[].runtime`. `prefix` begins every place.
    """
    seen: set[tuple[str, str]] = set()
    over = _is_over(thing)
    for found in (*_by_path(thing, paths), *_everywhere(thing)):
        if isinstance(found, Doubt):
            yield found
        elif (found.image, found.where) not in seen:
            seen.add((found.image, found.where))
            yield Found(found.image, f"{prefix}{found.where}", ended=found.ended or over)


def _everywhere(thing: Any) -> Iterator[Found | Doubt]:  # noqa: ANN401 - JSON
    """The walk over all of it, without recursion: how deep it is, others decide."""
    waiting: list[tuple[_Path, str, bool, Any]] = [((), "", False, thing)]
    while waiting:
        path, key, tagged, value = waiting.pop()
        inner: list[tuple[_Path, str, bool, Any]] = []
        if isinstance(value, str):
            yield from _in_text(path, key, value, tagged=tagged)
        elif isinstance(value, Mapping):
            endings = list(_endings(value))
            yield from _side_by_side(path, value, endings)
            inner += (((*path, name), name, bool(endings), each) for name, each in value.items())
        elif isinstance(value, list):
            before, last = path[:-1], path[-1] if path else ""
            inner += (((*before, f"{last}[{_label(n, each)}]"), key, False, each) for n, each in enumerate(value))
        waiting += (each for each in reversed(inner) if each[1] not in _BESIDE_THE_POINT)


def _in_text(path: _Path, key: str, text: str, *, tagged: bool) -> Iterator[Found | Doubt]:
    """The names in one text: those with a private registry's host, else all of it where its name speaks of an image.

    `tagged` tells that a tag stands beside it: then the text alone means nothing.
    """
    where, wanted, speaks = _place(path), path[:1] in {(name,) for name in _WANTED}, "image" in key.lower()
    expressed = _EXPRESSION.search(text) is not None
    if speaks and expressed:
        yield Doubt(EXPRESSION, where, text)
    names = list(_ECR_NAME.finditer(text))
    for match in names:
        whole = text.rpartition("://")[2] == match[0]
        if match["ending"]:
            yield Found(match[0], where, ended=not (wanted and whole))
        elif not tagged and not expressed:
            yield Found(match[0], where, ended=not (wanted and whole and speaks))
            if wanted and whole:
                yield Doubt(TAGLESS, where, text)
    if speaks and not names and not expressed and isinstance(parse_reference(text), EcrReference | AliasReference):
        yield Found(text, where, ended=not wanted)


def _endings(thing: _Json) -> Iterator[str]:
    """The tags and digests that stand in an object, or in its `ref`, as what follows a repository's name."""
    for each in (thing, thing.get("ref")):
        if isinstance(each, Mapping):
            values = (each[name] for name in _TAGS if isinstance(each.get(name), str | int | float))
            yield from (f":{value}" for value in values if value != "")
            yield from (f"@{digest}" for digest in map(_digest, _texts(each, _DIGESTS)) if digest)


def _side_by_side(path: _Path, thing: _Json, endings: Sequence[str]) -> Iterator[Found]:
    """Names whose parts stand beside each other, as in the values of Helm charts, in Kustomize, Argo CD and Flux."""
    repositories = list(_texts(thing, _REPOSITORIES))
    joined = [f"{registry.rstrip('/')}/{name}" for registry in _texts(thing, _REGISTRIES) for name in repositories]
    for name in (*repositories, *joined):
        if _has_no_ending(name) and isinstance(parse_reference(name), EcrReference | AliasReference):
            for ending in endings or ([""] if name in joined else []):
                yield Found(name + ending, _place(path), ended=path[:1] != ("spec",))


def _by_path(thing: Any, paths: Iterable[str]) -> Iterator[Found]:  # noqa: ANN401 - JSON
    for path in paths:
        for text in _at(thing, path.replace("[]", "").split(".")):
            yield Found(text, path)


def _at(thing: Any, steps: Sequence[str]) -> Iterator[str]:  # noqa: ANN401 - JSON
    """The texts to which the steps lead; lists on the way are gone through, whether the path says so or not."""
    if isinstance(thing, list):
        for each in thing:
            yield from _at(each, steps)
    elif not steps:
        if isinstance(thing, str):
            yield thing
    elif isinstance(thing, Mapping) and steps[0] in thing:
        yield from _at(thing[steps[0]], steps[1:])


def _is_over(thing: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether an object tells that it has run to its end: it stays a while, and pulls nothing any more."""
    status = thing.get("status") if isinstance(thing, Mapping) else None
    if not isinstance(status, Mapping):
        return False
    return status.get("phase") in _OVER or any(status.get(name) for name in _OVER_SINCE)


def _texts(thing: _Json, names: Iterable[str]) -> Iterator[str]:
    return (thing[name] for name in names if isinstance(thing.get(name), str) and thing[name])


def _digest(text: str) -> str | None:
    if _HEXADECIMAL.fullmatch(text):
        return f"sha256:{text}"
    return text if text.startswith("sha256:") else None


def _has_no_ending(name: str) -> bool:
    """Whether an image name has neither a tag nor a digest."""
    return "@" not in name and ":" not in name.rpartition("/")[2]


def _label(number: int, thing: Any) -> str:  # noqa: ANN401 - JSON
    name = thing.get("name") if isinstance(thing, Mapping) else None
    return name if isinstance(name, str) and name else str(number)


def _place(path: _Path) -> str:
    """The path as people read it: the container's name alone, where it stands in the usual template."""
    match path:
        case (*before, last, "image") if last.partition("[")[0] in _CONTAINERS:
            kind, _, name = last.partition("[")
            container = f"{_CONTAINERS[kind]} {name.removesuffix(']')}"
            return container if before[-3:] == ["spec", "template", "spec"] else f"{container} ({'.'.join(before)})"
        case _:
            return ".".join(path)
