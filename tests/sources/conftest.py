"""What tests of sources share: a place to read in, a cluster that answers over HTTPS, and the reader that asks it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.core.errors import AwsFailure
from ecrsweep.core.uses import Note, Use
from ecrsweep.emulator import Emulator
from ecrsweep.emulator.kubernetes import KubernetesApi
from ecrsweep.sources.clusters.api import ClusterApi, Door, verifying
from ecrsweep.sources.clusters.reading import Cluster, Wishes, read_cluster

HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


@dataclass
class Told:
    """What reading a cluster came to."""

    uses: list[Use]
    notes: list[str]
    failure: AwsFailure | None
    pauses: list[float] = field(default_factory=list)

    @property
    def places(self) -> dict[str, str]:
        """The workload and place of each image, without the cluster."""
        return {use.image: f"{use.workload.partition(' ')[2]}: {use.where}" for use in self.uses}

    def of(self, image: str) -> Use:
        """The one use of an image."""
        (found,) = (use for use in self.uses if use.image == image)
        return found


Read = Callable[..., Told]


@pytest.fixture
def place(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> AwsPlace:
    """The place where a source reads, over HTTP, in this process."""
    environ = aws.environ() | {"AWS_MAX_ATTEMPTS": "1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return AwsPlace(AwsSession(region="us-east-1", environ=environ), "us-east-1")


@pytest.fixture
def cluster() -> Iterator[KubernetesApi]:
    """A fresh cluster that everybody may read."""
    with KubernetesApi() as api:
        yield api


@pytest.fixture
def door(cluster: KubernetesApi) -> Callable[..., Door]:
    """The way into it."""
    address = cluster.url

    def made(authority: str | None = None, **changes: Any) -> Door:
        usual: dict[str, Any] = {"name": "cluster test", "server": address, "headers": lambda _: ()}
        return Door(**{**usual, "tls": verifying(authority or cluster.authority), **changes})

    return made


@pytest.fixture
def read(door: Callable[..., Door]) -> Read:
    """Read the whole cluster, without waiting between tries."""

    def reading(ignore: tuple[str, ...] = (), paths: tuple[str, ...] = (), **changes: Any) -> Told:
        pauses: list[float] = []
        api = ClusterApi(door(**changes), sleep=pauses.append)
        asked = Cluster("cluster test", "eks:arn", "eks", "1", "us-east-1", "Let it in", "Grant it", "Come nearer")
        told, failure = read_cluster(asked, api, Wishes(ignore, paths), map)
        api.close()
        uses = [each for each in told if isinstance(each, Use)]
        notes = [f"{each.workload}: {each.text}" for each in told if isinstance(each, Note)]
        return Told(uses, notes, failure, pauses)

    return reading
