"""EventBridge Scheduler as witness: what a schedule starts stays, in whatever group, by whatever kind of target."""

import json
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.emulator import Fault
from ecrsweep.sources.scheduler import SchedulerSource
from tests.sources.worlds import (
    CLUSTER,
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

pytest.importorskip("moto")

UNIVERSAL = "arn:aws:scheduler:::aws-sdk"


class Schedules:
    """Scheduler of one region, in moto."""

    def __init__(self, world: World, region: str = HERE) -> None:
        self.client = world.aws.client("scheduler", region)

    def add(self, name: str, arn: str, *, group: str = "default", state: str = "ENABLED", **target: Any) -> None:
        """A schedule with this target; an `Input` that is no text is made JSON."""
        given = {
            key: value if key != "Input" or isinstance(value, str) else json.dumps(value)
            for key, value in target.items()
        }
        self.client.create_schedule(
            Name=name, GroupName=group, State=state, ScheduleExpression="rate(1 day)", FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": arn, "RoleArn": ROLE, **given},
        )  # fmt: skip

    def task(self, name: str, definition: str, **options: Any) -> None:
        self.add(name, CLUSTER, EcsParameters={"TaskDefinitionArn": definition}, **options)


def build(world: World) -> None:
    schedules = Schedules(world)
    schedules.client.create_schedule_group(Name="ops")
    schedules.task("nightly", world.pinned("pinned"))
    schedules.task("nightly", world.pinned("grouped"), group="ops")
    schedules.task("off", world.pinned("disabled"), state="DISABLED")
    request = {"Cluster": "default", "TaskDefinition": world.pinned("universal").rpartition("/")[2]}
    schedules.add("universal", f"{UNIVERSAL}:ecs:runTask", Input=request)
    world.jobs([job_definition("etl", 3, containerProperties={"image": world.image("job")})])
    schedules.add(
        "job", f"{UNIVERSAL}:batch:submitJob", Input={"JobName": "x", "JobQueue": "q", "JobDefinition": "etl"}
    )
    training = {"AlgorithmSpecification": {"TrainingImage": world.image("training"), "TrainingInputMode": "File"}}
    schedules.add("train", f"{UNIVERSAL}:sagemaker:createTrainingJob", Input=training)
    inner = json.dumps({"taskDefinition": world.pinned("nested"), "other": 1})
    schedules.add("workflow", f"{UNIVERSAL}:sfn:startExecution", Input={"StateMachineArn": "m", "Input": inner})
    schedules.add("text", "arn:aws:sqs:us-east-1:123456789012:q", Input=f"run {world.image('text')}. And then stop")
    schedules.task("deleted", world.pinned("deleted"))
    for number in range(100):
        schedules.add(f"filler-{number}", "arn:aws:sqs:us-east-1:123456789012:q")
    schedules.task("zz-last", world.pinned("last"))
    gone = Fault.error("scheduler", "GetSchedule", "ResourceNotFoundException", "gone", 404)
    gone.when = lambda asked: asked["Name"] == "deleted"
    world.aws.faults.add(gone)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    return planned("scheduler", tmp_path_factory.mktemp("home"), build, "--skip-source", "batch")


def test_what_vanishes_in_between_is_no_gap_and_takes_nothing_along(found: Planned) -> None:
    assert found.is_healthy(), found.finished.err or found.entry()
    assert found.finished.action(found.world.digests["deleted"]) == "delete"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("pinned", ("schedule/default/nightly", "task definition pinned:1", "container app")),
        ("grouped", ("schedule/ops/nightly", "task definition grouped:1")),
        ("disabled", ("schedule/default/off",)),
        ("universal", ("schedule/default/universal", "task definition universal:1")),
        ("job", ("schedule/default/job", "job definition etl:3")),
        ("training", ("schedule/default/train", "Input.AlgorithmSpecification.TrainingImage")),
        ("nested", ("schedule/default/workflow", "task definition nested:1")),
        ("text", ("schedule/default/text", "Input")),
        ("last", ("schedule/default/zz-last",)),
    ],
)
def test_the_image_stays_and_the_schedule_is_named(found: Planned, tag: str, said: tuple[str, ...]) -> None:
    assert found.keeps(tag, *said)


def test_each_call_that_is_denied_and_each_senseless_answer_is_a_gap(tmp_path: Path) -> None:
    def build_region(world: World, region: str) -> None:
        schedules = Schedules(world, region)
        schedules.task("nightly", world.pinned("pinned", region))
        schedules.add("job", f"{UNIVERSAL}:batch:submitJob", Input={"JobDefinition": "etl"})

    cases = [
        *denied(*SchedulerSource.actions),
        *senseless("scheduler:ListSchedules", "Schedules"),
        (Fault("garbage", "scheduler", "GetSchedule", body=b"{}"), "answered without Arn"),
    ]
    assert list(gaps("scheduler", tmp_path, build_region, cases)) == []
