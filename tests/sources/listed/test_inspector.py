"""Inspector as a second opinion: it protects where it is on, and says that it has no opinion where it is not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ecrsweep.core.errors import BadInput
from ecrsweep.core.uses import CoverageStatus
from ecrsweep.emulator import Emulator
from tests.sources.listed.conftest import Ask
from tests.sources.listed.worlds import Script, switch_inspector
from tests.support import ACCOUNT, Cli


@pytest.mark.parametrize("status", ["DISABLED", "SUSPENDED"])
def test_where_it_is_off_it_is_complete_with_no_uses_and_a_note(aws: Emulator, ask: Ask, status: str) -> None:
    switch_inspector(aws, status)
    told = ask("inspector")
    assert (told.entry.status, told.uses) == (CoverageStatus.COMPLETE, ())
    assert told.entry.notes == ("Inspector does not scan ECR here, so it has no opinion",)
    assert aws.calls.count("inspector2", "ListCoverage") == 0


def test_an_account_that_it_says_nothing_of_is_a_gap(aws: Emulator, ask: Ask) -> None:
    script = Script(aws, "inspector2")
    failed = {"accountId": ACCOUNT, "errorCode": "ACCESS_DENIED", "errorMessage": "no"}
    answers: list[dict[str, Any]] = [{"accounts": [], "failedAccounts": [failed]}, {"accounts": []}]
    for answer in answers:
        script.answers("BatchGetAccountStatus", lambda _, told=answer: told)  # type: ignore[misc]
        assert ask("inspector").entry.status is CoverageStatus.FAILED


def test_an_image_that_is_not_named_as_one_is_a_gap(aws: Emulator, ask: Ask) -> None:
    switch_inspector(aws, "ENABLED")
    odd = {"resourceId": "arn:aws:ecr:us-east-1:123456789012:repository/team/app", "resourceMetadata": {"ecrImage": {}}}
    Script(aws, "inspector2").answers("ListCoverage", lambda _: {"coveredResources": [odd]})
    told = ask("inspector")
    assert told.entry.status is CoverageStatus.FAILED
    assert "named an image" in str(told.entry.error)


def test_the_days_are_an_option(aws: Emulator, ask: Ask) -> None:
    switch_inspector(aws, "ENABLED")
    ask("inspector", "inspector.days=7")
    asked = [call.parameters["filterCriteria"] for call in aws.calls.log if call.operation == "ListCoverage"]
    assert asked[0]["ecrImageInUseCount"] == [{"lowerInclusive": 1}]
    since = datetime.fromtimestamp(asked[1]["ecrImageLastInUseAt"][0]["startInclusive"], UTC)
    assert abs(datetime.now(UTC) - timedelta(days=7) - since) < timedelta(minutes=5)


@pytest.mark.parametrize("option", ["inspector.days=0", "inspector.days=x", "inspector.days=1.5", "inspector.weeks=1"])
def test_options_that_make_no_sense_are_refused(ask: Ask, option: str) -> None:
    with pytest.raises(BadInput, match="inspector"):
        ask("inspector", option)


def test_it_is_asked_only_when_it_is_named(aws: Emulator, cli: Cli) -> None:
    found = cli("uses", "--output", "json")
    assert "inspector" not in {entry["source"] for entry in found.json["coverage"]}
    assert aws.calls.count("inspector2") == 0
