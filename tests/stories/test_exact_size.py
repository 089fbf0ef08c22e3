"""`--exact-size`: each layer counted once a repository, read once in its life, and never a reason to decide otherwise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.manifests import schema_1_manifest
from ecrsweep.emulator.registry import Repository
from tests.support import Cli, ago

MB = 1_000_000
CONFIG = 1500
"""Bytes of the configuration that every image of the emulator has."""
BASE = {"debian": 40 * MB}


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Five images of 50 MB that share 40 of them: the newest stays."""
    made = aws.ecr.repository("team/app")
    for number in range(5):
        made.push_image(tags=(f"v{number}",), pushed_at=ago(days=90 - number), size=50 * MB, shared=BASE)
    return made


def test_a_shared_layer_stays_with_the_image_that_stays(aws: Emulator, cli: Cli, repo: Repository) -> None:
    plan = cli.plan("--keep-newest", "1", "--exact-size")
    assert plan.json["summary"] == {
        "repositories": 1, "images": 5, "keep": 1, "archive": 0, "delete": 4, "hold": 0,
        "delete_bytes_upper_bound": 200 * MB, "untag": 0, "archive_bytes_upper_bound": 0, "delete_bytes_exact": 40 * MB + 4 * CONFIG,
        "keep_bytes_exact": 50 * MB + CONFIG, "archive_bytes_exact": 0, "monthly_savings_usd": 0.0, "manifests_unread": 0,
    }  # fmt: skip
    assert plan.json["savings"]["repositories"] == [
        {
            "account": "123456789012", "region": "us-east-1", "repository": "team/app", "exact": True,
            "delete_bytes": 40 * MB + 4 * CONFIG, "keep_bytes": 50 * MB + CONFIG, "archive_bytes": 0,
            "monthly_savings_usd": 0.0, "manifests_unread": 0,
        }
    ]  # fmt: skip
    assert "a call for each 100" in plan.err


def test_without_being_asked_for_nothing_is_read_and_the_figure_is_called_an_upper_bound(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    plan = cli("plan", "--keep-newest", "1", "--output", "json", "--pulled-within", "0d")
    assert not {"delete_bytes_exact", "manifests_unread"} & plan.json["summary"].keys()
    assert "savings" not in plan.json
    shown = cli("plan", "--keep-newest", "1").out
    assert "SIZE AT MOST" in shown
    assert "up to 200 MB (layers may be shared: --exact-size counts each once)" in shown
    assert aws.calls.count("ecr", "BatchGetImage") == 0


def test_the_decisions_are_the_same_and_every_manifest_is_read_once_in_its_life(aws: Emulator, cli: Cli) -> None:
    for name in ("team/app", "team/other"):
        made = aws.ecr.repository(name)
        for number in range(60):
            pushed = ago(days=100 + number)
            children = [made.push_image(pushed_at=pushed, shared=BASE, size=50 * MB) for _ in range(2)]
            made.push_index(children, tags=(f"v{number}",), pushed_at=pushed)
    without = cli("plan", "--output", "json", "--keep-newest", "10", "--max-fraction", "1")
    assert aws.calls.count("ecr", "BatchGetImage") == 2
    first = cli("plan", "--output", "json", "--keep-newest", "10", "--max-fraction", "1", "--exact-size")
    second = cli("plan", "--output", "json", "--keep-newest", "10", "--max-fraction", "1", "--exact-size")
    assert without.json["decisions"] == first.json["decisions"] == second.json["decisions"]
    assert without.json["summary"]["delete"] == 2 * 150
    assert aws.calls.count("ecr", "BatchGetImage") == 2 + 2 * 2  # 120 images a repository; the indexes were read before
    assert first.json["summary"] == second.json["summary"]
    assert (second.json["indexes_last_read_by_ourselves"], second.json["images_last_read_by_ourselves"]) == (120, 240)
    shown = cli("plan", "--keep-newest", "10", "--max-fraction", "1").out
    assert "ecrsweep itself read 120 indexes and 240 images;" in shown
    applied = cli("apply", "--yes", "--keep-newest", "10", "--max-fraction", "1", "--output", "json")
    assert applied.json["summary"]["deleted"] == 300, "our own reads are no pulls"


def test_an_archived_image_makes_the_figure_of_its_repository_an_upper_bound(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    sound = aws.ecr.repository("team/sound")
    sound.push_image(tags=("v1",), pushed_at=ago(days=90), size=7 * MB)
    repo.archive(repo.digest_of("v0"))
    arguments = ("--keep-newest", "0", "--exact-size")
    plan = cli.plan(*arguments)
    assert plan.status == 0, "it is no gap"
    assert plan.action(repo.digest_of("v1")) == "delete"
    summary = plan.json["summary"]
    assert (summary["delete_bytes_exact"], summary["monthly_savings_usd"], summary["manifests_unread"]) == (
        None,
        None,
        1,
    )
    assert {one["repository"]: one["exact"] for one in plan.json["savings"]["repositories"]} == {
        "team/app": False, "team/sound": True,
    }  # fmt: skip
    shown = cli("plan", *arguments).out
    assert "at most 80.0 MB" in shown
    assert "Not known: the layers of 1 manifest in 1 repository" in shown
    assert "it is archived, and nobody noted before which layers it has" in shown
    assert "at most 87.0 MB go" in shown


def test_what_was_read_before_it_was_archived_is_still_known(aws: Emulator, cli: Cli, repo: Repository) -> None:
    cli.plan("--exact-size")
    repo.archive(repo.digest_of("v0"))
    plan = cli.plan("--keep-newest", "0", "--exact-size")
    assert plan.json["summary"]["delete_bytes_exact"] == 40 * MB + 4 * CONFIG
    assert plan.json["summary"]["keep_bytes_exact"] == 50 * MB + CONFIG


def test_layers_that_may_not_be_read_are_no_gap_and_no_number_is_made_up(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    aws.faults.add(Fault.denied("ecr", "BatchGetImage"))
    arguments = ("--keep-newest", "1", "--exact-size")
    plan = cli.plan(*arguments)
    assert plan.status == 0
    assert plan.json["summary"]["delete"] == 4
    assert (plan.json["summary"]["delete_bytes_exact"], plan.json["summary"]["manifests_unread"]) == (None, 5)
    shown = cli("plan", *arguments).out
    assert "4 images can go, at most 200 MB. Nothing was changed." in shown
    assert "ecr:BatchGetImage was denied" in shown


def test_a_manifest_of_the_first_schema_tells_no_sizes_and_is_not_read_again(aws: Emulator, cli: Cli) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+json"
    repo = aws.ecr.repository("team/old")
    repo.push(schema_1_manifest("a"), ("v1",), media_type=kind, pushed_at=ago(days=90), size=9 * MB)
    for _ in range(2):
        assert cli.plan("--keep-newest", "0", "--exact-size").json["summary"]["manifests_unread"] == 1
    assert aws.calls.count("ecr", "BatchGetImage") == 1


def test_a_limit_is_held_against_the_upper_bound(aws: Emulator, cli: Cli, repo: Repository) -> None:
    limited = cli.plan("--keep-newest", "1", "--exact-size", "--max-bytes", str(100 * MB))
    assert limited.json["summary"]["delete_bytes_exact"] < 100 * MB
    assert (limited.status, limited.json["verdict"]["code"]) == (5, "limit")


def test_a_price_of_ones_own_is_taken_and_a_wrong_one_is_named(aws: Emulator, cli: Cli, repo: Repository) -> None:
    tiers = [{"usd_per_gb_month": 1}]
    price = {"standard_usd_per_gb_month": 1000, "archive_tiers": tiers, "restore_usd_per_gb": 1}
    listed = {
        "format": "ecrsweep.prices/1", "date": "2026-01-31", "source": "our contract", "bytes_per_gb": 10**9,
        "archive_minimum_days": 90, "regions": {"us-east-1": price},
    }  # fmt: skip
    file = Path(cli.home) / "prices.json"
    file.write_text(json.dumps(listed))
    shown = cli("plan", "--keep-newest", "1", "--exact-size", "--prices", str(file)).out
    assert "40.0 MB go, 50.0 MB stay, worth about $40.01 a month at list price of 2026-01-31." in shown
    del price["restore_usd_per_gb"]
    file.write_text(json.dumps(listed))
    refused = cli("plan", "--exact-size", "--prices", str(file))
    assert refused.status == 2
    assert "regions.us-east-1: Object missing required field `restore_usd_per_gb`" in refused.err
    alone = cli("plan", "--prices", str(file))
    assert (alone.status, "add --exact-size" in alone.err) == (2, True)


def test_prices_of_ones_own_value_what_archiving_costs_too(aws: Emulator, cli: Cli, repo: Repository) -> None:
    price = {"standard_usd_per_gb_month": 1000, "archive_tiers": [{"usd_per_gb_month": 500}], "restore_usd_per_gb": 1}
    listed = {
        "format": "ecrsweep.prices/1", "date": "2026-01-31", "source": "our contract", "bytes_per_gb": 10**9,
        "archive_minimum_days": 90, "regions": {"us-east-1": price},
    }  # fmt: skip
    file = cli.home / "prices.json"
    file.write_text(json.dumps(listed))
    shown = cli("plan", "--keep-newest", "1", "--otherwise", "trial", "--prices", str(file)).out
    assert "Cost of archiving: at most about $100.00 a month" in shown
    assert "deleting saves about $200.00; list price of 2026-01-31." in shown


def test_what_the_archive_costs_is_told_of_the_true_bytes(aws: Emulator, cli: Cli) -> None:
    made = aws.ecr.repository("team/large")
    for number in range(5):
        made.push_image(
            tags=(f"v{number}",), pushed_at=ago(days=90 - number), size=40 * 2**30, shared={"debian": 30 * 2**30}
        )
    bound = cli("plan", "--keep-newest", "1", "--otherwise", "archive").out
    assert "Cost of archiving: at most about $16.00 a month" in bound
    exact = cli("plan", "--keep-newest", "1", "--otherwise", "archive", "--exact-size").out
    assert (
        "Cost of archiving: about $4.00 a month, at least 90 days of it are billed (about $11.84); to bring all of it back about $1.20."
        in exact
    )
    assert "deleting saves about $4.00" in exact


def test_a_saved_plan_says_what_it_found_before_it_is_confirmed(aws: Emulator, cli: Cli, repo: Repository) -> None:
    saved = str(cli.home / "plan.jsonl")
    assert cli("plan", "--keep-newest", "1", "--exact-size", "--save", saved).status == 0
    beside = cli("apply", saved, "--yes", "--exact-size")
    assert (beside.status, "--exact-size cannot be given with it" in beside.err) == (2, True)
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ecrsweep", "apply", saved], stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=cli.environ, cwd=cli.home,
    ) as asked:  # fmt: skip
        os.close(theirs)
        os.write(ours, b"123456789012 4\n")
        out, err = asked.communicate(timeout=60)
        os.close(ours)
    assert "This deletes up to 4 images (40.0 MB) of account" in err
    assert "Deleted 4 images, at most 200 MB: layers may be shared." in out
    assert asked.returncode == 0


def test_apply_that_plans_counts_too(aws: Emulator, cli: Cli, repo: Repository) -> None:
    applied = cli("apply", "--yes", "--keep-newest", "1", "--exact-size", "--verbose")
    assert "True bytes: 40.0 MB go, 50.0 MB stay." in applied.out
    assert "4 images can go, 40.0 MB." in applied.out
    assert len(repo.images()) == 1
