"""Credentials that AWS refuses before their own end, through real clients, and a real `credential_process` that hands them out."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ecrsweep.aws.errors import translated
from ecrsweep.aws.session import AwsSession
from ecrsweep.core.errors import CredentialsFailure
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.errors import AwsError
from tests.support import CredentialProcess

Open = Callable[[], AwsSession]


@pytest.fixture
def process(tmp_path: Path) -> CredentialProcess:
    return CredentialProcess(tmp_path)


@pytest.fixture
def opened(aws: Emulator, process: CredentialProcess, monkeypatch: pytest.MonkeyPatch) -> Open:
    """A session with the credentials that the process hands out."""

    def made() -> AwsSession:
        for name, value in process.environ(aws).items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name, raising=False)
        return AwsSession(region="us-east-1", environ=process.environ(aws))

    return made


def refuse(aws: Emulator, key: str, code: str = "ExpiredTokenException") -> None:
    """AWS takes one access key for expired."""
    aws.gate = lambda request: (
        AwsError(code, "It has expired") if f"Credential={key}/" in request.headers.get("authorization", "") else None
    )


def list_repositories(session: AwsSession) -> int:
    with translated("ecr:DescribeRepositories", "us-east-1"):
        return len(session.client("ecr", "us-east-1").describe_repositories()["repositories"])


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "RequestExpired"])
def test_what_is_refused_as_expired_is_renewed_once_and_the_call_repeated(
    aws: Emulator, opened: Open, process: CredentialProcess, code: str
) -> None:
    refuse(aws, process.key(1), code)
    session = opened()
    assert list_repositories(session) == list_repositories(session) == 0
    assert aws.calls.count("ecr") == 3, "the second call goes out with the new ones at once"
    assert process.runs == 2


def test_many_calls_at_once_renew_them_once(aws: Emulator, opened: Open, process: CredentialProcess) -> None:
    refuse(aws, process.key(1))
    session = opened()
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda _: list_repositories(session), range(64))) == [0] * 64
    assert process.runs == 2


def test_a_process_that_hands_out_the_same_again_ends_in_an_error(
    aws: Emulator, opened: Open, process: CredentialProcess
) -> None:
    process.stays_at(1)
    refuse(aws, process.key(1))
    session = opened()
    with pytest.raises(CredentialsFailure, match="It has expired"):
        list_repositories(session)
    assert aws.calls.count("ecr") == 1, "to ask again with the same is of no use"
    assert process.runs == 2


def test_where_new_ones_are_refused_too_nobody_tries_for_ever(
    aws: Emulator, opened: Open, process: CredentialProcess
) -> None:
    aws.faults.add(Fault.error("ecr", "*", "ExpiredTokenException", "It has expired"))
    with pytest.raises(CredentialsFailure, match="It has expired"):
        list_repositories(opened())
    assert aws.calls.count("ecr") == 2
    assert process.runs == 2


def test_a_process_that_fails_when_it_is_asked_again_ends_in_an_error_that_says_so(
    aws: Emulator, opened: Open, process: CredentialProcess
) -> None:
    process.fails_from(2, "the vault is sealed")
    refuse(aws, process.key(1))
    with pytest.raises(CredentialsFailure, match=r"no usable AWS credentials.*the vault is sealed"):
        list_repositories(opened())


def test_a_process_whose_new_ones_have_ended_already_is_told_as_credentials_not_as_a_broken_answer(
    aws: Emulator, opened: Open, process: CredentialProcess
) -> None:
    process.valid_for(-5)
    with pytest.raises(CredentialsFailure, match="no usable AWS credentials"):
        list_repositories(opened())
    assert aws.calls.count("ecr") == 0


def test_another_refusal_renews_nothing(aws: Emulator, opened: Open, process: CredentialProcess) -> None:
    refuse(aws, process.key(1), "UnrecognizedClientException")
    with pytest.raises(CredentialsFailure):
        list_repositories(opened())
    assert process.runs == 1


def test_the_copy_that_a_role_keeps_is_fetched_anew(
    aws: Emulator, opened: Open, process: CredentialProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore keeps the credentials of an assumed role until a quarter of an hour before their end."""
    roles = iter(("ASIAROLE1", "ASIAROLE2"))
    refused = {"ASIAROLE1"}

    def answer(key: str) -> bytes:
        return (
            "<AssumeRoleResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><AssumeRoleResult><Credentials>"
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
            "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        ).encode()

    fault = Fault("garbage", "sts", "AssumeRole")
    aws.faults.add(Fault("before", "sts", "AssumeRole", run=lambda _: setattr(fault, "body", answer(next(roles)))))
    aws.faults.add(fault)
    refuse(aws, *refused)
    process.use_for_a_role("arn:aws:iam::123456789012:role/sweeper")
    assert list_repositories(opened()) == 0
    assert aws.calls.count("sts", "AssumeRole") == 2
