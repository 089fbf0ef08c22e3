"""What a run is asked for, and the words in which it tells of what could not be read."""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from ecrsweep.core.document import Scope
from ecrsweep.core.errors import AwsFailure, EcrsweepError
from ecrsweep.core.holds import Hold
from ecrsweep.core.images import Inventory
from ecrsweep.core.names import Registry
from ecrsweep.core.plan import RepositoryPlan
from ecrsweep.core.policy import Limits, Policy
from ecrsweep.core.prices import Prices
from ecrsweep.core.uses import Coverage, CoverageStatus
from ecrsweep.ports import Source

REGISTRY_SOURCE: Final = "ecr"
"""The word in coverage for a registry or repository that could not be read."""

REGIONS_SOURCE: Final = "regions"
"""The word in coverage for the list of enabled regions, where that could not be read."""

OWNERS_SOURCE: Final = "owners"
"""The word in coverage for the tags of repositories, where these could not be read."""

EVERYWHERE: Final = "all"
"""The region in coverage of what is asked once, and of an account that cannot be asked at all."""

_ANY_SOURCE: Final = "all"
"""The word of --accept-gap for every source of an account."""

Progress = Callable[[str], None]
Stop = Callable[[], bool]


class Request(msgspec.Struct, frozen=True):
    """What the user asks for. `scope.regions` are the registries; `exact_size` asks for the true bytes; without `prices` no sum is told."""

    scope: Scope
    policies: tuple[Policy, ...]
    sources: tuple[Source, ...]
    tool_version: str
    holds: tuple[Hold, ...] = ()
    exact_size: bool = False
    prices: Prices | None = None

    @property
    def valued_at(self) -> Prices | None:
        """The prices of the true bytes; None where nobody asked for these."""
        return self.prices if self.exact_size else None

    @property
    def limits(self) -> Limits | None:
        """The limits to hold to; None where the user overrides them."""
        return None if self.scope.override_limits else self.scope.limits

    @property
    def options(self) -> dict[str, str]:
        """The options of each source that has some, as one text: with others it may rightly tell more or less."""
        named: dict[str, list[str]] = {}
        for option in self.scope.source_options:
            named.setdefault(option.partition(".")[0], []).append(option)
        return {source: " ".join(sorted(options)) for source, options in named.items()}


def accepted(entry: Coverage, scope: Scope) -> Coverage:
    """The entry, marked where the user named what is wrong with it as acceptable: SOURCE[@ACCOUNT][/REGION]."""
    accepts = scope.accept_gaps if entry.status is CoverageStatus.FAILED else scope.accept_drops
    if entry.trouble is not None and any(_names(word, entry) for word in accepts):
        return msgspec.structs.replace(entry, accepted=True)
    return entry


def coverage_order(entry: Coverage) -> tuple[str, str, str, str]:
    """By place and source: which was answered first does not matter."""
    return (entry.account, entry.region, entry.source, entry.error or "")


def _names(word: str, entry: Coverage) -> bool:
    rest, _, region = word.partition("/")
    source, _, account = rest.partition("@")
    # A plan comes from others, and a bare word for all would accept whatever is wrong anywhere.
    named = entry.source == source or entry.source.startswith(f"{source}-") or (source == _ANY_SOURCE and account)
    return bool(named) and account in {"", entry.account} and region in {"", entry.region}


def unread(
    registry: Registry, failure: EcrsweepError, source: str = REGISTRY_SOURCE, *, repository: str | None = None
) -> Coverage:
    """What could not be read of a registry or, where it is named, of one repository, as an entry of the coverage."""
    return Coverage(
        registry.account,
        registry.region,
        source,
        CoverageStatus.FAILED,
        error=str(failure) if repository is None else f"{repository}: {failure}",
        action=failure.action if isinstance(failure, AwsFailure) else None,
    )


def gaps_of(told: Inventory | RepositoryPlan) -> Iterator[Coverage]:
    """What could not be read of one repository, as entries of the coverage."""
    registry = told.repository.registry
    for gap in told.gaps:
        yield Coverage(
            registry.account,
            registry.region,
            REGISTRY_SOURCE,
            CoverageStatus.FAILED,
            error=gap.error,
            action=gap.action,
        )
