"""The promises, over random worlds: what is in use stays, a gap lets nothing go, everything is decided once, and order is no matter."""

import random

from hypothesis import assume, given
from hypothesis import strategies as st

from ecrsweep.core.decisions import HOLDING, KEEPING, LETTING_GO, Action
from ecrsweep.core.graph import build_graph, levels
from ecrsweep.core.images import Gap, Inventory
from ecrsweep.core.plan import RepositoryPlan, plan_repository
from ecrsweep.core.policy import Limits, Policy
from ecrsweep.core.uses import Coverage, CoverageStatus, UseIndex
from tests.core import oracle
from tests.core.worlds import NOW, World, certain_uses, inventories, policies, worlds

FITTING = {Action.KEEP: KEEPING, Action.HOLD: HOLDING, Action.DELETE: LETTING_GO}


def planned(world: World, *, gaps: tuple[Coverage, ...] = (), limits: Limits | None = None) -> RepositoryPlan:
    matched = UseIndex(world.uses).match(world.inventory.repository, world.inventory.images)
    return plan_repository(world.inventory, matched, world.policy, NOW, census_gaps=gaps, limits=limits)


def staying(plan: RepositoryPlan) -> set[str]:
    return {decision.image.digest for decision in plan.decisions if decision.action is Action.KEEP}


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
    assert all(decision.action is not Action.DELETE for decision in held.decisions)
    assert staying(held) == staying(free)


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
    expected = oracle.kept(world.inventory, matched.reasons, world.policy, NOW)
    assert staying(planned(world)) == expected


@given(worlds())
def test_what_stays_keeps_what_it_contains_and_what_says_something_about_it(world: World) -> None:
    kept = staying(planned(world))
    graph = build_graph(world.inventory.images, world.inventory.edges)
    for digest in kept:
        assert set(graph.under(digest)) <= kept


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
    going = [decision for decision in limited.decisions if decision.action is Action.DELETE]
    assert staying(limited) == staying(planned(world))
    if len(limited.decisions) > least:
        assert len(going) <= fraction * len(limited.decisions)


@given(worlds())
def test_a_repository_that_nobody_governs_is_left_alone(world: World) -> None:
    plan = plan_repository(
        world.inventory, UseIndex([]).match(world.inventory.repository, world.inventory.images), None, NOW
    )
    assert staying(plan) == {image.digest for image in world.inventory.images}
