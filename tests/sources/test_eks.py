"""EKS as witness: its clusters are found, entered by the credentials in hand, and each that cannot be read is a gap."""

from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ecrsweep.aws.eks_token import eks_token
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.core.errors import (
    AwsFailure,
    BadInput,
    ClosedByOrganization,
    CredentialsFailure,
    Denied,
    Malformed,
    Throttled,
    Unreachable,
)  # fmt: skip
from ecrsweep.core.uses import Use
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.eks import account_of
from ecrsweep.emulator.kubernetes import CertificatePair, Trouble
from ecrsweep.sources.eks import EksSource
from tests.sources.conftest import HOST, Told
from tests.support import ACCOUNT

APP = f"{HOST}/team/app"
ARN = f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster"

Ask = Callable[..., Told]


@pytest.fixture
def ask(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask EKS of one region, in this process."""
    environ = {**aws.environ(), "AWS_MAX_ATTEMPTS": "1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def asking(region: str = "us-east-1", **options: str) -> Told:
        place = AwsPlace(AwsSession(environ=environ), region)
        uses, notes, failure = [], [], None
        try:
            for each in EksSource().with_options(options).uses(place):
                if isinstance(each, Use):
                    uses.append(each)
                else:
                    notes.append(f"{each.workload}: {each.text}")
        except AwsFailure as error:
            failure = error
        return Told(uses, notes, failure)

    return asking


def test_a_cluster_is_entered_by_the_credentials_in_hand(aws: Emulator, ask: Ask) -> None:
    prod = aws.eks.cluster("prod")
    prod.workload("deployments.apps", "web", f"{APP}:v1")
    told = ask()
    assert told.failure is None
    assert told.uses[0].described == f"eks:{ARN}/prod default/Deployment/web container app"
    assert {asked.user for asked in prod.asked} == {f"arn:aws:sts::{ACCOUNT}:assumed-role/sweeper/run"}
    assert len({asked.headers["authorization"] for asked in prod.asked}) == 1, "one token for all requests"


def test_the_token_names_the_regional_endpoint_the_cluster_and_sixty_seconds(aws: Emulator) -> None:
    token = eks_token(aws.client("sts", "eu-west-1"), "eu-west-1", "prod")
    encoded = token.removeprefix("k8s-aws-v1.")
    assert "=" not in encoded
    url = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    assert url.startswith("https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&")
    assert "X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&" in url
    now = datetime.now(UTC)
    assert account_of(url, "prod", "eu-west-1", now) == ACCOUNT
    assert account_of(url, "staging", "eu-west-1", now) is None, "it is for one cluster"
    assert account_of(url, "prod", "us-east-1", now) is None
    assert account_of(url, "prod", "eu-west-1", now + timedelta(minutes=16)) is None
    assert account_of(url.replace("Expires=60", "Expires=61"), "prod", "eu-west-1", now) is None
    assert account_of(url[:-1] + ("0" if url[-1] != "0" else "1"), "prod", "eu-west-1", now) is None


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"), ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
        ("eusc-de-east-1", "sts.eusc-de-east-1.amazonaws.eu"), ("us-iso-east-1", "sts.us-iso-east-1.c2s.ic.gov"),
    ],
)  # fmt: skip
def test_the_token_is_for_the_partition_of_its_region(aws: Emulator, region: str, host: str) -> None:
    encoded = eks_token(aws.client("sts", region), region, "prod").removeprefix("k8s-aws-v1.")
    assert f"//{host}/?" in urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


def test_a_local_cluster_on_an_outpost_is_known_by_its_id(aws: Emulator, ask: Ask) -> None:
    aws.eks.cluster("local", id="e2e0c4d4").workload("jobs.batch", "etl", f"{APP}:v1")
    told = ask()
    assert (told.failure, len(told.uses)) == (None, 1)


def test_an_account_without_clusters_uses_nothing(ask: Ask) -> None:
    told = ask()
    assert (told.uses, told.notes, told.failure) == ([], [], None)


def test_more_than_a_page_of_clusters_is_followed(aws: Emulator, ask: Ask) -> None:
    for number in range(104):
        aws.eks.cluster(f"new-{number}", status="CREATING", endpoint=None)
    aws.eks.cluster("zz-last").workload("pods", "web", f"{APP}:v1")
    told = ask()
    assert (told.failure, len(told.uses), len(told.notes)) == (None, 1, 104)
    assert aws.calls.count("eks", "ListClusters") == 2
    assert aws.calls.count("eks", "DescribeCluster") == 105


@pytest.mark.parametrize(
    ("described", "note", "said"),
    [
        ({"status": "CREATING", "endpoint": None, "certificateAuthority": None}, "is being created", None),
        ({"status": "DELETING", "endpoint": None}, None, "is DELETING and has no API to ask. Wait or delete it, or leave it out with --source-option eks.skip=odd"),
        ({"status": "FAILED", "endpoint": None}, None, "is FAILED and has no API to ask"),
        ({"status": "ACTIVE", "endpoint": None}, None, "is ACTIVE and has no API to ask"),
        ({"status": "PENDING", "endpoint": None, "connectorConfig": {"provider": "GKE"}}, None, "is connected, not run by EKS"),
        ({"status": "ACTIVE", "endpoint": None, "connectorConfig": {"provider": "GKE"}}, None, "--source-option kubernetes.contexts="),
        ({"certificateAuthority": None}, None, "gave no certificate authority"),
        ({"certificateAuthority": {"data": "%%%"}}, None, "gave no certificate authority"),
        ({"certificateAuthority": {"data": b64encode(b"not a certificate").decode()}}, None, "gave no certificate authority"),
        ({"certificateAuthority": {"data": ""}}, None, "gave no certificate authority"),
        ({"endpoint": "http://127.0.0.1:1"}, None, "cannot be asked at"),
        ({"endpoint": "https://127.0.0.1:9"}, None, "Connection refused"),
    ],
)  # fmt: skip
def test_a_cluster_that_cannot_be_asked_is_a_gap_unless_nothing_can_run_in_it(
    aws: Emulator, ask: Ask, described: dict[str, Any], note: str | None, said: str | None
) -> None:
    aws.eks.cluster("odd", **described)
    aws.eks.cluster("prod").workload("pods", "web", f"{APP}:v1")
    told = ask()
    assert [use.image for use in told.uses] == [f"{APP}:v1"], "the others are read all the same"
    assert note is None or note in told.notes[0]
    assert (said is None) == (told.failure is None)
    assert said is None or said in str(told.failure)


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "FAILED", "UPDATING", "SOMETHING_NEW"])
def test_a_cluster_with_an_api_is_asked_in_whatever_state_it_is(aws: Emulator, ask: Ask, status: str) -> None:
    aws.eks.cluster("odd", status=status).workload("pods", "web", f"{APP}:v1")
    assert len(ask().uses) == 1


def test_a_cluster_left_out_by_name_is_noted_and_holds_nothing(aws: Emulator, ask: Ask) -> None:
    aws.eks.cluster("far", connectorConfig={"provider": "GKE"}, endpoint=None)
    told = ask(skip="far,other")
    assert (told.failure, told.notes) == (None, ["eks cluster far: left out by the option skip"])


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ({"endpointPublicAccess": False, "vpcId": "vpc-7"}, "Its endpoint is private: run ecrsweep where the network of vpc-7 can be reached"),
        ({"endpointPublicAccess": True, "publicAccessCidrs": ["192.0.2.0/24"]}, "Its public endpoint admits only 192.0.2.0/24: run ecrsweep from there"),
        ({"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]}, "Connection refused"),
    ],
)  # fmt: skip
def test_an_endpoint_that_cannot_be_reached_says_from_where_it_can(
    aws: Emulator, ask: Ask, network: dict[str, Any], said: str
) -> None:
    aws.eks.cluster("prod", endpoint="https://127.0.0.1:9", resourcesVpcConfig=network)
    told = ask()
    assert isinstance(told.failure, Unreachable)
    assert str(told.failure).endswith(said)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("API", "aws eks create-access-entry --region us-east-1 --cluster-name prod --principal-arn ROLE --kubernetes-groups ecrsweep"),
        ("CONFIG_MAP", "Map this role to the group ecrsweep in its ConfigMap kube-system/aws-auth"),
    ],
)  # fmt: skip
def test_a_cluster_that_does_not_know_us_says_what_to_grant(aws: Emulator, ask: Ask, mode: str, said: str) -> None:
    aws.eks.cluster("prod", admits=["999999999999"], accessConfig={"authenticationMode": mode})
    told = ask()
    assert isinstance(told.failure, CredentialsFailure)
    assert f"cluster prod ({ARN}/prod)" in str(told.failure)
    assert said in str(told.failure)


def test_a_kind_that_may_not_be_listed_says_which_cluster_and_what_to_bind(aws: Emulator, ask: Ask) -> None:
    aws.eks.cluster("prod").deny("deployments.apps")
    told = ask()
    assert isinstance(told.failure, Denied)
    assert (
        f"cluster prod ({ARN}/prod) does not let this identity list deployments.apps. Let the ClusterRole of docs/kubernetes.md list these"
        in str(told.failure)
    )
    assert "denied" not in str(told.failure), "no IAM policy would help"


def test_every_cluster_that_failed_is_named(aws: Emulator, ask: Ask) -> None:
    for number in range(12):
        aws.eks.cluster(f"c{number}", endpoint=None, status="FAILED")
    told = ask()
    assert all(f"cluster c{number} (" in str(told.failure) for number in range(12))


def test_a_cluster_with_another_authority_than_eks_tells_is_told_nothing(aws: Emulator, ask: Ask) -> None:
    stranger = b64encode(CertificatePair.make(1).authority.encode()).decode()
    prod = aws.eks.cluster("prod", certificateAuthority={"data": stranger})
    told = ask()
    assert isinstance(told.failure, Unreachable)
    assert "its certificate was not accepted" in str(told.failure)
    assert prod.asked == []


def test_a_cluster_deleted_in_between_is_no_gap(aws: Emulator, ask: Ask) -> None:
    aws.eks.cluster("gone", endpoint=None)
    aws.eks.forget("gone")
    aws.eks.cluster("prod").workload("pods", "web", f"{APP}:v1")
    told = ask()
    assert (told.failure, len(told.uses)) == (None, 1)


@pytest.mark.parametrize("operation", ["ListClusters", "DescribeCluster"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (lambda name: Fault.denied("eks", name), Denied),
        (lambda name: Fault.error("eks", name, "ThrottlingException", "Rate exceeded", 429), Throttled),
        (lambda name: Fault.error("eks", name, "ServiceUnavailableException", "Not now", 503), Unreachable),
        (lambda name: Fault("garbage", "eks", name), Malformed),
        (lambda name: Fault("garbage", "eks", name, body=b"{}"), Malformed),
        (lambda name: Fault("drop_before", "eks", name), Unreachable),
        (lambda name: Fault.error("eks", name, "SomethingNotFoundException", "Something is not there", 404), AwsFailure),
    ],
)  # fmt: skip
def test_each_call_that_fails_is_a_gap(
    aws: Emulator, ask: Ask, operation: str, fault: Callable[[str], Fault], kind: type[AwsFailure]
) -> None:
    aws.eks.cluster("prod", endpoint=None)
    aws.faults.add(fault(operation))
    told = ask()
    assert isinstance(told.failure, kind), told.failure
    assert f"eks:{operation}" in str(told.failure)


def test_a_region_is_closed_only_where_nothing_at_all_is_answered(aws: Emulator, ask: Ask) -> None:
    aws.eks.cluster("prod", endpoint=None)
    describe = Fault.closed("us-east-1", "eks", "DescribeCluster")
    aws.faults.add(describe)
    failure = ask().failure
    assert isinstance(failure, Denied)
    assert not isinstance(failure, ClosedByOrganization)
    aws.faults.add(Fault.closed("us-east-1", "eks"))
    assert isinstance(ask().failure, ClosedByOrganization)


def test_a_token_that_is_refused_is_made_anew(aws: Emulator, ask: Ask) -> None:
    prod = aws.eks.cluster("prod")
    prod.workload("pods", "web", f"{APP}:v1")
    prod.troubles.append(Trouble("/apis", status=401, times=1))
    told = ask()
    assert (told.failure, len(told.uses)) == (None, 1)


def test_custom_kinds_are_left_out_by_option(aws: Emulator, ask: Ask) -> None:
    prod = aws.eks.cluster("prod")
    prod.serve("example.com", "v1", "reports", "Report")
    prod.deny("reports.example.com")
    told = ask(ignore="*.example.com")
    assert told.failure is None
    assert "reports.example.com" in told.notes[0]


@pytest.mark.parametrize("options", [{"nosuch": "1"}, {"ignore": "deployments"}])
def test_options_that_make_no_sense_are_mistakes(options: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        EksSource().with_options(options)


def test_an_image_named_by_an_expression_is_noted_once_a_kind(aws: Emulator, ask: Ask) -> None:
    prod = aws.eks.cluster("prod")
    prod.serve("argoproj.io", "v1alpha1", "workflowtemplates", "WorkflowTemplate")
    for name in ("a", "b"):
        made = {
            "metadata": {"name": name, "namespace": "ci"},
            "spec": {"templates": [{"container": {"image": "{{image}}"}}]},
        }
        prod.add("workflowtemplates.argoproj.io", made)
    told = ask()
    assert told.failure is None
    (note,) = told.notes
    assert note == (
        f"eks:{ARN}/prod ci/WorkflowTemplate/a: names an image by an expression, so what it means is not known: "
        "spec.templates[0].container.image {{image}} and 1 more (workflowtemplates.argoproj.io)"
    )
