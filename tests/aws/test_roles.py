"""Sessions of roles in other accounts, over HTTP: what they ask and as whom, when they are renewed, and each way to fail."""

import os
from base64 import urlsafe_b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.aws.eks_token import eks_token
from ecrsweep.aws.roles import AssumedRole, Role, assumed, role_of, session_name
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.core.accounts import Member
from ecrsweep.core.errors import (
    AwsFailure,
    BadInput,
    CallerFailure,
    ClosedByOrganization,
    CredentialsFailure,
    Denied,
    Interrupted,
    Missing,
    RoleForbidden,
    RoleRefused,
    RoleRegionDisabled,
    RoleUnreachable,
    Throttled,
    Unreachable,
    WrongAccount,
)
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.eks import account_of
from tests.support import ACCOUNT

MEMBER = "210987654321"
RUN = "20261125T101112.131Z-abcdef12"
ROLE = Role("aws", MEMBER, "sweep/ecrsweep")
BY_ROLE = Member(MEMBER, role="sweep/ecrsweep")

Caller = Callable[..., AwsSession]


@pytest.fixture
def caller(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """A session of the account in which the program runs."""
    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)
    aws.ecr.repository("team/app", account=MEMBER)
    return lambda **given: AwsSession(**{"region": "us-east-1", "environ": aws.environ(), "run": RUN} | given)


def names(session: AwsSession, region: str = "us-east-1") -> list[str]:
    """The repositories of a registry, as sources and stores read it."""
    found = AwsPlace(session, region).pages("ecr", "describe_repositories", "repositories")
    return [repository["repositoryName"] for repository in found]


def test_what_is_asked_with_a_role_is_asked_of_its_account_under_the_name_of_the_run(
    aws: Emulator, caller: Caller
) -> None:
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    session = assumed(caller(), BY_ROLE)
    assert names(session) == ["team/app"]
    assert names(session, "eu-west-1") == []
    assert session.account == MEMBER
    assert session.arn == f"arn:aws:sts::{MEMBER}:assumed-role/ecrsweep/ecrsweep-{RUN}"
    assert {call.session for call in aws.calls.log if call.account == MEMBER} == {f"ecrsweep-{RUN}"}
    asked = [call for call in aws.calls.log if call.operation == "AssumeRole"]
    assert [(call.account, call.region, call.parameters["DurationSeconds"]) for call in asked] == [
        (ACCOUNT, "us-east-1", "3600")
    ]


def test_nothing_is_asked_before_it_is_needed(aws: Emulator, caller: Caller) -> None:
    place = AwsPlace(assumed(caller(), BY_ROLE), "us-east-1")
    assert place.account == MEMBER
    assert aws.calls.log == []
    with pytest.raises(RoleRefused):
        place.client("ecr")


def test_an_external_id_is_handed_on(aws: Emulator, caller: Caller) -> None:
    aws.roles.add(MEMBER, "ecrsweep", [ACCOUNT], external_id="our/secret")
    session = assumed(caller(), Member(MEMBER, role="ecrsweep", external_id="our/secret"))
    assert names(session) == ["team/app"]


def test_a_role_can_be_assumed_through_a_role_because_it_is_asked_for_an_hour_only(
    aws: Emulator, caller: Caller
) -> None:
    aws.roles.add("333333333333", "hub", [ACCOUNT])
    aws.roles.add(MEMBER, "sweep/ecrsweep", ["arn:aws:iam::333333333333:role/hub"], max_session=43_200)
    assert names(assumed(assumed(caller(), Member("333333333333", role="hub")), BY_ROLE)) == ["team/app"]


@pytest.mark.parametrize("minutes", [50, 58])
def test_credentials_that_are_about_to_end_are_renewed_before_they_do(
    aws: Emulator, caller: Caller, minutes: int
) -> None:
    """Botocore begins a quarter of an hour before, and lets nobody wait until ten minutes are left."""
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    session = assumed(caller(), BY_ROLE)
    now = aws.clock.now
    aws.clock.set(now - timedelta(minutes=minutes))
    assert session.arn
    aws.clock.set(now)
    assert aws.calls.count("sts", "AssumeRole") == 1
    assert names(session) == ["team/app"]
    assert aws.calls.count("sts", "AssumeRole") == 2
    assert names(session) == ["team/app"]
    assert aws.calls.count("sts", "AssumeRole") == 2


def test_threads_that_need_a_role_at_once_assume_it_once(aws: Emulator, caller: Caller) -> None:
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    aws.latency = 0.05
    session = assumed(caller(), BY_ROLE)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda _: names(session), range(16))) == [["team/app"]] * 16
    assert aws.calls.count("sts", "AssumeRole") == 1


def test_a_role_signs_the_tokens_of_its_clusters(aws: Emulator, caller: Caller) -> None:
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    sts = AwsPlace(assumed(caller(), BY_ROLE), "eu-west-1").client("sts")
    token = eks_token(sts, "eu-west-1", "prod").removeprefix("k8s-aws-v1.")
    url = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    assert account_of(url, "prod", "eu-west-1", datetime.now(UTC)) == MEMBER


def missing(aws: Emulator) -> None:
    """No such role."""


def not_trusting(aws: Emulator) -> None:
    aws.roles.add(MEMBER, "sweep/ecrsweep", ["999999999999", f"arn:aws:iam::{ACCOUNT}:role/another"])


def other_external_id(aws: Emulator) -> None:
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT], external_id="something")


def forbidden(aws: Emulator) -> None:
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    aws.roles.forbidden.add(ACCOUNT)


def forbidden_by_the_resource(aws: Emulator) -> None:
    text = "User: x is not authorized to perform: sts:AssumeRole with an explicit deny in a resource control policy"
    aws.faults.add(Fault.error("sts", "AssumeRole", "AccessDenied", text, 403))


def region_disabled(aws: Emulator) -> None:
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    aws.roles.without_sts.add((MEMBER, "us-east-1"))


def unreachable(aws: Emulator) -> None:
    aws.faults.add(Fault("drop_before", "sts", "AssumeRole"))


def broken(aws: Emulator) -> None:
    aws.faults.add(Fault("html", "sts", "AssumeRole", status=503))


def callers_credentials_over(aws: Emulator) -> None:
    text = "The security token included in the request is expired"
    aws.faults.add(Fault.error("sts", "AssumeRole", "ExpiredToken", text, 403))


def nobody_known(aws: Emulator) -> None:
    text = "The security token included in the request is invalid."
    aws.faults.add(Fault.error("sts", "*", "InvalidClientTokenId", text, 403, account=ACCOUNT))


def throttled(aws: Emulator) -> None:
    aws.faults.add(Fault.error("sts", "AssumeRole", "Throttling", "Rate exceeded", 400))


FAILURES = [
    (missing, RoleRefused, f"whether account {MEMBER} has no such role, or it does not trust"),
    (not_trusting, RoleRefused, f"arn:aws:sts::{ACCOUNT}:assumed-role/sweeper/run, who gives no external id"),
    (other_external_id, RoleRefused, "mend its trust policy"),
    (forbidden, RoleForbidden, "a policy of the organisation forbids it"),
    (forbidden_by_the_resource, RoleForbidden, "a policy of the organisation forbids it"),
    (region_disabled, RoleRegionDisabled, f"Activate STS in us-east-1 for account {MEMBER}"),
    (unreachable, RoleUnreachable, "STS does not answer"),
    (broken, RoleUnreachable, "STS does not answer"),
    (callers_credentials_over, CallerFailure, "the credentials that are to assume it cannot be used"),
    (nobody_known, CallerFailure, "the credentials that are to assume it cannot be used"),
    (throttled, Throttled, "STS gave no credentials"),
]


@pytest.mark.parametrize(("world", "kind", "words"), FAILURES)
def test_a_role_that_cannot_be_assumed_fails_whatever_is_asked_and_says_why(
    aws: Emulator,
    caller: Caller,
    monkeypatch: pytest.MonkeyPatch,
    world: Callable[[Emulator], None],
    kind: type[AwsFailure],
    words: str,
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    world(aws)
    with pytest.raises(AwsFailure) as caught:
        names(assumed(caller(environ=os.environ), BY_ROLE))
    assert type(caught.value) is kind
    text = str(caught.value)
    assert text.startswith(f"The role {ROLE.arn} cannot be assumed: ")
    assert words in text
    assert f". Until it can, nothing is asked or changed in account {MEMBER}" in text
    assert ".." not in text
    assert not aws.calls.count("ecr")


def test_an_account_whose_role_cannot_be_assumed_is_never_a_closed_region_nor_something_that_is_not_there() -> None:
    for _, kind, _ in FAILURES:
        assert not issubclass(kind, ClosedByOrganization | Missing)
    assert issubclass(RoleRefused, Denied)
    assert issubclass(RoleForbidden, Denied)
    assert issubclass(RoleUnreachable, Unreachable)
    assert issubclass(CallerFailure, CredentialsFailure)


def test_the_external_id_itself_is_never_told(aws: Emulator, caller: Caller) -> None:
    with pytest.raises(RoleRefused, match="who gives the external id that is configured") as caught:
        names(assumed(caller(), Member(MEMBER, role="ecrsweep", external_id="our-secret")))
    assert "our-secret" not in str(caught.value)


def test_a_role_that_is_taken_away_in_the_middle_of_a_run_is_told_and_its_answers_are_no_empty_lists(
    aws: Emulator, caller: Caller
) -> None:
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    session = assumed(caller(), BY_ROLE)
    assert names(session) == ["team/app"]
    aws.roles.remove(MEMBER, "sweep/ecrsweep")
    with pytest.raises(CredentialsFailure, match="UnrecognizedClientException"):
        names(session)


def test_sts_is_not_asked_again_and_again_for_what_it_has_just_refused(aws: Emulator, caller: Caller) -> None:
    now = [0.0]
    role = AssumedRole(ROLE, caller(), lambda: now[0]).load()
    for _ in range(5):
        with pytest.raises(RoleRefused) as caught:
            role.get_frozen_credentials()
    assert caught.value.__cause__ is not None
    assert aws.calls.count("sts", "AssumeRole") == 1
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    now[0] = 61.0
    assert role.get_frozen_credentials().token
    assert aws.calls.count("sts", "AssumeRole") == 2


def test_sessions_of_roles_end_with_the_one_that_assumes_them(aws: Emulator, caller: Caller) -> None:
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    first = caller()
    session = assumed(first, BY_ROLE)
    assert names(session) == ["team/app"]
    first.close()
    with pytest.raises(Interrupted):
        names(session)


def test_each_account_has_a_pace_of_its_own(aws: Emulator, caller: Caller) -> None:
    first = caller()
    others = [assumed(first, member) for member in (BY_ROLE, Member("333333333333", role="x"))]
    assert len({id(session.pace) for session in (first, *others)}) == 3


# Profiles, as users of IAM Identity Center have one an account.


@pytest.fixture
def profiles(aws: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile for the account, one for the member, and one that knows nobody."""
    keys = {"hub": f"AKIAEMULATED{ACCOUNT}", "member": f"AKIAEMULATED{MEMBER}"}
    lines = [f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = emulated" for name, key in keys.items()]
    (tmp_path / "credentials").write_text("\n".join(lines) + "\n[nobody]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    aws.accounts = (ACCOUNT, MEMBER)
    aws.ecr.repository("team/app", account=MEMBER)


def of_profile(aws: Emulator, profile: str) -> AwsSession:
    return AwsSession(profile=profile, region="us-east-1", endpoint_url=aws.url, environ={})


def test_a_profile_is_another_way_into_an_account(aws: Emulator, profiles: None) -> None:
    hub = of_profile(aws, "hub")
    member = assumed(hub, Member(MEMBER, profile="member"))
    assert names(member) == ["team/app"]
    assert (hub.account, member.run) == (ACCOUNT, hub.run)
    with pytest.raises(CredentialsFailure, match="unknown"):
        assumed(hub, Member(MEMBER, profile="unknown"))


def test_a_profile_of_another_account_than_was_meant_is_not_used(aws: Emulator, profiles: None) -> None:
    with pytest.raises(WrongAccount) as caught:
        names(assumed(of_profile(aws, "member"), Member(MEMBER, profile="hub")))
    assert f"Account {MEMBER} was to be asked, but the credentials of profile hub are of account {ACCOUNT}" in str(
        caught.value
    )
    assert not aws.calls.count("ecr")


def test_a_role_whose_credentials_turn_out_to_be_of_another_account_is_not_used(
    aws: Emulator, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws.url)
    aws.roles.add(MEMBER, "sweep/ecrsweep", [ACCOUNT])
    body = (
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::444444444444:user/x</Arn>"
        "<Account>444444444444</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    aws.faults.add(Fault("garbage", "sts", "GetCallerIdentity", account=MEMBER, body=body.encode()))
    with pytest.raises(WrongAccount, match="444444444444"):
        names(assumed(caller(), BY_ROLE))


def test_a_profile_without_credentials_cannot_assume_a_role(aws: Emulator, profiles: None) -> None:
    with pytest.raises(CallerFailure, match="Unable to locate credentials"):
        names(assumed(of_profile(aws, "nobody"), BY_ROLE))


def test_an_account_to_which_nobody_named_a_way_cannot_be_asked(caller: Caller) -> None:
    with pytest.raises(AwsFailure, match="neither a role nor a profile"):
        assumed(caller(), Member(MEMBER))


# Partitions and names.


@pytest.mark.parametrize(
    ("partition", "region", "endpoint"),
    [
        ("aws", "us-east-1", "https://sts.us-east-1.amazonaws.com"),
        ("aws", "ap-south-2", "https://sts.ap-south-2.amazonaws.com"),
        ("aws-cn", "cn-northwest-1", "https://sts.cn-northwest-1.amazonaws.com.cn"),
        ("aws-us-gov", "us-gov-east-1", "https://sts.us-gov-east-1.amazonaws.com"),
        ("aws-eusc", "eusc-de-east-1", "https://sts.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_sts_is_asked_in_the_region_and_partition_of_the_caller_whatever_the_settings_of_old(
    monkeypatch: pytest.MonkeyPatch, partition: str, region: str, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
    session = AwsSession(region=region, environ={})
    assert session.client("sts", region).meta.endpoint_url == endpoint
    assert session.partition == partition
    role = role_of("service-role/x", partition=session.partition, account=MEMBER)
    assert role.arn == f"arn:{partition}:iam::{MEMBER}:role/service-role/x"
    assert assumed(session, Member(MEMBER, role=role.arn)).partition == partition
    other = "aws-cn" if partition == "aws" else "aws"
    with pytest.raises(BadInput, match="another partition"):
        assumed(session, Member(MEMBER, role=f"arn:{other}:iam::{MEMBER}:role/x"))


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("ecrsweep", Role("aws", MEMBER, "ecrsweep")),
        ("service-role/x", Role("aws", MEMBER, "service-role/x")),
        ("/a/b/c", Role("aws", MEMBER, "a/b/c")),
        (f"arn:aws:iam::{MEMBER}:role/x", Role("aws", MEMBER, "x")),
        (f"arn:aws-cn:iam::{MEMBER}:role/a/b", Role("aws-cn", MEMBER, "a/b")),
    ],
)
def test_a_role_is_named_by_its_arn_or_by_name_and_account(text: str, role: Role) -> None:
    assert role_of(text, partition="aws", account=MEMBER) == role
    assert role_of(role.arn, partition="aws") == role


@pytest.mark.parametrize(
    ("text", "given", "words"),
    [
        ("", {"account": MEMBER}, "is not the name of a role"),
        ("a b", {"account": MEMBER}, "is not the name of a role"),
        ("x" * 65, {"account": MEMBER}, "is not the name of a role"),
        ("x/", {"account": MEMBER}, "is not the name of a role"),
        ("x", {}, "needs the account"),
        ("x", {"account": "12345"}, "needs the account"),
        (f"arn:aws:iam::{MEMBER}:user/x", {}, "is not the ARN of a role"),
        ("arn:aws:iam::12:role/x", {}, "is not the ARN of a role"),
        (f"arn:aws:iam::{MEMBER}:role/x", {"account": ACCOUNT}, f"is of account {MEMBER}, and was named for account"),
        ("x", {"account": MEMBER, "external_id": "a b"}, "The external id"),
    ],
)
def test_what_is_no_role_is_told_before_anything_is_asked(text: str, given: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        role_of(text, partition="aws", **given)


@given(st.text())
def test_whatever_the_run_is_called_the_session_has_a_name_that_sts_takes(run: str) -> None:
    name = session_name(run)
    assert 2 <= len(name) <= 64
    assert name.isascii()
    assert not set(name) - set("=,.@-_+") - {char for char in name if char.isalnum()}
    assert name.startswith("ecrsweep-")
