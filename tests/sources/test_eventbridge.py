"""EventBridge rules as witness: what a target starts stays, on whatever bus, switched on or off."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from ecrsweep.emulator import Fault
from ecrsweep.sources.eventbridge import EventBridgeSource
from tests.sources.worlds import (
    CLUSTER,
    ELSEWHERE,
    HERE,
    ROLE,
    Planned,
    World,
    denied,
    gaps,
    job_definition,
    planned,
    senseless,
)
from tests.support import ACCOUNT

pytest.importorskip("moto")

QUEUE = f"arn:aws:batch:{HERE}:{ACCOUNT}:job-queue/queue"
FUNCTION = f"arn:aws:lambda:{HERE}:{ACCOUNT}:function:f"


class Rules:
    """EventBridge of one region, in moto."""

    def __init__(self, world: World, region: str = HERE) -> None:
        self.client = world.aws.client("events", region)

    def add(self, name: str, *targets: Mapping[str, object], bus: str = "default", state: str = "ENABLED") -> None:
        self.client.put_rule(Name=name, EventBusName=bus, EventPattern='{"source": ["a"]}', State=state)
        if targets:
            self.client.put_targets(Rule=name, EventBusName=bus, Targets=[*targets])


def task(definition: str, number: str = "t") -> dict[str, object]:
    return {"Id": number, "Arn": CLUSTER, "RoleArn": ROLE, "EcsParameters": {"TaskDefinitionArn": definition}}


def job(definition: str) -> dict[str, object]:
    return {"Id": "j", "Arn": QUEUE, "RoleArn": ROLE, "BatchParameters": {"JobDefinition": definition, "JobName": "x"}}


def build(world: World) -> None:
    rules = Rules(world)
    rules.client.create_event_bus(Name="orders")
    rules.client.create_event_bus(Name="deleted-bus")
    rules.add("nightly", task(world.pinned("pinned"), "first"), task(world.pinned("second"), "second"))
    rules.add("nightly", task(world.pinned("other-bus")), bus="orders")
    rules.add("off", task(world.pinned("disabled")), state="DISABLED")
    fresh = world.pinned("old-fresh")
    world.aws.ecs.register("old-fresh", {"app": world.image("fresh"), "side": world.image("sidecar")})
    rules.add("fresh", task(fresh.rpartition(":")[0]))
    inactive = world.pinned("inactive")
    world.aws.client("ecs").deregister_task_definition(taskDefinition=inactive)
    rules.add("inactive", task(inactive))
    rules.add("abroad", task(world.pinned("abroad", ELSEWHERE)))
    rules.add("gone", task(fresh.rpartition(":")[0] + ":99"), job("nothing:3"))
    rules.add("foreign", task(fresh.replace(ACCOUNT, "999999999999")))
    world.jobs(
        [
            job_definition("etl", 1, status="INACTIVE", containerProperties={"image": world.image("job-by-number")}),
            job_definition("etl", 9, containerProperties={"image": world.image("old-job")}),
            job_definition("etl", 10, containerProperties={"image": world.image("job-by-name")}),
            job_definition("etl", 11, status="INACTIVE", containerProperties={"image": world.image("retired-job")}),
        ],
        page=1,
    )
    rules.add("jobs", job("etl"))
    rules.add("old-job", job(f"arn:aws:batch:{HERE}:{ACCOUNT}:job-definition/etl:1"))
    written = {"Id": "w", "Arn": FUNCTION, "Input": f'{{"run": {{"image": "{world.image("written")}"}}}}'}
    template = f'{{"TaskDefinition": <family>, "image": "{world.repo.uri}:<tag>", "base": "{world.image("template")}"}}'
    paths = {"family": "$.detail.family", "tag": "$.detail.tag"}
    transformed = {"Id": "x", "Arn": FUNCTION, "InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}}
    rules.add("function", written, transformed)
    rules.add("deleted-rule", task(world.pinned("deleted")))
    rules.add("on-deleted-bus", bus="deleted-bus")
    for number in range(100):
        rules.add(f"filler-{number}")
    rules.add("zz-last", task(world.pinned("last")))
    gone = "ResourceNotFoundException"
    world.aws.faults.add(
        Fault.error("events", "ListTargetsByRule", gone, "gone", when=lambda asked: asked["Rule"] == "deleted-rule")
    )
    world.aws.faults.add(
        Fault.error("events", "ListRules", gone, "gone", when=lambda asked: asked["EventBusName"] == "deleted-bus")
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    return planned("eventbridge", tmp_path_factory.mktemp("home"), build, "--skip-source", "batch")


def test_what_vanishes_in_between_is_no_gap_and_takes_nothing_along(found: Planned) -> None:
    assert found.is_healthy(), found.finished.err or found.entry()
    assert found.finished.action(found.world.digests["deleted"]) == "delete"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("pinned", ("rule/nightly", "target first", "task definition pinned:1", "container app")),
        ("second", ("rule/nightly", "target second")),
        ("other-bus", ("rule/orders/nightly",)),
        ("disabled", ("rule/off",)),
        ("inactive", ("rule/inactive", "task definition inactive:1")),
        ("abroad", ("rule/abroad", "task definition abroad:1")),
        ("job-by-number", ("rule/old-job", "target j", "job definition etl:1")),
        ("job-by-name", ("rule/jobs", "job definition etl:10")),
        ("written", ("rule/function", "target w, Input")),
        ("template", ("rule/function", "target x, InputTransformer")),
        ("last", ("rule/zz-last",)),
    ],
)
def test_the_image_stays_and_the_rule_and_target_are_named(found: Planned, tag: str, said: tuple[str, ...]) -> None:
    assert found.keeps(tag, *said)


@pytest.mark.parametrize(("tag", "container"), [("fresh", "app"), ("sidecar", "side")])
def test_without_a_revision_the_newest_one_is_meant(found: Planned, tag: str, container: str) -> None:
    assert found.keeps(tag, "rule/fresh", "task definition old-fresh:5", f"container {container}")
    assert found.finished.action(found.world.digests["old-fresh"]) == "delete"
    assert found.finished.action(found.world.digests["old-job"]) == "delete"
    assert found.finished.action(found.world.digests["retired-job"]) == "delete"


@pytest.mark.parametrize(
    "note",
    [
        "rule/gone: target t, task definition arn:aws:ecs:us-east-1:123456789012:task-definition/old-fresh:99 does not exist",
        "rule/gone: target j, job definition nothing:3 does not exist",
        "rule/foreign: target t, task definition arn:aws:ecs:us-east-1:999999999999:task-definition/old-fresh:1 is of another",
        "rule/function: target x, the task definition is computed at every run, from <family>",
        "rule/function: target x, the image is computed at every run, from",
    ],
)
def test_what_cannot_be_known_is_told(found: Planned, note: str) -> None:
    assert note in found.notes


def test_each_definition_is_described_once(found: Planned) -> None:
    asked = Counter(
        call.parameters["taskDefinition"]
        for call in found.calls.log
        if call.operation == "DescribeTaskDefinition" and not call.parameters["taskDefinition"].startswith("arn:")
    )
    assert asked.pop("old-fresh:99") == 2, "that one does not exist is asked twice"
    assert set(asked.values()) == {1}
    pages_of_etl, numbered = 2, 1
    assert found.calls.count("batch", "DescribeJobDefinitions", region=HERE) == pages_of_etl + numbered


def test_each_call_that_is_denied_and_each_senseless_answer_is_a_gap(tmp_path: Path) -> None:
    def build_region(world: World, region: str) -> None:
        rules = Rules(world, region)
        rules.add("nightly", task(world.pinned("pinned", region)), job("etl"))

    cases = [*denied(*EventBridgeSource.actions), *senseless("events:ListTargetsByRule", "Targets")]
    assert list(gaps("eventbridge", tmp_path, build_region, cases)) == []
