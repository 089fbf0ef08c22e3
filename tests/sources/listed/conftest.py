"""What the tests of sources share: a repository whose images no rule keeps, and one source asked in this process."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from ecrsweep.app import Request, take_census
from ecrsweep.aws import pace
from ecrsweep.aws.cache import ManifestCache
from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.document import Scope
from ecrsweep.core.uses import Coverage, CoverageStatus, Use
from ecrsweep.emulator import Clock, Emulator
from ecrsweep.emulator.registry import Repository
from ecrsweep.sources import chosen_sources
from tests.support import ACCOUNT, REGIONS, ago


class Told(NamedTuple):
    """What a source found in us-east-1, and how its reading ended."""

    uses: tuple[Use, ...]
    entry: Coverage

    @property
    def tags(self) -> set[str]:
        """The tags of the images that it named."""
        return {use.image.rpartition(":")[2] for use in self.uses}

    @property
    def workloads(self) -> set[str]:
        """What it found to use something."""
        return {use.workload for use in self.uses}


Ask = Callable[..., Told]
Images = Callable[[str], str]


@pytest.fixture(scope="session")
def running() -> Iterator[Emulator]:
    """One emulator for all tests of sources, because what makes them slow is making clients."""
    with Emulator(clock=Clock(datetime.now(UTC)), account=ACCOUNT, regions=REGIONS) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def over_http(running: Emulator) -> AwsWorld:
    """The real session, in this process. It finds credentials and endpoint in the environment when it first needs them."""
    return AwsWorld(
        AwsSession(region="us-east-1", environ={**running.environ(), "AWS_MAX_ATTEMPTS": "1"}), ManifestCache(None)
    )


@pytest.fixture
def aws(running: Emulator) -> Emulator:
    """A fresh AWS."""
    running.reset()
    return running


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """A repository; tests push what they are about."""
    return aws.ecr.repository("team/app")


@pytest.fixture
def image(repo: Repository) -> Callable[[str], str]:
    """The name of an image by its tag, pushed long ago where it is not there yet."""

    def named(tag: str) -> str:
        if tag not in repo.by_tag:
            repo.push_image((tag,), pushed_at=ago(days=90))
        return f"{repo.uri}:{tag}"

    return named


@pytest.fixture
def ask(running: Emulator, over_http: AwsWorld, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask one source over HTTP, in this process: where many answers are tried, a process each would take too long."""
    for name, value in {**running.environ(), "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pace, "RATES", {})  # nobody's deployments wait here
    scope = Scope(account=ACCOUNT, regions=("us-east-1",), consumer_regions=("us-east-1",))

    def asked(name: str, *options: str) -> Told:
        sources = tuple(source for source in chosen_sources((name,), options) if source.name == name)
        census = take_census(over_http, Request(scope, (), sources, "test"), lambda _: None)
        (entry,) = (entry for entry in census.coverage if entry.status is not CoverageStatus.SKIPPED)
        return Told(census.uses, entry)

    return asked
