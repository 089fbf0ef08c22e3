"""What a user sees of `plan`, through the real command line and HTTP."""

import json
import os
import subprocess
import sys
from pathlib import Path

from ecrsweep.emulator import Emulator
from tests.support import ACCOUNT, Cli, ago


def test_the_newest_stay_and_the_rest_goes(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    digests = [repo.push_image(tags=(f"v{age}",), pushed_at=ago(days=age)) for age in range(40, 45)]
    plan = cli.plan("--keep-newest", "2")
    assert plan.status == 0, plan.err
    assert [plan.action(digest) for digest in digests] == ["keep", "keep", "delete", "delete", "delete"]
    assert plan.codes(digests[0]) == {"newest"}
    assert plan.codes(digests[4]) == {"not_kept"}
    assert plan.json["summary"]["delete"] == 3


def test_plan_makes_no_changing_call(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    for age in range(40, 45):
        repo.push_image(tags=(f"v{age}",), pushed_at=ago(days=age))
    cli.plan("--keep-newest", "1")
    reading = ("Describe", "List", "Get", "BatchGet")
    assert {call.operation for call in aws.calls.log if not call.operation.startswith(reading)} == set()


def test_the_table_names_each_repository_and_the_totals(aws: Emulator, cli: Cli) -> None:
    for name in ("team/app", "team/web"):
        for age in range(40, 43):
            aws.ecr.repository(name).push_image(tags=(f"v{age}",), pushed_at=ago(days=age))
    shown = cli("plan", "--keep-newest", "1", "--pulled-within", "0d")
    assert shown.status == 0
    assert "team/app" in shown.out
    assert "team/web" in shown.out
    assert "2 repositories" in shown.out
    assert "4 images can go" in shown.out
    assert "Asked " in shown.out
    assert "\x1b" not in shown.out


def test_without_a_terminal_no_name_is_cut_short(aws: Emulator, cli: Cli) -> None:
    name = "a-very-long-department-name/" + "x" * 180
    aws.ecr.repository(name).push_image(tags=("v1",), pushed_at=ago(days=90))
    assert name in cli("plan").out


def test_json_lines_are_what_save_writes(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    for age in range(40, 43):
        repo.push_image(tags=(f"v{age}",), pushed_at=ago(days=age))
    saved = cli.home / "plan.jsonl"
    printed = cli("plan", "--output", "jsonl", "--save", str(saved)).out
    assert printed == saved.read_text()
    header, *rows, footer = [json.loads(line) for line in printed.splitlines()]
    assert header["format"] == "ecrsweep.plan/1"
    assert len(rows) == 3
    assert footer["lines"] == 5
    assert footer["digest"].startswith("sha256:")


def test_exit_code_tells_that_something_can_go(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    assert cli.plan("--exit-code").status == 0
    repo.push_image(tags=("old",), pushed_at=ago(days=90))
    assert cli.plan("--exit-code", "--keep-newest", "0").status == 3


def test_two_plans_of_the_same_world_decide_the_same(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    for age in range(40, 44):
        child = repo.push_image(pushed_at=ago(days=age))
        repo.push_index([child], tags=(f"v{age}",), pushed_at=ago(days=age), pulled_at=ago(days=age - 1))
    arguments = ("plan", "--output", "json", "--keep-newest", "1")
    first, second = cli(*arguments), cli(*arguments)
    assert first.json["decisions"] == second.json["decisions"]
    assert first.json["summary"]["delete"] == 6
    assert aws.calls.count("ecr", "BatchGetImage") == 1


def test_a_plan_of_stale_indexes_is_carried_out_although_plan_has_read_them(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    for age in range(40, 60):
        children = [repo.push_image(pushed_at=ago(days=age)) for _ in range(2)]
        repo.push_index(children, tags=(f"v{age}",), pushed_at=ago(days=age))
    saved = str(cli.home / "plan.jsonl")
    assert cli("plan", "--keep-newest", "0", "--max-fraction", "1", "--save", saved).status == 0
    applied = cli("apply", saved, "--yes", "--output", "json")
    assert applied.status == 0, applied.out
    assert repo.images() == []


def test_a_damaged_cache_is_survived(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    child = repo.push_image(pushed_at=ago(days=50))
    index = repo.push_index([child], tags=("v1",), pushed_at=ago(days=50))
    first = cli.plan()
    cache = next(Path(cli.home).rglob("manifests.sqlite3"))
    cache.write_bytes(b"this is not a database, whatever its name says" * 100)
    second = cli.plan()
    assert second.status == 0
    assert "damaged" in second.err
    assert second.action(index) == first.action(index) == "keep"


def test_an_unreadable_manifest_holds_its_repository_alone(aws: Emulator, cli: Cli) -> None:
    from ecrsweep.emulator import Fault

    broken, sound = aws.ecr.repository("team/broken"), aws.ecr.repository("team/sound")
    old = broken.push_image(tags=("old",), pushed_at=ago(days=90))
    broken.push_index([broken.push_image(pushed_at=ago(days=91))], tags=("multi",), pushed_at=ago(days=91))
    other = sound.push_image(tags=("old",), pushed_at=ago(days=90))
    aws.faults.add(Fault.denied("ecr", "BatchGetImage"))
    plan = cli.plan("--keep-newest", "0")
    assert plan.status == 5
    assert plan.action(old) == "hold"
    assert plan.codes(old) == {"coverage_gap"}
    assert plan.action(other) == "delete"
    assert [entry["source"] for entry in plan.json["coverage"] if entry["status"] == "failed"] == ["ecr"]


def test_a_limit_holds_a_repository_and_can_be_overridden(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    digests = [repo.push_image(tags=(f"v{n}",), pushed_at=ago(days=60 + n)) for n in range(30)]
    limited = cli.plan("--keep-newest", "1")
    assert limited.status == 5
    assert limited.codes(digests[-1]) == {"limit"}
    assert cli.plan("--keep-newest", "1", "--override-limits").status == 0
    whole_run = cli.plan("--keep-newest", "1", "--max-fraction", "1", "--max-images", "10")
    assert whole_run.status == 5
    assert whole_run.json["verdict"]["code"] == "limit"


def test_uses_names_every_image_and_its_workload(aws: Emulator, cli: Cli) -> None:
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/app:v1"
    aws.ecr.repository("team/app").push_image(tags=("v1",), pushed_at=ago(days=90))
    aws.ecs.register("web", images={"web": image, "sidecar": "public.ecr.aws/nginx/nginx:1"})
    uses = cli("uses", "--output", "json")
    assert uses.status == 0
    named = {use["image"]: use["workload"] for use in uses.json["uses"]}
    assert named[image].endswith(":task-definition/web:1")
    assert uses.json["foreign_uses"] == 1
    assert image in cli("uses").out


def test_a_uses_file_of_one_run_protects_in_another(aws: Emulator, cli: Cli) -> None:
    digest = aws.ecr.repository("team/app").push_image(tags=("v1",), pushed_at=ago(days=90))
    listed = cli.home / "uses.json"
    listed.write_text(json.dumps([f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/app:v1"]))
    assert cli.plan("--keep-newest", "0").action(digest) == "delete"
    assert cli.plan("--keep-newest", "0", "--uses-file", str(listed)).codes(digest) == {"in_use"}
    listed.write_text("{not json")
    held = cli.plan("--keep-newest", "0", "--uses-file", str(listed))
    assert (held.status, held.action(digest)) == (5, "hold")


def test_explain_tells_every_reason_and_the_neighbours(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    child = repo.push_image(pushed_at=ago(days=50))
    index = repo.push_index([child], tags=("v1",), pushed_at=ago(days=50))
    aws.ecs.register("web", images={"web": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/app@{child}"})
    by_tag = cli("explain", "team/app:v1")
    assert by_tag.status == 0
    assert "KEEP" in by_tag.out
    assert "parent_of_kept" in by_tag.out
    found = cli("explain", f"team/app@{child[:20]}", "--output", "json").json
    assert found["parents"] == [index]
    assert {reason["code"] for reason in found["decision"]["reasons"]} == {"in_use", "child_of_kept"}
    assert cli("explain", "team/app:nosuch").status == 1


def test_uses_of_images_that_are_gone_are_told(aws: Emulator, cli: Cli) -> None:
    aws.ecr.repository("team/app").push_image(tags=("v1",), pushed_at=ago(days=90))
    registry = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
    aws.ecs.register("web", images={"web": f"{registry}/team/app:gone", "other": f"{registry}/no/such:v1"})
    unresolved = cli.plan().json["unresolved"]
    assert {entry["reference"] for entry in unresolved} == {f"{registry}/team/app:gone", f"{registry}/no/such:v1"}
    assert "Already broken: 2 uses" in cli("plan").out


def test_on_a_terminal_the_results_begin_when_progress_has_ended(aws: Emulator, cli_asking_ecs: Cli) -> None:
    """Both are drawn in the same window: what comes too early stands in the line of the progress."""
    aws.ecr.repository("team/app").push_image(tags=("v1",), pushed_at=ago(days=40))
    ours, theirs = os.openpty()
    environ = cli_asking_ecs.environ | {"TERM": "xterm", "COLUMNS": "90"}
    with subprocess.Popen(
        [sys.executable, "-m", "ecrsweep", "plan"], stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=cli_asking_ecs.home
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                some = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not some:
                break
            shown += some
        os.close(ours)
    assert process.returncode == 0
    cursor_is_back = b"\x1b[?25h"
    assert b"Reading what is in use" in shown
    assert 0 <= shown.rindex(cursor_is_back) < shown.index(b"Plan for account")
    assert b"Nothing to delete" in shown
