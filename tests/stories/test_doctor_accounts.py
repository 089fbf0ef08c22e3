"""What works and what is missing in each of several accounts, and the very command that would mend it."""

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ecrsweep.emulator import Clock, Emulator, Fault
from tests.support import ROOT, Cli, Finished, ago

TOOLING, HUB, SHOP, BANK = "111111111111", "222222222222", "333333333333", "444444444444"
HOME, ABROAD = "us-east-1", "eu-west-1"
ROLE = "ecrsweep"
CALLER = f"arn:aws:iam::{TOOLING}:role/sweeper"
LISTED = ("--account", HUB, "--account", SHOP, "--account", BANK, "--role-name", ROLE)


@pytest.fixture
def aws() -> Iterator[Emulator]:
    """A tooling account that is trusted by a hub with images, and by two others."""
    accounts, regions = (HUB, SHOP, BANK), (ABROAD, HOME, "us-west-2")
    with Emulator(clock=Clock(datetime.now(UTC)), account=TOOLING, accounts=accounts, regions=regions) as running:
        for account in accounts:
            running.roles.add(account, ROLE, [TOOLING])
        running.ecr.repository("team/app", account=HUB, region=HOME).push_image(("v1",), pushed_at=ago(days=9))
        yield running


@pytest.fixture
def asking(cli: Cli) -> Cli:
    """The command line, asking ECS alone."""
    return cli.asking("ecs")


def account(ended: Finished, number: str) -> dict[str, Any]:
    """What doctor says of one account."""
    (found,) = (entry for entry in ended.json["accounts"] if entry["account"] == number)
    return dict(found)


def commands(told: dict[str, Any]) -> list[str]:
    return [command for remedy in told["remedies"] for command in remedy["commands"]]


def test_each_account_has_its_state_and_its_regions_theirs(aws: Emulator, asking: Cli) -> None:
    aws.roles.remove(SHOP, ROLE)
    aws.faults.add(Fault.closed("us-west-2", account=BANK))
    aws.faults.add(Fault.unreachable(ABROAD, account=HUB))
    ended = asking("doctor", *LISTED, "--output", "json", AWS_MAX_ATTEMPTS="1")
    assert ended.status == 5
    states = {entry["account"]: entry["state"] for entry in ended.json["accounts"]}
    assert states == {
        TOOLING: "caller only", HUB: "asked", SHOP: "no role or no trust", BANK: "asked",
    }  # fmt: skip
    assert account(ended, HUB)["principal"] == f"arn:aws:iam::{HUB}:role/{ROLE}"
    assert account(ended, HUB)["regions"]["unreachable"] == [ABROAD]
    assert account(ended, BANK)["regions"]["closed"] == ["us-west-2"]
    assert account(ended, BANK)["gaps"] == 0, "what is closed to all is no gap"
    assert len(account(ended, BANK)["regions"]["not_switched_on"]) == 4
    assert [(entry["account"], entry["repositories"]) for entry in ended.json["registries"]] == [
        (HUB, 1), (SHOP, None), (BANK, 0),
    ]  # fmt: skip
    assert {entry["account"] for entry in ended.json["pull_time_exclusion"]} == {HUB, BANK}


def test_people_see_a_line_an_account_and_below_it_what_is_wrong(aws: Emulator, asking: Cli) -> None:
    aws.roles.remove(SHOP, ROLE)
    aws.faults.add(Fault.closed("us-west-2", account=BANK))
    aws.faults.add(Fault.denied("ecs", "ListTaskDefinitions", account=HUB, region=ABROAD))
    ended = asking("doctor", *LISTED)
    assert ended.status == 5
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines() if line[:12].isdigit()}
    assert rows[HUB] == ["asked", "1", "of", "1", "3", "of", "3", "2", "of", "3", "0", "1"]
    assert rows[BANK] == ["asked", "1", "of", "1", "2", "of", "3", "2", "of", "2", "0", "0"]
    assert rows[SHOP] == ["no", "role", "or", "no", "trust", "0", "of", "1", "-", "0", "of", "1", "0", "2"]
    assert f"Closed by a service control policy: us-west-2: account {BANK}" in ended.out
    assert f"GAP: ecs: denied ecs:ListTaskDefinitions: {HUB}/{ABROAD}" in ended.out
    assert f"Missing permissions: account {HUB}" in ended.out
    assert "--for member > policy.json" in ended.out
    assert f"--principal-arn arn:aws:iam::{BANK}:role/{ROLE}" in ended.out
    assert "ecs:ListTaskDefinitions in" not in ended.err, "each policy is told with its account"


def test_verbose_shows_every_account_in_full(aws: Emulator, asking: Cli) -> None:
    ended = asking("doctor", *LISTED, "--verbose")
    assert ended.status == 0, ended.out
    for number in (HUB, SHOP, BANK):
        assert f"Account {number} as arn:aws:sts::{number}:assumed-role/{ROLE}/" in ended.out
    assert ended.out.count("SOURCE ") == 3
    assert ended.out.endswith("All that was asked works.\n")


@pytest.mark.parametrize(
    ("simulation", "state", "mends"),
    [
        ({}, "no role or no trust", ["aws cloudformation deploy"]),
        ({"sts:AssumeRole": "implicitDeny"}, "assuming not allowed", ["--for caller"]),
    ],
)
def test_whose_policy_keeps_us_out_is_told_where_iam_says_so(
    aws: Emulator, asking: Cli, simulation: dict[str, str], state: str, mends: list[str]
) -> None:
    aws.roles.remove(SHOP, ROLE)
    aws.simulation = simulation
    told = account(asking("doctor", "--account", SHOP, "--role-name", ROLE, "--output", "json"), SHOP)
    assert told["state"] == state
    for part in ("aws cloudformation deploy", "--for caller"):
        assert any(part in command for command in commands(told)) is (part in mends)


def test_the_command_for_a_missing_role_is_one_that_the_template_takes(aws: Emulator, asking: Cli) -> None:
    aws.roles.remove(SHOP, ROLE)
    ended = asking("doctor", "--account", SHOP, "--role-name", ROLE, "--external-id", "a/b", "--output", "json")
    deploy = next(command for command in commands(account(ended, SHOP)) if command.startswith("aws"))
    words = shlex.split(deploy)
    given = dict(word.split("=", 1) for word in words[words.index("--parameter-overrides") + 1 :])
    assert given.pop("OrganizationId").startswith("$(aws organizations describe-organization")
    assert given == {"CallerRoleArn": CALLER, "RoleName": ROLE, "ExternalId": "a/b"}
    template = (ROOT / words[words.index("--template-file") + 1]).read_text()
    for name in (*given, "OrganizationId"):
        assert f"\n  {name}:\n    Type: String\n" in template


def test_the_policies_that_it_names_can_be_printed(aws: Emulator, asking: Cli) -> None:
    aws.roles.remove(SHOP, ROLE)
    aws.faults.add(Fault.denied("ecs", "ListClusters", account=BANK))
    ended = asking("doctor", *LISTED, "--output", "json")
    printing = [
        command.partition(" > ")[0]
        for number in (SHOP, BANK)
        for command in commands(account(ended, number))
        if command.startswith("ecrsweep")
    ]
    assert len(printing) == 2
    granted = [json.dumps(asking(*shlex.split(command)[1:]).json) for command in printing]
    assert f"role/{ROLE}" in granted[0]
    assert all(action in granted[1] for action in account(ended, BANK)["missing_permissions"])


@pytest.mark.parametrize(
    ("trouble", "state", "said"),
    [
        ("forbidden", "denied by organisation", "Let that policy allow sts:AssumeRole"),
        ("unreachable", "unreachable", "STS does not answer"),
    ],
)
def test_an_account_that_only_others_can_open_is_told_as_such(
    aws: Emulator, asking: Cli, trouble: str, state: str, said: str
) -> None:
    if trouble == "forbidden":
        aws.roles.forbidden.add(TOOLING)
    else:
        aws.faults.add(Fault.error("sts", "AssumeRole", "InternalFailure", "Sorry", 500))
    ended = asking("doctor", "--account", SHOP, "--role-name", ROLE, "--output", "json", AWS_MAX_ATTEMPTS="1")
    told = account(ended, SHOP)
    assert (ended.status, told["state"], commands(told)) == (5, state, [])
    assert said in told["error"]
    assert ended.json["missing_permissions"] == []


def test_a_suspended_account_and_a_profile_of_the_wrong_one(aws: Emulator, asking: Cli) -> None:
    """The accounts are those of the organisation, as AWS Organizations tells them."""
    organization = aws.client("organizations", account=TOOLING)
    organization.create_organization(FeatureSet="ALL")
    made = organization.create_account(AccountName="old shop", Email="old@example.com")
    suspended = made["CreateAccountStatus"]["AccountId"]
    organization.close_account(AccountId=suspended)
    profiles = asking.home / "profiles"
    profiles.write_text(f"[profile wrong]\naws_access_key_id=AKIAEMULATED{HUB}\naws_secret_access_key=emulated\n")
    config = asking.home / "many.yaml"
    config.write_text(
        f"""
registries: [{{account: "{HUB}", role: {ROLE}}}]
consumers:
  accounts:
    - {{account: "{HUB}", role: {ROLE}}}
    - {{account: "{BANK}", profile: wrong}}
    - {{organization: {{except: ["{TOOLING}"]}}, role: {ROLE}}}
"""
    )
    ended = asking("doctor", "--config", str(config), "--skip-source", "lambda", AWS_CONFIG_FILE=str(profiles))
    assert ended.status == 5
    assert f"Not asked: suspended or closed: account {suspended}" in ended.out
    assert f"account {suspended} is SUSPENDED, says AWS Organizations" in ended.out
    assert f"--accept-gap all@{suspended}" in ended.out
    assert "old shop" in ended.out
    assert f"Not asked: wrong account: account {BANK}" in ended.out
    assert f"of profile wrong are of account {HUB}" in ended.out
    assert "Make the role" not in ended.out
    assert "Traceback" not in ended.err
