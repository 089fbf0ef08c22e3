"""Two hundred accounts in seventeen regions: a line each, and what is alike once, on a terminal of a hundred columns."""

import io

import pytest
from rich.console import Console

from ecrsweep.core.diagnosis import (
    Access,
    Account,
    Check,
    Diagnosis,
    Identity,
    Kept,
    Regions,
    Registry,
    Remedy,
    State,
    Way,
)
from ecrsweep.core.uses import Coverage, CoverageStatus
from ecrsweep.reports.doctor_accounts import show_accounts

NUMBERS = tuple(f"{100_000_000_000 + number}" for number in range(200))
REGIONS = tuple(f"eu-west-{number}" for number in range(17))
SOURCES = tuple(f"source-{number}" for number in range(20))
HELP = Remedy("Make the role ecrsweep", ("aws cloudformation deploy",))


def an_account(number: str, place: int) -> Account:
    """Every tenth lets nobody in; in every seventh a source is denied everywhere; in every fifth a region is closed."""
    if place % 10 == 1:
        shut = [Coverage(number, "all", source, CoverageStatus.FAILED, error="was denied") for source in SOURCES]
        way = Way("role", Access.REFUSED, f"the role of {number} cannot be assumed", remedies=(HELP,))
        return Account(number, f"team {place}", way, consumer=True, coverage=tuple(shut))
    entries = [
        Coverage(number, region, source, CoverageStatus.COMPLETE, 1) for region in REGIONS for source in SOURCES[1:]
    ]
    for region in REGIONS:
        denied = place % 7 == 2
        status = CoverageStatus.FAILED if denied else CoverageStatus.COMPLETE
        error = f"lambda:ListFunctions was denied in {region}" if denied else None
        action = "lambda:ListFunctions" if denied else None
        entries.append(Coverage(number, region, SOURCES[0], status, error=error, action=action))
    return Account(
        number, f"team {place}", Way("role", Access.ASKED), consumer=True, regions=Regions(REGIONS, ("af-south-1",)),
        registries=(Registry(number, REGIONS[0], 3, "app", (Check("ecr:DescribeRepositories", State.WORKS),)),),
        coverage=tuple(entries), unsimulated="denied",
    )  # fmt: skip


@pytest.fixture(scope="module")
def many() -> Diagnosis:
    accounts = tuple(an_account(number, place) for place, number in enumerate(NUMBERS))
    ledger = Coverage(NUMBERS[0], "all", "ledger", CoverageStatus.COMPLETE)
    return Diagnosis(
        Identity(NUMBERS[0], "arn", "arn", "env"), several=True, accounts=accounts,
        coverage=tuple(entry for account in accounts for entry in account.coverage), off_by_default=(), missing=(),
        manifest_cache=Kept("/cache", "empty"), ledger=Kept("/ledger", "empty"), ledger_coverage=ledger,
    )  # fmt: skip


def shown(found: Diagnosis, *, verbose: bool = False) -> list[str]:
    text = io.StringIO()
    show_accounts(Console(file=text, width=100, soft_wrap=True, markup=False, highlight=False), found, verbose=verbose)
    return text.getvalue().splitlines()


def test_each_account_has_one_line_and_what_is_alike_is_told_once(many: Diagnosis) -> None:
    lines = shown(many)
    rows = [line for line in lines if line[:12] in NUMBERS]
    assert [row[:12] for row in rows] == list(NUMBERS)
    assert all(len(line.rstrip()) <= 100 and "\N{HORIZONTAL ELLIPSIS}" not in line for line in rows)
    assert rows[0].split() == [
        "100000000000",
        "asked",
        "1",
        "of",
        "1",
        "17",
        "of",
        "17",
        "340",
        "of",
        "340",
        "323",
        "0",
        "team",
        "0",
    ]
    assert len(lines) - len(rows) < 30
    (shut,) = (line for line in lines if line.startswith("Not asked:"))
    assert shut.endswith("20 accounts: 100000000001, 100000000011, 100000000021 and 17 more")
    assert lines.count("        aws cloudformation deploy") == 1
    (gap,) = (line for line in lines if line.startswith("GAP:"))
    assert "denied lambda:ListFunctions: 100000000002/17 regions" in gap


def test_verbose_leaves_nothing_out(many: Diagnosis) -> None:
    text = "\n".join(shown(many, verbose=True))
    assert "more" not in text
    for account in many.accounts:
        assert (account.way.error or f"Account {account.account} as") in text
