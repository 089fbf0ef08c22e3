"""Credentials that end in the middle of an apply: a profile with a real `credential_process`, whose keys are good for a while."""

import re
import time
from collections.abc import Callable

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.errors import AwsError
from ecrsweep.emulator.server import Request
from tests.support import Cli, CredentialProcess, Finished, ago

BOTOCORE_RENEWS = 15 * 60
"""Seconds before the end of credentials from which botocore asks for others."""
EXPIRED = AwsError("ExpiredTokenException", "The security token included in the request is expired")


class Door:
    """Notes which access keys AWS saw, and refuses the first one where it is told to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.first_is_over = False

    def __call__(self, request: Request) -> AwsError | None:
        (key,) = re.findall(r"Credential=(\w+)/", request.headers["authorization"])
        self.seen.append(key)
        return EXPIRED if self.first_is_over and key == CredentialProcess.key(1) else None


class World:
    """Two repositories of five old images, a saved plan that lets them go, and a profile to apply it with."""

    def __init__(self, aws: Emulator, cli: Cli) -> None:
        self.aws, self.door = aws, Door()
        self.repositories = [aws.ecr.repository(name) for name in ("team/a", "team/b")]
        for repository in self.repositories:
            for version in range(5):
                repository.push_image(tags=(f"v{version}",), pushed_at=ago(days=60, minutes=version))
        self._plan = str(cli.home / "plan.jsonl")
        cli("plan", "--save", self._plan, "--keep-newest", "0", "--pulled-within", "0d", "--used-within", "0d")
        self.process = CredentialProcess(cli.home)
        self._cli = Cli(self.process.environ(aws), cli.home).asking("ecs")
        aws.gate = self.door

    @property
    def left(self) -> int:
        return sum(len(repository.images()) for repository in self.repositories)

    def before_the_first_delete(self, happens: Callable[[], None]) -> None:
        self.aws.faults.add(Fault("before", "ecr", "BatchDeleteImage", times=1, run=lambda _: happens()))

    def apply(self, output: str = "json") -> Finished:
        return self._cli("apply", self._plan, "--yes", "--output", output)


@pytest.fixture
def world(aws: Emulator, cli_asking_ecs: Cli) -> World:
    return World(aws, cli_asking_ecs)


def test_an_apply_that_outlives_its_credentials_goes_on_with_fresh_ones(world: World) -> None:
    end = time.time() + 2
    world.process.valid_for(BOTOCORE_RENEWS + 2, 3600)

    def take_long() -> None:
        time.sleep(max(0.0, end + 1 - time.time()))
        world.door.first_is_over = True

    world.before_the_first_delete(take_long)
    ended = world.apply()
    assert ended.status == 0, ended.err
    assert (world.left, ended.json["summary"]["deleted"]) == (0, 10)
    assert set(world.door.seen) == {world.process.key(1), world.process.key(2)}
    assert world.door.seen[0] == world.process.key(1)
    assert world.door.seen[-1] == world.process.key(2)
    assert world.process.runs == 2


def test_what_aws_refuses_as_expired_before_its_time_is_renewed_and_nothing_is_lost(world: World) -> None:
    world.before_the_first_delete(lambda: setattr(world.door, "first_is_over", True))
    ended = world.apply()
    assert ended.status == 0, ended.err
    assert (world.left, ended.json["summary"]["deleted"]) == (0, 10)
    assert world.process.runs == 2
    assert set(world.door.seen) == {world.process.key(1), world.process.key(2)}


def test_where_the_process_has_no_others_the_run_stops_and_says_what_is_left(world: World) -> None:
    world.process.fails_from(2, "the vault is sealed")
    world.before_the_first_delete(lambda: setattr(world.door, "first_is_over", True))
    ended = world.apply("table")
    assert ended.status == 4
    assert world.left == 5, "the second repository was not begun"
    assert "Stopped: There are no usable AWS credentials" in ended.out
    assert "the vault is sealed" in ended.out
    assert "5 images not tried" in ended.out
    assert "Traceback" not in ended.err
