"""The newest of a repository: which artifacts have a place among them, as a whole and in each group of tags.

Artifacts count, not manifests. Untagged artifacts and archived ones take no place. Equal push times: the smaller
digest counts as newer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import count

import msgspec

from ecrsweep.core.graph import Graph, reached
from ecrsweep.core.images import Image, Status
from ecrsweep.core.policy import NewestPer, Order, Policy
from ecrsweep.core.versions import highest_version


class Place(msgspec.Struct, frozen=True, gc=False):
    """A place that an artifact has in a ranking: the how manieth of how many that are kept, and of what, in words."""

    rank: int
    newest: int
    of: str = ""

    @property
    def described(self) -> str:
        """Such as "3 of the newest 5 with branch=main"."""
        return f"{self.rank} of the newest {self.newest}" + (f" with {self.of}" if self.of else "")


class Standing(msgspec.Struct, frozen=True):
    """Where the artifacts of a repository stand, by the digest of their roots.

    `ranking` counts all that are tagged and not archived. `places` are those that keep. `speaking` are the tags by which an
    artifact has a place in a group.
    """

    ranking: dict[str, int]
    places: dict[str, list[Place]]
    speaking: set[str]


def newest_first(image: Image) -> tuple[float, str]:
    """Sorts images by push time. One whose push time nobody tells counts as the newest."""
    return (float("-inf") if image.pushed_at is None else -image.pushed_at, image.digest)


def stand(graph: Graph, tagged: AbstractSet[str], policy: Policy | None) -> Standing:
    """Where the artifacts with these roots stand, in a graph that has the newest image first. Linear but for sorting."""
    archived = Status.ARCHIVED  # looked up once: this is asked of every image
    roots = [digest for digest, head in graph.images.items() if digest in tagged and head.status != archived]
    standing = Standing({}, defaultdict(list), set())
    if policy is not None:
        tags = _tags_of(graph, roots) if policy.newest_per or policy.order is Order.SEMVER else {}
        roots = _in_order(policy, roots, tags)
        for rank, digest in enumerate(roots[: policy.newest], start=1):
            standing.places[digest].append(Place(rank, policy.newest))
        for group in policy.newest_per:
            _stand_in_groups(policy, group, roots, tags, standing)
    standing.ranking.update(zip(roots, count(1), strict=False))
    return standing


def _tags_of(graph: Graph, roots: Iterable[str]) -> dict[str, list[str]]:
    """The tags of each artifact, but for those of its referrers."""
    silent = graph.attached | graph.orphans
    return {
        root: sorted(tag for digest in reached([root], graph.children) - silent for tag in graph.images[digest].tags)
        for root in roots
    }


def _in_order(policy: Policy, roots: list[str], tags: Mapping[str, Sequence[str]]) -> list[str]:
    """The roots, which come by push time, as the policy orders them."""
    if policy.order is Order.PUSHED:
        return roots
    return sorted(roots, key=lambda root: highest_version(tags[root]), reverse=True)


def _stand_in_groups(
    policy: Policy, group: NewestPer, roots: Sequence[str], tags: Mapping[str, Sequence[str]], standing: Standing
) -> None:
    members: dict[tuple[str | None, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for root in roots:
        for tag in tags[root]:
            key = group.group_of(tag)
            if key is not None:
                members[key][root].append(tag)
    for key, matching in members.items():
        kept = _in_order(policy, list(matching), matching)[: group.newest]
        of = ", ".join(f"{name}={value}" for name, value in zip(group.names, key, strict=True))
        for rank, digest in enumerate(kept, start=1):
            standing.places[digest].append(Place(rank, group.newest, of))
            standing.speaking.update(matching[digest])
