"""The story of one cluster: every kind that every cluster has, then every custom kind that it serves.

Deployments keep their old ReplicaSets, StatefulSets and DaemonSets their ControllerRevisions, for a rollback: those
count. What nodes hold in their caches does not. https://kubernetes.io/docs/reference/using-api/api-concepts/#api-discovery
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

import msgspec

from ecrsweep.core.errors import (
    AwsFailure,
    BadInput,
    CredentialsFailure,
    Denied,
    Malformed,
    Missing,
    Throttled,
    Unreachable,
)
from ecrsweep.core.uses import Note, Use
from ecrsweep.sources.clusters.api import ClusterApi, Page
from ecrsweep.sources.clusters.custom import Doubt, images_in, is_interesting
from ecrsweep.sources.clusters.kinds import Found, Meta, Pod, Revision, Workload

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""`ports.Place.each`."""

Answer = tuple[list[Use | Note], AwsFailure | None]

_Failed = tuple[str, AwsFailure]
"""What could not be listed, and why."""

T = TypeVar("T")

READ: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "": (("pods", "Pod"), ("podtemplates", "PodTemplate"), ("replicationcontrollers", "ReplicationController")),
    "apps": (
        ("controllerrevisions", "ControllerRevision"),
        ("daemonsets", "DaemonSet"),
        ("deployments", "Deployment"),
        ("replicasets", "ReplicaSet"),
        ("statefulsets", "StatefulSet"),
    ),
    "batch": (("cronjobs", "CronJob"), ("jobs", "Job")),
}
"""The kinds that are read in every cluster, by API group: resource and kind. docs/kubernetes.md grants exactly these."""

BUILT_IN: Final = frozenset(
    {
        "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "authentication.k8s.io",
        "authorization.k8s.io", "autoscaling", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io",
        "events.k8s.io", "extensions", "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io",
        "node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
        "storagemigration.k8s.io",
        "metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io", "metrics.eks.amazonaws.com",
    }
)  # fmt: skip
"""API groups of Kubernetes itself, and of its measurements, in which no kind holds a pod template."""

IMAGELESS: Final = frozenset(
    {
        "eniconfigs.crd.k8s.amazonaws.com",
        "cninodes.vpcresources.k8s.aws", "securitygrouppolicies.vpcresources.k8s.aws",
        "applicationnetworkpolicies.networking.k8s.aws", "clusternetworkpolicies.networking.k8s.aws",
        "clusterpolicyendpoints.networking.k8s.aws", "policyendpoints.networking.k8s.aws",
        "cninodes.eks.amazonaws.com", "ingressclassparams.eks.amazonaws.com", "nodeclasses.eks.amazonaws.com",
        "nodediagnostics.eks.amazonaws.com", "targetgroupbindings.eks.amazonaws.com",
        "nodeclaims.karpenter.sh", "nodepools.karpenter.sh",
    }
)  # fmt: skip
"""The custom kinds that EKS puts into every cluster or with Auto Mode: networks and nodes, which name no image."""

_AGGREGATED: Final = ",".join(
    [*(f"application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList" for v in ("v2", "v2beta1")),
     "application/json"]
)  # fmt: skip
_OPTIONAL: Final = "podtemplates"
"""The one kind of every cluster that may be left out: no controller of Kubernetes itself starts anything from it."""

_NAMED_AT_ONCE: Final = 8
_LONGEST_TEXT: Final = 120
_SENTENCES_AT_ONCE: Final = 3


class Wishes(msgspec.Struct, frozen=True):
    """What a user can say about reading clusters, the same for every source of clusters."""

    ignore: tuple[str, ...] = ()
    """Custom kinds not to ask, as globs over `resource.group`."""
    paths: tuple[str, ...] = ()
    """Further paths to image names in custom resources."""

    @classmethod
    def of(cls, options: Mapping[str, str]) -> "Wishes":
        """The wishes in `--source-option NAME.ignore=...` and `NAME.paths=...`. Raises `BadInput`."""
        wishes = cls(words(options.get("ignore", "")), words(options.get("paths", "")))
        for pattern in wishes.ignore:
            if pattern != _OPTIONAL and "." not in pattern:
                raise BadInput(
                    f'ignore: "{pattern}" names no custom kind: accepted are {_OPTIONAL} and RESOURCE.GROUP, '
                    "such as policyreports.wgpolicyk8s.io or *.cilium.io"
                )
        return wishes

    def leaves_out(self, resource: str, is_custom: bool = True) -> bool:  # noqa: FBT001, FBT002 - read as a sentence
        """Whether a kind, as `resource.group`, is not to be asked. What every cluster runs is always asked."""
        if not is_custom:
            return resource == _OPTIONAL and _OPTIONAL in self.ignore
        return any(fnmatchcase(resource, pattern) for pattern in self.ignore)


class Cluster(msgspec.Struct, frozen=True):
    """One cluster for its source: who it is in sentences and uses, and what to do where it cannot be read."""

    name: str
    """In a sentence: `cluster prod (arn:...)`."""
    prefix: str
    """What the names of its workloads begin with: `eks:arn:...`."""
    source: str
    account: str
    region: str
    unknown: str
    """What to do where it does not know who asks."""
    forbidden: str
    """What to do where something may not be listed."""
    unreachable: str = ""
    """What to do where it cannot be reached."""


class _Kind(msgspec.Struct, frozen=True):
    """A kind to list: `resource` as RBAC and people write it, `pods` or `deployments.apps`."""

    resource: str
    kind: str
    path: str
    discovered_at: str = ""
    """For a custom kind: where its group says whether it is served."""

    @property
    def is_custom(self) -> bool:
        return bool(self.discovered_at)


class _Version(msgspec.Struct, frozen=True):
    """What one version of an API group serves; `failure` where that cannot be known."""

    group: str
    version: str
    resources: tuple[tuple[str, str], ...] = ()
    failure: AwsFailure | None = None

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}"


def read_cluster(cluster: Cluster, api: ClusterApi, wishes: Wishes, each: Each) -> Answer:
    """All that a cluster uses and what cannot be known of it, with the failure where something could not be read."""
    reading = _Reading(cluster, api, wishes)
    kinds = reading.kinds()
    if not reading.is_hopeless:
        for told, failure in each(reading.listed, kinds):
            reading.told += told
            reading.failures += [] if failure is None else [failure]
    return list(dict.fromkeys(reading.told)), reading.failure()


class _Reading:
    """The reads of one cluster. Failures are kept and told at the end, so that the rest is still read."""

    def __init__(self, cluster: Cluster, api: ClusterApi, wishes: Wishes) -> None:
        self._cluster, self._api, self._wishes = cluster, api, wishes
        self.failures: list[_Failed] = []
        self.told: list[Use | Note] = []

    @property
    def is_hopeless(self) -> bool:
        """Whether the first call showed that no other will be answered."""
        return self._api.is_lost or any(isinstance(failure, CredentialsFailure) for _, failure in self.failures)

    def failure(self) -> AwsFailure | None:
        """All that could not be read, as one failure with what to do about it."""
        denied = [what for what, failure in self.failures if isinstance(failure, Denied)]
        rest = [failure for _, failure in self.failures if not isinstance(failure, Denied)]
        sentences = []
        if denied:
            who = f"{self._cluster.name} does not let this identity list {_listed(denied)}"
            sentences.append(f"{who}. {self._cluster.forbidden}")
        others = list(dict.fromkeys(self._advised(failure) for failure in rest))
        sentences += others[:_SENTENCES_AT_ONCE]
        if len(others) > _SENTENCES_AT_ONCE:
            sentences.append(f"and {len(others) - _SENTENCES_AT_ONCE} more failures of {self._cluster.name}")
        return one_failure([failure for _, failure in self.failures], sentences)

    def kinds(self) -> list[_Kind]:
        """Every kind to list: those of every cluster, and the custom ones that this one serves."""
        found = [*_kinds_of_every_cluster(), *self._discovered()]
        left_out = sorted(kind.resource for kind in found if self._wishes.leaves_out(kind.resource, kind.is_custom))
        if left_out:
            self.told.append(Note(f"not asked, by the option ignore: {', '.join(left_out)}", self._cluster.prefix))
        return [kind for kind in found if kind.resource not in left_out]

    def _discovered(self) -> Iterator[_Kind]:
        """Every custom kind that can be listed, but those that cannot hold an image."""
        try:
            versions = self._versions()
        except AwsFailure as failure:
            self.failures.append(("the API groups (/apis)", failure))
            return
        seen = IMAGELESS | {f"{resource}.{group}" for group, some in READ.items() for resource, _ in some}
        for version in versions:
            if version.failure is not None and not self._wishes.leaves_out(f"*.{version.group}"):
                self.failures.append((f"the kinds of {version.group}/{version.version}", version.failure))
            for resource, kind in version.resources:
                name = f"{resource}.{version.group}"
                if name not in seen:
                    seen |= {name}
                    yield _Kind(name, kind, f"{version.path}/{resource}", version.path)

    def listed(self, kind: _Kind) -> tuple[list[Use | Note], _Failed | None]:
        """What all objects of a kind say, and the failure if there was one; what was found before it counts."""
        uses: dict[Use, None] = {}
        doubts: dict[str, list[tuple[str, Doubt]]] = {}
        failed = None
        try:
            for workload, found in self._found(kind):
                if isinstance(found, Doubt):
                    doubts.setdefault(found.why, []).append((workload, found))
                else:
                    uses[self._use(workload, found)] = None
        except AwsFailure as failure:
            if not self._is_gone(kind, failure):
                failed = (kind.resource, failure)
        return [*uses, *(self._note(kind, why, some) for why, some in doubts.items())], failed

    def _found(self, kind: _Kind) -> Iterator[tuple[str, Found | Doubt]]:
        match kind.resource:
            case "pods":
                for pod in self._api.listed(kind.path, Page[Pod]):
                    yield from ((pod.metadata.workload(kind.kind), found) for found in pod.found())
            case "controllerrevisions.apps":
                for revision in self._api.listed(kind.path, Page[Revision]):
                    yield from self._found_in_revision(kind, revision)
            case _ if kind.is_custom:
                for raw in self._api.listed(kind.path, Page[msgspec.Raw]):
                    yield from self._found_in_custom(kind, raw)
            case _:
                is_job = kind.kind == "Job"
                for made in self._api.listed(kind.path, Page[Workload]):
                    yield from ((made.metadata.workload(kind.kind), found) for found in made.found(is_job=is_job))

    def _found_in_revision(self, kind: _Kind, revision: Revision) -> Iterator[tuple[str, Found | Doubt]]:
        """A revision pulls nothing, unless somebody rolls back to it."""
        workload = revision.metadata.workload(kind.kind)
        for found in images_in(self._decoded(kind, revision.data), prefix=f"{revision.prefix}, "):
            yield workload, found if isinstance(found, Doubt) else msgspec.structs.replace(found, ended=True)

    def _found_in_custom(self, kind: _Kind, raw: msgspec.Raw) -> Iterator[tuple[str, Found | Doubt]]:
        if not self._wishes.paths and not is_interesting(raw):
            return
        thing = self._decoded(kind, raw)
        meta = thing.get("metadata") if isinstance(thing, dict) else None
        if not isinstance(meta, dict):
            raise Malformed(f"{self._cluster.name}: one of the {kind.resource} is no object of Kubernetes")
        workload = Meta(str(meta.get("name", "")), str(meta.get("namespace", ""))).workload(kind.kind)
        yield from ((workload, found) for found in images_in(thing, paths=self._wishes.paths))

    def _decoded(self, kind: _Kind, raw: msgspec.Raw) -> Any:  # noqa: ANN401 - JSON
        try:
            return msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"{self._cluster.name}: one of the {kind.resource} cannot be read: {error}") from error

    def _is_gone(self, kind: _Kind, failure: AwsFailure) -> bool:
        """Whether a custom kind is not served any more: then its objects went with it. Its group is asked; 404 alone is no proof."""
        if not isinstance(failure, Missing) or not kind.is_custom:
            return False
        try:
            served = _resources(self._api.read(kind.discovered_at), kind.discovered_at)
        except Missing:
            return True
        except AwsFailure:
            return False
        return kind.path.rpartition("/")[2] not in dict(served)

    def _versions(self) -> list[_Version]:
        """Every version of every API group that may hold pod templates, the preferred one of a group first."""
        body = self._api.read("/apis", _AGGREGATED)
        groups = _decoded_as(body, _Groups, "/apis")
        if groups.kind == "APIGroupDiscoveryList":
            found = _decoded_as(body, _Aggregated, "/apis")
            wanted = [group for group in found.items if _is_asked(group.metadata.name)]
            return [_version(group, version) for group in wanted for version in group.versions or ()]
        if groups.groups is None:
            raise Malformed("GET /apis named neither groups nor kinds")
        named = [group for group in groups.groups if _is_asked(group.name)]
        return [self._version(group.name, version) for group in named for version in group.in_order()]

    def _version(self, group: str, version: str) -> _Version:
        path = f"/apis/{group}/{version}"
        try:
            return _Version(group, version, _resources(self._api.read(path), path))
        except AwsFailure as failure:
            return _Version(group, version, failure=failure)

    def _use(self, workload: str, found: Found) -> Use:
        return Use(
            image=found.image,
            workload=f"{self._cluster.prefix} {workload}",
            source=self._cluster.source,
            account=self._cluster.account,
            region=self._cluster.region,
            where=found.where,
            digest=found.digest,
            resolved_from=found.resolved_from,
            resolved_until=found.resolved_until,
            ended=found.ended,
        )

    def _note(self, kind: _Kind, why: str, doubts: Sequence[tuple[str, Doubt]]) -> Note:
        (workload, first), objects = doubts[0], len({workload for workload, _ in doubts})
        others = f" and {objects - 1} more" if objects > 1 else ""
        text = f"{why}, so what it means is not known: {first.where} {_brief(first.text)}{others} ({kind.resource})"
        return Note(text, f"{self._cluster.prefix} {workload}")

    def _advised(self, failure: AwsFailure) -> str:
        match failure:
            case CredentialsFailure():
                return f"{failure}. {self._cluster.unknown}"
            case Unreachable() if self._api.is_lost and self._cluster.unreachable:
                return f"{failure}. {self._cluster.unreachable}"
            case _:
                return str(failure)


def one_failure(failures: Sequence[AwsFailure], sentences: Sequence[str]) -> AwsFailure | None:
    """One failure that says it all; of the kind of those that it stands for, where they are of one kind.

    Never `ClosedByOrganization`: that would say that nobody can use anything here.
    """
    if not failures:
        return None
    text = "; ".join(sentences)
    actions = {failure.action for failure in failures}
    action = actions.pop() if len(actions) == 1 else None
    for kind in (Denied, CredentialsFailure, Unreachable, Throttled, Malformed):
        if all(isinstance(failure, kind) for failure in failures):
            return kind(text, action=action)
    return AwsFailure(text, action=action)


def words(text: str) -> tuple[str, ...]:
    """The parts of an option between commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


class _Named(msgspec.Struct):
    name: str = ""


class _GroupVersion(msgspec.Struct):
    version: str


class _Group(msgspec.Struct, rename="camel"):
    name: str
    versions: list[_GroupVersion]
    preferred_version: _GroupVersion | None = None

    def in_order(self) -> list[str]:
        preferred = [self.preferred_version.version] if self.preferred_version else []
        return list(dict.fromkeys([*preferred, *(each.version for each in self.versions)]))


class _Groups(msgspec.Struct):
    """What `/apis` answers of old. One of both kinds it must be: silence is not "no custom kinds"."""

    kind: str
    groups: list[_Group] | None = None


class _Resource(msgspec.Struct, rename="camel"):
    name: str
    kind: str
    verbs: list[str]


class _Resources(msgspec.Struct):
    resources: list[_Resource] | None


class _ResponseKind(msgspec.Struct):
    kind: str = ""


class _AggregatedResource(msgspec.Struct, rename="camel"):
    resource: str
    verbs: list[str] | None = None
    response_kind: _ResponseKind | None = None


class _AggregatedVersion(msgspec.Struct):
    version: str
    resources: list[_AggregatedResource] | None = None
    freshness: str = ""


class _AggregatedGroup(msgspec.Struct):
    metadata: _Named
    versions: list[_AggregatedVersion] | None = None


class _Aggregated(msgspec.Struct):
    items: list[_AggregatedGroup]


def _decoded_as(body: bytes, shape: type[T], path: str) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed(f"GET {path} was not answered as Kubernetes documents it: {error}") from error


def _version(group: _AggregatedGroup, version: _AggregatedVersion) -> _Version:
    name = group.metadata.name
    resources = tuple(
        (each.resource, each.response_kind.kind if each.response_kind else each.resource)
        for each in version.resources or ()
        if "list" in (each.verbs or ())
    )
    failure = None
    if version.freshness == "Stale":
        failure = Unreachable(
            f"what {name}/{version.version} serves is not known: the server behind it does not answer"
        )
    return _Version(name, version.version, resources, failure)


def _resources(body: bytes, path: str) -> tuple[tuple[str, str], ...]:
    """Resource and kind of all that can be listed; what has a slash in its name is a part of another."""
    found = _decoded_as(body, _Resources, path).resources or ()
    return tuple((each.name, each.kind) for each in found if "list" in each.verbs and "/" not in each.name)


def _is_asked(group: str) -> bool:
    return bool(group) and group not in BUILT_IN


def _kinds_of_every_cluster() -> Iterator[_Kind]:
    for group, some in READ.items():
        for resource, kind in some:
            name, path = (f"{resource}.{group}", f"/apis/{group}/v1") if group else (resource, "/api/v1")
            yield _Kind(name, kind, f"{path}/{resource}")


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "..."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_ONCE
    return ", ".join(names[:_NAMED_AT_ONCE]) + (f" and {more} more" if more > 0 else "")
