"""A configuration as a user has it: policies by repository, flags before it, a saved plan beside it, and every mistake told."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

from ecrsweep.config.schema import schema_of
from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, Finished, ago

QUIET = "pulled_within: off, used_within: off"
POLICIES = f"""
policies:
  - {{name: team, repositories: [team/*], newest: 2, {QUIET}}}
  - {{name: tools, repositories: [tools/*], otherwise: keep, newest: 0, {QUIET}}}
"""


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Five old images in each of three repositories; that of team/app."""
    for name in ("team/app", "tools/ci", "other"):
        made = aws.ecr.repository(name)
        for version in range(5):
            made.push_image(tags=(f"v{version}",), pushed_at=ago(days=100 - version))
    return aws.ecr.repository("team/app")


def written(cli: Cli, text: str, name: str = "ecrsweep.yaml") -> str:
    (cli.home / name).write_text(text)
    return str(cli.home / name)


def going(ended: Finished) -> dict[str, list[str]]:
    """The tags that go, by repository."""
    found: dict[str, list[str]] = {}
    for row in ended.json["decisions"]:
        if row["action"] == "delete":
            found.setdefault(f"{row['region']} {row['repository']}", []).extend(row["tags"])
    return {name: sorted(tags) for name, tags in found.items()}


def test_the_first_policy_that_matches_governs_and_what_none_governs_stays(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    plan = cli("plan", "--output", "json", "--config", written(cli, POLICIES))
    assert plan.status == 0, plan.err
    assert going(plan) == {"us-east-1 team/app": ["v0", "v1", "v2"]}
    codes = {row["repository"]: {reason["code"] for reason in row["reasons"]} for row in plan.json["decisions"]}
    assert "kept_by_policy" in codes["tools/ci"]
    assert codes["other"] == {"not_governed"}
    assert [policy["name"] for policy in plan.json["policy"]] == ["team", "tools"]
    assert list(Draft202012Validator(schema_of("plan", [])).iter_errors(plan.json)) == []


def test_flags_come_before_the_file_and_a_list_of_flags_replaces_its_list(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    aws.ecr.repository("team/app", region="eu-west-1").push_image(("far",), pushed_at=ago(days=90))
    file = written(cli, f"registry: {{regions: [eu-west-1]}}\nlimits: {{max_images: 1}}\n{POLICIES}")
    plan = cli("plan", "--output", "json", "--region", "us-east-1", "--max-images", "50", ECRSWEEP_CONFIG=file)
    assert plan.status == 0, plan.err
    assert plan.json["scope"]["regions"] == ["us-east-1"]
    assert plan.json["scope"]["limits"]["max_images"] == 50


def test_without_policies_in_the_file_the_flags_make_the_policy(aws: Emulator, cli: Cli, repo: Repository) -> None:
    file = written(cli, "limits: {max_images: 1}")
    plan = cli.plan("--config", file, "--keep-newest", "3", "--repository", "team/*")
    assert plan.status == 5
    assert going(plan) == {"us-east-1 team/app": ["v0", "v1"]}
    assert "max-images" in plan.json["verdict"]["detail"] or "1" in plan.json["verdict"]["detail"]


def test_flags_of_retention_beside_policies_are_refused(aws: Emulator, cli: Cli) -> None:
    ended = cli("plan", "--config", written(cli, POLICIES), "--keep-newest", "3", "--pulled-within", "1d")
    assert ended.status == 2
    assert "has policies, so --keep-newest, --pulled-within would not say for which" in ended.err
    assert aws.calls.log == []


def test_every_mistake_is_told_with_its_line_before_aws_is_asked(aws: Emulator, cli: Cli) -> None:
    ended = cli("plan", "--config", written(cli, "policies:\n  - newst: 3\n    grace: 30\n"))
    assert ended.status == 2
    head, *lines = ended.err.splitlines()
    assert head.startswith("Error: 2 problems in ")
    assert [re.sub(r".*yaml:", "", line)[:4] for line in lines] == ["2:5:", "3:12"]
    assert "did you mean newest?" in lines[0]
    assert aws.calls.log == []
    assert "cannot be read" in cli("plan", "--config", "nosuch.yaml").err


def test_a_policy_that_is_never_reached_is_warned_of(aws: Emulator, cli: Cli) -> None:
    ended = cli("iam-policy", "--config", written(cli, "policies: [{name: all}, {name: rest, repositories: [a]}]"))
    assert ended.status == 0
    assert "Warning: " in ended.err
    assert '"rest" governs nothing' in ended.err


def test_a_configuration_of_another_account_does_nothing(aws: Emulator, cli: Cli, repo: Repository) -> None:
    file = written(cli, f'registry: {{account: "210987654321"}}\n{POLICIES}')
    ended = cli("apply", "--yes", "--config", file)
    assert ended.status == 2
    assert "The configuration is of account 210987654321" in ended.err
    assert len(repo.images()) == 5


def test_a_saved_plan_keeps_its_rules_whatever_configuration_stands_beside_it(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    saved = str(cli.home / "plan.jsonl")
    assert cli("plan", "--config", written(cli, POLICIES), "--save", saved).status == 0
    other = written(cli, POLICIES.replace("newest: 2", "newest: 0") + f"state: {cli.home}/memory\n", "other.yaml")
    ended = cli("apply", saved, "--yes", "--output", "json", "--config", other)
    assert ended.status == 0, ended.err
    assert "The plan has its own policies" in ended.err
    assert sorted(tag for image in repo.images() for tag in image.tags) == ["v3", "v4"]
    assert (cli.home / "memory").exists(), "where the ledger lies is no rule of the plan"


def test_gaps_and_holds_of_a_configuration_count_for_a_saved_plan_and_its_account_is_checked(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    saved = str(cli.home / "plan.jsonl")
    assert cli("plan", "--config", written(cli, POLICIES), "--save", saved).status == 0
    written(cli, "- {image: 'team/app:v0', who: me, why: audit}", "holds.yaml")
    ended = cli("apply", saved, "--yes", "--config", written(cli, "holds: [holds.yaml]\nlimits: {max_images: 0}"))
    assert ended.status == 0, ended.err
    assert sorted(tag for image in repo.images() for tag in image.tags) == ["v0", "v3", "v4"]
    refused = cli("apply", saved, "--yes", "--config", written(cli, 'registry: {account: "210987654321"}'))
    assert refused.status == 2


def test_what_a_hold_file_names_stays_and_one_that_cannot_be_read_stops_everything(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    holds = written(cli, "- {image: 'team/app:v0', who: me, why: audit, until: 2099-12-31}\n"
                         "- {image: 'team/app:v1', who: me, why: over, until: 2020-12-31}\n", "holds.yaml")  # fmt: skip
    plan = cli("plan", "--output", "json", "--config", written(cli, POLICIES), "--hold-file", holds)
    assert plan.status == 0, plan.err
    assert going(plan) == {"us-east-1 team/app": ["v1", "v2"]}
    assert plan.json["scope"]["hold_files"] == [holds]
    missing = cli("apply", "--yes", "--config", written(cli, POLICIES + "holds: [nosuch.yaml]"))
    assert missing.status == 2
    assert "nosuch.yaml cannot be read, so nothing was done" in missing.err
    assert len(repo.images()) == 5


def test_a_name_under_an_alias_is_a_name_in_its_registry_for_a_saved_plan_too(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    far = aws.ecr.repository("team/app", region="eu-west-1")
    for version in range(5):
        far.push_image(tags=(f"v{version}",), pushed_at=ago(days=100 - version))
    aws.ecs.register("web", {"web": "registry.example.com/team/app:v0"})
    aws.ecs.register("web2", {"web": "registry.example.com/proxy/team/app:v1"})
    aws.ecs.register("gone", {"web": "registry.example.com/team/app:v9"})
    regions = "registry: {regions: [eu-west-1, us-east-1]}\n"
    alias = f"aliases: {{registry.example.com: {ACCOUNT}/us-east-1}}\n"
    unsaid = cli("plan", "--output", "json", "--config", written(cli, regions + POLICIES))
    assert going(unsaid) == {"us-east-1 team/app": ["v2"], "eu-west-1 team/app": ["v2"]}
    assert unsaid.json["unresolved"] == []
    saved = str(cli.home / "plan.jsonl")
    file = written(cli, regions + alias + POLICIES)
    plan = cli("plan", "--output", "json", "--save", saved, "--config", file)
    assert going(plan) == {"us-east-1 team/app": ["v2"], "eu-west-1 team/app": ["v0", "v1", "v2"]}
    assert "possible" not in plan.details(repo.digest_of("v0"))
    assert "possible" in plan.details(repo.digest_of("v1"))
    assert "registry.example.com/team/app:v9" in {use["reference"] for use in plan.json["unresolved"]}
    assert cli("apply", saved, "--yes").status == 0
    assert len(far.images()) == 2
    assert len(repo.images()) == 4


def test_iam_policy_is_for_what_the_configuration_says(cli: Cli) -> None:
    file = written(cli, f'registry: {{account: "{ACCOUNT}", regions: [eu-west-1]}}\nsources: {{skip: [ecs]}}')
    printed = cli("iam-policy", "--config", file).out
    assert f":ecr:eu-west-1:{ACCOUNT}:repository/*" in printed
    assert "ecs:ListTasks" not in printed
    others = cli("iam-policy", "--config", file, "--for", "caller").out
    assert '"arn:aws:iam::*:role/ecrsweep"' in others, "the account of the registry is not the only one that is asked"


def test_the_policy_of_a_caller_names_the_roles_of_the_accounts_listed(cli: Cli) -> None:
    hub, shop, tools = "111122223333", "444455556666", "777788889999"
    one_by_one = f"""
registries:
  - {{account: "{hub}", role: ops/sweeper}}
consumers:
  accounts:
    - {{account: "{hub}", role: ops/sweeper}}
    - {{account: "{shop}", role: "arn:aws:iam::{shop}:role/reader"}}
    - {{account: "{tools}", profile: tools}}
"""
    caller = ("iam-policy", "--for", "caller", "--partition", "aws", "--config")
    (assume,) = cli(*caller, written(cli, one_by_one)).json["Statement"]
    assert assume["Resource"] == [f"arn:aws:iam::{hub}:role/ops/sweeper", f"arn:aws:iam::{shop}:role/reader"]
    found = cli(*caller, written(cli, "consumers: {accounts: [{organization: {}, role: reader}]}")).json["Statement"]
    assert found[0]["Resource"] == ["arn:aws:iam::*:role/reader"]
    assert [statement["Sid"] for statement in found[1:]] == ["Discover", "DiscoverAccounts", "DiscoverUnits"]


def test_init_writes_what_loads_and_says_why_and_leaves_what_is_there(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    for version in range(6):
        repo.push_image(tags=(f"main-abcdef{version}", f"1.{version}.0"), pushed_at=ago(days=10 - version))
    repo.tag("prod", repo.digest_of("v0"))
    ended = cli("init")
    assert ended.status == 0, ended.err
    text = (cli.home / "ecrsweep.yaml").read_text()
    assert f'account: "{ACCOUNT}"' in text
    assert 'repositories: ["team/*"]   # team/app' in text
    assert "versions such as 1.5.0 (6)" in text
    assert "(?P<branch>" in text
    assert 'protected_tags: ["latest", "prod"]' in text
    assert "ecrsweep plan --config ecrsweep.yaml" in ended.err
    assert all(call.operation.startswith(("Describe", "List", "Get", "BatchGet")) for call in aws.calls.log)
    plan = cli("plan", "--output", "json", "--config", "ecrsweep.yaml")
    assert plan.status == 0, plan.err
    assert {policy["name"] for policy in plan.json["policy"]} == {"team", "tools", "without a prefix"}
    aws.calls.reset()
    again = cli("init")
    assert again.status == 2
    assert "--force" in again.err
    assert aws.calls.log == []
    assert (cli.home / "ecrsweep.yaml").read_text() == text


def test_init_of_an_empty_account_and_of_hostile_tags_loads_too(aws: Emulator, cli: Cli) -> None:
    empty = cli("init", "--output-file", "-")
    assert empty.status == 0, empty.err
    assert "policies:" in empty.out
    repo = aws.ecr.repository("no")
    repo.tag("\x1b[2J\nregistry: [bold]{x: *y}", repo.push_image(pushed_at=ago(days=3)))
    hostile = cli("init", "--output-file", "-")
    assert hostile.status == 0, hostile.err
    assert '    repositories:\n      - "no"\n' in hostile.out
    assert "\x1b" not in hostile.out


def test_the_lifecycle_policy_is_on_stdout_and_what_is_lost_on_stderr(cli: Cli) -> None:
    file = written(
        cli, "policies:\n  - {name: a, repositories: [team/*], newest: 20}\n  - {name: b, otherwise: keep}\n"
    )
    ended = cli(
        "policy",
        "to-lifecycle",
        "--config",
        file,
        "--repository",
        "team/app",
        "--ignore",
        "pulled_within",
        "--ignore",
        "grace",
    )
    assert ended.status == 0, ended.err
    counted = json.loads(ended.out)["rules"][-1]["selection"]
    assert (counted["countType"], counted["countNumber"]) == ("imageCountMoreThan", 20)
    assert ended.err.startswith("WARNING: AWS does not know what is in use")
    assert "pulled_within is ignored, as asked" in ended.err
    refused = cli("policy", "to-lifecycle", "--config", file, "--policy", "b")
    assert (refused.status, refused.out) == (1, "")
    assert "the policy lets nothing go" in refused.err
    assert "There are: a, b" in cli("policy", "to-lifecycle", "--config", file).err


def test_the_schema_is_printed_for_editors(cli: Cli) -> None:
    printed = cli("schema", "config").json
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "kubernetes" in printed["properties"]["sources"]["properties"]["with"]["items"]["enum"]
