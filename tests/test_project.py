"""What holds for the project as a whole: its rooms, its locks, its documents."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ecrsweep._version import __version__
from ecrsweep.aws.ecr import DELETE_ACTIONS, READ_ACTIONS
from ecrsweep.cli.commands import root
from ecrsweep.core.decisions import EXPLANATIONS
from ecrsweep.core.outcomes import Outcome
from ecrsweep.sources import OWN
from tests.support import ROOT, Cli

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_imports_run_one_way() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_no_lock_names_an_index_and_no_file_names_a_machine() -> None:
    for file in tracked():
        text = file.read_text(errors="replace")
        if file.parent.name == "requirements":
            assert "://" not in text, file
        assert not re.search(r"(?<![\w/])/(work|root)/[a-z.]", text), file


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "adr" / "0002-dependencies.md").read_text()
    project = PROJECT["project"]
    extras = [requirement for some in project["optional-dependencies"].values() for requirement in some]
    named = [*project["dependencies"], *extras, *PROJECT["dependency-groups"]["dev"]]
    for requirement in named:
        assert f"`{re.split(r'[><=[ ]', requirement)[0]}`" in reasons, requirement


def test_every_reason_code_and_outcome_stands_in_the_documentation() -> None:
    retention, formats = (ROOT / "docs" / "retention.md").read_text(), (ROOT / "docs" / "formats.md").read_text()
    for code, explanation in EXPLANATIONS.items():
        assert f"`{code.value}`" in retention
        assert explanation in retention
    for outcome in Outcome:
        assert f"`{outcome.value}`" in formats


def test_the_tables_made_of_the_code_are_up_to_date() -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "tables.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr + "mend with: make tables"


def test_every_source_of_this_package_is_an_entry_point_too() -> None:
    points = PROJECT["project"]["entry-points"]["ecrsweep.sources"]
    assert points == {name: f"{make.__module__}:{make.__qualname__}" for name, make in OWN.items()}


def test_what_reading_the_registry_needs_stands_in_the_documentation() -> None:
    sources = (ROOT / "docs" / "sources.md").read_text()
    for action in READ_ACTIONS + DELETE_ACTIONS:
        assert f"`{action}`" in sources


def test_the_readme_names_the_commands_there_are() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in root.commands:
        assert f"`ecrsweep {name}" in readme, name
    for name in re.findall(r"^\$ ecrsweep ([a-z]+)", readme, re.MULTILINE):
        assert name in root.commands, name


def test_the_output_in_the_readme_is_what_the_demo_prints(cli: Cli) -> None:
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"```text\n\$ ecrsweep plan [^\n]*\n(.*?)```", readme, re.DOTALL)
    assert shown is not None
    printed = [line.strip() for line in cli("demo").out.splitlines()]
    for line in shown[1].splitlines():
        assert line.strip() in printed, line


def test_the_version_is_told_at_once_in_the_words_of_click() -> None:
    def said(*words: str) -> tuple[str, str]:
        command = [sys.executable, "-X", "importtime", "-m", "ecrsweep", *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        return ended.stdout, ended.stderr

    quick, loaded = said("--version")
    by_click, loaded_by_click = said("--version", "plan")
    assert quick == by_click == f"ecrsweep, version {__version__}\n"
    assert "click" in loaded_by_click
    assert "click" not in loaded
