"""A limit of each registry: one of which more would go than its owner expects is held as a whole, and others go on."""

import json
from pathlib import Path

import pytest

from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, ago

ABROAD, HOME = "eu-west-1", "us-east-1"
BOTH = ("--region", ABROAD, "--region", HOME, "--keep-newest", "1", "--max-fraction", "1")
LIMITED = ("--max-images-per-registry", "5")


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


@pytest.fixture
def large(aws: Emulator) -> list[Repository]:
    """Two repositories of one registry: of each four images would go, which is within the limit, and of both together not."""
    return [filled(aws, name, HOME) for name in ("team/app", "team/web")]


@pytest.fixture
def small(aws: Emulator) -> Repository:
    return filled(aws, "team/app", ABROAD)


def filled(aws: Emulator, name: str, region: str) -> Repository:
    repository = aws.ecr.repository(name, region=region)
    for version in range(5):
        repository.push_image(tags=(f"v{version}",), pushed_at=ago(days=90 - version), size=1000)
    return repository


def saved(cli: Cli, *arguments: str) -> tuple[str, int]:
    """A plan in a file, and its exit status."""
    file = str(cli.home / "plan.jsonl")
    return file, cli.plan(*BOTH, *arguments, "--save", file).status


@pytest.mark.parametrize(
    ("limit", "detail"),
    [
        (LIMITED, "8 images would go, the limit is 5"),
        (("--max-bytes-per-registry", "7999"), "up to 8000 bytes would go, the limit is 7999"),
    ],
)
def test_a_registry_over_its_limit_is_held_as_a_whole_and_others_go_on(
    cli: Cli, large: list[Repository], small: Repository, limit: tuple[str, str], detail: str
) -> None:
    file, status = saved(cli, *limit)
    assert status == 5
    footer = json.loads(Path(file).read_text().splitlines()[-1])
    assert footer["held_registries"] == [{"account": ACCOUNT, "region": HOME, "code": "limit", "detail": detail}]
    assert (footer["verdict"], footer["summary"]["delete"]) == (None, 12), "rows stay as they were decided"
    ended = cli("apply", file, "--yes", "--output", "json")
    assert ended.status == 5, ended.err
    assert [len(repository.images()) for repository in large] == [5, 5]
    assert len(small.images()) == 1
    told = {(image["region"], image["outcome"], image["code"]) for image in ended.json["results"]}
    assert told == {(HOME, "held", "limit"), (ABROAD, "deleted", None)}
    assert f"account {ACCOUNT} in {HOME} ({detail})" in ended.err


def test_within_the_limit_nothing_is_held(cli: Cli, large: list[Repository], small: Repository) -> None:
    plan = cli.plan(*BOTH, "--max-images-per-registry", "8", "--max-bytes-per-registry", "8000")
    assert plan.status == 0, plan.err
    assert "held_registries" not in plan.json


def test_the_table_and_the_question_tell_what_is_held(cli: Cli, large: list[Repository], small: Repository) -> None:
    shown = cli("plan", *BOTH, *LIMITED, "--pulled-within", "0d", "--used-within", "0d")
    assert shown.status == 5
    assert f"Held as a whole: account {ACCOUNT} in {HOME} (8 images would go, the limit is 5)" in shown.out
    assert "--override-limits" in shown.out


def test_an_apply_that_plans_on_the_spot_holds_it_too(
    aws: Emulator, cli: Cli, large: list[Repository], small: Repository
) -> None:
    ended = cli("apply", *BOTH, *LIMITED, "--pulled-within", "0d", "--used-within", "0d", "--yes")
    assert ended.status == 5
    assert f"held: 4 images of {large[0].uri}: limit: the whole registry is held" in ended.out
    assert [len(repository.images()) for repository in large] == [5, 5]
    assert len(small.images()) == 1
    assert {call.region for call in aws.calls.log if call.operation == "BatchDeleteImage"} == {ABROAD}


def test_a_run_that_is_taken_up_again_still_holds_it(cli: Cli, large: list[Repository], small: Repository) -> None:
    file, _ = saved(cli, *LIMITED)
    assert cli("apply", file, "--yes").status == 5
    [journal] = cli.home.rglob("journals/**/*.jsonl")
    assert cli("apply", "--resume", str(journal), "--yes").status == 5
    assert [len(repository.images()) for repository in large] == [5, 5]


def test_who_overrides_limits_overrides_it(cli: Cli, large: list[Repository], small: Repository) -> None:
    file, status = saved(cli, *LIMITED)
    assert status == 5
    ended = cli("apply", file, "--yes", "--override-limits")
    assert ended.status == 0, ended.err
    assert [len(repository.images()) for repository in (*large, small)] == [1, 1, 1]
    assert "held_registries" not in cli.plan(*BOTH, *LIMITED, "--override-limits").json
