"""The story of a plan, and those that rest on its judgement: apply and explain."""

from collections.abc import Iterator, Mapping, Sequence

from ecrsweep.app.outsiders import Outsiders
from ecrsweep.app.owners import Owners
from ecrsweep.app.reading import Reading
from ecrsweep.app.request import Progress, Request, Stop, accepted, coverage_order, gaps_of, unread
from ecrsweep.apply import Before, Carrying, Record
from ecrsweep.core.decisions import Action, Code
from ecrsweep.core.document import Footer, Header, SavedPlan
from ecrsweep.core.errors import AwsFailure, Missing
from ecrsweep.core.graph import build_graph
from ecrsweep.core.holds import Holds, word_of_owner
from ecrsweep.core.images import Inventory, OwnReads
from ecrsweep.core.ledger import history, merged, recent, seen_by_digest, used_recently
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.plan import (
    PLAN_LIFE,
    Explanation,
    Missed,
    RepositoryPlan,
    Summary,
    held_by_limits,
    plan_repository,
    run_limit,
)
from ecrsweep.core.policy import governing, matches_any
from ecrsweep.core.savings import Savings, Sizes
from ecrsweep.core.simulation import as_of
from ecrsweep.core.uses import Census, Coverage, Sighting, Use, UseIndex
from ecrsweep.ports import ImageStore, World


class PlanRun:
    """One plan as it comes about: iterate over the repositories, then ask for the footer.

    Repositories stream through: no more of them are in memory than are being read.
    """

    def __init__(
        self, world: World, request: Request, census: Census, now: float, *, policy_at: float | None = None
    ) -> None:
        """`now` in seconds since the epoch: the moment that all decisions are made for.

        With `policy_at` they are made for that moment of the past, over the repositories as they were then; the plan has expired.
        """
        self._now = now if policy_at is None else policy_at
        self._holds = Holds((*request.holds, *census.holds), now)
        self.header = Header(
            created_at=now,
            expires_at=now + PLAN_LIFE if policy_at is None else policy_at,
            tool_version=request.tool_version,
            policies=request.policies,
            scope=request.scope,
            holds=(*self._holds.current, *self._holds.expired),
            policy_at=policy_at,
        )
        self.census = census
        self.index = UseIndex(census.uses, request.scope.aliases)
        windows = {policy.used_within for policy in request.policies if policy.used_within}
        self._remembered = {
            within: recent(census.remembered, within, self._now, request.scope.aliases) for within in windows
        }
        self._seen: list[Sighting] = []
        self._world = world
        self._request = request
        self._owners = Owners(world, request)
        self._outsiders = Outsiders(world, request)
        self._going: dict[Registry, list[str]] = {}
        self._summary = Summary()
        self._by_registry: dict[Registry, Summary] = {}
        self._missed: list[Missed] = []
        self._unresolved: list[Use] = []
        self._failures: list[Coverage] = []
        self._own_reads = OwnReads()
        self._sizes: list[tuple[Repository, Sizes]] = []
        self._limited = False
        self._reading = Reading(world, request.scope, self._note_missing_repositories)
        self.complete = False

    def repositories(self, stop: Stop = lambda: False) -> Iterator[RepositoryPlan]:
        """The plan of every repository in scope, registry by registry, by name.

        `stop` is asked after each: True ends it, and `complete` stays False.
        """
        for found in self._reading.each(self._read):
            if isinstance(found, Coverage):
                self._failures.append(found)
            elif found is not None:
                plan = self.decide(found)
                self._add(plan)
                yield plan
                del found, plan  # what a repository holds may be large: it goes before the next one is decided
                if stop():
                    return
        self._outsiders.look(self._going)
        self.complete = True

    def footer(self) -> Footer:
        """What is known when all repositories have been planned."""
        # Whoever failed first: the same inputs give the same plan.
        failures = sorted([*self._owners.failures, *self._reading.failures, *self._failures], key=coverage_order)
        marked = (accepted(entry, self._request.scope) for entry in failures)
        coverage = (*self.census.coverage, *marked, *self._outsiders.coverage)
        unresolved = sorted({*self._unresolved, *self.index.unreadable}, key=_unresolved_order)
        limits, prices = self._request.limits, self._request.valued_at
        return Footer(
            coverage=coverage,
            unresolved=tuple(unresolved),
            summary=self._summary,
            verdict=None if limits is None else run_limit(limits, self._summary),
            foreign_uses=self.index.foreign,
            own_reads=self._own_reads,
            limited=self._limited,
            savings=None if prices is None else Savings(prices, tuple(self._sizes)),
            missed=tuple(self._missed),
            held_registries=() if limits is None else held_by_limits(limits, self._by_registry),
        )

    def _read(self, store: ImageStore, name: str) -> Inventory | Coverage | None:
        """What a repository holds. Many are read side by side, and decided on one by one: deciding waits for nothing."""
        try:
            inventory = store.inventory(name, with_layers=self._request.valued_at is not None)
            # Asked now, side by side with others.
            self._owners.of(store.registry)
            self._outsiders.gaps(inventory.repository)
        except Missing:
            return None
        except AwsFailure as failure:
            return unread(store.registry, failure, repository=name)
        return inventory if self.header.policy_at is None else as_of(inventory, self._now)

    def decide(self, inventory: Inventory) -> RepositoryPlan:
        """The plan of one repository, from what it holds."""
        repository = inventory.repository
        policy = governing(self._request.policies, repository.name)
        within = None if policy is None else policy.used_within
        owners = self._owners.of(repository.registry)
        return plan_repository(
            inventory,
            self.index.match(repository, inventory.images),
            policy,
            self._now,
            remembered=used_recently(self._remembered[within], repository, inventory.images, within)
            if within
            else None,
            held=self._holds.on(repository, inventory.images),
            whole=word_of_owner(owners.tags.get(repository.name, {}), policy),
            census_gaps=(*self.census.gaps, *owners.gaps, *self._outsiders.gaps(repository)),
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
        return self._reading.unmatched_repositories()

    @property
    def unread_registries(self) -> Sequence[Registry]:
        """The registries that could not be listed."""
        return self._reading.unread_registries

    def _note_missing_repositories(self, store: ImageStore, names: Sequence[str]) -> None:
        named = self.index.repositories_named_in(store.registry)
        asked = [name for name in named if matches_any(self._request.scope.repositories, name)]
        self._unresolved += self.index.missing(store.registry, set(names), asked=asked)

    def _add(self, plan: RepositoryPlan) -> None:
        registry, summary = plan.repository.registry, plan.summary
        self._summary += summary
        self._by_registry[registry] = self._by_registry.get(registry, Summary()) + summary
        if summary.going:
            self._going.setdefault(registry, []).append(plan.repository.name)
        self._missed += plan.missed
        self._unresolved += plan.unresolved
        self._seen += plan.seen
        self._own_reads += plan.own_reads
        if plan.sizes is not None:
            self._sizes.append((plan.repository, plan.sizes))
        self._limited |= any(
            reason.code is Code.LIMIT for d in plan.decisions if d.action is Action.HOLD for reason in d.reasons
        )
        self._failures += gaps_of(plan)


def _unresolved_order(use: Use) -> tuple[str, str, str, str, str]:
    return use.image, use.described, use.source, use.account, use.region


def held_whole(saved: SavedPlan, request: Request) -> str | None:
    """In words, the limit that holds all of a plan; None where there is none, or whoever carries it out overrides it."""
    return None if request.scope.override_limits else saved.verdict


def begin_apply(
    world: World,
    saved: SavedPlan,
    run: PlanRun,
    *,
    say: Progress,
    record: Record,
    before: Mapping[Repository, Before] | None = None,
) -> Carrying:
    """The carrying out of `saved`, as far as `run` lets it go too: a plan of this moment, with a census taken anew.

    `record` is where it is written down, if anywhere; `before` is what an earlier part of the same run has done.
    """
    return Carrying(world, saved, run.decide_again, run.census.coverage, say=say, record=record, before=before)


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
