"""What a registry tells of who else may pull from it, read over HTTP."""

import json
from typing import Any

import pytest

from ecrsweep.aws.cache import ManifestCache
from ecrsweep.aws.ecr import SHARING_ACTIONS, EcrStore
from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.errors import Denied, Malformed, Missing
from ecrsweep.core.names import Registry
from ecrsweep.core.sharing import Replica, of_repository
from ecrsweep.emulator import Emulator, Fault
from tests.support import ACCOUNT

NAME = "team/app"
OTHER = "210987654321"
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "ecr:BatchGetImage"}],
    }
)
READS = {
    "GetRepositoryPolicy": lambda store: store.repository_policy(NAME),
    "GetRegistryPolicy": lambda store: store.registry_policy(),
    "DescribeRegistry": lambda store: store.replication(),
}


@pytest.fixture
def store(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> EcrStore:
    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)
    aws.ecr.repository(NAME)
    world = AwsWorld(AwsSession(region="us-east-1", environ=aws.environ()), ManifestCache(None))
    return world.image_store(Registry(ACCOUNT, "us-east-1"))


def test_a_registry_that_shares_nothing_says_so(store: EcrStore) -> None:
    assert store.repository_policy(NAME) is None
    assert store.registry_policy() is None
    assert store.replication() == ()


def test_policies_and_replication_are_told_as_they_are(aws: Emulator, store: EcrStore) -> None:
    ecr = aws.client("ecr")
    ecr.set_repository_policy(repositoryName=NAME, policyText=POLICY)
    ecr.put_registry_policy(policyText=POLICY)
    rules: list[Any] = [
        {
            "destinations": [
                {"region": "us-west-2", "registryId": ACCOUNT},
                {"region": "eu-west-1", "registryId": OTHER},
            ],
            "repositoryFilters": [{"filter": "team/", "filterType": "PREFIX_MATCH"}],
        }
    ]
    ecr.put_replication_configuration(replicationConfiguration={"rules": rules})
    assert store.repository_policy(NAME) == POLICY
    assert [one.account for one in of_repository(NAME, str(store.registry_policy()))] == [OTHER]
    assert store.replication() == (
        Replica(Registry(ACCOUNT, "us-west-2"), ("team/*",)),
        Replica(Registry(OTHER, "eu-west-1"), ("team/*",)),
    )


def test_the_policy_of_a_repository_that_is_gone_is_not_none(store: EcrStore) -> None:
    with pytest.raises(Missing, match="RepositoryNotFoundException"):
        store.repository_policy("team/gone")


@pytest.mark.parametrize("operation", READS)
def test_what_may_not_be_read_is_an_error(aws: Emulator, store: EcrStore, operation: str) -> None:
    aws.faults.add(Fault.denied("ecr", operation))
    with pytest.raises(Denied) as caught:
        READS[operation](store)
    assert caught.value.action == f"ecr:{operation}"
    assert caught.value.action in SHARING_ACTIONS


@pytest.mark.parametrize("operation", READS)
def test_an_answer_without_what_was_asked_is_an_error(aws: Emulator, store: EcrStore, operation: str) -> None:
    aws.faults.add(Fault("garbage", "ecr", operation, body=b"{}"))
    with pytest.raises(Malformed):
        READS[operation](store)
