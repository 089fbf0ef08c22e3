"""The replay: a day is what the rules would have decided then, what went stays gone, and what was pulled after is a regret."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ecrsweep.core.decisions import Action, Code, Reason
from ecrsweep.core.images import OCI_INDEX, Image, Inventory, Status
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.policy import DAY, HOUR, NewestPer, Order, Otherwise, Policy
from ecrsweep.core.retention import Evidence, decide
from ecrsweep.core.simulation import (
    Hindsight,
    PolicyReplay,
    Regret,
    Replay,
    Simulation,
    as_of,
    days_until,
    replay,
)
from ecrsweep.core.uses import Use
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
        media_type = rest.pop("media_type", OCI_INDEX if contains else PLAIN)
        self.images.append(Image(made, tags, media_type, pushed_at=NOW - days * DAY, pulled_at=at, **rest))
        if contains:
            self.edges[made] = contains
        return made

    @property
    def inventory(self) -> Inventory:
        return Inventory(HOME, tuple(self.images), self.edges)

    def replay(self, policy: Policy = BARE, days: int = 90, hindsight: Hindsight | None = None) -> Replay:
        return replay(self.inventory, policy, days_until(NOW, days), Evidence(), hindsight or Hindsight())

    def regrets(self, policy: Policy = BARE, days: int = 90, hindsight: Hindsight | None = None) -> dict[str, Regret]:
        return {regret.image.digest: regret for regret in self.replay(policy, days, hindsight).regrets}


def days_ago(regret: Regret) -> float:
    return (NOW - regret.gone_at) / DAY


def naive(inventory: Inventory, policy: Policy, moments: Sequence[float], rules: Evidence) -> dict[str, float]:
    """When each image would have gone: every day decided anew over a world built from nothing but the rules of docs/simulate.md."""
    gone: dict[str, float] = {}
    archive: dict[str, Image] = {}
    lost: set[str] = set()
    for moment in moments:
        there = [told_then(image, moment, lost) for image in inventory.images if image.digest not in gone]
        world = Inventory(inventory.repository, (*filter(None, there), *archive.values()), inventory.edges)
        for decision in decide(world, rules, policy, moment):
            digest = decision.image.digest
            lost |= set(decision.untag)
            if decision.action is Action.ARCHIVE:
                archive[digest] = replace(decision.image, status=Status.ARCHIVED, archived_at=moment)
            elif decision.action is Action.DELETE:
                archive.pop(digest, None)
            if decision.action in {Action.ARCHIVE, Action.DELETE}:
                gone.setdefault(digest, moment)
    return gone


def told_then(image: Image, moment: float, lost: set[str]) -> Image | None:
    """What ECR would have told of an image, as far as it can be known; None where it was not there. A tag is of one image."""
    if image.pushed_at is not None and image.pushed_at > moment:
        return None
    status = image.status
    if image.archived_at is not None and moment < image.archived_at:
        status = Status.ACTIVE
    elif image.archived_at is not None and image.activated_at is not None and moment < image.activated_at:
        status = Status.ARCHIVED
    times = {name: getattr(image, name) for name in ("pulled_at", "archived_at", "activated_at")}
    known = {name: time if time is not None and time <= moment else None for name, time in times.items()}
    return replace(image, **known, status=status, tags=tuple(tag for tag in image.tags if tag not in lost))


@st.composite
def pasts(draw: st.DrawFn) -> Inventory:
    """A random repository with pushes, pulls and archivings on, just before and just after the moments of a run a day."""
    around = st.builds(
        lambda day, off: NOW - day * DAY + off,
        st.sampled_from([0, 1, 2, 9, 10, 14, 15, 20, 30, 31, 45]),
        st.sampled_from([0.0, 0.0, -1e-6, 1e-6, -HOUR, HOUR]),
    )
    inventory = draw(inventories())
    images = []
    for image in inventory.images:
        stored = image.status != Status.ACTIVE or draw(st.integers(0, 9)) == 0
        images.append(
            replace(
                image,
                pushed_at=image.pushed_at if draw(st.integers(0, 3)) == 0 else draw(around),
                pulled_at=draw(st.none() | around),
                archived_at=draw(around) if stored else None,
                activated_at=draw(st.none() | around) if stored else None,
            )
        )
    return replace(inventory, images=tuple(images))


@st.composite
def rich_policies(draw: st.DrawFn) -> Policy:
    """A policy that also says what becomes of what it lets go, which groups it keeps, and which tags it takes off."""
    otherwise = draw(st.sampled_from(Otherwise))
    after = None if otherwise is Otherwise.TRIAL else draw(st.none() | st.sampled_from([0.0, 5 * DAY, 20 * DAY]))
    return replace(
        draw(policies()),
        otherwise=otherwise,
        delete_after_archived=after,
        trial_for=draw(st.sampled_from([0.0, 10 * DAY])),
        order=draw(st.sampled_from(Order)),
        newest_per=draw(st.sampled_from([(), (NewestPer("^(?P<line>v|release)", 1),)])),
        untag=draw(st.sampled_from([(), ("v*", "prod")])),
    )


@st.composite
def words(draw: st.DrawFn, inventory: Inventory) -> Evidence:
    """What owners say."""
    held = draw(st.lists(st.sampled_from([image.digest for image in inventory.images] or [""]), max_size=2))
    whole = draw(st.integers(0, 9)) == 0
    return Evidence(
        held={digest: (Reason(Code.HELD_BY_OWNER, "mine"),) for digest in held if digest},
        whole=Reason(Code.HELD_BY_OWNER, "all mine") if whole else None,
    )


@given(st.data(), pasts(), rich_policies(), st.sampled_from([1, 3, 40]))
def test_a_replay_is_the_decision_of_each_day_over_the_world_of_that_day(
    data: st.DataObject, inventory: Inventory, policy: Policy, days: int
) -> None:
    moments = days_until(NOW, days)
    rules = data.draw(words(inventory))
    gone = naive(inventory, policy, moments, rules)
    found = replay(inventory, policy, moments, rules, Hindsight())
    pulled = {image.digest: image.pulled_at for image in inventory.images}
    assert found.gone == len(gone)
    assert {regret.image.digest: regret.gone_at for regret in found.regrets} == {
        digest: moment for digest, moment in gone.items() if (pulled[digest] or 0.0) > moment
    }


@given(pasts(), policies())
def test_the_world_of_now_is_the_world(inventory: Inventory, policy: Policy) -> None:
    latest = NOW + DAY
    assert decide(as_of(inventory, latest), Evidence(), policy, latest) == decide(inventory, Evidence(), policy, latest)


def test_a_run_a_day_the_last_one_yesterday_because_today_has_no_future() -> None:
    assert [(NOW - moment) / DAY for moment in days_until(NOW, 3)] == [3, 2, 1]


def test_what_went_and_was_pulled_afterwards_is_a_regret() -> None:
    past = Past()
    missed = past.push("v1", days=200, pulled=5)
    past.push("v2", days=200)
    found = past.replay()
    assert (found.images, found.gone) == (2, 2)
    (regret,) = found.regrets
    assert (regret.image.digest, days_ago(regret), regret.pulled_at) == (missed, 90, NOW - 5 * DAY)


def test_it_goes_on_the_first_day_on_which_no_rule_keeps_it() -> None:
    past = Past()
    missed = past.push("v1", days=80.5, pulled=5)
    assert days_ago(past.regrets(Policy(newest=0, pulled_within=30 * DAY))[missed]) == 50
    assert past.regrets(Policy(newest=0, pulled_within=80 * DAY)) == {}


def test_a_pull_before_the_day_counts_and_one_after_it_hides_all_before() -> None:
    past = Past()
    past.push("known", days=200, pulled=91)
    hidden = past.push("hidden", days=200, pulled=5)
    found = past.replay(Policy(newest=0, pulled_within=30 * DAY))
    assert found.gone == 2
    assert {regret.image.digest: days_ago(regret) for regret in found.regrets} == {hidden: 90}
    assert days_ago(past.regrets(Policy(newest=0, pulled_within=30 * DAY), days=60)[hidden]) == 60


def test_a_pull_at_the_very_moment_of_a_run_is_known_to_it() -> None:
    past = Past()
    past.push("v1", days=200, pulled=3)
    assert past.replay(Policy(newest=0, pulled_within=30 * DAY), days=3).gone == 0


def test_the_day_after_something_went_is_decided_although_nothing_else_happened() -> None:
    past = Past()
    unknown = past.push("odd", days=95, media_type="application/vnd.example+json")
    past.push(days=100, contains=(unknown,))
    missed = past.push("v1", days=97, pulled=1)
    regret = past.regrets(Policy(newest=1, pulled_within=None, untagged_for=0.0))[missed]
    assert days_ago(regret) == 89, "the index went on day 90, and from then on what it contained takes the place of v1"


def test_a_pull_does_not_bring_back_what_is_gone() -> None:
    past = Past()
    missed = past.push("v1", days=200, pulled=40)
    found = past.replay(Policy(newest=0, pulled_within=30 * DAY))
    assert (found.gone, [regret.image.digest for regret in found.regrets]) == (1, [missed])


def test_only_what_was_there_takes_a_place_among_the_newest() -> None:
    past = Past()
    missed = past.push("v1", days=100, pulled=1)
    past.push("v2", days=50.5)
    past.push("v3", days=40.5)
    assert days_ago(past.regrets(Policy(newest=1, pulled_within=None))[missed]) == 50
    assert days_ago(past.regrets(Policy(newest=2, pulled_within=None))[missed]) == 40
    assert past.replay(days=60).images == 3
    assert past.replay(Policy(newest=3, pulled_within=None)).gone == 0


def test_what_was_pushed_today_was_there_on_none_of_the_days() -> None:
    past = Past()
    past.push("v1", days=0.5)
    assert past.replay().images == 0


def test_what_was_archived_later_was_not_archived_yet() -> None:
    past = Past()
    past.push("v1", days=100, pulled=60, archived_at=NOW - 50 * DAY, status=Status.ARCHIVED)
    assert [days_ago(regret) for regret in past.replay().regrets] == [90]
    assert past.replay(days=40).gone == 0


def test_a_platform_that_goes_with_its_index_is_missed_like_any_image() -> None:
    past = Past()
    child = past.push(days=100, pulled=10)
    index = past.push("v1", days=100, pulled=10, contains=(child,))
    assert set(past.regrets()) == {child, index}


def test_what_is_gone_is_gone_and_a_signature_of_it_is_an_orphan_from_then_on() -> None:
    past = Past()
    subject = past.push("v1", days=100)
    signature = past.push(days=60.5, pulled=1, subject=subject)
    policy = Policy(newest=0, pulled_within=None, untagged_for=14 * DAY, grace=2 * DAY)
    for days in (90, 60):
        found = past.regrets(policy, days=days)
        assert days_ago(found[signature]) == 46, (
            "two weeks, as an untagged image; with its subject there, it would go after two days"
        )


def test_without_a_policy_nothing_goes() -> None:
    past = Past()
    past.push("v1", days=200, pulled=5)
    found = replay(past.inventory, None, days_until(NOW, 90), Evidence(), Hindsight())
    assert (found.policy, found.images, found.gone, found.regrets) == (None, 1, 0, ())


def test_a_regret_in_use_now_is_marked_with_all_that_belongs_to_the_use() -> None:
    past = Past()
    child = past.push(days=100, pulled=10)
    index = past.push("v1", days=100, pulled=10, contains=(child,))
    other = past.push("v2", days=100, pulled=10)
    found = past.regrets(hindsight=Hindsight(in_use={child: IN_USE}))
    assert {digest: regret.in_use_now for digest, regret in found.items()} == {child: True, index: True, other: False}
    assert all(regret.seen_then is False for regret in found.values())


def seen(first: float, last: float) -> tuple[Use, ...]:
    """Seen so many days ago."""
    return (Use("", "arn:job", "ecs", resolved_from=NOW - first * DAY, resolved_until=NOW - last * DAY),)


@pytest.mark.parametrize(
    ("first", "last", "within", "then"),
    [
        (120, 1, 30 * DAY, True),  # before the day, and after
        (120, 100, 30 * DAY, True),  # before the day, and not longer ago than is remembered
        (90, 90, 30 * DAY, True),  # on the day
        (150, 121, 30 * DAY, False),  # too long ago
        (89, 1, 30 * DAY, False),  # nobody knew yet
        (120, 1, None, False),  # the policy does not remember
    ],
)
def test_a_regret_that_the_ledger_knew_of_on_that_day_is_marked(
    first: float, last: float, within: float | None, then: bool
) -> None:
    past = Past()
    missed = past.push("v1", days=200, pulled=5)
    policy = Policy(newest=0, pulled_within=None, used_within=within)
    regret = past.regrets(policy, hindsight=Hindsight(seen={missed: seen(first, last)}))[missed]
    assert (days_ago(regret), regret.seen_then, regret.in_use_now, regret.is_saved) == (90, then, False, then)


def test_what_is_archived_is_missed_like_what_is_deleted_and_told_once() -> None:
    past = Past()
    missed = past.push("v1", days=200, pulled=5)
    found = past.replay(Policy(newest=0, pulled_within=None, otherwise=Otherwise.TRIAL, trial_for=10 * DAY))
    assert (found.gone, [(one.image.digest, one.action) for one in found.regrets]) == (1, [(missed, Action.ARCHIVE)])


def test_the_time_in_the_archive_ends_within_the_replay() -> None:
    past = Past()
    subject = past.push("v1", days=200)
    signature = past.push(days=60.5, pulled=1, subject=subject)
    trial = Policy(newest=0, pulled_within=None, otherwise=Otherwise.TRIAL, trial_for=10 * DAY)
    for_good = replace(trial, otherwise=Otherwise.ARCHIVE)
    assert days_ago(past.regrets(trial)[signature]) == 46, "its subject is deleted: it is an orphan, and has two weeks"
    assert days_ago(past.regrets(for_good)[signature]) == 59, "its subject is in the archive, and it follows"


def test_an_image_was_in_the_archive_between_the_last_archiving_and_the_last_restoring() -> None:
    past = Past()
    past.push("v1", days=100, pulled=5, archived_at=NOW - 80 * DAY, activated_at=NOW - 40 * DAY)
    states = [as_of(past.inventory, NOW - day * DAY).images[0] for day in (90, 60, 20)]
    assert [state.status for state in states] == [Status.ACTIVE, Status.ARCHIVED, Status.ACTIVE]
    assert [state.activated_at is None for state in states] == [True, True, False]


def test_what_an_owner_holds_is_not_let_go_on_any_day() -> None:
    past = Past()
    held = past.push("v1", days=200, pulled=5)
    missed = past.push("v2", days=200, pulled=5)
    word = {held: (Reason(Code.HELD_BY_OWNER, "mine"),)}
    found = replay(past.inventory, BARE, days_until(NOW, 90), Evidence(held=word), Hindsight())
    assert [regret.image.digest for regret in found.regrets] == [missed]
    whole = Evidence(whole=Reason(Code.HELD_BY_OWNER, "all mine"))
    assert replay(past.inventory, BARE, days_until(NOW, 90), whole, Hindsight()).gone == 0


def test_regrets_come_with_what_matters_most_first() -> None:
    past = Past()
    saved = past.push("v1", days=200, pulled=1)
    old, new = past.push("v2", days=200, pulled=60), past.push("v3", days=200, pulled=2)
    found = past.replay(hindsight=Hindsight(in_use={saved: IN_USE}))
    summed = PolicyReplay.of(BARE, [found])
    whole = Simulation(NOW, "0", days_until(NOW, 90), (summed,), ())
    assert [regret.image.digest for regret in whole.regrets] == [new, old, saved]
    assert (summed.repositories, summed.images, summed.gone) == (1, 3, 3)
    assert (len(summed.regrets), summed.in_use_now, summed.seen_then, summed.unsaved) == (3, 1, 0, 2)
