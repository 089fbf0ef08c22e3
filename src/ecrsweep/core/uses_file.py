"""The uses file: what one run saw in use, for another run to read, and the plainer lists that people write by hand.

The format is public: docs/formats.md. Reading one trusts nothing in it and skips nothing: what is not understood is an
error, because a name left out is an image that seems unused. Errors never quote a line, which may be a secret of
another file that was named by mistake.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from ecrsweep.core.errors import BadInput
from ecrsweep.core.names import UnreadableReference, parse_reference
from ecrsweep.core.times import parse_rfc3339, rfc3339
from ecrsweep.core.uses import Coverage, CoverageStatus, Use

USES_FORMAT: Final = "ecrsweep.uses/1"
LARGEST: Final = 256 * 1024 * 1024
"""No list of uses is larger: what is, is something else."""

_COMMENT: Final = re.compile(r"(^|\s)#.*")
_NOTHING: Final = frozenset({"null", "None", "true", "false"})
"""What programs print where they have no name; as names of images they would be public ones."""


class UsesFile(msgspec.Struct, frozen=True):
    """What a file says. `gaps` are what its run could not read, `skipped` what it was told not to; `created_at` in seconds."""

    uses: tuple[Use, ...]
    gaps: tuple[Coverage, ...] = ()
    skipped: tuple[Coverage, ...] = ()
    account: str = ""
    created_at: float | None = None


class _Document(msgspec.Struct):
    uses: list[Use]
    coverage: list[Coverage] = []
    account: str = ""
    created_at: str | None = None


def parse_uses(raw: bytes, name: str, source: str) -> UsesFile:
    """What stands in a uses file, a JSON array of image names, or a plain list of them, one a line.

    Names without a workload of their own are used by `name`, as `source` tells. Raises `BadInput`.
    """
    if len(raw) > LARGEST:
        raise BadInput(f"larger than {LARGEST // 1024**2} MiB")
    start = raw.lstrip()[:1]
    if start == b"[":
        names = _decoded(raw, list[str])
    elif start == b"{":
        return _document(raw)
    else:
        names = list(_lines(raw))
    return UsesFile(tuple(Use(image, workload=name, source=source) for image in names))


def uses_document(
    uses: Sequence[Use], coverage: Sequence[Coverage], foreign: int, *, account: str, created_at: float
) -> dict[str, Any]:
    """A uses file as JSON-able data: what a run saw, what it could not see, and how many uses of public images it counted."""
    return {
        "format": USES_FORMAT,
        "account": account,
        "created_at": rfc3339(created_at),
        "uses": [_without_defaults(use) for use in uses],
        "coverage": [msgspec.to_builtins(entry) for entry in coverage],
        "foreign_uses": foreign,
    }


def _document(raw: bytes) -> UsesFile:
    said = _decoded(raw, dict[str, msgspec.Raw]).get("format", msgspec.Raw(b"null"))
    if _decoded(bytes(said), Any) != USES_FORMAT:
        raise BadInput(f'neither a list of image names nor of the format "{USES_FORMAT}"')
    found = _decoded(raw, _Document)
    return UsesFile(
        uses=tuple(found.uses),
        # Whoever made the file may have accepted a gap, and lacked a permission; whoever reads it has not.
        gaps=tuple(
            msgspec.structs.replace(
                entry, status=CoverageStatus.FAILED, error=entry.trouble, drop=None, accepted=False, action=None
            )
            for entry in found.coverage
            if entry.trouble is not None
        ),
        skipped=tuple(entry for entry in found.coverage if entry.status is CoverageStatus.SKIPPED),
        account=found.account,
        created_at=None if found.created_at is None else parse_rfc3339(found.created_at),
    )


def _decoded(raw: bytes, kind: Any) -> Any:  # noqa: ANN401 - whatever type is asked for
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise BadInput(f"not understood: {error}") from error


def _lines(raw: bytes) -> Iterator[str]:
    """The names of a plain list: blank lines and comments behind a # are left out, and nothing else."""
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput("neither JSON nor text in UTF-8") from error
    found = 0
    for number, line in enumerate(lines, 1):
        name = _COMMENT.sub("", line).strip()
        if not name:
            continue
        if name in _NOTHING or isinstance(parse_reference(name), UnreadableReference):
            raise BadInput(f"line {number} is not the name of an image")
        if name.lower().startswith("sha256:"):
            raise BadInput(f"line {number} is a digest without a repository: it does not say which image is meant")
        found += 1
        yield name
    if not found:
        raise BadInput("it names no image; a list of none is written []")


def _without_defaults(use: Use) -> dict[str, Any]:
    """A use without the fields that say nothing; those of the contract always stand."""
    fields = msgspec.to_builtins(use)
    return {
        key: value
        for key, value in fields.items()
        if value not in (None, "", False) or key in {"image", "workload", "source"}
    }
