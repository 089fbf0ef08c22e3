"""What rules, schedules, pipes and state machines start: task and job definitions, resolved to the images in them.

A definition named without a revision is the newest ACTIVE one at every start; with a revision it is that one,
INACTIVE too. Each is described once a place and source.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTaskDefinition.html
https://docs.aws.amazon.com/batch/latest/APIReference/API_DescribeJobDefinitions.html
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure, Malformed
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import Place
from ecrsweep.sources.reading import Json, Reading, in_batches, in_words, member
from ecrsweep.sources.written import Kind, Written

ACTIONS: Final = ("batch:DescribeJobDefinitions", "ecs:DescribeTaskDefinition")
"""What describing definitions needs of IAM."""

_JOBS_AT_ONCE: Final = 100
_SERVICES: Final = {"ecs": Kind.TASK, "batch": Kind.JOB}
_REFERENCE: Final = re.compile(
    r"(?:arn:aws[a-z-]*:(?P<service>ecs|batch):(?P<region>[a-z]{2,}(?:-[a-z]+)+-\d+):(?P<account>\d{12})"
    r":(?:task|job)-definition/)?(?P<name>[\w-]{1,255})(?::(?P<revision>\d+))?",
    re.ASCII,
)


class Start(msgspec.Struct, frozen=True):
    """That a workload starts a task or job definition, named as it writes it."""

    kind: Kind
    name: str
    workload: str
    where: str = ""


class _Definition(msgspec.Struct, frozen=True):
    """Which definition is meant; `revision` None for the newest ACTIVE one."""

    kind: Kind
    region: str
    name: str
    revision: str | None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}:{self.revision}"


class _Described(msgspec.Struct, frozen=True):
    """A definition as it is: its name with its revision, and its images by where they stand in it."""

    name: str
    images: tuple[tuple[str, str], ...]


Told = Use | Note | Start
"""What a source finds before its definitions are resolved."""


def resolved(reading: Reading, source: str, told: Iterable[Told]) -> Iterator[Use | Note]:
    """What was told, with every definition in it replaced by uses of its images. Finishes the reading at its end."""
    place = reading.place
    starts: list[Start] = []
    for found in told:
        if isinstance(found, Start):
            starts.append(found)
        else:
            yield found
    meant = {start: _meant(place, start) for start in dict.fromkeys(starts)}
    described = _descriptions(reading, [which for which in meant.values() if isinstance(which, _Definition)])
    for start, which in meant.items():
        if isinstance(which, Note):
            yield which
        elif which in described:
            yield from _uses(place, source, start, described[which])
    reading.finish()


def told_of(place: Place, source: str, found: Written, workload: str, where: str = "") -> Told:
    """What something written in a document of a workload means."""
    if found.computed:
        said = found.text if len(found.text) <= 100 else f"{found.text[:100]}..."  # noqa: PLR2004 - a line is enough
        return Note(in_words(where, f"the {found.kind} is computed at every run, from {said}"), workload)
    if found.kind is Kind.IMAGE:
        return Use(found.text, workload, source, place.account, place.region, in_words(where, found.spot))
    return Start(found.kind, found.text, workload, where)


def task_images(described: Json) -> Iterator[tuple[str, str]]:
    """Each image of a task definition, with the container it stands in."""
    for container in described.get("containerDefinitions", ()):
        if container.get("image"):
            yield f"container {container.get('name', '')}".rstrip(), container["image"]


def job_images(described: Json) -> Iterator[tuple[str, str]]:
    """Each image of a job definition or a job, with the container and nodes it stands in."""
    yield from _form_images(described)
    for nodes in described.get("nodeProperties", {}).get("nodeRangeProperties", ()):
        for where, image in _form_images(nodes):
            yield in_words(f"nodes {nodes.get('targetNodes', '')}".rstrip(), where), image


def _form_images(held: Json) -> Iterator[tuple[str, str]]:
    """The images of the three forms in which Batch has containers: its own, those of ECS, and those of EKS."""
    for key in ("containerProperties", "container"):
        image = held.get(key, {}).get("image")
        if image:
            yield "", image
    for task in held.get("ecsProperties", {}).get("taskProperties", ()):
        yield from _container_images(task.get("containers", ()), "container")
    pod = held.get("eksProperties", {}).get("podProperties", {})
    yield from _container_images(pod.get("containers", ()), "container")
    yield from _container_images(pod.get("initContainers", ()), "init container")


def _container_images(containers: Iterable[Json], word: str) -> Iterator[tuple[str, str]]:
    for container in containers:
        if container.get("image"):
            yield f"{word} {container.get('name', '')}".rstrip(), container["image"]


def _meant(place: Place, start: Start) -> _Definition | Note:
    """Which definition a name means, or why that cannot be known."""
    found = _REFERENCE.fullmatch(start.name)
    if found is None or (found["service"] and _SERVICES[found["service"]] is not start.kind):
        return Note(in_words(start.where, f"{start.name} is not the name of a {start.kind}"), start.workload)
    if found["account"] and found["account"] != place.account:
        text = f"{start.kind} {start.name} is of another account, so its images are not known: name them in a uses file"
        return Note(in_words(start.where, text), start.workload)
    return _Definition(start.kind, found["region"] or place.region, found["name"], found["revision"])


def _uses(place: Place, source: str, start: Start, described: _Described | None) -> Iterator[Use | Note]:
    if described is None:
        text = f"{start.kind} {start.name} does not exist (any more): what starts it fails at its next run"
        yield Note(in_words(start.where, text), start.workload)
        return
    for where, image in described.images:
        yield Use(
            image=image,
            workload=start.workload,
            source=source,
            account=place.account,
            region=place.region,
            where=in_words(start.where, f"{start.kind} {described.name}", where),
        )


def _descriptions(reading: Reading, wanted: Sequence[_Definition]) -> dict[_Definition, _Described | None]:
    """Each definition as it is, None for what does not exist; what could not be described is left out, and noted."""
    found: dict[_Definition, _Described | None] = {}
    for region in sorted({definition.region for definition in wanted}):
        here = list(dict.fromkeys(definition for definition in wanted if definition.region == region))
        found |= _described_in(reading, reading.place.in_region(region), here)
    return found


def _described_in(
    reading: Reading, place: Place, wanted: Sequence[_Definition]
) -> dict[_Definition, _Described | None]:
    tasks = [definition for definition in wanted if definition.kind is Kind.TASK]
    newest = [definition for definition in wanted if definition.kind is Kind.JOB and definition.revision is None]
    numbered = [definition for definition in wanted if definition.kind is Kind.JOB and definition.revision]
    found = dict(reading.each(partial(_task, place), tasks))
    found |= reading.each(partial(_newest_job, place), newest)
    for _, some in reading.each(partial(_numbered_jobs, place), in_batches(numbered, _JOBS_AT_ONCE)):
        found |= some
    return found


def _task(place: Place, wanted: _Definition) -> _Described | None:
    found = task_definition(place, str(wanted))
    if found is None:
        return None
    return _described(wanted, found.get("revision"), task_images(found), "ecs:DescribeTaskDefinition")


def task_definition(place: Place, name: str) -> Json | None:
    """A task definition; None where there is none of this name (any more), so that nothing can start from it. Raises `AwsFailure`."""
    for last in (False, True):
        try:
            answer = place.call("ecs", "describe_task_definition", taskDefinition=name)
        except AwsFailure as failure:
            # ECS has no code of its own for this. Asked twice, because one answer may come from a copy that lags behind.
            if code_of(failure) != "ClientException" or "Unable to describe task definition" not in str(failure):
                raise
            if last:
                return None
        else:
            found: Json = member(answer, "taskDefinition", "ecs:DescribeTaskDefinition")
            return found
    return None


def _newest_job(place: Place, wanted: _Definition) -> _Described | None:
    revisions = list(
        place.pages(
            "batch", "describe_job_definitions", "jobDefinitions",
            jobDefinitionName=wanted.name, status="ACTIVE", maxResults=_JOBS_AT_ONCE,
        )
    )  # fmt: skip
    newest = max(revisions, key=lambda found: int(found["revision"]), default=None)
    return None if newest is None else _described_job(wanted, newest)


def _numbered_jobs(place: Place, wanted: Sequence[_Definition]) -> dict[_Definition, _Described | None]:
    names = [str(definition) for definition in wanted]
    answers = place.pages("batch", "describe_job_definitions", "jobDefinitions", jobDefinitions=names)
    by_name = {f"{found['jobDefinitionName']}:{found['revision']}": found for found in answers}
    return {
        definition: _described_job(definition, by_name[name]) if name in by_name else None
        for definition, name in zip(wanted, names, strict=True)
    }


def _described_job(wanted: _Definition, found: Json) -> _Described:
    return _described(wanted, found.get("revision"), job_images(found), "batch:DescribeJobDefinitions")


def _described(wanted: _Definition, revision: int | None, images: Iterable[tuple[str, str]], action: str) -> _Described:
    named = tuple(images)
    if not named or revision is None:
        raise Malformed(f"{action} answered {wanted.kind} {wanted} without revision or images", action=action)
    return _Described(f"{wanted.name}:{revision}", named)
