"""Is a policy safe? It is replayed over the past, and what was pulled after it would have gone is told."""

import io
import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.app import Request, SimulationRun
from ecrsweep.aws.cache import ManifestCache
from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.config import moment_of
from ecrsweep.core.document import Scope
from ecrsweep.core.errors import BadInput
from ecrsweep.core.policy import Policy
from ecrsweep.core.uses import Census
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from ecrsweep.reports.simulation import show_simulation
from ecrsweep.reports.table import console
from tests.support import ACCOUNT, Cli, Finished, ago

RULES = ("--keep-newest", "1", "--pulled-within", "30d")


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Of three old images, v1 was pulled twenty days ago after a long silence, v2 never, and v3 is the newest."""
    made = aws.ecr.repository("team/app")
    for number in (1, 2, 3):
        made.push_image(tags=(f"v{number}",), pushed_at=ago(days=200 - number))
    made.pull("v1", at=ago(days=20))
    return made


def simulate(cli: Cli, *arguments: str) -> Finished:
    return cli("simulate", "--output", "json", *(arguments or RULES))


def only_regret(ended: Finished) -> dict[str, Any]:
    (regret,) = ended.json["regrets"]
    return dict(regret)


def remembered(cli: Cli, image: str, first: datetime, last: datetime) -> None:
    """What runs of these days wrote into the ledger."""
    file = cli.home / "state" / "ecrsweep" / "ledger" / ACCOUNT / "segments" / "1.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    header = {"format": "ecrsweep.ledger/1", "account": ACCOUNT}
    seen = {"image": image, "workload": "arn:job", "source": "ecs"}
    seen |= {"first_seen": first.isoformat(), "last_seen": last.isoformat()}
    file.write_text(f"{json.dumps(header)}\n{json.dumps(seen)}\n")


def ledger_files(cli: Cli) -> list[Path]:
    return sorted((cli.home / "state").rglob("*.json*"))


def test_the_planted_regret_is_found_and_nothing_else(aws: Emulator, cli: Cli, repo: Repository) -> None:
    alone = aws.ecr.repository("left/alone")
    alone.push_image(("v1",), pushed_at=ago(days=200), pulled_at=ago(days=1))
    alone.push_image(("v2",), pushed_at=ago(days=100))
    alone.tags_of_resource["ecrsweep"] = "never"
    ended = simulate(cli)
    assert ended.status == 0, ended.err
    found = ended.json
    assert (found["format"], found["days"]) == ("ecrsweep.simulation/1", 90)
    (row,) = found["policies"]
    assert (row["policy"]["name"], row["policy"]["newest"], row["policy"]["pulled_within"]) == ("default", 1, "30d")
    assert (row["repositories"], row["images"], row["gone"], row["regretted"], row["unsaved"]) == (2, 5, 2, 1, 1)
    regret = only_regret(ended)
    assert (regret["digest"], regret["tags"]) == (repo.digest_of("v1"), ["v1"])
    assert (regret["account"], regret["region"], regret["repository"]) == (ACCOUNT, "us-east-1", "team/app")
    assert (regret["in_use_now"], regret["seen_then"], regret["action"]) == (False, False, "delete")
    assert regret["gone_at"] == found["from"] == row["first_regret_at"] == row["last_regret_at"]
    gone, pulled = (datetime.fromisoformat(regret[name]) for name in ("gone_at", "pulled_at"))
    assert timedelta(days=69) < pulled - gone < timedelta(days=71)


def test_people_get_a_table_and_a_verdict_and_programs_an_exit_status(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    ended = cli("simulate", "--exit-code", *RULES)
    assert ended.status == 3, ended.err
    (line,) = [line for line in ended.out.splitlines() if line.startswith("default ")]
    assert line.split() == ["default", "3", "2", "1", "-", "-", "1"]
    (line,) = [line for line in ended.out.splitlines() if line.startswith("team/app:v1 ")]
    assert "nothing else speaks for it" in line
    assert "it would have let 2 images go, and at most 1 was pulled afterwards" in ended.out
    assert "Nothing but that pull speaks for it" in ended.out
    safe = cli("simulate", "--exit-code", "--keep-newest", "1", "--pulled-within", "0d", "--keep-tag", "v1")
    assert safe.status == 0
    assert "it would have let 1 image go, and none of them was pulled afterwards" in safe.out
    assert "it would have let nothing go" in cli("simulate").out


def test_what_is_in_use_now_is_marked(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}), count=0)
    shown = cli("simulate", *RULES).out
    assert "in use now" in shown
    assert "It is in use now, or was seen in use then: a plan keeps what is in use." in shown


def test_what_the_ledger_saw_in_use_on_that_day_is_marked_and_nothing_is_written_to_it(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    image = f"{repo.uri}@{repo.digest_of('v1')}"
    remembered(cli, image, ago(days=100), ago(days=95))
    before = [(file, file.read_bytes()) for file in ledger_files(cli)]
    assert only_regret(simulate(cli))["seen_then"] is True
    assert [(file, file.read_bytes()) for file in ledger_files(cli)] == before
    remembered(cli, image, ago(days=50), ago(days=1))
    assert only_regret(simulate(cli))["seen_then"] is False


def test_regrets_are_counted_policy_by_policy(aws: Emulator, repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    other = aws.ecr.repository("web/app")
    other.push_image(("v1",), pushed_at=ago(days=200), pulled_at=ago(days=1))
    aws.ecr.repository("free/app").push_image(("v1",), pushed_at=ago(days=200), pulled_at=ago(days=1))
    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)
    session = AwsSession(region="us-east-1", environ=os.environ)
    policies = (
        Policy(name="strict", repositories=("web/*",), newest=0, pulled_within=None),
        Policy(name="lax", repositories=("team/*",), newest=1),
    )
    request = Request(Scope(ACCOUNT, ("us-east-1",)), policies, (), "test")
    run = SimulationRun(AwsWorld(session, ManifestCache(None)), request, Census(), ago().timestamp(), 90)
    assert len(list(run.repositories())) == 3
    found = run.result()
    assert [(one.policy.name, one.images, one.gone, len(one.regrets)) for one in found.policies] == [
        ("strict", 1, 1, 1), ("lax", 3, 2, 1),
    ]  # fmt: skip
    assert [(regret.policy, regret.repository.name) for regret in found.regrets] == [
        ("strict", "web/app"), ("lax", "team/app"),
    ]  # fmt: skip
    assert found.document()["repositories_not_governed"] == 1
    shown = io.StringIO()
    show_simulation(console(shown, "off"), found, "here", verbose=False)
    lines = [line.split() for line in shown.getvalue().splitlines()]
    assert ["strict", "web/app:v1"] in [line[:2] for line in lines]
    assert "strict: it would have let 1 image go, and 1 was pulled afterwards" in shown.getvalue()


def test_our_own_read_of_an_index_is_no_pull(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/multi")
    for version in ("v1", "v2"):
        child = repo.push_image(pushed_at=ago(days=200))
        repo.push_index([child], (version,), pushed_at=ago(days=200), note=version)
    for _ in range(2):
        found = simulate(cli).json
        assert (found["policies"][0]["gone"], found["regrets"]) == (2, [])


def test_lines_have_a_head_a_regret_each_and_the_sums(aws: Emulator, cli: Cli, repo: Repository) -> None:
    lines = [json.loads(line) for line in cli("simulate", "--output", "jsonl", *RULES).out.splitlines()]
    head, regret, sums = lines
    assert head["format"] == "ecrsweep.simulation/1"
    assert regret["digest"] == repo.digest_of("v1")
    assert sums["policies"][0]["regretted"] == 1
    assert any(entry["source"] == "ecs" for entry in sums["coverage"])


def test_what_could_not_be_read_is_a_gap_and_the_rest_is_replayed(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault.denied("ecs", "ListClusters"))
    ended = simulate(cli)
    assert ended.status == 5
    assert only_regret(ended)["in_use_now"] is False
    assert "ecs:ListClusters" in ended.err
    assert simulate(cli, *RULES, "--accept-gap", "ecs").status == 0
    index = aws.ecr.repository("team/multi")
    index.push_index([index.push_image(pushed_at=ago(days=200))], ("v1",), pushed_at=ago(days=200))
    aws.faults.add(Fault.denied("ecr", "BatchGetImage"))
    ended = simulate(cli, *RULES, "--skip-source", "ecs")
    assert ended.status == 5
    assert ended.json["policies"][0]["repositories"] == 1, "what is not known is not replayed"
    aws.faults.add(Fault.denied("tagging", "GetResources"))
    blind = cli("simulate", *RULES).out
    assert "What could not be read was not replayed" in blind
    assert "it would have let nothing go" in blind, "any repository may be one to be left alone"


def test_a_repository_that_does_not_exist_is_an_error(aws: Emulator, cli: Cli, repo: Repository) -> None:
    ended = simulate(cli, "--repository", "team/nosuch")
    assert ended.status == 1
    assert "There is no repository team/nosuch" in ended.err
    assert cli("simulate", "--days", "0").status == 2
    assert cli("simulate", "--max-images", "1").status == 2, "a limit is a brake, and no rule to replay"


def test_it_changes_nothing_and_prints_nothing_that_a_terminal_would_obey(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    repo.push_image(("\x1b[2Jv1",), pushed_at=ago(days=200), pulled_at=ago(days=1))
    repo.push_image(("v2",), pushed_at=ago(days=100))
    shown = cli("simulate", *RULES)
    assert "at most 1 was pulled afterwards" in shown.out
    assert "\x1b" not in shown.out
    assert all(call.operation.startswith(("Describe", "List", "Get", "BatchGet")) for call in aws.calls.log)


def test_the_plan_of_a_day_of_the_past(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}), count=0)
    aws.calls.reset()
    then = ago(days=60)
    found = cli("plan", "--output", "json", *RULES, "--policy-at", then.isoformat())
    assert found.status == 0, found.err
    assert datetime.fromisoformat(found.json["policy_at"]) == then
    assert [found.action(repo.digest_of(tag)) for tag in ("v1", "v2", "v3")] == ["delete", "delete", "keep"]
    assert {entry["status"] for entry in found.json["coverage"]} == {"skipped"}
    assert {call.service for call in aws.calls.log} <= {"ecr", "sts", "ec2", "tagging"}
    assert ledger_files(cli) == []
    early = cli("plan", "--output", "json", *RULES, "--policy-at", "199d")
    assert {decision["tags"][0] for decision in early.json["decisions"]} == {"v1"}
    shown = cli("plan", *RULES, "--policy-at", then.date().isoformat())
    assert f"as of {then.date().isoformat()}T00:00:00Z" in shown.out
    assert "2 images would have gone" in shown.out
    assert cli("plan", *RULES, "--policy-at", "60d", "--exit-code").status == 3


def test_a_plan_of_the_past_is_not_carried_out(aws: Emulator, cli: Cli, repo: Repository) -> None:
    saved = cli.home / "plan.jsonl"
    refused = cli("plan", *RULES, "--policy-at", "60d", "--save", str(saved))
    assert refused.status == 2
    assert "cannot be saved" in refused.err
    assert not saved.exists()
    saved.write_text(cli("plan", *RULES, "--policy-at", "60d", "--output", "jsonl").out)
    ended = cli("apply", str(saved), "--yes")
    assert ended.status == 1
    assert "it cannot be carried out" in ended.err
    assert len(repo.images()) == 3


@pytest.mark.parametrize("moment", ["tomorrow", "2026-02-31", "2999-01-01", "1969-12-31", "2026-01-01T00:00:00", "-1d"])
def test_what_is_no_moment_of_the_past_is_refused_in_words(moment: str) -> None:
    with pytest.raises(BadInput, match="accepted is a"):
        moment_of(moment, ago().timestamp())
