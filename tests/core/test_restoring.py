"""What has to be done so that images are back: everything that was wished once, in an order that ECR takes, and no tag stolen."""

import json
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.core.images import OCI_INDEX, Image, Inventory, Status
from ecrsweep.core.journal import KeptManifest
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.restoring import (
    LEFT_UNDONE,
    Course,
    Outcome,
    RestoreResult,
    Result,
    Wish,
    chart,
    in_order_of_pushing,
)

PLACE = Repository(Registry("123456789012", "us-east-1"), "team/app")
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
NUMBERS = st.integers(0, 7)
TAGS = st.sampled_from(["a", "b", "c", "d"])


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


@st.composite
def manifests(draw: st.DrawFn) -> list[KeptManifest]:
    """Manifests that contain, and refer to, what has a smaller number, in any order."""
    made = []
    for number in draw(st.sets(NUMBERS, min_size=1)):
        smaller = st.sets(st.integers(0, number - 1)) if number else st.just(set())
        body: dict[str, object] = {}
        children = draw(smaller)
        if children:
            body["manifests"] = [{"digest": digest(child)} for child in sorted(children)]
        elif number and draw(st.booleans()):
            body["subject"] = {"digest": digest(draw(st.integers(0, number - 1)))}
        kind = OCI_INDEX if children else OCI_IMAGE
        tags = tuple(draw(st.sets(TAGS, max_size=2)))
        made.append(KeptManifest(digest(number), kind, tags, json.dumps(body)))
    return draw(st.permutations(made))


@given(manifests())
def test_what_is_contained_or_referred_to_is_pushed_before(kept: list[KeptManifest]) -> None:
    order = in_order_of_pushing(kept)
    assert sorted(order, key=lambda one: one.digest) == sorted(kept, key=lambda one: one.digest)
    known = {one.digest for one in kept}
    done: set[str] = set()
    for one in order:
        body = json.loads(one.content)
        needs = {child["digest"] for child in body.get("manifests", ())} | {body.get("subject", {}).get("digest")}
        assert needs & known <= done
        done.add(one.digest)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Wish, Inventory]:
    """A repository in any state, and wishes for things that may or may not be in it."""
    free = ["a", "b", "c", "d"]
    images = []
    for number in sorted(draw(st.sets(NUMBERS))):
        tags = draw(st.sets(st.sampled_from(free), max_size=2)) if free else set()
        free = [tag for tag in free if tag not in tags]
        status = draw(st.sampled_from([*Status, "NEWER"]))
        images.append(Image(digest(number), tuple(sorted(tags)), OCI_IMAGE, status=status))
    edges = {
        image.digest: tuple(digest(child) for child in draw(st.sets(NUMBERS, max_size=3)))
        for image in images
        if draw(st.booleans())
    }
    digests = st.lists(NUMBERS.map(digest), unique=True).map(tuple)
    wish = Wish(
        repository=PLACE, archived=draw(digests), whole=draw(st.booleans()), deleted=draw(digests),
        untagged=tuple(draw(st.lists(st.tuples(NUMBERS.map(digest), TAGS)))),
        manifests={one.digest: one for one in draw(manifests())},
    )  # fmt: skip
    return wish, Inventory(PLACE, tuple(images), edges)


def planned(course: Course) -> list[str]:
    """Every digest that a course says something of, as often as it does."""
    fetched = [one for wave in course.fetch for one in wave]
    settled = [result.digest for result in course.settled if result.tag is None]
    return [*fetched, *course.waiting, *(kept.digest for kept in course.push), *settled]


@given(worlds())
def test_everything_that_was_wished_is_seen_to_once_and_only_what_is_archived_is_fetched(
    world: tuple[Wish, Inventory],
) -> None:
    wish, inventory = world
    course = chart(wish, inventory)
    seen = planned(course)
    assert len(seen) == len(set(seen))
    assert {*wish.archived, *wish.deleted} <= set(seen)
    if not wish.whole:
        assert set(seen) == {*wish.archived, *wish.deleted}
    held: Mapping[str, Image] = {image.digest: image for image in inventory.images}
    for wave in course.fetch:
        assert all(held[one].status not in {Status.ACTIVE, Status.ACTIVATING} for one in wave)
    assert all(held[one].status == Status.ACTIVATING for one in course.waiting)
    assert not any(kept.digest in held for kept in course.push)
    named = {tag: image.digest for image in inventory.images for tag in image.tags}
    assert all(named.get(tag) is None for _, tag in course.tags), "a tag that names something is never put elsewhere"
    lost = {result.digest for result in course.settled if result.outcome is Outcome.GONE and result.tag is None}
    assert not any(one in lost for one, _ in course.tags)


@given(worlds())
def test_with_a_part_the_whole_artifact_comes_along(world: tuple[Wish, Inventory]) -> None:
    wish, inventory = world
    whole = chart(Wish(repository=PLACE, archived=wish.archived, whole=True), inventory)
    seen = set(planned(whole))
    held = {image.digest for image in inventory.images}
    for index, children in inventory.edges.items():
        inside = {child for child in children if child in held and child != index}
        if index in seen:
            assert inside <= seen, "with an index, all that it contains"
    for one in held.intersection(wish.archived):
        above = {index for index, children in inventory.edges.items() if one in children and index in held}
        assert above <= seen, "with an image, every index that contains it"


def test_what_is_not_back_is_left_undone_and_what_is_on_its_way_only_when_the_time_is_over() -> None:
    for outcome in Outcome:
        result = RestoreResult((Result(PLACE, digest(1), outcome),))
        assert result.left_undone is (outcome in LEFT_UNDONE)
    assert RestoreResult((Result(PLACE, digest(1), Outcome.ACTIVATING),), timed_out=True).left_undone
    assert RestoreResult((), stopped_by="no credentials").left_undone
