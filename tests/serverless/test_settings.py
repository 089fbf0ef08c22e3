"""What an invocation is asked: from the event, over the environment, over the defaults; nothing misspelt gets by."""

import pytest

from ecrsweep.config import Configuration, Settings
from ecrsweep.core.errors import BadInput
from ecrsweep.core.policy import Policy
from ecrsweep.serverless.settings import asked_of, beside_the_original, check_without_command


def test_the_event_comes_before_the_environment() -> None:
    environ = {"ECRSWEEP_KEEP_NEWEST": "20", "ECRSWEEP_KEEP_TAGS": "a, b,", "ECRSWEEP_BUCKET": "reports"}
    asked = asked_of({"command": "plan", "keep_newest": 5}, environ)
    assert asked.settings == Settings(keep_newest=5, keep_tags=("a", "b"))
    assert asked.bucket == "reports"


def test_a_comma_in_a_regular_expression_is_part_of_it() -> None:
    asked = asked_of({"command": "plan"}, {"ECRSWEEP_KEEP_TAG_REGEXES": r"^v\d{1,3}$"})
    assert asked.settings.keep_tag_regexes == (r"^v\d{1,3}$",)
    asked = asked_of({"command": "plan", "keep_tag_regexes": ["a,b", "c"]}, {})
    assert asked.settings.keep_tag_regexes == ("a,b", "c")


@pytest.mark.parametrize("name", ["ECRSWEEP_KEEP_NEWST", "ECRSWEEP_MAX_FRACTON", "ECRSWEEP_PROFILE"])
def test_a_variable_that_is_not_known_could_be_a_rule_misspelt(name: str) -> None:
    with pytest.raises(BadInput, match=name):
        asked_of({"command": "plan"}, {name: "1"})
    with pytest.raises(BadInput, match=name):
        beside_the_original({name: "1"})


def test_empty_variables_are_not_set() -> None:
    assert asked_of({"command": "plan"}, {"ECRSWEEP_MAX_IMAGES": " ", "ECRSWEEP_NOTHING": ""}).settings == Settings()


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"None": "None"},
        {"key1": "value1", "key2": "value2"},
        {"version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events", "region": "us-east-1"},
    ],
)
def test_events_of_schedules_and_consoles_pass_without_a_command(event: dict[str, str]) -> None:
    check_without_command(event)


def test_beside_the_original_only_what_keeps_more_counts() -> None:
    environ = {
        "ECRSWEEP_KEEP_NEWEST": "1", "ECRSWEEP_REGIONS": "eu-west-1", "ECRSWEEP_SKIP_SOURCES": "ecs",
        "ECRSWEEP_ACCEPT_GAPS": "ecs", "ECRSWEEP_REPOSITORIES": "team/*", "ECRSWEEP_MAX_IMAGES": "3",
    }  # fmt: skip
    beside = Settings(repositories=("team/*",), max_images=3, pulled_within="0d", keep_latest=False)
    assert beside_the_original(environ) == beside


def test_event_and_environment_come_before_the_configuration() -> None:
    written = Configuration(
        "c.yaml", {"max_images": 3, "max_bytes": 9, "skip_sources": ("ecs",), "policies": (Policy(newest=7),)}
    )
    environ = {"ECRSWEEP_CONFIG": "c.yaml", "ECRSWEEP_MAX_IMAGES": "5", "ECRSWEEP_KEEP_NEWEST": "100"}
    settings = asked_of({"command": "plan", "max_bytes": 1}, environ).over(written).settings
    assert (settings.max_images, settings.max_bytes, settings.skip_sources) == (5, 1, ("ecs",))
    assert settings.policies == (Policy(newest=7),)


def test_rules_of_the_environment_beside_policies_and_commands_in_a_function_are_refused() -> None:
    written = Configuration("c.yaml", {"policies": (Policy(newest=7),)})
    with pytest.raises(BadInput, match="keep_newest, pulled_within of the event or the environment"):
        asked_of({"command": "plan", "keep_newest": 3}, {"ECRSWEEP_PULLED_WITHIN": "0d"}).over(written)
    with pytest.raises(BadInput, match="a function runs no commands"):
        asked_of({"command": "plan"}, {}).over(Configuration("c.yaml", {"uses_commands": ("x",)}))


@pytest.mark.parametrize("name", ["policies", "aliases", "account", "fraction_from", "hold_files"])
def test_what_only_a_file_or_the_environment_can_say_no_event_can(name: str) -> None:
    with pytest.raises(BadInput, match=name):
        asked_of({"command": "plan", name: []}, {})


def test_an_event_without_a_command_knows_no_configuration_and_so_does_nothing() -> None:
    with pytest.raises(BadInput, match="knows no configuration"):
        beside_the_original({"ECRSWEEP_CONFIG": "c.yaml"})


def test_an_event_can_ask_for_the_true_bytes_and_have_no_file_read() -> None:
    assert asked_of({"command": "plan", "exact_size": True}, {}).settings.exact_size
    with pytest.raises(BadInput, match="The event has prices"):
        asked_of({"command": "plan", "exact_size": True, "prices": "/etc/passwd"}, {})
