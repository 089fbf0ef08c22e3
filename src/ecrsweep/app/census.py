"""The census: every source is asked in every region, and what each answered is told. Nothing is decided here."""

from collections.abc import Iterator, Sequence

import msgspec

from ecrsweep.app.request import EVERYWHERE, REGIONS_SOURCE, Progress, Request, accepted, coverage_order
from ecrsweep.core.counts import with_drops
from ecrsweep.core.document import Scope
from ecrsweep.core.errors import AwsFailure, BadInput, ClosedByOrganization
from ecrsweep.core.ledger import Recollection
from ecrsweep.core.policy import Otherwise
from ecrsweep.core.uses import Census, Coverage, CoverageStatus, Covered, Note, Use
from ecrsweep.ports import Account, Source, World


def take_census(world: World, request: Request, say: Progress, recalled: Recollection | None = None) -> Census:
    """Ask every source in every region where something may run, and tell what each answered.

    A source that fails becomes a failed entry of the coverage, never an error: what it found before that still protects.
    `recalled` is what earlier runs left: what they saw in use, and how much each source told them; None where nobody asks.
    """
    scope = request.scope
    fields = [_once(world, request), *world.gather(lambda account: _field(world, account, request), scope.consumers)]
    coverage = [entry for field in fields for entry in field.coverage]
    # Account after account in the same place, so that clients are shared by those that ask at the same time.
    asked = sorted((ask for field in fields for ask in field.asks), key=_ask_order)
    say(_begins(request, fields))
    answers = [_held_against(answer, scope) for answer in world.gather(_ask, asked)]
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
    ordered = tuple(sorted(marked, key=coverage_order))
    return Census(uses, ordered) if recalled is None else Census(uses, ordered, recalled.sightings, recalled.holds)


def _of_holds(recalled: Recollection, request: Request) -> Iterator[Coverage]:
    """What could not be read of holds. While artifacts are on trial, only these say which of them somebody missed."""
    trial = any(policy.otherwise is Otherwise.TRIAL for policy in request.policies)
    for entry in recalled.gaps:
        yield msgspec.structs.replace(entry, status=CoverageStatus.FAILED) if trial else entry


def unasked_census(request: Request, recalled: Recollection, why: str) -> Census:
    """A census of nothing, for what rests on no evidence of use: every source is told as not asked. Holds hold all the same."""
    skipped = (
        Coverage(account, EVERYWHERE, source.name, CoverageStatus.SKIPPED, error=why)
        for account in request.scope.consumers
        for source in request.sources
    )
    held = (accepted(entry, request.scope) for entry in _of_holds(recalled, request))
    return Census(coverage=(*skipped, *held), holds=recalled.holds)


class _Ask(msgspec.Struct, frozen=True):
    """One source to be asked in one region of an account."""

    source: Source
    account: str
    region: str
    reached: Account


def _ask_order(ask: _Ask) -> tuple[str, str, str]:
    return ask.region, ask.source.name, ask.account


class _Field(msgspec.Struct, frozen=True):
    """What is to be asked of one account, and what is not."""

    regions: tuple[str, ...] = ()
    asks: tuple[_Ask, ...] = ()
    coverage: tuple[Coverage, ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    """What one source said in one region. `closed` tells that every call was refused by the organisation."""

    uses: list[Use]
    entry: Coverage
    handed_on: list[Coverage]
    closed: bool = False
    covered: Covered | None = None


def _once(world: World, request: Request) -> _Field:
    """Whom to ask once, for all accounts: by the credentials in hand."""
    account = request.scope.account
    sources = [source for source in request.sources if source.about.once_a_run]
    return _asking(account, world.reach(account), [], sources, request)


def _field(world: World, account: str, request: Request) -> _Field:
    """Whom to ask in an account; where there is no way to it, a gap of every source: never "nothing runs there"."""
    reached = world.reach(account)
    closed = {member.account: member.closed for member in request.scope.members}.get(account)
    try:
        if closed is not None:
            raise AwsFailure(f"account {account} is {closed}, says AWS Organizations: nobody can ask what runs there")
        reached.require()
    except AwsFailure as failure:
        return _Field(coverage=tuple(_shut(account, request, failure)))
    regions, coverage = _consumer_regions(account, reached, request)
    field = _asking(account, reached, regions, _of_accounts(request), request)
    return msgspec.structs.replace(field, coverage=(*coverage, *field.coverage))


def _asking(
    account: str, reached: Account, regions: Sequence[str], sources: Sequence[Source], request: Request
) -> _Field:
    asks: list[_Ask] = []
    coverage: list[Coverage] = []
    for source in sources:
        for region in [EVERYWHERE] if source.about.once else regions:
            skipped = _skipped(account, reached, region, source, request.scope)
            if skipped is None:
                asks.append(_Ask(source, account, region, reached))
            else:
                coverage.append(skipped)
    return _Field(tuple(regions), tuple(asks), tuple(coverage))


def _of_accounts(request: Request) -> list[Source]:
    """The sources that are asked in every account."""
    return [source for source in request.sources if not source.about.once_a_run]


def _begins(request: Request, fields: Sequence[_Field]) -> str:
    regions = len({region for field in fields for region in field.regions} - {EVERYWHERE})
    accounts = f" of {len(request.scope.consumers)} accounts" if request.scope.members else ""
    return f"Asking {sum(len(field.asks) for field in fields)} sources in {regions} regions{accounts} what they use"


def _shut(account: str, request: Request, failure: AwsFailure) -> Iterator[Coverage]:
    """The gaps of an account that cannot be asked at all."""
    for source in _of_accounts(request):
        skipped = _left_out(account, EVERYWHERE, source, request.scope)
        yield skipped or Coverage(
            account, EVERYWHERE, source.name, CoverageStatus.FAILED, error=str(failure), action=failure.action
        )


def _consumer_regions(account: str, reached: Account, request: Request) -> tuple[list[str], list[Coverage]]:
    """The regions to ask and, where these cannot be known or the user left some out, the entries that say so."""
    scope = request.scope
    try:
        enabled = list(reached.enabled_regions())
    except AwsFailure as failure:
        if scope.consumer_regions is not None:
            return sorted(scope.consumer_regions), []
        gap = Coverage(
            account, EVERYWHERE, REGIONS_SOURCE, CoverageStatus.FAILED, action=failure.action,
            error=f"the enabled regions are not known, so only those of the registries were asked: {failure}",
        )  # fmt: skip
        return sorted(scope.regions), [gap]
    if scope.consumer_regions is None:
        return enabled, []
    left_out = [region for region in enabled if region not in scope.consumer_regions]
    reason = "left out by --consumer-region"
    entries = [
        Coverage(account, region, source.name, CoverageStatus.SKIPPED, error=reason)
        for region in left_out
        for source in _of_accounts(request)
        if not source.about.once
    ]
    wanted = set(scope.consumer_regions) & set(enabled) if scope.members else scope.consumer_regions
    return sorted(wanted), entries


def _skipped(account: str, reached: Account, region: str, source: Source, scope: Scope) -> Coverage | None:
    """Why a source is not asked in a region; None where it is. What is off by default and not asked for is not shown."""
    service = source.about.service
    if region != EVERYWHERE and service and not reached.offers(service, region):
        offered = Coverage(account, region, source.name, CoverageStatus.SKIPPED, error="not offered in this region")
    else:
        offered = None
    return _left_out(account, region, source, scope) or offered


def _left_out(account: str, region: str, source: Source, scope: Scope) -> Coverage | None:
    if {source.name, source.name.partition(":")[0]} & set(scope.skip_sources):
        return Coverage(account, region, source.name, CoverageStatus.SKIPPED, error="skipped by --skip-source")
    return None


def _ask(ask: _Ask) -> _Answer:
    """What one source says in one region."""
    source, account, region, reached = ask.source, ask.account, ask.region, ask.reached
    found: list[Use] = []
    notes: list[str] = []
    handed_on: list[Coverage] = []
    covered: Covered | None = None

    def entry(status: CoverageStatus, error: str | None = None, action: str | None = None) -> Coverage:
        # Pulls come and go with the days: a source that knows of nothing else never falls silent.
        images = len({(use.image, use.digest) for use in found if use.pulls is None})
        return Coverage(
            account, region, source.name, status, len(found), error, action=action,
            notes=tuple(dict.fromkeys(notes)), images=images,
        )  # fmt: skip

    try:
        for told in source.uses(reached.place(reached.home_region if region == EVERYWHERE else region)):
            match told:
                case Note():
                    notes.append(f"{told.workload}: {told.text}" if told.workload else told.text)
                case Coverage():
                    handed_on.append(told)
                case Covered():
                    covered = told
                case _:
                    found.append(told)
    except AwsFailure as failure:
        failed = entry(CoverageStatus.FAILED, str(failure), failure.action)
        return _Answer(found, failed, handed_on, isinstance(failure, ClosedByOrganization), covered)
    except BadInput as error:
        return _Answer(found, entry(CoverageStatus.FAILED, str(error)), handed_on, covered=covered)
    except Exception as error:  # noqa: BLE001 - a source may come from anybody: whatever breaks it is a gap, not "no uses"
        message = f"{source.name} broke on an answer it did not expect: {type(error).__name__}: {error}"
        return _Answer(found, entry(CoverageStatus.FAILED, message), handed_on, covered=covered)
    return _Answer(found, entry(CoverageStatus.COMPLETE), handed_on, covered=covered)


def _held_against(answer: _Answer, scope: Scope) -> _Answer:
    """The answer of a source that is asked once for all, with a gap for each account with a registry of which it cannot tell."""
    if answer.covered is None:
        return answer
    entry, handed_on = answer.entry, list(answer.handed_on)
    for account in dict.fromkeys(registry.account for registry in scope.registries):
        trouble = answer.covered.trouble_of(account)
        if trouble and account == entry.account and entry.status is CoverageStatus.COMPLETE:
            entry = msgspec.structs.replace(entry, status=CoverageStatus.FAILED, error=trouble)
        elif trouble and account != entry.account:
            handed_on.append(
                Coverage(account, entry.region, entry.source, CoverageStatus.FAILED, error=trouble, action=entry.action)
            )
    return msgspec.structs.replace(answer, entry=entry, handed_on=handed_on)


def _judged(world: World, answers: Sequence[_Answer]) -> list[Coverage]:
    """The coverage, where a region that the organisation closes for every source is shown as skipped: no gap."""
    open_places = {_place(answer.entry) for answer in answers if not answer.closed}
    candidates = sorted({_place(answer.entry) for answer in answers if answer.entry.region != EVERYWHERE} - open_places)
    judged = world.each(lambda place: world.reach(place[0]).is_closed(place[1]), candidates)
    closed = {place for place, is_closed in zip(candidates, judged, strict=True) if is_closed}
    return [
        msgspec.structs.replace(
            entry, status=CoverageStatus.SKIPPED, error=f"region closed by a service control policy: {entry.error}"
        )
        if _place(entry) in closed
        else entry
        for entry in (answer.entry for answer in answers)
    ]


def _place(entry: Coverage) -> tuple[str, str]:
    return entry.account, entry.region
