"""The stories of a run, line by line: census, plan, apply, explain. What each step does is told elsewhere.

Nothing here knows AWS, files or terminals: the world comes in through `ports`, and results go out as values.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from ecrsweep.apply import Carrying
from ecrsweep.core.counts import with_drops
from ecrsweep.core.decisions import Code
from ecrsweep.core.document import Footer, Header, SavedPlan, Scope
from ecrsweep.core.errors import AwsFailure, BadInput, ClosedByOrganization, Missing
from ecrsweep.core.graph import build_graph
from ecrsweep.core.images import Inventory
from ecrsweep.core.ledger import Recollection, history, merged, recent, seen_by_digest, used_recently
from ecrsweep.core.lifecycle import BadLifecyclePolicy, Finding, find_endangered, parse_lifecycle_policy
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.outcomes import ApplyResult
from ecrsweep.core.plan import PLAN_LIFE, Explanation, RepositoryPlan, Summary, plan_repository, run_limit
from ecrsweep.core.policy import Limits, Policy, governing, matches_any
from ecrsweep.core.unexplained import repositories_pulled, unexplained
from ecrsweep.core.uses import Census, Coverage, CoverageStatus, Note, Sighting, Use, UseIndex
from ecrsweep.ports import ImageStore, Source, World

REGISTRY_SOURCE: Final = "ecr"
"""The word in coverage for a registry or repository that could not be read."""

REGIONS_SOURCE: Final = "regions"
"""The word in coverage for the list of enabled regions, where that could not be read."""

EVERYWHERE: Final = "all"
"""The region in coverage of what is asked once an account."""

Progress = Callable[[str], None]
Stop = Callable[[], bool]


class Request(msgspec.Struct, frozen=True):
    """What the user asks for. `scope.regions` are the registries."""

    scope: Scope
    policies: tuple[Policy, ...]
    sources: tuple[Source, ...]
    tool_version: str

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
        coverage = [*with_drops(coverage, recalled.counts, request.options), recalled.coverage]
    coverage += (entry for answer in answers for entry in answer.handed_on)
    accepted = tuple(_accepted(entry, scope) for entry in coverage)
    uses = tuple(use for answer in answers for use in answer.uses)
    remembered = () if recalled is None else recalled.sightings
    return Census(uses, tuple(sorted(accepted, key=_coverage_order)), remembered)


class PlanRun:
    """One plan as it comes about: iterate over the repositories, then ask for the footer.

    Repositories stream through: no more of them are in memory than are being read.
    """

    def __init__(self, world: World, request: Request, census: Census, now: float) -> None:
        """`now` in seconds since the epoch: the moment that all decisions are made for."""
        self.header = Header(now, now + PLAN_LIFE, request.tool_version, request.policies, request.scope)
        self.census = census
        self.index = UseIndex(census.uses)
        windows = {policy.used_within for policy in request.policies if policy.used_within}
        self._remembered = {within: recent(census.remembered, within, now) for within in windows}
        self._seen: list[Sighting] = []
        self._world = world
        self._request = request
        self._now = now
        self._summary = Summary()
        self._unresolved: list[Use] = []
        self._failures: list[Coverage] = []
        self._own_reads = 0
        self._limited = False
        self._matched: set[str] = set()
        self.unread_registries: list[Registry] = []
        self.complete = False

    def repositories(self, stop: Stop = lambda: False) -> Iterator[RepositoryPlan]:
        """The plan of every repository in scope, registry by registry, by name.

        `stop` is asked after each: True ends it, and `complete` stays False.
        """
        for region in self._request.scope.regions:
            for plan in self._registry(self._world.image_store(region)):
                yield plan
                if stop():
                    return
        self.complete = True

    def footer(self) -> Footer:
        """What is known when all repositories have been planned."""
        coverage = self.census.coverage + tuple(_accepted(entry, self._request.scope) for entry in self._failures)
        unresolved = sorted({*self._unresolved, *self.index.unreadable}, key=lambda use: (use.image, use.described))
        limits = self._request.limits
        return Footer(
            coverage=coverage,
            unresolved=tuple(unresolved),
            summary=self._summary,
            verdict=None if limits is None else run_limit(limits, self._summary),
            foreign_uses=self.index.foreign,
            own_reads=self._own_reads,
            limited=self._limited,
        )

    def _registry(self, store: ImageStore) -> Iterator[RepositoryPlan]:
        try:
            names = store.repository_names()
        except AwsFailure as failure:
            self._failures.append(_unread(store.registry, failure))
            self.unread_registries.append(store.registry)
            return
        patterns = self._request.scope.repositories
        self._matched |= {pattern for pattern in patterns if any(matches_any((pattern,), name) for name in names)}
        wanted = [name for name in names if matches_any(patterns, name)]
        self._note_missing_repositories(store, names)
        for answer in self._world.each(lambda name: self._repository(store, name), wanted):
            if isinstance(answer, Coverage):
                self._failures.append(answer)
            elif answer is not None:
                self._add(answer)
                yield answer

    def _repository(self, store: ImageStore, name: str) -> RepositoryPlan | Coverage | None:
        try:
            inventory = store.inventory(name)
        except Missing:
            return None
        except AwsFailure as failure:
            return _unread(store.registry, failure)
        return self.decide(inventory)

    def decide(self, inventory: Inventory) -> RepositoryPlan:
        """The plan of one repository, from what it holds."""
        repository = inventory.repository
        policy = governing(self._request.policies, repository.name)
        within = None if policy is None else policy.used_within
        return plan_repository(
            inventory,
            self.index.match(repository, inventory.images),
            policy,
            self._now,
            remembered=used_recently(self._remembered[within], repository, inventory.images, within)
            if within
            else None,
            census_gaps=self.census.gaps,
            limits=self._request.limits,
        )

    def decide_again(self, inventory: Inventory) -> RepositoryPlan:
        """The same, for an apply; what it sees in use there is noted for the ledger."""
        plan = self.decide(inventory)
        self._seen += plan.seen
        return plan

    def sightings(self) -> tuple[Sighting, ...]:
        """What this run saw in use: every image of the repositories read so far, and every digest, wherever it is."""
        return merged([*self._seen, *seen_by_digest(self.census.uses, self._now)])

    def unmatched_repositories(self) -> list[str]:
        """The patterns of the scope that matched no repository so far."""
        return [pattern for pattern in self._request.scope.repositories if pattern not in self._matched]

    def _note_missing_repositories(self, store: ImageStore, names: Sequence[str]) -> None:
        named = self.index.repositories_named_in(store.registry)
        asked = [name for name in named if matches_any(self._request.scope.repositories, name)]
        self._unresolved += self.index.missing(store.registry, set(names), asked=asked)

    def _add(self, plan: RepositoryPlan) -> None:
        self._summary += plan.summary
        self._unresolved += plan.unresolved
        self._seen += plan.seen
        self._own_reads += plan.own_reads
        self._limited |= any(reason.code is Code.LIMIT for d in plan.decisions for reason in d.reasons)
        self._failures += _gaps_of(plan)


def begin_apply(world: World, saved: SavedPlan, run: PlanRun, say: Progress) -> Carrying:
    """The carrying out of `saved`, as far as `run` lets it go too: a plan of this moment, with a census taken anew."""
    return Carrying(world, saved, run.decide_again, run.census.coverage, say=say)


def apply(world: World, saved: SavedPlan, run: PlanRun, stop: Stop, say: Progress) -> ApplyResult:
    """Delete what `saved` lets go, as far as `run` lets it go too.

    `stop` is asked before every batch: True ends the run with a true report. Never raises `AwsFailure`: what
    fails is in the result.
    """
    carrying = begin_apply(world, saved, run, say)
    carrying.work(stop)
    return carrying.result()


def explain(run: PlanRun, store: ImageStore, repository: Repository, digest: str) -> Explanation | None:
    """What is known about an image; None where the repository does not hold it. Raises `AwsFailure`."""
    inventory = store.inventory(repository.name)
    graph = build_graph(inventory.images, inventory.edges)
    if digest not in graph.images:
        return None
    return Explanation(
        repository,
        next(decision for decision in run.decide(inventory).decisions if decision.image.digest == digest),
        tuple(graph.parents_of(digest)),
        tuple(graph.children_of(digest)),
        tuple(graph.subjects_of(digest)),
        tuple(graph.referrers_of(digest)),
        history(run.census.remembered, repository, inventory.images, digest),
    )


class GuardRun:
    """The lifecycle policies in place, held against what is in use: iterate over the findings, then ask for the coverage."""

    def __init__(self, world: World, request: Request, census: Census, now: float, *, preview: bool = False) -> None:
        """`now` in seconds since the epoch. `preview` also asks AWS, and tells where the two differ."""
        self.index = UseIndex(census.uses)
        self._world, self._request, self._census, self._now = world, request, census, now
        self._preview = preview
        self._failures: list[Coverage] = []
        self.differences: list[str] = []
        self.policies = 0

    def findings(self) -> Iterator[Finding]:
        """Everything that AWS will take, repository by repository, whether something uses it or not."""
        for region in self._request.scope.regions:
            store = self._world.image_store(region)
            try:
                names = store.repository_names()
            except AwsFailure as failure:
                self._failures.append(_unread(store.registry, failure))
                continue
            wanted = [name for name in names if matches_any(self._request.scope.repositories, name)]
            looks = self._world.each(lambda name, store=store: self._look(store, name), wanted)  # type: ignore[misc]
            for look in looks:
                self.policies += look.has_policy
                self.differences += look.differences
                self._failures += look.failures
                yield from look.findings

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """What was asked, and what could not be read."""
        return self._census.coverage + tuple(_accepted(entry, self._request.scope) for entry in self._failures)

    def _look(self, store: ImageStore, name: str) -> "_Look":
        """A repository whose policy or images cannot be read is a failure, told in the coverage."""
        try:
            text = store.lifecycle_policy(name)
            if text is None:
                return _Look()
            rules = parse_lifecycle_policy(text)
            inventory = store.inventory(name)
            previewed = store.previewed(name) if self._preview else None
        except Missing:
            return _Look()
        except (AwsFailure, BadLifecyclePolicy) as failure:
            action = failure.action if isinstance(failure, AwsFailure) else None
            return _Look(failures=(_unread(store.registry, AwsFailure(f"{name}: {failure}", action=action)),))
        matched = self.index.match(inventory.repository, inventory.images)
        found = find_endangered(inventory, matched.reasons, rules, self._now)
        differences = () if previewed is None else _differences(inventory.repository, found, previewed)
        return _Look(tuple(found), tuple(_gaps_of(inventory)), tuple(differences), has_policy=True)


class _Look(msgspec.Struct, frozen=True):
    """What was found in one repository with a lifecycle policy."""

    findings: tuple[Finding, ...] = ()
    failures: tuple[Coverage, ...] = ()
    differences: tuple[str, ...] = ()
    has_policy: bool = False


def _differences(repository: Repository, found: Sequence[Finding], previewed: Mapping[str, int]) -> Iterator[str]:
    """In words, where AWS's preview and our reading of the policy part. A preview tells of expiry alone."""
    ours = {entry.image.digest: entry.taken.rule for entry in found if entry.taken.action == "expire"}
    for digest in sorted(ours.keys() | previewed.keys()):
        if ours.get(digest) != previewed.get(digest):
            here, there = (f"rule {rule[digest]}" if digest in rule else "no rule" for rule in (ours, previewed))
            yield f"{repository.uri}@{digest}: {here} by our reading, {there} by the preview of AWS"


def unexplained_pulls(world: World, census: Census) -> tuple[list[Use], list[Coverage]]:
    """The pulls that no other use explains, and which repositories could not be looked into to tell.

    Repositories of other accounts are told by name alone.
    """
    pulled = [found for found in repositories_pulled(census.uses) if found.registry.account == world.account]
    inventories: list[Inventory] = []
    failures: list[Coverage] = []
    for answer in world.each(lambda repository: _looked_into(world, repository), pulled):
        match answer:
            case Coverage():
                failures.append(answer)
            case Inventory():
                inventories.append(answer)
                registry = answer.repository.registry
                failures += (_unread(registry, AwsFailure(gap.error, action=gap.action)) for gap in answer.gaps)
    return unexplained(census.uses, inventories), failures


def _looked_into(world: World, repository: Repository) -> Inventory | Coverage | None:
    try:
        return world.image_store(repository.registry.region).inventory(repository.name)
    except Missing:
        return None
    except AwsFailure as failure:
        return _unread(repository.registry, failure)


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


def _accepted(entry: Coverage, scope: Scope) -> Coverage:
    """The entry, marked where the user named what is wrong with it as acceptable: SOURCE[@ACCOUNT][/REGION]."""
    accepts = scope.accept_gaps if entry.status is CoverageStatus.FAILED else scope.accept_drops
    if entry.trouble is not None and any(_names(word, entry) for word in accepts):
        return msgspec.structs.replace(entry, accepted=True)
    return entry


def _names(word: str, entry: Coverage) -> bool:
    rest, _, region = word.partition("/")
    source, _, account = rest.partition("@")
    named = entry.source == source or entry.source.startswith(f"{source}-")
    return named and account in {"", entry.account} and region in {"", entry.region}


def _unread(registry: Registry, failure: AwsFailure) -> Coverage:
    return Coverage(
        registry.account, registry.region, REGISTRY_SOURCE, CoverageStatus.FAILED, error=str(failure),
        action=failure.action,
    )  # fmt: skip


def _gaps_of(told: Inventory | RepositoryPlan) -> Iterator[Coverage]:
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


def _coverage_order(entry: Coverage) -> tuple[str, str, str, str]:
    return (entry.account, entry.region, entry.source, entry.error or "")
