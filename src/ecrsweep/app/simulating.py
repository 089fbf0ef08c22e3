"""The story of a simulation: every policy replayed over the past of all repositories that it governs."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from ecrsweep.app.owners import Owners
from ecrsweep.app.reading import Reading
from ecrsweep.app.request import Request, accepted, gaps_of, unread
from ecrsweep.core.errors import AwsFailure, Missing
from ecrsweep.core.holds import Holds, word_of_owner
from ecrsweep.core.images import Inventory
from ecrsweep.core.policy import Policy, governing
from ecrsweep.core.retention import Evidence
from ecrsweep.core.simulation import Hindsight, PolicyReplay, Replay, Simulation, days_until, replay
from ecrsweep.core.uses import Census, Coverage, UseIndex
from ecrsweep.ports import ImageStore, World


class SimulationRun:
    """One simulation as it comes about: iterate over the repositories, then ask for the result."""

    def __init__(self, world: World, request: Request, census: Census, now: float, days: int) -> None:
        """`now` in seconds since the epoch; the first run is replayed so many `days` before it, the last a day before it."""
        self.reading = Reading(world, request.scope)
        self._request, self._census, self._now = request, census, now
        self._moments = days_until(now, days)
        self._uses = UseIndex(census.uses, request.scope.aliases)
        self._seen = UseIndex((one.as_use() for one in census.remembered), request.scope.aliases)
        self._holds = Holds((*request.holds, *census.holds), now)
        self._owners = Owners(world, request)
        self._replays: dict[Policy | None, list[Replay]] = defaultdict(list)
        self._failures: list[Coverage] = []

    def repositories(self) -> Iterator[Replay]:
        """The replay of every repository in scope, registry by registry, by name."""
        for look in self.reading.each(self._look):
            self._failures += look.failures
            if look.replay is not None:
                self._replays[look.replay.policy].append(look.replay)
                yield look.replay

    def result(self) -> Simulation:
        """What it came to, when all repositories have been replayed."""
        failures = (*self.reading.failures, *self._owners.failures, *self._failures)
        return Simulation(
            created_at=self._now,
            tool_version=self._request.tool_version,
            moments=self._moments,
            policies=tuple(
                PolicyReplay.of(policy, self._replays[policy]) for policy in dict.fromkeys(self._request.policies)
            ),
            coverage=self._census.coverage + tuple(accepted(entry, self._request.scope) for entry in failures),
            not_governed=len(self._replays[None]),
            foreign_uses=self._uses.foreign,
        )

    def _look(self, store: ImageStore, name: str) -> "_Look":
        """A repository that cannot be read, or not in full, is a failure, told in the coverage."""
        try:
            inventory = store.inventory(name)
        except Missing:
            return _Look()
        except AwsFailure as failure:
            return _Look(failures=(unread(store.registry, failure, repository=name),))
        owners = self._owners.of(store.registry)
        if inventory.gaps or owners.gaps:
            return _Look(failures=tuple(gaps_of(inventory)))
        policy = governing(self._request.policies, name)
        rules = Evidence(
            held=self._holds.on(inventory.repository, inventory.images),
            whole=word_of_owner(owners.tags.get(name, {}), policy),
        )
        return _Look(replay(inventory, policy, self._moments, rules, self._hindsight(inventory)))

    def _hindsight(self, inventory: Inventory) -> Hindsight:
        """What is in use now, and what earlier runs saw in use at any time."""
        matched, seen = (index.match(inventory.repository, inventory.images) for index in (self._uses, self._seen))
        return Hindsight(
            matched.reasons, {digest: [match.use for match in matches] for digest, matches in seen.found.items()}
        )


class _Look(msgspec.Struct, frozen=True):
    """What was found in one repository."""

    replay: Replay | None = None
    failures: tuple[Coverage, ...] = ()
