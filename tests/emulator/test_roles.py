"""The emulated STS against what is documented of the real one, through boto3 over HTTP."""

from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from ecrsweep.emulator import Emulator
from tests.support import ACCOUNT

MEMBER = "210987654321"
ARN = f"arn:aws:iam::{MEMBER}:role/ecrsweep"


def assume(aws: Emulator, arn: str = ARN, *, region: str | None = None, session: str = "run", **given: Any) -> Any:
    found = aws.client("sts", region=region).assume_role(RoleArn=arn, RoleSessionName=session, **given)
    return found["Credentials"]


def client(aws: Emulator, service: str, given: Any, region: str = "us-east-1", token: str | None = None) -> Any:
    make: Any = boto3.client
    return make(
        service, region_name=region, endpoint_url=aws.url, aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"], aws_session_token=token or given["SessionToken"],
    )  # fmt: skip


def refused(call: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_who_assumes_a_role_is_in_its_account(aws: Emulator) -> None:
    assert aws.roles.add(MEMBER, "ecrsweep", [ACCOUNT]) == ARN
    aws.ecr.repository("theirs", account=MEMBER)
    given = assume(aws, session="me")
    who = client(aws, "sts", given).get_caller_identity()
    assert (who["Account"], who["Arn"]) == (MEMBER, f"arn:aws:sts::{MEMBER}:assumed-role/ecrsweep/me")
    found = client(aws, "ecr", given).describe_repositories()["repositories"]
    assert [repository["repositoryName"] for repository in found] == ["theirs"]
    assert (aws.calls.log[-1].account, aws.calls.log[-1].session) == (MEMBER, "me")
    assert client(aws, "s3", given).list_buckets()["Buckets"] == [], "moto knows the account too"


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eusc-de-east-1", "aws-eusc")],
)
def test_arns_are_of_the_partition_of_the_region(aws: Emulator, region: str, partition: str) -> None:
    aws.roles.add(MEMBER, "path/to/ecrsweep", [ACCOUNT])
    given = assume(aws, f"arn:{partition}:iam::{MEMBER}:role/path/to/ecrsweep", region=region)
    told = client(aws, "sts", given, region).get_caller_identity()["Arn"]
    assert told == f"arn:{partition}:sts::{MEMBER}:assumed-role/ecrsweep/run", "a role's path is not in it"


@pytest.mark.parametrize(
    "trusted",
    [
        (),
        ("999999999999",),
        (f"arn:aws:iam::{ACCOUNT}:role/another",),
        ("arn:aws:iam::999999999999:role/sweeper",),
        (f"arn:aws-cn:iam::{ACCOUNT}:root",),
    ],
)
def test_who_is_not_trusted_is_answered_as_if_there_were_no_role(aws: Emulator, trusted: tuple[str, ...]) -> None:
    absent = refused(assume, aws=aws)
    aws.roles.add(MEMBER, "ecrsweep", trusted)
    assert refused(assume, aws=aws) == absent
    assert absent == (
        "AccessDenied",
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/sweeper/run is not authorized to perform: sts:AssumeRole on resource: {ARN}",
    )


@pytest.mark.parametrize(
    "trusted",
    [
        ACCOUNT,
        f"arn:aws:iam::{ACCOUNT}:root",
        f"arn:aws:iam::{ACCOUNT}:role/sweeper",
        f"arn:aws:iam::{ACCOUNT}:role/some/path/sweeper",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/sweeper/run",
    ],
)
def test_an_account_a_role_or_a_session_can_be_trusted(aws: Emulator, trusted: str) -> None:
    aws.roles.add(MEMBER, "ecrsweep", ["999999999999", trusted])
    assert assume(aws)["SessionToken"]


def test_the_external_id_must_be_the_one_that_the_role_asks_for(aws: Emulator) -> None:
    aws.roles.add(MEMBER, "ecrsweep", [ACCOUNT], external_id="right")
    assert refused(assume, aws=aws)[0] == "AccessDenied"
    assert refused(assume, aws=aws, ExternalId="wrong")[0] == "AccessDenied"
    assert assume(aws, ExternalId="right")["SessionToken"]


def test_a_service_control_policy_may_forbid_it(aws: Emulator) -> None:
    aws.roles.add(MEMBER, "ecrsweep", [ACCOUNT])
    aws.roles.forbidden.add(ACCOUNT)
    assert refused(assume, aws=aws)[1].endswith("with an explicit deny in a service control policy")


def test_an_account_may_have_switched_sts_off_in_a_region(aws: Emulator) -> None:
    aws.roles.add(MEMBER, "ecrsweep", [ACCOUNT])
    aws.roles.without_sts.add((MEMBER, "eu-west-1"))
    assert refused(assume, aws=aws, region="eu-west-1")[0] == "RegionDisabledException"
    assert assume(aws)["SessionToken"]


def test_a_role_gives_no_longer_than_it_may_and_an_hour_to_who_comes_through_a_role(aws: Emulator) -> None:
    aws.roles.add(MEMBER, "ecrsweep", [ACCOUNT], max_session=7200)
    aws.roles.add("333333333333", "next", [MEMBER], max_session=7200)
    assert refused(assume, aws=aws, DurationSeconds=7201) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )
    sts = client(aws, "sts", assume(aws, DurationSeconds=7200))
    asked = {"RoleArn": "arn:aws:iam::333333333333:role/next", "RoleSessionName": "run"}
    assert refused(sts.assume_role, **asked, DurationSeconds=3601) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    )
    assert sts.assume_role(**asked, DurationSeconds=3600)["AssumedRoleUser"]["Arn"].startswith(
        "arn:aws:sts::333333333333:assumed-role/next/"
    )


@pytest.mark.parametrize(
    "given",
    [{"session": "a b"}, {"session": "x" * 65}, {"DurationSeconds": 43_201}, {"arn": "arn:aws:iam::1:role/xyz"}],
)
def test_what_makes_no_sense_is_a_validation_error(aws: Emulator, given: dict[str, Any]) -> None:
    aws.roles.add(MEMBER, "ecrsweep", [ACCOUNT])
    assert refused(assume, aws=aws, **given)[0] == "ValidationError"


@pytest.mark.parametrize(
    ("service", "operation", "over", "unknown"),
    [
        ("ecr", "describe_repositories", "ExpiredTokenException", "UnrecognizedClientException"),
        ("lambda", "list_functions", "ExpiredTokenException", "UnrecognizedClientException"),
        ("sts", "get_caller_identity", "ExpiredToken", "InvalidClientTokenId"),
        ("ec2", "describe_regions", "RequestExpired", "AuthFailure"),
        ("s3", "list_buckets", "ExpiredToken", "InvalidToken"),
    ],
)
def test_credentials_end_by_the_clock_with_their_role_and_without_their_token(
    aws: Emulator, service: str, operation: str, over: str, unknown: str
) -> None:
    aws.roles.add(MEMBER, "ecrsweep", [ACCOUNT])
    given = assume(aws, DurationSeconds=900)
    getattr(client(aws, service, given), operation)()
    assert refused(getattr(client(aws, service, given, token="another"), operation))[0] == unknown
    aws.clock.advance(timedelta(seconds=900))
    assert refused(getattr(client(aws, service, given), operation))[0] == over
    again = assume(aws)
    aws.roles.remove(MEMBER, "ecrsweep")
    assert refused(getattr(client(aws, service, again), operation))[0] == unknown
