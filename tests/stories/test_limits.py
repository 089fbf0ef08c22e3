"""Limits from the plan to the journal: what they hold is untouched, and whoever overrides them is on record."""

import json
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from tests.support import Cli, ago

RULES = ("--keep-newest", "0", "--pulled-within", "0d", "--used-within", "0d")
SAID = "Limits are overridden (--override-limits)"


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Thirty old images: more than half of them would go."""
    made = aws.ecr.repository("team/app")
    for number in range(30):
        made.push_image(tags=(f"v{number}",), pushed_at=ago(days=60 + number))
    return made


def first_line(file: Path) -> Any:
    with file.open() as lines:
        return json.loads(next(lines))


def test_a_plan_that_overrides_limits_says_so_in_its_header_and_apply_and_journal_say_it_again(
    cli: Cli, repo: Repository
) -> None:
    plan, journal = cli.home / "plan.jsonl", cli.home / "journal.jsonl"
    shown = cli("plan", "--save", str(plan), "--override-limits", *RULES)
    assert shown.status == 0, shown.err
    assert SAID in shown.out
    assert first_line(plan)["scope"]["override_limits"] is True
    ended = cli("apply", str(plan), "--yes", "--journal", str(journal))
    assert ended.status == 0, ended.err
    assert SAID in ended.err, "who carries it out need not be who made it"
    assert repo.images() == []
    assert first_line(journal)["override_limits"] is True
    assert "Limits were overridden (--override-limits)." in cli("journal", "show", str(journal)).out
    assert cli("journal", "show", str(journal), "--output", "json").json["override_limits"] is True


def test_who_overrides_the_limit_of_a_plan_as_it_is_carried_out_is_in_the_journal_and_the_plan_stays_as_it_was(
    cli: Cli, repo: Repository
) -> None:
    plan, journal = cli.home / "plan.jsonl", cli.home / "journal.jsonl"
    assert cli("plan", "--save", str(plan), "--max-fraction", "1", "--max-images", "10", *RULES).status == 5
    held = cli("apply", str(plan), "--yes", "--journal", str(journal))
    assert held.status == 5
    assert len(repo.images()) == 30
    assert not journal.exists()
    ended = cli("apply", str(plan), "--yes", "--override-limits", "--journal", str(journal))
    assert ended.status == 0, ended.err
    assert repo.images() == []
    begun = first_line(journal)
    assert (begun["override_limits"], begun["header"]["scope"]["override_limits"]) == (True, False)
    assert "Limits were overridden (--override-limits)." in cli("journal", "show", str(journal)).out


def test_where_nobody_overrides_a_limit_nothing_says_so(cli: Cli, repo: Repository) -> None:
    plan, journal = cli.home / "plan.jsonl", cli.home / "journal.jsonl"
    assert SAID not in cli("plan", "--save", str(plan), "--max-fraction", "1", *RULES).out
    ended = cli("apply", str(plan), "--yes", "--journal", str(journal))
    assert ended.status == 0
    assert SAID not in ended.err
    assert first_line(plan)["scope"]["override_limits"] is first_line(journal)["override_limits"] is False
    assert "overridden" not in cli("journal", "show", str(journal)).out
