"""Amazon Lightsail as witness: container services, with every deployment that Lightsail keeps to go back to.

API: https://docs.aws.amazon.com/lightsail/2016-11-28/api-reference/API_GetContainerServices.html
"""

from collections.abc import Iterator
from typing import Final

from ecrsweep.core.uses import Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, in_words, seconds

NAME: Final = "lightsail"

_STORED_IN_LIGHTSAIL: Final = ":"
"""How the name of an image begins that was pushed to Lightsail itself, and lies in no ECR."""


class LightsailSource:
    """Every image name that Lightsail holds in one account and region (`ports.Source`)."""

    name = NAME
    actions = ("lightsail:GetContainerServiceDeployments", "lightsail:GetContainerServices")

    about = About(
        system="Amazon Lightsail",
        calls="GetContainerServices, GetContainerServiceDeployments",
        keeps="every container of every deployment that a container service keeps, disabled services too",
        unknowable="nothing known",
        service="lightsail",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use]:
        """Service by service. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "lightsail", answering("NotFoundException"))
        yield from reading.part(_of_services(reading))
        reading.finish()


def _of_services(reading: Reading) -> Iterator[Use]:
    services = list(reading.listed("get_container_services", "containerServices"))
    for service in services:
        for deployment in (service.get("currentDeployment"), service.get("nextDeployment")):
            yield from _uses_in(reading.place, service, deployment or {})
    for service, deployments in reading.each(lambda service: _deployments(reading, service), services):
        shown = {_version(service.get("currentDeployment")), _version(service.get("nextDeployment"))}
        for deployment in deployments:
            if _version(deployment) not in shown:
                yield from _uses_in(reading.place, service, deployment)


def _deployments(reading: Reading, service: Json) -> list[Json]:
    name = service["containerServiceName"]
    answer = reading.described("get_container_service_deployments", "deployments", serviceName=name)
    return list(answer["deployments"])


def _version(deployment: Json | None) -> object:
    return (deployment or {}).get("version")


def _uses_in(place: Place, service: Json, deployment: Json) -> Iterator[Use]:
    which = f"deployment {_version(deployment)} {deployment.get('state', '')}".rstrip()
    for name, container in (deployment.get("containers") or {}).items():
        image = container.get("image", "")
        if image and not image.startswith(_STORED_IN_LIGHTSAIL):
            yield Use(
                image=image,
                workload=service["arn"],
                source=NAME,
                account=place.account,
                region=place.region,
                where=in_words(which, f"container {name}"),
                resolved_from=seconds(deployment.get("createdAt")),
            )
