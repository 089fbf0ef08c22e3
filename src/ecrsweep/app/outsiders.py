"""The consumers that nobody listed: who may pull, by the policies of repositories and registries, and is not asked.

They are told; with `strict_consumers` they hold what they may pull. Without it only repositories of which something would go
are looked at, because it takes a call for each.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from ecrsweep.app.once import Once
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
        self._of_registry = Once(self._asked_registry)
        self._of_repository = Once(self._asked_repository)

    @property
    def strict(self) -> bool:
        """Whether they hold what they may pull, so that they must be known before anything is decided."""
        return self._request.scope.strict_consumers

    def look(self, wanted: Mapping[Registry, Iterable[str]]) -> None:
        """Find out about these repositories, by registry, side by side. What cannot be found out is told with the rest."""
        whole = dict(zip(wanted, self._world.each(self._of_registry.of, wanted), strict=True))
        # Whoever may not ask about a registry may not ask the rest either.
        known = [registry for registry in wanted if whole[registry].unknown is None or self.strict]
        repositories = [Repository(registry, name) for registry in known for name in wanted[registry]]
        for _ in self._world.each(self._of_repository.of, repositories):
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
        repositories: dict[Registry, list[Repository]] = {}
        for repository in sorted(self._of_repository):
            repositories.setdefault(repository.registry, []).append(repository)
        for registry in sorted(self._of_registry):
            entry = self._entry(registry, repositories.get(registry, []))
            if entry.notes or entry.error:
                found.append(entry)
        return tuple(found)

    def _entry(self, registry: Registry, repositories: Sequence[Repository]) -> Coverage:
        shared = [self._of_registry.of(registry), *map(self._of_repository.of, repositories)]
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
