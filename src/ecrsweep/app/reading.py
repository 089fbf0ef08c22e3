"""The repositories in scope, looked at registry by registry, and what of them could not be read."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ecrsweep.app.request import unread
from ecrsweep.core.document import Scope
from ecrsweep.core.errors import AwsFailure
from ecrsweep.core.names import Registry
from ecrsweep.core.policy import matches_any
from ecrsweep.core.uses import Coverage
from ecrsweep.ports import ImageStore, World

R = TypeVar("R")
Listed = Callable[[ImageStore, Sequence[str]], None]
"""Hears the names of all repositories of a registry."""


class Reading:
    """One walk over all that is in scope: iterate, then ask what could not be read."""

    def __init__(self, world: World, scope: Scope, tell: Listed | None = None) -> None:
        """Nothing is read yet. `tell` hears of each registry that could be listed."""
        self.failures: list[Coverage] = []
        self.unread_registries: list[Registry] = []
        self._world, self._scope, self._tell = world, scope, tell
        self._matched: set[str] = set()

    def each(self, look: Callable[[ImageStore, str], R]) -> Iterator[R]:
        """What `look` finds in each repository, registry by registry, by name; several are looked at side by side.

        Most registries of many accounts are small or empty: whichever repositories come next, of one registry or of many.
        """
        return self._world.each(lambda found: look(*found), self._repositories())

    def _repositories(self) -> Iterator[tuple[ImageStore, str]]:
        registries, patterns = self._scope.registries, self._scope.repositories
        for registry, listed in zip(registries, self._world.each(self._listed, registries), strict=True):
            if isinstance(listed, AwsFailure):
                self.failures.append(unread(registry, listed))
                self.unread_registries.append(registry)
                continue
            store, names = listed
            self._matched |= {pattern for pattern in patterns if any(matches_any((pattern,), name) for name in names)}
            if self._tell is not None:
                self._tell(store, names)
            yield from ((store, name) for name in names if matches_any(patterns, name))

    def _listed(self, registry: Registry) -> tuple[ImageStore, Sequence[str]] | AwsFailure:
        store = self._world.image_store(registry)
        try:
            return store, store.repository_names()
        except AwsFailure as failure:
            return failure

    def unmatched_repositories(self) -> list[str]:
        """The patterns of the scope that matched no repository so far."""
        return [pattern for pattern in self._scope.repositories if pattern not in self._matched]
