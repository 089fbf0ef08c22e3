"""Amazon EMR Serverless as witness: applications, stopped ones too, and the job runs that have not ended.

An application resolves its images when it starts; a job run may have images of its own, and keeps those it was submitted with.
API: https://docs.aws.amazon.com/emr-serverless/latest/APIReference/Welcome.html
"""

from collections.abc import Iterator
from typing import Final

from ecrsweep.core.uses import Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering

NAME: Final = "emr-serverless"

_PAGE: Final = 50
_TERMINATED: Final = "TERMINATED"
_NOT_ENDED: Final = ("SUBMITTED", "PENDING", "SCHEDULED", "QUEUED", "RUNNING", "CANCELLING")


class EmrServerlessSource:
    """Every image name that EMR Serverless holds in one account and region (`ports.Source`)."""

    name = NAME
    actions = (
        "emr-serverless:GetApplication",
        "emr-serverless:GetJobRun",
        "emr-serverless:ListApplications",
        "emr-serverless:ListJobRuns",
    )

    about = About(
        system="Amazon EMR Serverless",
        calls="ListApplications, GetApplication; ListJobRuns (not ended), GetJobRun",
        keeps=(
            "the custom image of every application that is not terminated, and of its worker types, by name and by the "
            "digest it was resolved to; the same of every job run that has not ended"
        ),
        unknowable="nothing known",
        service="emr-serverless",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use]:
        """Uses of applications first, then of job runs. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "emr-serverless", answering("ResourceNotFoundException"))
        ids = list(reading.part(_ids(reading)))
        yield from reading.part(_of_applications(reading, ids))
        yield from reading.part(_of_job_runs(reading, ids))
        reading.finish()


def _ids(reading: Reading) -> Iterator[str]:
    for application in reading.listed("list_applications", "applications", maxResults=_PAGE):
        if application["state"] != _TERMINATED:
            yield str(application["id"])


def _of_applications(reading: Reading, ids: list[str]) -> Iterator[Use]:
    for _, application in reading.each(lambda found: _application(reading, found), ids):
        if application["state"] != _TERMINATED:
            yield from _uses_in(reading.place, application)


def _application(reading: Reading, application: str) -> Json:
    answer = reading.described("get_application", "application", applicationId=application)
    found: Json = answer["application"]
    return found


def _of_job_runs(reading: Reading, ids: list[str]) -> Iterator[Use]:
    runs = [run for _, found in reading.each(lambda found: _running(reading, found), ids) for run in found]
    for _, run in reading.each(lambda found: _job_run(reading, found), runs):
        yield from _uses_in(reading.place, run)


def _running(reading: Reading, application: str) -> list[Json]:
    return list(
        reading.listed(
            "list_job_runs", "jobRuns", inside=True, applicationId=application, states=_NOT_ENDED, maxResults=_PAGE
        )
    )


def _job_run(reading: Reading, run: Json) -> Json:
    answer = reading.described("get_job_run", "jobRun", applicationId=run["applicationId"], jobRunId=run["id"])
    found: Json = answer["jobRun"]
    return found


def _uses_in(place: Place, described: Json) -> Iterator[Use]:
    """Of an application or job run: the image of all workers, and that of each type of worker."""
    of_types = {
        f"worker type {name}": found.get("imageConfiguration")
        for name, found in (described.get("workerTypeSpecifications") or {}).items()
    }
    for where, configuration in {"all workers": described.get("imageConfiguration"), **of_types}.items():
        if configuration:
            yield Use(
                image=configuration["imageUri"],
                workload=described["arn"],
                source=NAME,
                account=place.account,
                region=place.region,
                where=where,
                digest=configuration.get("resolvedImageDigest") or None,
            )
