"""What the tests share: a fresh emulated AWS, and the command line that talks to it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ecrsweep.emulator import Clock, Emulator
from tests.support import ACCOUNT, REGIONS, Cli


@pytest.fixture
def aws() -> Iterator[Emulator]:
    """A fresh AWS: one account, three regions, a clock that stands at the present."""
    with Emulator(clock=Clock(datetime.now(UTC)), account=ACCOUNT, regions=REGIONS) as emulator:
        yield emulator


@pytest.fixture
def cli(aws: Emulator, tmp_path: Path) -> Cli:
    """The command line against that AWS, in us-east-1."""
    return Cli(aws.environ(), tmp_path)
