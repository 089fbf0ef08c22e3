"""Where image names stand in the kinds that every cluster has, and what a pod's status proves about them.

Only the members that are needed are decoded. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from ecrsweep.core.names import AliasReference, EcrReference, parse_reference

_REPORTED_DIGEST: Final = re.compile(r"@(sha256:[0-9a-f]{64})$")
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_FINISHED: Final = frozenset({"Complete", "Failed"})


class Found(msgspec.Struct, frozen=True, gc=False):
    """An image name in an object, with what `core.uses.Use` wants to know of it."""

    image: str
    where: str
    digest: str | None = None
    resolved_from: float | None = None
    resolved_until: float | None = None
    ended: bool = False


class _Read(msgspec.Struct, rename="camel", gc=False):
    """What is decoded of an object: absent and null are the same to Kubernetes."""


class Owner(_Read):
    """What made an object."""

    kind: str = ""
    name: str = ""


class Annotations(_Read):
    """The one annotation that is of use: which revision of its Deployment a ReplicaSet is."""

    revision: str | None = msgspec.field(name="deployment.kubernetes.io/revision", default=None)


class Meta(_Read):
    """Which object it is."""

    name: str = ""
    namespace: str = ""
    creation_timestamp: datetime | None = None
    owner_references: list[Owner] | None = None
    annotations: Annotations | None = None

    def workload(self, kind: str) -> str:
        """`namespace/Kind/name`; `Kind/name` where it belongs to no namespace."""
        return f"{self.namespace}/{kind}/{self.name}".lstrip("/")


class _Container(_Read):
    name: str = ""
    image: str | None = None


class _ImageSource(_Read):
    reference: str | None = None


class _Volume(_Read):
    name: str = ""
    image: _ImageSource | None = None


class PodSpec(_Read):
    """What a pod is to run."""

    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    ephemeral_containers: list[_Container] | None = None
    volumes: list[_Volume] | None = None

    def containers_of_all_kinds(self) -> Iterator[tuple[str, _Container]]:
        """Every container, and what to call it."""
        for word, some in (
            ("container", self.containers),
            ("init container", self.init_containers),
            ("ephemeral container", self.ephemeral_containers),
        ):
            yield from ((f"{word} {container.name}", container) for container in some or ())

    def image_volumes(self) -> Iterator[tuple[str, str, str]]:
        """Every image that is mounted: where, the volume's name, the image's."""
        for volume in self.volumes or ():
            if volume.image is not None and volume.image.reference:
                yield f"volume {volume.name}", volume.name, volume.image.reference


class _Moments(_Read):
    started_at: datetime | None = None


class _State(_Read):
    running: _Moments | None = None
    terminated: _Moments | None = None


class _MountedImage(_Read):
    image_ref: str = ""


class _VolumeStatus(_Read):
    image: _MountedImage | None = None


class _Mount(_Read):
    name: str = ""
    volume_status: _VolumeStatus | None = None


class _ContainerStatus(_Read):
    name: str = ""
    image: str = ""
    image_id: str = msgspec.field(name="imageID", default="")
    state: _State | None = None
    volume_mounts: list[_Mount] | None = None

    @property
    def started_at(self) -> datetime | None:
        """When the container that runs, or ran last, was started."""
        moments = self.state and (self.state.running or self.state.terminated)
        return moments.started_at if moments else None


class _PodStatus(_Read):
    phase: str = ""
    start_time: datetime | None = None
    container_statuses: list[_ContainerStatus] | None = None
    init_container_statuses: list[_ContainerStatus] | None = None
    ephemeral_container_statuses: list[_ContainerStatus] | None = None

    def of_all_containers(self) -> Iterator[_ContainerStatus]:
        """What the node reports of every container."""
        for some in (self.container_statuses, self.init_container_statuses, self.ephemeral_container_statuses):
            yield from some or ()


class Pod(_Read):
    """A pod: what it is to run, and what its node reports."""

    metadata: Meta
    spec: PodSpec | None = None
    status: _PodStatus | None = None

    def found(self) -> Iterator[Found]:
        """Every image, with the digest that its node reports, under the name that the specification gives."""
        status = self.status or _PodStatus()
        reported = {each.name: each for each in status.of_all_containers()}
        for where, container in (self.spec or PodSpec()).containers_of_all_kinds():
            yield from self._of_container(where, container.image or "", reported.pop(container.name, None))
        for name, each in reported.items():
            yield from self._of_container(f"container {name}", "", each)
        mounted = dict(_mounted_images(status))
        for where, name, image in (self.spec or PodSpec()).image_volumes():
            yield self._one(image, where, digest_of(mounted.get(name, "")), None)

    def _of_container(self, where: str, specified: str, status: _ContainerStatus | None) -> Iterator[Found]:
        if status is None:
            if specified:
                yield self._one(specified, where, None, None)
            return
        digest = digest_of(status.image_id) or digest_of(status.image)
        names = [specified] if specified else [status.image]
        names += (name for name in (status.image_id, status.image) if _is_elsewhere(name, names[0], digest))
        for name in dict.fromkeys(filter(None, names)):
            yield self._one(name, where, digest, status.started_at)

    def _one(self, image: str, where: str, digest: str | None, started_at: datetime | None) -> Found:
        """Without a digest, the tag was resolved after the pod was made and before its container was started.

        A pod that no node has taken up yet has resolved nothing.
        """
        status = self.status or _PodStatus()
        ended = status.phase in _ENDED
        if digest or status.start_time is None:
            return Found(image, where, digest, ended=ended)
        made = self.metadata.creation_timestamp or status.start_time
        return Found(image, where, None, made.timestamp(), started_at.timestamp() if started_at else None, ended)


class _Template(_Read):
    spec: PodSpec | None = None


class _JobSpec(_Read):
    template: _Template | None = None


class _JobTemplate(_Read):
    spec: _JobSpec | None = None


class _WorkloadSpec(_Read):
    replicas: int | None = None
    template: _Template | None = None
    job_template: _JobTemplate | None = None


class _Condition(_Read):
    type: str = ""
    status: str = ""


class _WorkloadStatus(_Read):
    conditions: list[_Condition] | None = None


class Workload(_Read):
    """Whatever makes pods of a template: all of them alike, but for where the template stands."""

    metadata: Meta
    spec: _WorkloadSpec | None = None
    template: _Template | None = None
    """Where a PodTemplate has it."""
    status: _WorkloadStatus | None = None

    def found(self, *, is_job: bool = False) -> Iterator[Found]:
        """Every image of its template, at whatever number of replicas, suspended or not."""
        owner = self._rollback_of()
        prefix = f"revision {owner[1]} of {owner[0]}, " if owner else ""
        ended = owner is not None or (is_job and self._is_finished())
        for template in self._templates():
            spec = template.spec or PodSpec()
            for where, container in spec.containers_of_all_kinds():
                if container.image:
                    yield Found(container.image, prefix + where, ended=ended)
            for where, _, image in spec.image_volumes():
                yield Found(image, prefix + where, ended=ended)

    def _templates(self) -> Iterator[_Template]:
        spec = self.spec or _WorkloadSpec()
        job = spec.job_template.spec if spec.job_template else None
        yield from filter(None, (spec.template, job.template if job else None, self.template))

    def _rollback_of(self) -> tuple[str, str] | None:
        """Owner and revision of a ReplicaSet that is kept at zero for a rollback: it pulls nothing unless that comes."""
        revision = self.metadata.annotations and self.metadata.annotations.revision
        owners = self.metadata.owner_references or ()
        if not owners or not revision or self.spec is None or self.spec.replicas != 0:
            return None
        return f"{owners[0].kind} {owners[0].name}", revision

    def _is_finished(self) -> bool:
        conditions = (self.status and self.status.conditions) or ()
        return any(condition.type in _FINISHED and condition.status == "True" for condition in conditions)


class Revision(_Read):
    """A ControllerRevision: what a StatefulSet or DaemonSet was, for a rollback. Its content is its owner's business."""

    metadata: Meta
    data: msgspec.Raw = msgspec.Raw(b"null")
    revision: int = 0

    @property
    def prefix(self) -> str:
        """Which revision of what it is."""
        owners = self.metadata.owner_references or ()
        return f"revision {self.revision}" + (f" of {owners[0].kind} {owners[0].name}" if owners else "")


def digest_of(reported: str) -> str | None:
    """The digest in what a node reports, such as `docker-pullable://host/app@sha256:...`.

    A bare `sha256:...` or plain hexadecimal digits are a configuration's digest, which no registry knows an image by.
    https://github.com/kubernetes/kubernetes/issues/115199
    """
    found = _REPORTED_DIGEST.search(reported)
    return found[1] if found else None


def repository_of(name: str) -> str:
    """An image name without tag, digest and scheme."""
    bare = name.rpartition("://")[2].partition("@")[0]
    head, slash, last = bare.rpartition("/")
    return head + slash + last.partition(":")[0]


def _is_elsewhere(reported: str, specified: str, digest: str | None) -> bool:
    """Whether a node reports a name of another repository, or of another tag where it tells no digest."""
    if repository_of(reported) == repository_of(specified) and (digest or reported == specified):
        return False
    return isinstance(parse_reference(reported), EcrReference | AliasReference)


def _mounted_images(status: _PodStatus) -> Iterator[tuple[str, str]]:
    for each in status.of_all_containers():
        for mount in each.volume_mounts or ():
            if mount.volume_status is not None and mount.volume_status.image is not None:
                yield mount.name, mount.volume_status.image.image_ref
