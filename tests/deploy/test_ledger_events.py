"""The template of the function that writes events into the ledger."""

import re
import sys
from pathlib import Path

import pytest

from ecrsweep.serverless import events
from tests.support import ROOT, Cli

TEMPLATE = ROOT / "deploy" / "sam" / "ledger-events.yaml"


def test_it_names_the_handler_and_grants_what_that_calls_and_no_more() -> None:
    text = TEMPLATE.read_text()
    assert f"Handler: {events.__name__}.{events.handler.__name__}" in text
    granted = re.findall(r"Action: ((?:s3|ecr):\w+)", text)
    assert sorted(granted) == sorted(events.ACTIONS)
    assert f"{events.STATE_VARIABLE}:" in text


def test_cfn_lint_finds_nothing(cli: Cli) -> None:
    pytest.importorskip("cfnlint", reason="cfn-lint comes with moto; it is asked where it is installed")
    ended = cli.run([str(Path(sys.executable).parent / "cfn-lint"), str(TEMPLATE)], None, {})
    assert (ended.status, ended.out) == (0, "")
