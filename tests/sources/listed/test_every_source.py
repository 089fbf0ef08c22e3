"""What holds for each source: what only it knows of stays, and whatever it cannot read is a gap and never an absence."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.errors import AwsFailure, ClosedByOrganization
from ecrsweep.core.uses import CoverageStatus
from ecrsweep.emulator import Call, Emulator, Fault
from ecrsweep.emulator.registry import Repository
from ecrsweep.emulator.wire import wire_of
from ecrsweep.sources import OWN
from tests.sources.listed.conftest import Ask, Images
from tests.sources.listed.worlds import WORLDS, World
from tests.support import Cli

each_world = pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.source)


def operations() -> Iterator[Any]:
    """Every call that a source says it makes."""
    for world in WORLDS:
        for action in OWN[world.source]().actions:
            operation = action.partition(":")[2]
            yield pytest.param(world, operation, id=f"{world.source}-{operation}")


def losses() -> Iterator[Any]:
    for world in WORLDS:
        for operation in world.gone:
            yield pytest.param(world, operation, id=f"{world.source}-{operation}")


def push_all(world: World, aws: Emulator, image: Images) -> dict[str, str]:
    """The world, with an image for every place in it and one that nothing uses."""
    for tag in ("unused", "running", "recent"):
        image(tag)
    return world.build(aws, image)


@each_world
def test_an_image_used_only_there_stays_and_the_plan_says_where(
    aws: Emulator, cli: Cli, repo: Repository, image: Images, world: World
) -> None:
    expected = push_all(world, aws, image)
    found = cli.plan("--keep-newest", "0", *world.flags)
    assert found.status == 0, found.err
    kept = {repo.by_digest[digest].tags[0] for digest, one in found.decisions.items() if one["action"] == "keep"}
    assert kept == expected.keys()
    for tag, detail in expected.items():
        assert detail in found.details(repo.digest_of(tag)), tag
    assert found.json["unresolved"] == []
    assert found.action(repo.digest_of("unused")) == "delete"


@each_world
def test_a_call_that_is_denied_holds_every_candidate_and_deletes_nothing(
    aws: Emulator, cli: Cli, repo: Repository, image: Images, world: World
) -> None:
    push_all(world, aws, image)
    operation = OWN[world.source]().actions[-1].partition(":")[2]
    aws.faults.add(Fault.denied(world.service, operation, region="us-east-1"))
    before = list(repo.by_digest)
    ended = cli("apply", "--yes", "--keep-newest", "0", "--pulled-within", "0d", *world.flags)
    assert ended.status == 5, ended.out
    assert list(repo.by_digest) == before
    assert operation in ended.out


@each_world
def test_it_makes_the_calls_that_its_policy_allows_and_no_others(
    aws: Emulator, image: Images, ask: Ask, world: World
) -> None:
    push_all(world, aws, image)
    ask(world.source)
    made = {call.operation for call in aws.calls.log if call.service == world.service}
    assert made == {action.partition(":")[2] for action in OWN[world.source]().actions}


@each_world
def test_where_nothing_is_it_reads_as_complete_with_no_uses(aws: Emulator, ask: Ask, world: World) -> None:
    if world.source == "inspector":
        pytest.skip("it is never without an answer: whether it is on")
    told = ask(world.source)
    assert (told.entry.status, told.entry.error, told.uses) == (CoverageStatus.COMPLETE, None, ())
    assert any(call.service == world.service for call in aws.calls.log)


@pytest.mark.parametrize(("world", "operation"), [*operations()])
def test_each_call_that_is_denied_is_a_gap_that_names_it(
    aws: Emulator, image: Images, ask: Ask, world: World, operation: str
) -> None:
    push_all(world, aws, image)
    whole = ask(world.source)
    assert whole.entry.status is CoverageStatus.COMPLETE
    aws.faults.add(Fault.denied(world.service, operation))
    told = ask(world.source)
    assert told.entry.status is CoverageStatus.FAILED
    assert told.entry.action is not None
    assert told.entry.action.endswith(f":{operation}")
    assert told.tags <= whole.tags


@pytest.mark.parametrize(("world", "operation"), [*operations()])
def test_an_answer_that_makes_no_sense_is_a_gap_not_an_absence(
    aws: Emulator, image: Images, ask: Ask, world: World, operation: str
) -> None:
    push_all(world, aws, image)
    for body in (b"{}", b"[]", b"<html/>"):
        aws.faults.clear()
        aws.faults.add(Fault("garbage", world.service, operation, body=body))
        told = ask(world.source)
        assert told.entry.status is CoverageStatus.FAILED, body
        assert told.entry.error


@each_world
def test_a_first_page_with_nothing_on_it_is_not_the_end(aws: Emulator, image: Images, ask: Ask, world: World) -> None:
    push_all(world, aws, image)
    whole = ask(world.source)
    for operation, body in empty_pages(world):
        aws.faults.add(Fault("garbage", world.service, operation, times=1, body=body))
    told = ask(world.source)
    assert (told.entry.status, told.entry.error) == (CoverageStatus.COMPLETE, None)
    assert told.uses == whole.uses


def empty_pages(world: World) -> Iterator[tuple[str, bytes]]:
    """For each call that has pages, one without items whose token leads to the beginning."""
    model: Any = wire_of(world.service).model
    for action in OWN[world.source]().actions:
        operation = action.partition(":")[2]
        members = model.operation_model(operation).output_shape.members
        tokens = {"NextToken", "nextToken"} & members.keys()
        if tokens and operation != "ListClusters":  # that one is no script, and gives tokens of its own
            page: dict[str, Any] = {name: [] for name, shape in members.items() if shape.type_name == "list"}
            yield operation, json.dumps(page | {tokens.pop(): "0"}).encode()


@each_world
def test_a_throttled_or_unreachable_service_is_a_gap(aws: Emulator, image: Images, ask: Ask, world: World) -> None:
    push_all(world, aws, image)
    throttled = Fault.error(world.service, "*", "ThrottlingException", "Rate exceeded", 400)
    for fault in (throttled, Fault("html", world.service, status=503), Fault("drop_before", world.service)):
        aws.faults.clear()
        aws.faults.add(fault)
        assert ask(world.source).entry.status is CoverageStatus.FAILED


@pytest.mark.parametrize(("world", "operation"), [*losses()])
def test_what_is_gone_in_between_is_no_gap_and_takes_nothing_else_along(
    aws: Emulator, image: Images, ask: Ask, world: World, operation: str
) -> None:
    push_all(world, aws, image)
    whole = ask(world.source)
    aws.faults.add(world.lose(operation))
    told = ask(world.source)
    assert (told.entry.status, told.entry.error) == (CoverageStatus.COMPLETE, None)
    assert told.tags <= whole.tags
    assert len(whole.workloads - told.workloads) <= 1


@pytest.mark.parametrize(("world", "operation"), [*losses()])
def test_something_else_that_is_missing_is_a_gap(
    aws: Emulator, image: Images, ask: Ask, world: World, operation: str
) -> None:
    push_all(world, aws, image)
    aws.faults.add(Fault.error(world.service, operation, "NoSuchThingException", "Something was not found.", times=1))
    assert ask(world.source).entry.status is CoverageStatus.FAILED


@each_world
def test_a_list_that_answers_not_found_is_a_gap(aws: Emulator, image: Images, ask: Ask, world: World) -> None:
    push_all(world, aws, image)
    first = called(aws, ask, world)[0].operation
    for code, message in set(world.gone.values()):
        aws.faults.clear()
        aws.faults.add(Fault.error(world.service, first, code, message))
        assert ask(world.source).entry.status is CoverageStatus.FAILED


def called(aws: Emulator, ask: Ask, world: World) -> list[Call]:
    ask(world.source)
    return [call for call in aws.calls.log if call.service == world.service]


@each_world
def test_the_region_is_closed_only_where_the_organisation_refuses_every_call(
    aws: Emulator, image: Images, ask: Ask, over_http: AwsWorld, world: World
) -> None:
    push_all(world, aws, image)
    last = called(aws, ask, world)[-1].operation
    for operation, kind in ((last, AwsFailure), ("*", ClosedByOrganization)):
        aws.faults.clear()
        aws.faults.add(Fault.closed("us-east-1", world.service, operation))
        with pytest.raises(AwsFailure) as raised:
            list(OWN[world.source]().uses(over_http.place("us-east-1")))
        assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("source", "operation"), [("sagemaker", "ListInferenceComponents"), ("ecs-daemons", "ListDaemonTaskDefinitions")]
)
def test_a_service_that_does_not_know_one_call_has_nothing_of_that_kind_but_one_that_knows_none_is_a_gap(
    aws: Emulator, image: Images, ask: Ask, source: str, operation: str
) -> None:
    (world,) = (world for world in WORLDS if world.source == source)
    push_all(world, aws, image)
    aws.faults.add(Fault.error(world.service, operation, "UnknownOperationException", "The operation is not known."))
    told = ask(source)
    assert told.entry.status is CoverageStatus.COMPLETE
    assert told.uses
    aws.faults.add(Fault.error(world.service, "*", "UnknownOperationException", "The operation is not known."))
    told = ask(source)
    assert (told.entry.status, told.uses) == (CoverageStatus.FAILED, ())
