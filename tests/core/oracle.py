"""What stays, told a second time from the text of the rules alone, with plain sets and fixed points.

It shares nothing with `core.retention` and `core.graph` but the words for images and policies, and takes no care of speed.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ecrsweep.core.images import Image, Inventory, Status
from ecrsweep.core.policy import Policy
from tests.core.worlds import Memory, Mention

_KNOWN: Final = re.compile(
    r"application/vnd\.(docker\.distribution\.manifest\.(v1\+json|v1\+prettyjws|v2\+json|list\.v2\+json)"
    r"|oci\.(image|artifact)\.manifest\.v1\+json|oci\.image\.index\.v1\+json)"
)


def kept(inventory: Inventory, in_use: Iterable[str], policy: Policy, now: float) -> set[str]:
    """The digests that stay."""
    return _Repository(inventory, set(in_use), policy, now).kept()


@dataclass(frozen=True)
class Arrangement:
    """Who contains whom, who speaks of whom, and what heads an artifact."""

    contains: set[tuple[str, str]]
    says: set[tuple[str, str]]
    roots: set[str]
    attached: set[str]
    orphans: set[str]


def arrangement(inventory: Inventory) -> Arrangement:
    """What belongs together in a repository."""
    told = _Repository(inventory, set(), Policy(), 0.0)
    orphans = {d for d in told.referrers if not _subjects(told.images[d]) & set(told.images)}
    return Arrangement(told.contains, told.says, told.roots(), told.attached, orphans)


def fates(
    inventory: Inventory, in_use: Iterable[str], policy: Policy, now: float, held: Iterable[str] = ()
) -> dict[str, str]:
    """What becomes of every image: keep, archive or delete."""
    return _Repository(inventory, set(in_use) | set(held), policy, now).fates()


def untagged(
    inventory: Inventory, staying: Iterable[str], named: Iterable[str], policy: Policy, now: float
) -> set[str]:
    """The tags that go from images that stay: never the last, never one that is named, protected, or that keeps."""
    repository = _Repository(inventory, set(), policy, now)
    spared = set(named) | repository.tags_that_keep()
    gone: set[str] = set()
    for digest in staying:
        image = repository.images[digest]
        if image.status is not Status.ACTIVE or image.pushed_at is None or now - image.pushed_at <= policy.grace:
            continue
        going = [
            tag
            for tag in sorted(image.tags)
            if any(fnmatch.fnmatchcase(tag, pattern) for pattern in policy.untag)
            and not policy.protecting(tag)
            and not re.match(r"sha256-[0-9a-f]{64}($|[^0-9a-f])", tag)
            and tag not in spared
        ]
        gone |= set(going[:-1] if len(going) == len(image.tags) else going)
    return gone


def used(inventory: Inventory, mentions: Iterable[Mention]) -> set[str]:
    """The digests of a repository that these mentions mean, certainly or possibly."""
    return {image.digest for image in inventory.images for mention in mentions if _means(mention, image, inventory)}


def recalled(inventory: Inventory, memories: Iterable[Memory], policy: Policy, now: float) -> set[str]:
    """The digests of a repository that somebody saw in use recently enough. A time that is yet to come is recent."""
    window = policy.used_within
    fresh = [memory for memory in memories if window is not None and memory.sighting.last_seen >= now - window]
    by_name = used(inventory, [memory.mention for memory in fresh if memory.mention is not None])
    region = inventory.repository.registry.region
    alone = {memory.sighting.digest for memory in fresh if memory.region == region}
    return by_name | {image.digest for image in inventory.images if image.digest in alone}


def _means(mention: Mention, image: Image, inventory: Inventory) -> bool:
    digests = {mention.digest, mention.use.digest} - {None}
    if image.digest in mention.loose or (mention.path is not None and image.digest in digests):
        return True
    here = mention.repository == inventory.repository or _ends_with(mention.path, inventory.repository.name)
    return here and (
        image.digest in digests or mention.tag in image.tags or _may_be_what_runs(mention, image, inventory)
    )


def _ends_with(path: str | None, name: str) -> bool:
    return path is not None and f"/{path}".endswith(f"/{name}")


def _may_be_what_runs(mention: Mention, image: Image, inventory: Inventory) -> bool:
    """Known by a tag alone, and that tag now names nothing, or something pushed after the workload started."""
    started, until = mention.use.resolved_from, mention.use.resolved_until
    if mention.digest or mention.use.digest or started is None or image.tags or _subjects(image):
        return False
    named = [other for other in inventory.images if mention.tag in other.tags]
    stayed = any(_pushed(other) <= started for other in named)
    return not stayed and (image.pushed_at is None or until is None or image.pushed_at < until)


class _Repository:
    def __init__(self, inventory: Inventory, in_use: set[str], policy: Policy, now: float) -> None:
        self.images = {image.digest: image for image in inventory.images}
        self.contains = {
            (parent, child)
            for parent, children in inventory.edges.items()
            for child in children
            if parent in self.images and child in self.images and parent != child
        }
        self.says = {
            (image.digest, subject)
            for image in inventory.images
            for subject in _subjects(image)
            if subject in self.images and subject not in self.below(image.digest)
        }
        self.in_use, self.policy, self.now = in_use, policy, now
        self.referrers = {d for d, image in self.images.items() if _is_referrer(image)}
        self.attached = {d for d in self.referrers if any(who == d for who, _ in self.says)}

    def kept(self) -> set[str]:
        return {digest for digest, fate in self.fates().items() if fate == "keep"}

    def fates(self) -> dict[str, str]:
        kept = self.kept_by_criteria()
        left = set(self.images) - kept
        active = {d for d in left if self.images[d].status is Status.ACTIVE}
        waiting = {d for d in left - active if not self.is_over(d)}
        if self.policy.otherwise in {"archive", "trial"}:
            together = self.downwards(self.upwards_within(active | waiting, left))
            idle_and_waiting = (left - active) & together
            fates = dict.fromkeys(self.images, "delete") | dict.fromkeys(active, "archive")
            return fates | dict.fromkeys(kept | idle_and_waiting, "keep")
        bound = waiting | (active if self.policy.otherwise == "keep" else set())
        return dict.fromkeys(self.images, "delete") | dict.fromkeys(self.downwards(kept | bound), "keep")

    def is_over(self, d: str) -> bool:
        """True where an archived image has been there for as long as the policy says."""
        image, policy = self.images[d], self.policy
        limit = policy.trial_for if policy.otherwise == "trial" else policy.delete_after_archived
        if image.status is not Status.ARCHIVED or image.archived_at is None or limit is None:
            return False
        return self.now - image.archived_at > limit

    def upwards_within(self, found: set[str], left: set[str]) -> set[str]:
        while True:
            above = {p for p, c in self.contains if c in found} | {s for r, s in self.says if r in found}
            if above & left <= found:
                return found
            found = found | (above & left)

    def downwards(self, found: set[str]) -> set[str]:
        while True:
            more = {c for p, c in self.contains if p in found} | {r for r, s in self.says if s in found}
            if more <= found:
                return found
            found = found | more

    def kept_by_criteria(self) -> set[str]:
        found = {d for d in self.images if self.holds_by_itself(d)} | self.newest() | self.circular()
        found |= self.upwards({d for d in self.images if self.is_strong(d)}, through_subjects=True)
        found |= self.upwards(
            {d for d in self.images.keys() - self.attached if self.is_recent(d)}, through_subjects=False
        )
        while True:
            more = {c for p, c in self.contains if p in found} | {r for r, s in self.says if s in found}
            if more <= found:
                return found
            found |= more

    def circular(self) -> set[str]:
        """What contains, or speaks of, itself by some way round: nobody can say what it is part of."""
        found = self.roots()
        while True:
            more = {c for p, c in self.contains if p in found} | {r for r, s in self.says if s in found}
            if more <= found:
                return set(self.images) - found
            found |= more

    def upwards(self, found: set[str], *, through_subjects: bool) -> set[str]:
        while True:
            more = {p for p, c in self.contains if c in found}
            if through_subjects:
                more |= {s for r, s in self.says if r in found}
            if more <= found:
                return found
            found = found | more

    def roots(self) -> set[str]:
        return {d for d in self.images if d not in self.attached and not any(c == d for _, c in self.contains)}

    def below(self, root: str) -> set[str]:
        """What a manifest contains, at any depth, and itself."""
        found = {root}
        while True:
            more = {c for p, c in self.contains if p in found}
            if more <= found:
                return found
            found |= more

    def is_tagged(self, root: str) -> bool:
        """A tag of a referrer makes nothing tagged: neither of one that is attached, nor of an orphan."""
        silent = self.attached | {d for d in self.referrers if not _subjects(self.images[d]) & set(self.images)}
        return any(self.images[d].tags and d not in silent for d in self.below(root))

    def newest(self) -> set[str]:
        return set(self.ranked(self.roots(), self.tags_of)[: self.policy.newest]) | {
            root for roots in self.groups().values() for root in roots
        }

    def ranked(self, roots: Iterable[str], tags: Callable[[str], Iterable[str]]) -> list[str]:
        """The tagged ones that are not archived, newest first."""
        counting = [d for d in roots if self.is_tagged(d) and self.images[d].status is not Status.ARCHIVED]
        by_push = sorted(counting, key=lambda d: (-_pushed(self.images[d]), d))
        if self.policy.order == "pushed":
            return by_push
        return sorted(by_push, key=lambda d: max(map(_version, tags(d)), default=()), reverse=True)

    def tags_of(self, root: str) -> set[str]:
        """The tags of an artifact, but for those of its referrers."""
        silent = self.attached | {d for d in self.referrers if not _subjects(self.images[d]) & set(self.images)}
        return {tag for d in self.below(root) - silent for tag in self.images[d].tags}

    def groups(self) -> dict[tuple[str, int], list[str]]:
        """The artifacts that have a place in a group: by what the group's name says, and by the rule."""
        found = {}
        for number, rule in enumerate(self.policy.newest_per):
            of: dict[str, dict[str, set[str]]] = {}
            for root in self.roots():
                for tag in self.tags_of(root):
                    match = re.search(rule.pattern, tag)
                    if match:
                        of.setdefault(str(match.groups()), {}).setdefault(root, set()).add(tag)
            for word, tags in of.items():
                # Equal versions stand as they do among all artifacts.
                overall = self.ranked(tags, self.tags_of)
                in_group = self.ranked(tags, tags.__getitem__)
                in_group.sort(
                    key=lambda d, tags=tags, overall=overall: (  # type: ignore[misc]
                        _reversed(max(map(_version, tags[d]), default=())) if self.policy.order == "semver" else 0,
                        overall.index(d),
                    )
                )
                found[word, number] = in_group[: rule.newest]
        return found

    def tags_that_keep(self) -> set[str]:
        """The tags by which an artifact has a place in a group."""
        return {
            tag
            for (word, number), roots in self.groups().items()
            for root in roots
            for tag in self.tags_of(root)
            if (match := re.search(self.policy.newest_per[number].pattern, tag)) and str(match.groups()) == word
        }

    def holds_by_itself(self, d: str) -> bool:
        image = self.images[d]
        unknown = not _KNOWN.fullmatch(image.media_type or "")
        fresh = self.age(image) <= self.policy.grace
        back = image.activated_at is not None and self.now - image.activated_at <= self.policy.grace
        return self.is_strong(d) or unknown or fresh or back or (d not in self.attached and self.is_recent(d))

    def is_strong(self, d: str) -> bool:
        return d in self.in_use or any(self.policy.protecting(tag) for tag in self.images[d].tags)

    def is_recent(self, d: str) -> bool:
        image, policy = self.images[d], self.policy
        homes = {root for root in self.roots() if d in self.below(root)}
        tagged = any(self.is_tagged(root) for root in homes) or not homes
        untagged = any(not self.is_tagged(root) for root in homes) or not homes
        pulled = float("inf") if image.pulled_at is None else self.now - image.pulled_at
        age = self.age(image)
        back = float("inf") if image.activated_at is None else self.now - image.activated_at
        return (
            back <= policy.grace
            or (policy.pulled_within is not None and back <= policy.pulled_within)
            or (policy.pulled_within is not None and pulled <= policy.pulled_within)
            or (policy.pulled_within is not None and tagged and age <= policy.pulled_within)
            or (policy.pushed_within is not None and age <= policy.pushed_within)
            or (untagged and age <= policy.untagged_for)
            or age <= policy.grace
        )

    def age(self, image: Image) -> float:
        return self.now - _pushed(image)


def _pushed(image: Image) -> float:
    return float("inf") if image.pushed_at is None else image.pushed_at


def _version(tag: str) -> tuple[object, ...]:
    """Sorts like the version that a tag names; () where it names none."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(\.\d+)?(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(_[0-9A-Za-z.-]+)?", tag)
    if not found:
        return ()
    numbers = [int(found[1]), int(found[2]), int((found[3] or ".0")[1:])]
    before = (found[4] or "")[1:]
    parts = [[0, int(part), ""] if part.isdigit() else [1, 0, part] for part in before.split(".") if part]
    return (*numbers, not before, parts)


class _reversed:  # noqa: N801 - reads like the word of the language
    """Turns an order round."""

    def __init__(self, key: tuple[object, ...]) -> None:
        self.key = key

    def __lt__(self, other: "_reversed") -> bool:
        return self.key > other.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _reversed) and self.key == other.key

    __hash__ = None  # type: ignore[assignment]


def _subjects(image: Image) -> set[str]:
    by_tag = {f"sha256:{tag[7:71]}" for tag in image.tags if re.match(r"sha256-[0-9a-f]{64}($|[^0-9a-f])", tag)}
    return by_tag | ({image.subject} if image.subject else set())


def _is_referrer(image: Image) -> bool:
    of_that_form = [bool(re.match(r"sha256-[0-9a-f]{64}($|[^0-9a-f])", tag)) for tag in image.tags]
    return image.subject is not None or (bool(of_that_form) and all(of_that_form))
