"""Amazon ECS as witness: tasks, services with all they may return to, and task definitions.

What is read, and why, stands in docs/sources.md. ECS resolves a tag to a digest once a deployment and starts
later tasks by that digest, so the digest that runs, the tag as written, and what a rollback would start
are all uses. API: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure, ClosedByOrganization, Malformed, Missing
from ecrsweep.core.uses import Use
from ecrsweep.ports import About, Place

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

_Json = Mapping[str, Any]
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
        reading = _Reading(place)
        roots = _Roots()
        clusters = roots.reading(lambda: _clusters(place))
        newest = roots.reading(lambda: _newest_definitions(place, self._newest_revisions))
        tasks, services = reading.workloads(clusters)
        wanted = dict.fromkeys(arn for task in tasks if (arn := task.get("taskDefinitionArn")) and _DAEMON not in arn)
        wanted |= dict.fromkeys(arn for service in services for arn in service.definitions)
        definitions = reading.definitions([*wanted, *(arn for arn in newest if arn not in wanted)])
        for task in tasks:
            yield from _task_uses(place, task, definitions)
        pinned_by_tasks = _pinned_by_tasks(tasks, definitions)
        for service in services:
            yield from _service_uses(place, service, definitions, pinned_by_tasks)
        for arn in newest:
            yield from _definition_uses(place, arn, definitions)
        failure = reading.failure or roots.failure()
        if failure is not None:
            raise failure


class _Roots:
    """The calls that everything begins with. The region is closed only where each of them was refused so."""

    def __init__(self) -> None:
        self._asked = 0
        self._failures: list[AwsFailure] = []

    def reading(self, work: Callable[[], list[str]]) -> list[str]:
        """What the work finds; nothing, and the failure noted, where it fails."""
        self._asked += 1
        try:
            return work()
        except AwsFailure as failure:
            self._failures.append(failure)
            return []

    def failure(self) -> AwsFailure | None:
        """What to raise: that the region is closed only if every root said so."""
        others = [failure for failure in self._failures if not isinstance(failure, ClosedByOrganization)]
        if others:
            return others[0]
        if self._failures and len(self._failures) < self._asked:
            closed = self._failures[0]
            return AwsFailure(str(closed), action=closed.action)
        return self._failures[0] if self._failures else None


class _Service(msgspec.Struct):
    """A service with all that it runs, may start, or would return to: revisions are of service revisions."""

    described: _Json
    revisions: list[_Json]

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


class _Reading:
    """The reads of one place. The first failure is kept and raised at the end, so that the rest is still read."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.failure: AwsFailure | None = None

    def workloads(self, clusters: Sequence[str]) -> tuple[list[_Json], list[_Service]]:
        """All tasks and services of all clusters."""
        tasks: list[_Json] = []
        services: list[_Service] = []
        for cluster in clusters:
            tasks += self._try(lambda cluster=cluster: self._tasks(cluster))  # type: ignore[misc]
            services += self._try(lambda cluster=cluster: self._services(cluster))  # type: ignore[misc]
        return tasks, services

    def definitions(self, arns: Sequence[str]) -> dict[str, _Json]:
        """Each task definition described once; one that does not exist any more is left out: nothing can start from it."""
        described = zip(arns, self._place.each(self._definition, arns), strict=True)
        return {arn: definition for arn, definition in described if definition is not None}

    def _try(self, work: Callable[[], list[Any]]) -> list[Any]:
        try:
            return work()
        except AwsFailure as failure:
            if (
                code_of(failure) != "ClusterNotFoundException"
            ):  # else it was deleted in between, with all that was in it
                self.failure = self.failure or failure
            return []

    def _tasks(self, cluster: str) -> list[_Json]:
        arns = [
            arn
            for status in ("RUNNING", "STOPPED")
            for arn in self._place.pages(
                "ecs", "list_tasks", "taskArns", cluster=cluster, desiredStatus=status, maxResults=_PAGE
            )
        ]
        batches = _batches(list(dict.fromkeys(arns)), _TASKS_AT_ONCE)
        pages = self._place.each(
            lambda some: self._described("describe_tasks", "tasks", some, cluster=cluster), batches
        )
        return [task for page in pages for task in page]

    def _services(self, cluster: str) -> list[_Service]:
        arns = list(self._place.pages("ecs", "list_services", "serviceArns", cluster=cluster, maxResults=_PAGE))
        pages = self._place.each(
            lambda some: self._described("describe_services", "services", some, cluster=cluster),
            _batches(arns, _SERVICES_AT_ONCE),
        )
        described = [service for page in pages for service in page]
        return list(self._place.each(lambda service: self._with_revisions(cluster, service), described))

    def _with_revisions(self, cluster: str, service: _Json) -> _Service:
        current = [found["arn"] for found in service.get("currentServiceRevisions", ()) if found.get("arn")]
        arns = list(dict.fromkeys([*current, *self._revisions_to_return_to(cluster, service)]))
        revisions: list[_Json] = []
        for some in _batches(arns, _REVISIONS_AT_ONCE):
            try:
                answer = self._place.call("ecs", "describe_service_revisions", serviceRevisionArns=some)
            except Missing as failure:
                if code_of(failure) != _SERVICE_IS_GONE:
                    raise
                break  # deleted in between: what it was described with counts all the same
            revisions += _present(answer, "serviceRevisions", "ecs:DescribeServiceRevisions")
        return _Service(service, revisions)

    def _revisions_to_return_to(self, cluster: str, service: _Json) -> list[str]:
        """Of the newest deployment that succeeded and all since: what they deploy, deployed over, and roll back to."""
        try:
            deployments = list(
                self._place.pages(
                    "ecs", "list_service_deployments", "serviceDeployments",
                    cluster=cluster, service=service["serviceArn"], maxResults=_PAGE,
                )
            )  # fmt: skip
        except AwsFailure as failure:
            if _has_no_deployments(service, failure):
                return []
            raise
        recent = _since_settled(deployments)
        arns = [found["serviceDeploymentArn"] for found in recent]
        revisions = [found["targetServiceRevisionArn"] for found in recent if found.get("targetServiceRevisionArn")]
        for some in _batches(arns, _REVISIONS_AT_ONCE):
            try:
                answer = self._place.call("ecs", "describe_service_deployments", serviceDeploymentArns=some)
            except Missing as failure:
                if code_of(failure) != _SERVICE_IS_GONE:
                    raise
                break
            for found in _present(answer, "serviceDeployments", "ecs:DescribeServiceDeployments"):
                revisions += _revision_arns(found)
        return revisions

    def _described(self, operation: str, key: str, arns: Sequence[str], **parameters: object) -> list[_Json]:
        answer = self._place.call("ecs", operation, **{key: list(arns)}, **parameters)
        return _present(answer, key, f"ecs:{operation.title().replace('_', '')}")

    def _definition(self, arn: str) -> _Json | None:
        for last in (False, True):
            try:
                answer = self._place.call("ecs", "describe_task_definition", taskDefinition=arn)
                found: _Json = answer["taskDefinition"]
            except AwsFailure as failure:
                if "Unable to describe task definition" not in str(failure):
                    self.failure = self.failure or failure
                    return None
                if last:
                    return None
            else:
                return found
        return None


def _clusters(place: Place) -> list[str]:
    return list(place.pages("ecs", "list_clusters", "clusterArns", maxResults=_PAGE))


def _newest_definitions(place: Place, newest: int) -> list[str]:
    """The newest ACTIVE revisions of every family: one listing for all families."""
    families: dict[str, list[tuple[int, str]]] = {}
    for arn in place.pages("ecs", "list_task_definitions", "taskDefinitionArns", status="ACTIVE", maxResults=_PAGE):
        family, _, revision = arn.rpartition(":")
        if not revision.isdigit():
            raise Malformed(f"ecs:ListTaskDefinitions named a task definition without revision: {arn}")
        families.setdefault(family, []).append((int(revision), arn))
    return [arn for family in families.values() for _, arn in sorted(family, reverse=True)[:newest]]


def _present(answer: _Json, key: str, action: str) -> list[_Json]:
    """What was described. What is missing is gone and uses nothing; any other failure is one of the source."""
    for failure in answer.get("failures", ()):
        if failure.get("reason") != "MISSING":
            text = (
                f"{action} did not describe {failure.get('arn')}: {failure.get('reason')} {failure.get('detail', '')}"
            )
            raise Malformed(text.strip(), action=action)
    if key not in answer:
        raise Malformed(f"{action} answered without {key}", action=action)
    return list(answer[key])


def _has_no_deployments(service: _Json, failure: AwsFailure) -> bool:
    """Service deployments exist for the rolling controller alone; a service deleted in between has none either."""
    if code_of(failure) == _SERVICE_IS_GONE:
        return True
    controller = service.get("deploymentController", {}).get("type", "ECS")
    return controller != "ECS" and ("UnsupportedFeature" in str(failure) or "InvalidParameter" in str(failure))


def _since_settled(deployments: Iterable[_Json]) -> list[_Json]:
    newest_first = sorted(deployments, key=lambda found: _seconds(found.get("createdAt")) or 0.0, reverse=True)
    taken = []
    for deployment in newest_first:
        taken.append(deployment)
        if deployment.get("status") == _SETTLED:
            break
    return taken


def _revision_arns(deployment: _Json) -> Iterator[str]:
    revisions = [deployment.get("targetServiceRevision", {}), *deployment.get("sourceServiceRevisions", ())]
    yield from (found["arn"] for found in revisions if found.get("arn"))
    if deployment.get("rollback", {}).get("serviceRevisionArn"):
        yield deployment["rollback"]["serviceRevisionArn"]


def _task_uses(place: Place, task: _Json, definitions: Mapping[str, _Json]) -> Iterator[Use]:
    """What each container says it runs, under the name it reports and under the one its definition gives."""
    specified = _images(definitions.get(task.get("taskDefinitionArn", ""), {}))
    ended = task.get("lastStatus") == "STOPPED"
    reported = {container.get("name", ""): container for container in task.get("containers", ())}
    resolved = [moment for key in ("createdAt", "pullStartedAt", "startedAt") if (moment := _seconds(task.get(key)))]
    until = _seconds(task.get("pullStoppedAt")) or _seconds(task.get("startedAt"))
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
    place: Place, service: _Service, definitions: Mapping[str, _Json], pinned_by_tasks: Mapping[str, set[_Pin]]
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
                where=_where(where, f"task definition {_id_of(arn)}", f"container {name}"),
                resolved_from=None if digest_known else _seconds(created),
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
                    where=_where(f"revision {_id_of(revision['serviceRevisionArn'])}", _container(found)),
                    digest=found.get("imageDigest"),
                )


def _definition_uses(place: Place, arn: str, definitions: Mapping[str, _Json]) -> Iterator[Use]:
    for name, image in _images(definitions.get(arn, {})).items():
        yield Use(
            image=image,
            workload=arn,
            source=NAME,
            account=place.account,
            region=place.region,
            where=f"container {name}",
        )


def _pinned_by_tasks(tasks: Iterable[_Json], definitions: Mapping[str, _Json]) -> dict[str, set[_Pin]]:
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


def _pinned(revisions: Iterable[_Json]) -> set[_Pin]:
    """The images of which a revision tells the digest."""
    return {
        (revision.get("taskDefinition", ""), found.get("containerName", ""), found.get("image", ""))
        for revision in revisions
        for found in revision.get("containerImages", ())
        if found.get("imageDigest")
    }


def _images(definition: _Json) -> dict[str, str]:
    """Image by container name, init containers and sidecars included: ECS has one list for all."""
    return {
        container.get("name", ""): container["image"]
        for container in definition.get("containerDefinitions", ())
        if container.get("image")
    }


def _container(found: _Json) -> str:
    return f"container {found.get('containerName', '')}".rstrip()


def _where(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _id_of(arn: str) -> str:
    return arn.rpartition("/")[2]


def _seconds(moment: Any) -> float | None:  # noqa: ANN401 - a datetime, or nothing
    return float(moment.timestamp()) if isinstance(moment, datetime) else None


def _batches(items: Sequence[str], size: int) -> list[list[str]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
