"""What the owners of repositories say by tags of these: leave it alone, or you may."""

from collections.abc import Mapping

import msgspec

from ecrsweep.app.once import Once
from ecrsweep.app.request import OWNERS_SOURCE, Request, accepted, unread
from ecrsweep.core.errors import AwsFailure
from ecrsweep.core.holds import owners_keys
from ecrsweep.core.names import Registry
from ecrsweep.core.uses import Coverage
from ecrsweep.ports import World


class OwnersWord(msgspec.Struct, frozen=True):
    """The tags of the repositories of a registry that have some which count, and why they are not known, if so."""

    tags: Mapping[str, Mapping[str, str]] = {}
    gaps: tuple[Coverage, ...] = ()


class Owners:
    """What the owners of repositories say by tags: asked once a registry."""

    def __init__(self, world: World, request: Request) -> None:
        """Nothing is asked yet."""
        self._world = world
        self._request = request
        self._known = Once(self._ask)
        self.failures: list[Coverage] = []

    def of(self, registry: Registry) -> OwnersWord:
        """What is said in a registry. Where it cannot be read, that is a gap: any repository may be one to be left alone."""
        return self._known.of(registry)

    def _ask(self, registry: Registry) -> OwnersWord:
        store = self._world.image_store(registry)
        try:
            return OwnersWord(store.owners_tags(owners_keys(self._request.policies)))
        except AwsFailure as failure:
            gap = unread(registry, failure, OWNERS_SOURCE)
            self.failures.append(gap)
            return OwnersWord(gaps=() if accepted(gap, self._request.scope).accepted else (gap,))
