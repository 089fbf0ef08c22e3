"""Amazon ECS as witness: tasks, services with all they may return to, and task definitions.

What is read, and why, stands in docs/sources.md. ECS resolves a tag to a digest once a deployment and starts
later tasks by that digest, so the digest that runs, the tag as written, and what a rollback would start
are all uses. API: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import msgspec

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure, Malformed
from ecrsweep.core.uses import Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, in_batches, in_words, seconds
from ecrsweep.sources.started import task_definition

NAME: Final = "ecs"
NEWEST_REVISIONS: Final = 3
"""How many ACTIVE revisions of every family count as in use: what a hand-made rollback would take."""

_PAGE: Final = 100
_TASKS_AT_ONCE: Final = 100
_SERVICES_AT_ONCE: Final = 10
_REVISIONS_AT_ONCE: Final = 20
_SETTLED: Final = "SUCCESSFUL"
# Tasks of daemons are started from definitions of another kind, which `ecs-daemons` describes.
_DAEMON: Final = ":daemon-task-definition/"
_SERVICE_IS_GONE: Final = "ServiceNotFoundException"

_Pin = tuple[str, str, str]
"""Task definition, container name, image as written."""


class EcsSource:
    """Every image name that ECS holds in one account and region (`ports.Source`)."""

    name = NAME
    actions = (
        "ecs:DescribeServiceDeployments",
        "ecs:DescribeServiceRevisions",
        "ecs:DescribeServices",
        "ecs:DescribeTaskDefinition",
        "ecs:DescribeTasks",
        "ecs:ListClusters",
        "ecs:ListServiceDeployments",
        "ecs:ListServices",
        "ecs:ListTaskDefinitions",
        "ecs:ListTasks",
    )

    about = About(
        system="Amazon ECS",
        calls=(
            "ListClusters; ListTasks (running and stopped), DescribeTasks; ListServices, DescribeServices; "
            "ListServiceDeployments, DescribeServiceDeployments, DescribeServiceRevisions; ListTaskDefinitions, "
            "DescribeTaskDefinition"
        ),
        keeps=(
            "every container of every task, under the name it reports and the one its task definition gives, with the "
            "digest it reports; what every deployment, task set and service revision of a service starts, at whatever "
            "count; the revisions of the newest deployment that succeeded and of all since, with those that they replaced "
            "and would roll back to; the newest 3 ACTIVE revisions of every family"
        ),
        unknowable="a task definition that somebody registers and runs after the plan: the grace of 24 hours is for that",
        service="ecs",
        bulk=False,
    )

    def __init__(self, newest_revisions: int = NEWEST_REVISIONS) -> None:
        """`newest_revisions` of every family count as in use, whether something runs them or not."""
        self._newest_revisions = newest_revisions

    def uses(self, place: Place) -> Iterator[Use]:
        """Uses of tasks first, then of services, then of task definitions. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "ecs", answering("ClusterNotFoundException", _SERVICE_IS_GONE))
        clusters = list(reading.listed("list_clusters", "clusterArns", maxResults=_PAGE))
        newest = list(reading.part(_newest_definitions(reading, self._newest_revisions)))
        tasks: list[Json] = []
        services: list[_Service] = []
        for cluster in clusters:
            tasks += _tasks(reading, cluster)
            services += _services(reading, cluster)
        wanted = dict.fromkeys(arn for task in tasks if (arn := task.get("taskDefinitionArn")) and _DAEMON not in arn)
        wanted |= dict.fromkeys(arn for service in services for arn in service.definitions)
        described = reading.each(partial(task_definition, place), dict.fromkeys([*wanted, *newest]))
        definitions = {arn: definition for arn, definition in described if definition is not None}
        for task in tasks:
            yield from _task_uses(place, task, definitions)
        pinned_by_tasks = _pinned_by_tasks(tasks, definitions)
        for service in services:
            yield from _service_uses(place, service, definitions, pinned_by_tasks)
        for arn in newest:
            yield from _definition_uses(place, arn, definitions)
        reading.finish()


class _Service(msgspec.Struct):
    """A service with all that it runs, may start, or would return to: revisions are of service revisions."""

    described: Json
    revisions: list[Json]

    @property
    def arn(self) -> str:
        return str(self.described["serviceArn"])

    @property
    def starts(self) -> Iterator[tuple[str, str, datetime | None]]:
        """Task definition, where the service names it, and when a tag in it was resolved, if it was."""
        if self.described.get("taskDefinition"):
            yield self.described["taskDefinition"], "", None
        for deployment in self.described.get("deployments", ()):
            where = f"deployment {deployment.get('id', '')} {deployment.get('status', '')}".rstrip()
            yield deployment.get("taskDefinition", ""), where, deployment.get("createdAt")
        for task_set in self.described.get("taskSets", ()):
            where = f"task set {task_set.get('id', '')} {task_set.get('status', '')}".rstrip()
            yield task_set.get("taskDefinition", ""), where, task_set.get("createdAt")
        for revision in self.revisions:
            yield revision.get("taskDefinition", ""), f"revision {_id_of(revision['serviceRevisionArn'])}", None

    @property
    def definitions(self) -> Iterator[str]:
        return (arn for arn, _, _ in self.starts if arn)


def _newest_definitions(reading: Reading, newest: int) -> Iterator[str]:
    """The newest ACTIVE revisions of every family: one listing for all families."""
    families: dict[str, list[tuple[int, str]]] = {}
    strangers: list[str] = []
    for arn in reading.listed("list_task_definitions", "taskDefinitionArns", status="ACTIVE", maxResults=_PAGE):
        family, _, revision = arn.rpartition(":")
        if revision.isdigit():
            families.setdefault(family, []).append((int(revision), arn))
        else:
            strangers.append(arn)
    for revisions in families.values():
        yield from (arn for _, arn in sorted(revisions, reverse=True)[:newest])
    if strangers:
        raise Malformed(f"ecs:ListTaskDefinitions named a task definition without revision: {strangers[0]}")


def _tasks(reading: Reading, cluster: str) -> Iterator[Json]:
    arns = dict.fromkeys(
        arn
        for status in ("RUNNING", "STOPPED")
        for arn in reading.listed(
            "list_tasks", "taskArns", inside=True, cluster=cluster, desiredStatus=status, maxResults=_PAGE
        )
    )
    describing = partial(_described, reading, "describe_tasks", "tasks", cluster)
    return reading.found(describing, in_batches(list(arns), _TASKS_AT_ONCE))


def _services(reading: Reading, cluster: str) -> list[_Service]:
    arns = list(reading.listed("list_services", "serviceArns", inside=True, cluster=cluster, maxResults=_PAGE))
    describing = partial(_described, reading, "describe_services", "services", cluster)
    services = [_Service(each, []) for each in reading.found(describing, in_batches(arns, _SERVICES_AT_ONCE))]
    for service, revision in reading.found(partial(_revisions, reading, cluster), services):
        service.revisions.append(revision)
    return services


def _described(reading: Reading, operation: str, key: str, cluster: str, arns: Sequence[str]) -> Iterator[Json]:
    answer = reading.described(operation, key, **{key: list(arns)}, cluster=cluster)
    return present(answer, key, f"ecs:{operation.title().replace('_', '')}")


def _revisions(reading: Reading, cluster: str, service: _Service) -> Iterator[tuple[_Service, Json]]:
    """The service with each of the revisions that it runs or would return to; until it is deleted in between."""
    arns = [str(found["arn"]) for found in service.described.get("currentServiceRevisions", ()) if found.get("arn")]
    failed: AwsFailure | None = None
    try:
        arns.extend(_revisions_to_return_to(reading, cluster, service.described))
    except AwsFailure as failure:
        failed = failure
    for some in in_batches(list(dict.fromkeys(arns)), _REVISIONS_AT_ONCE):
        answer = reading.described("describe_service_revisions", "serviceRevisions", serviceRevisionArns=some)
        for revision in present(answer, "serviceRevisions", "ecs:DescribeServiceRevisions"):
            yield service, revision
    if failed is not None:
        raise failed


def _revisions_to_return_to(reading: Reading, cluster: str, service: Json) -> Iterator[str]:
    """Of the newest deployment that succeeded and all since: what they deploy, deployed over, and roll back to."""
    try:
        deployments = list(
            reading.place.pages(
                "ecs", "list_service_deployments", "serviceDeployments",
                cluster=cluster, service=service["serviceArn"], maxResults=_PAGE,
            )
        )  # fmt: skip
    except AwsFailure as failure:
        if _has_no_deployments(service, failure):
            return
        raise
    recent = list(since_settled(deployments))
    yield from (found["targetServiceRevisionArn"] for found in recent if found.get("targetServiceRevisionArn"))
    for some in in_batches([str(found["serviceDeploymentArn"]) for found in recent], _REVISIONS_AT_ONCE):
        answer = reading.described("describe_service_deployments", "serviceDeployments", serviceDeploymentArns=some)
        for found in present(answer, "serviceDeployments", "ecs:DescribeServiceDeployments"):
            yield from _revision_arns(found)


def present(answer: Json, key: str, action: str) -> Iterator[Json]:
    """What was described. What is missing is gone and uses nothing; any other failure is one of the source, raised at the end."""
    yield from answer[key]
    for failure in answer.get("failures", ()):
        if failure.get("reason") != "MISSING":
            text = (
                f"{action} did not describe {failure.get('arn')}: {failure.get('reason')} {failure.get('detail', '')}"
            )
            raise Malformed(text.strip(), action=action)


def _has_no_deployments(service: Json, failure: AwsFailure) -> bool:
    """Service deployments exist for the rolling controller alone; a service deleted in between has none either."""
    if code_of(failure) == _SERVICE_IS_GONE:
        return True
    controller = service.get("deploymentController", {}).get("type", "ECS")
    return controller != "ECS" and ("UnsupportedFeature" in str(failure) or "InvalidParameter" in str(failure))


def since_settled(deployments: Iterable[Json]) -> Iterator[Json]:
    """The newest deployment that succeeded, and all since."""
    for deployment in sorted(deployments, key=lambda found: seconds(found.get("createdAt")) or 0.0, reverse=True):
        yield deployment
        if deployment.get("status") == _SETTLED:
            return


def _revision_arns(deployment: Json) -> Iterator[str]:
    revisions = [deployment.get("targetServiceRevision", {}), *deployment.get("sourceServiceRevisions", ())]
    yield from (found["arn"] for found in revisions if found.get("arn"))
    if deployment.get("rollback", {}).get("serviceRevisionArn"):
        yield deployment["rollback"]["serviceRevisionArn"]


def _task_uses(place: Place, task: Json, definitions: Mapping[str, Json]) -> Iterator[Use]:
    """What each container says it runs, under the name it reports and under the one its definition gives."""
    specified = _images(definitions.get(task.get("taskDefinitionArn", ""), {}))
    ended = task.get("lastStatus") == "STOPPED"
    reported = {container.get("name", ""): container for container in task.get("containers", ())}
    resolved = [moment for key in ("createdAt", "pullStartedAt", "startedAt") if (moment := seconds(task.get(key)))]
    until = seconds(task.get("pullStoppedAt")) or seconds(task.get("startedAt"))
    for name in dict.fromkeys([*specified, *reported]):
        container = reported.get(name, {})
        for image in dict.fromkeys(filter(None, (specified.get(name), container.get("image")))):
            yield Use(
                image=image,
                workload=task["taskArn"],
                source=NAME,
                account=place.account,
                region=place.region,
                where=f"container {name}",
                digest=container.get("imageDigest"),
                resolved_from=min(resolved, default=None),
                resolved_until=until,
                ended=ended,
            )


def _service_uses(
    place: Place, service: _Service, definitions: Mapping[str, Json], pinned_by_tasks: Mapping[str, set[_Pin]]
) -> Iterator[Use]:
    """What the service's definitions name, and the digests that its revisions pinned."""
    group = _group(service.described.get("clusterArn"), f"service:{service.described.get('serviceName')}")
    pinned = _pinned(service.revisions) | pinned_by_tasks.get(group, set())
    for arn, where, created in service.starts:
        for name, image in _images(definitions.get(arn, {})).items():
            digest_known = (arn, name, image) in pinned
            yield Use(
                image=image,
                workload=service.arn,
                source=NAME,
                account=place.account,
                region=place.region,
                where=in_words(where, f"task definition {_id_of(arn)}", f"container {name}"),
                resolved_from=None if digest_known else seconds(created),
            )
    for revision in service.revisions:
        for found in revision.get("containerImages", ()):
            if found.get("image"):
                yield Use(
                    image=found["image"],
                    workload=service.arn,
                    source=NAME,
                    account=place.account,
                    region=place.region,
                    where=in_words(f"revision {_id_of(revision['serviceRevisionArn'])}", _container(found)),
                    digest=found.get("imageDigest"),
                )


def _definition_uses(place: Place, arn: str, definitions: Mapping[str, Json]) -> Iterator[Use]:
    for name, image in _images(definitions.get(arn, {})).items():
        yield Use(
            image=image,
            workload=arn,
            source=NAME,
            account=place.account,
            region=place.region,
            where=f"container {name}",
        )


def _pinned_by_tasks(tasks: Iterable[Json], definitions: Mapping[str, Json]) -> dict[str, set[_Pin]]:
    """By service: the images whose digest a task of the service reports, so that nothing need be guessed from the tag."""
    pinned: dict[str, set[_Pin]] = {}
    for task in tasks:
        arn = task.get("taskDefinitionArn", "")
        specified = _images(definitions.get(arn, {}))
        for container in task.get("containers", ()):
            name = container.get("name", "")
            if container.get("imageDigest"):
                found = pinned.setdefault(_group(task.get("clusterArn"), task.get("group")), set())
                found.add((arn, name, specified.get(name, "")))
    return pinned


def _group(cluster: str | None, group: str | None) -> str:
    return f"{cluster} {group}"


def _pinned(revisions: Iterable[Json]) -> set[_Pin]:
    """The images of which a revision tells the digest."""
    return {
        (revision.get("taskDefinition", ""), found.get("containerName", ""), found.get("image", ""))
        for revision in revisions
        for found in revision.get("containerImages", ())
        if found.get("imageDigest")
    }


def _images(definition: Json) -> dict[str, str]:
    """Image by container name, init containers and sidecars included: ECS has one list for all."""
    return {
        container.get("name", ""): container["image"]
        for container in definition.get("containerDefinitions", ())
        if container.get("image")
    }


def _container(found: Json) -> str:
    return f"container {found.get('containerName', '')}".rstrip()


def _id_of(arn: str) -> str:
    return arn.rpartition("/")[2]
