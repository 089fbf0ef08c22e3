"""The artifact graph of a repository: what contains what, and what says something about what.

Only the arrangement is here, and the walks over it; what is kept is decided in `plan`. Digests that a
manifest names and the repository does not hold have no place in the graph. All walks are linear in
images and edges, and end on graphs that no honest registry can hold (cycles).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from ecrsweep.core.images import Image

Edges = Mapping[str, Sequence[str]]
"""From a digest to others; one without any has no entry, so that the many that stand alone cost nothing."""

Neighbours = Callable[[str], Iterable[str]]


class Graph(msgspec.Struct, frozen=True):
    """Images by digest and their edges.

    `children`/`parents`: an index and what it lists. `referrers`/`subjects`: what says something about
    an image, and that image. `attached`: referrers whose subject is here; they belong to its artifact.
    `orphans`: referrers whose subject is gone. `roots`: the head of each artifact.
    """

    images: dict[str, Image]
    children: dict[str, list[str]]
    parents: dict[str, list[str]]
    referrers: dict[str, list[str]]
    subjects: dict[str, list[str]]
    attached: frozenset[str]
    orphans: frozenset[str]
    roots: tuple[str, ...]

    def children_of(self, digest: str) -> Sequence[str]:
        """What this manifest lists."""
        return self.children.get(digest, ())

    def parents_of(self, digest: str) -> Sequence[str]:
        """The manifests that list this one."""
        return self.parents.get(digest, ())

    def referrers_of(self, digest: str) -> Sequence[str]:
        """What says something about this manifest."""
        return self.referrers.get(digest, ())

    def subjects_of(self, digest: str) -> Sequence[str]:
        """What this manifest says something about."""
        return self.subjects.get(digest, ())

    def above(self, digest: str) -> Sequence[str]:
        """What this manifest belongs to: the indexes that list it, and what it says something about."""
        return (*self.parents_of(digest), *self.subjects_of(digest))

    def under(self, digest: str) -> Sequence[str]:
        """What goes and stays with this manifest: its children and its referrers."""
        return (*self.children_of(digest), *self.referrers_of(digest))

    @property
    def down(self) -> tuple[Edges, Edges]:
        """The edges to what goes and stays with a manifest: its children and its referrers."""
        return self.children, self.referrers

    @property
    def up(self) -> tuple[Edges, Edges]:
        """The edges to what a manifest belongs to: what lists it, and what it says something about."""
        return self.parents, self.subjects


def build_graph(images: Iterable[Image], edges: Mapping[str, Sequence[str]]) -> Graph:
    """The graph of a repository, in the order of the images. `edges` are the digests that each index or unknown manifest names."""
    held = {image.digest: image for image in images}
    children: dict[str, list[str]] = {}
    parents: dict[str, list[str]] = defaultdict(list)
    for parent, named in edges.items():
        if parent in held:
            children[parent] = [child for child in dict.fromkeys(named) if child in held and child != parent]
            for child in children[parent]:
                parents[child].append(parent)
    speaking = [image for image in held.values() if image.may_refer]
    subjects, referrers = _subject_edges(speaking, held, children)
    attached = frozenset(digest for digest in subjects if _is_referrer(held[digest]))
    orphans = frozenset(
        image.digest for image in speaking if _is_referrer(image) and not any(s in held for s in image.subjects)
    )
    below = parents.keys() | attached
    roots = tuple(digest for digest in held if digest not in below) if below else tuple(held)
    return Graph(held, children, dict(parents), referrers, subjects, attached, orphans, roots)


def reached(starts: Iterable[str], *edges: Edges, within: AbstractSet[str] | None = None) -> set[str]:
    """Everything that can be walked to from `starts`, these included, without leaving `within`."""
    seen = set(starts)
    waiting = [digest for some in edges for digest in min(seen, some, key=len) if digest in seen and digest in some]
    while waiting:
        digest = waiting.pop()
        for some in edges:
            for neighbour in some.get(digest, ()):
                if neighbour not in seen and (within is None or neighbour in within):
                    seen.add(neighbour)
                    waiting.append(neighbour)
    return seen


def levels(digests: Iterable[str], *orders: Neighbours) -> list[list[str]]:
    """The digests in waves, such that everything above one of them is in an earlier wave.

    The first of `orders` says what is above; where that goes round in a circle, the next one does for the rest. What is
    left in a circle at last is a wave of its own.
    """
    waves: list[list[str]] = []
    left = list(dict.fromkeys(digests))
    for above in orders:
        more, left = _waves(left, above)
        waves += more
    return [*waves, left] if left else waves


def _waves(digests: Sequence[str], above: Neighbours) -> tuple[list[list[str]], list[str]]:
    """The waves, and what is in or under a circle."""
    below: dict[str, list[str]] = defaultdict(list)
    waiting_for = dict.fromkeys(digests, 0)
    for digest in digests:
        for upper in set(above(digest)):
            if upper in waiting_for:
                below[upper].append(digest)
                waiting_for[digest] += 1
    waves: list[list[str]] = []
    wave = [digest for digest, count in waiting_for.items() if not count]
    while wave:
        waves.append(wave)
        following = []
        for digest in wave:
            del waiting_for[digest]
            for lower in below[digest]:
                waiting_for[lower] -= 1
                if not waiting_for[lower]:
                    following.append(lower)
        wave = following
    return waves, list(waiting_for)


def _is_referrer(image: Image) -> bool:
    """A referrer by its subject field, whatever its media type, or by its tags where it has no others."""
    return image.subject is not None or image.refers_by_tag_alone


def _subject_edges(
    speaking: Sequence[Image], held: Mapping[str, Image], children: Edges
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Who of those that may refer does, and to whom. A manifest that contains its own subject belongs to it by containing it, and no other way."""
    subjects: dict[str, list[str]] = {}
    referrers: dict[str, list[str]] = defaultdict(list)
    for image in speaking:
        present = [subject for subject in image.subjects if subject in held and subject != image.digest]
        if present and image.digest in children:
            contained = reached([image.digest], children)
            present = [subject for subject in present if subject not in contained]
        if present:
            subjects[image.digest] = present
            for subject in present:
                referrers[subject].append(image.digest)
    return subjects, dict(referrers)
