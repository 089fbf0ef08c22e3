"""A plan: decisions, the gates that hold them back, and what they add up to.

Gates turn what would go into what is held: a source or manifest that could not be read, a plan larger
than its owner expects, a world that changed since. They never touch what is kept.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from ecrsweep.core.decisions import GOING, Action, Code, Decision, Reason
from ecrsweep.core.images import Gap, Inventory, OwnReads, Status
from ecrsweep.core.ledger import merged, seen_in
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.policy import DAY, Limits, Policy
from ecrsweep.core.retention import Evidence, decide
from ecrsweep.core.savings import Sizes, sizes_of
from ecrsweep.core.uses import Coverage, Matched, Sighting, Use

PLAN_LIFE: Final = DAY
"""Seconds for which apply takes a saved plan."""


class Summary(msgspec.Struct, frozen=True):
    """Counts of images by action. Bytes are an upper bound: layers are shared, an index has its largest child's size.

    `untag` counts images that stay and lose tags; they are not counted as kept besides.
    """

    repositories: int = 0
    images: int = 0
    keep: int = 0
    archive: int = 0
    delete: int = 0
    hold: int = 0
    delete_bytes_upper_bound: int = 0
    untag: int = 0
    archive_bytes_upper_bound: int = 0

    @property
    def going(self) -> int:
        """Images that will be out of reach."""
        return self.delete + self.archive

    @property
    def changing(self) -> int:
        """Images that an apply has something to do for."""
        return self.going + self.untag

    def __add__(self, other: "Summary") -> "Summary":
        """Field by field."""
        return Summary(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


class HeldRegistry(msgspec.Struct, frozen=True):
    """A registry in which nothing is to be changed, whatever was decided of its images, and why."""

    registry: Registry
    reason: Reason

    @property
    def described(self) -> str:
        """In words: where, and why."""
        return f"account {self.registry.account} in {self.registry.region} ({self.reason.detail})"


class Missed(msgspec.Struct, frozen=True):
    """An image that cannot be pulled, because it is archived, although something uses it."""

    repository: Repository
    digest: str
    tags: tuple[str, ...]
    state: str
    used_by: tuple[str, ...]


class RepositoryPlan(msgspec.Struct, frozen=True):
    """The decisions of one repository, newest push first, the uses that find no image in it, and its gaps.

    `seen` is what the run saw in use there, for the ledger. `sizes` None: nobody asked for the true bytes.
    """

    repository: Repository
    decisions: tuple[Decision, ...]
    unresolved: tuple[Use, ...] = ()
    gaps: tuple[Gap, ...] = ()
    own_reads: OwnReads = OwnReads()
    seen: tuple[Sighting, ...] = ()
    sizes: Sizes | None = None

    @property
    def missed(self) -> Iterator[Missed]:
        """The images that something uses and nobody can pull."""
        active = Status.ACTIVE  # looked up once: this is asked of every image
        for decision in self.decisions:
            image = decision.image
            if image.status != active:
                users = tuple(reason.detail for reason in decision.reasons if reason.code is Code.IN_USE)
                if users:
                    yield Missed(self.repository, image.digest, image.tags, str(image.status), users)

    @property
    def summary(self) -> Summary:
        """Counts of these decisions."""
        counts = Counter([decision.action for decision in self.decisions])
        sizes = {
            action: sum([decision.image.size_bytes for decision in self.decisions if decision.action is action])
            if counts[action]
            else 0
            for action in GOING
        }
        return Summary(
            repositories=1,
            images=len(self.decisions),
            keep=counts[Action.KEEP],
            archive=counts[Action.ARCHIVE],
            delete=counts[Action.DELETE],
            hold=counts[Action.HOLD],
            delete_bytes_upper_bound=sizes[Action.DELETE],
            untag=counts[Action.UNTAG],
            archive_bytes_upper_bound=sizes[Action.ARCHIVE],
        )


class Explanation(msgspec.Struct, frozen=True):
    """Everything known about one image: its decision, its neighbours in the graph by digest, and who was seen using it."""

    repository: Repository
    decision: Decision
    parents: tuple[str, ...]
    children: tuple[str, ...]
    subjects: tuple[str, ...]
    referrers: tuple[str, ...]
    history: tuple[Sighting, ...] = ()


def plan_repository(
    inventory: Inventory,
    matched: Matched,
    policy: Policy | None,
    now: float,
    *,
    remembered: Mapping[str, Reason] | None = None,
    held: Mapping[str, Sequence[Reason]] | None = None,
    whole: Reason | None = None,
    census_gaps: Sequence[Coverage] = (),
    limits: Limits | None = None,
) -> RepositoryPlan:
    """One decision for every image of the inventory.

    `policy` None: nobody governs the repository, all is kept. `now` in seconds since the epoch. `remembered` are the
    reasons that earlier runs left, `held` those of owners, by digest; `whole` is why nothing of it is to be touched.
    `limits` None: none are asked, or they are overridden.
    """
    evidence = Evidence(matched.reasons, remembered or {}, held or {}, frozenset(matched.named), whole)
    decisions = decide(inventory, evidence, policy, now)
    gate = _gap(census_gaps, inventory.gaps)
    if gate is None and limits is not None:
        gate = _repository_limit(decisions, limits)
    if gate is not None:
        decisions = [hold(decision, gate) for decision in decisions]
    return RepositoryPlan(
        inventory.repository,
        tuple(decisions),
        tuple(matched.unresolved),
        inventory.gaps,
        inventory.own_reads,
        merged(seen_in(inventory.repository, matched, now)),
        None if inventory.layers is None else sizes_of(decisions, inventory.layers),
    )


def hold(decision: Decision, reason: Reason) -> Decision:
    """The decision held back where it would have changed something; what is kept anyway stays kept."""
    if decision.action is Action.KEEP:
        return decision
    return Decision(decision.image, Action.HOLD, (reason,))


def run_limit(limits: Limits, summary: Summary) -> Reason | None:
    """Why the whole run is held by a limit; None where it is not.

    Bytes are held to the upper bound, also where the true bytes are known: a limit may stop too much, never too little.
    """
    return _limit(limits.max_images, limits.max_bytes, summary)


def held_by_limits(limits: Limits, summaries: Mapping[Registry, Summary]) -> tuple[HeldRegistry, ...]:
    """The registries that are held by a limit of their own, by account and region. Bytes as in `run_limit`."""
    most_images, most_bytes = limits.max_images_per_registry, limits.max_bytes_per_registry
    reasons = {registry: _limit(most_images, most_bytes, summaries[registry]) for registry in sorted(summaries)}
    return tuple(HeldRegistry(registry, reason) for registry, reason in reasons.items() if reason is not None)


def _limit(most_images: int | None, most_bytes: int | None, summary: Summary) -> Reason | None:
    if most_images is not None and summary.going > most_images:
        return Reason(Code.LIMIT, f"{summary.going} images would go, the limit is {most_images}")
    size = summary.delete_bytes_upper_bound + summary.archive_bytes_upper_bound
    if most_bytes is not None and size > most_bytes:
        return Reason(Code.LIMIT, f"up to {size} bytes would go, the limit is {most_bytes}")
    return None


def _gap(census: Sequence[Coverage], inventory: Sequence[Gap]) -> Reason | None:
    """One reason for all gaps: the first in words, the others counted; the plan's coverage has each."""
    found = [entry.drop or f"{entry.place}: {entry.error}" for entry in census] + [gap.error for gap in inventory]
    if not found:
        return None
    return Reason(Code.COVERAGE_GAP, found[0] if len(found) == 1 else f"{found[0]} (and {len(found) - 1} more)")


def _repository_limit(decisions: Sequence[Decision], limits: Limits) -> Reason | None:
    if limits.max_fraction is None or len(decisions) <= limits.fraction_from:
        return None
    going = len([None for decision in decisions if decision.action in GOING])
    if going <= limits.max_fraction * len(decisions):
        return None
    return Reason(
        Code.LIMIT, f"{going} of {len(decisions)} images would go, the limit is a fraction of {limits.max_fraction:g}"
    )
