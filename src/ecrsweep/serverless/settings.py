"""What an invocation is asked to do: the event, over the environment of the function, over the defaults.

Every member of `config.Settings` can stand in an event under its name (`{"command": "plan", "keep_newest": 20}`)
and in the environment as `ECRSWEEP_KEEP_NEWEST`, lists with commas between.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from ecrsweep.config import Settings
from ecrsweep.core.errors import BadInput

PREFIX: Final = "ECRSWEEP_"
BUCKET_VARIABLE: Final = "ECRSWEEP_BUCKET"
_LISTS: Final = frozenset(
    {
        "regions", "consumer_regions", "uses_files", "skip_sources", "with_sources", "source_options", "accept_gaps", "accept_drops", "repositories", "keep_tags",
        "keep_tag_regexes",
    }
)  # fmt: skip
_OF_A_MACHINE: Final = frozenset({"profile", "endpoint_url"})


class Asked(msgspec.Struct, frozen=True):
    """One invocation. `plan` is the s3:// address of a saved plan that shall be applied; `bucket` where reports go."""

    command: Literal["plan", "apply"]
    settings: Settings
    plan: str | None = None
    bucket: str | None = None


def asked_of(event: Mapping[str, Any], environ: Mapping[str, str]) -> Asked:
    """What the event asks for. Raises `BadInput` that names the member: a word that is not known could be a rule misspelt."""
    known = set(Settings.__struct_fields__) - _OF_A_MACHINE
    strangers = sorted(set(event) - known - {"command", "plan"})
    if strangers:
        raise BadInput(f"The event has {', '.join(strangers)}: accepted are command, plan, {', '.join(sorted(known))}")
    command = event["command"]
    if command not in {"plan", "apply"}:
        raise BadInput(f'The command of the event is "{command}": accepted are plan and apply')
    plan = event.get("plan")
    if plan is not None and (
        command != "apply"
        or set(event) - {"command", "plan", "accept_gaps", "accept_drops", "override_limits", "state"}
    ):
        raise BadInput("A saved plan is for the command apply, and has its own scope and rules")
    given = _of_environment(environ, known) | {name: event[name] for name in known & event.keys()}
    return Asked(command, _converted(given), plan, environ.get(BUCKET_VARIABLE) or None)


def _of_environment(environ: Mapping[str, str], known: set[str]) -> dict[str, Any]:
    return {name: environ[PREFIX + name.upper()] for name in known if environ.get(PREFIX + name.upper(), "").strip()}


def _converted(given: Mapping[str, Any]) -> Settings:
    values = {
        name: [part.strip() for part in value.split(",") if part.strip()]
        if name in _LISTS and isinstance(value, str)
        else value
        for name, value in given.items()
    }
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"The settings of the event or the environment: {error}") from error
