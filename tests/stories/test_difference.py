"""What changed since another plan, and what a journal says when it is summed up."""

import json

import pytest

from ecrsweep.emulator import Emulator, Fault
from tests.stories.test_resume import QUICK, RULES
from tests.support import Cli, ago


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


def test_a_plan_is_held_against_another(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    stays, used, gone = (repo.push_image(tags=(f"v{n}",), pushed_at=ago(days=90)) for n in range(3))
    task = aws.ecs.register("web", {"web": f"{repo.uri}:v0"})
    (running,) = aws.ecs.run(task)
    old = str(cli.home / "old.jsonl")
    cli("plan", "--save", old, *RULES, *QUICK)
    same = cli("plan", "--diff", old, *RULES, *QUICK)
    assert same.out.rstrip().endswith("Nothing has changed.")
    assert "REPOSITORY" in same.out, "the plan itself is shown too"
    repo.remove(gone)
    new = repo.push_image(tags=("new",), pushed_at=ago(days=80))
    aws.ecs.run(aws.ecs.register("late", {"web": f"{repo.uri}:v1"}))
    found = cli("plan", "--diff", old, "--output", "json", *RULES, *QUICK).json
    assert found["format"] == "ecrsweep.difference/1"
    changes = {change["digest"]: (change["before"], change["after"]) for change in found["changes"]}
    assert changes == {used: ("delete", "keep"), gone: ("delete", "absent"), new: ("absent", "delete")}
    assert stays not in changes
    assert found["before"]["summary"]["delete"] == 2
    table = cli("plan", "--diff", old, *RULES, *QUICK).out
    assert "absent -> delete" in table
    assert "3 changes: " in table
    lines = cli("plan", "--diff", old, "--output", "jsonl", *RULES, *QUICK).out.splitlines()
    assert {json.loads(line)["digest"] for line in lines} == {used, gone, new}
    assert running


def test_what_is_no_plan_cannot_be_compared_and_a_saved_plan_may_take_the_place_of_the_old(
    aws: Emulator, cli: Cli
) -> None:
    aws.ecr.repository("team/app").push_image(tags=("v1",), pushed_at=ago(days=90))
    (cli.home / "x.jsonl").write_text("{}\n")
    refused = cli("plan", "--diff", "x.jsonl", *RULES, *QUICK)
    assert refused.status == 1
    assert "not a saved plan" in refused.err
    assert cli("plan", "--diff", "nosuch", *RULES, *QUICK).status == 1
    cli("plan", "--save", "p.jsonl", *RULES, *QUICK)
    ended = cli("plan", "--save", "p.jsonl", "--diff", "p.jsonl", *RULES, *QUICK)
    assert "Nothing has changed." in ended.out
    assert cli("apply", "p.jsonl", "--yes").status == 0


def test_a_journal_is_summed_up_with_what_was_refused_and_what_is_in_doubt(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    refused, _ = (repo.push_image(tags=(f"v{n}",), pushed_at=ago(days=90)) for n in range(2))
    aws.faults.add(Fault("failures", "ecr", "BatchDeleteImage", failures={refused: "KmsError"}))
    cli("apply", "--yes", "--journal", "j.jsonl", *RULES, *QUICK)
    shown = cli("journal", "show", "j.jsonl")
    assert shown.status == 0, "it came to its end; what AWS refused is told"
    assert "1 image deleted" in shown.out
    assert f"{refused}: KmsError" in shown.out
    assert "ecrsweep restore --journal j.jsonl" in shown.out
    assert "The run came to its end." in shown.out
    text = (cli.home / "j.jsonl").read_bytes().splitlines(keepends=True)
    asking = next(number for number, line in enumerate(text) if b'"asking"' in line)
    (cli.home / "cut.jsonl").write_bytes(b"".join(text[: asking + 1]))
    cut = cli("journal", "show", "cut.jsonl")
    assert cut.status == 4
    assert "in doubt: delete of 2 images" in cut.out
    assert "--resume cut.jsonl" in cut.out
    summed = cli("journal", "show", "j.jsonl", "--output", "json").json
    assert summed["format"] == "ecrsweep.journal-summary/1"
    assert summed["longest_window_seconds"] < 10
    assert cli("journal", "show", "nosuch").status == 1
