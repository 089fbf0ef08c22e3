"""The artifact graph of a repository: what contains what, and what says something about what.

Only the arrangement is here, and the walks over it; what is kept is decided in `plan`. Digests that a
manifest names and the repository does not hold have no place in the graph. All walks are linear in
images and edges, and end on graphs that no honest registry can hold (cycles).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from ecrsweep.core.images import Image

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

    def under(self, digest: str) -> Sequence[str]:
        """What goes and stays with this manifest: its children and its referrers."""
        return (*self.children_of(digest), *self.referrers_of(digest))


def build_graph(images: Iterable[Image], edges: Mapping[str, Sequence[str]]) -> Graph:
    """The graph of a repository. `edges` are the digests that each index or unknown manifest names."""
    held = {image.digest: image for image in images}
    children: dict[str, list[str]] = {}
    parents: dict[str, list[str]] = defaultdict(list)
    for parent, named in edges.items():
        if parent in held:
            children[parent] = [child for child in dict.fromkeys(named) if child in held and child != parent]
            for child in children[parent]:
                parents[child].append(parent)
    subjects, referrers = _subject_edges(held)
    attached = frozenset(digest for digest in subjects if _is_referrer(held[digest]))
    orphans = frozenset(image.digest for image in held.values() if image.digest not in subjects and _is_referrer(image))
    roots = tuple(digest for digest in held if digest not in parents and digest not in attached)
    return Graph(held, children, dict(parents), referrers, subjects, attached, orphans, roots)


def reached(starts: Iterable[str], neighbours: Neighbours) -> set[str]:
    """Everything that can be walked to from `starts`, these included."""
    seen = set(starts)
    waiting = list(seen)
    while waiting:
        for neighbour in neighbours(waiting.pop()):
            if neighbour not in seen:
                seen.add(neighbour)
                waiting.append(neighbour)
    return seen


def levels(digests: Iterable[str], above: Neighbours) -> list[list[str]]:
    """The digests in waves, such that everything `above` one of them is in an earlier wave.

    What stands in a cycle comes last, in a wave of its own.
    """
    wanted = dict.fromkeys(digests)
    below: dict[str, list[str]] = defaultdict(list)
    open_above = dict.fromkeys(wanted, 0)
    for digest in wanted:
        for upper in set(above(digest)):
            if upper in wanted:
                below[upper].append(digest)
                open_above[digest] += 1
    waves: list[list[str]] = []
    wave = [digest for digest, count in open_above.items() if not count]
    while wave:
        waves.append(wave)
        following = []
        for digest in wave:
            del open_above[digest]
            for lower in below[digest]:
                open_above[lower] -= 1
                if not open_above[lower]:
                    following.append(lower)
        wave = following
    return [*waves, list(open_above)] if open_above else waves


def _is_referrer(image: Image) -> bool:
    """A referrer by its subject field, whatever its media type, or by its tags where it has no others."""
    return image.subject is not None or image.refers_by_tag_alone


def _subject_edges(held: Mapping[str, Image]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    subjects: dict[str, list[str]] = {}
    referrers: dict[str, list[str]] = defaultdict(list)
    for image in held.values():
        present = [subject for subject in image.subjects if subject in held and subject != image.digest]
        if present:
            subjects[image.digest] = present
            for subject in present:
                referrers[subject].append(image.digest)
    return subjects, dict(referrers)
