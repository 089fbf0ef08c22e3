"""A source that suddenly says almost nothing: the run says so and holds, until somebody accepts it or it speaks again."""

from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.ecs import EcsState
from ecrsweep.emulator.registry import Repository
from tests.support import Cli, Finished, ago

RULES = ("--keep-newest", "0", "--pulled-within", "0d", "--used-within", "0d")


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Thirteen old images; no rule keeps any."""
    made = aws.ecr.repository("team/app")
    for version in range(13):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=90))
    return made


def plan(cli: Cli, *arguments: str) -> Finished:
    return cli("plan", "--output", "json", *RULES, *arguments)


def use(aws: Emulator, repo: Repository, number: int, region: str = "us-east-1") -> None:
    """From now on so many task definitions, each of an image of its own, are all that ECS has."""
    aws.ecs = EcsState(aws.clock, aws.ecr, aws.account, aws.region)
    for version in range(number):
        aws.ecs.register(f"web{version}", {"web": f"{repo.uri}:v{version}"}, region=region)


def drops(found: Finished) -> dict[str, Any]:
    return {entry["region"]: entry["drop"] for entry in found.json["coverage"] if "drop" in entry}


def test_a_source_that_falls_silent_holds_the_run_and_says_what_it_said_before(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    use(aws, repo, 12)
    assert plan(cli).status == 0
    use(aws, repo, 0)
    found = plan(cli)
    assert found.status == 5
    assert {found.action(image.digest) for image in repo.images()} == {"hold"}
    assert found.codes(repo.digest_of("v0")) == {"coverage_gap"}
    (sentence,) = drops(found).values()
    assert sentence.startswith("ecs in us-east-1 had 12 uses of 12 images at the last accepted run (20")
    assert sentence.endswith("), now none")
    assert found.details(repo.digest_of("v0")) == sentence
    assert {entry["status"] for entry in found.json["coverage"]} == {"complete"}
    shown = cli("plan", *RULES)
    assert f"DROP: {sentence}" in shown.out
    assert "--accept-drop" in shown.out
    assert "not everything" not in shown.out
    assert cli("uses").status == 5
    use(aws, repo, 11)
    assert plan(cli).status == 0, "it speaks again, and was never forgotten in between"


def test_fewer_than_half_is_suspicious_and_half_is_not(aws: Emulator, cli: Cli, repo: Repository) -> None:
    use(aws, repo, 12)
    assert cli("uses").status == 0
    use(aws, repo, 5)
    assert plan(cli).status == 5
    use(aws, repo, 6)
    assert plan(cli).status == 0
    use(aws, repo, 2)
    assert plan(cli).status == 0, "so few come and go"
    use(aws, repo, 0)
    assert plan(cli).status == 5, "silence is suspicious from any number"


def test_a_drop_that_is_accepted_makes_the_new_number_the_expected_one(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    use(aws, repo, 12)
    assert plan(cli).status == 0
    use(aws, repo, 1)
    for other in ("batch", "ecs/eu-west-1", "ecs@210987654321"):
        assert plan(cli, "--accept-drop", other).status == 5, other
    accepted = plan(cli, "--accept-drop", "ecs/us-east-1")
    assert (accepted.status, accepted.action(repo.digest_of("v5"))) == (0, "delete")
    (entry,) = (entry for entry in accepted.json["coverage"] if "drop" in entry)
    assert entry["accepted"] is True
    assert plan(cli).status == 0
    assert drops(plan(cli)) == {}
    assert plan(cli, "--accept-drop", "not a source!").status == 2


def test_a_gap_and_a_narrower_question_are_no_drop_and_change_nothing_that_is_expected(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    use(aws, repo, 12)
    assert plan(cli).status == 0
    use(aws, repo, 0)
    assert plan(cli, "--skip-source", "ecs").status == 0
    assert plan(cli, "--consumer-region", "eu-west-1").status == 0
    fault = aws.faults.add(Fault.denied("ecs", "*", region="us-east-1"))
    failed = plan(cli)
    assert (failed.status, drops(failed)) == (5, {})
    assert plan(cli, "--accept-gap", "ecs").status == 0
    assert fault is not None
    aws.faults.clear()
    assert plan(cli).status == 5


def test_a_run_that_is_held_changes_nothing_that_is_expected(aws: Emulator, cli: Cli, repo: Repository) -> None:
    use(aws, repo, 12)
    assert plan(cli).status == 0
    use(aws, repo, 6)
    assert plan(cli, "--max-images", "1").status == 5
    use(aws, repo, 5)
    assert plan(cli).status == 5, "five are still compared with twelve"


def test_apply_looks_again(aws: Emulator, cli: Cli, repo: Repository) -> None:
    use(aws, repo, 12)
    saved = str(cli.home / "plan.jsonl")
    assert cli("plan", *RULES, "--save", saved).status == 0
    use(aws, repo, 0)
    held = cli("apply", saved, "--yes", "--output", "json")
    assert held.status == 5
    assert {(entry["outcome"], entry["code"]) for entry in held.json["results"]} == {("held", "coverage_gap")}
    assert len(repo.images()) == 13
    accepted = cli("apply", saved, "--yes", "--output", "json", "--accept-drop", "ecs")
    assert (accepted.status, len(repo.images())) == (0, 12)


def test_an_apply_without_a_plan_holds_the_second_look_against_the_first(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    use(aws, repo, 12)

    def fall_silent(_: object) -> None:
        use(aws, repo, 0)

    first_look = 2 * len(aws.regions)  # a call in every region, of `ecs` and of `ecs-daemons`
    aws.faults.add(Fault("before", "ecs", "ListClusters", skip=first_look, times=1, run=fall_silent))
    ended = cli("apply", "--yes", *RULES, "--output", "json")
    assert ended.status == 5
    assert len(repo.images()) == 13


def test_a_uses_file_that_was_cut_short_is_a_drop(aws: Emulator, cli: Cli, repo: Repository) -> None:
    listed = cli.home / "uses.json"
    listed.write_text("[" + ",".join(f'"{repo.uri}:v{number}"' for number in range(12)) + "]")
    assert plan(cli, "--uses-file", str(listed)).status == 0
    listed.write_text("[]")
    found = plan(cli, "--uses-file", str(listed))
    assert found.status == 5
    assert drops(found)["all"].startswith("file:uses.json had 12 uses")
    assert plan(cli, "--uses-file", str(listed), "--accept-drop", "file:uses.json").status == 0


def test_a_drop_of_one_run_is_a_gap_of_the_run_that_reads_its_uses_file(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    use(aws, repo, 12)
    assert plan(cli).status == 0
    use(aws, repo, 0)
    saved = str(cli.home / "uses.json")
    assert cli("uses", "--save", saved).status == 5
    found = plan(cli, "--uses-file", saved, "--state", str(cli.home / "other"))
    assert found.status == 5
    assert [entry["source"] for entry in found.json["coverage"] if entry["status"] == "failed"] == ["ecs"]


def test_the_original_knows_nothing_of_earlier_runs(aws: Emulator, cli: Cli, repo: Repository) -> None:
    use(aws, repo, 12)
    assert plan(cli).status == 0
    use(aws, repo, 0)
    assert cli.original("-imagestokeep", "0", "-region", "us-east-1").status == 0
