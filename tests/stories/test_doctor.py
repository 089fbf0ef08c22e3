"""What works and what is missing, told before anybody plans; and nothing is changed by asking."""

import json
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.ecs import EcsState
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, ago

PRINCIPAL = f"arn:aws:iam::{ACCOUNT}:role/sweeper"


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """One image, and a task definition that uses it."""
    made = aws.ecr.repository("team/app")
    made.push_image(tags=("v1",), pushed_at=ago(days=90))
    made.push_index([made.push_image(pushed_at=ago(days=90))], tags=("multi",), pushed_at=ago(days=90))
    aws.ecs.register("web", {"web": f"{made.uri}:v1"})
    return made


def source(found: dict[str, Any], name: str) -> dict[str, Any]:
    (entry,) = (entry for entry in found["sources"] if entry["source"] == name)
    return dict(entry)


def checks(found: dict[str, Any], region: str = "us-east-1") -> dict[str, str]:
    (registry,) = (registry for registry in found["registries"] if registry["region"] == region)
    return {check["action"]: check["state"] for check in registry["checks"]}


def test_where_all_works_it_says_so_and_changes_nothing(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.simulation = {}
    shown = cli("doctor")
    assert shown.status == 0, shown.err
    assert f"Account {ACCOUNT} as arn:aws:sts::{ACCOUNT}:assumed-role/sweeper/run" in shown.out
    assert "Regions: 3 enabled, 4 not switched on" in shown.out
    assert "Deleting (ecr:BatchDeleteImage): allowed, by the simulation of IAM" in shown.out
    assert "Ledger: " in shown.out
    assert "no earlier run has written one yet" in shown.out
    assert shown.out.endswith("All that was asked works.\n")
    assert not list((cli.home).rglob("ledger")), "nothing is written down"
    changing = {call.operation for call in aws.calls.log if not call.operation.startswith(("Get", "List", "Describe"))}
    assert changing == {"BatchGetImage", "SimulatePrincipalPolicy"}
    assert all(image.pulled_at is None for image in repo.images()), "no pull time has moved"
    assert aws.ecr.exclusions in ({}, {(ACCOUNT, "us-east-1"): {}})


def test_as_json_it_tells_the_same_to_programs(aws: Emulator, cli: Cli, repo: Repository) -> None:
    found = cli("doctor", "--output", "json").json
    assert (found["format"], found["works"]) == ("ecrsweep.doctor/1", True)
    assert found["identity"]["principal"] == PRINCIPAL
    assert set(checks(found).values()) == {"works"}
    ecs = source(found, "ecs")
    assert (ecs["state"], ecs["uses"], len(ecs["works_in"])) == ("works", 1, 3)
    assert "ecs:DescribeServices" in found["untried_actions"]
    assert found["not_simulated"].startswith("iam:SimulatePrincipalPolicy was denied")
    assert found["missing_permissions"] == []


def test_what_is_denied_is_named_with_the_statement_that_grants_it(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.simulation = {"ecr:BatchDeleteImage": "implicitDeny", "ecs:ListServiceDeployments": "explicitDeny"}
    aws.faults.add(Fault.denied("ecs", "ListTaskDefinitions", region="eu-west-1"))
    aws.faults.add(Fault.denied("ecr", "BatchGetImage"))
    shown = cli("doctor")
    assert shown.status == 5
    assert "denied ecs:ListTaskDefinitions in eu-west-1" in shown.out
    assert "GAP: ecr@123456789012/us-east-1: ecr:BatchGetImage was denied" in shown.out
    assert "Deleting (ecr:BatchDeleteImage): not allowed (implicitDeny)" in shown.out
    assert "IAM would refuse, by its own simulation: ecs:ListServiceDeployments" in shown.out
    assert "2 gaps" in shown.out
    statement = json.loads(shown.err[shown.err.index("{") : shown.err.rindex("}") + 1])
    assert "ecr:BatchGetImage" in statement["Action"]
    assert source(cli("doctor", "--output", "json").json, "ecs")["state"] == "denied"


def test_regions_that_are_closed_or_cannot_be_reached_are_told_apart(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault.closed("us-west-2"))
    aws.faults.add(Fault.unreachable("eu-west-1"))
    ended = cli("doctor", "--output", "json", AWS_MAX_ATTEMPTS="1")
    assert ended.status == 5
    assert ended.json["regions"]["closed"] == ["us-west-2"]
    assert ended.json["regions"]["unreachable"] == ["eu-west-1"]
    states = {entry["region"]: entry["state"] for entry in source(ended.json, "ecs")["exceptions"]}
    assert states == {"us-west-2": "closed by a service control policy", "eu-west-1": "unreachable"}


def test_where_the_regions_or_the_registry_may_not_be_listed(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault.denied("ec2", "DescribeRegions"))
    aws.faults.add(Fault.denied("ecr", "DescribeRepositories"))
    ended = cli("doctor")
    assert ended.status == 5
    assert "Regions: not known: ec2:DescribeRegions was denied" in ended.out
    assert "not tried" in ended.out
    assert '"ec2:DescribeRegions"' in ended.err
    assert '"ecr:DescribeRepositories"' in ended.err


def test_whether_the_role_moves_pull_times_and_how_to_change_that(aws: Emulator, cli: Cli, repo: Repository) -> None:
    command = f"aws ecr register-pull-time-update-exclusion --region us-east-1 --principal-arn {PRINCIPAL}"
    assert command in cli("doctor").out
    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    for excluded, registered in ((other, False), (PRINCIPAL.replace("role/", "role/some/path/"), True)):
        aws.client("ecr").register_pull_time_update_exclusion(principalArn=excluded)
        found = cli("doctor", "--output", "json").json
        assert [entry["registered"] for entry in found["pull_time_exclusion"]] == [registered]
    aws.faults.add(Fault.denied("ecr", "ListPullTimeUpdateExclusions"))
    ended = cli("doctor")
    assert ended.status == 0, "a permission that is only for a hint is no gap"
    assert "not known whether reads of this identity move them" in ended.out


def test_sources_that_are_skipped_or_off_are_shown(aws: Emulator, cli: Cli, repo: Repository) -> None:
    found = cli("doctor", "--output", "json", "--skip-source", "ecs")
    assert (found.status, source(found.json, "ecs")["state"]) == (0, "skipped")


def test_a_source_that_tells_far_less_than_before_is_a_gap_here_too(aws: Emulator, cli: Cli, repo: Repository) -> None:
    assert cli("plan").status == 0
    aws.ecs = EcsState(aws.clock, aws.ecr, aws.account, aws.region)
    ended = cli("doctor")
    assert ended.status == 5
    assert "had 1 use of 1 image at the last accepted run" in ended.out
    assert cli("doctor", "--accept-drop", "ecs").status == 0
    assert cli("doctor").status == 5, "doctor accepts nothing for others"


def test_who_else_may_pull_is_told(aws: Emulator, cli: Cli, repo: Repository) -> None:
    cli = cli.asking("ecs")
    assert "Who else may pull: nobody who is not asked" in cli("doctor").out
    statement = {"Effect": "Allow", "Principal": {"AWS": "444444444444"}, "Action": "ecr:BatchGetImage"}
    aws.client("ecr").set_repository_policy(
        repositoryName=repo.name, policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    ended = cli("doctor", "--output", "json")
    assert ended.status == 0, "it may be meant so"
    (told,) = ended.json["outsiders"]
    assert told["notes"] == ["account 444444444444 may pull team/app and is not asked"]
    assert (told["error"], told["holds"]) == (None, False)


def test_where_nobody_may_ask_who_else_may_pull_it_says_what_is_not_known(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    aws.faults.add(Fault.denied("ecr", "GetRegistryPolicy"))
    ended = cli.asking("ecs")("doctor")
    assert ended.status == 0, "a permission that is only for a warning is no gap"
    assert f"Who else may pull: not known in {ACCOUNT}/us-east-1" in ended.out
    assert "ecr:GetRegistryPolicy was denied" in ended.out
    assert "nobody would notice" in ended.out


def test_what_the_organisation_denies_no_statement_grants(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault.closed("us-east-1", "ecs", "ListTaskDefinitions"))
    ended = cli.asking("ecs")("doctor", "--output", "json")
    assert ended.status == 5
    assert ended.json["missing_permissions"] == []
    assert "lacks this statement" not in ended.err


def test_without_credentials_there_is_nothing_to_examine(aws: Emulator, cli: Cli) -> None:
    ended = cli("doctor", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert ended.status == 1
    assert "no usable AWS credentials" in ended.err
    assert ended.out == ""


def test_credentials_that_end_say_when(aws: Emulator, cli: Cli, repo: Repository) -> None:
    until = "2099-01-01T00:00:00Z"
    found = cli("doctor", "--output", "json", AWS_CREDENTIAL_EXPIRATION=until, AWS_SESSION_TOKEN="token")
    assert found.json["identity"]["valid_until"] == until
    assert found.json["identity"]["origin"] == "env"
