"""Undoing: what has to be done so that images are back, in which order, and what came of it, as data.

Out of the archive an image comes by one call and some twenty minutes; a deleted one comes back only by pushing its manifest
again, while its layers are still there. https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from ecrsweep.core.decisions import Action
from ecrsweep.core.document import PlannedImage
from ecrsweep.core.errors import BadInput
from ecrsweep.core.graph import Graph, build_graph, levels, reached
from ecrsweep.core.images import Image, Inventory, Status
from ecrsweep.core.journal import History, KeptManifest
from ecrsweep.core.manifests import read_manifest
from ecrsweep.core.names import Repository

RESTORE_FORMAT: Final = "ecrsweep.restore/1"


class Outcome(StrEnum):
    """What became of an image, or of one tag of it, that shall be back."""

    RESTORED = "restored"
    """It was archived, and can be pulled again."""
    ACTIVATING = "activating"
    """It is on its way out of the archive, and nobody waits for it any more."""
    WAS_ACTIVE = "was_active"
    """It was there, and so was the tag."""
    PUSHED_BACK = "pushed_back"
    TAG_PUT_BACK = "tag_put_back"
    TAG_TAKEN = "tag_taken"
    """The tag names another image now, and was left alone."""
    GONE = "gone"
    """It is not there, and no manifest of it is known."""
    LAYERS_GONE = "layers_gone"
    """ECR has not all of its layers any more."""
    PARTS_GONE = "parts_gone"
    """An image that it contains is not there."""
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """The call failed, and so did asking what became of it."""
    NOT_TRIED = "not_tried"
    """Stopped before its turn."""


LEFT_UNDONE: Final = frozenset(
    {
        Outcome.TAG_TAKEN, Outcome.GONE, Outcome.LAYERS_GONE, Outcome.PARTS_GONE, Outcome.REFUSED, Outcome.UNKNOWN,
        Outcome.NOT_TRIED,
    }
)  # fmt: skip


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be back in one repository.

    `archived` are digests that shall come out of the archive; with `whole`, everything of their artifacts with them.
    `deleted` shall be pushed again from `manifests`. `untagged` are tags that shall be back, each behind its digest.
    """

    repository: Repository
    archived: tuple[str, ...] = ()
    whole: bool = False
    deleted: tuple[str, ...] = ()
    untagged: tuple[tuple[str, str], ...] = ()
    manifests: Mapping[str, KeptManifest] = {}


class Result(msgspec.Struct, frozen=True):
    """One image, or with `tag` one tag of it: what became of it, and why. `tags` are those that it is known to have or have had."""

    repository: Repository
    digest: str
    outcome: Outcome
    tag: str | None = None
    tags: tuple[str, ...] = ()
    code: str | None = None
    message: str | None = None

    def document(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "account": self.repository.registry.account,
            "region": self.repository.registry.region,
            "repository": self.repository.name,
            "digest": self.digest,
            "tags": list(self.tags),
            "tag": self.tag,
            "outcome": self.outcome.value,
            "code": self.code,
            "message": self.message,
        }


class Course(msgspec.Struct, frozen=True):
    """What has to be done in one repository: waves of images to fetch out of the archive, what to push, then what to tag.

    Everything of a wave can be done side by side. `waiting` are on their way already; `settled` needs nothing, or nothing helps.
    """

    fetch: tuple[tuple[str, ...], ...] = ()
    waiting: tuple[str, ...] = ()
    push: tuple[KeptManifest, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    settled: tuple[Result, ...] = ()
    sizes: Mapping[str, int] = {}
    """Bytes of the images to fetch, as ECR tells them."""


class RestoreResult(msgspec.Struct, frozen=True):
    """What a whole restore came to. `notes` say what it could not know, `stopped_by` why nothing further was tried."""

    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    timed_out: bool = False
    stopped_by: str | None = None

    def only(self, *outcomes: Outcome) -> Iterator[Result]:
        """The images and tags that came to one of these outcomes."""
        return (result for result in self.results if result.outcome in outcomes)

    @property
    def left_undone(self) -> bool:
        """True where something is not back, and by itself will not be in the time that was given."""
        late = self.timed_out and any(self.only(Outcome.ACTIVATING))
        return late or self.stopped_by is not None or any(self.only(*LEFT_UNDONE))

    def summary(self) -> dict[str, int]:
        """Counts by outcome."""
        return {outcome.value: sum(1 for _ in self.only(outcome)) for outcome in Outcome}

    def document(self) -> dict[str, Any]:
        """JSON-able: everything."""
        return {"format": RESTORE_FORMAT, "results": [entry.document() for entry in self.results], **self.footer()}

    def footer(self) -> dict[str, Any]:
        """JSON-able: all but the images."""
        return {
            "summary": self.summary(),
            "notes": list(self.notes),
            "interrupted": self.interrupted,
            "timed_out": self.timed_out,
            "stopped_by": self.stopped_by,
        }


def wishes_of_plan(images: Iterable[PlannedImage]) -> list[Wish]:
    """Everything that a plan archives."""
    by_repository: dict[Repository, list[str]] = defaultdict(list)
    for image in images:
        if image.action is Action.ARCHIVE:
            by_repository[image.place].append(image.digest)
    return [Wish(repository=where, archived=tuple(digests)) for where, digests in by_repository.items()]


def wishes_of_journal(history: History) -> list[Wish]:
    """Everything that a run archived, deleted or took a tag off, or may have. Raises `BadInput` for what is of another account."""
    archived: dict[Repository, list[str]] = defaultdict(list)
    deleted: dict[Repository, list[str]] = defaultdict(list)
    untagged: dict[Repository, list[tuple[str, str]]] = defaultdict(list)
    for where, touched in history.only(Action.ARCHIVE):
        archived[where].append(touched.digest)
    for where, touched in history.only(Action.DELETE):
        deleted[where].append(touched.digest)
    for where, touched in history.only(Action.UNTAG):
        if touched.tag is not None:
            untagged[where].append((touched.digest, touched.tag))
    repositories = dict.fromkeys((*archived, *deleted, *untagged))
    strangers = sorted({where.registry.account for where in repositories} - {history.account})
    if strangers:
        raise BadInput(f"The journal is of account {history.account} and names images of {', '.join(strangers)}")
    return [
        Wish(
            repository=where,
            archived=tuple(dict.fromkeys(archived[where])),
            deleted=tuple(dict.fromkeys(deleted[where])),
            untagged=tuple(dict.fromkeys(untagged[where])),
            manifests=history.manifests.get(where, {}),
        )
        for where in repositories
    ]


def chart(wish: Wish, inventory: Inventory) -> Course:
    """What has to be done so that a wish comes true, from what the repository holds now."""
    graph = build_graph(inventory.images, inventory.edges)
    wanted = _artifacts(wish.archived, graph) if wish.whole else list(wish.archived)
    lost = dict.fromkeys(digest for digest in wish.deleted if digest not in graph.images)
    wanted = [digest for digest in dict.fromkeys((*wanted, *wish.deleted)) if digest not in lost]
    fetch, waiting, settled = [], [], []
    for digest in wanted:
        image = graph.images.get(digest)
        if image is None:
            settled.append(_gone(wish, digest, "it is not in the repository any more"))
        elif image.status == Status.ACTIVE:
            settled.append(Result(wish.repository, digest, Outcome.WAS_ACTIVE, tags=image.tags))
        elif image.status == Status.ACTIVATING:
            waiting.append(digest)
        else:
            fetch.append(digest)
    settled += (
        _gone(wish, digest, "it was deleted, and the journal has no manifest of it")
        for digest in lost
        if digest not in wish.manifests
    )
    push = [wish.manifests[digest] for digest in lost if digest in wish.manifests]
    tags, more = _tags(wish, graph, {kept.digest for kept in push})
    return Course(
        fetch=tuple(tuple(wave) for wave in levels(fetch, *_before(graph))),
        waiting=tuple(waiting),
        push=in_order_of_pushing(push),
        tags=tags,
        settled=(*settled, *more),
        sizes={digest: graph.images[digest].size_bytes for digest in fetch},
    )


def in_order_of_pushing(manifests: Iterable[KeptManifest]) -> tuple[KeptManifest, ...]:
    """Manifests such that each comes behind what it contains, and behind what it says something about.

    ECR takes an index only when all that it contains is there.
    """
    kept = {manifest.digest: manifest for manifest in manifests}
    edges = {digest: _children(manifest) for digest, manifest in kept.items()}
    images = [
        Image(digest, manifest.tags, manifest.media_type, subject=_subject(manifest))
        for digest, manifest in kept.items()
    ]
    waves = levels(kept, *_before(build_graph(images, edges)))
    return tuple(kept[digest] for wave in waves for digest in wave)


def _artifact(graph: Graph, digest: str) -> set[str]:
    """Everything that has to be there so that an image can be pulled by whatever name: what contains it, and all under that."""
    return reached(reached([digest], *graph.up), *graph.down)


def _artifacts(digests: Sequence[str], graph: Graph) -> list[str]:
    """The artifacts of these images, in the order of the repository; those that are not there stay in the list."""
    held = set().union(*(_artifact(graph, digest) for digest in digests if digest in graph.images))
    return [*(d for d in graph.images if d in held), *(d for d in digests if d not in graph.images)]


def _before(graph: Graph) -> tuple[Any, Any]:
    """What has to be there before an image is of use: as an order for `levels`, and another for circles."""
    return lambda d: (*graph.children_of(d), *graph.subjects_of(d)), graph.children_of


def _tags(wish: Wish, graph: Graph, coming: set[str]) -> tuple[tuple[tuple[str, str], ...], tuple[Result, ...]]:
    """The tags that have to be put back, each with its digest, and what of them needs nothing, or nothing helps."""
    names = {tag: image.digest for image in graph.images.values() for tag in image.tags}
    asked = [
        (digest, tag) for digest in wish.deleted if digest in wish.manifests for tag in wish.manifests[digest].tags
    ]
    free, settled = [], []
    for digest, tag in dict.fromkeys((*asked, *wish.untagged)):
        here = Result(wish.repository, digest, Outcome.WAS_ACTIVE, tag, (tag,))
        if names.get(tag) == digest:
            settled.append(here)
        elif tag in names:
            settled.append(taken(here, names[tag]))
        elif digest in graph.images or digest in coming:
            free.append((digest, tag))
        else:
            settled.append(
                msgspec.structs.replace(here, outcome=Outcome.GONE, message="its image is not there any more")
            )
    return tuple(free), tuple(settled)


def taken(tag: Result, digest: str) -> Result:
    """The result of a tag that names another image by now."""
    return msgspec.structs.replace(
        tag, outcome=Outcome.TAG_TAKEN, message=f"the tag names {digest} now, and was left there"
    )


def _gone(wish: Wish, digest: str, why: str) -> Result:
    tags = wish.manifests[digest].tags if digest in wish.manifests else ()
    return Result(wish.repository, digest, Outcome.GONE, tags=tags, message=f"{why}: push it again from its build")


def _children(manifest: KeptManifest) -> tuple[str, ...]:
    try:
        return read_manifest(manifest.content, manifest.media_type).children
    except BadInput:
        return ()  # ECR will say what is wrong with it


class _Descriptor(msgspec.Struct):
    digest: str


class _Referring(msgspec.Struct):
    subject: _Descriptor | None = None


def _subject(manifest: KeptManifest) -> str | None:
    """What a manifest says something about; a manifest that cannot be read says nothing, and ECR will say what is wrong."""
    try:
        found = msgspec.json.decode(manifest.content, type=_Referring)
    except msgspec.MsgspecError:
        return None
    return None if found.subject is None else found.subject.digest
