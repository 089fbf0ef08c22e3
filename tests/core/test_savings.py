"""True bytes: each layer counted once, by who has it before and after; what is not known makes an upper bound."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.core.decisions import Action, Code, Decision, Reason
from ecrsweep.core.images import Blob, Image, Layers, Status
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.prices import Prices, RegionPrices, Tier
from ecrsweep.core.savings import Figures, Savings, Sizes, monthly_savings, sizes_of

GB: Final = 2**30
PRICE: Final = RegionPrices(0.1, (Tier(0.1, 10), Tier(0.05)), 0.03)
PRICES: Final = Prices("2026-01-31", "a test", GB, 90, {"us-east-1": PRICE}, PRICE, ("cn-",))
OF_ARCHIVED: Final = st.sampled_from([Action.KEEP, Action.HOLD, Action.DELETE])
ACTIONS: Final = OF_ARCHIVED | st.just(Action.ARCHIVE)


def decided(number: int, action: Action, *, archived: bool = False, size: int = 0) -> Decision:
    status = Status.ARCHIVED if archived else Status.ACTIVE
    return Decision(Image(f"sha256:{number}", size_bytes=size, status=status), action, (Reason(Code.NOT_KEPT),))


@st.composite
def repositories(draw: st.DrawFn) -> tuple[list[Decision], dict[str, tuple[Blob, ...]]]:
    """Images that share layers, some archived, decided in any way that a plan may decide."""
    sizes = draw(st.lists(st.integers(0, 10**12), min_size=1, max_size=8))
    decisions: list[Decision] = []
    blobs: dict[str, tuple[Blob, ...]] = {}
    for number in range(draw(st.integers(0, 8))):
        archived = draw(st.booleans())
        action = draw(OF_ARCHIVED if archived else ACTIONS)
        named = draw(st.lists(st.integers(0, len(sizes) - 1), max_size=6))  # a manifest may name a layer twice
        decisions.append(decided(number, action, archived=archived))
        blobs[f"sha256:{number}"] = tuple(Blob(f"layer {which}", sizes[which]) for which in named)
    return decisions, blobs


@given(repositories())
def test_each_layer_is_counted_once_by_who_has_it(
    repository: tuple[list[Decision], dict[str, tuple[Blob, ...]]],
) -> None:
    decisions, blobs = repository

    def of(archived: bool | None = None, *actions: Action) -> set[Blob]:
        return {
            blob
            for one in decisions
            if one.action in (actions or tuple(Action)) and archived in {None, one.image.status == Status.ARCHIVED}
            for blob in blobs[one.image.digest]
        }

    staying = (Action.KEEP, Action.HOLD)
    standard, in_archive = of(False), of(True) - of(False)
    stays = of(None, *staying) | of(None, Action.ARCHIVE)
    stays_standard, moving = of(False, *staying), of(None, Action.ARCHIVE)

    def total(some: set[Blob]) -> int:
        return sum(blob.size for blob in some)

    found = sizes_of(decisions, Layers(blobs, {}))
    assert found == Sizes(
        freed=total(standard - stays),
        freed_from_archive=total(in_archive - stays),
        moved_to_archive=total(moving - stays_standard),
        kept=total((standard & stays) - (moving - stays_standard)),
        kept_in_archive=total(in_archive & stays),
    )
    assert found.delete + found.moved_to_archive + found.keep == total(of())


@given(repositories(), st.data())
def test_what_is_not_known_only_ever_makes_more_of_what_goes(
    repository: tuple[list[Decision], dict[str, tuple[Blob, ...]]], data: st.DataObject
) -> None:
    decisions, blobs = repository
    sized = [
        Decision(
            Image(
                one.image.digest, size_bytes=sum(b.size for b in set(blobs[one.image.digest])), status=one.image.status
            ),
            one.action,
            one.reasons,
        )
        for one in decisions
    ]
    hidden = data.draw(st.sets(st.sampled_from(sorted(blobs)))) if blobs else set()
    exact = sizes_of(sized, Layers(blobs, {}))
    partly = {digest: found for digest, found in blobs.items() if digest not in hidden}
    bound = sizes_of(sized, Layers(partly, dict.fromkeys(hidden, "hidden")))
    assert (bound.unread, bound.is_exact) == (len(hidden), not hidden)
    assert bound.delete >= exact.delete
    assert bound.delete <= sum(one.image.size_bytes for one in sized if one.action is Action.DELETE)


def test_where_manifests_disagree_on_a_layer_the_order_does_not_matter() -> None:
    decisions = [decided(1, Action.DELETE), decided(2, Action.DELETE)]
    blobs: dict[str, tuple[Blob, ...]] = {"sha256:1": (Blob("layer", 5),), "sha256:2": (Blob("layer", 7),)}
    assert sizes_of(decisions, Layers(blobs, {})) == sizes_of(decisions[::-1], Layers(blobs, {})) == Sizes(freed=7)


def test_an_image_whose_layers_are_not_known_counts_with_what_ecr_says_and_its_reason_is_kept() -> None:
    decisions = [decided(1, Action.DELETE, archived=True, size=10), decided(2, Action.KEEP, size=3)]
    found = sizes_of(decisions, Layers({"sha256:2": (Blob("layer", 3),)}, {"sha256:1": "it is archived"}))
    assert found == Sizes(freed_from_archive=10, kept=3, unread=1, why="it is archived")


def test_a_month_costs_less_by_what_is_deleted_and_by_no_more_than_the_archive_is_cheaper() -> None:
    assert monthly_savings(Sizes(freed=20 * GB), "us-east-1", PRICES) == 2.0
    assert monthly_savings(Sizes(freed_from_archive=4 * GB), "us-east-1", PRICES) == 0.4
    assert monthly_savings(Sizes(moved_to_archive=10 * GB), "us-east-1", PRICES) == 0.0
    beyond = monthly_savings(Sizes(moved_to_archive=10 * GB, kept_in_archive=10 * GB), "us-east-1", PRICES)
    assert beyond is not None
    assert round(beyond, 9) == 0.5
    assert monthly_savings(Sizes(freed=GB), "cn-north-1", PRICES) is None


@given(st.builds(Sizes, *[st.integers(0, 10**15)] * 5))
def test_nobody_loses_by_a_plan(sizes: Sizes) -> None:
    saved = monthly_savings(sizes, "us-east-1", PRICES)
    assert saved is not None
    assert saved >= -1e-6 * (1 + saved)


def repository(region: str, name: str = "team/app") -> Repository:
    return Repository(Registry("123456789012", region), name)


def test_the_figures_of_a_plan_are_exact_or_absent() -> None:
    exact = Savings(PRICES, ((repository("us-east-1"), Sizes(freed=GB, kept=2)), (repository("eu-west-1"), Sizes())))
    assert exact.figures == Figures(GB, 2, 0, 0.1)
    assert exact.assumed_regions == ["eu-west-1"]
    partly = Savings(PRICES, (*exact.repositories, (repository("us-east-1", "other"), Sizes(freed=1, unread=3))))
    assert partly.figures == Figures(manifests_unread=3)
    assert partly.inexact_repositories == 1
    assert partly.by_region == {"us-east-1": Sizes(freed=GB + 1, kept=2, unread=3), "eu-west-1": Sizes()}


def test_without_the_price_of_one_region_there_is_no_sum() -> None:
    savings = Savings(PRICES, ((repository("us-east-1"), Sizes(freed=GB)), (repository("cn-north-1"), Sizes(freed=GB))))
    assert savings.unpriced_regions == ["cn-north-1"]
    assert savings.assumed_regions == []
    assert savings.figures == Figures(2 * GB, 0, 0, None)
