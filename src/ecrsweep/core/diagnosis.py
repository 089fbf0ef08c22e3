"""What doctor finds out, as data: who asks, which accounts can be asked and where, with what permissions, and where memory lies.

Nothing here decides about images. States are words, because people and programs read them.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from ecrsweep.core.sharing import CONSUMERS_SOURCE
from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage, CoverageStatus

DOCTOR_FORMAT: Final = "ecrsweep.doctor/1"
CLOSED: Final = "region closed by a service control policy"
NOT_OFFERED: Final = "not offered in this region"
_EVERYWHERE: Final = "all"
"""The region of what is asked once for an account."""
_OF_NO_SOURCE: Final = frozenset({"ecr", "regions", CONSUMERS_SOURCE})
"""Words of coverage that are not sources: registries, the list of regions and who else may pull have places of their own."""


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


class Access(StrEnum):
    """How the way to an account ended. Of the caller's own nothing may be asked but to let it into the others."""

    ASKED = "asked"
    CALLER = "caller only"
    CLOSED = "suspended or closed"
    REFUSED = "no role or no trust"
    NOT_ALLOWED = "assuming not allowed"
    FORBIDDEN = "denied by organisation"
    OTHER_ACCOUNT = "wrong account"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


class Identity(msgspec.Struct, frozen=True):
    """Who asks: ARN as AWS told it, `principal` as IAM knows it ("" where that is not known), and where credentials came from.

    `unsure` is why the path of that role is not known, so that its ARN may be another.
    """

    account: str
    arn: str
    principal: str
    origin: str
    valid_until: float | None = None
    unsure: str | None = None


class Remedy(msgspec.Struct, frozen=True):
    """What would mend something: a sentence, and the commands to type, one after the other."""

    text: str
    commands: tuple[str, ...] = ()


class Way(msgspec.Struct, frozen=True):
    """How an account is reached and how trying that ended: by whom, why not, and what would mend it.

    `arn` and `principal` are who we are there, "" where nobody lets us in.
    """

    by: str
    access: Access
    error: str | None = None
    arn: str = ""
    principal: str = ""
    remedies: tuple[Remedy, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether we are let in."""
        return self.access in {Access.ASKED, Access.CALLER}


class Regions(msgspec.Struct, frozen=True):
    """The regions that an account has switched on, those that it has not, and why that is not known."""

    enabled: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    error: str | None = None


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

    account: str
    principal: str
    region: str
    registered: bool | None
    error: str | None = None


class Kept(msgspec.Struct, frozen=True):
    """Something that outlives a run: where it is, and what is in it, in words."""

    location: str
    content: str


class Account(msgspec.Struct, frozen=True):
    """One account of the run. `consumer` is whether it is asked what is in use; `coverage` how that ended, and its registries.

    `untried` are the actions that nothing there gave a reason to call, `missing` those that are lacking, and `remedy` what
    would grant them. `simulated` is what IAM says of actions that were not tried, by action; `unsimulated` why it says nothing.
    """

    account: str
    name: str
    way: Way
    consumer: bool
    regions: Regions = Regions()
    registries: tuple[Registry, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    untried: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    remedy: Remedy | None = None
    simulated: dict[str, str] = {}
    unsimulated: str | None = None

    @property
    def gaps(self) -> list[Coverage]:
        """What would hold a run."""
        return [entry for entry in self.coverage if entry.is_gap]

    @property
    def asked_regions(self) -> list[str]:
        """The regions where somebody answered."""
        answers = {State.WORKS, State.DENIED, State.FAILED, State.DROPPED}
        asked = {entry.region for entry in self.coverage if state_of(entry) in answers}
        return sorted(asked & set(self.regions.enabled) if self.regions.enabled else asked - {_EVERYWHERE})

    def document(self) -> dict[str, Any]:
        """JSON-able: everything but what stands in the lists of registries and pull times."""
        return {
            "account": self.account,
            "name": self.name,
            "reached_by": self.way.by,
            "state": self.way.access,
            "error": self.way.error,
            "arn": self.way.arn,
            "principal": self.way.principal,
            "consumer": self.consumer,
            "registries": [registry.region for registry in self.registries],
            "regions": _regions_document(self.regions, self.coverage),
            "sources": _sources_document(self.coverage),
            "gaps": len(self.gaps),
            "untried_actions": self.untried,
            "missing_permissions": self.missing,
            "simulated": self.simulated,
            "not_simulated": self.unsimulated,
            "remedies": [msgspec.to_builtins(one) for one in (*self.way.remedies, *filter(None, [self.remedy]))],
        }


class Diagnosis(msgspec.Struct, frozen=True):
    """All of it: of the identity in hand, of each account of the run, and of what was asked. `several` where accounts were listed."""

    identity: Identity
    several: bool
    accounts: tuple[Account, ...]
    coverage: tuple[Coverage, ...]
    off_by_default: tuple[str, ...]
    missing: tuple[str, ...]
    manifest_cache: Kept
    ledger: Kept
    ledger_coverage: Coverage

    @property
    def home(self) -> Account:
        """The account of the credentials."""
        return next(account for account in self.accounts if account.account == self.identity.account)

    @property
    def gaps(self) -> list[Coverage]:
        """What would hold a run."""
        return [entry for entry in self.coverage if entry.is_gap]

    @property
    def registries(self) -> list[Registry]:
        """Those of all accounts."""
        return [registry for account in self.accounts for registry in account.registries]

    @property
    def exclusions(self) -> list[Exclusion]:
        """Those of all registries that could be asked."""
        return [exclusion for account in self.accounts for exclusion in account.exclusions]

    @property
    def untried(self) -> list[str]:
        """The actions that nothing gave a reason to call in some account."""
        return sorted({action for account in self.accounts for action in account.untried})

    @property
    def outsiders(self) -> list[Coverage]:
        """Who else may pull from each registry, where somebody may or that is not known."""
        return [entry for entry in self.coverage if entry.source == CONSUMERS_SOURCE]

    def document(self) -> dict[str, Any]:
        """JSON-able: everything."""
        identity: dict[str, Any] = msgspec.to_builtins(self.identity)
        until = self.identity.valid_until
        return {
            "format": DOCTOR_FORMAT,
            "works": not self.gaps,
            "identity": identity | {"valid_until": None if until is None else rfc3339(until)},
            "regions": _regions_document(self.home.regions, self.home.coverage),
            "accounts": [account.document() for account in self.accounts],
            "registries": [msgspec.to_builtins(registry) for registry in self.registries],
            "sources": _sources_document(self.coverage)
            + [{"source": name, "state": State.OFF} for name in self.off_by_default],
            "outsiders": [_outsider_document(entry) for entry in self.outsiders],
            "untried_actions": self.untried,
            "missing_permissions": self.missing,
            "simulated": self.home.simulated,
            "not_simulated": self.home.unsimulated,
            "pull_time_exclusion": [msgspec.to_builtins(entry) for entry in self.exclusions],
            "manifest_cache": msgspec.to_builtins(self.manifest_cache),
            "ledger": msgspec.to_builtins(self.ledger) | {"notes": self.ledger_coverage.notes},
        }


def by_source(coverage: Iterable[Coverage]) -> dict[str, list[Coverage]]:
    """The coverage by source."""
    found: dict[str, list[Coverage]] = {}
    for entry in coverage:
        if entry.source not in _OF_NO_SOURCE:
            found.setdefault(entry.source, []).append(entry)
    return found


def closed_regions(coverage: Iterable[Coverage]) -> list[str]:
    """The regions of an account that the organisation closes."""
    return sorted({entry.region for entry in coverage if state_of(entry) is State.CLOSED})


def unreachable_regions(coverage: Iterable[Coverage]) -> list[str]:
    """The regions of an account from which nothing at all came back."""
    by_region: dict[str, set[State]] = {}
    for entry in coverage:
        by_region.setdefault(entry.region, set()).add(state_of(entry))
    return sorted(
        region
        for region, states in by_region.items()
        if State.UNREACHABLE in states and not states & {State.WORKS, State.DENIED, State.FAILED, State.DROPPED}
    )


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


def _regions_document(regions: Regions, coverage: Iterable[Coverage]) -> dict[str, Any]:
    entries = tuple(coverage)
    return {
        "enabled": regions.enabled,
        "not_switched_on": regions.disabled,
        "closed": closed_regions(entries),
        "unreachable": unreachable_regions(entries),
        "error": regions.error,
    }


def _sources_document(coverage: Iterable[Coverage]) -> list[dict[str, Any]]:
    return [_source_document(name, entries) for name, entries in by_source(coverage).items()]


def _source_document(name: str, entries: list[Coverage]) -> dict[str, Any]:
    works = [entry for entry in entries if state_of(entry) is State.WORKS]
    failing = {entry.region for entry in entries if state_of(entry) is not State.WORKS}
    return {
        "source": name,
        "state": overall(entries),
        "works_in": sorted({entry.region for entry in works} - failing),
        "uses": sum(entry.uses for entry in works),
        "exceptions": [
            {
                "account": entry.account,
                "region": entry.region,
                "state": state_of(entry),
                "action": entry.action,
                "error": entry.drop or entry.error,
            }
            for entry in entries
            if state_of(entry) is not State.WORKS
        ],
    }


def _outsider_document(entry: Coverage) -> dict[str, Any]:
    return {
        "account": entry.account,
        "region": entry.region,
        "notes": entry.notes,
        "error": entry.error,
        "holds": entry.is_gap,
    }
