"""AWS Batch as witness: job definitions that jobs can be submitted with, and the jobs that have not ended.

A job runs a copy of its definition, which may have been deregistered since; so jobs are read for themselves. Children
of array and multi-node jobs run what their parent names, and the parent is listed until the last of them has ended.
API: https://docs.aws.amazon.com/batch/latest/APIReference/Welcome.html
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure, Malformed
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, in_batches, in_words, member
from ecrsweep.sources.started import Start, Told, job_images, resolved, told_of
from ecrsweep.sources.written import Kind, written

NAME: Final = "batch"

_PAGE: Final = 100
_JOBS_AT_ONCE: Final = 100
# In the order in which a job goes through them, so that none slips past between two lists; one that is tried again
# goes back to RUNNABLE.
_UNENDED: Final = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "RUNNABLE")
_UNENDED_SERVICE_JOBS: Final = ("SUBMITTED", "PENDING", "RUNNABLE", "SCHEDULED", "STARTING", "RUNNING", "RUNNABLE")
_ENDED: Final = frozenset({"SUCCEEDED", "FAILED"})
_STARTED: Final = frozenset({"STARTING", "RUNNING"})
_OF_SERVICE_JOBS: Final = "SAGEMAKER_TRAINING"
"""The type of a queue whose jobs are training jobs of SageMaker."""


class BatchSource:
    """The images of job definitions and unended jobs in one account and region (`ports.Source`)."""

    name = NAME
    actions = (
        "batch:DescribeJobDefinitions",
        "batch:DescribeJobQueues",
        "batch:DescribeJobs",
        "batch:DescribeServiceJob",
        "batch:ListJobs",
        "batch:ListServiceJobs",
    )
    about = About(
        system="AWS Batch",
        calls=(
            "DescribeJobDefinitions; DescribeJobQueues; ListJobs (a call a queue and status), DescribeJobs; for queues of "
            "SageMaker training jobs ListServiceJobs and, a call an item, DescribeServiceJob"
        ),
        keeps=(
            "every container of every ACTIVE job definition and of every job from SUBMITTED to RUNNING, in all forms: "
            "Batch's own, ECS, EKS (init containers too), and each range of nodes; the images in the requests of queued "
            "SageMaker training jobs. Jobs of one definition and image are told together"
        ),
        unknowable="a job submitted after the plan with a job definition registered after it: the grace of 24 hours is for that",
        service="batch",
    )

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Uses of definitions first, then of jobs. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "batch")
        yield from resolved(reading, NAME, _told(reading))


def _told(reading: Reading) -> Iterator[Told]:
    place = reading.place
    for definition in reading.listed("describe_job_definitions", "jobDefinitions", status="ACTIVE", maxResults=_PAGE):
        for uses in reading.attempted(partial(_definition_uses, place, definition)):
            yield from uses
    queues = list(reading.listed("describe_job_queues", "jobQueues", maxResults=_PAGE))
    training = [queue for queue in queues if queue.get("jobQueueType") == _OF_SERVICE_JOBS]
    yield from _jobs_told(place, _jobs(reading, [queue for queue in queues if queue not in training]))
    for job in _service_jobs(reading, training):
        for thing in written(job["serviceRequestPayload"]):
            yield told_of(place, NAME, thing, job["jobArn"])


def _definition_uses(place: Place, definition: Json) -> list[Use]:
    arn = member(definition, "jobDefinitionArn", "batch:DescribeJobDefinitions")
    found = [Use(image, arn, NAME, place.account, place.region, where) for where, image in job_images(definition)]
    if not found:
        raise Malformed(f"batch:DescribeJobDefinitions told no image of {arn}", action="batch:DescribeJobDefinitions")
    return found


def _jobs(reading: Reading, queues: Sequence[Json]) -> Iterator["_Job"]:
    """The jobs of these queues that have not ended, described."""
    ids = dict.fromkeys(reading.found(partial(_listed, reading.place, "list_jobs", _UNENDED), queues))
    return reading.found(partial(_described, reading), in_batches(list(ids), _JOBS_AT_ONCE))


def _listed(place: Place, operation: str, states: Sequence[str], queue: Json) -> Iterator[str]:
    """The identifiers of a queue's jobs in these states, as far as the queue is not deleted in between."""
    arn = member(queue, "jobQueueArn", "batch:DescribeJobQueues")
    try:
        for state in states:
            for job in place.pages("batch", operation, "jobSummaryList", jobQueue=arn, jobStatus=state):
                yield job["jobId"]
    except AwsFailure as failure:
        # Batch has one code for every mistake of a client, so whether the queue is gone must be asked.
        if code_of(failure) != "ClientException" or not _is_gone(place, arn):
            raise


def _is_gone(place: Place, queue: str) -> bool:
    found = list(place.pages("batch", "describe_job_queues", "jobQueues", jobQueues=[queue]))
    return all(each.get("status") == "DELETED" for each in found)


class _Job(msgspec.Struct, frozen=True):
    """What is kept of a job: a queue may hold a hundred thousand, each of which Batch describes with some kilobytes."""

    arn: str
    queue: str
    definition: str
    state: str
    created: float | None
    """Seconds since the epoch, as `started`."""
    started: float | None
    images: tuple[tuple[str, str], ...]


def _described(reading: Reading, ids: Sequence[str]) -> Iterator[_Job]:
    """Those of the jobs that Batch still knows: it forgets those that ended."""
    for job in reading.described("describe_jobs", "jobs", jobs=list(ids))["jobs"]:
        images = tuple(job_images(job))
        definition = job.get("jobDefinition", "") if images else member(job, "jobDefinition", "batch:DescribeJobs")
        created, started = _seconds(job.get("createdAt")), _seconds(job.get("startedAt"))
        yield _Job(job["jobArn"], job.get("jobQueue", ""), definition, job.get("status", ""), created, started, images)


def _seconds(milliseconds: int | None) -> float | None:
    return milliseconds / 1000 if milliseconds else None


class _Group(msgspec.Struct, frozen=True):
    """What jobs that are told together have in common."""

    queue: str
    definition: str
    where: str
    image: str
    started: bool
    ended: bool


def _jobs_told(place: Place, jobs: Iterable[_Job]) -> Iterator[Told]:
    """One use for all jobs that run the same image of the same definition."""
    groups: dict[_Group, list[_Job]] = {}
    for job in jobs:
        if not job.images:  # Batch told no copy of the definition, which says it then
            yield Start(Kind.JOB, job.definition, job.arn)
        for where, image in job.images:
            group = _Group(job.queue, job.definition, where, image, job.state in _STARTED, job.state in _ENDED)
            groups.setdefault(group, []).append(job)
    for group, members in groups.items():
        yield _group_use(place, group, members)


def _group_use(place: Place, group: _Group, jobs: Sequence[_Job]) -> Use:
    others = f"and {len(jobs) - 1} more jobs" if len(jobs) > 1 else ""
    created = [job.created for job in jobs if job.created is not None]
    started = [job.started for job in jobs if job.started is not None]
    return Use(
        image=group.image,
        workload=jobs[0].arn,
        source=NAME,
        account=place.account,
        region=place.region,
        where=in_words(others, f"job definition {group.definition.rpartition('/')[2]}", group.where),
        # A job that waits resolves its image's name when it starts, one that runs has done so.
        resolved_from=min(created, default=None) if group.started else None,
        resolved_until=max(started, default=None) if group.started and len(started) == len(jobs) else None,
        ended=group.ended,
    )


def _service_jobs(reading: Reading, queues: Sequence[Json]) -> Iterator[Json]:
    """The requests that Batch will send to SageMaker, and whose they are."""
    listed = partial(_listed, reading.place, "list_service_jobs", _UNENDED_SERVICE_JOBS)
    ids = dict.fromkeys(reading.found(listed, queues))
    for _, job in reading.each(lambda number: _service_job(reading, number), ids):
        yield job


def _service_job(reading: Reading, number: str) -> Json:
    found = reading.described("describe_service_job", "serviceRequestPayload", jobId=number)
    member(found, "jobArn", "batch:DescribeServiceJob")
    return found
