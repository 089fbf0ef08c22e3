"""Files and commands as witness: what they list is kept, what cannot be read is a gap, and no plan makes anything run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.core.errors import BadInput
from ecrsweep.core.uses_file import parse_uses
from ecrsweep.emulator import Clock, Emulator, Fault
from ecrsweep.emulator.registry import Repository
from ecrsweep.serverless.settings import asked_of
from ecrsweep.sources import chosen_sources, named_sources
from tests.support import ACCOUNT, REGIONS, Cli, Finished, ago

HOST = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
OTHER = "210987654321"
PLAIN = f"# what runs on the hosts\n\n{HOST}/team/app:v1   # since spring\nnginx:1.27\n"
RULES = ("--keep-newest", "0")


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Four old images; no rule keeps any."""
    return filled(aws)


def filled(aws: Emulator) -> Repository:
    made = aws.ecr.repository("team/app")
    for version in range(1, 5):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=90))
    return made


def entries(found: Finished) -> dict[str, dict[str, Any]]:
    """The coverage of files and commands, by name."""
    return {entry["source"]: entry for entry in found.json["coverage"] if ":" in entry["source"]}


def document(*images: str, **members: Any) -> str:
    uses = [{"image": image, "workload": "host-1", "source": "docker"} for image in images]
    return json.dumps({"format": "ecrsweep.uses/1", "uses": uses} | members)


def script(cli: Cli, name: str, body: str) -> str:
    """A program on the disk; the command that runs it."""
    file = cli.home / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return str(file)


def test_what_files_and_commands_list_is_kept_wherever_it_comes_from(aws: Emulator, cli: Cli, repo: Repository) -> None:
    (cli.home / "hosts.txt").write_text(PLAIN)
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="shared-uses")
    s3.put_object(Bucket="shared-uses", Key="b/uses.json", Body=document(f"{HOST}/team/app:v2"))
    command = script(cli, "inventory", f'printf "%s\\n" "$PREFIX/team/app@{repo.digest_of("v3")}"')
    cli.environ["PREFIX"] = HOST
    found = cli(
        "plan", "--output", "json", "--pulled-within", "0d", *RULES, "--uses-file", "hosts.txt", "--uses-file", "-",
        "--uses-file", "s3://shared-uses/b/uses.json", "--uses-command", f"{command} --all 'two words'",
        stdin=json.dumps([f"{HOST}/team/app:v4"]),
    )  # fmt: skip
    assert found.status == 0, found.err
    assert {found.action(image.digest) for image in repo.images()} == {"keep"}
    assert "hosts.txt" in found.details(repo.digest_of("v1"))
    assert "host-1" in found.details(repo.digest_of("v2"))
    assert command in found.details(repo.digest_of("v3"))
    uses = {name: (entry["status"], entry["region"], entry["uses"]) for name, entry in entries(found).items()}
    assert uses == {
        "file:hosts.txt": ("complete", "all", 2), "file:uses.json": ("complete", "all", 1),
        "file:stdin": ("complete", "all", 1), "command:inventory": ("complete", "all", 1),
    }  # fmt: skip
    assert found.json["foreign_uses"] == 1
    assert "command:inventory" in cli("plan", *RULES, "--uses-command", command).out


def test_all_that_cannot_be_read_are_gaps_that_say_why(aws: Emulator, cli: Cli, repo: Repository) -> None:
    (cli.home / "bad.json").write_text('{"format": "ecrsweep.uses/9", "uses": []}')
    (cli.home / "secret.txt").write_text("root: hunter2\n")
    aws.client("s3").create_bucket(Bucket="shared-uses")
    commands = {
        "fails": script(cli, "fails", f"echo {HOST}/team/app:v1; echo first >&2; echo 'no such host' >&2; exit 3"),
        "killed": script(cli, "killed", "kill -9 $$"),
        "slow": script(cli, "slow", "echo waiting >&2; sleep 60"),
        "silent": script(cli, "silent", "exit 0"),
        "chatty": script(cli, "chatty", "echo 'Error: not logged in'"),
        "huge": script(cli, "huge", "head -c 270000000 /dev/zero"),
        "nosuch": "nosuch-command --json",
    }
    files = ("nosuch.json", "bad.json", "secret.txt", "s3://shared-uses/gone.json", "s3://shared-uses", ".")
    found = cli.plan(
        *RULES, *(word for file in files for word in ("--uses-file", file)), "--source-option", "command.timeout=4s",
        *(word for command in commands.values() for word in ("--uses-command", command)),
    )  # fmt: skip
    assert found.status == 5
    assert {found.action(image.digest) for image in repo.images()} == {"hold"}
    errors = {name: entry["error"] for name, entry in entries(found).items()}
    assert all(entry["status"] == "failed" for entry in entries(found).values())
    assert "exit status 3: no such host" in errors["command:fails"]
    assert "killed by signal 9" in errors["command:killed"]
    assert "not done after 4s: waiting" in errors["command:slow"]
    assert "it names no image" in errors["command:silent"]
    assert "line 1 is not the name of an image" in errors["command:chatty"]
    assert "more than 256 MiB" in errors["command:huge"]
    assert "cannot be started: No such file" in errors["command:nosuch-command"]
    assert "No such file" in errors["file:nosuch.json"]
    assert "ecrsweep.uses/1" in errors["file:bad.json"]
    assert "line 1" in errors["file:secret.txt"]
    assert "hunter2" not in found.out
    assert "There is no s3://shared-uses/gone.json" in errors["file:gone.json"]
    assert "s3://BUCKET/KEY" in errors["file:shared-uses"]
    assert len(errors) == len(files) + len(commands)
    accepted = cli.plan(*RULES, "--uses-file", "nosuch.json", "--accept-gap", "file:nosuch.json")
    assert (accepted.status, accepted.action(repo.digest_of("v1"))) == (0, "delete")
    skipped = cli.plan(*RULES, "--uses-file", "nosuch.json", "--skip-source", "file")
    assert skipped.status == 0
    assert entries(skipped)["file:nosuch.json"]["status"] == "skipped"


def test_a_bucket_that_denies_a_file_names_the_permission(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault.denied("s3", "*"))
    found = cli.plan(*RULES, "--uses-file", "s3://shared-uses/uses.json")
    assert found.status == 5
    assert '"s3:GetObject"' in found.err
    assert found.action(repo.digest_of("v1")) == "hold"


@pytest.mark.parametrize(
    "raw",
    [
        "", "\n \n", "# only a comment\n", "{", '{"uses": []}', '{"format": "ecrsweep.uses/1"}', "null", '"a/b:c"', "[1]", '["a", null]',
        '{"format": "ecrsweep.uses/1", "uses": [{"image": "a"}]}', "a/b:c d\n", "a/b:\n", "a/b@sha256\n", "NAME   IMAGE\nx   y\n",
        f"sha256:{'a' * 64}\n", document(created_at="yesterday"), document(created_at=7), document(coverage=[{}]),
        document(coverage=[{"account": "1", "region": "r", "source": "s", "status": "unheard-of"}]),
    ],
)  # fmt: skip
def test_what_is_no_list_of_uses_is_refused_and_nothing_of_it_skipped(raw: str) -> None:
    with pytest.raises(BadInput):
        parse_uses(raw.encode(), "x", "file")


@pytest.mark.parametrize("raw", [b"\xff\xfea\x00", b"a/b\x00c:d\n", b"{\xff}"])
def test_bytes_that_are_no_text_are_refused(raw: bytes) -> None:
    with pytest.raises(BadInput):
        parse_uses(raw, "x", "file")


@pytest.mark.parametrize("raw", [b"[]", b"\xef\xbb\xbfnginx\r\n# x\r\n", b' ["nginx"] ', document("nginx").encode()])
def test_every_form_of_a_list_is_understood(raw: bytes) -> None:
    assert {use.image for use in parse_uses(raw, "x", "file").uses} <= {"nginx"}


def test_old_files_are_told_and_those_older_than_allowed_are_a_gap(aws: Emulator, cli: Cli, repo: Repository) -> None:
    for name, age in (("new", 1), ("old", 9), ("future", -3)):
        text = document(f"{HOST}/team/app:v1", created_at=ago(days=age).isoformat())
        (cli.home / f"{name}.json").write_text(text)
    plain = cli.home / "plain.txt"
    plain.write_text(PLAIN)
    os.utime(plain, (ago(days=20).timestamp(),) * 2)
    names = ("new.json", "old.json", "future.json", "plain.txt")
    files = [word for name in names for word in ("--uses-file", name)]
    told = entries(cli("uses", "--output", "json", *files))
    assert [told[f"file:{name}"]["status"] for name in names] == ["complete", "complete", "failed", "complete"]
    assert "notes" not in told["file:new.json"] or told["file:new.json"]["notes"] == []
    assert "9 days old" in told["file:old.json"]["notes"][0]
    assert "20 days old" in told["file:plain.txt"]["notes"][0]
    strict = entries(cli("uses", "--output", "json", *files, "--source-option", "file.max-age=3d"))
    assert [strict[f"file:{name}"]["status"] for name in names] == ["complete", "failed", "failed", "failed"]
    assert "older than 3d" in strict["file:old.json"]["error"]


def test_options_and_flags_that_make_no_sense_are_refused(aws: Emulator, cli: Cli) -> None:
    for options in (["file.nosuch=1"], ["file.max-age=soon"], ["command.timeout=0s"], ["command.nosuch=1"]):
        with pytest.raises(BadInput):
            named_sources([], [], options, allowed=())
    for command in ("", "   ", "echo 'unfinished"):
        with pytest.raises(BadInput):
            named_sources([], [command], [], allowed=())
    with pytest.raises(BadInput, match="--uses-file"):
        chosen_sources(["file"], [])
    assert cli("plan", "--uses-command", "echo 'unfinished").status == 2
    assert aws.calls.log == []


def test_a_saved_plan_runs_no_command_unless_it_is_given_again(aws: Emulator, cli: Cli, repo: Repository) -> None:
    command = script(cli, "inventory", f"echo run >> {cli.home}/runs; echo {HOST}/team/app:v1")
    path = str(cli.home / "plan.jsonl")
    assert cli("plan", *RULES, "--pulled-within", "0d", "--save", path, "--uses-command", command).status == 0
    held = cli("apply", path, "--yes", "--output", "json", "--uses-command", "true")
    assert held.status == 5
    assert "a plan may come from others" in entries(held)["command:inventory"]["error"]
    assert f"--uses-command {command}" in entries(held)["command:inventory"]["error"]
    assert len(repo.images()) == 4
    assert (cli.home / "runs").read_text() == "run\n"
    again = cli("apply", path, "--yes", "--output", "json", "--uses-command", command)
    assert again.status == 0, again.err
    assert list(repo.by_tag) == ["v1"]
    assert (cli.home / "runs").read_text() == "run\nrun\n"


def test_apply_reads_the_files_of_its_plan_again_says_so_and_one_that_is_gone_is_a_gap(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    listed = cli.home / "hosts.txt"
    listed.write_text(PLAIN)
    path = str(cli.home / "plan.jsonl")
    rules = (*RULES, "--pulled-within", "0d", "--save", path)
    assert cli("plan", *rules, "--uses-file", "hosts.txt", "--uses-file", "-", stdin="nginx").status == 0
    listed.unlink()
    held = cli("apply", path, "--yes", "--output", "json", stdin="nginx")
    assert held.status == 5
    assert str(listed) in held.err
    assert "No such file" in entries(held)["file:hosts.txt"]["error"]
    listed.write_text(f"{HOST}/team/app:v1\n{HOST}/team/app:v2\n")
    unpiped = cli("apply", path, "--yes", "--output", "json")
    assert (unpiped.status, entries(unpiped)["file:stdin"]["status"]) == (5, "failed")
    done = cli("apply", path, "--yes", "--output", "json", stdin="nginx")
    assert done.status == 0, done.err
    assert list(repo.by_tag) == ["v1", "v2"], "v2 has come into use since the plan"


def test_an_apply_without_a_plan_reads_a_pipe_once(aws: Emulator, cli: Cli, repo: Repository) -> None:
    rules = ("--keep-newest", "0", "--pulled-within", "0d", "--uses-file", "-")
    assert cli("apply", "--yes", *rules, stdin=f"{HOST}/team/app:v1\n").status == 0
    assert list(repo.by_tag) == ["v1"]


def alive(process: int) -> bool:
    """Whether a process runs; a zombie that nobody has reaped does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def waited_for(file: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if file.exists() and file.read_text().strip():
            return int(file.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{file} did not appear")


def dies(process: int) -> bool:
    """Whether a process ends within some seconds: on a busy machine a signal takes its time."""
    deadline = time.monotonic() + 10
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(process)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux which processes run")
def test_a_command_is_killed_with_all_that_it_started(aws: Emulator, cli: Cli) -> None:
    command = script(cli, "family", f"sleep 300 & echo $! > {cli.home}/child; wait")
    ended = cli("uses", "--uses-command", command, "--source-option", "command.timeout=3s")
    assert ended.status == 5
    assert dies(waited_for(cli.home / "child"))
    (cli.home / "child").unlink()
    with subprocess.Popen(
        [sys.executable, "-m", "ecrsweep", "uses", "--uses-command", command], env=cli.environ, cwd=cli.home,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        child = waited_for(cli.home / "child")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert dies(child)


def test_no_event_of_a_function_runs_a_command() -> None:
    with pytest.raises(BadInput, match="uses_commands"):
        asked_of({"command": "plan", "uses_commands": ["id"]}, {})
    assert asked_of({"command": "plan"}, {"AWS_REGION": "us-east-1"}).settings.uses_commands == ()


@pytest.fixture
def two_accounts(tmp_path: Path) -> Iterator[tuple[Emulator, Cli, Cli]]:
    """A registry's account and a consumer's, each with its own command line."""
    with Emulator(clock=Clock(datetime.now(UTC)), account=ACCOUNT, accounts=(OTHER,), regions=REGIONS) as aws:
        homes = [tmp_path / account for account in (ACCOUNT, OTHER)]
        for home in homes:
            home.mkdir()
        yield aws, Cli(aws.environ(), homes[0]), Cli(aws.environ(OTHER), homes[1])


def test_what_one_account_saves_protects_in_the_account_of_the_registry(
    two_accounts: tuple[Emulator, Cli, Cli], tmp_path: Path
) -> None:
    aws, registry, consumer = two_accounts
    repo = filled(aws)
    task = aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:v1"}, account=OTHER), account=OTHER)[0]
    aws.trail.pull(repo, tag="v2", by="user/dana", account=OTHER, at=ago(days=2), recipientAccountId=OTHER)
    saved = str(tmp_path / "b.json")
    assert consumer("uses", "--save", saved, "--with-source", "cloudtrail").status == 0
    written = json.loads(Path(saved).read_text())
    assert written["account"] == OTHER
    assert abs(datetime.fromisoformat(written["created_at"]) - datetime.now(UTC)) < timedelta(minutes=2)
    assert {use["account"] for use in written["uses"]} == {OTHER}
    assert registry.plan(*RULES).action(repo.digest_of("v1")) == "delete"
    found = registry.plan(*RULES, "--uses-file", saved)
    assert found.status == 0, found.err
    assert [found.action(repo.digest_of(f"v{version}")) for version in (1, 2, 3)] == ["keep", "keep", "delete"]
    assert task in found.details(repo.digest_of("v1"))
    assert f"arn:aws:iam::{OTHER}:user/dana pulled 1 time" in found.details(repo.digest_of("v2"))


def test_what_the_other_account_could_not_read_is_a_gap_here_until_it_is_accepted_here(
    two_accounts: tuple[Emulator, Cli, Cli], tmp_path: Path
) -> None:
    aws, registry, consumer = two_accounts
    repo = filled(aws)
    aws.faults.add(Fault.denied("ecs", "ListClusters", account=OTHER, region="eu-west-1"))
    saved = str(tmp_path / "b.json")
    assert consumer("uses", "--save", saved, "--accept-gap", "ecs/eu-west-1").status == 0, "accepted there"
    held = registry.plan(*RULES, "--uses-file", saved)
    assert (held.status, held.action(repo.digest_of("v1"))) == (5, "hold")
    failed, daemons = [entry for entry in held.json["coverage"] if entry["status"] == "failed"]
    assert daemons["source"] == "ecs-daemons", "they stand in clusters too"
    assert (failed["account"], failed["region"], failed["source"]) == (OTHER, "eu-west-1", "ecs")
    assert failed["error"].endswith("(in the run that made file:b.json)")
    assert "lacks this statement" not in held.err, "what was denied there is no matter of this identity"
    accepted = registry.plan(*RULES, "--uses-file", saved, "--accept-gap", f"ecs@{OTHER}/eu-west-1")
    assert (accepted.status, accepted.action(repo.digest_of("v1"))) == (0, "delete")
    consumer("uses", "--save", saved, "--skip-source", "ecs")
    (entry,) = entries(registry.plan("--uses-file", saved)).values()
    assert "did not ask ecs in 3 regions" in entry["notes"][0]
