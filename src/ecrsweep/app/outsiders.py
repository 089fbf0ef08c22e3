"""The consumers that nobody listed: who may pull, by the policies of repositories and registries, and is not asked.

They are told; with `strict_consumers` they hold what they may pull. Without it only repositories of which something would go
are looked at, because it takes a call for each.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Final

import msgspec

from ecrsweep.app.request import Request, accepted
from ecrsweep.core.errors import AwsFailure, Missing, PolicyUnreadable
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.sharing import CONSUMERS_SOURCE, Consumer, Kind, Replica, of_registry, of_repository, unlisted
from ecrsweep.core.uses import Coverage, CoverageStatus
from ecrsweep.ports import ImageStore, World

_FEW: Final = 3
"""So many repositories are named one by one."""


class _Shared(msgspec.Struct, frozen=True):
    """Who may pull and is not asked, or why that is not known."""

    consumers: tuple[Consumer, ...] = ()
    replicas: tuple[Replica, ...] = ()
    unknown: str | None = None
    action: str | None = None


class Outsiders:
    """Who else may pull: asked once a registry, and once a repository."""

    def __init__(self, world: World, request: Request) -> None:
        """Nothing is asked yet."""
        self._world, self._request = world, request
        self._of_registry: dict[Registry, _Shared] = {}
        self._of_repository: dict[Repository, _Shared] = {}
        self._asking = Lock()

    @property
    def strict(self) -> bool:
        """Whether they hold what they may pull, so that they must be known before anything is decided."""
        return self._request.scope.strict_consumers

    def look(self, registry: Registry, names: Iterable[str]) -> None:
        """Find out about these repositories of a registry, side by side. What cannot be found out is told with the rest."""
        wanted = [Repository(registry, name) for name in names]
        if not wanted:
            return
        whole = self._registry(registry)
        if whole.unknown is not None and not self.strict:
            return  # whoever may not ask that may not ask the rest either
        for _ in self._world.each(self._repository, wanted):
            pass

    def survey(self, names: Mapping[Registry, Sequence[str]]) -> None:
        """Find out about these repositories of many registries, all side by side."""
        found = self._world.each(self._asked_registry, names)
        self._of_registry |= dict(zip(names, found, strict=True))
        known = [registry for registry in names if self._of_registry[registry].unknown is None or self.strict]
        wanted = [Repository(registry, name) for registry in known for name in names[registry]]
        for _ in self._world.each(self._repository, wanted):
            pass

    def gaps(self, repository: Repository) -> tuple[Coverage, ...]:
        """What holds a repository, where outsiders do, and the user has not named it as acceptable."""
        if not self.strict:
            return ()
        entry = self._entry(repository.registry, (repository,))
        return (entry,) if entry.status is CoverageStatus.FAILED and not entry.accepted else ()

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """What is known of each registry that was looked at."""
        found = []
        for registry in sorted(self._of_registry):
            entry = self._entry(registry, sorted(one for one in self._of_repository if one.registry == registry))
            if entry.notes or entry.error:
                found.append(entry)
        return tuple(found)

    def _entry(self, registry: Registry, repositories: Sequence[Repository]) -> Coverage:
        shared = [self._registry(registry), *map(self._repository, repositories)]
        names = [repository.name for repository in repositories]
        unknown = next((one for one in shared if one.unknown is not None), _Shared())
        said = list(_sentences(shared, names))
        held = self.strict and (said or unknown.unknown is not None)
        status = CoverageStatus.COMPLETE if unknown.unknown is None else CoverageStatus.SKIPPED
        words = f"who else may pull is not known: {unknown.unknown}" if unknown.unknown is not None else None
        entry = Coverage(
            registry.account, registry.region, CONSUMERS_SOURCE, CoverageStatus.FAILED if held else status,
            error=words or ("; ".join(said) if held else None), action=unknown.action,
            notes=(*(() if held and words is None else said), *_copies(shared)),
        )  # fmt: skip
        return accepted(entry, self._request.scope)

    def _registry(self, registry: Registry) -> _Shared:
        with self._asking:
            if registry not in self._of_registry:
                self._of_registry[registry] = self._asked_registry(registry)
            return self._of_registry[registry]

    def _asked_registry(self, registry: Registry) -> _Shared:
        asked = self._request.scope.consumers
        own = () if registry.account in asked else (_owner(registry),)
        store = self._world.image_store(registry)
        try:
            policy = store.registry_policy()
            found = () if policy is None else of_registry(policy)
            return _Shared((*own, *unlisted(found, asked)), tuple(store.replication()))
        except (AwsFailure, PolicyUnreadable) as failure:
            return _Shared(own, unknown=str(failure), action=getattr(failure, "action", None))

    def _repository(self, repository: Repository) -> _Shared:
        if repository not in self._of_repository:
            self._of_repository[repository] = self._asked_repository(repository)
        return self._of_repository[repository]

    def _asked_repository(self, repository: Repository) -> _Shared:
        store: ImageStore = self._world.image_store(repository.registry)
        try:
            policy = store.repository_policy(repository.name)
            found = () if policy is None else of_repository(repository.name, policy)
        except Missing:
            return _Shared()
        except (AwsFailure, PolicyUnreadable) as failure:
            return _Shared(unknown=str(failure), action=getattr(failure, "action", None))
        return _Shared(unlisted(found, self._request.scope.consumers))


def _owner(registry: Registry) -> Consumer:
    return Consumer(Kind.ACCOUNT, registry.account, ("*",), "it holds the registry", registry.account)


def _sentences(shared: Iterable[_Shared], names: Sequence[str]) -> Iterator[str]:
    """A sentence for each outsider, with the repositories that it may pull."""
    pulled: dict[str, list[str]] = {}
    for one in shared:
        for consumer in one.consumers:
            reached = [name for name in names if consumer.reaches(name)]
            if reached:
                globs = [glob for glob in consumer.repositories if glob not in names] or reached
                pulled.setdefault(consumer.who, []).extend(globs)
    for who, some in sorted(pulled.items()):
        several = sorted(set(some))
        more = f" and {len(several) - _FEW} more" if len(several) > _FEW else ""
        yield f"{who} may pull {', '.join(several[:_FEW])}{more} and is not asked"


def _copies(shared: Iterable[_Shared]) -> Iterator[str]:
    """Where images are replicated to: what runs there runs a copy."""
    for replica in sorted({replica for one in shared for replica in one.replicas}):
        yield replica.sentence
