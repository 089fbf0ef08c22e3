"""The replay: a day is what the rules would have decided then, what went stays gone, and what was pulled after is a regret."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ecrsweep.core.decisions import Action, Code, Reason
from ecrsweep.core.images import OCI_INDEX, Image, Inventory, Status
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.policy import DAY, HOUR, Policy
from ecrsweep.core.retention import decide
from ecrsweep.core.simulation import Evidence, Regret, Replay, as_of, days_until, replay
from tests.core.worlds import NOW, digest, inventories, policies

HOME = Repository(Registry("123456789012", "us-east-1"), "team/app")
PLAIN = "application/vnd.oci.image.manifest.v1+json"
BARE = Policy(newest=0, pulled_within=None)
IN_USE = (Reason(Code.IN_USE, "arn:workload"),)


@dataclass
class Past:
    """A repository told image by image, in days before now."""

    images: list[Image] = field(default_factory=list)
    edges: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def push(self, *tags: str, days: float, pulled: float | None = None, **rest: Any) -> str:
        """An image that was pushed, and last pulled, so many days ago; its digest."""
        contains = rest.pop("contains", ())
        made = digest(len(self.images))
        at = None if pulled is None else NOW - pulled * DAY
        media_type = OCI_INDEX if contains else PLAIN
        self.images.append(Image(made, tags, media_type, pushed_at=NOW - days * DAY, pulled_at=at, **rest))
        if contains:
            self.edges[made] = contains
        return made

    @property
    def inventory(self) -> Inventory:
        return Inventory(HOME, tuple(self.images), self.edges)

    def replay(self, policy: Policy = BARE, days: int = 90, evidence: Evidence | None = None) -> Replay:
        return replay(self.inventory, policy, days_until(NOW, days), evidence or Evidence())

    def regrets(self, policy: Policy = BARE, days: int = 90, evidence: Evidence | None = None) -> dict[str, Regret]:
        return {regret.image.digest: regret for regret in self.replay(policy, days, evidence).regrets}


def days_ago(regret: Regret) -> float:
    return (NOW - regret.gone_at) / DAY


def naive(inventory: Inventory, policy: Policy, moments: Sequence[float]) -> dict[str, float]:
    """When each image would have gone: every day decided anew over a world built from nothing but the rules of docs/simulate.md."""
    gone: dict[str, float] = {}
    for moment in moments:
        there = []
        for image in inventory.images:
            if image.digest in gone or (image.pushed_at is not None and image.pushed_at > moment):
                continue
            known = image.pulled_at if image.pulled_at is not None and image.pulled_at <= moment else None
            later = image.archived_at is not None and image.archived_at > moment
            there.append(
                replace(
                    image,
                    pulled_at=known,
                    archived_at=None if later else image.archived_at,
                    status=Status.ACTIVE if later else image.status,
                )
            )
        world = Inventory(inventory.repository, tuple(there), inventory.edges)
        for decision in decide(world, {}, policy, moment):
            if decision.action is Action.DELETE:
                gone[decision.image.digest] = moment
    return gone


@st.composite
def pasts(draw: st.DrawFn) -> Inventory:
    """A random repository with pushes, pulls and archivings on, just before and just after the moments of a run a day."""
    around = st.builds(
        lambda day, off: NOW - day * DAY + off,
        st.sampled_from([0, 1, 2, 9, 10, 14, 15, 20, 30, 31, 45]),
        st.sampled_from([0.0, 0.0, -1e-6, 1e-6, -HOUR, HOUR]),
    )
    inventory = draw(inventories())
    images = [
        replace(
            image,
            pushed_at=image.pushed_at if draw(st.integers(0, 3)) == 0 else draw(around),
            pulled_at=draw(st.none() | around),
            archived_at=draw(around) if image.status != Status.ACTIVE or draw(st.integers(0, 9)) == 0 else None,
        )
        for image in inventory.images
    ]
    return replace(inventory, images=tuple(images))


@given(pasts(), policies(), st.sampled_from([1, 3, 40]))
def test_a_replay_is_the_decision_of_each_day_over_the_world_of_that_day(
    inventory: Inventory, policy: Policy, days: int
) -> None:
    moments = days_until(NOW, days)
    gone = naive(inventory, policy, moments)
    found = replay(inventory, policy, moments, Evidence())
    pulled = {image.digest: image.pulled_at for image in inventory.images}
    assert found.gone == len(gone)
    assert {regret.image.digest: regret.gone_at for regret in found.regrets} == {
        digest: moment for digest, moment in gone.items() if (pulled[digest] or 0.0) > moment
    }


@given(pasts(), policies())
def test_the_world_of_now_is_the_world(inventory: Inventory, policy: Policy) -> None:
    latest = NOW + DAY
    assert decide(as_of(inventory, latest), {}, policy, latest) == decide(inventory, {}, policy, latest)
