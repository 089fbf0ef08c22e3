"""Who uses images: one file a system, found by the entry point group `ecrsweep.sources`.

A third party adds a source by installing a package that registers one in the group.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final

from ecrsweep.core.errors import BadInput
from ecrsweep.ports import Source
from ecrsweep.sources.ecs import EcsSource

GROUP: Final = "ecrsweep.sources"


def installed_sources() -> tuple[Source, ...]:
    """Every source that is installed, by name.

    Those of this package are here even where its metadata is not (a zip that was put together by hand):
    without them nothing would seem to be in use. Raises `BadInput` for one that cannot be loaded,
    because not asking it would be a silent gap.
    """
    found: dict[str, Source] = {"ecs": EcsSource()}
    for point in entry_points(group=GROUP):
        if point.name not in found:
            found[point.name] = _loaded(point.name, point.value, point.load)
    return tuple(found[name] for name in sorted(found))


def _loaded(name: str, where: str, load: Callable[[], Callable[[], Source]]) -> Source:
    try:
        return load()()
    except Exception as error:
        raise BadInput(f"The source {name} ({where}) cannot be loaded: {error}. Mend or remove its package.") from error
