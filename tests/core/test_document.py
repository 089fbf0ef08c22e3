"""The plan as a document: large repositories are written in parts, and read back as one plan."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.core.decisions import Code
from ecrsweep.core.document import (
    Footer,
    Header,
    PlanLines,
    Scope,
    changing_documents,
    decision_documents,
    planned,
    read_held,
    read_plan,
)
from ecrsweep.core.errors import PlanUnreadable
from ecrsweep.core.images import Image, Inventory
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.plan import RepositoryPlan, plan_repository
from ecrsweep.core.policy import DAY, Policy
from ecrsweep.core.times import parse_rfc3339, rfc3339, rfc3339_each
from ecrsweep.core.uses import UseIndex
from tests.core.worlds import NOW as WORLD_NOW
from tests.core.worlds import World, worlds

NOW = 1_764_000_000.0
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


def plan_of(images: int) -> RepositoryPlan:
    """A plan of so many images that are all old."""
    repository = Repository(Registry("123456789012", "us-east-1"), "team/app")
    held = tuple(
        Image(f"sha256:{number:064x}", (f"v{number}",), DOCKER, pushed_at=NOW - 90 * DAY - number)
        for number in range(images)
    )
    return plan_repository(
        Inventory(repository, held, {}), UseIndex([]).match(repository, held), Policy(newest=10), NOW
    )


def _footer(plan: RepositoryPlan) -> Footer:
    return Footer((), (), plan.summary)


def test_a_repository_of_several_parts_reads_back_as_it_was_planned() -> None:
    plan, lines = plan_of(2_345), PlanLines()
    header = Header(NOW, NOW + DAY, "0", (Policy(newest=10),), Scope("123456789012", ("us-east-1",)))
    parts = list(lines.add(plan))
    assert [part.count(b"\n") for part in parts] == [1000, 1000, 345]
    assert max(len(part) for part in parts) < 1_000_000
    lines = PlanLines()
    written = lines.begin(header) + b"".join(lines.add(plan)) + lines.end(_footer(plan))
    saved = read_plan(written.splitlines(keepends=True), NOW)
    assert saved.going == tuple(changing_documents(plan))
    assert len(saved.going) == 2_335


def test_without_images_nothing_is_written() -> None:
    assert list(PlanLines().add(plan_of(0))) == []


@given(st.one_of(st.integers(0, 253_402_300_799), st.floats(0, 2**33), st.floats(0, 2**33).map(lambda s: round(s, 3))))
def test_times_are_written_as_the_standard_library_writes_them(seconds: float) -> None:
    expected = datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    assert rfc3339(seconds) == expected
    assert abs(parse_rfc3339(expected) - seconds) < 1e-6


@given(st.lists(st.none() | st.floats(0, 2**33), max_size=6))
def test_times_are_written_together_as_they_are_one_by_one(moments: list[float | None]) -> None:
    assert rfc3339_each(moments) == [None if moment is None else rfc3339(moment) for moment in moments]


@given(worlds(), st.booleans())
def test_rows_say_what_the_decisions_say_one_by_one(world: World, governed: bool) -> None:
    inventory, index = world.inventory, UseIndex(world.uses)
    matched = index.match(inventory.repository, inventory.images)
    plan = plan_repository(inventory, matched, world.policy if governed else None, WORLD_NOW)
    rows = list(decision_documents(plan))
    assert rows == [planned(plan.repository, decision) for decision in plan.decisions]
    assert [row.reasons for row in rows] == [decision.reasons for decision in plan.decisions]
    assert all(
        row.reasons and all(reason.detail or reason.code is Code.NOT_GOVERNED for reason in row.reasons) for row in rows
    )


@pytest.mark.parametrize(
    "raw", [3, [3], [{"account": "1"}], [{"account": "1", "region": "r", "code": "x", "detail": ""}]]
)
def test_held_registries_that_make_no_sense_are_refused(raw: object) -> None:
    with pytest.raises(PlanUnreadable, match="registries that the plan holds"):
        read_held({"held_registries": raw})
