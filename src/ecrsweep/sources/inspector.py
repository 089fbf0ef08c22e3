"""Amazon Inspector as a second opinion: the images that it has seen in ECS tasks and EKS pods. It protects, and never releases.

Inspector looks once a day, and only where it is switched on for ECR; of what it has not seen it proves nothing.
https://docs.aws.amazon.com/inspector/latest/user/scanning-ecr.html
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ecrsweep.core.errors import AwsFailure, BadInput, Malformed
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, in_words, seconds

NAME: Final = "inspector"
DAYS: Final = 30
"""For how many days after Inspector last saw an image in use it counts as in use."""

_PAGE: Final = 200
_MOST_DAYS: Final = 3650
_IMAGES: Final = "AWS_ECR_CONTAINER_IMAGE"
_OFF: Final = frozenset({"DISABLED", "DISABLING", "SUSPENDED", "SUSPENDING"})


class InspectorSource:
    """The images that Inspector has seen in use, in one account and region (`ports.Source`)."""

    name = NAME
    actions = ("inspector2:BatchGetAccountStatus", "inspector2:ListCoverage")

    about = About(
        system="Amazon Inspector",
        calls="BatchGetAccountStatus; ListCoverage of images in use, and of images that were within 30 days",
        keeps=(
            "every image that Inspector counts in an ECS task or EKS pod, or has seen there within 30 days "
            "(`--source-option inspector.days=N`)"
        ),
        unknowable="anything where Inspector does not scan ECR (noted), and what changed since it looked, within a day",
        service="inspector2",
        by_default=False,
    )

    def __init__(self, days: int = DAYS) -> None:
        """`days` for which an image counts as in use after it was last seen so."""
        self._days = days

    def with_options(self, options: Mapping[str, str]) -> "InspectorSource":
        """The same source with `days`. Raises `BadInput` for anything else."""
        unknown = sorted(options.keys() - {"days"})
        if unknown:
            raise BadInput(f"The source inspector has no option {unknown[0]}. It has: days")
        days = options["days"]
        if not (days.isdecimal() and 0 < int(days) <= _MOST_DAYS):
            raise BadInput(f'inspector.days is "{days}", and must be a number of days from 1 to {_MOST_DAYS}')
        return InspectorSource(int(days))

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Uses by image. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "inspector2", lambda _: False)
        yield from reading.part(self._seen(reading))
        reading.finish()

    def _seen(self, reading: Reading) -> Iterator[Use | Note]:
        # What Inspector answers about coverage where it is off is written nowhere, so it is asked first whether it is on.
        if _is_off(reading):
            yield Note("Inspector does not scan ECR here, so it has no opinion")
            return
        since = datetime.now(UTC) - timedelta(days=self._days)
        asked: tuple[Any, ...] = (
            {"ecrImageInUseCount": [{"lowerInclusive": 1}]},
            {"ecrImageLastInUseAt": [{"startInclusive": since}]},
        )
        told: set[str] = set()
        for criteria in asked:
            for covered in _covered(reading, criteria):
                if covered["resourceId"] not in told:
                    told.add(covered["resourceId"])
                    yield _use(reading.place, covered)


def _is_off(reading: Reading) -> bool:
    account = reading.place.account
    answer = reading.described("batch_get_account_status", "accounts", accountIds=[account])
    for failed in answer.get("failedAccounts", ()):
        action = "inspector2:BatchGetAccountStatus"
        text = f"{action} in {reading.place.region}: {failed.get('errorCode')}: {failed.get('errorMessage')}"
        raise AwsFailure(text, action=action)
    states = {found["accountId"]: found["resourceState"]["ecr"]["status"] for found in answer["accounts"]}
    return states[account] in _OFF


def _covered(reading: Reading, criteria: Mapping[str, Any]) -> Iterator[Json]:
    for_images = {
        "resourceType": [{"comparison": "EQUALS", "value": _IMAGES}],
        "accountId": [{"comparison": "EQUALS", "value": reading.place.account}],
    }
    return reading.listed(
        "list_coverage", "coveredResources", filterCriteria={**for_images, **criteria}, maxResults=_PAGE
    )


def _use(place: Place, covered: Json) -> Use:
    image = covered["resourceMetadata"]["ecrImage"]
    count, last = image.get("inUseCount", 0), seconds(image.get("lastInUseAt"))
    seen = f"last seen in use {datetime.fromtimestamp(last, UTC):%Y-%m-%d}" if last else ""
    return Use(
        image=_name(str(covered["resourceId"])),
        workload="Amazon Inspector",
        source=NAME,
        account=place.account,
        region=place.region,
        where=in_words(f"counts {count} ECS tasks and EKS pods", seen),
        # It looks once a day: an image that has gone since will not be missed by anybody.
        ended=True,
    )


def _name(resource: str) -> str:
    """The name of an image by its ARN: `arn:aws:ecr:us-east-1:123456789012:repository/team/app/sha256:...`."""
    head, _, path = resource.partition(":repository/")
    repository, _, digest = path.rpartition("/")
    parts = head.split(":")
    if not (repository and digest.startswith("sha256:") and len(parts) == 5):  # noqa: PLR2004 - an ARN has these
        raise Malformed(f"inspector2:ListCoverage named an image {resource}", action="inspector2:ListCoverage")
    return f"{Repository(Registry(parts[4], parts[3]), repository).uri}@{digest}"
