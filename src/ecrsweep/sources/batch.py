"""AWS Batch as witness: job definitions that jobs can be submitted with, and the jobs that have not ended.

A job runs a copy of its definition, which may have been deregistered since; so jobs are read for themselves. Children
of array and multi-node jobs run what their parent names, and the parent is listed until the last of them has ended.
API: https://docs.aws.amazon.com/batch/latest/APIReference/Welcome.html
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure, Malformed
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.attempts import Attempts
from ecrsweep.sources.started import Start, Told, in_batches, job_images, joined, member, resolved, told_of
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

_Json = Mapping[str, Any]


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
        attempts = Attempts()
        yield from resolved(place, NAME, attempts, _told(place, attempts))


def _told(place: Place, attempts: Attempts) -> Iterator[Told]:
    active = place.pages("batch", "describe_job_definitions", "jobDefinitions", status="ACTIVE", maxResults=_PAGE)
    for definition in attempts.listed(active):
        for uses in attempts.of(lambda found=definition: _definition_uses(place, found)):  # type: ignore[misc]
            yield from uses
    queues = list(attempts.listed(place.pages("batch", "describe_job_queues", "jobQueues", maxResults=_PAGE)))
    training = [queue for queue in queues if queue.get("jobQueueType") == _OF_SERVICE_JOBS]
    yield from _jobs_told(place, _jobs(place, attempts, [queue for queue in queues if queue not in training]))
    for job in _service_jobs(place, attempts, training):
        for thing in written(job["serviceRequestPayload"]):
            yield told_of(place, NAME, thing, job["jobArn"])


def _definition_uses(place: Place, definition: _Json) -> list[Use]:
    arn = member(definition, "jobDefinitionArn", "batch:DescribeJobDefinitions")
    found = [Use(image, arn, NAME, place.account, place.region, where) for where, image in job_images(definition)]
    if not found:
        raise Malformed(f"batch:DescribeJobDefinitions told no image of {arn}", action="batch:DescribeJobDefinitions")
    return found


def _jobs(place: Place, attempts: Attempts, queues: Sequence[_Json]) -> list[_Json]:
    """The jobs of these queues that have not ended, described."""
    ids = _ids(attempts.each(place, lambda queue: _listed(place, queue, "list_jobs", _UNENDED), queues))
    described = attempts.each(place, lambda some: _described(place, some), in_batches(ids, _JOBS_AT_ONCE))
    return [job for found in described for job in found]


def _ids(listed: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(number for found in listed for number in found))


def _listed(place: Place, queue: _Json, operation: str, states: Sequence[str]) -> list[str]:
    """The identifiers of a queue's jobs in these states; none of a queue that was deleted in between."""
    arn = member(queue, "jobQueueArn", "batch:DescribeJobQueues")
    found: list[str] = []
    try:
        for state in states:
            jobs = place.pages("batch", operation, "jobSummaryList", jobQueue=arn, jobStatus=state)
            found += [job["jobId"] for job in jobs]
    except AwsFailure as failure:
        # Batch has one code for every mistake of a client, so whether the queue is gone must be asked.
        if code_of(failure) != "ClientException" or not _is_gone(place, arn):
            raise
    return found


def _is_gone(place: Place, queue: str) -> bool:
    found = list(place.pages("batch", "describe_job_queues", "jobQueues", jobQueues=[queue]))
    return all(each.get("status") == "DELETED" for each in found)


def _described(place: Place, ids: Sequence[str]) -> list[_Json]:
    """Those of the jobs that Batch still knows: it forgets those that ended."""
    jobs: list[_Json] = member(place.call("batch", "describe_jobs", jobs=list(ids)), "jobs", "batch:DescribeJobs")
    return jobs


class _Group(msgspec.Struct, frozen=True):
    """What jobs that are told together have in common."""

    queue: str
    definition: str
    where: str
    image: str
    started: bool
    ended: bool


def _jobs_told(place: Place, jobs: Iterable[_Json]) -> Iterator[Told]:
    """One use for all jobs that run the same image of the same definition: a queue may hold a hundred thousand."""
    groups: dict[_Group, list[_Json]] = {}
    for job in jobs:
        images = list(job_images(job))
        if not images:  # Batch told no copy of the definition, which says it then
            yield Start(Kind.JOB, member(job, "jobDefinition", "batch:DescribeJobs"), job["jobArn"])
        state = job.get("status", "")
        for where, image in images:
            group = _Group(
                job.get("jobQueue", ""), job.get("jobDefinition", ""), where, image, state in _STARTED, state in _ENDED
            )
            groups.setdefault(group, []).append(job)
    for group, members in groups.items():
        yield _group_use(place, group, members)


def _group_use(place: Place, group: _Group, jobs: Sequence[_Json]) -> Use:
    others = f"and {len(jobs) - 1} more jobs" if len(jobs) > 1 else ""
    created = [job["createdAt"] / 1000 for job in jobs if job.get("createdAt")]
    started = [job["startedAt"] / 1000 for job in jobs if job.get("startedAt")]
    return Use(
        image=group.image,
        workload=jobs[0]["jobArn"],
        source=NAME,
        account=place.account,
        region=place.region,
        where=joined(others, f"job definition {group.definition.rpartition('/')[2]}", group.where),
        # A job that waits resolves its image's name when it starts, one that runs has done so.
        resolved_from=min(created, default=None) if group.started else None,
        resolved_until=max(started, default=None) if group.started and len(started) == len(jobs) else None,
        ended=group.ended,
    )


def _service_jobs(place: Place, attempts: Attempts, queues: Sequence[_Json]) -> Iterator[_Json]:
    ids = _ids(
        attempts.each(place, lambda queue: _listed(place, queue, "list_service_jobs", _UNENDED_SERVICE_JOBS), queues)
    )
    yield from attempts.each(place, lambda number: _service_job(place, number), ids)


def _service_job(place: Place, number: str) -> _Json:
    """The request that Batch will send to SageMaker, and whose it is."""
    found = place.call("batch", "describe_service_job", jobId=number)
    return {key: member(found, key, "batch:DescribeServiceJob") for key in ("jobArn", "serviceRequestPayload")}
