"""Batch as witness: whatever a job can be submitted with, and whatever a job that has not ended runs, stays."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.sources.batch import BatchSource
from tests.sources.worlds import HERE, Planned, World, denied, gaps, job_definition, planned, senseless
from tests.support import ACCOUNT, ago

QUEUES = f"arn:aws:batch:{HERE}:{ACCOUNT}:job-queue"
DEFINITION = f"arn:aws:batch:{HERE}:{ACCOUNT}:job-definition/etl:1"
TRAINING = "SAGEMAKER_TRAINING"


def queue(name: str, kind: str = "ECS_FARGATE") -> dict[str, Any]:
    return {
        "jobQueueName": name, "jobQueueArn": f"{QUEUES}/{name}", "state": "DISABLED", "status": "VALID", "priority": 1,
        "computeEnvironmentOrder": [], "jobQueueType": kind,
    }  # fmt: skip


def job(number: str, status: str = "RUNNING", where: str = "main", **properties: Any) -> dict[str, Any]:
    started = {"startedAt": int(ago(days=1).timestamp() * 1000)} if status == "RUNNING" else {}
    return {
        "jobId": number, "jobArn": f"arn:aws:batch:{HERE}:{ACCOUNT}:job/{number}", "jobName": number, "status": status,
        "jobQueue": f"{QUEUES}/{where}", "jobDefinition": DEFINITION, "createdAt": int(ago(days=2).timestamp() * 1000),
        **({"startedAt": 0} | started), **properties,
    }  # fmt: skip


def ecs(*images: str) -> dict[str, Any]:
    return {"taskProperties": [{"containers": [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]}]}


def eks(image: str, init: str) -> dict[str, Any]:
    return {"podProperties": {"containers": [{"name": "main", "image": image}], "initContainers": [{"name": "init", "image": init}]}}  # fmt: skip


def nodes(*ranges: dict[str, Any]) -> dict[str, Any]:
    held = [{"targetNodes": f"{number}:{number}", **each} for number, each in enumerate(ranges)]
    return {"numNodes": len(ranges), "mainNode": 0, "nodeRangeProperties": held}


class Batch:
    """Batch of one region, scripted: moto has no ECS form, no multi-node jobs and no service jobs."""

    def __init__(self, aws: Emulator, region: str = HERE) -> None:
        self._scripts, self._region = aws.scripts, region

    def queues(self, *queues: dict[str, Any]) -> None:
        def described(asked: dict[str, Any]) -> dict[str, Any]:
            found = [each for each in queues if each["jobQueueArn"] in asked.get("jobQueues", (each["jobQueueArn"],))]
            start = int(asked.get("nextToken", 0))
            more = {"nextToken": str(start + 1)} if start + 1 < len(found) else {}
            return {"jobQueues": found[start : start + 1]} | more

        self._scripts.answer("batch", "DescribeJobQueues", described, region=self._region)

    def jobs(self, jobs: Sequence[dict[str, Any]], *, forgotten: Sequence[dict[str, Any]] = ()) -> None:
        """Let queues hold these jobs; those forgotten are listed, and not described any more."""
        every = [*jobs, *forgotten]

        def listed(asked: dict[str, Any]) -> dict[str, Any]:
            found = [
                {"jobId": each["jobId"], "jobName": each["jobName"]}
                for each in every
                if each["jobQueue"] == asked["jobQueue"] and each["status"] == asked.get("jobStatus", "RUNNING")
            ]
            start = int(asked.get("nextToken", 0))
            more = {"nextToken": str(start + 50)} if start + 50 < len(found) else {}
            return {"jobSummaryList": found[start : start + 50]} | more

        def described(asked: dict[str, Any]) -> dict[str, Any]:
            assert len(asked["jobs"]) <= 100
            return {"jobs": [each for each in jobs if each["jobId"] in asked["jobs"]]}

        self._scripts.answer("batch", "ListJobs", listed, region=self._region)
        self._scripts.answer("batch", "DescribeJobs", described, region=self._region)

    def training(self, requests: dict[str, tuple[str, str]]) -> None:
        """Let the queue of SageMaker hold these jobs: status and image by number."""

        def listed(asked: dict[str, Any]) -> dict[str, Any]:
            found = [number for number, (status, _) in requests.items() if status == asked["jobStatus"]]
            briefs = [{"jobId": number, "jobName": number, "serviceJobType": TRAINING} for number in found]
            return {"jobSummaryList": briefs if asked["jobQueue"].endswith("/training") else []}

        def described(asked: dict[str, Any]) -> dict[str, Any]:
            number = asked["jobId"]
            status, image = requests[number]
            request = json.dumps({"AlgorithmSpecification": {"TrainingImage": image}})
            return {
                "jobId": number, "jobName": number, "jobArn": f"arn:aws:batch:{HERE}:{ACCOUNT}:service-job/{number}",
                "jobQueue": "training", "serviceJobType": TRAINING, "status": status, "startedAt": 0,
                "serviceRequestPayload": request,
            }  # fmt: skip

        self._scripts.answer("batch", "ListServiceJobs", listed, region=self._region)
        self._scripts.answer("batch", "DescribeServiceJob", described, region=self._region)


def build(world: World) -> None:
    image = world.image
    batch = Batch(world.aws)
    multi = nodes(
        {"container": {"image": image("node-own")}},
        {"ecsProperties": ecs(image("node-ecs"))},
        {"eksProperties": eks(image("node-eks"), image("node-init"))},
    )
    world.jobs(
        [
            job_definition("own", 1, containerProperties={"image": image("own")}),
            job_definition("ecs", 1, ecsProperties=ecs(image("ecs-first"), image("ecs-second"))),
            job_definition("eks", 1, eksProperties=eks(image("eks-main"), image("eks-init"))),
            job_definition("multi", 1, nodeProperties=multi),
            job_definition("etl", 1, status="INACTIVE", containerProperties={"image": image("by-definition")}),
            job_definition("retired", 1, status="INACTIVE", containerProperties={"image": image("retired")}),
        ],
        page=2,
    )
    batch.queues(queue("main"), queue("spare"), queue("deleted"), queue("training", TRAINING))
    states = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
    by_state = [job(f"s-{state}", state, container={"image": image(state.lower())}) for state in states]
    crowd = [job(f"crowd-{number}", "RUNNABLE", "spare", container={"image": image("crowd")}) for number in range(130)]
    batch.jobs(
        [
            *by_state,
            *crowd,
            job("array", "PENDING", container={"image": image("array")}, arrayProperties={"size": 9}),
            job("multi", nodeProperties=nodes({"container": {"image": image("job-node")}})),
            job("ecs", ecsProperties=ecs(image("job-ecs"))),
            job("eks", eksProperties=eks(image("job-eks"), image("job-init"))),
            job("silent", "RUNNABLE", container={}),
        ],
        forgotten=[job("forgotten")],
    )
    batch.training({"one": ("SCHEDULED", image("training")), "two": ("SUCCEEDED", image("trained"))})
    tag_moved(world, by_state[4])
    deleted = Fault.error("batch", "ListJobs", "ClientException", "JobQueue does not exist.")
    deleted.when = lambda asked: asked["jobQueue"].endswith("/deleted")
    world.aws.faults.add(deleted)
    now = json.dumps({"jobQueues": [queue("deleted") | {"status": "DELETED"}]}).encode()
    world.aws.faults.add(
        Fault("garbage", "batch", "DescribeJobQueues", when=lambda asked: "jobQueues" in asked, body=now)
    )


def tag_moved(world: World, running: dict[str, Any]) -> None:
    """The tag of a job that runs names a newer image now: what runs has no tag any more."""
    tag = running["container"]["image"].rpartition(":")[2]
    world.digests["started-with"] = world.digests.pop(tag)
    world.digests[tag] = world.repo.push_image(tags=(tag,), pushed_at=ago(hours=12))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    return planned("batch", tmp_path_factory.mktemp("home"), build)


def test_what_vanishes_in_between_is_no_gap_and_takes_nothing_along(found: Planned) -> None:
    assert found.is_healthy(), found.finished.err or found.entry()


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("own", ("job-definition/own:1",)),
        ("ecs-first", ("job-definition/ecs:1 container c0",)),
        ("ecs-second", ("job-definition/ecs:1 container c1",)),
        ("eks-main", ("job-definition/eks:1 container main",)),
        ("eks-init", ("job-definition/eks:1 init container init",)),
        ("node-own", ("job-definition/multi:1 nodes 0:0",)),
        ("node-ecs", ("job-definition/multi:1 nodes 1:1, container c0",)),
        ("node-eks", ("job-definition/multi:1 nodes 2:2, container main",)),
        ("node-init", ("job-definition/multi:1 nodes 2:2, init container init",)),
        ("submitted", ("job/s-SUBMITTED", "job definition etl:1")),
        ("pending", ("job/s-PENDING",)),
        ("runnable", ("job/s-RUNNABLE",)),
        ("starting", ("job/s-STARTING",)),
        ("running", ("job/s-RUNNING",)),
        ("array", ("job/array",)),
        ("job-node", ("job/multi", "nodes 0:0")),
        ("job-ecs", ("job/ecs", "container c0")),
        ("job-eks", ("job/eks", "container main")),
        ("job-init", ("job/eks", "init container init")),
        ("by-definition", ("job/silent", "job definition etl:1")),
        ("training", ("service-job/one", "AlgorithmSpecification.TrainingImage")),
    ],
)
def test_the_image_stays_and_the_definition_or_job_is_named(found: Planned, tag: str, said: tuple[str, ...]) -> None:
    assert found.keeps(tag, *said)


@pytest.mark.parametrize("tag", ["succeeded", "failed", "retired", "trained"])
def test_what_has_ended_or_can_start_no_job_keeps_nothing(found: Planned, tag: str) -> None:
    assert found.finished.action(found.world.digests[tag]) == "delete"


def test_jobs_of_one_definition_and_image_are_told_together_and_described_a_hundred_at_once(found: Planned) -> None:
    reasons = found.finished.details(found.world.digests["crowd"]).splitlines()
    assert len(reasons) == 1
    assert "and 129 more jobs" in reasons[0]
    assert found.calls.count("batch", "DescribeJobs") == 2


def test_the_image_that_a_job_started_with_stays_after_its_tag_has_moved(found: Planned) -> None:
    assert found.keeps("started-with", "job/s-RUNNING", "possible")


def test_each_call_that_is_denied_and_each_senseless_answer_is_a_gap(tmp_path: Path) -> None:
    def build_region(world: World, region: str) -> None:
        batch = Batch(world.aws, region)
        batch.queues(queue("main"), queue("training", TRAINING))
        batch.jobs([job("one", container={"image": world.image("job")})])
        batch.training({"one": ("RUNNING", world.image("training"))})
        world.jobs([job_definition("own", 1, containerProperties={"image": world.image("own")})], region)

    imageless = json.dumps({"jobDefinitions": [{"jobDefinitionArn": DEFINITION}]}).encode()
    cases = [
        *denied(*BatchSource.actions),
        *senseless("batch:ListJobs", "jobSummaryList"),
        (Fault.error("batch", "ListJobs", "ClientException", "not allowed"), "not allowed"),
        (Fault("garbage", "batch", "DescribeJobDefinitions", body=imageless), "told no image"),
        (Fault("garbage", "batch", "DescribeJobs", body=b"{}"), "answered without jobs"),
        (Fault("garbage", "batch", "DescribeServiceJob", body=b"{}"), "answered without"),
    ]
    assert list(gaps("batch", tmp_path, build_region, cases)) == []
