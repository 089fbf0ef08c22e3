"""Retention policies: which images of which repositories are kept for their own sake.

Durations are seconds. A policy is checked when it is made: nonsense never overflows into "everything".
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from ecrsweep.core.errors import BadInput
from ecrsweep.core.images import Image

DAY: Final = 86_400.0
HOUR: Final = 3_600.0
LONGEST_DURATION: Final = 36_500 * DAY
UNITS: Final = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": 60.0, "s": 1.0}
"""The units of durations, in seconds."""

_WILD: Final = re.compile(r"[*?[]")
_DURATION: Final = re.compile(r"([0-9]+)([smhdw])")
DURATIONS: Final = (
    "pushed_within", "pulled_within", "used_within", "untagged_for", "grace", "trial_for", "delete_after_archived",
)  # fmt: skip
"""The fields of a policy that are times."""


class Otherwise(StrEnum):
    """What becomes of an artifact that no criterion keeps."""

    DELETE = "delete"
    ARCHIVE = "archive"
    TRIAL = "trial"
    """Archived first; deleted when nothing has missed it for `trial_for`."""
    KEEP = "keep"


class Order(StrEnum):
    """What "newest" means."""

    PUSHED = "pushed"
    SEMVER = "semver"
    """By the highest version among its tags; artifacts without one come after, by push time."""


class NewestPer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    r"""A number of newest artifacts for each group of tags: those of which the named groups of `pattern` say the same.

    `pattern` is a regular expression that is searched for in tags: `^(?P<branch>main|release)-` keeps two lines,
    `^v?(?P<major>\d+)\.` one a major version.
    """

    pattern: str
    newest: int

    def __post_init__(self) -> None:
        """Refuse what can't be meant. Raises `BadInput`."""
        if self.newest < 0:
            raise BadInput(f"newest is {self.newest}: it cannot be negative")
        if not _regex(self.pattern).groupindex:
            raise BadInput(f'"{self.pattern}" has no named group: accepted is such as ^(?P<branch>main|release)-')

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its groups, in the order in which `group_of` tells them."""
        return tuple(_regex(self.pattern).groupindex)

    def group_of(self, tag: str) -> tuple[str | None, ...] | None:
        """What the named groups say of a tag; None where the pattern is not found in it."""
        found = _regex(self.pattern).search(tag)
        return None if found is None else tuple(found.groupdict().values())


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The retention rules of a set of repositories.

    `repositories` are globs over whole names. `protected_tags` are globs over whole tags,
    `protected_tag_regexes` are searched for in tags. `pulled_within`, `pushed_within` and `used_within`: None is off.
    `delete_after_archived`: seconds in the archive after which an archived artifact goes; None is never. `untag` are
    globs over whole tags that are taken off images that stay. `opt_in_tag` (`key` or `key=value`) is a tag that a
    repository must have to be governed.
    """

    name: str = "default"
    repositories: tuple[str, ...] = ("*",)
    newest: int = 100
    protected_tags: tuple[str, ...] = ("latest",)
    protected_tag_regexes: tuple[str, ...] = ()
    pushed_within: float | None = None
    pulled_within: float | None = 30 * DAY
    used_within: float | None = 30 * DAY
    untagged_for: float = 14 * DAY
    grace: float = DAY
    newest_per: tuple[NewestPer, ...] = ()
    order: Order = Order.PUSHED
    otherwise: Otherwise = Otherwise.DELETE
    trial_for: float = 30 * DAY
    delete_after_archived: float | None = None
    untag: tuple[str, ...] = ()
    opt_in_tag: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be meant. Raises `BadInput`."""
        if self.newest < 0:
            raise BadInput(f"keep-newest is {self.newest}: it cannot be negative")
        if self.otherwise is Otherwise.TRIAL and self.delete_after_archived is not None:
            raise BadInput("delete_after_archived has no place beside a trial: trial_for says when the artifact goes")
        for field in DURATIONS:
            value = getattr(self, field)
            if value is not None and not 0 <= value <= LONGEST_DURATION:
                raise BadInput(f"{field} is {value} seconds: accepted are 0 to 36500 days")
        for pattern in self.protected_tag_regexes:
            _regex(pattern)

    def governs(self, repository_name: str) -> bool:
        """True where one of the globs matches the whole name."""
        return any(_glob(pattern).match(repository_name) for pattern in self.repositories)

    @property
    def archives(self) -> bool:
        """Whether what nothing keeps moves into the archive, for good or on trial."""
        return self.otherwise is Otherwise.ARCHIVE or self.otherwise is Otherwise.TRIAL

    @property
    def archived_for(self) -> float | None:
        """Seconds in the archive after which an artifact goes; None is never."""
        return self.trial_for if self.otherwise is Otherwise.TRIAL else self.delete_after_archived

    def protecting(self, tag: str) -> str | None:
        """The first pattern that protects this tag."""
        for pattern, found in _finders(self.protected_tags, self.protected_tag_regexes):
            if found(tag):
                return pattern
        return None

    def protected(self, images: Iterable[Image]) -> set[str]:
        """The digests of those that carry a tag which a pattern protects."""
        finders = [found for _, found in _finders(self.protected_tags, self.protected_tag_regexes)]
        return {image.digest for image in images for tag in image.tags for found in finders if found(tag)}

    @property
    def horizon(self) -> float:
        """Seconds after which time alone speaks for nothing any more."""
        return max(self.grace, self.untagged_for, self.pulled_within or 0.0, self.pushed_within or 0.0)


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The brakes on a plan that is larger than its owner expects. None is off.

    `max_fraction` (0 to 1) holds a repository of more than `fraction_from` images alone; `max_images_per_registry` and
    `max_bytes_per_registry` hold a registry, `max_images` and `max_bytes` the whole run.
    """

    max_fraction: float | None = None
    fraction_from: int = 20
    max_images: int | None = None
    max_bytes: int | None = None
    max_images_per_registry: int | None = None
    max_bytes_per_registry: int | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be meant. Raises `BadInput`."""
        if self.max_fraction is not None and not 0 <= self.max_fraction <= 1:
            raise BadInput(f"max-fraction is {self.max_fraction}: accepted are 0 to 1")
        for field in ("max_images", "max_bytes", "max_images_per_registry", "max_bytes_per_registry"):
            if (getattr(self, field) or 0) < 0:
                raise BadInput(f"{field.replace('_', '-')} is {getattr(self, field)}: it cannot be negative")


def governing(policies: Iterable[Policy], repository_name: str) -> Policy | None:
    """The first policy whose globs match; None where no policy governs the repository."""
    return next((policy for policy in policies if policy.governs(repository_name)), None)


def matches_any(patterns: Iterable[str], name: str) -> bool:
    """True where one of the globs matches the whole name."""
    return any(_glob(pattern).match(name) for pattern in patterns)


def parse_duration(text: str) -> float:
    """Seconds of `30d`, `12h`, `2w`, `90m`, `45s`. Raises `BadInput` for anything else, and for more than 36500 days."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise BadInput(f'"{text}" is not a duration: accepted are a whole number and a unit, such as 30d, 12h or 2w')
    if len(found[1]) > 12 or int(found[1]) * UNITS[found[2]] > LONGEST_DURATION:  # noqa: PLR2004 - no such number fits
        raise BadInput(f'"{text}" is longer than the longest duration accepted, 36500d')
    return int(found[1]) * UNITS[found[2]]


def format_duration(seconds: float) -> str:
    """The shortest form that `parse_duration` reads back to the same number of whole seconds."""
    for unit, length in UNITS.items():
        if unit != "w" and seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


@lru_cache(maxsize=64)
def _finders(globs: tuple[str, ...], regexes: tuple[str, ...]) -> tuple[tuple[str, Callable[[str], object]], ...]:
    """Patterns with what finds them in a tag. A glob without a wildcard is a tag itself."""
    return (
        *((pattern, _glob(pattern).match if _WILD.search(pattern) else pattern.__eq__) for pattern in globs),
        *((pattern, _regex(pattern).search) for pattern in regexes),
    )


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise BadInput(f'"{pattern}" is not a regular expression: {error}') from error
