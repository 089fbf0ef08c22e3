"""The template of the function that brings archived images back when somebody pulls them."""

import re
import sys
from pathlib import Path

import pytest

from ecrsweep.serverless import events, missed
from ecrsweep.serverless.settings import BUCKET_VARIABLE
from tests.support import ROOT, Cli

TEMPLATE = ROOT / "deploy" / "sam" / "missed-pulls.yaml"


def test_it_names_the_handler_and_grants_what_that_calls_and_no_more() -> None:
    text = TEMPLATE.read_text()
    assert f"Handler: {missed.__name__}.{missed.handler.__name__}" in text
    granted = re.findall(r"(?:Action:|-) ((?:s3|ecr|sns):\w+)", text)
    assert sorted(granted) == sorted(missed.ACTIONS)
    for variable in (events.STATE_VARIABLE, BUCKET_VARIABLE, missed.TOPIC_VARIABLE):
        assert f"{variable}:" in text


def test_its_rule_sees_calls_that_only_read_whether_they_failed_or_not() -> None:
    text = TEMPLATE.read_text()
    assert "State: ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" in text
    assert "errorCode" not in text


@pytest.mark.parametrize("template", sorted(TEMPLATE.parent.glob("*.yaml")), ids=lambda path: path.name)
def test_every_function_has_the_runtime_that_the_package_is_made_for(template: Path) -> None:
    python = re.search(r'^PYTHON: Final = "(.+)"$', (ROOT / "deploy" / "package.py").read_text(), re.MULTILINE)
    assert python is not None
    assert set(re.findall(r"Runtime: (\S+)", template.read_text())) == {f"python{python[1]}"}


def test_cfn_lint_finds_nothing(cli: Cli) -> None:
    pytest.importorskip("cfnlint", reason="cfn-lint comes with moto; it is asked where it is installed")
    ended = cli.run([str(Path(sys.executable).parent / "cfn-lint"), str(TEMPLATE)], None, {})
    assert (ended.status, ended.out) == (0, "")
