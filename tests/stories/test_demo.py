"""The demo: what a newcomer sees first, with no account and no docker."""

import subprocess
import sys
import time

import pytest

from ecrsweep.emulator import Clock, Emulator
from ecrsweep.emulator.company import REGIONS, build
from tests.support import ROOT, Cli, ago

pytest.importorskip("moto")


def test_without_a_terminal_it_shows_the_plan_and_ends(cli: Cli) -> None:
    started = time.monotonic()
    ended = cli("demo")
    assert ended.status == 0, ended.err
    assert "payments/api" in ended.out
    assert "Already broken" in ended.out
    assert "Nothing was changed" in ended.out
    assert time.monotonic() - started < 30  # some five seconds on a machine with nothing else to do


def test_kept_running_it_prints_what_every_other_command_needs(cli: Cli) -> None:
    command = [sys.executable, "-u", "-m", "ecrsweep", "demo", "--keep-running"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cli.environ) as process:
        environ = {}
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").strip().partition("=")
                environ[name] = value
            elif environ and not line.strip():
                break
        plan = cli("plan", "--output", "json", "--max-fraction", "1", **environ)
        assert plan.status == 0, plan.err
        assert plan.json["summary"]["delete"] > 100
        assert cli("explain", "payments/api:1.12.0", **environ).status == 0
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_what_each_example_shows_is_so(cli: Cli) -> None:
    with Emulator(clock=Clock(ago()), regions=REGIONS) as emulator:
        examples = build(emulator)
        shown = Cli(emulator.environ(), cli.home)
        plan = shown("plan", "--output", "json", "--region", "us-east-1")
        for image, _ in examples:
            found = shown("explain", image, "--output", "json").json["decision"]
            assert found["action"] == "keep"
            assert "in_use" in {reason["code"] for reason in found["reasons"]}
            assert "newest" not in {reason["code"] for reason in found["reasons"]}
        assert plan.json["unresolved"]


def test_the_regrets_that_the_readme_tells_of_are_so(cli: Cli) -> None:
    readme = (ROOT / "README.md").read_text()
    regions = ("--region", "us-east-1", "--region", "eu-west-1")
    with Emulator(clock=Clock(ago()), regions=REGIONS) as emulator:
        build(emulator)
        shown = Cli(emulator.environ(), cli.home)
        safe = shown("simulate", "--output", "json", *regions).json
        assert safe["regrets"] == []
        assert f"it would have let {safe['policies'][0]['gone']} images go in 90 days" in readme
        strict = shown("simulate", "--output", "json", *regions, "--keep-newest", "5").json
        (regret,) = strict["regrets"]
        assert f"`{regret['repository']}:{regret['tags'][0]}`, which somebody pulled four days ago" in readme
        assert f"in {strict['policies'][0]['gone']:,}, " in readme
        assert (regret["in_use_now"], regret["seen_then"]) == (False, False)


def test_the_company_is_the_same_each_time() -> None:
    moment = ago()
    told = []
    for _ in range(2):
        emulator = Emulator(clock=Clock(moment))
        build(emulator)
        told.append(
            [
                (name, [image.digest for image in repo.images()])
                for name, repo in sorted(emulator.ecr.registry(emulator.account, "us-east-1").items())
            ]
        )
    assert told[0] == told[1]
