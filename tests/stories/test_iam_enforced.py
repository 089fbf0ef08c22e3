"""The policies proven: runs under an IAM that really decides, with the whole policy, and with each action missing."""

import copy
import json
import re
import uuid
from collections.abc import Container, Iterator
from typing import Any

import pytest
from ministack.core import router

from ecrsweep.aws.bucket import ACTIONS as BUCKET_ACTIONS
from ecrsweep.aws.ecr import DELETE_ACTIONS, OWNERS_ACTIONS, READ_ACTIONS, SHARING_ACTIONS
from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from ecrsweep.sources import OWN, chosen_sources
from ecrsweep.wiring.policies import REGIONS_ACTIONS, Purpose, Wanted, policy_document
from tests import ministack_server
from tests.everything import FURNISHED, fill_ledger, furnish
from tests.judge import Judge
from tests.support import ACCOUNT, Cli, Finished, ago

OFF_BY_DEFAULT = [name for name in FURNISHED if not OWN[name]().about.by_default]
EVERY_SOURCE = [flag for name in OFF_BY_DEFAULT for flag in ("--with-source", name)]
SCOPE = ("--region", "us-east-1", "--repository", "team/*")
"""Registries and repositories of these runs; each says itself whose use it asks for."""

AT_HOME = (*SCOPE, "--consumer-region", "us-east-1", *EVERY_SOURCE)
RULES = ("--keep-newest", "0", "--pulled-within", "0d")
BUCKET = "ecrsweep-under-judgement"

Policy = dict[str, Any]


def policy(purpose: Purpose, *, abroad: bool = False, bucket: str | None = None) -> Policy:
    """What `ecrsweep iam-policy` prints for the scope of these tests; `abroad` for uses in every region."""
    return policy_document(
        Wanted(
            purpose=purpose, sources=chosen_sources(OFF_BY_DEFAULT, ()), regions=("us-east-1",), repositories=("team/*",),
            consumer_regions=None if abroad else ("us-east-1",), account=ACCOUNT, partition="aws", bucket=bucket,
        )
    )  # fmt: skip


def without(whole: Policy, *actions: str) -> Policy:
    """The policy with some actions missing."""
    less = copy.deepcopy(whole)
    for statement in less["Statement"]:
        statement["Action"] = [one for one in statement["Action"] if one not in actions]
    less["Statement"] = [statement for statement in less["Statement"] if statement["Action"]]
    left = {action for statement in whole["Statement"] for action in statement["Action"]} - set(actions)
    assert {action for statement in less["Statement"] for action in statement["Action"]} == left
    return less


def asking(sources: Container[str]) -> list[str]:
    """The flags by which these sources are asked at home, and no others."""
    skipped = [name for name in FURNISHED if name not in sources and name not in OFF_BY_DEFAULT]
    added = [name for name in OFF_BY_DEFAULT if name in sources]
    words = [("--skip-source", name) for name in skipped] + [("--with-source", name) for name in added]
    return [*SCOPE, "--consumer-region", "us-east-1", *(word for pair in words for word in pair)]


def taken_away_together() -> list[set[str]]:
    """The actions of SageMaker, which are many, in three parts. None of a part comes to be called by way of another of it."""
    actions = {*OWN["sagemaker"]().actions}
    inside = {"sagemaker:ListImageVersions", "sagemaker:ListPipelineVersions"}
    last = {"sagemaker:DescribeImageVersion"}
    lists = {action for action in actions if action.startswith("sagemaker:List")} - inside
    return [lists, actions - lists - last, last]


def rounds() -> list[dict[str, set[str]]]:
    """All actions of sources with the sources that need them, as many together as leave no source without two.

    Those of SageMaker come in parts instead: a round for each would take longer than all the others.
    """
    needing: dict[str, set[str]] = {}
    for name in FURNISHED:
        for action in OWN[name]().actions:
            needing.setdefault(action, set()).add(name)
    parts = taken_away_together()
    parts += [{action} for action in needing if action not in set().union(*parts)]
    found: list[dict[str, set[str]]] = []
    for part in sorted(parts, key=lambda part: (-len(needing[min(part)]), min(part))):
        sources = needing[min(part)]
        fitting = [each for each in found if not sources & set().union(*each.values())]
        if not fitting:
            found.append({})
            fitting = found[-1:]
        fitting[0].update((action, sources) for action in sorted(part))
    return found


OF_THE_REGISTRY = (*READ_ACTIONS, *OWNERS_ACTIONS, *DELETE_ACTIONS)
TOGETHER = rounds()


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with Judge(tmp_path_factory.mktemp("judge")) as started:
        yield started


@pytest.fixture
def repo(aws: Emulator, judge: Judge) -> Repository:
    """The repository of a world in which every call is made; the judge stands before it."""
    made = furnish(aws)
    aws.gate = judge
    return made


@pytest.fixture
def bucket(aws: Emulator, judge: Judge) -> str:
    """An empty bucket."""
    name = f"ecrsweep-{uuid.uuid4()}"
    aws.client("s3").create_bucket(Bucket=name)
    judge.bucket(name)
    return name


def under(cli: Cli, judge: Judge, allowed: Policy) -> Cli:
    """The command line of an IAM user with this policy."""
    return Cli(cli.environ | judge.user(allowed), cli.home)


def tags(repo: Repository) -> set[str]:
    return {tag for image in repo.images() for tag in image.tags}


def printed_statement(text: str) -> set[str]:
    """The actions of the statement that is said to be missing; none where nothing is said."""
    found = text.partition("lacks this statement:\n")[2]
    return set(json.loads(found[: found.index("\n}") + 2])["Action"]) if found else set()


def invoked(cli: Cli, bucket: str, event: Any) -> Finished:
    return cli.handler(event, ECRSWEEP_BUCKET=bucket)


def test_the_policies_judged_here_are_those_that_the_command_prints(cli: Cli) -> None:
    flags = (*AT_HOME, "--account", ACCOUNT)
    assert cli("iam-policy", *flags).json == policy("plan")
    assert cli("iam-policy", "--for", "apply", *flags, "--bucket", "plans").json == policy("apply", bucket="plans")


def test_plan_runs_clean_under_its_policy(cli: Cli, judge: Judge, repo: Repository) -> None:
    plan = under(cli, judge, policy("plan")).plan("--keep-newest", "0", *AT_HOME)
    assert (plan.status, plan.err) == (0, "")
    assert {plan.action(repo.digest_of(tag)) for tag in ("multi", "v0", "v1")} == {"delete"}
    assert plan.action(repo.digest_of("v2")) == "keep"


def test_plan_runs_clean_in_all_regions_under_the_policy_for_all(cli: Cli, judge: Judge, repo: Repository) -> None:
    plan = under(cli, judge, policy("plan", abroad=True)).plan("--keep-newest", "0", *SCOPE)
    assert (plan.status, plan.err) == (0, "")


def test_apply_runs_clean_under_its_policy(cli: Cli, judge: Judge, repo: Repository) -> None:
    ended = under(cli, judge, policy("apply"))("apply", "--yes", *RULES, *AT_HOME)
    assert (ended.status, ended.err) == (0, "")
    assert tags(repo) == {"v2"}


@pytest.mark.parametrize(("purpose", "flags"), [("guard", ()), ("guard-preview", ("--preview",))])
def test_guard_runs_clean_under_its_policy(
    cli: Cli, judge: Judge, repo: Repository, purpose: Purpose, flags: tuple[str, ...]
) -> None:
    ended = under(cli, judge, policy(purpose))("guard", *flags, *AT_HOME)
    assert (ended.status, ended.err) == (0, ""), ended.out


def test_a_saved_plan_is_applied_under_the_policy_of_apply_after_it_was_made_under_that_of_plan(
    cli: Cli, judge: Judge, repo: Repository
) -> None:
    file = str(cli.home / "plan.jsonl")
    assert under(cli, judge, policy("plan")).plan("--keep-newest", "0", "--save", file, *AT_HOME).status == 0
    ended = under(cli, judge, policy("apply"))("apply", file, "--yes")
    assert (ended.status, ended.err) == (0, "")
    assert tags(repo) == {"v2"}


def test_the_original_runs_clean_under_the_policy_for_all_regions(cli: Cli, judge: Judge, repo: Repository) -> None:
    limits = ("-region", "us-east-1", "-imagestokeep", "0")
    ended = under(cli, judge, policy("apply", abroad=True)).original("-dryrun", "False", *limits)
    assert ended.status == 0, ended.out + ended.err
    assert tags(repo) == {"v2"}


def test_the_policy_of_plan_is_not_enough_to_delete(cli: Cli, judge: Judge, repo: Repository) -> None:
    before = tags(repo)
    ended = under(cli, judge, policy("plan"))("apply", "--yes", *RULES, *AT_HOME)
    assert ended.status == 4
    assert "not authorized to perform: ecr:BatchDeleteImage" in ended.out
    assert printed_statement(ended.err) == {"ecr:BatchDeleteImage"}
    assert "ecrsweep iam-policy --for apply" in ended.err
    assert tags(repo) == before


@pytest.mark.parametrize("action", OF_THE_REGISTRY)
def test_an_action_on_the_registry_that_is_missing_fails_by_name(
    cli: Cli, judge: Judge, repo: Repository, action: str
) -> None:
    before = tags(repo)
    ended = under(cli, judge, without(policy("apply"), action))("apply", "--yes", *RULES, *asking({"ecs"}))
    assert ended.status == (4 if action in DELETE_ACTIONS else 5), ended.out + ended.err
    assert f"{action} was denied in us-east-1" in ended.out
    assert action in printed_statement(ended.err)
    assert tags(repo) == before


@pytest.mark.parametrize("missing", TOGETHER, ids=lambda missing: f"{len(missing)} like {next(iter(missing))}")
def test_each_action_that_is_missing_fails_the_sources_that_need_it_by_name(
    cli: Cli, judge: Judge, repo: Repository, missing: dict[str, set[str]]
) -> None:
    before = tags(repo)
    judge.refused.clear()
    lesser = under(cli, judge, without(policy("apply"), *missing))
    ended = lesser("apply", "--yes", "--output", "json", *RULES, *asking(set().union(*missing.values())))
    assert ended.status == 5, ended.out + ended.err
    failed = {entry["source"]: entry["error"] for entry in ended.json["coverage"] if entry["status"] == "failed"}
    assert failed.keys() == set().union(*missing.values())
    assert judge.refused == missing.keys()
    printed = printed_statement(ended.err)
    for source, error in failed.items():
        # A source names the first that it lacks. tests/sources/listed has it name each of its calls.
        first = min(action for action, sources in missing.items() if source in sources)
        assert f"{first} was denied in us-east-1" in error
        assert first in printed
    assert tags(repo) == before


@pytest.mark.parametrize("action", SHARING_ACTIONS)
def test_who_may_not_ask_who_else_may_pull_is_told_so_and_the_rest_goes_on(
    cli: Cli, judge: Judge, repo: Repository, action: str
) -> None:
    plan = under(cli, judge, without(policy("plan"), action)).plan("--keep-newest", "0", *asking({"ecs"}))
    assert plan.status == 0, plan.out + plan.err
    (entry,) = (entry for entry in plan.json["coverage"] if entry["source"] == "consumers")
    assert (entry["status"], entry["error"][:31]) == ("skipped", "who else may pull is not known:")
    assert f"{action} was denied in us-east-1" in entry["error"]


def test_no_action_goes_unjudged() -> None:
    judged = {
        *OF_THE_REGISTRY,
        *SHARING_ACTIONS,
        *REGIONS_ACTIONS,
        *(action for missing in TOGETHER for action in missing),
    }
    assert judged == {action for statement in policy("apply")["Statement"] for action in statement["Action"]}


def test_where_the_regions_may_not_be_listed_that_is_what_is_said(cli: Cli, judge: Judge, repo: Repository) -> None:
    lesser = under(cli, judge, without(policy("apply", abroad=True), "ec2:DescribeRegions"))
    ended = lesser("apply", "--yes", *RULES, *SCOPE)
    assert ended.status == 5
    assert "ec2:DescribeRegions was denied" in ended.out
    assert printed_statement(ended.err) == {"ec2:DescribeRegions"}
    assert "multi" in tags(repo)


def test_the_handler_runs_clean_under_the_policy_with_its_bucket(
    cli: Cli, judge: Judge, repo: Repository, bucket: str
) -> None:
    function = under(cli, judge, policy("apply", bucket=bucket, abroad=True))
    settings = {"regions": ["us-east-1"], "repositories": ["team/*"], "keep_newest": 0, "pulled_within": "0d"}
    planned = invoked(function, bucket, {"command": "plan"} | settings)
    assert planned.status == 0, planned.err
    event = {"command": "apply", "plan": planned.json["plan"]}
    ended = invoked(function, bucket, event)
    assert ended.status == 0, ended.err
    assert tags(repo) == {"v2"}


@pytest.mark.parametrize("action", sorted({*BUCKET_ACTIONS} - {"s3:DeleteObject"}))
def test_an_action_on_the_bucket_that_is_missing_fails_the_handler_by_name(
    cli: Cli, judge: Judge, repo: Repository, bucket: str, action: str
) -> None:
    lesser = without(policy("apply", bucket=bucket, abroad=True), action)
    ended = invoked(under(cli, judge, lesser), bucket, {"command": "plan", "regions": ["us-east-1"]})
    assert ended.status == 1
    assert f"not authorized to perform: {action}" in ended.err


def test_the_handler_that_may_not_delete_leaves_the_files_of_the_ledger_and_says_why(
    aws: Emulator, cli: Cli, judge: Judge, repo: Repository, bucket: str
) -> None:
    fill_ledger(aws, bucket)
    lesser = without(policy("apply", bucket=bucket, abroad=True), "s3:DeleteObject")
    ended = invoked(under(cli, judge, lesser), bucket, {"command": "plan", "regions": ["us-east-1"]})
    assert ended.status == 0, ended.err
    assert "not authorized to perform: s3:DeleteObject" in ended.out + ended.err


def test_a_policy_for_some_repositories_does_not_reach_the_others(
    aws: Emulator, cli: Cli, judge: Judge, repo: Repository
) -> None:
    other = aws.ecr.repository("web/shop")
    other.push_image(tags=("v1",), pushed_at=ago(days=90))
    everywhere = ("--region", "us-east-1", "--consumer-region", "us-east-1")
    ended = under(cli, judge, policy("apply"))("apply", "--yes", *RULES, *everywhere)
    assert ended.status == 5
    assert "ecr:DescribeImages was denied" in ended.out
    # It was granted for the other repository, and is lacking all the same.
    assert "ecr:DescribeImages" in printed_statement(ended.err)
    assert tags(other) == {"v1"}


def test_a_policy_for_some_regions_does_not_reach_the_others(cli: Cli, judge: Judge, repo: Repository) -> None:
    plan = under(cli, judge, policy("plan")).plan("--keep-newest", "0", *SCOPE)
    assert plan.status == 5
    failed = {entry["region"] for entry in plan.json["coverage"] if entry["status"] == "failed"}
    assert failed == {"eu-west-1", "us-west-2"}
    assert "ecs:ListClusters" in printed_statement(plan.err)


def test_the_judge_knows_who_asks(cli: Cli, judge: Judge, repo: Repository) -> None:
    user = judge.user(policy("plan"))
    forged = Cli(cli.environ | user | {"AWS_SECRET_ACCESS_KEY": "a guess"}, cli.home)
    ended = forged.plan(*AT_HOME)
    assert ended.status == 1
    assert "refused in us-east-1 for the credentials" in ended.err


def test_the_judge_allows_nothing_of_its_own_accord(cli: Cli, judge: Judge, repo: Repository) -> None:
    nobody: Policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "iam:Get*", "Resource": "*"}],
    }
    plan = under(cli, judge, nobody).plan(*AT_HOME)
    assert plan.status == 5
    assert not plan.json["decisions"]


REQUESTS: dict[str, Policy] = {
    **{action: dict.fromkeys(re.findall(r"{(\w+)}", end), "a") for action, end in ministack_server.NAMING_ONE.items()},
    "apprunner:DescribeService": {"ServiceArn": "arn:aws:apprunner:us-east-1:1:service/web/a"},
    "apprunner:ListOperations": {"ServiceArn": "arn:aws:apprunner:us-east-1:1:service/web/a"},
    "codebuild:BatchGetBuildBatches": {"ids": ["web:1"]},
    "codebuild:BatchGetBuilds": {"ids": ["web:1"]},
    "codebuild:BatchGetProjects": {"names": ["web"]},
    "ecr:DescribeRepositories": {"maxResults": 1000},
    "ecs:DescribeServiceDeployments": {
        "serviceDeploymentArns": ["arn:aws:ecs:us-east-1:1:service-deployment/prod/web/a"]
    },
    "ecs:DescribeServiceRevisions": {"serviceRevisionArns": ["arn:aws:ecs:us-east-1:1:service-revision/prod/web/1"]},
    "ecs:DescribeServices": {"cluster": "prod", "services": ["arn:aws:ecs:us-east-1:1:service/prod/web"]},
    "ecs:DescribeTaskDefinition": {"taskDefinition": "arn:aws:ecs:us-east-1:1:task-definition/web:1"},
    "ecs:DescribeTasks": {"cluster": "prod", "tasks": ["arn:aws:ecs:us-east-1:1:task/prod/a"]},
    "ecs:ListServiceDeployments": {"cluster": "prod", "service": "arn:aws:ecs:us-east-1:1:service/prod/web"},
    "ecs:ListServices": {"cluster": "prod"},
    "ecs:ListTasks": {"cluster": "prod"},
    "events:ListRules": {"EventBusName": "default"},
    "events:ListTargetsByRule": {"Rule": "nightly", "EventBusName": "default"},
}


@pytest.mark.parametrize("action", sorted(ministack_server.AS_AWS))
def test_each_judgement_that_is_mended_still_needs_it(action: str) -> None:
    """When ministack names the resource as AWS does, its line in tests/ministack_server.py can go."""
    service, _, operation = action.partition(":")
    headers, body = {"x-amz-target": f"Any.{operation}"}, json.dumps(REQUESTS[action]).encode()
    mended = ministack_server.extract_resource_arn(service, "POST", "/", headers, body, {}, "us-east-1", "1")
    own = ministack_server.named_by_ministack(service, "POST", "/", headers, body, {}, "us-east-1", "1")
    assert own != mended


@pytest.mark.parametrize("service", ministack_server.LACKING)
def test_each_service_that_is_added_is_still_lacking(service: str) -> None:
    assert service not in router.SERVICE_PATTERNS
