"""AWS App Runner as witness: the image of every service, paused and failed ones too.

App Runner resolves a tag when it deploys, so a service that deploys by hand may run what its tag named long ago; when
it last deployed, its operations tell. https://docs.aws.amazon.com/apprunner/latest/dg/manage-deploy.html
"""

from collections.abc import Iterator
from functools import partial
from typing import Final

from ecrsweep.core.errors import AwsFailure, Malformed
from ecrsweep.core.uses import Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, seconds

NAME: Final = "apprunner"

_PAGE: Final = 20
_DELETED: Final = "DELETED"
_DEPLOYMENTS: Final = frozenset({"CREATE_SERVICE", "START_DEPLOYMENT"})


class AppRunnerSource:
    """The image of every App Runner service of one account and region (`ports.Source`)."""

    name = NAME
    actions = ("apprunner:DescribeService", "apprunner:ListOperations", "apprunner:ListServices")
    about = About(
        system="AWS App Runner",
        calls="ListServices, DescribeService; ListOperations, of services that name their image by a tag",
        keeps=(
            "the image of every service that is not deleted, whether it runs, is paused or has failed; and, where its tag has "
            "moved since the last deployment that succeeded, what the tag may have named before"
        ),
        unknowable="the digest that a service runs",
        service="apprunner",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use]:
        """The uses of every service. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "apprunner", answering("ResourceNotFoundException"))
        listed = reading.listed("list_services", "ServiceSummaryList", MaxResults=_PAGE)
        services = [service for service in listed if service.get("Status") != _DELETED]
        yield from reading.found(partial(_service_uses, place), services)
        reading.finish()


def _service_uses(place: Place, listed: Json) -> Iterator[Use]:
    """The use of one service; none where it was deleted in between, or is built from source code."""
    arn = listed.get("ServiceArn")
    if not arn:
        raise Malformed(
            f"apprunner:ListServices in {place.region} listed a service without ARN", action="apprunner:ListServices"
        )
    service = place.call("apprunner", "describe_service", ServiceArn=arn).get("Service", {})
    image = _image(arn, service)
    if service.get("Status") == _DELETED or image is None:
        return
    use = partial(Use, image=image, workload=arn, source=NAME, account=place.account, region=place.region)
    if "@" in image:
        yield use()
        return
    try:
        since, until = _last_deployment(place, arn)
    except AwsFailure:
        yield use()
        raise
    yield use(resolved_from=since, resolved_until=until)


def _image(arn: str, service: Json) -> str | None:
    """The image as the service names it; None where it is built from source code."""
    source = service.get("SourceConfiguration", {})
    image = source.get("ImageRepository", {}).get("ImageIdentifier")
    if not image and "CodeRepository" not in source:
        raise Malformed(f"apprunner:DescribeService named no source of {arn}", action="apprunner:DescribeService")
    return str(image) if image else None


def _last_deployment(place: Place, arn: str) -> tuple[float, float | None]:
    """Between which moments the service resolved its tag last: since when, and until when if that is over.

    The operations come newest first. Whether an update or a resumption resolves the tag anew is not documented, so they
    move only the later bound.
    """
    until: float | None = 0.0
    operations = place.pages("apprunner", "list_operations", "OperationSummaryList", ServiceArn=arn, MaxResults=_PAGE)
    for operation in operations:
        ended = seconds(operation.get("EndedAt"))
        until = None if until is None or ended is None else max(until, ended)
        if operation.get("Type") in _DEPLOYMENTS and operation.get("Status") == "SUCCEEDED":
            return seconds(operation.get("StartedAt")) or 0.0, until
    return 0.0, None
