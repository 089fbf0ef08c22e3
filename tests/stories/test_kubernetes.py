"""Kubernetes as witness, on the command line: what a cluster runs, may start, or would return to keeps its image."""

import json
import stat
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.kubernetes import KubernetesApi, Trouble
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, Finished, ago

ARN = f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/prod"
KINDS = {
    "pods": "Pod", "podtemplates": "PodTemplate", "replicationcontrollers": "ReplicationController",
    "deployments.apps": "Deployment", "replicasets.apps": "ReplicaSet", "statefulsets.apps": "StatefulSet",
    "daemonsets.apps": "DaemonSet", "controllerrevisions.apps": "ControllerRevision", "jobs.batch": "Job",
    "cronjobs.batch": "CronJob", "rollouts.argoproj.io": "Rollout",
}  # fmt: skip
RULES = ("--keep-newest", "0", "--pulled-within", "0d")


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """A repository of old images, v0 to v14; no rule keeps any."""
    made = aws.ecr.repository("team/app")
    for version in range(15):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=100 - version))
    return made


def held(found: Finished, repo: Repository) -> dict[str, Any]:
    """The one gap, which holds every candidate."""
    assert found.status == 5
    assert {found.action(image.digest) for image in repo.images()} <= {"keep", "hold"}
    (gap,) = (entry for entry in found.json["coverage"] if entry["status"] == "failed")
    return dict(gap)


def kubeconfig(cluster: KubernetesApi, path: Path, user: dict[str, Any]) -> Path:
    """A kubeconfig with the context `onprem`, in JSON."""
    entry = {"server": cluster.url, "certificate-authority-data": b64encode(cluster.authority.encode()).decode()}
    document = {
        "clusters": [{"name": "c", "cluster": entry}], "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "onprem", "context": {"cluster": "c", "user": "u"}}], "current-context": "onprem",
    }  # fmt: skip
    path.write_text(json.dumps(document))
    return path


def test_every_kind_of_workload_in_an_eks_cluster_keeps_its_image(aws: Emulator, cli: Cli, repo: Repository) -> None:
    prod = aws.eks.cluster("prod")
    prod.serve("argoproj.io", "v1alpha1", "rollouts", "Rollout")
    for number, name in enumerate(KINDS):
        prod.workload(name, "web", f"{repo.uri}:v{number}", namespace="shop")
    found = cli.plan("--keep-newest", "0")
    assert found.status == 0, found.err
    for number, kind in enumerate(KINDS.values()):
        digest = repo.digest_of(f"v{number}")
        assert found.action(digest) == "keep", kind
        assert f"eks:{ARN} shop/{kind}/web" in found.details(digest)
        assert "container app" in found.details(digest)
    assert {found.action(repo.digest_of(f"v{number}")) for number in range(len(KINDS), 15)} == {"delete"}
    (entry,) = (each for each in found.json["coverage"] if each["source"] == "eks" and each["region"] == "us-east-1")
    assert (entry["status"], entry["uses"]) == ("complete", len(KINDS))
    assert {asked.method for asked in prod.asked} == {"GET"}


def test_a_cluster_in_another_region_and_a_digest_without_a_tag_keep_images_at_home(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    running = repo.digest_of("v1")
    repo.tag("v1", repo.digest_of("v5"))
    pod = {
        "metadata": {"name": "web-0", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "web", "image": f"{repo.uri}:v1"}]},
        "status": {"containerStatuses": [{"name": "web", "imageID": f"somewhere.example.com/else@{running}"}]},
    }
    aws.eks.cluster("abroad", region="eu-west-1").add("pods", pod)
    found = cli.plan("--keep-newest", "0")
    assert (found.action(running), found.action(repo.digest_of("v5"))) == ("keep", "keep")
    assert "eks:arn:aws:eks:eu-west-1" in found.details(running)
    assert found.action(repo.digest_of("v2")) == "delete"


def test_a_pod_that_reports_no_digest_keeps_what_its_tag_may_have_meant(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    running = repo.digest_of("v1")
    newer = repo.push_image(tags=("v1",), pushed_at=ago(days=20))
    later = repo.push_image(pushed_at=ago(days=25))
    started = ago(days=30).strftime("%Y-%m-%dT%H:%M:%SZ")
    pod = {
        "metadata": {"name": "web-0", "namespace": "shop", "creationTimestamp": started},
        "spec": {"containers": [{"name": "web", "image": f"{repo.uri}:v1"}]},
        "status": {
            "startTime": started,
            "containerStatuses": [
                {"name": "web", "imageID": f"sha256:{'c' * 64}", "state": {"running": {"startedAt": started}}}
            ],
        },
    }
    aws.eks.cluster("prod").add("pods", pod)
    found = cli.plan("--keep-newest", "0")
    assert found.codes(running) == {"in_use"}
    assert "possible" in found.details(running)
    assert (found.action(newer), found.action(later)) == ("keep", "delete")


@pytest.mark.parametrize("operation", ["ListClusters", "DescribeCluster"])
def test_each_call_that_is_denied_holds_every_candidate_and_names_the_permission(
    aws: Emulator, cli: Cli, repo: Repository, operation: str
) -> None:
    aws.eks.cluster("prod").workload("pods", "web", f"{repo.uri}:v1")
    aws.faults.add(Fault.denied("eks", operation))
    found = cli.plan("--keep-newest", "0", "--consumer-region", "us-east-1")
    gap = held(found, repo)
    assert (gap["source"], gap["region"]) == ("eks", "us-east-1")
    assert f"eks:{operation} was denied" in gap["error"]
    assert f'"eks:{operation}"' in found.err


def test_a_cluster_that_denies_holds_every_candidate_until_the_gap_is_accepted(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    prod = aws.eks.cluster("prod")
    prod.workload("pods", "web", f"{repo.uri}:v1")
    prod.deny("cronjobs.batch")
    found = cli.plan("--keep-newest", "0")
    gap = held(found, repo)
    assert found.action(repo.digest_of("v1")) == "keep"
    assert f"cluster prod ({ARN}) does not let this identity list cronjobs.batch" in gap["error"]
    assert "The policy of this identity lacks" not in found.err, "IAM has nothing to do with it"
    accepted = cli.plan("--keep-newest", "0", "--accept-gap", "eks/us-east-1")
    assert accepted.status == 0
    assert (accepted.action(repo.digest_of("v1")), accepted.action(repo.digest_of("v2"))) == ("keep", "delete")


def test_a_cluster_that_answers_nonsense_holds_every_candidate(aws: Emulator, cli: Cli, repo: Repository) -> None:
    prod = aws.eks.cluster("prod")
    prod.troubles.append(Trouble("/apis/apps/v1/deployments", status=200, body=b'{"items": []}'))
    gap = held(cli.plan("--keep-newest", "0"), repo)
    assert "/apis/apps/v1/deployments was not answered with a list" in gap["error"]


def test_contexts_of_a_kubeconfig_are_asked_when_they_are_named_and_again_by_apply(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    plugin = cli.home / "token"
    answer = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "sesame"}}'
    )
    plugin.write_text(f"#!{sys.executable}\nprint('{answer}')\n")
    plugin.chmod(stat.S_IRWXU)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./token"}}
    with KubernetesApi(lambda headers: "me" if headers.get("authorization") == "Bearer sesame" else None) as cluster:
        path = kubeconfig(cluster, cli.home / "config.json", user)
        cluster.workload("deployments.apps", "web", f"{repo.uri}:v1", namespace="shop")
        assert cli.plan("--keep-newest", "0").action(repo.digest_of("v1")) == "delete", "nobody asked for it"
        saved = str(cli.home / "plan.jsonl")
        options = ("--source-option", "kubernetes.contexts=onprem", "--source-option", f"kubernetes.kubeconfig={path}")
        found = cli("plan", *RULES, *options, "--save", saved, "--output", "json")
        assert found.status == 0, found.err
        assert "kubernetes:onprem shop/Deployment/web container app" in found.details(repo.digest_of("v1"))
        (entry,) = (each for each in found.json["coverage"] if each["source"] == "kubernetes")
        assert (entry["region"], entry["status"], entry["uses"]) == ("all", "complete", 1)
        cluster.workload("jobs.batch", "etl", f"{repo.uri}:v2")
        ended = cli("apply", saved, "--yes")
        assert ended.status == 0, ended.err
        assert sorted(repo.by_tag) == ["v1", "v2"], "what came into use since is spared"
        cluster.stop()
        gap = held(cli("plan", *RULES, "--output", "json", "--with-source", "kubernetes", KUBECONFIG=str(path)), repo)
        assert (gap["source"], gap["region"]) == ("kubernetes", "all")
        assert "cluster of context onprem" in gap["error"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--source-option", "kubernetes.contexts=nowhere"), "There is no context nowhere in"),
        (("--source-option", "kubernetes.contexts=*", "--source-option", "kubernetes.kubeconfig=/no/file"), "cannot be read"),
        (("--source-option", "eks.ignore=deployments"), "names no custom kind"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused_before_anything_is_asked(
    aws: Emulator, cli: Cli, repo: Repository, options: tuple[str, ...], said: str
) -> None:
    with KubernetesApi() as cluster:
        path = kubeconfig(cluster, cli.home / "config.json", {})
        found = cli("plan", *options, KUBECONFIG=str(path))
    assert found.status == 2
    assert said in found.err
    assert "Traceback" not in found.err
    assert aws.calls.log == []


def test_without_a_kubeconfig_the_source_is_a_gap(cli: Cli, repo: Repository) -> None:
    gap = held(cli.plan("--keep-newest", "0", "--with-source", "kubernetes"), repo)
    assert "/.kube/config cannot be read" in gap["error"]
