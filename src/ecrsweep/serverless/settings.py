"""What an invocation is asked to do: the event, over the environment of the function, over its configuration, over the defaults.

A configuration is named by `ECRSWEEP_CONFIG`: a path in the package, or s3://BUCKET/KEY. Every other member of `config.Settings` can stand in an event under its name (`{"command": "plan", "keep_newest": 20}`)
and in the environment as `ECRSWEEP_KEEP_NEWEST`, lists with commas between. A regular expression may have commas of its
own, so there only one can stand in a text.
"""

import difflib
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from ecrsweep.config import OF_A_FILE, OF_ONE_POLICY, Configuration, Settings
from ecrsweep.core.errors import BadInput
from ecrsweep.wiring.given import CONFIG_VARIABLE

PREFIX: Final = "ECRSWEEP_"
BUCKET_VARIABLE: Final = "ECRSWEEP_BUCKET"
_LISTS: Final = frozenset(
    {
        "regions", "consumer_regions", "uses_files", "skip_sources", "with_sources", "source_options", "accept_gaps",
        "accept_drops", "repositories", "keep_tags", "hold_files", "accounts",
    }
)  # fmt: skip
_WHOLE: Final = frozenset({"keep_tag_regexes"})
# What an event must not say: whoever may invoke the function could else run commands with its role, or have files read.
_OF_A_MACHINE: Final = frozenset({"profile", "endpoint_url", "uses_commands", "prices"})
_KNOWN: Final = frozenset(Settings.__struct_fields__) - _OF_A_MACHINE - OF_A_FILE
_KNOWN_TO_EVENTS: Final = _KNOWN - {"hold_files", "role_name", "external_id"}
_BESIDE_A_PLAN: Final = frozenset({"command", "plan", "accept_gaps", "accept_drops", "override_limits", "state"})
_OTHER_VARIABLES: Final = frozenset({BUCKET_VARIABLE, CONFIG_VARIABLE, "ECRSWEEP_CACHE_DIR", "ECRSWEEP_STATE_DIR"})
_PROTECTS_NOTHING: Final = ("^$",)
"""A regular expression that the template writes where nobody says one: no tag is empty."""
_NARROWING: Final = (
    "repositories",
    "keep_tags",
    "keep_tag_regexes",
    "pushed_within",
    "pulled_within",
    "max_fraction",
    "max_images",
    "max_bytes",
    "max_images_per_registry",
    "max_bytes_per_registry",
)
"""What can only keep more."""
_LIKENESS: Final = 0.75


class Asked(msgspec.Struct, frozen=True):
    """One invocation. `plan` is the s3:// address of a saved plan that shall be applied; `bucket` where reports go.

    `config` is where a configuration lies, that is still to be read; `given` is what event and environment say over it.
    """

    command: Literal["plan", "apply"]
    settings: Settings
    plan: str | None = None
    bucket: str | None = None
    config: str | None = None
    given: Mapping[str, Any] = {}

    def over(self, configuration: Configuration) -> "Asked":
        """The same over what a configuration says. Raises `BadInput` for what a function cannot do, or both have rules for."""
        if "uses_commands" in configuration.settings:
            raise BadInput(f"{configuration.name} names uses_commands, and a function runs no commands")
        rules = sorted(name for name in OF_ONE_POLICY & self.given.keys() if not _is_default(name, self.settings))
        if configuration.policies is not None and rules:
            raise BadInput(
                f"{configuration.name} has policies, so {', '.join(rules)} of the event or the environment would not say for which"
            )
        return msgspec.structs.replace(self, settings=_converted({**configuration.settings, **self.given}))


def asked_of(event: Mapping[str, Any], environ: Mapping[str, str]) -> Asked:
    """What the event asks for. Raises `BadInput` that names the member: a word that is not known could be a rule misspelt."""
    strangers = sorted(set(event) - _KNOWN_TO_EVENTS - {"command", "plan"})
    if strangers:
        raise BadInput(
            f"The event has {', '.join(strangers)}: accepted are command, plan, {', '.join(sorted(_KNOWN_TO_EVENTS))}"
        )
    command = event["command"]
    if command not in ("plan", "apply"):  # it may be anything, also what no set can hold
        raise BadInput(f'The command of the event is "{command}": accepted are plan and apply')
    plan = event.get("plan")
    if not isinstance(plan, str | None):
        raise BadInput("The plan of the event is the address of an object: s3://BUCKET/KEY")
    if plan is not None and (command != "apply" or set(event) - _BESIDE_A_PLAN):
        raise BadInput("A saved plan is for the command apply, and has its own scope and rules")
    given = _of_environment(environ) | {name: event[name] for name in _KNOWN_TO_EVENTS & event.keys()}
    bucket, config = (environ.get(name) or None for name in (BUCKET_VARIABLE, CONFIG_VARIABLE))
    return Asked(command, _converted(given), plan, bucket, config, given)


def _is_default(name: str, settings: Settings) -> bool:
    """True where a setting says what holds anyway: the template writes out its defaults."""
    said = getattr(settings, name)
    return said == getattr(Settings(), name) or (name == "keep_tag_regexes" and said == _PROTECTS_NOTHING)


def check_without_command(event: Mapping[str, Any]) -> None:
    """Let pass whatever does not speak of ecrsweep, as the original did. Raises `BadInput` where a command was meant.

    Schedules and consoles send events of many kinds, and the original takes them all for "run".
    """
    ours = sorted(event.keys() & (_KNOWN | {"plan"}))
    ours += difflib.get_close_matches("command", [str(name).lower() for name in event], cutoff=_LIKENESS)
    if ours:
        raise BadInput(f'The event has {", ".join(ours)} and no command: accepted is {{"command": "plan"}} or "apply"')


def beside_the_original(environ: Mapping[str, str]) -> Settings:
    """What the variables of ecrsweep keep besides what the original's variables say; nothing where there are none."""
    if environ.get(CONFIG_VARIABLE):
        raise BadInput(
            f'{CONFIG_VARIABLE} is set, and an event without a command knows no configuration: send {{"command": "plan"}}'
        )
    given = {name: value for name, value in _of_environment(environ).items() if name in _NARROWING}
    return _converted({"pulled_within": "0d", "keep_latest": False, "max_fraction": None} | given)


def _of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set, by the names of the settings. A name that is not known could be a rule misspelt."""
    names = {PREFIX + name.upper(): name for name in _KNOWN}
    found = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value.strip()}
    strangers = sorted(found.keys() - names.keys() - _OTHER_VARIABLES)
    if strangers:
        raise BadInput(f"The environment has {', '.join(strangers)}: accepted are {', '.join(sorted(names))}")
    return {names[name]: value for name, value in found.items() if name in names}


def _converted(given: Mapping[str, Any]) -> Settings:
    try:
        return msgspec.convert({name: _listed(name, value) for name, value in given.items()}, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"The settings of the event or the environment: {error}") from error


def _listed(name: str, value: object) -> object:
    """A list in place of its text."""
    if isinstance(value, str) and name in _WHOLE:
        return [value]
    if isinstance(value, str) and name in _LISTS:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value
