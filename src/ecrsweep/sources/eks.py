"""Amazon EKS as witness: every cluster of the account and region is asked through its own Kubernetes API.

No kubeconfig is needed: DescribeCluster tells endpoint and authority, and the token is made of the credentials in hand.
What is read of a cluster, and what that needs of its RBAC, stands in docs/kubernetes.md.
API: https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html
"""

import binascii
import ssl
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ecrsweep.aws.eks_token import LIFE, eks_token
from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure, BadInput, Malformed
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.clusters.api import ClusterApi, Door, verifying
from ecrsweep.sources.clusters.bearer import Bearer, Made
from ecrsweep.sources.clusters.reading import Answer, Cluster, Wishes, one_failure, read_cluster, words

NAME: Final = "eks"

_PAGE: Final = 100
_GONE: Final = "ResourceNotFoundException"
_GROUP: Final = "ecrsweep"
_ROLE: Final = "the ClusterRole of docs/kubernetes.md"

_Json = Mapping[str, Any]


class EksSource:
    """Every image name that the EKS clusters of one account and region hold (`ports.Source`)."""

    name = NAME
    actions = ("eks:DescribeCluster", "eks:ListClusters")

    about = About(
        system="Amazon EKS",
        calls=(
            "ListClusters, DescribeCluster; then the Kubernetes API of each cluster: its API groups, and a list in pages of "
            "each kind that may hold a pod template"
        ),
        keeps=(
            "every container, init container, ephemeral container and image volume of pods, with the digest that the node "
            "reports; Deployments with the ReplicaSets they may roll back to, StatefulSets and DaemonSets with their "
            "ControllerRevisions, ReplicationControllers, Jobs, CronJobs, PodTemplates, at whatever count, suspended or not; "
            "every image name in custom resources (Argo, Knative, Tekton, KEDA and others). "
            "Needs RBAC in the cluster: [kubernetes.md](kubernetes.md)"
        ),
        unknowable=(
            "what only a Helm release, a ConfigMap, a Secret, an admission webhook or Git names; an image that a custom "
            "resource names by an expression; what somebody deploys after the plan: the grace of 24 hours is for that"
        ),
        service="eks",
        bulk=False,
    )

    def __init__(self, wishes: Wishes | None = None, skip: tuple[str, ...] = ()) -> None:
        """`skip` names clusters that are not asked."""
        self._wishes = wishes or Wishes()
        self._skip = skip

    def with_options(self, options: Mapping[str, str]) -> "EksSource":
        """The source with `ignore`, `paths` and `skip`. Raises `BadInput`."""
        unknown = sorted(options.keys() - {"ignore", "paths", "skip"})
        if unknown:
            raise BadInput(f"The source eks has no option {', '.join(unknown)}: it has ignore, paths and skip")
        return EksSource(Wishes.of(options), words(options.get("skip", "")))

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """The uses of cluster after cluster. Raises `AwsFailure` at the end for all that could not be read."""
        # Without `include` clusters that are only connected would not be named, and nobody would know that they are not read.
        names = list(place.pages("eks", "list_clusters", "clusters", maxResults=_PAGE, include=["all"]))
        failures = []
        for told, failure in place.each(lambda name: self._answer(place, name), names):
            yield from told
            failures += [] if failure is None else [failure]
        failure = one_failure(failures, [str(each) for each in failures])
        if failure is not None:
            raise failure

    def _answer(self, place: Place, name: str) -> Answer:
        """What one cluster says. A failure of one takes no other along."""
        if name in self._skip:
            return [Note("left out by the option skip", f"eks cluster {name}")], None
        try:
            cluster = _described(place, name)
            return self._read(place, cluster) if cluster is not None else ([], None)
        except AwsFailure as failure:
            return [], failure

    def _read(self, place: Place, described: _Json) -> Answer:
        cluster = _cluster(place, described)
        if described.get("connectorConfig"):
            raise AwsFailure(
                f"{cluster.name} is connected, not run by EKS, so its API cannot be asked this way. Name its context with "
                f"--source-option kubernetes.contexts=..., and then leave it out here with --source-option eks.skip={described['name']}"
            )
        status = described.get("status", "")
        if not described.get("endpoint"):
            if status == "CREATING":
                return [Note("is being created and has no API yet, so nothing can run in it", cluster.prefix)], None
            raise AwsFailure(
                f"{cluster.name} is {status or 'in no known state'} and has no API to ask. Wait or delete it, or leave it out "
                f"with --source-option eks.skip={described['name']}"
            )
        api = ClusterApi(_door(place, described, cluster.name))
        try:
            return read_cluster(cluster, api, self._wishes, place.each)
        finally:
            api.close()


def _described(place: Place, name: str) -> _Json | None:
    """DescribeCluster; None for a cluster that was deleted in between, with all that was in it."""
    try:
        answer = place.call("eks", "describe_cluster", name=name)
    except AwsFailure as failure:
        if code_of(failure) == _GONE:
            return None
        raise
    found: _Json = answer.get("cluster") or {}
    if not found.get("arn") or not found.get("name"):
        raise Malformed(f"eks:DescribeCluster in {place.region} did not describe {name}", action="eks:DescribeCluster")
    return found


def _cluster(place: Place, described: _Json) -> Cluster:
    name = described["name"]
    return Cluster(
        name=f"cluster {name} ({described['arn']})",
        prefix=f"eks:{described['arn']}",
        source=NAME,
        account=place.account,
        region=place.region,
        unknown=_how_to_enter(place, described),
        forbidden=f"Let {_ROLE} list these, and bind it to the group of this identity in the cluster",
        unreachable=_how_to_reach(described),
    )


def _how_to_enter(place: Place, described: _Json) -> str:
    if described.get("accessConfig", {}).get("authenticationMode") == "CONFIG_MAP":
        return f"Map this role to the group {_GROUP} in its ConfigMap kube-system/aws-auth, and bind {_ROLE} to that"
    return (
        f"Grant it: aws eks create-access-entry --region {place.region} --cluster-name {described['name']} "
        f"--principal-arn ROLE --kubernetes-groups {_GROUP}, and bind {_ROLE} to that group"
    )


def _how_to_reach(described: _Json) -> str:
    network = described.get("resourcesVpcConfig", {})
    if not network.get("endpointPublicAccess", True):
        return f"Its endpoint is private: run ecrsweep where the network of {network.get('vpcId', 'its VPC')} can be reached"
    allowed = network.get("publicAccessCidrs") or ["0.0.0.0/0"]
    if allowed != ["0.0.0.0/0"]:
        return f"Its public endpoint admits only {', '.join(allowed)}: run ecrsweep from there"
    return ""


def _door(place: Place, described: _Json, name: str) -> Door:
    """The way in: TLS by the authority that EKS tells, and by no other; the token by the credentials in hand."""
    # A local cluster on an Outpost is known by its id.
    identifier = described.get("id") or described["name"]

    def make() -> Made:
        token = eks_token(place.client("sts"), place.region, identifier)
        return Made((("Authorization", f"Bearer {token}"),), time.time() + LIFE)

    return Door(name, described["endpoint"], Bearer(make), verifying(_authority(described, name)))


def _authority(described: _Json, name: str) -> str:
    """The certificate authority of a cluster as PEM, tried once. Raises `Malformed`: without one nothing is asked."""
    try:
        text = b64decode((described.get("certificateAuthority") or {}).get("data") or "", validate=True).decode("ascii")
        verifying(text or "none")
    except (binascii.Error, ValueError, ssl.SSLError) as error:
        text = (
            f"eks:DescribeCluster gave no certificate authority for {name}, so that its API cannot be told from another"
        )
        raise Malformed(text, action="eks:DescribeCluster") from error
    return text
