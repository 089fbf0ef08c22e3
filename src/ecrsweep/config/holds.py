"""Hold files: lists of images that their owners hold, who, why and until when. YAML or JSON; docs/formats.md.

What a hold means for an image is `core.holds`' business. A hold that cannot be read is an error, never no hold.
"""

import re
from typing import Any, Final

from msgspec import UNSET

from ecrsweep.config.grammar import ListOf, Member, Moment, Table, Text
from ecrsweep.config.nodes import BadFile, Told, read_nodes
from ecrsweep.core.errors import BadName
from ecrsweep.core.holds import Hold
from ecrsweep.core.names import Registry, parse_own_reference

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_ANYWHERE: Final = Registry("000000000000", "us-east-1")
_FORMS: Final = "REPOSITORY:TAG, REPOSITORY@sha256:..., REPOSITORY, sha256:..., and full names of these"


def _image(text: str) -> str:
    """The name as it is written. Raises `BadName` for one that means nothing in a private registry."""
    if _DIGEST.fullmatch(text):
        return text
    named = parse_own_reference(text, _ANYWHERE)
    if text.startswith("sha256:") or (named.digest is not None and not _DIGEST.fullmatch(named.digest)):
        raise BadName(f'"{text[:200]}": a digest is sha256: and 64 digits of 0-9 and a-f')
    return text


def _hold(said: dict[str, Any]) -> Hold:
    return Hold(**said)


HOLDS: Final = ListOf(
    Table(
        {
            "image": Member(
                Text(_FORMS, check=_image),
                f"What is held: {_FORMS}. A repository alone holds all that is in it.",
                required=True,
            ),
            "who": Member(Text("who holds it"), "Who holds it: a person or a team.", required=True),
            "why": Member(Text("why it is held"), "Why, for those who find it later.", required=True),
            "until": Member(Moment(), "A day, to its end in UTC, or a moment.", "for ever"),
        },
        _hold,
    )
)
"""A whole hold file."""


def read_holds(raw: bytes, name: str) -> tuple[Hold, ...]:
    """The holds of a file, those that have ended too. Raises `BadFile`, which tells every problem of the file."""
    told = Told()
    node = read_nodes(raw, told)
    holds = UNSET if node is None else HOLDS.read(node, told)
    if holds is UNSET or told.problems:
        raise BadFile(name, told.problems)
    return holds
