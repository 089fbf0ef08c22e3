"""The JSON Schemas and the readers are made of one table: what one takes the other takes, and what documents show loads."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator

from ecrsweep.config import BadFile, read_configuration, read_holds
from ecrsweep.config.schema import SCHEMAS, schema_of
from ecrsweep.core.uses import Coverage, CoverageStatus, Pulls, Use
from ecrsweep.core.uses_file import uses_document
from tests.config.test_configuration import EVERYTHING, NAME, SOURCES, WRONG
from tests.support import ROOT

KNOWN = (*SOURCES, "ecs-daemons", "kubernetes", "lambda")
NOT_OF_A_SCHEMA = (
    "another policy is named", "the alias", "a tab", "a second document", "not YAML", "the file is empty", "stands twice",
    "nested deeper", "a key is a word", "no place beside a trial", "not a regular expression", "no named group",
    "is not accepted", "says by itself", "is not a host name", 'write "no"', "accepted is a folder", 'found "3.0"', "readers of YAML differ",
)  # fmt: skip
"""What only a reader can tell: a schema sees values, not texts, and not how values go together."""


class Yaml12(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """As editors read YAML: by the core schema of 1.2, where `off` and `no` are words."""


Yaml12.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in found if tag not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}
    ]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


def loaded(text: str) -> Any:
    return yaml.load(text, Yaml12)  # noqa: S506 - a safe loader


def complaints(what: str, document: object) -> list[str]:
    return [error.message for error in Draft202012Validator(schema_of(what, KNOWN)).iter_errors(document)]


def examples(language: str, *, first: str) -> list[tuple[Path, str]]:
    """The blocks of the documents in which `first` stands at the beginning of a line."""
    found = []
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        blocks = re.findall(rf"```{language}\n(.*?)```", file.read_text(), re.DOTALL)
        found += [(file, block) for block in blocks if re.search(rf"^{first}", block, re.MULTILINE)]
    return found


@pytest.mark.parametrize("what", SCHEMAS)
def test_the_schemas_are_schemas(what: str) -> None:
    Draft202012Validator.check_schema(schema_of(what, KNOWN))


def test_what_the_reader_takes_the_schema_takes() -> None:
    assert complaints("config", loaded(EVERYTHING)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [case for case in WRONG if not any(word in case[1] for word in NOT_OF_A_SCHEMA) and "<<" not in case[0]],
)
def test_what_the_reader_refuses_the_schema_refuses(text: str, said: str) -> None:
    assert complaints("config", loaded(text))


@pytest.mark.parametrize(
    ("duration", "is_taken"),
    [("36500d", True), ("36501d", False), ("5214w", True), ("5215w", False), ("876000h", True), ("876001h", False), ("0d", True),
     ("off", True), ("3153600000s", True), ("3153600001s", False), ("99999d", False), ("007d", True)],
)  # fmt: skip
def test_the_longest_duration_is_the_longest_of_the_schema_too(duration: str, is_taken: bool) -> None:
    text = f"policies: [{{pulled_within: {duration}}}]"
    assert (complaints("config", loaded(text)) == []) is is_taken
    try:
        read_configuration(text.encode(), NAME, SOURCES, str)
    except BadFile:
        assert not is_taken
    else:
        assert is_taken


def test_every_example_in_the_documents_loads_and_fits_the_schema() -> None:
    found = examples("yaml", first="(policies|registry|sources|limits|aliases):")
    assert {file.name for file, _ in found} >= {"README.md", "configuration.md"}
    for file, text in found:
        assert complaints("config", loaded(text)) == [], file
        assert read_configuration(text.encode(), str(file), KNOWN, str).warnings == ()


def test_every_example_of_a_hold_file_loads_and_fits_the_schema() -> None:
    found = examples("yaml", first="- image:")
    assert found
    for file, text in found:
        assert complaints("holds", loaded(text)) == [], file
        assert read_holds(text.encode(), str(file))


def test_an_unknown_key_and_a_hold_without_a_reason_are_refused_by_the_schemas() -> None:
    assert complaints("config", {"polices": []})
    assert complaints("config", {})
    assert complaints("holds", [{"image": "a:1", "who": "me"}])


def test_a_uses_file_fits_its_schema() -> None:
    use = {"image": "a/b:1", "workload": "w", "source": "hosts"}
    assert complaints("uses", ["a/b:1"]) == []
    assert complaints("uses", {"format": "ecrsweep.uses/1", "uses": [use]}) == []
    assert complaints("uses", {"format": "ecrsweep.uses/1", "uses": [{"image": 3}]})
    failed = Coverage("123456789012", "us-east-1", "ecs", CoverageStatus.FAILED, error="denied")
    pulled = Use("a/b:1", "w", "cloudtrail", pulls=Pulls(1, 1.0, 2.0))
    document = uses_document(
        [Use("a/b:1", "w", "hosts"), pulled], [failed], 3, account="123456789012", created_at=1.8e9
    )
    assert complaints("uses", msgspec.json.decode(msgspec.json.encode(document))) == []
