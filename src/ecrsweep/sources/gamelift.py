"""Amazon GameLift Servers as witness: container group definitions, and the versions that fleets run or would roll back to.

GameLift resolves the images of a version once, and tells the digest.
API: https://docs.aws.amazon.com/gameliftservers/latest/apireference/Welcome.html
"""

from collections.abc import Iterable, Iterator
from typing import Final

from ecrsweep.core.uses import Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, in_words, seconds

NAME: Final = "gamelift"

_PAGE: Final = 100
_SETTLED: Final = "COMPLETE"
_OF_FLEETS: Final = ("GameServerContainerGroupDefinitionArn", "PerInstanceContainerGroupDefinitionArn")
_OF_DEPLOYMENTS: Final = (
    "GameServerBinaryArn",
    "PerInstanceBinaryArn",
    "RollbackGameServerBinaryArn",
    "RollbackPerInstanceBinaryArn",
)


class GameLiftSource:
    """Every image name that GameLift holds in one account and region (`ports.Source`)."""

    name = NAME
    actions = (
        "gamelift:DescribeContainerGroupDefinition",
        "gamelift:ListContainerFleets",
        "gamelift:ListContainerGroupDefinitions",
        "gamelift:ListFleetDeployments",
    )

    about = About(
        system="Amazon GameLift Servers",
        calls=(
            "ListContainerGroupDefinitions, ListContainerFleets, ListFleetDeployments; DescribeContainerGroupDefinition for "
            "versions that are not the latest"
        ),
        keeps=(
            "every container of the latest version of every container group definition, and of the versions that a fleet has, "
            "deploys, or would roll back to, by name and by the digest it was resolved to"
        ),
        unknowable="nothing known",
        service="gamelift",
    )

    def uses(self, place: Place) -> Iterator[Use]:
        """Uses of definitions first, then of fleets. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "gamelift", answering("NotFoundException"))
        latest: dict[str, Json] = {}
        yield from reading.part(_of_definitions(reading, latest))
        yield from reading.part(_of_fleets(reading, latest))
        reading.finish()


def _of_definitions(reading: Reading, latest: dict[str, Json]) -> Iterator[Use]:
    """The uses of the latest version of every definition; these are added to `latest` by their ARNs."""
    listed = reading.listed("list_container_group_definitions", "ContainerGroupDefinitions", Limit=_PAGE)
    for definition in listed:
        arn = str(definition["ContainerGroupDefinitionArn"])
        latest[arn] = definition
        yield from _uses_in(reading.place, definition, arn)


def _of_fleets(reading: Reading, latest: dict[str, Json]) -> Iterator[Use]:
    fleets = list(reading.listed("list_container_fleets", "ContainerFleets", Limit=_PAGE))
    deployments = reading.listed("list_fleet_deployments", "FleetDeployments", Limit=_PAGE)
    wanted = _definitions_by_fleet(fleets, deployments)
    older = sorted({arn for _, arn in wanted} - latest.keys())
    described = dict(reading.each(lambda arn: _definition(reading, arn), older)) | latest
    for fleet, arn in wanted:
        if arn in described:
            yield from _uses_in(reading.place, described[arn], fleet, f"container group {arn.rpartition('/')[2]}")


def _definitions_by_fleet(fleets: Iterable[Json], deployments: Iterable[Json]) -> list[tuple[str, str]]:
    """Fleet and definition, by their ARNs: what each has, and of its newest settled deployment and all since, what they name."""
    arns = {str(fleet["FleetId"]): str(fleet["FleetArn"]) for fleet in fleets}
    found = [(str(fleet["FleetArn"]), fleet.get(member)) for fleet in fleets for member in _OF_FLEETS]
    settled: set[str] = set()
    for deployment in sorted(deployments, key=lambda one: seconds(one.get("CreationTime")) or 0.0, reverse=True):
        fleet = str(deployment["FleetId"])
        if fleet in arns and fleet not in settled:
            found += [(arns[fleet], deployment.get(member)) for member in _OF_DEPLOYMENTS]
            if deployment.get("DeploymentStatus") == _SETTLED:
                settled.add(fleet)
    return list(dict.fromkeys((fleet, arn) for fleet, arn in found if arn))


def _definition(reading: Reading, arn: str) -> Json:
    answer = reading.described("describe_container_group_definition", "ContainerGroupDefinition", Name=arn)
    found: Json = answer["ContainerGroupDefinition"]
    return found


def _uses_in(place: Place, definition: Json, workload: str, where: str = "") -> Iterator[Use]:
    server = definition.get("GameServerContainerDefinition")
    for container in [*([server] if server else []), *(definition.get("SupportContainerDefinitions") or ())]:
        digest = str(container.get("ResolvedImageDigest") or "").lower() or None
        yield Use(
            image=container["ImageUri"],
            workload=workload,
            source=NAME,
            account=place.account,
            region=place.region,
            where=in_words(where, f"container {container.get('ContainerName', '')}".rstrip()),
            digest=digest,
            resolved_from=None if digest else seconds(definition.get("CreationTime")),
        )
