"""Who uses images: one file a system, found by the entry point group `ecrsweep.sources`.

A third party adds a source by installing a package that registers one in the group.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Final, Protocol, cast

from ecrsweep.core.errors import BadInput
from ecrsweep.ports import Source
from ecrsweep.sources.batch import BatchSource
from ecrsweep.sources.cloudtrail import CloudTrailSource
from ecrsweep.sources.command import CommandSource
from ecrsweep.sources.ecs import EcsSource
from ecrsweep.sources.eventbridge import EventBridgeSource
from ecrsweep.sources.file import FileSource
from ecrsweep.sources.pipes import PipesSource
from ecrsweep.sources.scheduler import SchedulerSource
from ecrsweep.sources.stepfunctions import StepFunctionsSource

GROUP: Final = "ecrsweep.sources"
OWN: Final[Mapping[str, Callable[[], Source]]] = {
    "batch": BatchSource,
    "cloudtrail": CloudTrailSource,
    "command": CommandSource,
    "ecs": EcsSource,
    "eventbridge": EventBridgeSource,
    "file": FileSource,
    "pipes": PipesSource,
    "scheduler": SchedulerSource,
    "stepfunctions": StepFunctionsSource,
}
"""Those of this package, by name: they are asked even where its metadata is not at hand (a zip put together by hand)."""

_NAMED_BY_FLAGS: Final = ("command", "file")
"""Those of which there is one for each command or file that is named, and none by itself."""


class Adjustable(Protocol):
    """A source that takes options (`--source-option NAME.KEY=VALUE`)."""

    def with_options(self, options: Mapping[str, str]) -> Source:
        """The same source with these options. Raises `BadInput` for a key or value that it does not know."""


def installed_sources() -> tuple[Source, ...]:
    """Every source that is installed, by name.

    Without those of this package nothing would seem to be in use. Raises `BadInput` for one that cannot be loaded,
    because not asking it would be a silent gap.
    """
    found: dict[str, Source] = {name: make() for name, make in OWN.items()}
    for point in entry_points(group=GROUP):
        if point.name not in found:
            found[point.name] = _loaded(point.name, point.value, point.load)
    return tuple(found[name] for name in sorted(found))


def is_own(source: Source) -> bool:
    """Whether a source is one of this package, however it came to be asked."""
    return type(source).__module__.startswith(f"{__name__}.")


def chosen_sources(with_sources: Sequence[str], options: Sequence[str]) -> tuple[Source, ...]:
    """The sources that are asked by default and those of `with_sources`, with their options ("NAME.KEY=VALUE").

    Raises `BadInput` for a name or option that does not exist.
    """
    installed = {source.name: source for source in installed_sources()}
    given = _options_by_source(options)
    for name in (*with_sources, *given):
        if name not in installed:
            raise BadInput(f"There is no source {name}. There are: {', '.join(installed)}")
    for name in set(with_sources) & set(_NAMED_BY_FLAGS):
        raise BadInput(f"The source {name} is asked with {installed[name].about.flag}, which says what to read")
    return tuple(
        _adjusted(source, given.get(name, {}))
        for name, source in installed.items()
        if name not in _NAMED_BY_FLAGS and (source.about.by_default or name in with_sources or name in given)
    )


def named_sources(
    files: Sequence[str], commands: Sequence[str], options: Sequence[str], *, allowed: Container[str]
) -> tuple[Source, ...]:
    """A source for each file and each command, with their options. A command that is not in `allowed` will not run.

    Raises `BadInput` for an option that does not exist, and for a command that is not made of words.
    """
    given = _options_by_source(options)
    file, command = FileSource(), CommandSource()
    if "file" in given:
        file = file.with_options(given["file"])
    if "command" in given:
        command = command.with_options(given["command"])
    return (
        *(file.of(path) for path in files),
        *(command.of(words, allowed=words in allowed) for words in commands),
    )


def _options_by_source(options: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for option in options:
        where, equals, value = option.partition("=")
        name, dot, key = where.partition(".")
        if not (equals and dot and name and key):
            raise BadInput(
                f'"{option}" is not an option of a source: accepted is NAME.KEY=VALUE, such as cloudtrail.days=30'
            )
        found.setdefault(name, {})[key] = value
    return found


def _adjusted(source: Source, options: Mapping[str, str]) -> Source:
    if not options:
        return source
    if not hasattr(source, "with_options"):
        raise BadInput(f"The source {source.name} has no options, and was given {', '.join(options)}")
    return cast("Adjustable", source).with_options(options)


def _loaded(name: str, where: str, load: Callable[[], Callable[[], Source]]) -> Source:
    try:
        return load()()
    except Exception as error:
        raise BadInput(f"The source {name} ({where}) cannot be loaded: {error}. Mend or remove its package.") from error
