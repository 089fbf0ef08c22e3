"""Step Functions as witness: what any state of any version starts stays, and what is computed is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.sources.stepfunctions import StepFunctionsSource
from tests.sources.worlds import HERE, ROLE, Planned, World, denied, gaps, job_definition, planned, senseless
from tests.support import Cli

pytest.importorskip("moto")

STATES = "arn:aws:states:::"


class Machines:
    """Step Functions of one region, in moto, which lacks versions: those are scripted."""

    def __init__(self, world: World, region: str = HERE) -> None:
        self.client = world.aws.client("stepfunctions", region)

    def add(self, name: str, states: dict[str, Any], **top: Any) -> str:
        definition = json.dumps({"StartAt": next(iter(states), "End"), "States": states, **top})
        return str(self.client.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"])


def task(resource: str, **members: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": f"{STATES}{resource}", "End": True, **members}


def run(definition: str) -> dict[str, Any]:
    return task("ecs:runTask.sync", Parameters={"Cluster": "default", "TaskDefinition": definition})


def machine(arn: str, definition: dict[str, Any]) -> dict[str, Any]:
    return {
        "stateMachineArn": arn, "name": "released", "definition": json.dumps(definition), "roleArn": ROLE,
        "type": "STANDARD", "creationDate": 1.0,
    }  # fmt: skip


def build(world: World) -> None:
    machines = Machines(world)
    machines.add("simple", {"Run": run(world.pinned("pinned"))})
    deep = {"Type": "Map", "ItemProcessor": {"StartAt": "Deep", "States": {"Deep": run(world.pinned("deep"))}}}
    branch = {"Type": "Parallel", "Branches": [{"StartAt": "Each", "States": {"Each": deep}}], "End": True}
    machines.add("nested", {"Fork": branch})
    sdk = {"TaskDefinition": "{% '" + world.pinned("jsonata").rpartition("/")[2] + "' %}", "Cluster": "default"}
    machines.add("jsonata", {"Sdk": task("aws-sdk:ecs:runTask", Arguments=sdk)}, QueryLanguage="JSONata")
    world.jobs([job_definition("etl", 3, containerProperties={"image": world.image("job")})])
    submit = {"JobName": "x", "JobQueue": "q", "JobDefinition": "etl"}
    machines.add("jobs", {"Submit": task("batch:submitJob.sync", Parameters=submit)})
    training = {"AlgorithmSpecification": {"TrainingImage": world.image("training"), "TrainingInputMode": "File"}}
    machines.add("training", {"Train": task("sagemaker:createTrainingJob.sync", Parameters=training)})
    chosen = {"Type": "Pass", "Result": {"taskDefinition": world.pinned("passed")}, "Next": "Dynamic"}
    dynamic = task("ecs:runTask", Parameters={"TaskDefinition.$": "$.taskDefinition"})
    whole = task("batch:submitJob", Arguments="{% $states.input.request %}")
    picture = task("aws-sdk:rekognition:detectLabels", Parameters={"Image.$": "$.picture"})
    model = task("sagemaker:createModel", Parameters={"PrimaryContainer": {"Image.$": "$.image"}, "ModelName": "m"})
    silent = task("ecs:runTask", Parameters={"Cluster": "default"})
    states = {"Pick": chosen, "Dynamic": dynamic, "Whole": whole, "Look": picture, "Model": model, "Silent": silent}
    machines.add("computed", states)
    abroad = run("abroad:1") | {"Credentials": {"RoleArn": "arn:aws:iam::999999999999:role/r"}}
    at_home = run(world.pinned("own-role")) | {"Credentials": {"RoleArn": ROLE}}
    machines.add("credentials", {"Abroad": abroad, "Home": at_home})
    world.pinned("abroad")
    machines.add("broken", {"Run": run("nothing")})
    machines.add("deleted", {"Run": run(world.pinned("deleted"))})
    released = machines.add("released", {"Run": run(world.pinned("current"))})
    versions(world, released, machines)
    gone = Fault.error(
        "stepfunctions", "DescribeStateMachine", "StateMachineDoesNotExist", "State Machine Does Not Exist"
    )
    gone.when = lambda asked: asked["stateMachineArn"].endswith((":deleted", ":released:9"))
    world.aws.faults.add(gone)
    vanished = Fault.error("stepfunctions", "ListStateMachineVersions", "StateMachineDoesNotExist", "it does not")
    vanished.when = lambda asked: asked["stateMachineArn"].endswith(":deleted")
    world.aws.faults.add(vanished)


def versions(world: World, released: str, machines: Machines) -> None:
    """Versions of a state machine, of which the first differs from the one in force and one is gone; all in short pages."""
    old = {"StartAt": "Run", "States": {"Run": run(world.pinned("version"))}}
    current = json.loads(machines.client.describe_state_machine(stateMachineArn=released)["definition"])
    numbers = range(4, 0, -1)
    held = {
        f"{released}:{number}": machine(f"{released}:{number}", old if number == 1 else current) for number in numbers
    }
    published = [{"stateMachineVersionArn": f"{released}:{number}", "creationDate": 1.0} for number in (9, *numbers)]
    scripts = world.aws.scripts

    def pages(asked: dict[str, Any]) -> dict[str, Any]:
        start, items = int(asked.get("nextToken", 0)), published if asked["stateMachineArn"] == released else []
        more = {"nextToken": str(start + 2)} if start + 2 < len(items) else {}
        return {"stateMachineVersions": items[start : start + 2]} | more

    scripts.answer("stepfunctions", "ListStateMachineVersions", pages)
    built = machines.client.list_state_machines()["stateMachines"]
    describe = machines.client.describe_state_machine
    known = held | {
        arn: machine(arn, json.loads(describe(stateMachineArn=arn)["definition"]))
        for arn in (each["stateMachineArn"] for each in built)
    }
    briefs = [each | {"creationDate": 1.0} for each in built]
    scripts.listed("stepfunctions", "ListStateMachines", "stateMachines", briefs, page=3)
    scripts.described("stepfunctions", "DescribeStateMachine", "stateMachineArn", known, "StateMachineDoesNotExist")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    return planned("stepfunctions", tmp_path_factory.mktemp("home"), build, "--skip-source", "batch")


def test_what_vanishes_in_between_is_no_gap_and_takes_nothing_along(found: Planned) -> None:
    assert found.is_healthy(), found.finished.err or found.entry()
    assert found.finished.action(found.world.digests["deleted"]) == "delete"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("pinned", ("stateMachine:simple", "state Run", "task definition pinned:1", "container app")),
        ("deep", ("stateMachine:nested", "state Deep", "task definition deep:1")),
        ("jsonata", ("stateMachine:jsonata", "state Sdk")),
        ("job", ("stateMachine:jobs", "state Submit", "job definition etl:3")),
        ("training", ("stateMachine:training", "state Train, Parameters.AlgorithmSpecification.TrainingImage")),
        ("passed", ("stateMachine:computed", "state Pick")),
        ("own-role", ("stateMachine:credentials", "state Home")),
        ("current", ("stateMachine:released", "state Run")),
        ("version", ("stateMachine:released", "version 1, state Run")),
    ],
)
def test_the_image_stays_and_state_machine_and_state_are_named(found: Planned, tag: str, said: tuple[str, ...]) -> None:
    assert found.keeps(tag, *said)


def test_a_version_that_is_the_same_as_the_definition_in_force_is_not_told_again(found: Planned) -> None:
    assert not found.keeps("current", "version")


def test_what_executions_compute_is_told_by_state(found: Planned) -> None:
    (note,) = (note for note in found.entry()["notes"] if "stateMachine:computed" in note)
    assert "Dynamic (TaskDefinition.$ from $.taskDefinition)" in note
    assert "Whole (its whole request)" in note
    assert "Silent (its whole request)" in note
    assert "Model (Image.$ from $.image)" in note
    assert "Look" not in note, "a picture is no image of a container"


def test_what_states_do_in_another_account_is_told_and_not_looked_for_here(found: Planned) -> None:
    assert "stateMachine:credentials: these states act in another account" in found.notes
    assert "Abroad (999999999999)" in found.notes
    assert "Home" not in found.notes
    assert found.finished.action(found.world.digests["abroad"]) == "delete"


def test_a_definition_that_is_gone_is_told(found: Planned) -> None:
    assert "stateMachine:broken: state Run, task definition nothing does not exist" in found.notes


def test_versions_are_left_out_when_that_is_asked_for_and_the_plan_says_so(aws: Emulator, cli: Cli) -> None:
    world = World(aws)
    Machines(world).add("simple", {"Run": run(world.pinned("pinned"))})
    aws.calls.reset()
    only = ("--consumer-region", HERE, "--skip-source", "ecs")
    found = cli.plan("--keep-newest", "0", "--source-option", "stepfunctions.versions=none", *only)
    assert found.status == 0, found.err
    assert "simple" in found.details(world.digests["pinned"])
    assert "versions of state machines were not asked for" in found.out
    assert aws.calls.count("stepfunctions", "ListStateMachineVersions") == 0
    assert cli.plan("--source-option", "stepfunctions.versions=some").status == 2


def test_each_call_that_is_denied_and_each_senseless_answer_is_a_gap(tmp_path: Path) -> None:
    def build_region(world: World, region: str) -> None:
        states = {
            "Run": run(world.pinned("pinned", region)),
            "Submit": task("batch:submitJob", Parameters={"JobDefinition": "etl"}),
        }
        Machines(world, region).add("simple", states)  # fmt: skip

    empty = b'{"stateMachineArn": "a", "definition": ""}'
    cases = [
        *denied(*StepFunctionsSource.actions),
        *senseless("states:ListStateMachines", "stateMachines"),
        (Fault("garbage", "stepfunctions", "DescribeStateMachine", body=b"{}"), "answered without definition"),
        (Fault("garbage", "stepfunctions", "DescribeStateMachine", body=empty), "no JSON object"),
        (Fault("garbage", "stepfunctions", "ListStateMachineVersions", body=b"{}"), "without stateMachineVersions"),
        (Fault.error("stepfunctions", "DescribeStateMachine", "KmsAccessDeniedException", "no key"), "no key"),
    ]  # fmt: skip
    assert list(gaps("stepfunctions", tmp_path, build_region, cases)) == []
