"""The repositories in scope, looked at registry by registry, and what of them could not be read."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from ecrsweep.app.request import unread
from ecrsweep.core.document import Scope
from ecrsweep.core.errors import AwsFailure
from ecrsweep.core.names import Registry
from ecrsweep.core.policy import matches_any
from ecrsweep.core.uses import Coverage
from ecrsweep.ports import ImageStore, World

R = TypeVar("R")


class Reading:
    """One walk over all that is in scope: iterate, then ask what could not be read."""

    def __init__(self, world: World, scope: Scope) -> None:
        """Nothing is read yet."""
        self.failures: list[Coverage] = []
        self.unread_registries: list[Registry] = []
        self._world, self._scope = world, scope
        self._matched: set[str] = set()

    def each(self, look: Callable[[ImageStore, str], R]) -> Iterator[R]:
        """What `look` finds in each repository, registry by registry, by name; several are looked at side by side."""
        for registry in self._scope.registries:
            store = self._world.image_store(registry)
            try:
                names = store.repository_names()
            except AwsFailure as failure:
                self.failures.append(unread(registry, failure))
                self.unread_registries.append(registry)
                continue
            patterns = self._scope.repositories
            self._matched |= {pattern for pattern in patterns if any(matches_any((pattern,), name) for name in names)}
            wanted = [name for name in names if matches_any(patterns, name)]
            yield from self._world.each(lambda name, store=store: look(store, name), wanted)  # type: ignore[misc]

    def unmatched_repositories(self) -> list[str]:
        """The patterns of the scope that matched no repository so far."""
        return [pattern for pattern in self._scope.repositories if pattern not in self._matched]
