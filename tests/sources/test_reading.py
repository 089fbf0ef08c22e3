"""Reading on after a failure: what could be read counts, the failure is raised at the end, and it is the same one every time."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ecrsweep.aws.session import AwsPlace
from ecrsweep.core.errors import AwsFailure, ClosedByOrganization, Malformed, Throttled
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.sources.ecs import EcsSource
from ecrsweep.sources.reading import Reading


def failing(*numbers: int, error: Callable[[str], Exception] = AwsFailure) -> Callable[[int], Iterator[str]]:
    """Work that finds two things of each number, and fails between them for these."""

    def work(number: int) -> Iterator[str]:
        yield f"{number} first"
        if number in numbers:
            raise error(f"failure {number}")
        yield f"{number} second"

    return work


def test_what_was_found_before_a_failure_counts_and_so_does_all_after_it(place: AwsPlace) -> None:
    reading = Reading(place, "ecs")
    assert list(reading.found(failing(1), range(3))) == ["0 first", "0 second", "1 first", "2 first", "2 second"]
    with pytest.raises(AwsFailure, match="failure 1"):
        reading.finish()
    assert list(reading.each({1: "a", 3: "c"}.__getitem__, [1, 2, 3])) == [(1, "a"), (3, "c")]


def test_which_failure_is_raised_does_not_depend_on_who_fails_first(place: AwsPlace) -> None:
    reading = Reading(place, "ecs")
    second_has_failed = threading.Event()

    def work(number: int) -> list[str]:
        if number == 1:
            assert second_has_failed.wait(10)
        found = list(reading.part(failing(number)(number)))
        if number == 2:
            second_has_failed.set()
        return found

    assert list(reading.each(work, [1, 2])) == [(1, ["1 first"]), (2, ["2 first"])]
    with pytest.raises(AwsFailure, match="failure 1"):
        reading.finish()


def test_what_the_next_item_would_meet_too_ends_the_asking(place: AwsPlace) -> None:
    asked: list[int] = []

    def work(number: int) -> Iterator[int]:
        asked.append(number)
        yield number
        raise Throttled("slow down")

    reading = Reading(place, "ecs")
    assert list(reading.found(work, range(1000))) == [0]
    assert len(asked) < 500
    with pytest.raises(Throttled):
        reading.finish()


def test_what_is_gone_is_no_failure_and_what_makes_no_sense_is_one(place: AwsPlace) -> None:
    reading = Reading(place, "ecs", lambda failure: "gone" in str(failure))
    assert list(reading.found(failing(1, error=lambda text: AwsFailure(f"gone, {text}")), [1])) == ["1 first"]
    reading.finish()
    assert list(reading.found(failing(1, error=KeyError), [1])) == ["1 first"]
    with pytest.raises(Malformed, match="ecs in us-east-1 did not answer as it documents: KeyError"):
        reading.finish()


def test_a_region_is_closed_only_where_nothing_at_all_was_answered(place: AwsPlace) -> None:
    closed = failing(1, 2, error=ClosedByOrganization)
    reading = Reading(place, "ecs")
    assert list(reading.found(closed, [1, 2])) == ["1 first", "2 first"]
    with pytest.raises(ClosedByOrganization):
        reading.finish()
    list(reading.found(closed, [1, 3]))
    with pytest.raises(AwsFailure, match="failure 1") as raised:
        reading.finish()
    assert not isinstance(raised.value, ClosedByOrganization)


@pytest.mark.parametrize(
    ("operation", "lost"),
    [
        ("DescribeTasks", {"task"}),
        ("ListServices", {"service"}),
        ("DescribeServiceRevisions", set()),
        ("ListServiceDeployments", set()),
    ],
)
def test_what_ecs_says_beside_a_call_that_is_refused_still_protects(
    aws: Emulator, place: AwsPlace, operation: str, lost: set[str]
) -> None:
    """Each call that is refused takes away what it alone would have told."""
    repository = aws.ecr.repository("team/app")
    repository.push_image(tags=("v1",))
    definition = aws.ecs.register("web", {"main": f"{repository.uri}:v1"})
    aws.ecs.run(definition)
    aws.ecs.service("web", definition)
    aws.faults.add(Fault.denied("ecs", operation))
    told: list[Any] = []
    with pytest.raises(AwsFailure, match=f"ecs:{operation}"):
        told.extend(EcsSource().uses(place))
    kinds = {use.workload.split(":")[5].split("/")[0] for use in told}
    assert kinds == {"task", "service", "task-definition"} - lost
