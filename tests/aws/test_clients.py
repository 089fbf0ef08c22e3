"""Clients that accounts share, over HTTP: each call is its own account's, and what is kept of connections is bounded."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError, WaiterError

from ecrsweep.aws import clients
from ecrsweep.aws.roles import assumed
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.core.accounts import Member
from ecrsweep.core.errors import CredentialsFailure, Interrupted
from ecrsweep.emulator import Emulator, Fault
from tests.support import ACCOUNT

ROLE = "ecrsweep"
MEMBERS = tuple(f"{number:012}" for number in range(200_000_000_000, 200_000_000_012))
HOME = "us-east-1"


@pytest.fixture
def home(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> AwsSession:
    """The session of the account in which the program runs."""
    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)
    return AwsSession(region=HOME, environ=aws.environ())


@pytest.fixture
def sessions(aws: Emulator, home: AwsSession) -> list[AwsSession]:
    """That of the caller and those of its members, each of which has a repository that is called as the account is."""
    for account in (ACCOUNT, *MEMBERS):
        aws.roles.add(account, ROLE, [ACCOUNT])
        aws.ecr.repository(f"of/{account}", account=account)
    return [home, *(assumed(home, Member(account, role=ROLE)) for account in MEMBERS)]


def repositories(session: AwsSession) -> list[str]:
    """What a registry holds, as sources and stores read it."""
    found = AwsPlace(session, HOME).pages("ecr", "describe_repositories", "repositories")
    return [repository["repositoryName"] for repository in found]


def side_by_side(work: Callable[[AwsSession], list[str]], sessions: list[AwsSession], times: int) -> list[list[str]]:
    with ThreadPoolExecutor(24) as pool:
        return list(pool.map(work, sessions * times))


def test_every_call_is_signed_by_the_account_whose_call_it_is(aws: Emulator, sessions: list[AwsSession]) -> None:
    """Side by side over one client, throttled now and then, and while credentials end and are asked for anew."""
    aws.faults.add(Fault.error("ecr", "DescribeRepositories", "ThrottlingException", "Rate exceeded", times=5))
    expected = [[f"of/{account}"] for account in (ACCOUNT, *MEMBERS)]
    assert side_by_side(repositories, sessions, 3) == expected * 3
    aws.clock.advance(timedelta(minutes=61))
    assert side_by_side(repositories, sessions, 2) == expected * 2
    asked = [call.account for call in aws.calls.log if call.operation == "AssumeRole"]
    assert set(asked) == {ACCOUNT}, "roles are assumed by the caller, in the middle of a member's call too"


def test_paginators_waiters_and_signed_addresses_are_of_whoever_has_the_client(
    aws: Emulator, sessions: list[AwsSession]
) -> None:
    """Sources of others use all that a client of boto3 has."""

    def paged(session: AwsSession) -> list[str]:
        pages = session.client("ecr", HOME).get_paginator("describe_repositories").paginate()
        return [repository["repositoryName"] for page in pages for repository in page["repositories"]]

    assert side_by_side(paged, sessions, 2) == [[f"of/{account}"] for account in (ACCOUNT, *MEMBERS)] * 2
    member = sessions[1]
    aws.calls.reset()
    address = member.client("sts", HOME).generate_presigned_url("get_caller_identity")
    assert f"X-Amz-Credential=ASIAEMULATED{MEMBERS[0]}" in address
    waiter = member.client("ecs", HOME).get_waiter("services_inactive")
    aws.ecs.cluster(account=MEMBERS[0])
    with pytest.raises(WaiterError, match="MISSING"):
        waiter.wait(cluster="default", services=["gone"])
    assert {
        call.account for call in aws.calls.log if call.service == "ecs" and call.operation == "DescribeServices"
    } == {MEMBERS[0]}


def test_accounts_of_roles_share_clients_and_those_of_profiles_have_their_own(
    aws: Emulator, sessions: list[AwsSession], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile other]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    metas = {id(session.client("ecr", HOME).meta) for session in sessions}
    assert len(metas) == 1
    other = sessions[0].another(MEMBERS[0], profile="other")
    assert id(other.client("ecr", HOME).meta) not in metas


def test_what_nobody_calls_is_signed_by_nobody(home: AwsSession) -> None:
    """Should botocore ask for keys in another way than by the caller's thread, it gets none, rather than those of another account."""
    repositories(home)
    shared = home.client("ecr", HOME)._kept.client
    with ThreadPoolExecutor(1) as elsewhere, pytest.raises((NoCredentialsError, LookupError)):
        elsewhere.submit(shared.describe_repositories).result()
    with pytest.raises(NoCredentialsError):
        shared._request_signer._credentials.get_frozen_credentials()


def test_without_credentials_it_is_said_that_there_are_none(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(CredentialsFailure):
        repositories(AwsSession(region=HOME, environ={}))


def test_each_account_keeps_to_a_pace_of_its_own_and_ends_by_itself(sessions: list[AwsSession]) -> None:
    first, second = sessions[1:3]
    first.close()
    with pytest.raises(Interrupted):
        repositories(first)
    assert repositories(second) == [f"of/{MEMBERS[1]}"]
    assert first.pace is not second.pace


def test_clients_that_were_not_used_for_longest_go_with_their_connections(
    aws: Emulator, home: AwsSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_SOCKETS", 2)
    first = home.client("ecr", HOME)
    for region in (HOME, "us-west-2", "eu-west-1"):
        home.client("ecr", region).describe_repositories()
    kept = {home.client("ecr", region).meta for region in ("us-west-2", "eu-west-1")}
    assert first.meta not in kept | {home.client("ecr", HOME).meta}, "it was made anew"
    assert first.describe_repositories()["repositories"] == [], "whoever still has it can go on"


def test_a_client_that_is_in_use_stays(aws: Emulator, home: AwsSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_SOCKETS", 0)
    client = home.client("ecr", HOME)

    def meanwhile(_: object) -> None:
        home.client("ecr", "eu-west-1").describe_repositories()

    aws.faults.add(Fault("before", "ecr", "DescribeRepositories", run=meanwhile, region=HOME))
    client.describe_repositories()
    assert client._kept.at_once == 1
