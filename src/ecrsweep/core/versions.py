"""Tags as versions, where they are some: what "newest" means to a policy that orders by version.

Rests on Semantic Versioning 2.0.0, read as tags are written: a leading `v` is allowed, the patch may be left out, and `_`
stands for the `+` that no tag may have. https://semver.org/
"""

import re
from collections.abc import Iterable
from typing import Final

_VERSION: Final = re.compile(
    r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:_[0-9A-Za-z.-]+)?"
)

Version = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]
"""Sorts as versions do: a pre-release before its release."""

LOWEST: Final[Version] = (-1, 0, 0, False, ())
"""Before every version: that of what has none."""


def version_of(tag: str) -> Version | None:
    """The version that a tag names; None where it names none."""
    found = _VERSION.fullmatch(tag)
    if found is None:
        return None
    major, minor, patch, before = found.groups()
    return (int(major), int(minor), int(patch or 0), before is None, _identifiers(before or ""))


def highest_version(tags: Iterable[str]) -> Version:
    """The highest version among tags; `LOWEST` where none names one."""
    return max((version for tag in tags if (version := version_of(tag)) is not None), default=LOWEST)


def _identifiers(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Numbers sort as numbers, and before words; what has more of the same comes later."""
    return tuple((False, int(part), "") if part.isdigit() else (True, 0, part) for part in text.split(".") if part)
