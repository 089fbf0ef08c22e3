"""The emulated ECS: clusters, task definitions, tasks, services with their deployments, task sets and revisions.

A deployment resolves its tags once and starts later tasks by digest, as ECS does. Nothing moves by being
described: tests say when a rollout settles. State and API are one here, because the API is how it is built too.
"""

import itertools
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ecrsweep.emulator.clock import Clock
from ecrsweep.emulator.errors import AwsError, invalid
from ecrsweep.emulator.registry import EcrState

_Json = dict[str, Any]

_STOPPED_STAY: Final = 3600.0
_PAGE: Final = 100
_SERVICES_PAGE: Final = 10
_SERVICES_BATCH: Final = 10
_TASKS_BATCH: Final = 100
_REVISIONS_BATCH: Final = 20


@dataclass
class Place:
    """What one account holds in one region."""

    account: str
    region: str
    clusters: dict[str, _Json] = field(default_factory=dict)
    definitions: dict[str, list[_Json]] = field(default_factory=dict)
    tasks: dict[str, _Json] = field(default_factory=dict)
    services: dict[str, _Json] = field(default_factory=dict)
    deployments: dict[str, list[_Json]] = field(default_factory=dict)
    revisions: dict[str, _Json] = field(default_factory=dict)

    def arn(self, kind: str, *path: str) -> str:
        """A resource name of ECS."""
        partition = "aws-cn" if self.region.startswith("cn-") else "aws"
        return f"arn:{partition}:ecs:{self.region}:{self.account}:{kind}/{'/'.join(path)}"


class EcsState:
    """ECS of all accounts and regions: the API, and the direct way to build with the API's own words."""

    def __init__(self, clock: Clock, ecr: EcrState, account: str, region: str) -> None:
        """`account` and `region` are meant where none is given."""
        self.reports_digests = True
        """Whether new tasks report `imageDigest`; old agents do not."""
        self._clock = clock
        self._ecr = ecr
        self._account, self._region = account, region
        self._ids = itertools.count(1)
        self._lock = threading.RLock()
        self._places: dict[tuple[str, str], Place] = {}
        self._pages: dict[str, list[Any]] = {}

    # The direct way.

    def cluster(self, name: str = "default", **where: str | None) -> str:
        """The ARN of a cluster, made where there is none."""
        return str(self._do("CreateCluster", where, clusterName=name)["cluster"]["clusterArn"])

    def register(self, family: str, images: Mapping[str, str], **where: str | None) -> str:
        """Register a task definition with these images by container; its ARN."""
        containers = [
            {"name": name, "image": image, "memory": 128, "essential": True} for name, image in images.items()
        ]
        answer = self._do("RegisterTaskDefinition", where, family=family, containerDefinitions=containers)
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def service(
        self,
        name: str,
        definition: str,
        *,
        cluster: str = "default",
        count: int = 1,
        controller: str = "ECS",
        **where: str | None,
    ) -> str:
        """Create a service; its ARN. Its first deployment is settled."""  # fmt: skip
        self.cluster(cluster, **where)
        asked: _Json = {
            "cluster": cluster,
            "serviceName": name,
            "desiredCount": count,
            "deploymentController": {"type": controller},
        }
        if controller != "EXTERNAL":
            asked["taskDefinition"] = definition
        arn = str(self._do("CreateService", where, **asked)["service"]["serviceArn"])
        self.settle(arn)
        return arn

    def task_set(self, service: str, definition: str) -> str:
        """Give a service with an external controller a task set; its id."""
        place = self._place_of(service)
        where = {"account": place.account, "region": place.region}
        asked = {"cluster": service.split("/")[1], "service": service, "taskDefinition": definition}
        return str(self._do("CreateTaskSet", where, **asked)["taskSet"]["id"])

    def deploy(self, name: str, definition: str, *, cluster: str = "default", **where: str | None) -> None:
        """Begin a deployment of another task definition; `settle` ends it."""
        self._do("UpdateService", where, cluster=cluster, service=name, taskDefinition=definition)

    def run(self, definition: str, *, cluster: str = "default", count: int = 1, **where: str | None) -> list[str]:
        """Run tasks; their ARNs."""
        self.cluster(cluster, **where)
        answer = self._do("RunTask", where, cluster=cluster, taskDefinition=definition, count=count)
        return [task["taskArn"] for task in answer["tasks"]]

    def settle(self, service: str) -> None:
        """Let the rollout of a service come to its end: one deployment is left, and it has succeeded."""
        place = self._place_of(service)
        found = place.services[service]
        if not found["deployments"]:
            return
        newest = found["deployments"][0]
        for deployment in found["deployments"][1:]:
            self._stop_tasks(place, lambda task, ended=deployment: task.get("startedBy") == ended["id"])  # type: ignore[misc]
        found["deployments"] = [newest | {"status": "PRIMARY", "rolloutState": "COMPLETED"}]
        if place.deployments.get(service):
            place.deployments[service][0] |= {"status": "SUCCESSFUL", "finishedAt": self._clock.seconds}
            target = place.deployments[service][0]["targetServiceRevision"]["arn"]
            found["currentServiceRevisions"] = [{"arn": target, "runningTaskCount": found["desiredCount"]}]

    def forget_revisions(self, service: str) -> None:
        """As for services that were last deployed before ECS kept revisions."""
        place = self._place_of(service)
        place.deployments.pop(service, None)
        place.services[service].pop("currentServiceRevisions", None)

    def task(self, arn: str) -> _Json:
        """The stored task, to be changed at will."""
        return self._place_of(arn).tasks[arn]

    def stored_service(self, arn: str) -> _Json:
        """The stored service, to be changed at will."""
        return self._place_of(arn).services[arn]

    # The API.

    def operation(self, name: str) -> Callable[[str, str, _Json], _Json] | None:
        """The method for an operation of the API; None for one that is not here."""
        found = _OPERATIONS.get(name)
        if found is None:
            return None

        def operate(account: str, region: str, asked: _Json) -> _Json:
            with self._lock:
                place = self._places.setdefault((account, region), Place(account, region))
                copied: _Json = json.loads(
                    json.dumps(found(self, place, asked))
                )  # others may change the state meanwhile
                return copied

        return operate

    def _do(self, name: str, where: Mapping[str, str | None], **asked: Any) -> _Json:
        operate = self.operation(name)
        assert operate is not None
        return operate(where.get("account") or self._account, where.get("region") or self._region, asked)

    def _place_of(self, arn: str) -> Place:
        parts = arn.split(":")
        return self._places[parts[4], parts[3]]

    def _create_cluster(self, place: Place, asked: _Json) -> _Json:
        name = asked.get("clusterName", "default")
        cluster = place.clusters.setdefault(
            name, {"clusterArn": place.arn("cluster", name), "clusterName": name, "status": "ACTIVE"}
        )
        return {"cluster": cluster}

    def _delete_cluster(self, place: Place, asked: _Json) -> _Json:
        cluster = self._cluster(place, asked)
        return {"cluster": place.clusters.pop(cluster["clusterName"]) | {"status": "INACTIVE"}}

    def _list_clusters(self, place: Place, asked: _Json) -> _Json:
        return self._page(asked, "clusterArns", [cluster["clusterArn"] for cluster in place.clusters.values()])

    def _describe_clusters(self, place: Place, asked: _Json) -> _Json:
        names = [name.rpartition("/")[2] for name in asked.get("clusters", ["default"])]
        found = [place.clusters[name] for name in names if name in place.clusters]
        missing = [_missing(place.arn("cluster", name)) for name in names if name not in place.clusters]
        return {"clusters": found, "failures": missing}

    def _cluster(self, place: Place, asked: _Json) -> _Json:
        name = str(asked.get("cluster", "default")).rpartition("/")[2]
        if name not in place.clusters:
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        return place.clusters[name]

    def _register(self, place: Place, asked: _Json) -> _Json:
        if not asked.get("containerDefinitions"):
            raise AwsError("ClientException", "Container list cannot be empty.")
        revisions = place.definitions.setdefault(asked["family"], [])
        revision = len(revisions) + 1
        definition = dict(asked) | {
            "taskDefinitionArn": place.arn("task-definition", f"{asked['family']}:{revision}"),
            "revision": revision,
            "status": "ACTIVE",
            "registeredAt": self._clock.seconds,
        }
        revisions.append(definition)
        return {"taskDefinition": definition}

    def _definition(self, place: Place, name: str) -> _Json:
        family, _, revision = name.rpartition("/")[2].partition(":")
        revisions = place.definitions.get(family, [])
        if revision:
            found = [each for each in revisions if str(each["revision"]) == revision]
        else:
            found = [each for each in revisions if each["status"] == "ACTIVE"][-1:]
        if not found or found[0].get("deleted"):
            raise AwsError("ClientException", "Unable to describe task definition.")
        return found[0]

    def _describe_definition(self, place: Place, asked: _Json) -> _Json:
        return {"taskDefinition": self._definition(place, asked["taskDefinition"])}

    def _deregister(self, place: Place, asked: _Json) -> _Json:
        definition = self._definition(place, asked["taskDefinition"])
        definition["status"] = "INACTIVE"
        return {"taskDefinition": definition}

    def _delete_definitions(self, place: Place, asked: _Json) -> _Json:
        gone = [self._definition(place, name) for name in asked["taskDefinitions"]]
        for definition in gone:
            if definition["status"] == "ACTIVE":
                raise invalid(
                    "The specified task definition is still in ACTIVE status. Please deregister the target and try again."
                )
            definition["deleted"] = True
        return {"taskDefinitions": [{**each, "status": "DELETE_IN_PROGRESS"} for each in gone], "failures": []}

    def _list_definitions(self, place: Place, asked: _Json) -> _Json:
        family, status = asked.get("familyPrefix"), asked.get("status", "ACTIVE")
        found = [
            each
            for name in sorted(place.definitions)
            if family in {None, name}
            for each in place.definitions[name]
            if each["status"] == status and not each.get("deleted")
        ]
        arns = [each["taskDefinitionArn"] for each in found]
        return self._page(asked, "taskDefinitionArns", arns[::-1] if asked.get("sort") == "DESC" else arns)

    def _list_families(self, place: Place, asked: _Json) -> _Json:
        wanted = asked.get("status", "ALL")
        return self._page(
            asked, "families",
            [name for name, all_of in sorted(place.definitions.items()) if wanted == "ALL" or any(each["status"] == wanted for each in all_of)],
        )  # fmt: skip

    def _run_task(self, place: Place, asked: _Json) -> _Json:
        cluster = self._cluster(place, asked)
        definition = self._definition(place, asked["taskDefinition"])
        if definition["status"] != "ACTIVE":
            raise AwsError("ClientException", "TaskDefinition is inactive")
        group = asked.get("group", f"family:{definition['family']}")
        started = asked.get("startedBy", "")
        pins = self._pins(definition)
        tasks = [self._start(place, cluster, definition, group, started, pins) for _ in range(asked.get("count", 1))]
        return {"tasks": tasks, "failures": []}

    def _pins(self, definition: _Json) -> dict[str, str | None]:
        """The digest of each image name, as it resolves now."""
        images = [container["image"] for container in definition["containerDefinitions"]]
        return {image: self._ecr.resolve(image) for image in images}

    def _start(
        self,
        place: Place,
        cluster: _Json,
        definition: _Json,
        group: str,
        started_by: str,
        pins: Mapping[str, str | None],
    ) -> _Json:
        number, now = next(self._ids), self._clock.seconds
        arn = place.arn("task", cluster["clusterName"], f"{number:032x}")
        containers = []
        for number_in_task, container in enumerate(definition["containerDefinitions"]):
            digest = pins.get(container["image"])
            self._ecr.pulled(container["image"] if digest is None else f"{_bare(container['image'])}@{digest}")
            reported = {"imageDigest": digest} if digest and self.reports_digests else {}
            containers.append(
                {
                    "containerArn": f"{arn.replace(':task/', ':container/')}/{number_in_task}", "taskArn": arn,
                    "name": container["name"], "image": container["image"], "lastStatus": "RUNNING",
                    "runtimeId": f"{number:032x}-{number_in_task}", "networkInterfaces": [], "cpu": "0",
                }
                | reported
            )  # fmt: skip
        task = {
            "taskArn": arn, "clusterArn": cluster["clusterArn"], "taskDefinitionArn": definition["taskDefinitionArn"],
            "containers": containers, "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "group": group,
            "startedBy": started_by, "createdAt": now, "pullStartedAt": now, "pullStoppedAt": now, "startedAt": now,
            "launchType": "FARGATE", "overrides": {"containerOverrides": []}, "tags": [], "version": 1,
        }  # fmt: skip
        place.tasks[arn] = task
        return task

    def _stop_task(self, place: Place, asked: _Json) -> _Json:
        cluster = self._cluster(place, asked)
        arn = asked["task"] if ":" in asked["task"] else place.arn("task", cluster["clusterName"], asked["task"])
        if arn not in place.tasks:
            raise invalid("The referenced task was not found.")
        self._stop_tasks(place, lambda task: task["taskArn"] == arn)
        return {"task": place.tasks[arn]}

    def _stop_tasks(self, place: Place, chosen: Callable[[_Json], bool]) -> None:
        for task in place.tasks.values():
            if chosen(task) and task["lastStatus"] != "STOPPED":
                task |= {"lastStatus": "STOPPED", "desiredStatus": "STOPPED", "stoppedAt": self._clock.seconds}

    def _list_tasks(self, place: Place, asked: _Json) -> _Json:
        cluster = self._cluster(place, asked)
        status = asked.get("desiredStatus", "RUNNING")
        group = f"service:{asked['serviceName']}" if "serviceName" in asked else None
        family = asked.get("family")
        self._forget_stopped(place)
        return self._page(
            asked, "taskArns",
            [
                arn
                for arn, task in place.tasks.items()
                if task["clusterArn"] == cluster["clusterArn"]
                and task["desiredStatus"] == status
                and group in {None, task["group"]}
                and (family is None or f"/{family}:" in task["taskDefinitionArn"])
            ],
        )  # fmt: skip

    def _forget_stopped(self, place: Place) -> None:
        until = self._clock.seconds - _STOPPED_STAY
        for arn in [arn for arn, task in place.tasks.items() if task.get("stoppedAt", until + 1) < until]:
            del place.tasks[arn]

    def _describe_tasks(self, place: Place, asked: _Json) -> _Json:
        cluster = self._cluster(place, asked)
        _check_batch(asked.get("tasks", ()), _TASKS_BATCH)
        self._forget_stopped(place)
        arns = [each if ":" in each else place.arn("task", cluster["clusterName"], each) for each in asked["tasks"]]
        found = [place.tasks[arn] for arn in arns if arn in place.tasks]
        return {"tasks": found, "failures": [_missing(arn) for arn in arns if arn not in place.tasks]}

    def _create_service(self, place: Place, asked: _Json) -> _Json:
        cluster = self._cluster(place, asked)
        arn = place.arn("service", cluster["clusterName"], asked["serviceName"])
        if arn in place.services:
            raise invalid("Creation of service was not idempotent.")
        controller = asked.get("deploymentController", {"type": "ECS"})
        service: _Json = {
            "serviceArn": arn, "serviceName": asked["serviceName"], "clusterArn": cluster["clusterArn"], "status": "ACTIVE",
            "desiredCount": asked.get("desiredCount", 1), "runningCount": 0, "pendingCount": 0, "deployments": [],
            "taskSets": [], "deploymentController": controller, "schedulingStrategy": "REPLICA", "events": [],
            "createdAt": self._clock.seconds, "loadBalancers": [], "serviceRegistries": [],
        }  # fmt: skip
        place.services[arn] = service
        if controller["type"] == "ECS":
            self._begin(place, service, self._definition(place, asked["taskDefinition"]))
        elif asked.get("taskDefinition"):
            service["taskDefinition"] = self._definition(place, asked["taskDefinition"])["taskDefinitionArn"]
        return {"service": service}

    def _begin(self, place: Place, service: _Json, definition: _Json) -> None:
        """Begin a deployment: digests are resolved now, and stay for all tasks that it will start."""
        number, now = next(self._ids), self._clock.seconds
        arn = definition["taskDefinitionArn"]
        pins = self._pins(definition)
        for deployment in service["deployments"]:
            deployment["status"] = "ACTIVE"
        service["taskDefinition"] = arn
        deployment = {
            "id": f"ecs-svc/{number:019d}", "status": "PRIMARY", "taskDefinition": arn, "desiredCount": service["desiredCount"],
            "runningCount": service["desiredCount"], "pendingCount": 0, "failedTasks": 0, "createdAt": now, "updatedAt": now,
            "launchType": "FARGATE", "rolloutState": "IN_PROGRESS",
        }  # fmt: skip
        service["deployments"].insert(0, deployment)
        revision = self._revision(place, service, definition, pins)
        sources = [found["arn"] for found in service.get("currentServiceRevisions", ())]
        place.deployments.setdefault(service["serviceArn"], []).insert(
            0,
            {
                "serviceDeploymentArn": place.arn("service-deployment", *_path(service["serviceArn"]), f"{number:020d}"),
                "serviceArn": service["serviceArn"], "clusterArn": service["clusterArn"], "status": "IN_PROGRESS",
                "createdAt": now, "startedAt": now, "updatedAt": now, "targetServiceRevision": {"arn": revision},
                "sourceServiceRevisions": [{"arn": source} for source in sources],
            },
        )  # fmt: skip
        service["currentServiceRevisions"] = [{"arn": each} for each in (revision, *sources)]
        cluster = place.clusters[service["clusterArn"].rpartition("/")[2]]
        for _ in range(service["desiredCount"]):
            self._start(place, cluster, definition, f"service:{service['serviceName']}", deployment["id"], pins)
        service["runningCount"] = service["desiredCount"]

    def _revision(self, place: Place, service: _Json, definition: _Json, pins: Mapping[str, str | None]) -> str:
        arn = place.arn("service-revision", *_path(service["serviceArn"]), f"{next(self._ids):020d}")
        place.revisions[arn] = {
            "serviceRevisionArn": arn, "serviceArn": service["serviceArn"], "clusterArn": service["clusterArn"],
            "taskDefinition": definition["taskDefinitionArn"], "createdAt": self._clock.seconds,
            "containerImages": [
                {"containerName": each["name"], "image": each["image"]}
                | ({"imageDigest": pins[each["image"]]} if pins.get(each["image"]) else {})
                for each in definition["containerDefinitions"]
            ],
        }  # fmt: skip
        return arn

    def _update_service(self, place: Place, asked: _Json) -> _Json:
        service = self._service(place, asked)
        service["desiredCount"] = asked.get("desiredCount", service["desiredCount"])
        forced = asked.get("forceNewDeployment")
        if "taskDefinition" in asked or forced:
            self._begin(
                place,
                service,
                self._definition(place, str(asked.get("taskDefinition") or service.get("taskDefinition"))),
            )
        elif service["deployments"]:
            self._scale(place, service)
        return {"service": service}

    def _scale(self, place: Place, service: _Json) -> None:
        """Start or stop tasks of the primary deployment, by the digests that it resolved."""
        deployment = service["deployments"][0]
        running = [
            task for task in place.tasks.values()
            if task.get("startedBy") == deployment["id"] and task["lastStatus"] == "RUNNING"
        ]  # fmt: skip
        surplus = {task["taskArn"] for task in running[service["desiredCount"] :]}
        self._stop_tasks(place, lambda task: task["taskArn"] in surplus)
        definition = self._definition(place, deployment["taskDefinition"])
        revision = place.revisions.get(service.get("currentServiceRevisions", [{}])[0].get("arn", ""), {})
        pins = {each["image"]: each.get("imageDigest") for each in revision.get("containerImages", ())}
        cluster = place.clusters[service["clusterArn"].rpartition("/")[2]]
        for _ in range(service["desiredCount"] - len(running)):
            self._start(
                place,
                cluster,
                definition,
                f"service:{service['serviceName']}",
                deployment["id"],
                pins or self._pins(definition),
            )
        service["runningCount"] = deployment["runningCount"] = deployment["desiredCount"] = service["desiredCount"]

    def _delete_service(self, place: Place, asked: _Json) -> _Json:
        service = self._service(place, asked)
        if service["desiredCount"] and not asked.get("force"):
            raise invalid("The service cannot be stopped while it is scaled above 0.")
        self._stop_tasks(place, lambda task: task["group"] == f"service:{service['serviceName']}")
        del place.services[service["serviceArn"]]
        return {"service": service | {"status": "DRAINING"}}

    def _service(self, place: Place, asked: _Json) -> _Json:
        arn = self._service_arn(place, asked, asked["service"])
        if arn not in place.services:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        return place.services[arn]

    def _service_arn(self, place: Place, asked: _Json, name: str) -> str:
        return name if ":" in name else place.arn("service", self._cluster(place, asked)["clusterName"], name)

    def _list_services(self, place: Place, asked: _Json) -> _Json:
        cluster = self._cluster(place, asked)
        arns = [arn for arn, each in place.services.items() if each["clusterArn"] == cluster["clusterArn"]]
        return self._page(asked, "serviceArns", arns, usual=_SERVICES_PAGE)

    def _describe_services(self, place: Place, asked: _Json) -> _Json:
        self._cluster(place, asked)
        _check_batch(asked.get("services", ()), _SERVICES_BATCH)
        arns = [self._service_arn(place, asked, name) for name in asked["services"]]
        found = [place.services[arn] for arn in arns if arn in place.services]
        return {"services": found, "failures": [_missing(arn) for arn in arns if arn not in place.services]}

    def _create_task_set(self, place: Place, asked: _Json) -> _Json:
        service = self._service(place, asked)
        if service["deploymentController"]["type"] == "ECS":
            raise invalid("Task sets are for services with an external deployment controller.")
        number = f"ecs-svc/{next(self._ids):019d}"
        definition = self._definition(place, asked["taskDefinition"])
        task_set = {
            "id": number, "serviceArn": service["serviceArn"], "clusterArn": service["clusterArn"], "status": "ACTIVE",
            "taskSetArn": place.arn("task-set", *_path(service["serviceArn"]), number), "createdAt": self._clock.seconds,
            "taskDefinition": definition["taskDefinitionArn"], "scale": asked.get("scale", {"value": 0.0, "unit": "PERCENT"}),
        }  # fmt: skip
        service["taskSets"].append(task_set)
        return {"taskSet": task_set}

    def _describe_task_sets(self, place: Place, asked: _Json) -> _Json:
        wanted = asked.get("taskSets")
        found = self._service(place, asked)["taskSets"]
        return {"taskSets": [each for each in found if wanted is None or each["id"] in wanted], "failures": []}

    def _delete_task_set(self, place: Place, asked: _Json) -> _Json:
        service = self._service(place, asked)
        found = [each for each in service["taskSets"] if asked["taskSet"] in {each["id"], each["taskSetArn"]}]
        if not found:
            raise AwsError("TaskSetNotFoundException", "The specified task set wasn't found.")
        service["taskSets"].remove(found[0])
        return {"taskSet": found[0] | {"status": "DRAINING"}}

    def _list_service_deployments(self, place: Place, asked: _Json) -> _Json:
        service = self._service(place, asked)
        if service["deploymentController"]["type"] != "ECS":
            raise AwsError("UnsupportedFeatureException", "Service deployments are for the ECS deployment controller.")
        status = asked.get("status")
        briefs = [
            {
                name: each[name]
                for name in ("serviceDeploymentArn", "serviceArn", "clusterArn", "status", "createdAt", "startedAt")
            }
            | {"targetServiceRevisionArn": each["targetServiceRevision"]["arn"]}
            for each in place.deployments.get(service["serviceArn"], ())
            if not status or each["status"] in status
        ]
        return self._page(asked, "serviceDeployments", briefs)

    def _describe_service_deployments(self, place: Place, asked: _Json) -> _Json:
        _check_batch(asked.get("serviceDeploymentArns", ()), _REVISIONS_BATCH)
        held = {each["serviceDeploymentArn"]: each for all_of in place.deployments.values() for each in all_of}
        return _found(held, asked["serviceDeploymentArns"], "serviceDeployments")

    def _describe_service_revisions(self, place: Place, asked: _Json) -> _Json:
        _check_batch(asked.get("serviceRevisionArns", ()), _REVISIONS_BATCH)
        return _found(place.revisions, asked["serviceRevisionArns"], "serviceRevisions")

    def _page(self, asked: _Json, key: str, items: Sequence[Any], usual: int = _PAGE) -> _Json:
        size = asked.get("maxResults", usual)
        if not 1 <= size <= _PAGE:
            raise invalid("Max results can't be less than 1 or more than 100.")
        if "nextToken" in asked and asked["nextToken"] not in self._pages:
            raise invalid("Invalid token")
        waiting = self._pages[asked["nextToken"]] if "nextToken" in asked else list(items)
        answer: _Json = {key: waiting[:size]}
        if len(waiting) > size:
            token = f"token-{next(self._ids)}"
            self._pages[token] = waiting[size:]
            answer["nextToken"] = token
        return answer


_OPERATIONS: Final[dict[str, Callable[[EcsState, Place, _Json], _Json]]] = {
    "CreateCluster": EcsState._create_cluster,
    "CreateService": EcsState._create_service,
    "CreateTaskSet": EcsState._create_task_set,
    "DeleteCluster": EcsState._delete_cluster,
    "DeleteService": EcsState._delete_service,
    "DeleteTaskDefinitions": EcsState._delete_definitions,
    "DeleteTaskSet": EcsState._delete_task_set,
    "DeregisterTaskDefinition": EcsState._deregister,
    "DescribeClusters": EcsState._describe_clusters,
    "DescribeServiceDeployments": EcsState._describe_service_deployments,
    "DescribeServiceRevisions": EcsState._describe_service_revisions,
    "DescribeServices": EcsState._describe_services,
    "DescribeTaskDefinition": EcsState._describe_definition,
    "DescribeTaskSets": EcsState._describe_task_sets,
    "DescribeTasks": EcsState._describe_tasks,
    "ListClusters": EcsState._list_clusters,
    "ListServiceDeployments": EcsState._list_service_deployments,
    "ListServices": EcsState._list_services,
    "ListTaskDefinitionFamilies": EcsState._list_families,
    "ListTaskDefinitions": EcsState._list_definitions,
    "ListTasks": EcsState._list_tasks,
    "RegisterTaskDefinition": EcsState._register,
    "RunTask": EcsState._run_task,
    "StopTask": EcsState._stop_task,
    "UpdateService": EcsState._update_service,
}


def _bare(image: str) -> str:
    named = image.partition("@")[0]
    host, slash, rest = named.partition("/")
    return f"{host}{slash}{rest.partition(':')[0]}"


def _path(service_arn: str) -> list[str]:
    return service_arn.split("/")[1:]


def _missing(arn: str) -> _Json:
    return {"arn": arn, "reason": "MISSING"}


def _found(held: Mapping[str, _Json], arns: Iterable[str], key: str) -> _Json:
    wanted = list(arns)
    return {
        key: [held[arn] for arn in wanted if arn in held],
        "failures": [_missing(arn) for arn in wanted if arn not in held],
    }


def _check_batch(items: Sequence[Any], largest: int) -> None:
    if not 1 <= len(items) <= largest:
        raise invalid(f"Between 1 and {largest} can be described at once, not {len(items)}.")
