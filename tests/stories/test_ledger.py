"""What ran between two runs: each run writes down what it saw, and the next ones keep that for a while."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.ecs import EcsState
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, Finished, ago

RULES = ("--keep-newest", "0", "--pulled-within", "0d")


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Three old images; no rule keeps any."""
    made = aws.ecr.repository("team/app")
    for version in range(1, 4):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=90))
    return made


def plan(cli: Cli, *arguments: str, **environ: str) -> Finished:
    return cli("plan", "--output", "json", *RULES, *arguments, **environ)


def runs(aws: Emulator, image: str) -> None:
    """From now on this runs, and nothing else does."""
    aws.ecs = EcsState(aws.clock, aws.ecr, aws.account, aws.region)
    if image:
        aws.ecs.run(aws.ecs.register("job", {"job": image}))


def ledger_of(found: Finished) -> dict[str, Any]:
    (entry,) = (entry for entry in found.json["coverage"] if entry["source"] == "ledger")
    return dict(entry)


def files(cli: Cli, pattern: str = "ledger.jsonl") -> list[Path]:
    return sorted((cli.home / "state").rglob(pattern))


def remember(cli: Cli, *lines: dict[str, Any] | str, account: str = ACCOUNT) -> Path:
    """Put lines into the ledger, as a run of some other day would have."""
    file = cli.home / "state" / "ecrsweep" / "ledger" / ACCOUNT / "segments" / f"{len(files(cli, '*.jsonl'))}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"format": "ecrsweep.ledger/1", "account": account})
    told = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join([header, *told, ""]))
    return file


def line(repo: Repository, tag: str, **ago_: float) -> dict[str, str]:
    moment = (datetime.now(UTC) - timedelta(**ago_)).isoformat().replace("+00:00", "Z")
    image = f"{repo.uri}@{repo.digest_of(tag)}"
    return {"image": image, "workload": "arn:nightly", "source": "ecs", "first_seen": moment, "last_seen": moment}


def test_what_ran_at_the_last_run_stays_although_nothing_runs_it_now(aws: Emulator, cli: Cli, repo: Repository) -> None:
    runs(aws, f"{repo.uri}:v1")
    first = plan(cli)
    assert (first.status, first.codes(repo.digest_of("v1"))) == (0, {"in_use"})
    assert ledger_of(first)["notes"] == ["no earlier run has written one yet"]
    runs(aws, f"{repo.uri}:v2")
    second = plan(cli)
    assert second.codes(repo.digest_of("v1")) == {"used_recently"}
    assert "container job (ecs), first 20" in second.details(repo.digest_of("v1"))
    assert second.action(repo.digest_of("v3")) == "delete"
    assert plan(cli, "--used-within", "0d").action(repo.digest_of("v1")) == "delete"
    assert "notes" not in ledger_of(second)
    assert ledger_of(second)["uses"] == 2


def test_it_is_forgotten_after_a_while(aws: Emulator, cli: Cli, repo: Repository) -> None:
    remember(cli, line(repo, "v1", days=29), line(repo, "v2", days=31))
    found = plan(cli)
    assert [found.action(repo.digest_of(tag)) for tag in ("v1", "v2", "v3")] == ["keep", "delete", "delete"]
    assert plan(cli, "--used-within", "60d").action(repo.digest_of("v2")) == "keep"


def test_two_plans_in_a_row_read_the_same(aws: Emulator, cli: Cli, repo: Repository) -> None:
    child = repo.push_image(pushed_at=ago(days=90))
    repo.push_index([child], tags=("multi",), pushed_at=ago(days=90))
    runs(aws, f"{repo.uri}:multi")
    remember(cli, line(repo, "v2", days=3))
    first, second = plan(cli), plan(cli)
    assert first.json["decisions"] == second.json["decisions"]
    assert first.json["summary"] == second.json["summary"]


def test_a_platform_that_ran_keeps_its_index_and_the_signature(aws: Emulator, cli: Cli, repo: Repository) -> None:
    children = [repo.push_image(pushed_at=ago(days=90)) for _ in range(2)]
    index = repo.push_index(children, pushed_at=ago(days=90))
    signature = repo.push_signature(index, pushed_at=ago(days=90))
    remember(cli, line(repo, "v1", days=3) | {"image": f"{repo.uri}@{children[0]}"})
    found = plan(cli)
    assert [found.action(one) for one in (*children, index, signature)] == ["keep"] * 4
    assert found.codes(index) >= {"parent_of_kept"}


def test_uses_writes_down_digests_and_apply_spares_what_they_show(aws: Emulator, cli: Cli, repo: Repository) -> None:
    saved = str(cli.home / "plan.jsonl")
    assert cli("plan", *RULES, "--save", saved).status == 0
    runs(aws, f"{repo.uri}:v1")
    assert cli("uses").status == 0
    runs(aws, "")
    ended = cli("apply", saved, "--yes", "--output", "json", "--accept-drop", "ecs")
    assert ended.status == 0, ended.err
    outcomes = {entry["tags"][0]: entry["outcome"] for entry in ended.json["results"]}
    assert outcomes == {"v1": "spared", "v2": "deleted", "v3": "deleted"}
    (spared,) = (entry for entry in ended.json["results"] if entry["outcome"] == "spared")
    assert "used_recently" in spared["message"]


def test_an_apply_writes_down_what_it_saw(aws: Emulator, cli: Cli, repo: Repository) -> None:
    runs(aws, f"{repo.uri}:v1")
    assert cli("apply", "--yes", *RULES).status == 0
    assert len(files(cli, "segments/*.jsonl")) == 1, "one segment a run, although everything was asked twice"
    runs(aws, "")
    assert plan(cli, "--accept-drop", "ecs").codes(repo.digest_of("v1")) == {"used_recently"}


def test_a_digest_is_remembered_although_its_repository_was_not_looked_at(aws: Emulator, cli: Cli) -> None:
    abroad = aws.ecr.repository("team/app", region="eu-west-1")
    digest = abroad.push_image(tags=("v1",), pushed_at=ago(days=90))
    runs(aws, f"{abroad.uri}@{digest}")
    assert plan(cli).status == 0
    runs(aws, "")
    there = ("--region", "eu-west-1", "--accept-drop", "ecs")
    assert plan(cli, *there).codes(digest) == {"used_recently"}
    assert cli("uses", "--history", f"{abroad.uri}@{digest}", "--output", "json").json["history"]


def test_explain_and_history_tell_the_life_of_an_image(aws: Emulator, cli: Cli, repo: Repository) -> None:
    remember(cli, line(repo, "v1", days=400), line(repo, "v1", days=3))
    runs(aws, f"{repo.uri}:v1")
    assert plan(cli).status == 0
    explained = cli("explain", "team/app:v1", "--output", "json")
    assert [entry["source"] for entry in explained.json["history"]] == ["ecs", "ecs", "ecs"]
    assert "Seen in use by runs so far" in cli("explain", "team/app:v1").out
    life = cli("uses", "--history", "team/app:v1", "--output", "json").json
    assert life["format"] == "ecrsweep.history/1"
    assert life["image"] == f"{repo.uri}@{repo.digest_of('v1')}"
    assert [entry["workload"].partition(" ")[0].rpartition(":")[2] for entry in life["history"]][-1] == "nightly"
    nightly = life["history"][-1]
    assert nightly["first_seen"] < nightly["last_seen"]
    shown = cli("uses", "--history", f"team/app@{repo.digest_of('v1')[:20]}")
    assert shown.status == 0
    assert "arn:nightly" in shown.out
    assert "LAST SEEN" in shown.out
    assert len(cli("uses", "--history", "team/app:v1", "--output", "jsonl").out.splitlines()) == 3


def test_the_history_of_what_is_gone_or_was_never_used(aws: Emulator, cli: Cli, repo: Repository) -> None:
    gone = repo.digest_of("v1")
    remember(cli, line(repo, "v1", days=3))
    repo.remove(gone)
    found = cli("uses", "--history", f"{repo.uri}@{gone[:24]}", "--output", "json")
    assert [entry["workload"] for entry in found.json["history"]] == ["arn:nightly"]
    assert "No run has seen it in use." in cli("uses", "--history", "team/app:v2").out
    assert cli("uses", "--history", "team/app:nosuch").status == 1
    assert cli("uses", "--history", "no/such:v1").status == 1
    assert cli("uses", "--history", "team/app:v2", "--save", "uses.json").status == 2
    assert cli("uses", "--history", f"210987654321.dkr.ecr.us-east-1.amazonaws.com/x@{gone}").status == 2


def test_damage_is_told_and_the_rest_protects(aws: Emulator, cli: Cli, repo: Repository) -> None:
    remember(cli, "{torn", line(repo, "v1", days=3), "\x00\x00")
    found = plan(cli)
    assert (found.status, found.codes(repo.digest_of("v1"))) == (0, {"used_recently"})
    assert ledger_of(found)["status"] == "complete"
    assert ledger_of(found)["notes"] == ["2 lines are damaged and set aside, the rest was read"]
    again = cli("plan", *RULES)
    assert "damaged" not in again.out
    assert "Ledger: 1 use remembered" in again.out
    assert [file.read_text() for file in files(cli, "*.txt")] == ["{torn\n\x00\x00\n"]


def test_a_ledger_of_another_account_protects_nothing_and_is_told_of(aws: Emulator, cli: Cli, repo: Repository) -> None:
    remember(cli, line(repo, "v1", days=3), account="210987654321")
    found = cli("plan", *RULES)
    assert found.status == 0
    assert "Ledger: ledger/123456789012/segments/0.jsonl was not read: it is of account 210987654321" in found.out
    assert "3 images can go" in found.out


def test_a_ledger_that_cannot_be_used_is_told_of_and_holds_nothing(aws: Emulator, cli: Cli, repo: Repository) -> None:
    (cli.home / "file").write_text("this is no folder")
    nowhere = ("--state", str(cli.home / "file"))
    found = plan(cli, *nowhere)
    assert (found.status, found.action(repo.digest_of("v1"))) == (0, "delete")
    assert (ledger_of(found)["status"], ledger_of(found)["uses"]) == ("skipped", 0)
    runs(aws, f"{repo.uri}:v1")
    shown = cli("plan", *RULES, *nowhere)
    assert "Ledger: not used: the ledger cannot be read" in shown.out
    assert "could not be written to the ledger" in shown.err
    assert shown.status == 0


def test_the_state_can_lie_in_a_bucket_or_a_folder_of_ones_choice(aws: Emulator, cli: Cli, repo: Repository) -> None:
    s3, bucket = aws.client("s3"), f"sweep-{uuid.uuid4()}"
    s3.create_bucket(Bucket=bucket)
    for state in (f"s3://{bucket}/deep/prefix", f"s3://{bucket}", str(cli.home / "elsewhere")):
        runs(aws, f"{repo.uri}:v1")
        assert plan(cli, "--state", state).status == 0
        runs(aws, "")
        found = plan(cli, "--accept-drop", "ecs", ECRSWEEP_STATE=state)
        assert found.codes(repo.digest_of("v1")) == {"used_recently"}, state
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert f"deep/prefix/counts/{ACCOUNT}.json" in keys
    assert f"counts/{ACCOUNT}.json" in keys
    assert (cli.home / "elsewhere" / "ledger" / ACCOUNT / "segments").is_dir()
    assert not files(cli, "*.jsonl")
    assert plan(cli, "--state", "http://sweep").status == 2


def test_a_bucket_that_may_not_be_read_holds_nothing(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault.error("s3", "*", "AccessDenied", "Access Denied", 403))
    found = plan(cli, "--state", "s3://sweep/state")
    assert (found.status, found.action(repo.digest_of("v1"))) == (0, "delete")
    assert "was denied" in ledger_of(found)["error"]
    assert found.err.count("\n") <= 1


def test_a_saved_plan_is_applied_with_the_ledger_it_was_made_with(aws: Emulator, cli: Cli, repo: Repository) -> None:
    state, saved = str(cli.home / "elsewhere"), str(cli.home / "plan.jsonl")
    assert cli("plan", *RULES, "--save", saved, "--state", state).status == 0
    runs(aws, f"{repo.uri}:v1")
    assert cli("uses", "--state", state).status == 0
    runs(aws, "")
    ended = cli("apply", saved, "--yes", "--output", "json", "--accept-drop", "ecs")
    assert {entry["outcome"] for entry in ended.json["results"]} == {"spared", "deleted"}
    assert cli("apply", saved, "--yes", "--used-within", "0d").status == 2


def test_many_runs_leave_few_files(aws: Emulator, cli: Cli, repo: Repository) -> None:
    for _ in range(16):
        remember(cli, line(repo, "v1", days=3))
    runs(aws, f"{repo.uri}:v2")
    assert plan(cli).status == 0
    assert [file.name for file in files(cli, "*.jsonl")] == ["ledger.jsonl"]
    assert plan(cli).codes(repo.digest_of("v1")) == {"used_recently"}


def test_the_clock_of_another_machine_may_be_wrong(aws: Emulator, cli: Cli, repo: Repository) -> None:
    remember(cli, line(repo, "v1", days=-400))
    found = cli("plan", *RULES)
    assert "2 images can go" in found.out
    assert "Ledger: 1 of its entries are ahead of this clock" in found.out


def test_the_original_knows_no_ledger(aws: Emulator, cli: Cli, repo: Repository) -> None:
    remember(cli, line(repo, "v1", days=3))
    ended = cli.original("-imagestokeep", "0", "-region", "us-east-1")
    assert "Images that would be deleted: 3" in ended.out
    assert "edger" not in ended.out
