"""EventBridge Pipes as witness: what a pipe starts stays, whether it runs or is stopped."""

from pathlib import Path
from typing import Any

import pytest

from ecrsweep.emulator import Fault
from ecrsweep.sources.pipes import PipesSource
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
from tests.support import ACCOUNT

pytest.importorskip("moto")

QUEUE = f"arn:aws:sqs:{HERE}:{ACCOUNT}:events"
JOB_QUEUE = f"arn:aws:batch:{HERE}:{ACCOUNT}:job-queue/queue"


class Pipes:
    """Pipes of one region, in moto."""

    def __init__(self, world: World, region: str = HERE) -> None:
        self.client = world.aws.client("pipes", region)

    def add(self, name: str, target: str, *, state: str = "RUNNING", **parameters: Any) -> None:
        self.client.create_pipe(
            Name=name, Source=QUEUE, Target=target, RoleArn=ROLE, DesiredState=state, TargetParameters=parameters
        )

    def task(self, name: str, definition: str, **options: Any) -> None:
        self.add(name, CLUSTER, EcsTaskParameters={"TaskDefinitionArn": definition}, **options)

    def job(self, name: str, definition: str, **options: Any) -> None:
        self.add(name, JOB_QUEUE, BatchJobParameters={"JobDefinition": definition, "JobName": "x"}, **options)


def build(world: World) -> None:
    pipes = Pipes(world)
    pipes.task("running", world.pinned("pinned"))
    pipes.task("stopped", world.pinned("stopped"), state="STOPPED")
    world.jobs([job_definition("etl", 3, containerProperties={"image": world.image("job")})])
    pipes.job("jobs", "etl:3")
    pipes.add("template", QUEUE, InputTemplate=f'{{"run": "{world.image("template")}", "body": <$.body>}}')
    pipes.task("dynamic", "$.body.definition")
    pipes.job("dynamic-job", "$.body.job")
    pipes.task("deleted", world.pinned("deleted"))
    for number in range(100):
        pipes.add(f"filler-{number}", QUEUE)
    pipes.task("zz-last", world.pinned("last"))
    gone = Fault.error("pipes", "DescribePipe", "NotFoundException", "Pipe deleted does not exist.", 404)
    gone.when = lambda asked: asked["Name"] == "deleted"
    world.aws.faults.add(gone)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    return planned("pipes", tmp_path_factory.mktemp("home"), build, "--skip-source", "batch")


def test_what_vanishes_in_between_is_no_gap_and_takes_nothing_along(found: Planned) -> None:
    assert found.is_healthy(), found.finished.err or found.entry()
    assert found.finished.action(found.world.digests["deleted"]) == "delete"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("pinned", ("pipe/running", "task definition pinned:1", "container app")),
        ("stopped", ("pipe/stopped", "task definition stopped:1")),
        ("job", ("pipe/jobs", "job definition etl:3")),
        ("template", ("pipe/template", "TargetParameters.InputTemplate")),
        ("last", ("pipe/zz-last",)),
    ],
)
def test_the_image_stays_and_the_pipe_is_named(found: Planned, tag: str, said: tuple[str, ...]) -> None:
    assert found.keeps(tag, *said)


def test_what_a_pipe_takes_from_the_event_is_told(found: Planned) -> None:
    assert "pipe/dynamic: the task definition is computed at every run, from $.body.definition" in found.notes
    assert "pipe/dynamic-job: the job definition is computed at every run, from $.body.job" in found.notes


def test_each_call_that_is_denied_and_each_senseless_answer_is_a_gap(tmp_path: Path) -> None:
    def build_region(world: World, region: str) -> None:
        pipes = Pipes(world, region)
        pipes.task("nightly", world.pinned("pinned", region))
        pipes.job("jobs", "etl")

    cases = [
        *denied(*PipesSource.actions),
        *senseless("pipes:ListPipes", "Pipes"),
        (Fault("garbage", "pipes", "DescribePipe", body=b"{}"), "answered without Arn"),
    ]
    assert list(gaps("pipes", tmp_path, build_region, cases)) == []
