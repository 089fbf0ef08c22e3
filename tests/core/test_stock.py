"""What an account holds, as a first configuration tells it: groups of repositories, and what tags look like."""

import pytest

from ecrsweep.core.images import Image, Inventory
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.policy import DAY
from ecrsweep.core.stock import WITHOUT_PREFIX, Shape, grouped, shape_of, stock_of
from tests.core.worlds import NOW, PLAIN, digest

REGISTRY = Registry("123456789012", "us-east-1")


@pytest.mark.parametrize(
    ("tag", "shape"),
    [
        ("1.2.3", Shape.VERSION), ("v1.2", Shape.VERSION), ("1.2.3-rc.1", Shape.VERSION), ("0.144", Shape.VERSION),
        ("latest", Shape.MOVING), ("main", Shape.MOVING), ("pr-17", Shape.PULL_REQUEST), ("PR_17-abc", Shape.PULL_REQUEST),
        ("main-1a2b3c4", Shape.BRANCH_COMMIT), ("feature-x-1a2b3c4d", Shape.BRANCH_COMMIT), ("1a2b3c4", Shape.COMMIT),
        ("sha-1a2b3c4", Shape.COMMIT), ("release-124", Shape.COUNTER), ("17", Shape.NUMBER), ("v17", Shape.NUMBER),
        ("2026-01-31", Shape.DATE), ("20260131", Shape.DATE), ("a_1.b", Shape.OTHER),
    ],
)  # fmt: skip
def test_what_a_tag_looks_like(tag: str, shape: Shape) -> None:
    assert shape_of(tag) is shape


def repository(name: str, *images: Image, edges: dict[str, tuple[str, ...]] | None = None) -> Inventory:
    return Inventory(Repository(REGISTRY, name), images, edges or {})


def test_signatures_and_parts_of_indexes_are_nobodys_tags_and_no_untagged_images() -> None:
    child = Image(digest(1), (), PLAIN[0], pushed_at=NOW - DAY, size_bytes=5)
    index = Image(digest(2), ("1.0", "prod"), "application/vnd.oci.image.index.v1+json", pushed_at=NOW - DAY)
    signature = Image(digest(3), (digest(2).replace(":", "-") + ".sig",), PLAIN[1], pushed_at=NOW)
    left = Image(digest(4), (), PLAIN[0], pushed_at=NOW - 300 * DAY, size_bytes=7)
    found = stock_of(repository("a/b", child, index, signature, left, edges={digest(2): (digest(1),)}), NOW)
    assert (found.images, found.untagged, found.size_bytes, found.pushed_lately) == (4, 1, 12, 1)
    assert found.tags == {Shape.VERSION: (1, "1.0"), Shape.MOVING: (1, "prod")}
    assert found.moving == ("prod",)


def test_repositories_are_grouped_by_the_first_part_of_their_names_and_those_without_together() -> None:
    names = ("team/web", "solo", "data/etl", "team/api/v2", "alone")
    groups = grouped(stock_of(repository(name), NOW) for name in names)
    assert [(group.name, group.globs) for group in groups] == [
        ("data", ("data/*",)), ("team", ("team/*",)), (WITHOUT_PREFIX, ("alone", "solo")),
    ]  # fmt: skip
