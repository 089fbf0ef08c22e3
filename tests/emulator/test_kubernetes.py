"""The emulated clusters: they refuse what a cluster refuses, and EKS describes them as botocore's model has it."""

import json
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError

from ecrsweep.emulator import Emulator
from ecrsweep.emulator.kubernetes import KubernetesApi


@pytest.fixture
def cluster() -> Iterator[KubernetesApi]:
    with KubernetesApi() as api:
        yield api


def answered(
    cluster: KubernetesApi, path: str, method: str = "GET", accept: str = "application/json"
) -> tuple[int, Any]:
    context = ssl.create_default_context(cadata=cluster.authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    response = urllib3.PoolManager(ssl_context=context).request(method, cluster.url + path, headers={"Accept": accept})
    return response.status, json.loads(response.data)


def test_a_list_comes_in_pages_that_fit_together(cluster: KubernetesApi) -> None:
    cluster.add("pods", *({"metadata": {"name": str(number)}} for number in range(5)))
    _, first = answered(cluster, "/api/v1/pods?limit=3")
    _, rest = answered(cluster, f"/api/v1/pods?limit=3&continue={first['metadata']['continue']}")
    assert [each["metadata"]["name"] for each in first["items"] + rest["items"]] == list("01234")
    assert first["metadata"]["remainingItemCount"] == 2
    assert (first["kind"], first["items"][0]["kind"], "continue" in rest["metadata"]) == ("PodList", "Pod", False)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/api/v1/pods", "DELETE", 405), ("/api/v1/pods?continue=nonsense", "GET", 400), ("/apis/nowhere/v1", "GET", 404),
        ("/apis/apps/v1/nothings", "GET", 404), ("/api/v1/secrets", "GET", 403),
    ],
)  # fmt: skip
def test_what_a_cluster_refuses_is_refused_with_a_status(
    cluster: KubernetesApi, path: str, method: str, status: int
) -> None:
    cluster.deny("secrets")
    code, body = answered(cluster, path, method)
    assert (code, body["kind"], body["code"]) == (status, "Status", status)


def test_discovery_is_of_both_kinds_and_agrees(cluster: KubernetesApi) -> None:
    cluster.serve("example.com", "v1", "things", "Thing")
    _, old = answered(cluster, "/apis")
    _, new = answered(cluster, "/apis", accept="application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
    assert (old["kind"], new["kind"]) == ("APIGroupList", "APIGroupDiscoveryList")
    assert [group["name"] for group in old["groups"]] == [group["metadata"]["name"] for group in new["items"]]
    _, resources = answered(cluster, "/apis/example.com/v1")
    assert [each["name"] for each in resources["resources"]] == ["things", "things/status"]


def test_eks_names_and_describes_its_clusters(aws: Emulator) -> None:
    prod = aws.eks.cluster("prod")
    aws.eks.cluster("far", connectorConfig={"provider": "GKE"}, endpoint=None)
    eks = aws.client("eks")
    assert eks.list_clusters()["clusters"] == ["prod"]
    assert eks.list_clusters(include=["all"])["clusters"] == ["prod", "far"]
    assert eks.describe_cluster(name="prod")["cluster"]["endpoint"] == prod.url
    assert "endpoint" not in eks.describe_cluster(name="far")["cluster"]
    assert aws.client("eks", region="eu-west-1").list_clusters()["clusters"] == []
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        eks.describe_cluster(name="none")


def test_a_cluster_of_eks_knows_only_a_token_that_was_signed_for_it(aws: Emulator) -> None:
    prod = aws.eks.cluster("prod")
    assert answered(prod, "/api/v1/pods")[0] == 401
    for token in ("", "Bearer x", "Bearer k8s-aws-v1.%%%", "Bearer k8s-aws-v1.aHR0cHM6Ly94", "Basic k8s-aws-v1.x"):
        assert prod._authenticate({"authorization": token}) is None
