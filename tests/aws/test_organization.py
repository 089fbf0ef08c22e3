"""Accounts found by AWS Organizations: those of moto over HTTP, and answers in which something is wrong."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ecrsweep.aws.organization import Account, accounts_of
from ecrsweep.aws.session import AwsSession
from ecrsweep.core.errors import AwsFailure, Denied, Malformed, Missing
from ecrsweep.emulator import Emulator, Fault
from tests.support import ACCOUNT


@pytest.fixture
def session(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> AwsSession:
    """Of the account that the organisation is of, in a region that is not the main one."""
    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)
    return AwsSession(region="eu-west-1", environ=aws.environ())


class Organization:
    """An organisation in moto."""

    def __init__(self, aws: Emulator) -> None:
        self.client = aws.client("organizations")
        self.client.create_organization(FeatureSet="ALL")
        self.root = self.client.list_roots()["Roots"][0]["Id"]

    def unit(self, name: str, parent: str | None = None) -> str:
        made = self.client.create_organizational_unit(ParentId=parent or self.root, Name=name)
        return str(made["OrganizationalUnit"]["Id"])

    def account(self, name: str, unit: str | None = None, **tags: str) -> str:
        made = self.client.create_account(
            AccountName=name, Email=f"{name}@example.com", Tags=[{"Key": k, "Value": v} for k, v in tags.items()]
        )
        account = str(made["CreateAccountStatus"]["AccountId"])
        if unit:
            self.client.move_account(AccountId=account, SourceParentId=self.root, DestinationParentId=unit)
        return account


def ids(found: Sequence[Account]) -> list[str]:
    return [account.number for account in found]


def test_all_accounts_are_found_page_by_page_in_the_main_region(aws: Emulator, session: AwsSession) -> None:
    company = Organization(aws)
    made = [company.account(f"team-{number}") for number in range(104)]
    aws.calls.reset()
    found = accounts_of(session)
    assert ids(found) == sorted([ACCOUNT, *made])
    assert {member.state for member in found} == {"ACTIVE"}
    assert {member.name for member in found} >= {"team-0", "team-103"}
    assert aws.calls.count("organizations", "ListAccounts", region="us-east-1") == 2
    assert ids(accounts_of(session, besides=made[1:])) == sorted([ACCOUNT, made[0]])


def test_units_are_read_with_those_inside_them_and_tags_narrow_what_is_there(
    aws: Emulator, session: AwsSession
) -> None:
    company = Organization(aws)
    prod = company.unit("prod")
    inner = company.unit("inner", prod)
    deep = company.unit("deep", inner)
    company.account("outside", company.unit("dev"), team="a")
    one = company.account("one", prod, team="a", env="prod")
    two = company.account("two", inner, team="b", env="prod")
    three = company.account("three", deep, team="a", env="prod")
    many = [company.account(f"many-{number}", deep) for number in range(25)]
    assert ids(accounts_of(session, units=[prod], besides=many)) == sorted([one, two, three])
    assert ids(accounts_of(session, units=[deep, inner])) == sorted([two, three, *many])
    assert ids(accounts_of(session, units=[prod], tags={"team": "a", "env": "prod"})) == sorted([one, three])
    assert ids(accounts_of(session, tags={"team": "b"})) == [two]
    assert ids(accounts_of(session, units=[company.root], besides=many)) == ids(accounts_of(session, besides=many))
    assert accounts_of(session, units=[company.unit("empty")]) == ()


def test_a_unit_that_does_not_exist_is_an_error(aws: Emulator, session: AwsSession) -> None:
    Organization(aws)
    with pytest.raises(Missing, match="ListAccountsForParent"):
        accounts_of(session, units=["ou-abcd-12345678"])


def test_an_account_that_is_in_no_organisation_is_an_error(aws: Emulator, session: AwsSession) -> None:
    for units in ((), ("ou-abcd-12345678",)):
        with pytest.raises(AwsFailure, match="AWSOrganizationsNotInUseException"):
            accounts_of(session, units=units)


@pytest.mark.parametrize(
    "operation", ["ListAccounts", "ListAccountsForParent", "ListOrganizationalUnitsForParent", "ListTagsForResource"]
)
def test_what_cannot_be_read_to_its_end_is_an_error_and_no_shorter_list(
    aws: Emulator, session: AwsSession, operation: str
) -> None:
    company = Organization(aws)
    for number in range(3):
        company.account(f"a-{number}", team="a")
    aws.faults.add(Fault.denied("organizations", operation))
    units = () if operation == "ListAccounts" else (company.root,)
    with pytest.raises(Denied, match=f"organizations:{operation} was denied in us-east-1"):
        accounts_of(session, units=units, tags={"team": "a"})


ACTIVE = {"Id": "210987654321", "Name": "one", "State": "ACTIVE"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"Accounts": []}, "named no account at all"),
        ({}, "a page without Accounts"),
        ({"Accounts": [{"Name": "one", "State": "ACTIVE"}]}, "without Id"),
        ({"Accounts": [{"Id": "210987654321", "Name": "one"}]}, "without Status"),
        ({"Accounts": [ACTIVE], "NextToken": "again"}, "the same page twice"),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(
    aws: Emulator, session: AwsSession, answer: dict[str, Any], words: str
) -> None:
    aws.faults.add(Fault("garbage", "organizations", "ListAccounts", body=json.dumps(answer).encode()))
    with pytest.raises(Malformed, match=words):
        accounts_of(session)


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"State": "CLOSED", "Status": "SUSPENDED"}, "CLOSED"),
        ({"State": "PENDING_ACTIVATION"}, "PENDING_ACTIVATION"),
        ({"Status": "PENDING_CLOSURE"}, "PENDING_CLOSURE"),
    ],
)
def test_the_newer_word_for_the_state_of_an_account_counts_and_the_older_where_that_lacks(
    aws: Emulator, session: AwsSession, told: dict[str, str], state: str
) -> None:
    account = {"Id": "210987654321", "Name": "one"} | told
    aws.scripts.answer("organizations", "ListAccounts", {"Accounts": [account]})
    assert accounts_of(session) == (Account("210987654321", "one", state),)
