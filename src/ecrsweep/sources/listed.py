"""What a file and a command have in common: a text that lists uses, its age, and what its own run could not read.

The forms are those of docs/formats.md.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from ecrsweep.core.errors import BadInput
from ecrsweep.core.policy import format_duration
from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage, Note, Use
from ecrsweep.core.uses_file import UsesFile

_OLD: Final = 7 * 86400.0
_DAY: Final = 86400.0
_UNTYPABLE: Final = re.compile(r"[^A-Za-z0-9_.-]")


def told(
    file: UsesFile, what: str, now: float, *, modified: float | None, max_age: float | None
) -> Iterator[Use | Note | Coverage]:
    """Everything that a list says: its uses first, then what its own run could not read, then what is to be noted.

    `modified` is when it was written where it does not say so itself. Raises `BadInput` for one older than `max_age`.
    """
    yield from file.uses
    for gap in file.gaps:
        yield msgspec.structs.replace(gap, error=f"{gap.error} (in the run that made {what})")
    # What was left out by a flag; that a region does not offer something is no news.
    skipped = Counter((entry.source, entry.error) for entry in file.skipped if "--" in (entry.error or ""))
    for (source, why), regions in skipped.items():
        yield Note(
            f"the run that made {what} did not ask {source} in {regions} {'region' if regions == 1 else 'regions'}: {why}"
        )
    yield from _aged(file, what, now, modified, max_age)


def coverage_name(kind: str, name: str) -> str:
    """The name of one of these in coverage, such that it can be typed behind `--accept-gap`."""
    return f"{kind}:{_UNTYPABLE.sub('_', name) or '_'}"


def _aged(file: UsesFile, what: str, now: float, modified: float | None, max_age: float | None) -> Iterator[Note]:
    made = modified if file.created_at is None else file.created_at
    if made is None:
        return
    if made > now + _DAY:
        raise BadInput(f"{what} says that it was made at {rfc3339(made)}, which has not come yet: its age is not known")
    age = now - made
    if max_age is not None and age > max_age:
        raise BadInput(
            f"{what} was made at {rfc3339(made)}: older than {format_duration(max_age)}, the most that is accepted"
        )
    if age > _OLD:
        yield Note(f"{what} is {int(age // _DAY)} days old: what has been started since does not stand in it")
