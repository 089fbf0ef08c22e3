"""All that a user can say about a run, and what the core understands by it: policies, limits and scope.

Whatever cannot be meant is refused here, in words that name what was found and what is accepted.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from ecrsweep.config.accounts import Listed
from ecrsweep.core.errors import BadInput
from ecrsweep.core.names import Registry
from ecrsweep.core.policy import Limits, Otherwise, Policy, parse_duration
from ecrsweep.core.times import parse_rfc3339

_S3: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/].*)?/?")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_GAP: Final = re.compile(r"[a-z][a-z0-9_.-]*(:[A-Za-z0-9_.-]+)?(@\d{12})?(/[a-z0-9-]+)?")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a user can say about a run, as typed. The flags of the command line have the same names and defaults.

    What only a configuration file can say stands last. `policies` None: one policy, which the members before it make.
    """

    profile: str | None = None
    endpoint_url: str | None = None
    regions: tuple[str, ...] = ()
    consumer_regions: tuple[str, ...] = ()
    uses_files: tuple[str, ...] = ()
    uses_commands: tuple[str, ...] = ()
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
    otherwise: str = "delete"
    trial_for: str = "30d"
    delete_after_archived: str | None = None
    max_fraction: float | None = 0.5
    max_images: int | None = None
    max_bytes: int | None = None
    max_images_per_registry: int | None = None
    max_bytes_per_registry: int | None = None
    override_limits: bool = False
    state: str | None = None
    exact_size: bool = False
    prices: str | None = None
    hold_files: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    role_name: str | None = None
    external_id: str | None = None
    account: str | None = None
    registries: tuple[Listed, ...] | None = None
    consumers: tuple[Listed, ...] | None = None
    strict_consumers: bool = False
    fraction_from: int = 20
    aliases: dict[str, Registry] = {}
    policies: tuple[Policy, ...] | None = None


OF_A_FILE: Final = frozenset(
    {"account", "aliases", "consumers", "fraction_from", "policies", "registries", "strict_consumers"}
)
"""The members that only a configuration file can say."""

OF_ONE_POLICY: Final = frozenset(
    {
        "keep_newest", "keep_tags", "keep_tag_regexes", "keep_latest", "pushed_within", "pulled_within", "used_within",
        "otherwise", "trial_for", "delete_after_archived",
    }
)  # fmt: skip
"""The members that make a policy, where no file does."""


def policies_of(settings: Settings) -> tuple[Policy, ...]:
    """The policies that the settings mean, in the order in which they are tried. Raises `BadInput`."""
    return (policy_of(settings),) if settings.policies is None else settings.policies


def policy_of(settings: Settings) -> Policy:
    """The policy that the settings mean where no file has any. Raises `BadInput`."""
    protected = (("latest",) if settings.keep_latest else ()) + settings.keep_tags
    return Policy(
        newest=settings.keep_newest,
        protected_tags=protected,
        protected_tag_regexes=settings.keep_tag_regexes,
        pushed_within=_window("--pushed-within", settings.pushed_within),
        pulled_within=_window("--pulled-within", settings.pulled_within),
        used_within=_window("--used-within", settings.used_within),
        otherwise=_otherwise(settings.otherwise),
        trial_for=_window("--trial-for", settings.trial_for) or 0.0,
        delete_after_archived=_window("--delete-after-archived", settings.delete_after_archived),
    )


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings mean. Raises `BadInput`."""
    return Limits(
        max_fraction=settings.max_fraction,
        fraction_from=settings.fraction_from,
        max_images=settings.max_images,
        max_bytes=settings.max_bytes,
        max_images_per_registry=settings.max_images_per_registry,
        max_bytes_per_registry=settings.max_bytes_per_registry,
    )


def check_accepted_gaps(words: Sequence[str], flag: str = "--accept-gap") -> tuple[str, ...]:
    """The words of --accept-gap or --accept-drop, each of the form SOURCE[@ACCOUNT][/REGION]. Raises `BadInput`."""
    for word in words:
        if not _GAP.fullmatch(word):
            raise BadInput(f'{flag} "{word}": accepted is SOURCE[@ACCOUNT][/REGION], such as ecs/eu-west-1')
        if word.partition("@")[0].partition("/")[0] == "all" and "@" not in word:
            raise BadInput(f'{flag} "{word}": all sources can be accepted of one account alone: all@ACCOUNT')
    return tuple(words)


def moment_of(text: str, now: float, flag: str = "--policy-at") -> float:
    """Seconds since the epoch of a date (its beginning, in UTC), a time in RFC 3339, or a duration before `now`. Raises `BadInput`."""
    try:
        moment = _moment(text.strip(), now)
    except BadInput as error:
        raise BadInput(
            f'{flag} "{text}": accepted is a date such as 2026-01-31, a time such as 2026-01-31T12:00:00Z, or 30d for so long ago'
        ) from error
    if not 0 <= moment <= now:
        raise BadInput(f'{flag} "{text}": accepted is a moment of the past, since 1970')
    return moment


def _moment(text: str, now: float) -> float:
    if _DATE.fullmatch(text):
        return parse_rfc3339(f"{text}T00:00:00Z")
    return parse_rfc3339(text) if ":" in text else now - parse_duration(text)


def check_state(location: str | None, flag: str = "--state ") -> str | None:
    """Where the ledger shall be: an s3:// address as it is, a folder by its whole path. Raises `BadInput`."""
    if not location:
        return None
    if "://" not in location:
        return str(Path(location).expanduser().absolute())
    if not _S3.fullmatch(location):
        raise BadInput(f'{flag}"{location}": accepted is a folder, or s3://BUCKET/PREFIX')
    return location


def _otherwise(word: str) -> Otherwise:
    try:
        return Otherwise(word)
    except ValueError as error:
        raise BadInput(f'--otherwise "{word}": accepted are {", ".join(Otherwise)}') from error


def _window(flag: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text) or None
    except BadInput as error:
        raise BadInput(f"{flag}: {error}") from error
