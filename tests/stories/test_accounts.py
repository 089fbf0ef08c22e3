"""Many accounts: a hub whose images run elsewhere, accounts that cannot be asked, and who may pull without being asked.

The credentials are of a tooling account that holds nothing; the others are reached by roles.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ecrsweep.app.request import accepted
from ecrsweep.core.document import Scope
from ecrsweep.core.uses import Coverage, CoverageStatus
from ecrsweep.emulator import Clock, Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.stories.test_sources import installed
from tests.support import REGIONAL_SOURCES, Cli, Finished, ago

TOOLING, HUB, SHOP, BANK = "111111111111", "222222222222", "333333333333", "444444444444"
HOME, ABROAD = "us-east-1", "eu-west-1"
REGIONS = ("ap-south-1", ABROAD, HOME, "us-west-2")
ROLE = "ecrsweep"
LISTED = ("--account", HUB, "--account", SHOP, "--account", BANK, "--role-name", ROLE)


@pytest.fixture
def aws() -> Iterator[Emulator]:
    accounts = (HUB, SHOP, BANK)
    with Emulator(clock=Clock(datetime.now(UTC)), account=TOOLING, accounts=accounts, regions=REGIONS) as running:
        for account in accounts:
            running.roles.add(account, ROLE, [TOOLING])
        yield running


@pytest.fixture
def asking(cli: Cli) -> Cli:
    """The command line, asking ECS alone."""
    return cli.asking("ecs")


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Ten old images in the registry of the hub, of which one would be kept as the newest."""
    made = aws.ecr.repository("team/app", account=HUB, region=HOME)
    for version in range(10):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=90 - version))
    return made


def configured(cli: Cli, text: str) -> str:
    path = cli.home / "many.yaml"
    path.write_text(text)
    return str(path)


def gaps(ended: Finished) -> set[tuple[str, str]]:
    """The accounts and sources that could not be asked."""
    return {(entry["account"], entry["source"]) for entry in ended.json["coverage"] if entry["status"] == "failed"}


def notes(ended: Finished) -> str:
    return "\n".join(note for entry in ended.json["coverage"] for note in entry.get("notes", ()))


def test_an_image_that_runs_only_in_another_account_and_region_is_kept_and_its_task_named(
    aws: Emulator, asking: Cli, repo: Repository
) -> None:
    """By digest, under the dual-stack name of the registry."""
    image = repo.images()[3]
    name = f"{HUB}.dkr-ecr.{HOME}.on.aws/team/app@{image.digest}"
    definition = aws.ecs.register("web", {"main": name}, account=BANK, region=ABROAD)
    [task] = aws.ecs.run(definition, account=BANK, region=ABROAD)
    ended = asking.plan(*LISTED, "--region", HOME, "--keep-newest", "1", "--max-fraction", "1")
    assert ended.status == 0, ended.err
    assert ended.action(image.digest) == "keep"
    assert task in ended.details(image.digest)
    assert ended.json["summary"]["delete"] == 8
    assert {decision["account"] for decision in ended.json["decisions"]} == {HUB}


def test_roles_are_assumed_under_the_name_of_the_run(aws: Emulator, asking: Cli, repo: Repository) -> None:
    saved = asking.home / "plan.jsonl"
    asking.plan(*LISTED, "--keep-newest", "1", "--max-fraction", "1", "--save", str(saved))
    ended = asking("apply", str(saved), "--yes", "--output", "json")
    assert ended.status == 0, ended.err
    [journal] = asking.home.rglob("journals/**/*.jsonl")
    sessions = {call.session for call in aws.calls.log if call.operation == "BatchDeleteImage"}
    assert sessions == {f"ecrsweep-{journal.stem}"}


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("logged", [(HUB,), (HUB, SHOP, BANK)])
def test_a_log_that_tells_nothing_of_an_account_with_a_registry_is_a_gap_there(
    aws: Emulator, cli: Cli, repo: Repository, logged: tuple[str, ...], damaged: bool
) -> None:
    """The files of a trail on a disk are read once for all accounts. That of the credentials has no registry, and needs no log.

    A damaged file is a gap of whoever asked; to accept that one accepts no other.
    """
    for account in (HUB, SHOP, BANK):
        pulled = repo if account == HUB else aws.ecr.repository("bank/api", account=account, region=HOME)
        for day in range(4):
            aws.trail.pull(pulled, tag="v2", account=account, recipientAccountId=account, at=ago(days=day, minutes=1))
    for account in logged:
        for key, content in aws.trail.log_files(account):
            path = cli.home / "logs" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if damaged:
        (cli.home / "logs" / "damaged.json").write_text("{")
    ended = cli.asking("ecs", "cloudtrail").plan(
        *LISTED, "--region", HOME, "--keep-newest", "1", "--max-fraction", "1", "--with-source", "cloudtrail",
        "--source-option", f"cloudtrail.export={cli.home}/logs", "--source-option", "cloudtrail.days=3",
        "--accept-gap", f"cloudtrail@{TOOLING}",
    )  # fmt: skip
    missing = {(account, "cloudtrail") for account in (SHOP, BANK) if account not in logged}
    assert gaps(ended) == missing | ({(TOOLING, "cloudtrail")} if damaged else set())
    failed = [
        entry["error"] for entry in ended.json["coverage"] if entry["status"] == "failed" and not entry.get("accepted")
    ]
    assert all("has no log file of this account: pulls may be missing" in error for error in failed)
    assert ended.status == (5 if failed else 0)
    assert ended.json["summary"]["hold" if failed else "delete"] == 8


def test_plan_apply_and_journal_tell_the_account(aws: Emulator, asking: Cli, repo: Repository) -> None:
    other = aws.ecr.repository("bank/api", account=BANK, region=ABROAD)
    for version in range(3):
        other.push_image(tags=(f"v{version}",), pushed_at=ago(days=90 - version))
    config = configured(
        asking,
        f"""
registries:
  - {{account: "{HUB}", role: {ROLE}, regions: [{HOME}]}}
  - {{account: "{BANK}", role: {ROLE}, regions: all}}
sources: {{skip: [{", ".join(sorted(REGIONAL_SOURCES - {"ecs"}))}]}}
limits: {{max_fraction: 1}}
policies: [{{newest: 1, pulled_within: off, used_within: off}}]
""".replace("regions: all", "regions: [all]"),
    )
    saved = asking.home / "plan.jsonl"
    planned = asking("plan", "--config", config, "--save", str(saved))
    assert planned.status == 0, planned.err
    assert f"account {HUB} in {HOME}" in planned.out
    assert f"account {BANK}" in planned.out
    assert "ACCOUNT" in planned.out, "repositories of several accounts may have one name"
    ended = asking("apply", str(saved), "--config", config, "--yes", "--output", "json")
    assert ended.status == 0, ended.err
    assert len(repo.images()) == len(other.images()) == 1
    told = {(image["account"], image["region"]) for image in ended.json["results"]}
    assert told == {(HUB, HOME), (BANK, ABROAD)}
    [journal] = asking.home.rglob("journals/**/*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert {line["account"] for line in lines if "repository" in line} == {HUB, BANK}


def test_an_account_whose_role_is_gone_holds_everything(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.roles.remove(SHOP, ROLE)
    ended = cli.plan(*LISTED, "--keep-newest", "1", "--max-fraction", "1")
    assert ended.status == 5
    assert {(SHOP, source) for source in REGIONAL_SOURCES} <= gaps(ended)
    assert ended.json["summary"]["delete"] == 0
    assert "sts:AssumeRole" in ended.out
    accepted = cli.plan(*LISTED, "--keep-newest", "1", "--max-fraction", "1", "--accept-gap", f"all@{SHOP}")
    assert accepted.status == 0, accepted.err
    assert accepted.json["summary"]["delete"] == 9


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("refused", "does not trust"),
        ("external id", "external id"),
        ("forbidden", "policy of the organisation"),
        ("unreachable", "STS does not answer"),
    ],
)
def test_why_an_account_cannot_be_asked_is_told(
    aws: Emulator, asking: Cli, repo: Repository, trouble: str, said: str
) -> None:
    match trouble:
        case "refused":
            aws.roles.add(SHOP, ROLE, ["555555555555"])
        case "external id":
            aws.roles.add(SHOP, ROLE, [TOOLING], external_id="secret")
        case "forbidden":
            aws.roles.forbidden.add(TOOLING)
        case _:
            aws.faults.add(Fault.error("sts", "AssumeRole", "InternalFailure", "Sorry", 500))
    ended = asking("plan", *LISTED, "--output", "json", AWS_MAX_ATTEMPTS="1")
    assert ended.status == 5
    assert said in ended.out
    assert SHOP in {account for account, _ in gaps(ended)}
    assert "Traceback" not in ended.err


def test_a_region_that_is_not_switched_on_in_an_account_is_no_gap(aws: Emulator, asking: Cli, repo: Repository) -> None:
    ended = asking.plan(*LISTED, "--keep-newest", "1", "--max-fraction", "1")
    assert ended.status == 0, ended.err
    asked = {(entry["account"], entry["region"]) for entry in ended.json["coverage"] if entry["source"] == "ecs"}
    assert asked == {(account, region) for account in (HUB, SHOP, BANK) for region in REGIONS}


def test_a_failing_account_does_not_stop_the_others(aws: Emulator, asking: Cli, repo: Repository) -> None:
    other = aws.ecr.repository("bank/api", account=BANK, region=HOME)
    for version in range(3):
        other.push_image(tags=(f"v{version}",), pushed_at=ago(days=90 - version))
    saved = asking.home / "plan.jsonl"
    made = asking.plan(*LISTED, "--keep-newest", "1", "--max-fraction", "1", "--save", str(saved))
    assert made.status == 0, made.err
    aws.faults.add(
        Fault.error("ecr", "BatchDeleteImage", "ExpiredTokenException", "The token has expired", account=HUB)
    )
    ended = asking("apply", str(saved), "--yes", "--output", "json")
    assert ended.status == 4
    assert len(repo.images()) == 10
    assert len(other.images()) == 1
    outcomes = {(image["account"], image["outcome"]) for image in ended.json["results"]}
    assert (BANK, "deleted") in outcomes
    assert (HUB, "deleted") not in outcomes


def test_an_account_that_may_pull_and_is_not_asked_is_told(aws: Emulator, asking: Cli, repo: Repository) -> None:
    allow(aws, "666666666666")
    ended = asking.plan(*LISTED, "--keep-newest", "1", "--max-fraction", "1")
    assert ended.status == 0, ended.err
    assert "666666666666" in notes(ended)
    assert "team/app" in notes(ended)
    allow(aws, SHOP)
    assert SHOP not in notes(asking.plan(*LISTED, "--keep-newest", "1", "--max-fraction", "1"))


def test_where_images_are_replicated_to_is_told(aws: Emulator, asking: Cli, repo: Repository) -> None:
    destinations = [{"region": ABROAD, "registryId": HUB}]
    rules = [{"destinations": destinations, "repositoryFilters": [{"filter": "team", "filterType": "PREFIX_MATCH"}]}]
    aws.client("ecr", HOME, account=HUB).put_replication_configuration(replicationConfiguration={"rules": rules})
    ended = asking("plan", *LISTED, "--keep-newest", "1", "--max-fraction", "1", "--pulled-within", "0d")
    assert ended.status == 0, ended.err
    assert f"team* replicated to {ABROAD} of account {HUB}" in ended.out


def test_an_account_stands_as_it_is_written_by_itself_whatever_the_organisation_says(
    aws: Emulator, asking: Cli, repo: Repository
) -> None:
    """With another role than the rest of the organisation; the same account with two roles makes no sense."""
    organization = aws.client("organizations", account=TOOLING)
    organization.create_organization(FeatureSet="ALL")
    made = organization.create_account(AccountName="one", Email="one@example.com")["CreateAccountStatus"]["AccountId"]
    text = f"""
registries: [{{account: "{made}", role: special}}]
consumers: {{accounts: [{{organization: {{}}, role: {ROLE}}}]}}
"""
    ended = asking("plan", "--config", configured(asking, text), "--output", "json")
    assert ":role/special cannot be assumed" in ended.out
    assert f"{made}:role/{ROLE}" not in ended.out
    twice = text.replace("{organization: {}, ", f'{{account: "{made}", ')
    refused = asking("plan", "--config", configured(asking, twice))
    assert refused.status == 2
    assert "different roles or profiles" in refused.err


def test_with_strict_consumers_such_an_account_holds_what_it_may_pull(
    aws: Emulator, asking: Cli, repo: Repository
) -> None:
    allow(aws, "666666666666")
    other = aws.ecr.repository("team/other", account=HUB, region=HOME)
    for version in range(3):
        other.push_image(tags=(f"v{version}",), pushed_at=ago(days=90 - version))
    config = configured(
        asking,
        f"""
strict_consumers: true
registries: [{{account: "{HUB}", role: {ROLE}}}]
sources: {{skip: [{", ".join(sorted(REGIONAL_SOURCES - {"ecs"}))}]}}
limits: {{max_fraction: 1}}
policies: [{{newest: 1, pulled_within: off, used_within: off}}]
""",
    )
    saved = asking.home / "plan.jsonl"
    ended = asking("plan", "--config", config, "--output", "json", "--save", str(saved))
    assert ended.status == 5
    held = {decision["repository"] for decision in ended.json["decisions"] if decision["action"] == "hold"}
    assert held == {"team/app"}
    assert ended.json["summary"]["delete"] == 2
    assert asking("apply", str(saved), "--config", config, "--yes").status == 5
    assert len(repo.images()) == 10
    assert len(other.images()) == 1


def test_the_accounts_of_an_organisation_are_found(aws: Emulator, asking: Cli, repo: Repository) -> None:
    """All but the one left out, that of the credentials without a role; one that is closed is a gap and says so."""
    organization = aws.client("organizations", account=TOOLING)
    organization.create_organization(FeatureSet="ALL")
    made = [
        organization.create_account(AccountName=name, Email=f"{name}@example.com")["CreateAccountStatus"]["AccountId"]
        for name in ("one", "two")
    ]
    config = configured(
        asking,
        f"""
registries: [{{account: "{HUB}", role: {ROLE}}}]
consumers:
  accounts:
    - {{account: "{HUB}", role: {ROLE}}}
    - {{organization: {{except: ["{made[1]}"]}}, role: {ROLE}}}
sources: {{skip: [{", ".join(sorted(REGIONAL_SOURCES - {"ecs"}))}]}}
""",
    )
    ended = asking("plan", "--config", config, "--output", "json")
    asked = {entry["account"] for entry in ended.json["coverage"] if entry["source"] == "ecs"}
    assert asked == {TOOLING, HUB, made[0]}
    assert gaps(ended) == {(made[0], "ecs")}, "nobody put up a role there"
    organization.close_account(AccountId=made[0])
    assert f"account {made[0]} is SUSPENDED" in asking("plan", "--config", config, "--output", "json").out


def test_a_source_of_others_that_is_asked_once_an_account_is_asked_in_every_account(
    aws: Emulator, asking: Cli, repo: Repository
) -> None:
    """It may read what exists once an account; only what does not depend on accounts is asked once a run."""
    installed(asking, f"{repo.uri}:v1")
    ended = asking.plan(*LISTED, "--keep-newest", "1", "--max-fraction", "1")
    assert ended.status == 0, ended.err
    asked = {(entry["account"], entry["region"]) for entry in ended.json["coverage"] if entry["source"] == "nomad"}
    assert asked == {(account, "all") for account in (HUB, SHOP, BANK)}


def test_a_plan_cannot_accept_all_gaps_of_all_accounts(aws: Emulator, asking: Cli, repo: Repository) -> None:
    aws.roles.remove(SHOP, ROLE)
    for flag in ("--accept-gap", "--accept-drop"):
        refused = asking.plan(*LISTED, flag, "all")
        assert refused.status == 2
        assert "all@ACCOUNT" in refused.err
    gap = Coverage(SHOP, "all", "ecs", CoverageStatus.FAILED, error="no way to it")
    scope = Scope(TOOLING, (HOME,), accept_gaps=("all",))
    assert not accepted(gap, scope).accepted, "whoever made the plan"
    assert accepted(gap, msgspec.structs.replace(scope, accept_gaps=(f"all@{SHOP}",))).accepted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--account", HUB), "name a role"),
        (("--account", "12"), "12 digits"),
        (("--account", HUB, "--role-name", "a role"), "accepted is its name"),
    ],
)
def test_accounts_without_a_way_to_them_are_refused(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    ended = cli("plan", *arguments)
    assert ended.status == 2
    assert said in ended.err


def test_profiles_stand_in_for_roles(aws: Emulator, asking: Cli, repo: Repository, tmp_path: Path) -> None:
    profiles = {HUB: "hub", BANK: "wrong"}
    lines = [
        f"[profile {name}]\naws_access_key_id = AKIAEMULATED{HUB}\naws_secret_access_key = emulated\n"
        for name in profiles.values()
    ]
    (tmp_path / "aws").write_text("\n".join(lines))
    text = f"""
registries: [{{account: "{HUB}", profile: hub}}]
consumers: {{accounts: [{{account: "{HUB}", profile: hub}}, {{account: "{BANK}", profile: wrong}}]}}
sources: {{skip: [{", ".join(sorted(REGIONAL_SOURCES - {"ecs"}))}]}}
"""
    environ: dict[str, Any] = {"AWS_CONFIG_FILE": str(tmp_path / "aws")}
    missing = asking(
        "plan", "--config", configured(asking, text.replace("profile: wrong", "profile: nosuch")), **environ
    )
    assert missing.status == 2
    assert f'account {BANK}: the AWS configuration has no profile "nosuch"' in missing.err
    ended = asking("plan", "--config", configured(asking, text), "--output", "json", **environ)
    assert gaps(ended) == {(BANK, "ecs")}, "its profile is of another account"
    assert "are of account 222222222222" in ended.out
    assert len(ended.json["decisions"]) == 10


def allow(aws: Emulator, account: str) -> None:
    """Let an account pull from the hub."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    }
    aws.client("ecr", HOME, account=HUB).set_repository_policy(
        repositoryName="team/app", policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
