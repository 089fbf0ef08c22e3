"""What is read of any cluster: every place in every kind in which an image stands, and what cannot be read is a gap."""

import re
from typing import Any

import pytest
import yaml

from ecrsweep.core.errors import AwsFailure, CredentialsFailure, Denied, Malformed, Unreachable
from ecrsweep.emulator.kubernetes import KubernetesApi, Trouble
from ecrsweep.sources.clusters.reading import IMAGELESS, READ
from tests.sources.conftest import HOST, Read
from tests.support import ROOT

APP = f"{HOST}/team/app"
DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
WORKLOADS = [f"{resource}.{group}".rstrip(".") for group, some in READ.items() for resource, _ in some]


def pod(containers: dict[str, str], statuses: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A pod that began on the first of June 2026, with these images and statuses."""
    spec = {"containers": [{"name": name, "image": image} for name, image in containers.items()]}
    return {
        "metadata": {"name": "web-1", "namespace": "shop", "creationTimestamp": "2026-06-01T00:00:00Z"},
        "spec": spec | more.pop("spec", {}),
        "status": {"phase": "Running", "startTime": "2026-06-01T00:00:05Z", "containerStatuses": statuses, **more},
    }


def status(name: str, image_id: str, image: str = "") -> dict[str, Any]:
    started = {"running": {"startedAt": "2026-06-01T00:01:00Z"}}
    return {"name": name, "image": image, "imageID": image_id, "state": started}


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_kind_of_workload_counts(cluster: KubernetesApi, read: Read, name: str) -> None:
    cluster.workload(name, "web", f"{APP}:v1", namespace="shop")
    kind = next(kind for some in READ.values() for resource, kind in some if resource == name.partition(".")[0])
    told = read()
    assert told.failure is None
    (use,) = told.uses
    assert (use.image, use.workload) == (f"{APP}:v1", f"eks:arn shop/{kind}/web")
    assert use.where.endswith("container app")
    assert (use.source, use.account, use.region) == ("eks", "1", "us-east-1")


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("deployments.apps", {"replicas": 0}),
        ("deployments.apps", {"paused": True}),
        ("statefulsets.apps", {"replicas": 0}),
        ("cronjobs.batch", {"suspend": True}),
        ("jobs.batch", {"suspend": True}),
    ],
)
def test_what_is_at_zero_or_suspended_counts(
    cluster: KubernetesApi, read: Read, name: str, members: dict[str, Any]
) -> None:
    cluster.workload(name, "web", f"{APP}:v1", **members)
    assert not read().of(f"{APP}:v1").ended


def test_the_revisions_that_a_deployment_may_roll_back_to_count(cluster: KubernetesApi, read: Read) -> None:
    old = cluster.workload("replicasets.apps", "web-1", f"{APP}:v1", replicas=0)
    now = cluster.workload("replicasets.apps", "web-2", f"{APP}:v2", replicas=3)
    for revision, each in enumerate((old, now), start=1):
        cluster._objects["replicasets.apps"][revision - 1]["metadata"] = each["metadata"] | {
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True}],
            "annotations": {"deployment.kubernetes.io/revision": str(revision), "other": "x"},
        }
    told = read()
    assert told.places == {
        f"{APP}:v1": "default/ReplicaSet/web-1: revision 1 of Deployment web, container app",
        f"{APP}:v2": "default/ReplicaSet/web-2: container app",
    }
    assert told.of(f"{APP}:v1").ended, "nothing pulls it unless somebody rolls back"
    assert not told.of(f"{APP}:v2").ended


def test_the_revisions_of_stateful_and_daemon_sets_count(cluster: KubernetesApi, read: Read) -> None:
    revision = cluster.workload("controllerrevisions.apps", "db-5d", f"{APP}:v1")
    revision["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "name": "db"}]
    assert read().places == {
        f"{APP}:v1": "default/ControllerRevision/db-5d: revision 1 of StatefulSet db, container app"
    }


@pytest.mark.parametrize("data", [None, "text", {"raw": [1, 2]}, {"spec": {"template": None}}])
def test_a_revision_of_an_unknown_owner_is_read_as_far_as_it_goes(
    cluster: KubernetesApi, read: Read, data: Any
) -> None:
    cluster.add("controllerrevisions.apps", {"metadata": {"name": "x", "namespace": "y"}, "data": data, "revision": 3})
    told = read()
    assert (told.uses, told.failure) == ([], None)


def test_every_container_of_a_pod_and_every_image_volume_counts(cluster: KubernetesApi, read: Read) -> None:
    images = {
        "initContainers": [{"name": "setup", "image": f"{APP}:init"}],
        "ephemeralContainers": [{"name": "debug", "image": f"{APP}:debug"}],
        "volumes": [{"name": "model", "image": {"reference": f"{APP}:model"}}, {"name": "tmp", "emptyDir": {}}],
    }
    mounted = status("web", f"{APP}@{DIGEST}") | {
        "volumeMounts": [
            {"name": "model", "volumeStatus": {"image": {"imageRef": f"{APP}@{OTHER}"}}},
            {"name": "tmp", "mountPath": "/scratch"},
        ]
    }
    made = pod({"web": f"{APP}:v1"}, [mounted], spec=images)
    made["status"]["initContainerStatuses"] = [status("setup", f"{APP}@{OTHER}")]
    made["status"]["ephemeralContainerStatuses"] = [status("debug", f"{APP}@{OTHER}")]
    cluster.add("pods", made)
    told = read()
    assert [(use.image, use.where, use.digest) for use in told.uses] == [
        (f"{APP}:v1", "container web", DIGEST),
        (f"{APP}:init", "init container setup", OTHER),
        (f"{APP}:debug", "ephemeral container debug", OTHER),
        (f"{APP}:model", "volume model", OTHER),
    ]


@pytest.mark.parametrize(
    ("image_id", "image", "digest"),
    [
        (f"{APP}@{DIGEST}", "", DIGEST),
        (f"docker-pullable://{APP}@{DIGEST}", "", DIGEST),
        (f"docker.io/library/app@{DIGEST}", "", DIGEST),
        ("a" * 64, f"{APP}@{DIGEST}", DIGEST),
        (DIGEST, f"{APP}:v1", None),
        (f"docker://{DIGEST}", f"{APP}:v1", None),
        ("a" * 64, f"{APP}:v1", None),
        ("", "", None),
    ],
)
def test_the_digest_that_a_node_reports_counts_in_the_repository_that_is_specified(
    cluster: KubernetesApi, read: Read, image_id: str, image: str, digest: str | None
) -> None:
    cluster.add("pods", pod({"web": f"{APP}:v1"}, [status("web", image_id, image)]))
    (use,) = read().uses
    assert (use.image, use.digest) == (f"{APP}:v1", digest)
    assert (use.resolved_from is None) == (digest is not None)


def test_without_a_digest_the_tag_was_resolved_between_the_making_of_the_pod_and_the_start_of_its_container(
    cluster: KubernetesApi, read: Read
) -> None:
    cluster.add("pods", pod({"web": f"{APP}:v1", "slow": f"{APP}:v2"}, [status("web", DIGEST)]))
    told = read()
    made = 1780272000.0
    assert (told.of(f"{APP}:v1").resolved_from, told.of(f"{APP}:v1").resolved_until) == (made, made + 60)
    assert (told.of(f"{APP}:v2").resolved_from, told.of(f"{APP}:v2").resolved_until) == (made, None)


def test_a_pod_that_no_node_has_taken_up_has_resolved_nothing(cluster: KubernetesApi, read: Read) -> None:
    waiting = pod({"web": f"{APP}:v1"}, [])
    waiting["status"] = {"phase": "Pending"}
    cluster.add("pods", waiting)
    assert read().of(f"{APP}:v1").resolved_from is None


def test_a_name_of_another_private_repository_that_a_node_reports_counts_too(
    cluster: KubernetesApi, read: Read
) -> None:
    cluster.add("pods", pod({"web": f"{APP}:v1"}, [status("web", f"{HOST}/mirror/app@{DIGEST}")]))
    assert [(use.image, use.digest) for use in read().uses] == [
        (f"{APP}:v1", DIGEST), (f"{HOST}/mirror/app@{DIGEST}", DIGEST),
    ]  # fmt: skip


def test_a_container_that_only_its_node_knows_counts(cluster: KubernetesApi, read: Read) -> None:
    cluster.add("pods", pod({}, [status("late", f"{APP}@{DIGEST}", f"{APP}:v1")]))
    assert [(use.image, use.where, use.digest) for use in read().uses] == [(f"{APP}:v1", "container late", DIGEST)]


@pytest.mark.parametrize(("phase", "ended"), [("Succeeded", True), ("Failed", True), ("Running", False), ("", False)])
def test_a_pod_that_has_ended_pulls_no_more(cluster: KubernetesApi, read: Read, phase: str, ended: bool) -> None:
    cluster.add("pods", pod({"web": f"{APP}:v1"}, [status("web", f"{APP}@{DIGEST}")], phase=phase))
    assert read().of(f"{APP}:v1").ended is ended


@pytest.mark.parametrize(("condition", "ended"), [("Complete", True), ("Failed", True), ("Suspended", False)])
def test_a_job_that_has_finished_pulls_no_more(cluster: KubernetesApi, read: Read, condition: str, ended: bool) -> None:
    job = cluster.workload("jobs.batch", "etl", f"{APP}:v1")
    job["status"] = {"conditions": [{"type": condition, "status": "True"}]}
    cluster._objects["jobs.batch"][0] |= job
    assert read().of(f"{APP}:v1").ended is ended


@pytest.mark.parametrize("aggregated", [True, False])
def test_custom_resources_are_found_by_discovery_old_and_new(
    cluster: KubernetesApi, read: Read, aggregated: bool
) -> None:
    cluster.aggregated = aggregated
    cluster.serve("argoproj.io", "v1alpha1", "rollouts", "Rollout")
    cluster.serve("keda.sh", "v1alpha1", "scaledjobs", "ScaledJob")
    cluster.serve("example.com", "v1", "writeonlies", "WriteOnly", verbs=("create",))
    cluster.serve("batch", "v2", "futures", "Future")
    cluster.workload("rollouts.argoproj.io", "api", f"{APP}:v1", replicas=0)
    template = {"template": {"spec": {"containers": [{"name": "job", "image": f"{APP}:v2"}]}}}
    cluster.add("scaledjobs.keda.sh", {"metadata": {"name": "j", "namespace": "n"}, "spec": {"jobTargetRef": template}})
    cluster.workload("futures.batch", "later", f"{APP}:v3")
    told = read()
    assert told.failure is None
    assert told.places == {
        f"{APP}:v1": "default/Rollout/api: container app",
        f"{APP}:v2": "n/ScaledJob/j: container job (spec.jobTargetRef.template.spec)",
        f"{APP}:v3": "default/Future/later: container app",
    }
    assert not any("writeonlies" in asked.path or "/status" in asked.path for asked in cluster.asked)


def test_a_kind_that_is_listed_in_an_older_version_of_its_group_only_is_found(
    cluster: KubernetesApi, read: Read
) -> None:
    cluster.serve("example.com", "v1", "apps", "App")
    cluster.serve("example.com", "v1alpha1", "tools", "Tool", namespaced=False)
    cluster.add("tools.example.com", {"metadata": {"name": "t"}, "spec": {"image": f"{APP}:v1"}})
    for cluster.aggregated in (True, False):
        assert read().places == {f"{APP}:v1": "Tool/t: spec.image"}


@pytest.mark.parametrize("name", [*WORKLOADS, "rollouts.argoproj.io"])
def test_a_kind_that_may_not_be_listed_is_a_gap_that_names_it_and_the_rest_is_read(
    cluster: KubernetesApi, read: Read, name: str
) -> None:
    cluster.serve("argoproj.io", "v1alpha1", "rollouts", "Rollout")
    for each in (*WORKLOADS, "rollouts.argoproj.io"):
        cluster.workload(each, "web", f"{APP}:{each}")
    cluster.deny(name)
    told = read()
    assert isinstance(told.failure, Denied)
    assert str(told.failure) == f"cluster test does not let this identity list {name}. Grant it"
    assert {use.image for use in told.uses} == {f"{APP}:{each}" for each in (*WORKLOADS, "rollouts.argoproj.io")} - {
        f"{APP}:{name}"
    }


def test_all_that_may_not_be_listed_is_said_in_one_sentence(cluster: KubernetesApi, read: Read) -> None:
    cluster.allow([])
    told = read()
    assert isinstance(told.failure, Denied)
    assert "list the API groups (/apis), pods, podtemplates" in str(told.failure)
    assert "and 3 more. Grant it" in str(told.failure)


def test_the_cluster_role_of_the_documentation_grants_what_is_read_and_no_more(
    cluster: KubernetesApi, read: Read
) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "kubernetes.md").read_text(), re.DOTALL)
    role, binding = yaml.safe_load_all(blocks[0])
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == (role["metadata"]["name"], "ecrsweep")
    granted = {
        (group, resource): rule["verbs"]
        for rule in role["rules"] if "apiGroups" in rule
        for group in rule["apiGroups"] for resource in rule["resources"]
    }  # fmt: skip
    assert granted == {(group, resource): ["list"] for group, some in READ.items() for resource, _ in some}
    cluster.serve("argoproj.io", "v1alpha1", "rollouts", "Rollout")
    cluster.allow([*role["rules"], *yaml.safe_load(blocks[1])])
    for cluster.aggregated in (True, False):
        assert read().failure is None
    for rule in role["rules"]:
        cluster.allow([each for each in role["rules"] if each is not rule])
        assert isinstance(read().failure, Denied)


def test_what_holds_no_image_is_not_asked(cluster: KubernetesApi, read: Read) -> None:
    cluster.serve("metrics.k8s.io", "v1beta1", "pods", "PodMetrics")
    for name in IMAGELESS:
        plural, _, group = name.partition(".")
        cluster.serve(group, "v1", plural, "Thing")
    cluster.serve("eks.amazonaws.com", "v1", "news", "New")
    assert read().failure is None
    paths = {asked.path for asked in cluster.asked}
    assert "/apis/eks.amazonaws.com/v1/news" in paths
    assert len(paths) == len(WORKLOADS) + 2
    assert not any("secrets" in path or "nodes" in path for path in paths)


def test_kinds_that_the_user_leaves_out_are_noted_and_hold_nothing(cluster: KubernetesApi, read: Read) -> None:
    cluster.serve("wgpolicyk8s.io", "v1", "policyreports", "PolicyReport")
    cluster.serve("metrics.example.com", "v1", "pods", "Thing")
    cluster.deny("policyreports.wgpolicyk8s.io")
    cluster.deny("podtemplates")
    cluster.lose("metrics.example.com")
    told = read(ignore=("policyreports.wgpolicyk8s.io", "*.metrics.example.com", "podtemplates", "*.apps"))
    assert told.failure is None
    assert told.notes == ["eks:arn: not asked, by the option ignore: podtemplates, policyreports.wgpolicyk8s.io"]
    assert "/apis/apps/v1/deployments" in {asked.path for asked in cluster.asked}, (
        "what every cluster runs is always asked"
    )


@pytest.mark.parametrize("aggregated", [True, False])
def test_a_group_whose_server_does_not_answer_is_a_gap(cluster: KubernetesApi, read: Read, aggregated: bool) -> None:
    cluster.aggregated = aggregated
    cluster.serve("build.example.com", "v1", "builds", "Build")
    cluster.lose("build.example.com")
    told = read()
    assert isinstance(told.failure, Unreachable)
    assert "build.example.com/v1" in str(told.failure)


def test_a_custom_kind_that_is_removed_in_between_is_no_gap(cluster: KubernetesApi, read: Read) -> None:
    cluster.serve("example.com", "v1", "olds", "Old")
    cluster.serve("example.com", "v1", "news", "New")
    cluster.workload("news.example.com", "x", f"{APP}:v1")
    cluster.troubles.append(Trouble("/apis/example.com/v1/olds", status=404, body=b"404 page not found"))
    assert "there is no such thing" in str(read().failure), "its group still says that it is served"
    cluster.troubles.clear()
    gone = Trouble("/apis/example.com/v1/olds", status=404)
    cluster.troubles.append(gone)
    kinds, aggregated = cluster._kinds.copy(), cluster._discovery("/apis", "as=APIGroupDiscoveryList")
    assert aggregated is not None
    cluster.forget("olds.example.com")
    cluster.troubles.append(Trouble("/apis", status=200, body=aggregated.body, times=1))
    told = read()
    assert (told.failure, [use.image for use in told.uses]) == (None, [f"{APP}:v1"])
    cluster._kinds = {name: kind for name, kind in kinds.items() if "example.com" not in name}
    cluster.troubles[:] = [Trouble("/apis", status=200, body=aggregated.body, times=1)]
    assert read().failure is None


def test_a_kind_of_every_cluster_that_is_missing_is_a_gap(cluster: KubernetesApi, read: Read) -> None:
    cluster.forget("cronjobs.batch")
    told = read()
    assert isinstance(told.failure, AwsFailure)
    assert "/apis/batch/v1/cronjobs: there is no such thing" in str(told.failure)


def test_an_identity_that_the_cluster_does_not_know_is_a_gap_with_what_to_do(
    read: Read, cluster: KubernetesApi
) -> None:
    cluster._authenticate = lambda _: None
    told = read()
    assert isinstance(told.failure, CredentialsFailure)
    assert "does not know this identity (401 Unauthorized). Let it in" in str(told.failure)
    assert len(cluster.asked) == 2, "once, and once more with a new credential"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/pods", b"{}"),
        ("/api/v1/pods", b"[]"),
        ("/api/v1/pods", b'{"metadata": {}, "items": [{"metadata": {"name": 7}}]}'),
        ("/api/v1/pods", b'{"metadata": {}, "items": [{"met'),
        ("/api/v1/pods", b"<html>Sign in</html>"),
        ("/api/v1/pods", b'{"metadata": {}, "items": [{"metadata": {"name": "\xff\xfe"}}]}'),
        ("/apis/apps/v1/deployments", b'{"metadata": {}, "items": [{"metadata": {}, "spec": {"template": 7}}]}'),
        ("/apis/apps/v1/controllerrevisions", b'{"metadata": {}, "items": [{}]}'),
        ("/apis/example.com/v1/things", b'{"items": []}'),
        ("/apis/example.com/v1/things", b'{"metadata": {}, "items": [["image"]]}'),
        ("/apis/example.com/v1/things", b'{"metadata": {"continue": "again"}, "items": []}'),
        ("/apis", b"{}"),
        ("/apis", b'{"kind": "APIGroupList"}'),
        ("/apis", b'{"kind": "APIGroupDiscoveryList"}'),
        ("/apis", b"not json"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_gap_not_an_absence(
    cluster: KubernetesApi, read: Read, path: str, body: bytes
) -> None:
    cluster.serve("example.com", "v1", "things", "Thing")
    cluster.workload("jobs.batch", "etl", f"{APP}:v1")
    cluster.troubles.append(Trouble(path, status=200, body=body))
    if path == "/apis":
        cluster.troubles[0].times = 1
    told = read()
    assert isinstance(told.failure, Malformed), told.failure
    assert [use.image for use in told.uses] == [f"{APP}:v1"], "the rest is read"


def test_null_is_what_go_writes_for_an_empty_list(cluster: KubernetesApi, read: Read) -> None:
    empty = Trouble("/api/v1/pods", status=200, body=b'{"kind": "PodList", "metadata": {}, "items": null}')
    cluster.troubles.append(empty)
    nulls = {"containers": None, "initContainers": None, "volumes": None, "ephemeralContainers": None}
    cluster.add("jobs.batch", {"metadata": {"name": "x"}, "spec": {"template": {"spec": nulls}}, "status": None})
    told = read()
    assert (told.uses, told.failure) == ([], None)


def test_nothing_but_get_is_ever_sent(cluster: KubernetesApi, read: Read) -> None:
    cluster.serve("argoproj.io", "v1alpha1", "rollouts", "Rollout")
    for name in (*WORKLOADS, "rollouts.argoproj.io"):
        cluster.workload(name, "web", f"{APP}:v1")
    for trouble in (
        Trouble("/api/v1/pods", status=500, times=1), Trouble("/apis/batch", status=429, times=1),
        Trouble("/apis/apps", status=307, headers={"Location": "/elsewhere"}, times=1),
        Trouble("/api/v1/podtemplates", drop=True, times=1),
    ):  # fmt: skip
        cluster.troubles.append(trouble)
    cluster.expire()
    read()
    assert {asked.method for asked in cluster.asked} == {"GET"}
    assert not any({"watch", "fieldSelector"} & asked.query.keys() for asked in cluster.asked)
