"""The policy replayed over the past: which images it would have let go that were pulled afterwards.

Rests on what DescribeImages tells of the past: the push time, the last recorded pull, and the tags of now
(https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html). Each day is exactly `retention.decide` over
the repository as far as it can be known to have been then, without evidence of use. What a replay can't know is told
to users in docs/simulate.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ecrsweep.core.decisions import CHANGING, GOING, Action, Code, Decision, Reason
from ecrsweep.core.document import coverage_document, policy_document
from ecrsweep.core.images import Image, Inventory, Status
from ecrsweep.core.names import Repository
from ecrsweep.core.policy import DAY, DURATIONS, Policy
from ecrsweep.core.retention import Evidence, decide
from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage, Use

SIMULATION_FORMAT: Final = "ecrsweep.simulation/1"

_SLACK: Final = 1.0
# Seconds by which the end of a window may be off: sums of floats are not exact, and a day looked at in vain costs little.

_SEEN: Final = Reason(Code.USED_RECENTLY)


class Hindsight(msgspec.Struct, frozen=True):
    """What is known today of the use of images, by digest, and speaks for them in no replay: uses of now, and the ledger.

    The uses of `seen` say by `resolved_from` and `resolved_until` when they were seen first and last.
    """

    in_use: Mapping[str, Sequence[Reason]] = {}
    seen: Mapping[str, Sequence[Use]] = {}


class Regret(msgspec.Struct, frozen=True):
    """An image that would have gone at `gone_at`, and was pulled after that. `image` is as it is now.

    `in_use_now`: the uses of now would have kept it on that day. `seen_then`: so would what the ledger remembers of that day.
    """

    repository: Repository
    policy: str
    image: Image
    gone_at: float
    action: Action
    in_use_now: bool
    seen_then: bool

    @property
    def is_saved(self) -> bool:
        """True where evidence of use, which the replay leaves out, would have kept it."""
        return self.in_use_now or self.seen_then

    @property
    def pulled_at(self) -> float:
        """The last pull that is recorded: there may have been others before it."""
        return self.image.pulled_at or 0.0

    def document(self) -> dict[str, Any]:
        """The regret as JSON-able data."""
        image = self.image
        return {
            "policy": self.policy,
            "account": self.repository.registry.account,
            "region": self.repository.registry.region,
            "repository": self.repository.name,
            "digest": image.digest,
            "tags": sorted(image.tags),
            "kind": image.kind.value,
            "pushed_at": None if image.pushed_at is None else rfc3339(image.pushed_at),
            "gone_at": rfc3339(self.gone_at),
            "action": self.action.value,
            "pulled_at": rfc3339(self.pulled_at),
            "in_use_now": self.in_use_now,
            "seen_then": self.seen_then,
        }


class Replay(msgspec.Struct, frozen=True):
    """What the replay of one repository came to: how many images were there on any of the days, and how many would have gone."""

    repository: Repository
    policy: Policy | None
    images: int
    gone: int = 0
    regrets: tuple[Regret, ...] = ()


class PolicyReplay(msgspec.Struct, frozen=True):
    """What the replay of one policy came to, over all repositories that it governs."""

    policy: Policy
    repositories: int
    images: int
    gone: int
    regrets: tuple[Regret, ...]

    @classmethod
    def of(cls, policy: Policy, replays: Sequence[Replay]) -> "PolicyReplay":
        """The sum over the repositories of a policy."""
        return cls(
            policy,
            len(replays),
            sum(one.images for one in replays),
            sum(one.gone for one in replays),
            tuple(regret for one in replays for regret in one.regrets),
        )

    @property
    def in_use_now(self) -> int:
        """How many regrets the uses of now would have kept."""
        return sum(regret.in_use_now for regret in self.regrets)

    @property
    def seen_then(self) -> int:
        """How many regrets the ledger would have kept."""
        return sum(regret.seen_then for regret in self.regrets)

    @property
    def unsaved(self) -> int:
        """How many regrets no evidence speaks for."""
        return sum(not regret.is_saved for regret in self.regrets)

    def document(self) -> dict[str, Any]:
        """The row of this policy as JSON-able data."""
        days = sorted(regret.gone_at for regret in self.regrets)
        return {
            "policy": policy_document(self.policy),
            "repositories": self.repositories,
            "images": self.images,
            "gone": self.gone,
            "regretted": len(self.regrets),
            "in_use_now": self.in_use_now,
            "seen_then": self.seen_then,
            "unsaved": self.unsaved,
            "first_regret_at": rfc3339(days[0]) if days else None,
            "last_regret_at": rfc3339(days[-1]) if days else None,
        }


class Simulation(msgspec.Struct, frozen=True):
    """All policies replayed, a run a day at each of `moments`. `not_governed` counts the repositories that no policy governs."""

    created_at: float
    tool_version: str
    moments: tuple[float, ...]
    policies: tuple[PolicyReplay, ...]
    coverage: tuple[Coverage, ...]
    not_governed: int = 0
    foreign_uses: int = 0

    @property
    def regrets(self) -> list[Regret]:
        """All of them: first those that no evidence speaks for, and of these first what was pulled last."""
        return sorted((regret for replayed in self.policies for regret in replayed.regrets), key=_worst_first)

    def header(self) -> dict[str, Any]:
        """What is known before the replay, as JSON-able data."""
        return {
            "format": SIMULATION_FORMAT,
            "created_at": rfc3339(self.created_at),
            "tool_version": self.tool_version,
            "days": len(self.moments),
            "from": rfc3339(self.moments[0]),
            "until": rfc3339(self.moments[-1]),
        }

    def footer(self) -> dict[str, Any]:
        """What the replay came to, as JSON-able data."""
        return {
            "policies": [replayed.document() for replayed in self.policies],
            "repositories_not_governed": self.not_governed,
            "coverage": [coverage_document(entry) for entry in self.coverage],
        }

    def document(self) -> dict[str, Any]:
        """The whole as JSON-able data."""
        return self.header() | {"regrets": [regret.document() for regret in self.regrets]} | self.footer()


def days_until(now: float, days: int) -> tuple[float, ...]:
    """The moments of a run a day, the first `days` days ago and the last yesterday. What would go now has no future yet."""
    return tuple(now - day * DAY for day in range(days, 0, -1))


def as_of(inventory: Inventory, moment: float) -> Inventory:
    """A repository as far as it can be known to have been at a moment.

    What was pushed later was not there; an image whose push nobody tells was. A pull after the moment hides all
    before it: the image counts as not pulled. An image that was archived later was not archived yet.
    """
    then = (_as_of(image, moment) for image in inventory.images if _was_there(image, moment))
    return msgspec.structs.replace(inventory, images=tuple(then))


def _was_there(image: Image, moment: float) -> bool:
    return image.pushed_at is None or image.pushed_at <= moment


def _as_of(image: Image, moment: float) -> Image:
    if all(time <= moment for time in _times(image)):
        return image
    return msgspec.structs.replace(
        image,
        pulled_at=_known(image.pulled_at, moment),
        archived_at=_known(image.archived_at, moment),
        activated_at=_known(image.activated_at, moment),
        status=_status(image, moment),
    )


def _known(time: float | None, moment: float) -> float | None:
    return time if time is not None and time <= moment else None


def _status(image: Image, moment: float) -> str:
    """Whether it was in the archive then, as far as the last archiving and the last restoring tell."""
    if image.archived_at is None:
        return image.status
    if image.archived_at > moment:
        return Status.ACTIVE
    restored_later = image.activated_at is not None and image.activated_at > moment
    return Status.ARCHIVED if restored_later else image.status


def replay(
    inventory: Inventory, policy: Policy | None, moments: Sequence[float], rules: Evidence, hindsight: Hindsight
) -> Replay:
    """What the policy would have let go, had it been carried out at each of these moments, and what was pulled afterwards.

    What went at one moment is not there at the next ones; what was archived or lost tags stays so. Nothing goes where no
    policy governs. `rules` are the words of owners, which hold on every day. `moments` ascend; the inventory has no gaps,
    because nothing is known of a repository that has.
    """
    images = {image.digest: image for image in inventory.images}
    considered = sum(_was_there(image, moments[-1]) for image in inventory.images)
    if policy is None:
        return Replay(inventory.repository, None, considered)
    left = dict(images)
    gone: set[str] = set()
    regrets: list[Regret] = []
    changing = _changing(moments, policy, (time for image in inventory.images for time in _times(image)))
    settled = False
    for number, moment in enumerate(moments):
        if settled and number not in changing:
            continue
        world = as_of(msgspec.structs.replace(inventory, images=tuple(left.values())), moment)
        changed = [one for one in decide(world, rules, policy, moment) if one.action in CHANGING]
        going = [one for one in changed if one.action in GOING and one.image.digest not in gone]
        missed = [one for one in going if _pulled_after(images[one.image.digest], moment)]
        regrets += _regretted(world, missed, images, _Day(policy, moment, rules, hindsight))
        gone |= {one.image.digest for one in going}
        _carry_out(left, changed, moment)
        if any(one.action is Action.ARCHIVE for one in going):
            # Then its time in the archive begins, and ends with a window.
            changing |= _changing(moments, policy, [moment])
        settled = not changed
    return Replay(inventory.repository, policy, considered, len(gone), tuple(regrets))


def _carry_out(left: dict[str, Image], decisions: Iterable[Decision], moment: float) -> None:
    """Make of what is left what it is after these decisions."""
    for decision in decisions:
        digest = decision.image.digest
        match decision.action:
            case Action.DELETE:
                del left[digest]
            case Action.ARCHIVE:
                # As it was known to be at that moment: what is archived cannot be pulled any more.
                left[digest] = msgspec.structs.replace(decision.image, status=Status.ARCHIVED, archived_at=moment)
            case Action.UNTAG:
                tags = tuple(tag for tag in left[digest].tags if tag not in decision.untag)
                left[digest] = msgspec.structs.replace(left[digest], tags=tags)


def _times(image: Image) -> Iterator[float]:
    """The moments at which something is known to have happened to an image."""
    times = (image.pushed_at, image.pulled_at, image.archived_at, image.activated_at)
    return (time for time in times if time is not None)


def _pulled_after(image: Image, moment: float) -> bool:
    return image.pulled_at is not None and image.pulled_at > moment


def _changing(moments: Sequence[float], policy: Policy, times: Iterable[float]) -> set[int]:
    """The numbers of the moments at which a decision may be another one than at the moment before.

    These are the first ones after something happened, or after a window of the policy ended that began with it. On all others
    the same images are as old as no rule distinguishes.
    """
    windows = {0.0, *(getattr(policy, name) or 0.0 for name in DURATIONS)}
    found: set[int] = set()
    for time in times:
        for window in windows:
            first = bisect_left(moments, time + window - _SLACK)
            found.update(range(first, bisect_right(moments, time + window + _SLACK) + 1))
    return found


class _Day(msgspec.Struct, frozen=True):
    """One run of the replay: under which rules, when, and what is known today."""

    policy: Policy
    moment: float
    rules: Evidence
    hindsight: Hindsight

    def kept(self, world: Inventory, **evidence: Any) -> set[str]:  # noqa: ANN401 - fields of Evidence
        """What would have stayed on that day with this evidence besides."""
        if not any(evidence.values()):
            return set()
        known = msgspec.structs.replace(self.rules, **evidence)
        return {one.image.digest for one in decide(world, known, self.policy, self.moment) if one.stays}


def _regretted(
    world: Inventory, missed: Sequence[Decision], images: Mapping[str, Image], day: _Day
) -> Iterator[Regret]:
    """The images that went and were missed, with what would have saved them: the same day decided with evidence of use."""
    if not missed:
        return
    seen = {digest: _SEEN for digest, uses in day.hindsight.seen.items() if _seen_at(uses, day.policy, day.moment)}
    by_uses, by_ledger = day.kept(world, in_use=day.hindsight.in_use), day.kept(world, remembered=seen)
    for decision in missed:
        digest = decision.image.digest
        yield Regret(
            world.repository, day.policy.name, images[digest], day.moment, decision.action,
            in_use_now=digest in by_uses, seen_then=digest in by_ledger,
        )  # fmt: skip


def _seen_at(uses: Iterable[Use], policy: Policy, moment: float) -> bool:
    """True where a run had seen one of these uses by then, and saw it then or later, or not longer ago than the policy remembers."""
    within = policy.used_within
    return within is not None and any(
        (use.resolved_from or 0.0) <= moment <= (use.resolved_until or 0.0) + within for use in uses
    )


def _worst_first(regret: Regret) -> tuple[bool, float, Repository, str]:
    return regret.is_saved, -regret.pulled_at, regret.repository, regret.image.digest
