"""What doctor finds out, as data: who asks, where, with what permissions, and where the memory of runs lies.

Nothing here decides about images. States are words, because people and programs read them.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage, CoverageStatus

DOCTOR_FORMAT: Final = "ecrsweep.doctor/1"
CLOSED: Final = "region closed by a service control policy"
NOT_OFFERED: Final = "not offered in this region"
_OF_NO_SOURCE: Final = frozenset({"ecr", "regions"})
"""Words of coverage that are not sources: registries and the list of regions have places of their own."""


class State(StrEnum):
    """How asking for something ended."""

    WORKS = "works"
    DENIED = "denied"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    DROPPED = "tells far less than before"
    CLOSED = "closed by a service control policy"
    NOT_OFFERED = "not offered"
    SKIPPED = "skipped"
    UNTRIED = "not tried"
    OFF = "off by default"


class Identity(msgspec.Struct, frozen=True):
    """Who asks: ARN as AWS told it, `principal` as IAM knows it ("" where that is not known), and where credentials came from."""

    account: str
    arn: str
    principal: str
    origin: str
    valid_until: float | None = None


class Check(msgspec.Struct, frozen=True):
    """One permission that a registry needs: how trying it ended, and why it did not work."""

    action: str
    state: State
    error: str | None = None


class Registry(msgspec.Struct, frozen=True):
    """One registry: how many repositories it has, None where that is not known, the one that was tried, and the checks."""

    account: str
    region: str
    repositories: int | None
    tried_on: str | None
    checks: tuple[Check, ...]


class Exclusion(msgspec.Struct, frozen=True):
    """Whether the principal moves pull times of a registry: None where that may not be asked, and then why."""

    region: str
    registered: bool | None
    error: str | None = None


class Kept(msgspec.Struct, frozen=True):
    """Something that outlives a run: where it is, and what is in it, in words."""

    location: str
    content: str


class Diagnosis(msgspec.Struct, frozen=True):
    """All of it. `simulated` is what IAM says of actions that were not tried, by action; `unsimulated` why it says nothing."""

    identity: Identity
    enabled_regions: tuple[str, ...]
    disabled_regions: tuple[str, ...]
    regions_error: str | None
    registries: tuple[Registry, ...]
    coverage: tuple[Coverage, ...]
    off_by_default: tuple[str, ...]
    untried: tuple[str, ...]
    missing: tuple[str, ...]
    simulated: dict[str, str]
    unsimulated: str | None
    exclusions: tuple[Exclusion, ...]
    manifest_cache: Kept
    ledger: Kept
    ledger_coverage: Coverage

    @property
    def gaps(self) -> list[Coverage]:
        """What would hold a run."""
        return [entry for entry in self.coverage if entry.is_gap]

    @property
    def sources(self) -> dict[str, list[Coverage]]:
        """The coverage by source."""
        found: dict[str, list[Coverage]] = {}
        for entry in self.coverage:
            if entry.source not in _OF_NO_SOURCE:
                found.setdefault(entry.source, []).append(entry)
        return found

    @property
    def closed_regions(self) -> list[str]:
        """The regions that the organisation closes."""
        return sorted({entry.region for entry in self.coverage if state_of(entry) is State.CLOSED})

    @property
    def unreachable_regions(self) -> list[str]:
        """The regions from which nothing at all came back."""
        by_region: dict[str, set[State]] = {}
        for entry in self.coverage:
            by_region.setdefault(entry.region, set()).add(state_of(entry))
        return sorted(
            region
            for region, states in by_region.items()
            if State.UNREACHABLE in states and not states & {State.WORKS, State.DENIED, State.FAILED, State.DROPPED}
        )

    def document(self) -> dict[str, Any]:
        """JSON-able: everything."""
        identity: dict[str, Any] = msgspec.to_builtins(self.identity)
        until = self.identity.valid_until
        return {
            "format": DOCTOR_FORMAT,
            "works": not self.gaps,
            "identity": identity | {"valid_until": None if until is None else rfc3339(until)},
            "regions": {
                "enabled": self.enabled_regions,
                "not_switched_on": self.disabled_regions,
                "closed": self.closed_regions,
                "unreachable": self.unreachable_regions,
                "error": self.regions_error,
            },
            "registries": [msgspec.to_builtins(registry) for registry in self.registries],
            "sources": [_source_document(name, entries) for name, entries in self.sources.items()]
            + [{"source": name, "state": State.OFF} for name in self.off_by_default],
            "untried_actions": self.untried,
            "missing_permissions": self.missing,
            "simulated": self.simulated,
            "not_simulated": self.unsimulated,
            "pull_time_exclusion": [msgspec.to_builtins(entry) for entry in self.exclusions],
            "manifest_cache": msgspec.to_builtins(self.manifest_cache),
            "ledger": msgspec.to_builtins(self.ledger) | {"notes": self.ledger_coverage.notes},
        }


def state_of(entry: Coverage) -> State:
    """How asking a source in a place ended, by what its entry says."""
    error = entry.error or ""
    match entry.status:
        case CoverageStatus.COMPLETE:
            return State.WORKS if entry.drop is None else State.DROPPED
        case CoverageStatus.SKIPPED if error.startswith(CLOSED):
            return State.CLOSED
        case CoverageStatus.SKIPPED:
            return State.NOT_OFFERED if error == NOT_OFFERED else State.SKIPPED
        case _ if "was denied" in error:
            return State.DENIED
        case _:
            return State.UNREACHABLE if "could not be asked" in error else State.FAILED


def overall(entries: Iterable[Coverage]) -> State:
    """The gravest state of a source: what would hold a run before what would not."""
    states = {state_of(entry) for entry in entries}
    order = (
        State.DENIED, State.UNREACHABLE, State.FAILED, State.DROPPED, State.WORKS, State.CLOSED, State.SKIPPED,
    )  # fmt: skip
    return next((state for state in order if state in states), State.NOT_OFFERED)


def _source_document(name: str, entries: list[Coverage]) -> dict[str, Any]:
    works = [entry for entry in entries if state_of(entry) is State.WORKS]
    return {
        "source": name,
        "state": overall(entries),
        "works_in": [entry.region for entry in works],
        "uses": sum(entry.uses for entry in works),
        "exceptions": [
            {
                "region": entry.region,
                "state": state_of(entry),
                "action": entry.action,
                "error": entry.drop or entry.error,
            }
            for entry in entries
            if state_of(entry) is not State.WORKS
        ],
    }
