"""The artifact graph, and keeping over it, against the oracle: how deep, how shared and how strange it may be."""

from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st
from msgspec.structs import replace

from ecrsweep.core.decisions import Code, Decision
from ecrsweep.core.graph import build_graph, levels
from ecrsweep.core.images import OCI_INDEX, Image, Inventory, Kind
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.plan import plan_repository
from ecrsweep.core.policy import Otherwise, Policy
from ecrsweep.core.uses import Use, UseIndex
from tests.core import oracle
from tests.core.worlds import NOW, digest, inventories, nested, policies, tangled

FLOWS = {Code.CHILD_OF_KEPT, Code.REFERRER_OF_KEPT, Code.PARENT_OF_KEPT}
"""The reasons by which an image stays because of another one, which their detail names."""
GRAPHS = st.one_of(nested(), inventories(), tangled())
NAMES = st.sets(st.integers(0, 12).map(digest), max_size=2)


def decided(inventory: Inventory, policy: Policy, used: Any = ()) -> list[Decision]:
    uses = [Use(f"{inventory.repository.uri}@{named}", "arn:workload", "test") for named in sorted(used)]
    return list(
        plan_repository(inventory, UseIndex(uses).match(inventory.repository, inventory.images), policy, NOW).decisions
    )


def staying(decisions: list[Decision]) -> set[str]:
    return {decision.image.digest for decision in decisions if decision.stays}


def told(decision: Decision, *codes: Code) -> set[str]:
    """The digests that the reasons of these codes name."""
    return {reason.detail for reason in decision.reasons if reason.code in codes}


def depth(inventory: Inventory) -> int:
    held = {image.digest for image in inventory.images}
    edges = {parent: set(named) & held - {parent} for parent, named in inventory.edges.items()}

    def under(name: str) -> int:
        return 1 + max((under(child) for child in edges.get(name, ())), default=0)

    return max(map(under, held), default=0)


@given(nested(), policies(), NAMES)
def test_nested_indexes_and_their_referrers_are_decided_as_by_the_oracle(
    inventory: Inventory, policy: Policy, used: set[str]
) -> None:
    event(f"{depth(inventory)} levels")
    used &= {image.digest for image in inventory.images}
    assert staying(decided(inventory, policy, used)) == oracle.kept(inventory, used, policy, NOW)


@given(GRAPHS)
def test_roots_attached_referrers_and_orphans_are_those_of_the_oracle(inventory: Inventory) -> None:
    graph = build_graph(inventory.images, inventory.edges)
    expected = oracle.arrangement(inventory)
    assert set(graph.roots) == expected.roots
    assert set(graph.attached) == expected.attached
    assert set(graph.orphans) == expected.orphans
    assert {(p, c) for p, children in graph.children.items() for c in children} == expected.contains
    assert {(c, p) for c, parents in graph.parents.items() for p in parents} == {(c, p) for p, c in expected.contains}
    assert {(r, s) for r, subjects in graph.subjects.items() for s in subjects} == expected.says
    assert {(s, r) for s, referrers in graph.referrers.items() for r in referrers} == {(s, r) for r, s in expected.says}


@given(GRAPHS, policies(), NAMES)
def test_every_reason_that_names_another_image_is_true_and_none_is_left_out(
    inventory: Inventory, policy: Policy, used: set[str]
) -> None:
    if policy.otherwise in {Otherwise.ARCHIVE, Otherwise.TRIAL}:  # what is archived does not hold what is below it
        policy = replace(policy, otherwise=Otherwise.DELETE)
    decisions, among = decided(inventory, policy, used), oracle.arrangement(inventory)
    kept = staying(decisions)
    for decision in decisions:
        name = decision.image.digest
        if decision.stays:
            assert told(decision, Code.CHILD_OF_KEPT) == {p for p, c in among.contains if c == name and p in kept}
            assert told(decision, Code.REFERRER_OF_KEPT) == {s for r, s in among.says if r == name and s in kept}
            below = {c for p, c in among.contains if p == name} | {r for r, s in among.says if s == name}
            assert told(decision, Code.PARENT_OF_KEPT) <= below & kept
        else:
            assert told(decision, Code.CHILD_OF_DELETED) == {p for p, c in among.contains if c == name}


@given(GRAPHS, policies(), NAMES)
def test_whatever_stays_because_of_another_stays_at_last_because_of_one_that_has_a_reason_of_its_own(
    inventory: Inventory, policy: Policy, used: set[str]
) -> None:
    """No two images keep each other, and nothing else does."""
    decisions = [decision for decision in decided(inventory, policy, used) if decision.stays]
    grounded = {d.image.digest for d in decisions if any(reason.code not in FLOWS for reason in d.reasons)}
    while more := {d.image.digest for d in decisions if told(d, *FLOWS) & grounded} - grounded:
        grounded |= more
    assert grounded == staying(decisions)


@given(nested(usual=True), policies(), NAMES)
def test_what_is_left_after_the_deletions_lacks_nothing_and_nothing_in_it_is_a_leftover(
    inventory: Inventory, policy: Policy, used: set[str]
) -> None:
    kept, among = staying(decided(inventory, policy, used)), oracle.arrangement(inventory)
    images = {image.digest: image for image in inventory.images}
    for parent, child in among.contains:
        assert parent not in kept or child in kept, "an index without its child"
    for referrer, subject in among.says:
        assert subject not in kept or referrer in kept, "a subject without its referrer"
    for name in kept:
        parents = {p for p, c in among.contains if c == name}
        subjects = {s for r, s in among.says if r == name}
        needed_for = parents | (subjects if name in among.attached else set())
        assert not needed_for or (parents | subjects) & kept or in_grace(images[name], policy), "a leftover"


def in_grace(image: Image, policy: Policy) -> bool:
    """A referrer that was pushed or restored just now stays, like anything of that kind, and speaks for nobody."""
    fresh = image.pushed_at is None or NOW - image.pushed_at <= policy.grace
    restored = image.activated_at is not None and NOW - image.activated_at <= policy.grace
    return image.kind is Kind.REFERRER and (fresh or restored)


@given(nested(usual=True), policies(), NAMES)
def test_what_a_plan_leaves_the_next_plan_at_the_same_moment_leaves_too(
    inventory: Inventory, policy: Policy, used: set[str]
) -> None:
    kept = staying(decided(inventory, policy, used))
    left = replace(inventory, images=tuple(image for image in inventory.images if image.digest in kept))
    assert staying(decided(left, policy, used)) == kept


@given(nested())
def test_everything_goes_in_waves_from_the_top_however_deep(inventory: Inventory) -> None:
    graph = build_graph(inventory.images, inventory.edges)
    gone: set[str] = set()
    waves = levels(graph.images, lambda d: (*graph.parents_of(d), *graph.subjects_of(d)), graph.parents_of)
    for wave in waves:
        for name in wave:
            assert set(graph.parents_of(name)) <= gone
        gone |= set(wave)
    assert gone == set(graph.images)


def test_an_index_under_ten_thousand_others_is_decided_without_recursion() -> None:
    number = 10_000
    names = [digest(n) for n in range(number)]
    images = tuple(Image(name, media_type=OCI_INDEX, pushed_at=NOW - 1e8) for name in names)
    edges: dict[str, tuple[str, ...]] = {upper: (lower,) for upper, lower in zip(names[1:], names, strict=False)}
    inventory = Inventory(Repository(Registry("123456789012", "us-east-1"), "deep"), images, edges)
    assert staying(decided(inventory, Policy(newest=0))) == set()
    assert staying(decided(inventory, Policy(newest=0), [names[0]])) == set(names)
