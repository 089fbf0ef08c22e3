"""What a user gets who made a mistake, or has bad luck: a plain sentence, the right status, and nothing deleted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecrsweep.emulator import Emulator, Fault
from tests.support import ACCOUNT, Cli, Finished, ago


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


def plainly(ended: Finished, status: int, *words: str) -> None:
    """It ended so, and said so in words."""
    assert ended.status == status, ended.err
    for word in words:
        assert word in ended.err
    assert "Traceback" not in ended.err


def test_no_credentials(aws: Emulator, cli: Cli) -> None:
    ended = cli("plan", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    plainly(ended, 1, "credentials", "Nothing was changed")


def test_expired_credentials(aws: Emulator, cli: Cli) -> None:
    aws.faults.add(Fault.error("sts", "*", "ExpiredToken", "The security token included in the request is expired"))
    plainly(cli("plan"), 1, "expired")


def test_an_unknown_profile(aws: Emulator, cli: Cli) -> None:
    plainly(cli("plan", "--profile", "nosuch"), 1, "nosuch")


def test_no_region(aws: Emulator, cli: Cli) -> None:
    plainly(cli("plan", AWS_REGION="", AWS_DEFAULT_REGION=""), 2, "--region")


def test_a_wrong_region_name(aws: Emulator, cli: Cli) -> None:
    plainly(cli("plan", "--region", "us-esat-1"), 2, "us-esat-1", "Did you mean")


def test_a_region_that_is_not_switched_on(aws: Emulator, cli: Cli) -> None:
    plainly(cli("plan", "--region", "af-south-1"), 2, "af-south-1", "not switched on")


def test_a_repository_that_does_not_exist(aws: Emulator, cli: Cli) -> None:
    plainly(cli("plan", "--repository", "no/such"), 1, "no/such")
    assert cli("plan", "--repository", "no/*").status == 0


def test_a_glob_matches_whole_names_only(aws: Emulator, cli: Cli) -> None:
    for name in ("app", "app-prod"):
        aws.ecr.repository(name).push_image(tags=("v1",), pushed_at=ago(days=90))
    found = cli("plan", "--output", "json", "--repository", "app").json
    assert {decision["repository"] for decision in found["decisions"]} == {"app"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pulled-within", "999999d"), ("--pulled-within", "30"), ("--pulled-within", "-3d"), ("--keep-newest", "-1"),
        ("--keep-newest", "many"), ("--max-fraction", "2"), ("--accept-gap", "what ever"), ("--nosuch",),
    ],
)  # fmt: skip
def test_nonsense_is_refused_before_aws_is_asked(aws: Emulator, cli: Cli, arguments: tuple[str, ...]) -> None:
    plainly(cli("plan", *arguments), 2)
    assert aws.calls.log == []


def test_an_image_that_is_none_of_ecr(aws: Emulator, cli: Cli) -> None:
    plainly(cli("explain", "ghcr.io/a/b:c"), 2, "ghcr.io/a/b:c")
    plainly(cli("explain", f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/no/such:v1"), 1, "no/such")


def test_a_plan_file_that_is_not_there(aws: Emulator, cli: Cli) -> None:
    plainly(cli("apply", "nosuch.jsonl", "--yes"), 1, "nosuch.jsonl")


def test_a_full_disk_keeps_what_was_there_before(aws: Emulator, cli: Cli) -> None:
    aws.ecr.repository("team/app").push_image(tags=("v1",), pushed_at=ago(days=90))
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    plainly(cli("plan", "--save", "/dev/full"), 1, "No space left")
    assert Path("/dev/full").is_char_device()
    ended = cli.run(["bash", "-c", f"{sys.executable} -m ecrsweep plan > /dev/full"], None, {})
    plainly(ended, 1, "No space left")


def test_a_save_into_a_folder_that_does_not_exist(aws: Emulator, cli: Cli) -> None:
    plainly(cli("plan", "--save", str(cli.home / "no" / "such" / "plan.jsonl")), 1, "No such file")


def test_a_closed_pipe_is_no_traceback(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    for number in range(3000):
        repo.push_image(tags=(f"v{number}",), pushed_at=ago(days=90))
    ended = cli.run(["bash", "-c", f"{sys.executable} -m ecrsweep plan --output jsonl | head -c 10"], None, {})
    assert ended.out.startswith("{")
    assert ended.err == ""


def test_a_closed_pipe_before_the_deletion_deletes_nothing(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    for number in range(3000):
        repo.push_image(tags=(f"v{number}",), pushed_at=ago(days=90))
    script = f"{sys.executable} -m ecrsweep apply --yes --verbose --keep-newest 0 --pulled-within 0d | head -c 10"
    ended = cli.run(["bash", "-c", script], None, {})
    assert "Traceback" not in ended.err
    assert len(repo.images()) == 3000


def test_an_interrupt_while_reading_ends_at_once(aws: Emulator, cli: Cli) -> None:
    aws.latency = 30.0
    with subprocess.Popen(
        [sys.executable, "-m", "ecrsweep", "plan"],
        env=cli.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 20
        while not aws.calls.log and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # until it does nothing but wait for the answer
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    aws.latency = 0.0
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Nothing was deleted" in err


def test_hostile_tags_cannot_speak_to_the_terminal(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    digest = repo.push_image(pushed_at=ago(days=90))
    repo.tag("\x1b[2J\x1b[31mowned [bold]red[/bold]", digest)
    shown = cli("plan", "--verbose", "--keep-newest", "0")
    assert shown.status == 0
    assert "\x1b" not in shown.out
    assert "[bold]" in shown.out


def test_the_help_does_not_load_the_heavy_parts() -> None:
    script = "import sys, ecrsweep.cli.commands as c; c.root.get_help(__import__('click').Context(c.root)); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert not {"boto3", "botocore", "rich", "moto", "msgspec"} & set(loaded.stdout.split())
