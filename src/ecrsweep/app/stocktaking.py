"""The story of `ecrsweep init`: what the registries hold, looked at as a plan would look at it. Nothing is decided or changed."""

from collections.abc import Callable, Sequence

from ecrsweep.app.request import Progress, gaps_of, unread
from ecrsweep.core.errors import AwsFailure, Missing
from ecrsweep.core.names import Registry
from ecrsweep.core.stock import Stock, stock_of
from ecrsweep.core.uses import Coverage
from ecrsweep.ports import ImageStore, World


def take_stock(
    world: World, registries: Sequence[Registry], now: float, say: Progress
) -> tuple[list[Stock], list[Coverage]]:
    """What every repository of these registries holds, and what could not be read of it. `now` in seconds since the epoch."""
    stocks: list[Stock] = []
    failures: list[Coverage] = []
    for registry in registries:
        store = world.image_store(registry)
        try:
            names = store.repository_names()
        except AwsFailure as failure:
            failures.append(unread(registry, failure))
            continue
        say(f"{registry.region}: {len(names)} repositories")
        for found, gaps in world.each(_looking(store, now), names):
            stocks += [] if found is None else [found]
            failures += gaps
    return stocks, failures


def _looking(store: ImageStore, now: float) -> Callable[[str], tuple[Stock | None, list[Coverage]]]:
    def look(name: str) -> tuple[Stock | None, list[Coverage]]:
        try:
            inventory = store.inventory(name)
        except Missing:
            return None, []
        except AwsFailure as failure:
            return None, [unread(store.registry, failure, repository=name)]
        return stock_of(inventory, now), list(gaps_of(inventory))

    return look
