"""The census: every source is asked in every region, and what each answered is told. Nothing is decided here."""

from collections.abc import Iterator, Sequence

import msgspec

from ecrsweep.app.request import EVERYWHERE, REGIONS_SOURCE, Progress, Request, accepted
from ecrsweep.core.counts import with_drops
from ecrsweep.core.document import Scope
from ecrsweep.core.errors import AwsFailure, BadInput, ClosedByOrganization
from ecrsweep.core.ledger import Recollection
from ecrsweep.core.policy import Otherwise
from ecrsweep.core.uses import Census, Coverage, CoverageStatus, Note, Use
from ecrsweep.ports import Source, World


def take_census(world: World, request: Request, say: Progress, recalled: Recollection | None = None) -> Census:
    """Ask every source in every region where something may run, and tell what each answered.

    A source that fails becomes a failed entry of the coverage, never an error: what it found before that still protects.
    `recalled` is what earlier runs left: what they saw in use, and how much each source told them; None where nobody asks.
    """
    scope = request.scope
    regions, coverage = _consumer_regions(world, request)
    asked = []
    for source in request.sources:
        for region in [EVERYWHERE] if source.about.once else regions:
            skipped = _skipped(world, region, source, scope)
            if skipped is None:
                asked.append((source, region))
            else:
                coverage.append(skipped)
    say(f"Asking {len(asked)} sources in {len(regions)} regions what they use")
    answers = list(world.each(lambda job: _ask(world, *job), asked))
    coverage += _judged(world, answers)
    if recalled is not None:
        coverage = [
            *with_drops(coverage, recalled.counts, request.options),
            recalled.coverage,
            *_of_holds(recalled, request),
        ]
    coverage += (entry for answer in answers for entry in answer.handed_on)
    marked = tuple(accepted(entry, scope) for entry in coverage)
    uses = tuple(use for answer in answers for use in answer.uses)
    ordered = tuple(sorted(marked, key=_coverage_order))
    return Census(uses, ordered) if recalled is None else Census(uses, ordered, recalled.sightings, recalled.holds)


def _of_holds(recalled: Recollection, request: Request) -> Iterator[Coverage]:
    """What could not be read of holds. While artifacts are on trial, only these say which of them somebody missed."""
    trial = any(policy.otherwise is Otherwise.TRIAL for policy in request.policies)
    for entry in recalled.gaps:
        yield msgspec.structs.replace(entry, status=CoverageStatus.FAILED) if trial else entry


def unasked_census(world: World, request: Request, recalled: Recollection, why: str) -> Census:
    """A census of nothing, for what rests on no evidence of use: every source is told as not asked. Holds hold all the same."""
    skipped = (
        Coverage(world.account, EVERYWHERE, source.name, CoverageStatus.SKIPPED, error=why)
        for source in request.sources
    )
    held = (accepted(entry, request.scope) for entry in _of_holds(recalled, request))
    return Census(coverage=(*skipped, *held), holds=recalled.holds)


class _Answer(msgspec.Struct, frozen=True):
    """What one source said in one region. `closed` tells that every call was refused by the organisation."""

    uses: list[Use]
    entry: Coverage
    handed_on: list[Coverage]
    closed: bool = False


def _consumer_regions(world: World, request: Request) -> tuple[list[str], list[Coverage]]:
    """The regions to ask and, where these cannot be known or the user left some out, the entries that say so."""
    scope = request.scope
    try:
        enabled = list(world.enabled_regions())
    except AwsFailure as failure:
        if scope.consumer_regions is not None:
            return sorted(scope.consumer_regions), []
        gap = Coverage(
            world.account, EVERYWHERE, REGIONS_SOURCE, CoverageStatus.FAILED, action=failure.action,
            error=f"the enabled regions are not known, so only those of the registries were asked: {failure}",
        )  # fmt: skip
        return sorted(scope.regions), [gap]
    if scope.consumer_regions is None:
        return enabled, []
    left_out = [region for region in enabled if region not in scope.consumer_regions]
    reason = "left out by --consumer-region"
    return sorted(scope.consumer_regions), [
        Coverage(world.account, region, source.name, CoverageStatus.SKIPPED, error=reason)
        for region in left_out
        for source in request.sources
        if not source.about.once
    ]


def _skipped(world: World, region: str, source: Source, scope: Scope) -> Coverage | None:
    """Why a source is not asked in a region; None where it is. What is off by default and not asked for is not shown."""
    account, service = world.account, source.about.service
    if {source.name, source.name.partition(":")[0]} & set(scope.skip_sources):
        return Coverage(account, region, source.name, CoverageStatus.SKIPPED, error="skipped by --skip-source")
    if region != EVERYWHERE and service and not world.offers(service, region):
        return Coverage(account, region, source.name, CoverageStatus.SKIPPED, error="not offered in this region")
    return None


def _ask(world: World, source: Source, region: str) -> _Answer:
    """What one source says in one region."""
    found: list[Use] = []
    notes: list[str] = []
    handed_on: list[Coverage] = []
    account = world.account

    def entry(status: CoverageStatus, error: str | None = None, action: str | None = None) -> Coverage:
        # Pulls come and go with the days: a source that knows of nothing else never falls silent.
        images = len({(use.image, use.digest) for use in found if use.pulls is None})
        return Coverage(
            account, region, source.name, status, len(found), error, action=action,
            notes=tuple(dict.fromkeys(notes)), images=images,
        )  # fmt: skip

    try:
        for told in source.uses(world.place(world.home_region if region == EVERYWHERE else region)):
            match told:
                case Note():
                    notes.append(f"{told.workload}: {told.text}" if told.workload else told.text)
                case Coverage():
                    handed_on.append(told)
                case _:
                    found.append(told)
    except AwsFailure as failure:
        failed = entry(CoverageStatus.FAILED, str(failure), failure.action)
        return _Answer(found, failed, handed_on, isinstance(failure, ClosedByOrganization))
    except BadInput as error:
        return _Answer(found, entry(CoverageStatus.FAILED, str(error)), handed_on)
    except Exception as error:  # noqa: BLE001 - a source may come from anybody: whatever breaks it is a gap, not "no uses"
        message = f"{source.name} broke on an answer it did not expect: {type(error).__name__}: {error}"
        return _Answer(found, entry(CoverageStatus.FAILED, message), handed_on)
    return _Answer(found, entry(CoverageStatus.COMPLETE), handed_on)


def _judged(world: World, answers: Sequence[_Answer]) -> list[Coverage]:
    """The coverage, where a region that the organisation closes for every source is shown as skipped: no gap."""
    open_regions = {answer.entry.region for answer in answers if not answer.closed}
    candidates = {answer.entry.region for answer in answers} - open_regions - {EVERYWHERE}
    closed_regions = {region for region in candidates if world.is_closed(region)}
    return [
        msgspec.structs.replace(
            entry, status=CoverageStatus.SKIPPED, error=f"region closed by a service control policy: {entry.error}"
        )
        if entry.region in closed_regions
        else entry
        for entry in (answer.entry for answer in answers)
    ]


def _coverage_order(entry: Coverage) -> tuple[str, str, str, str]:
    return (entry.account, entry.region, entry.source, entry.error or "")
