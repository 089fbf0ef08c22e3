"""The promises, over random worlds: what is in use stays, a gap lets nothing go, everything is decided once, and order is no matter."""

import random
from collections.abc import Iterable

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from ecrsweep.core.decisions import GOING, HOLDING, KEEPING, LETTING_GO, Action, Code, Reason
from ecrsweep.core.graph import build_graph, levels
from ecrsweep.core.images import Gap, Inventory, Status
from ecrsweep.core.ledger import merged, recent, seen_by_digest, used_recently
from ecrsweep.core.plan import RepositoryPlan, plan_repository
from ecrsweep.core.policy import DAY, Limits, Policy
from ecrsweep.core.uses import Census, Coverage, CoverageStatus, Sighting, Use, UseIndex
from tests.core import oracle
from tests.core.worlds import (
    NOW,
    Estate,
    Memory,
    World,
    certain_uses,
    estates,
    inventories,
    memories,
    mentions,
    policies,
    tangled,
    worlds,
)

FITTING = {
    Action.KEEP: KEEPING, Action.UNTAG: KEEPING, Action.HOLD: HOLDING, Action.DELETE: LETTING_GO, Action.ARCHIVE: LETTING_GO,
}  # fmt: skip


def planned(world: World, *, gaps: tuple[Coverage, ...] = (), limits: Limits | None = None) -> RepositoryPlan:
    matched = UseIndex(world.uses).match(world.inventory.repository, world.inventory.images)
    return plan_repository(world.inventory, matched, world.policy, NOW, census_gaps=gaps, limits=limits)


def staying(plan: RepositoryPlan) -> set[str]:
    return {decision.image.digest for decision in plan.decisions if decision.stays}


@given(st.data(), inventories(), policies())
def test_what_any_name_shows_in_use_stays_with_all_that_it_needs(
    data: st.DataObject, inventory: Inventory, policy: Policy
) -> None:
    assume(inventory.images)
    use, digest = data.draw(certain_uses(inventory))
    plan = planned(World(inventory, [use], policy))
    graph = build_graph(inventory.images, inventory.edges)
    kept = staying(plan)
    assert digest in kept
    assert set(graph.children_of(digest)) <= kept, "it could not run without these"
    assert set(graph.parents_of(digest)) <= kept, "what runs may be named by an index"
    reasons = next(decision.reasons for decision in plan.decisions if decision.image.digest == digest)
    assert any(use.workload in reason.detail for reason in reasons)


@given(worlds())
def test_a_source_that_failed_holds_every_candidate(world: World) -> None:
    gap = Coverage("123456789012", "eu-west-1", "ecs", CoverageStatus.FAILED, error="denied")
    held, free = planned(world, gaps=(gap,)), planned(world)
    assert all(decision.action in {Action.KEEP, Action.HOLD} for decision in held.decisions)
    assert staying(held) == {decision.image.digest for decision in free.decisions if decision.action is Action.KEEP}


@given(worlds())
def test_a_manifest_that_could_not_be_read_holds_its_repository(world: World) -> None:
    inventory = Inventory(world.inventory.repository, world.inventory.images, {}, (Gap("unreadable"),))
    plan = planned(World(inventory, world.uses, world.policy))
    assert all(decision.action in {Action.KEEP, Action.HOLD} for decision in plan.decisions)


@given(worlds())
def test_every_image_gets_exactly_one_decision_with_fitting_reasons(world: World) -> None:
    plan = planned(world)
    assert sorted(decision.image.digest for decision in plan.decisions) == sorted(
        i.digest for i in world.inventory.images
    )
    for decision in plan.decisions:
        assert decision.reasons
        assert {reason.code for reason in decision.reasons} <= FITTING[decision.action]
        assert len(set(decision.reasons)) == len(decision.reasons)


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_told_does_not_matter(world: World, chance: random.Random) -> None:
    images, uses = list(world.inventory.images), list(world.uses)
    edges = list(world.inventory.edges.items())
    for told in (images, uses, edges):
        chance.shuffle(told)
    told_otherwise = Inventory(world.inventory.repository, tuple(images), dict(edges))
    assert planned(World(told_otherwise, uses, world.policy)).decisions == planned(world).decisions


@given(worlds())
def test_the_decisions_are_those_of_the_oracle(world: World) -> None:
    matched = UseIndex(world.uses).match(world.inventory.repository, world.inventory.images)
    expected = oracle.fates(world.inventory, matched.reasons, world.policy, NOW)
    decisions = planned(world).decisions
    found = {d.image.digest: "keep" if d.stays else d.action.value for d in decisions}
    assert found == expected
    untagged = {tag for decision in decisions for tag in decision.untag}
    staying_ = [digest for digest, fate in expected.items() if fate == "keep"]
    assert untagged == oracle.untagged(world.inventory, staying_, matched.named, world.policy, NOW)
    assert all((decision.action is Action.UNTAG) == bool(decision.untag) for decision in decisions)


@given(worlds())
def test_what_stays_keeps_what_it_contains_and_what_says_something_about_it(world: World) -> None:
    plan = planned(world)
    kept, archiving = staying(plan), {d.image.digest for d in plan.decisions if d.action is Action.ARCHIVE}
    graph = build_graph(world.inventory.images, world.inventory.edges)
    for digest in kept:
        may_follow = archiving if graph.images[digest].status != Status.ACTIVE else set()
        assert set(graph.under(digest)) <= kept | may_follow


@given(worlds())
def test_deletions_can_be_ordered_with_parents_first(world: World) -> None:
    plan = planned(world)
    graph = build_graph(world.inventory.images, world.inventory.edges)
    going = [decision.image.digest for decision in plan.decisions if decision.action is Action.DELETE]
    waves = levels(going, lambda d: (*graph.parents_of(d), *graph.subjects_of(d)), graph.parents_of)
    assert sorted(digest for wave in waves for digest in wave) == sorted(going)
    gone: set[str] = set()
    for wave in waves:
        for digest in wave:
            assert set(graph.parents_of(digest)) <= gone, "ECR refuses a child whose index is there"
        gone |= set(wave)


@given(st.data(), worlds())
def test_one_more_use_never_lets_more_go(data: st.DataObject, world: World) -> None:
    assume(world.inventory.images)
    use, _ = data.draw(certain_uses(world.inventory))
    assert staying(planned(world)) <= staying(planned(World(world.inventory, [*world.uses, use], world.policy)))


@given(worlds(), st.floats(0, 1), st.integers(0, 5))
def test_a_limit_holds_and_never_deletes_more(world: World, fraction: float, least: int) -> None:
    limited = planned(world, limits=Limits(max_fraction=fraction, fraction_from=least))
    going = [decision for decision in limited.decisions if decision.action in GOING]
    untouched = {d.image.digest for d in planned(world).decisions if d.action is Action.KEEP}
    assert untouched <= staying(limited) <= staying(planned(world))
    if len(limited.decisions) > least:
        assert len(going) <= fraction * len(limited.decisions)


@given(worlds())
def test_a_repository_that_nobody_governs_is_left_alone(world: World) -> None:
    plan = plan_repository(
        world.inventory, UseIndex([]).match(world.inventory.repository, world.inventory.images), None, NOW
    )
    assert staying(plan) == {image.digest for image in world.inventory.images}


def planned_all(estate: Estate, *, census: Census | None = None, policy: Policy | None = None) -> list[RepositoryPlan]:
    """The plans of all repositories under the uses of all, and the memories of all."""
    asked = census or Census(tuple(estate.uses), (), tuple(memory.sighting for memory in estate.memories))
    index = UseIndex(asked.uses)
    return [
        plan_repository(
            inventory,
            index.match(inventory.repository, inventory.images),
            policy or estate.policy,
            NOW,
            remembered=recollected(inventory, asked.remembered, policy or estate.policy),
            census_gaps=asked.gaps,
        )
        for inventory in estate.inventories
    ]


def recollected(inventory: Inventory, sightings: Iterable[Sighting], policy: Policy) -> dict[str, Reason]:
    if policy.used_within is None:
        return {}
    index = recent(merged(sightings), policy.used_within, NOW)
    return used_recently(index, inventory.repository, inventory.images, policy.used_within)


def kept_in_all(plans: list[RepositoryPlan]) -> list[set[str]]:
    return [staying(plan) for plan in plans]


@given(estates())
def test_uses_mean_what_the_oracle_says_they_mean_in_every_registry(estate: Estate) -> None:
    index = UseIndex(estate.uses)
    for inventory in estate.inventories:
        found = index.match(inventory.repository, inventory.images).reasons
        assert set(found) == oracle.used(inventory, estate.mentions)


@given(estates())
def test_decisions_over_several_registries_are_those_of_the_oracle_from_names_to_deletion(estate: Estate) -> None:
    expected = [
        oracle.kept(
            inventory,
            oracle.used(inventory, estate.mentions) | oracle.recalled(inventory, estate.memories, estate.policy, NOW),
            estate.policy,
            NOW,
        )
        for inventory in estate.inventories
    ]
    assert kept_in_all(planned_all(estate)) == expected


@given(tangled(), policies(), st.data())
def test_the_oracle_agrees_even_where_manifests_go_round_in_circles(
    inventory: Inventory, policy: Policy, data: st.DataObject
) -> None:
    digests = [image.digest for image in inventory.images]
    used = data.draw(st.sets(st.sampled_from(digests), max_size=2)) if digests else set()
    uses = [Use(f"{inventory.repository.uri}@{named}", "arn:workload", "test") for named in sorted(used)]
    expected = oracle.kept(inventory, used, policy, NOW)
    plan = planned(World(inventory, uses, policy))
    assert staying(plan) == expected
    assert all(decision.reasons for decision in plan.decisions)


@given(estates(), st.sampled_from(["us-east-1", "ap-south-1"]))
def test_a_source_that_failed_anywhere_holds_every_candidate_of_every_registry(estate: Estate, region: str) -> None:
    failed = Coverage("123456789012", region, "ecs", CoverageStatus.FAILED, error="denied")
    estate = replace_memories(estate, [])
    plans = planned_all(estate, census=Census(tuple(estate.uses), (failed,)))
    actions = {decision.action for plan in plans for decision in plan.decisions}
    assert actions <= {Action.KEEP, Action.HOLD}
    free = planned_all(estate)
    assert kept_in_all(plans) == [{d.image.digest for d in p.decisions if d.action is Action.KEEP} for p in free]


@given(estates())
def test_a_gap_that_the_user_accepted_and_a_source_that_was_skipped_hold_nothing(estate: Estate) -> None:
    accepted = Coverage("123456789012", "us-east-1", "ecs", CoverageStatus.FAILED, error="denied", accepted=True)
    skipped = Coverage("123456789012", "us-east-1", "file", CoverageStatus.SKIPPED)
    estate = replace_memories(estate, [])
    assert planned_all(estate, census=Census(tuple(estate.uses), (accepted, skipped))) == planned_all(estate)


@given(estates())
def test_a_gap_of_one_repository_holds_that_one_and_no_other(estate: Estate) -> None:
    first, *others = estate.inventories
    gapped = Estate(
        [replace(first, gaps=(Gap("unreadable"),)), *others], estate.mentions, estate.policy, estate.memories
    )
    plans, before = planned_all(gapped), planned_all(estate)
    assert {decision.action for decision in plans[0].decisions} <= {Action.KEEP, Action.HOLD}
    assert plans[1:] == before[1:]


@given(estates(), st.randoms(use_true_random=False))
def test_shuffled_repositories_images_and_uses_give_the_same_decisions_word_for_word(
    estate: Estate, chance: random.Random
) -> None:
    told_otherwise = Estate(
        [_shuffled(i, chance) for i in estate.inventories],
        list(estate.mentions),
        estate.policy,
        [*estate.memories, *estate.memories],
    )
    chance.shuffle(told_otherwise.mentions)
    chance.shuffle(told_otherwise.memories)
    assert [p.decisions for p in planned_all(told_otherwise)] == [p.decisions for p in planned_all(estate)]


def _shuffled(inventory: Inventory, chance: random.Random) -> Inventory:
    images = list(inventory.images)
    edges = {parent: tuple(chance.sample(named, len(named))) for parent, named in inventory.edges.items()}
    chance.shuffle(images)
    named_first = chance.sample(sorted(edges), len(edges))
    return replace(inventory, images=tuple(images), edges={parent: edges[parent] for parent in named_first})


@given(worlds())
def test_what_goes_takes_everything_above_it_along(world: World) -> None:
    plan = planned(world)
    going = {decision.image.digest for decision in plan.decisions if decision.action is Action.DELETE}
    held = {image.digest for image in world.inventory.images}
    for parent, named in world.inventory.edges.items():
        if going & set(named) - {parent}:
            assert parent in going or parent not in held


@given(st.data(), estates())
def test_one_more_mention_of_any_form_never_lets_more_go_anywhere(data: st.DataObject, estate: Estate) -> None:
    one_more = data.draw(mentions([inventory.repository for inventory in estate.inventories]))
    more = Estate(estate.inventories, [*estate.mentions, one_more], estate.policy, estate.memories)
    for before, after in zip(kept_in_all(planned_all(estate)), kept_in_all(planned_all(more)), strict=True):
        assert before <= after


@given(worlds(), st.integers(1, 5), st.sampled_from([DAY, 20 * DAY]))
def test_a_policy_that_keeps_more_never_lets_more_go(world: World, extra: int, longer: float) -> None:
    """But for what merely waits in the archive: for a child that goes, say, which a wider policy keeps with another index."""
    policy = world.policy
    wider = [
        replace(policy, newest=policy.newest + extra),
        replace(policy, grace=policy.grace + longer),
        replace(policy, untagged_for=policy.untagged_for + longer),
        replace(policy, pulled_within=(policy.pulled_within or 0.0) + longer),
        replace(policy, used_within=(policy.used_within or 0.0) + longer),
        replace(policy, pushed_within=(policy.pushed_within or 0.0) + longer),
        replace(policy, protected_tags=(*policy.protected_tags, "prod")),
    ]
    narrow = planned(world)
    waiting = {
        decision.image.digest
        for decision in narrow.decisions
        if {reason.code for reason in decision.reasons} == {Code.ARCHIVED}
    }
    before = staying(narrow) - waiting
    for one in wider:
        assert before <= staying(planned(World(world.inventory, world.uses, one)))


def replace_memories(estate: Estate, kept: list[Memory]) -> Estate:
    return Estate(estate.inventories, estate.mentions, estate.policy, kept)


@given(st.data(), estates())
def test_whatever_the_ledger_holds_it_only_ever_keeps_more(data: st.DataObject, estate: Estate) -> None:
    one_more = data.draw(memories([inventory.repository for inventory in estate.inventories]))
    none = replace_memories(estate, [])
    more = replace_memories(estate, [*estate.memories, one_more])
    plans = [planned_all(one) for one in (none, estate, more)]
    for without, some, most in zip(*map(kept_in_all, plans), strict=True):
        assert without <= some <= most


@given(estates())
def test_what_an_earlier_run_saw_stays_with_all_that_it_needs_and_says_who_saw_it(estate: Estate) -> None:
    policy = replace(estate.policy, used_within=30 * DAY)
    for inventory, plan in zip(estate.inventories, planned_all(estate, policy=policy), strict=True):
        remembered = recollected(inventory, [memory.sighting for memory in estate.memories], policy)
        graph = build_graph(inventory.images, inventory.edges)
        kept = staying(plan)
        reasons = {decision.image.digest: decision.reasons for decision in plan.decisions}
        for digest, reason in remembered.items():
            assert {digest, *graph.children_of(digest), *graph.parents_of(digest), *graph.referrers_of(digest)} <= kept
            assert reason in reasons[digest] or Code.IN_USE in {found.code for found in reasons[digest]}


@given(estates())
def test_a_plan_and_the_next_one_that_remembers_it_read_the_same(estate: Estate) -> None:
    first = planned_all(estate)
    seen = [one for plan in first for one in plan.seen] + list(seen_by_digest(estate.uses, NOW))
    remembers = replace_memories(estate, [*estate.memories, *(Memory(one) for one in merged(seen))])
    assert [plan.decisions for plan in planned_all(remembers)] == [plan.decisions for plan in first]


@given(estates())
def test_when_all_workloads_have_gone_everything_that_they_used_still_stays(estate: Estate) -> None:
    policy = replace(estate.policy, used_within=15 * DAY)
    before = planned_all(estate, policy=policy)
    seen = [Memory(one) for plan in before for one in plan.seen]
    after = planned_all(Estate(estate.inventories, [], policy, [*estate.memories, *seen]))
    for then, now in zip(kept_in_all(before), kept_in_all(after), strict=True):
        assert then <= now
