"""Small worlds for the tests of sources: old images, definitions that nothing else keeps, and plans of all of it.

A world is built once a module and planned once, because each plan is a process; its tests ask the one plan.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ecrsweep.emulator import Clock, Emulator, Fault
from ecrsweep.emulator.registry import Repository
from ecrsweep.emulator.server import DEFAULT_REGIONS
from tests.support import ACCOUNT, Cli, Finished, ago

HERE = "us-east-1"
ELSEWHERE = "eu-west-1"
EMPTY = "us-west-2"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/starter"
CLUSTER = f"arn:aws:ecs:{HERE}:{ACCOUNT}:cluster/default"


class World:
    """An AWS with one repository of old images, one an image name that a test asks for."""

    def __init__(self, aws: Emulator) -> None:
        self.aws = aws
        self.repo: Repository = aws.ecr.repository("team/app")
        self.digests: dict[str, str] = {}
        self.image("filler")
        self.unused = self.repo.push_image(tags=("unused",), pushed_at=ago(days=90))

    def image(self, tag: str) -> str:
        """The name of an old image with this tag, pushed when it is first asked for."""
        if tag not in self.digests:
            self.digests[tag] = self.repo.push_image(tags=(tag,), pushed_at=ago(days=90))
        return f"{self.repo.uri}:{tag}"

    def pinned(self, tag: str, region: str = HERE) -> str:
        """The ARN of a task definition with that image, too old a revision to be kept for itself."""
        arn = self.aws.ecs.register(tag, {"app": self.image(tag)}, region=region)
        for _ in range(3):
            self.aws.ecs.register(tag, {"app": self.image("filler")}, region=region)
        return arn

    def jobs(self, definitions: Sequence[dict[str, Any]], region: str = HERE, *, page: int = 100) -> None:
        """Let Batch hold these job definitions: asked by name, by name and revision, by status, in pages."""

        def described(asked: dict[str, Any]) -> dict[str, Any]:
            found = [each for each in definitions if _asked_for(each, asked)]
            start = int(asked.get("nextToken", 0))
            more = {"nextToken": str(start + page)} if start + page < len(found) else {}
            return {"jobDefinitions": found[start : start + page]} | more

        self.aws.scripts.answer("batch", "DescribeJobDefinitions", described, region=region)


def job_definition(name: str, revision: int, *, status: str = "ACTIVE", **properties: Any) -> dict[str, Any]:
    """A job definition as Batch describes it."""
    return {
        "jobDefinitionName": name, "revision": revision, "status": status, "type": "container",
        "jobDefinitionArn": f"arn:aws:batch:{HERE}:{ACCOUNT}:job-definition/{name}:{revision}", **properties,
    }  # fmt: skip


def _asked_for(definition: dict[str, Any], asked: dict[str, Any]) -> bool:
    arn = definition["jobDefinitionArn"]
    return (
        asked.get("status") in {None, definition["status"]}
        and asked.get("jobDefinitionName") in {None, definition["jobDefinitionName"]}
        and ("jobDefinitions" not in asked or bool({arn, arn.rpartition("/")[2]} & set(asked["jobDefinitions"])))
    )


class Planned:
    """What a plan says of a world, for one source."""

    def __init__(self, world: World, finished: Finished, source: str) -> None:
        self.world, self.finished, self.source = world, finished, source
        self.calls = world.aws.calls

    def entry(self, region: str = HERE) -> dict[str, Any]:
        """The coverage of the source in a region."""
        return next(
            entry for entry in self.finished.json["coverage"] if (entry["source"], entry["region"]) == (self.source, region)
        )  # fmt: skip

    @property
    def notes(self) -> str:
        """The notes of the source, a line each."""
        return "\n".join(self.entry().get("notes", ()))

    def keeps(self, tag: str, *said: str) -> bool:
        """Whether the image stays because it is in use, and a reason says all of this."""
        digest = self.world.digests[tag]
        details = self.finished.details(digest).splitlines()
        in_use = self.finished.action(digest) == "keep" and "in_use" in self.finished.codes(digest)
        return in_use and any(all(word in detail for word in said) for detail in details)

    def is_healthy(self) -> bool:
        """Whether all was read, what nothing uses goes, and the empty region was read as empty."""
        empty = self.entry(EMPTY)
        return (
            self.finished.status == 0
            and self.finished.action(self.world.unused) == "delete"
            and (empty["status"], empty["uses"], empty.get("notes")) == ("complete", 0, None)
        )


def planned(source: str, home: Path, build: Callable[[World], None], *arguments: str) -> Planned:
    """Build a world, and plan it such that only uses keep anything."""
    with Emulator(clock=Clock(datetime.now(UTC)), account=ACCOUNT, regions=(HERE, ELSEWHERE, EMPTY)) as aws:
        world = World(aws)
        build(world)
        aws.calls.reset()
        return Planned(world, Cli(aws.environ(), home).plan("--keep-newest", "0", *arguments), source)


def gaps(
    source: str, home: Path, build: Callable[[World, str], None], faults: Sequence[tuple[Fault, str]]
) -> Iterator[str]:
    """What was wrong about gaps: at most 16, in a region each, with what it must say. Nothing is the right answer.

    Each region has the same world; the regions of a plan are asked apart, so each fault is seen for itself.
    """
    cases = dict(zip([region for region in DEFAULT_REGIONS if region != HERE], faults, strict=False))
    assert len(cases) == len(faults)
    with Emulator(clock=Clock(datetime.now(UTC)), account=ACCOUNT, regions=(HERE, *cases)) as aws:
        world = World(aws)
        for region, (fault, _) in cases.items():
            build(world, region)
            fault.region = region
            aws.faults.add(fault)
        others = [word for other in _others(source) for word in ("--skip-source", other)]
        command = ("plan", "--output", "json", "--keep-newest", "0", "--pulled-within", "0d", *others)
        found = Planned(world, Cli(aws.environ(), home)(*command, AWS_MAX_ATTEMPTS="2"), source)
    if found.finished.status != 5:
        yield f"ended with {found.finished.status}: {found.finished.err}"
        return
    gone = {decision["action"] for decision in found.finished.json["decisions"]} - {"keep", "hold"}
    if gone:
        yield f"{gone} in spite of gaps"
    for region, (fault, said) in cases.items():
        entry = found.entry(region)
        if entry["status"] != "failed" or said not in entry["error"]:
            yield f"{fault.kind} of {fault.service}:{fault.operation}: {entry}"


def _others(source: str) -> list[str]:
    from ecrsweep.sources import OWN

    return [name for name in OWN if name != source]


def denied(*actions: str) -> list[tuple[Fault, str]]:
    """Each of these IAM actions denied, and that the gap says which."""
    return [(Fault.denied(*called(action)), action) for action in actions]


def senseless(action: str, key: str) -> list[tuple[Fault, str]]:
    """What a list may answer that is no answer, and that it is throttled."""
    service, operation = called(action)
    token = msgspec.json.encode({key: [], "nextToken": "again", "NextToken": "again"})
    return [
        (Fault("garbage", service, operation), action),
        (Fault("garbage", service, operation, body=b"{}"), f"without {key}"),
        (Fault("garbage", service, operation, body=b"[]"), action),
        (Fault("garbage", service, operation, body=token), "the same page twice"),
        (Fault.error(service, operation, "ThrottlingException", "Rate exceeded"), "throttled"),
        (Fault("html", service, operation, status=500), action),
    ]


def called(action: str) -> tuple[str, str]:
    """Service and operation by the names of botocore, from an IAM action."""
    prefix, _, operation = action.partition(":")
    return {"states": "stepfunctions"}.get(prefix, prefix), operation
