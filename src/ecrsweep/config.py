"""What the user wrote, made into what the core understands: flags and files to policies, scope and uses.

Whatever cannot be meant is refused here, in words that name what was found and what is accepted.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ecrsweep.core.errors import BadInput
from ecrsweep.core.policy import Limits, Policy, parse_duration
from ecrsweep.core.uses import Coverage, CoverageStatus, Use

USES_FORMAT: Final = "ecrsweep.uses/1"
_S3: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/].*)?/?")
_GAP: Final = re.compile(r"(file:[^@/]+|[a-z][a-z0-9_.-]*)(@\d{12})?(/[a-z0-9-]+)?")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a user can say about a run, as typed. The flags of the command line have the same names and defaults."""

    profile: str | None = None
    endpoint_url: str | None = None
    regions: tuple[str, ...] = ()
    consumer_regions: tuple[str, ...] = ()
    uses_files: tuple[str, ...] = ()
    skip_sources: tuple[str, ...] = ()
    with_sources: tuple[str, ...] = ()
    source_options: tuple[str, ...] = ()
    accept_gaps: tuple[str, ...] = ()
    accept_drops: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    keep_newest: int = 100
    keep_tags: tuple[str, ...] = ()
    keep_tag_regexes: tuple[str, ...] = ()
    keep_latest: bool = True
    pushed_within: str | None = None
    pulled_within: str = "30d"
    used_within: str = "30d"
    max_fraction: float | None = None
    max_images: int | None = None
    max_bytes: int | None = None
    override_limits: bool = False
    state: str | None = None


def policy_of(settings: Settings) -> Policy:
    """The policy that the settings mean. Raises `BadInput`."""
    protected = (("latest",) if settings.keep_latest else ()) + settings.keep_tags
    return Policy(
        newest=settings.keep_newest,
        protected_tags=protected,
        protected_tag_regexes=settings.keep_tag_regexes,
        pushed_within=_window("--pushed-within", settings.pushed_within),
        pulled_within=_window("--pulled-within", settings.pulled_within),
        used_within=_window("--used-within", settings.used_within),
    )


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings mean. Raises `BadInput`."""
    return Limits(max_fraction=settings.max_fraction, max_images=settings.max_images, max_bytes=settings.max_bytes)


def check_accepted_gaps(words: Sequence[str], flag: str = "--accept-gap") -> tuple[str, ...]:
    """The words of --accept-gap or --accept-drop, each of the form SOURCE[@ACCOUNT][/REGION]. Raises `BadInput`."""
    for word in words:
        if not _GAP.fullmatch(word):
            raise BadInput(f'{flag} "{word}": accepted is SOURCE[@ACCOUNT][/REGION], such as ecs/eu-west-1')
    return tuple(words)


def check_state(location: str | None) -> str | None:
    """Where the ledger shall be: an s3:// address as it is, a folder by its whole path. Raises `BadInput`."""
    if not location:
        return None
    if "://" not in location:
        return str(Path(location).expanduser().absolute())
    if not _S3.fullmatch(location):
        raise BadInput(f'--state "{location}": accepted is a folder, or s3://BUCKET/PREFIX')
    return location


def read_uses_files(paths: Sequence[str], account: str) -> tuple[tuple[Use, ...], tuple[Coverage, ...]]:
    """The uses of all files, and one coverage entry a file. A file that cannot be read is a gap, not an error."""
    uses: list[Use] = []
    coverage: list[Coverage] = []
    for path in paths:
        source = f"file:{Path(path).name}"
        try:
            found, inner = parse_uses_file(Path(path).read_bytes(), path)
        except (OSError, BadInput) as error:
            coverage.append(Coverage(account, "all", source, CoverageStatus.FAILED, error=f"{path}: {error}"))
            continue
        uses += found
        images = len({(use.image, use.digest) for use in found})
        coverage.append(Coverage(account, "all", source, CoverageStatus.COMPLETE, len(found), images=images))
        coverage += inner
    return tuple(uses), tuple(coverage)


def parse_uses_file(raw: bytes, name: str) -> tuple[list[Use], list[Coverage]]:
    """The uses in a file of the format `ecrsweep.uses/1`, or a JSON array of image names, and the gaps it carries.

    Raises `BadInput`.
    """
    try:
        document = msgspec.json.decode(raw)
    except msgspec.MsgspecError as error:
        raise BadInput(f"not JSON: {error}") from error
    if isinstance(document, list):
        return [_bare(entry, name) for entry in document], []
    if not isinstance(document, dict) or document.get("format") != USES_FORMAT:
        raise BadInput(f'neither a JSON array of image names nor of the format "{USES_FORMAT}"')
    try:
        uses = msgspec.convert(document.get("uses"), list[Use])
        coverage = msgspec.convert(document.get("coverage", []), list[Coverage])
    except msgspec.ValidationError as error:
        raise BadInput(str(error)) from error
    return uses, [_gap_of(entry) for entry in coverage if entry.trouble is not None]


def uses_document(uses: Sequence[Use], coverage: Sequence[Coverage], foreign: int) -> dict[str, Any]:
    """A uses file as JSON-able data: what a run saw, what it could not see, and how many uses of public images it counted."""
    return {
        "format": USES_FORMAT,
        "uses": [_without_defaults(use) for use in uses],
        "coverage": [msgspec.to_builtins(entry) for entry in coverage],
        "foreign_uses": foreign,
    }


def _window(flag: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text) or None
    except BadInput as error:
        raise BadInput(f"{flag}: {error}") from error


def _gap_of(entry: Coverage) -> Coverage:
    """What was wrong in the run that wrote the file is a gap of the run that reads it."""
    return msgspec.structs.replace(entry, status=CoverageStatus.FAILED, error=entry.trouble, drop=None)


def _bare(entry: object, name: str) -> Use:
    if not isinstance(entry, str):
        raise BadInput(f"an array of image names holds {type(entry).__name__}")
    return Use(entry, workload=name, source="file")


def _without_defaults(use: Use) -> dict[str, Any]:
    """A use without the fields that say nothing; those of the contract always stand."""
    fields = msgspec.to_builtins(use)
    return {
        key: value
        for key, value in fields.items()
        if value not in (None, "", False) or key in {"image", "workload", "source"}
    }
