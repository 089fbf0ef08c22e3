"""What the tests share: a fresh emulated AWS, and the command line that talks to it."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ecrsweep.emulator import Clock, Emulator
from tests.content import makers
from tests.support import ACCOUNT, REGIONS, Cli


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs programs of the system, or to be root, is counted as not run where these are missing."""
    marker = item.get_closest_marker("needs_system")
    if marker is not None:
        missing = [name for name in marker.args if not (os.geteuid() == 0 if name == "root" else shutil.which(name))]
        if missing:
            pytest.skip(f"this system lacks: {', '.join(missing)}")


@pytest.fixture
def aws() -> Iterator[Emulator]:
    """A fresh AWS: one account, three regions, a clock that stands at the present."""
    with Emulator(clock=Clock(datetime.now(UTC)), account=ACCOUNT, regions=REGIONS) as emulator:
        yield emulator


@pytest.fixture
def cli(aws: Emulator, tmp_path: Path) -> Cli:
    """The command line against that AWS, in us-east-1."""
    return Cli(aws.environ(), tmp_path)


@pytest.fixture
def cli_asking_ecs(aws: Emulator, tmp_path: Path) -> Cli:
    """The same, asking ECS alone: for stories that are not about who uses what."""
    return Cli(aws.environ(), tmp_path).asking("ecs")


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> Iterator[makers.Content]:
    """Real images and artifacts of every kind. Tests that want them are marked: `needs_system(*makers.PROGRAMS)`."""
    with makers.made(tmp_path_factory.mktemp("content")) as made:
        yield made
