"""ECS Managed Daemons as witness: what each runs, would roll back to, and the newest daemon task definitions.

Daemons are to container instances what services are to tasks, with deployments and revisions of their own that the calls for
services do not list. API: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListDaemons.html
"""

from collections.abc import Iterable, Iterator
from typing import Final

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure
from ecrsweep.core.uses import Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.ecs import present, since_settled
from ecrsweep.sources.reading import Json, Reading, in_batches, in_words

NAME: Final = "ecs-daemons"
NEWEST_REVISIONS: Final = 3
"""How many ACTIVE revisions of every family count as in use: what somebody who goes back would take."""

_PAGE: Final = 100
_AT_ONCE: Final = 20


class EcsDaemonsSource:
    """Every image name that ECS holds for daemons in one account and region (`ports.Source`)."""

    name = NAME
    actions = (
        "ecs:DescribeDaemon",
        "ecs:DescribeDaemonDeployments",
        "ecs:DescribeDaemonRevisions",
        "ecs:DescribeDaemonTaskDefinition",
        "ecs:ListClusters",
        "ecs:ListDaemonDeployments",
        "ecs:ListDaemonTaskDefinitions",
        "ecs:ListDaemons",
    )

    about = About(
        system="Amazon ECS Managed Daemons",
        calls=(
            "ListClusters, ListDaemons, DescribeDaemon; ListDaemonDeployments, DescribeDaemonDeployments, "
            "DescribeDaemonRevisions; ListDaemonTaskDefinitions, DescribeDaemonTaskDefinition"
        ),
        keeps=(
            "every container of the current revisions of every daemon, of the newest deployment that succeeded and of all "
            "since, with those that they replaced and would roll back to, by name and by the digest it was resolved to; the "
            "newest 3 ACTIVE revisions of every family of daemon task definitions"
        ),
        unknowable="a daemon task definition that somebody registers and runs after the plan: the grace of 24 hours is for that",
        service="ecs",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use]:
        """Uses of daemons first, then of task definitions. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "ecs", _is_gone)
        definitions: dict[str, dict[str, str]] = {}
        yield from reading.part(_of_daemons(reading, definitions))
        yield from reading.part(_of_definitions(reading, definitions))
        reading.finish()


def _of_daemons(reading: Reading, definitions: dict[str, dict[str, str]]) -> Iterator[Use]:
    """The uses of all daemons. The images of the definitions that they name are added to `definitions`."""
    clusters = reading.listed("list_clusters", "clusterArns", maxResults=_PAGE)
    daemons = [arn for _, arns in reading.each(lambda cluster: _daemons(reading, cluster), clusters) for arn in arns]
    revisions = [
        (daemon, revision)
        for daemon, arns in reading.each(lambda daemon: _revisions_of(reading, daemon), daemons)
        for _, found in reading.each(lambda some: _described_revisions(reading, some), in_batches(arns, _AT_ONCE))
        for revision in found
    ]
    for daemon, revision in revisions:
        yield from _uses_of_images(reading.place, daemon, revision)
    _describe(reading, (revision.get("daemonTaskDefinitionArn", "") for _, revision in revisions), definitions)
    for daemon, revision in revisions:
        arn = revision.get("daemonTaskDefinitionArn", "")
        where = in_words(f"revision {_id_of(revision['daemonRevisionArn'])}", f"daemon task definition {_id_of(arn)}")
        yield from _uses_of_definition(reading.place, daemon, where, definitions.get(arn, {}))


def _daemons(reading: Reading, cluster: str) -> list[str]:
    listed = reading.listed("list_daemons", "daemonSummariesList", inside=True, clusterArn=cluster, maxResults=_PAGE)
    return [str(found["daemonArn"]) for found in listed]


def _revisions_of(reading: Reading, daemon: str) -> list[str]:
    """The revisions that run, and of the newest deployment that succeeded and all since what they deploy, replace, return to."""
    described = reading.described("describe_daemon", "daemon", daemonArn=daemon)["daemon"]
    arns = [str(found["arn"]) for found in described.get("currentRevisions", ())]
    listed = reading.listed(
        "list_daemon_deployments", "daemonDeployments", inside=True, daemonArn=daemon, maxResults=_PAGE
    )
    for some in in_batches([str(found["daemonDeploymentArn"]) for found in since_settled(listed)], _AT_ONCE):
        answer = reading.described("describe_daemon_deployments", "daemonDeployments", daemonDeploymentArns=some)
        for deployment in present(answer, "daemonDeployments", "ecs:DescribeDaemonDeployments"):
            arns += _revisions_in(deployment)
    return list(dict.fromkeys(arns))


def _revisions_in(deployment: Json) -> Iterator[str]:
    for found in [deployment.get("targetDaemonRevision") or {}, *deployment.get("sourceDaemonRevisions", ())]:
        if found.get("arn"):
            yield str(found["arn"])
    back = (deployment.get("rollback") or {}).get("rollbackTargetDaemonRevisionArn")
    if back:
        yield str(back)


def _described_revisions(reading: Reading, arns: list[str]) -> list[Json]:
    answer = reading.described("describe_daemon_revisions", "daemonRevisions", daemonRevisionArns=arns)
    return list(present(answer, "daemonRevisions", "ecs:DescribeDaemonRevisions"))


def _of_definitions(reading: Reading, definitions: dict[str, dict[str, str]]) -> Iterator[Use]:
    """The uses of the newest ACTIVE revisions of every family, whether a daemon runs them or not."""
    families: dict[str, list[tuple[int, str]]] = {}
    for found in reading.listed(
        "list_daemon_task_definitions", "daemonTaskDefinitions", status="ACTIVE", maxResults=_PAGE
    ):
        family, _, revision = str(found["arn"]).rpartition(":")
        families.setdefault(family, []).append((int(revision), str(found["arn"])))
    newest = [arn for family in families.values() for _, arn in sorted(family, reverse=True)[:NEWEST_REVISIONS]]
    _describe(reading, newest, definitions)
    for arn in newest:
        yield from _uses_of_definition(reading.place, arn, "", definitions.get(arn, {}))


def _describe(reading: Reading, arns: Iterable[str], definitions: dict[str, dict[str, str]]) -> None:
    """Add image by container name of each definition that is not there yet."""
    wanted = [arn for arn in dict.fromkeys(arns) if arn and arn not in definitions]
    definitions.update(reading.each(lambda arn: _images(reading, arn), wanted))


def _images(reading: Reading, arn: str) -> dict[str, str]:
    key = "daemonTaskDefinition"
    found = reading.described("describe_daemon_task_definition", key, daemonTaskDefinition=arn)[key]
    return {container.get("name", ""): container["image"] for container in found.get("containerDefinitions", ())}


def _uses_of_images(place: Place, daemon: str, revision: Json) -> Iterator[Use]:
    for found in revision.get("containerImages", ()):
        if found.get("image"):
            yield Use(
                image=found["image"],
                workload=daemon,
                source=NAME,
                account=place.account,
                region=place.region,
                where=in_words(
                    f"revision {_id_of(revision['daemonRevisionArn'])}", f"container {found.get('containerName', '')}"
                ),
                digest=found.get("imageDigest"),
            )


def _uses_of_definition(place: Place, workload: str, where: str, images: dict[str, str]) -> Iterator[Use]:
    for name, image in images.items():
        yield Use(image, workload, NAME, place.account, place.region, in_words(where, f"container {name}"))


def _is_gone(failure: AwsFailure) -> bool:
    """Gone with its cluster, or of a cluster that cannot have daemons; a task definition that nothing can start any more."""
    match code_of(failure):
        case "ClusterNotFoundException" | "DaemonNotFoundException":
            return True
        case "UnsupportedFeatureException":
            return failure.action == "ecs:ListDaemons"
        case code:
            return code == "ClientException" and "Unable to describe" in str(failure)


def _id_of(arn: str) -> str:
    return arn.rpartition("/")[2]
