"""Who else may pull: examples of policies as people write them, and an oracle that decides requests as IAM does."""

import contextlib
import fnmatch
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.core.errors import PolicyUnreadable
from ecrsweep.core.names import Registry
from ecrsweep.core.sharing import Consumer, Kind, Replica, of_registry, of_repository, replicas, unlisted

A, B, C = "111111111111", "222222222222", "333333333333"
ORG = "o-abcdefghij"
PULL = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(principal: Any = "*", action: Any = PULL, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": principal, "Action": action} | more


def who(*statements: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(one.kind.value, one.name, one.account) for one in of_repository("team/app", policy(*statements))]


@pytest.mark.parametrize(
    ("principal", "told"),
    [
        ("*", [("anybody", "", None)]),
        ({"AWS": "*"}, [("anybody", "", None)]),
        ({"AWS": ["*"]}, [("anybody", "", None)]),
        ({"AWS": A}, [("account", A, A)]),
        ({"AWS": [A, f"arn:aws:iam::{B}:root"]}, [("account", A, A), ("account", B, B)]),
        ({"AWS": f"arn:aws-cn:iam::{A}:role/path/x"}, [("account", A, A)]),
        ({"AWS": f"arn:aws:sts::{A}:assumed-role/x/y"}, [("account", A, A)]),
        ({"AWS": "AROAEXAMPLEOFDELETED"}, [("other", "AROAEXAMPLEOFDELETED", None)]),
        ({"Service": "lambda.amazonaws.com"}, [("service", "lambda.amazonaws.com", None)]),
        ({"Federated": f"arn:aws:iam::{A}:saml-provider/x"}, [("other", f"arn:aws:iam::{A}:saml-provider/x", A)]),
        ({"Federated": "accounts.google.com"}, [("other", "accounts.google.com", None)]),
        (
            {"AWS": A, "Service": ["codebuild.amazonaws.com"]},
            [("account", A, A), ("service", "codebuild.amazonaws.com", None)],
        ),
    ],
)
def test_every_form_of_a_principal_is_understood(principal: Any, told: list[tuple[str, str, str | None]]) -> None:
    assert who(allow(principal)) == told


def test_all_but_some_is_anybody() -> None:
    assert who({"Effect": "Allow", "NotPrincipal": {"AWS": A}, "Action": "ecr:*"}) == [("anybody", "", None)]


@pytest.mark.parametrize(
    ("action", "pulls"),
    [
        ("*", True),
        ("ecr:*", True),
        ("ecr:BatchGetImage", True),
        ("ECR:batchgetimage", True),
        ("ecr:Batch*", True),
        ("ecr:?etDownloadUrl*", True),
        ("ecr:BatchImportUpstreamImage", True),
        (["ecr:DescribeImages", "ecr:GetDownloadUrlForLayer"], True),
        ("ecr:DescribeImages", False),
        (["ecr:PutImage", "ecr:ReplicateImage", "ecr:CreateRepository"], False),
        ("s3:*", False),
        ([], False),
    ],
)
def test_a_statement_counts_where_its_actions_include_a_pull(action: Any, pulls: bool) -> None:
    assert bool(who(allow(A, action) | {"Principal": {"AWS": A}})) == pulls


def test_all_actions_but_some_count_and_what_denies_is_left_aside() -> None:
    assert who({"Effect": "Allow", "Principal": "*", "NotAction": "ecr:*"}) == [("anybody", "", None)]
    assert who(allow(), allow({"AWS": A}) | {"Effect": "Deny"}) == [("anybody", "", None)]


@pytest.mark.parametrize(
    ("principal", "condition", "told"),
    [
        ("*", {"StringEquals": {"aws:PrincipalOrgID": ORG}}, [("organization", ORG, None)]),
        ("*", {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": f"{ORG}/r-ab12/*"}}, [("anybody", "", None)]),
        ("*", {"StringEquals": {"aws:PrincipalAccount": [B, A]}}, [("account", A, A), ("account", B, B)]),
        ("*", {"StringLike": {"AWS:principalaccount": A}}, [("account", A, A)]),
        ("*", {"StringLike": {"aws:PrincipalAccount": "1*"}}, [("anybody", "", None)]),
        ("*", {"StringEquals": {"aws:PrincipalAccount": [A, "1*"]}}, [("anybody", "", None)]),
        ("*", {"StringNotEquals": {"aws:PrincipalAccount": A}}, [("anybody", "", None)]),
        ("*", {"StringEqualsIfExists": {"aws:PrincipalAccount": A}}, [("anybody", "", None)]),
        ("*", {"ForAllValues:StringEquals": {"aws:PrincipalAccount": A}}, [("anybody", "", None)]),
        ("*", {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{A}:role/*"}}, [("account", A, A)]),
        ("*", {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}}, [("anybody", "", None)]),
        ("*", {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, [("anybody", "", None)]),
        ({"AWS": C}, {"StringEquals": {"aws:PrincipalOrgID": ORG}}, [("account", C, C)]),
        ({"AWS": C}, {"StringEquals": {"aws:PrincipalAccount": A}}, [("account", C, C)]),
        (
            {"Service": "lambda.amazonaws.com"},
            {"StringLike": {"aws:sourceARN": f"arn:aws:lambda:us-east-1:{A}:function:*"}},
            [("service", "lambda.amazonaws.com", A)],
        ),
        (
            {"Service": "lambda.amazonaws.com"},
            {"ArnLike": {"aws:SourceArn": f"arn:aws:lambda:*:{A}:function:*"}},
            [("service", "lambda.amazonaws.com", A)],
        ),
        (
            {"Service": "lambda.amazonaws.com"},
            {"StringLike": {"aws:SourceArn": f"arn:aws:lambda:*:{A}:function:*"}},
            [("service", "lambda.amazonaws.com", None)],
        ),
        (
            {"Service": "codebuild.amazonaws.com"},
            {"StringEquals": {"aws:SourceAccount": [A, B]}},
            [("service", "codebuild.amazonaws.com", A), ("service", "codebuild.amazonaws.com", B)],
        ),
    ],
)
def test_a_condition_narrows_only_where_it_names_accounts_or_an_organisation_for_certain(
    principal: Any, condition: Any, told: list[tuple[str, str, str | None]]
) -> None:
    assert who(allow(principal, Condition=condition)) == told


@pytest.mark.parametrize(
    ("resource", "globs"),
    [
        (f"arn:aws:ecr:us-east-1:{A}:repository/prod/*", ("prod/*",)),
        ([f"arn:aws:ecr:us-east-1:{A}:repository/b", f"arn:aws:ecr:us-east-1:{A}:repository/a"], ("a", "b")),
        ("*", ("*",)),
        ([f"arn:aws:ecr:us-east-1:{A}:repository/b", "*"], ("*",)),
        (f"arn:aws:ecr:us-east-1:{A}:*", ("*",)),
        (f"arn:aws:ecr:us-east-1:{A}:repo*/prod", ("*",)),
        ("arn:aws:ecr:us-east-1:1:repository/${aws:PrincipalTag/team}/x", ("*/x",)),
        ("arn:aws:ecr:us-east-1:1:repository/", ("*",)),
    ],
)
def test_the_policy_of_a_registry_names_repositories_by_globs(resource: Any, globs: tuple[str, ...]) -> None:
    (found,) = of_registry(policy(allow({"AWS": B}, "ecr:BatchGetImage", Resource=resource)))
    assert found.repositories == globs
    assert not of_registry(policy(allow({"AWS": B}, "ecr:ReplicateImage", Resource=resource)))


def test_all_resources_but_some_are_all() -> None:
    (found,) = of_registry(policy(allow({"AWS": B}, "ecr:*", NotResource="arn:aws:ecr:us-east-1:1:repository/x")))
    assert found.repositories == ("*",)


def test_globs_are_those_of_iam() -> None:
    one = Consumer(Kind.ACCOUNT, A, ("prod/*", "a?c", "x[1]"), "", A)
    assert [name for name in ("prod/a/b", "prod", "abc", "ac", "x1", "x[1]") if one.reaches(name)] == [
        "prod/a/b", "abc", "x[1]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            allow({"AWS": A}, Sid="Pull"),
            f"account {A} may pull team/app (the policy of repository team/app, statement Pull)",
        ),
        (allow(), "anybody may pull team/app (the policy of repository team/app, statement 1)"),
        (
            allow(Condition={"StringEquals": {"aws:PrincipalOrgID": ORG}}),
            f"every account of the organisation {ORG} may pull team/app, if aws:PrincipalOrgID StringEquals {ORG} (the policy of repository team/app, statement 1)",
        ),
        (
            allow({"Service": "lambda.amazonaws.com"}, Condition={"StringEquals": {"aws:SourceAccount": A}}),
            f"lambda.amazonaws.com of account {A} may pull team/app, if aws:SourceAccount StringEquals {A} (the policy of repository team/app, statement 1)",
        ),
        (
            allow({"Service": "lambda.amazonaws.com"}),
            "lambda.amazonaws.com of any account may pull team/app (the policy of repository team/app, statement 1)",
        ),
        (
            allow({"AWS": "AIDAX"}),
            "AIDAX (of whatever account) may pull team/app (the policy of repository team/app, statement 1)",
        ),
    ],
)
def test_it_is_said_in_a_sentence_who_may_pull_and_where_that_is_written(
    statement: dict[str, Any], sentence: str
) -> None:
    (found,) = of_repository("team/app", policy(statement))
    assert found.sentence == sentence


def test_those_are_unlisted_who_are_not_for_certain_an_account_that_is_asked() -> None:
    found = of_repository("x", policy(allow({"AWS": [A, B]}), allow(), allow({"Service": "lambda.amazonaws.com"})))
    assert [one.name for one in unlisted(found, {A})] == [B, "", "lambda.amazonaws.com"]


def test_one_statement_need_not_stand_in_a_list() -> None:
    text = json.dumps({"Statement": allow({"AWS": A})})
    assert [one.name for one in of_repository("x", text)] == [A]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"Statement": 1}',
        '{"Statement": ["x"]}',
        '{"statement": []}',
        policy({"Effect": "Allow", "Action": "*"}),
        policy({"Effect": "Allow", "Principal": "*"}),
        policy({"Principal": "*", "Action": "*"}),
        policy(allow() | {"Effect": "allow"}),
        policy(allow("somebody")),
        policy(allow({})),
        policy(allow({"AWS": 1})),
        policy(allow(action=1)),
        policy(allow(Condition=[])),
        policy(allow(Condition={"StringEquals": {"aws:PrincipalAccount": 111111111111}})),
    ],
)
def test_what_cannot_be_understood_is_an_error_and_not_nobody(text: str) -> None:
    with pytest.raises(PolicyUnreadable, match="Nobody can tell whom the policy of repository x lets pull"):
        of_repository("x", text)


def test_a_statement_of_a_registry_policy_without_resources_cannot_be_understood() -> None:
    with pytest.raises(PolicyUnreadable):
        of_registry(policy(allow()))


# Replication.


def rule(*filters: str, **where: str) -> dict[str, Any]:
    made: dict[str, Any] = {"destinations": [{"region": region, "registryId": who} for region, who in where.items()]}
    return made | (
        {"repositoryFilters": [{"filter": one, "filterType": "PREFIX_MATCH"} for one in filters]} if filters else {}
    )


def test_replication_sends_what_begins_so_and_all_where_nothing_is_filtered() -> None:
    found = replicas([rule("prod", "base/", **{"eu-west-1": A}), rule(**{"us-west-2": B})])
    assert found == (Replica(Registry(A, "eu-west-1"), ("base/*", "prod*")), Replica(Registry(B, "us-west-2"), ("*",)))
    assert found[0].reaches("production/x")
    assert not found[0].reaches("dev/prod")
    assert found[0].sentence == f"base/*, prod* replicated to eu-west-1 of account {A}"


def test_a_filter_of_another_kind_is_taken_for_all() -> None:
    made = rule("x", **{"eu-west-1": A})
    made["repositoryFilters"][0]["filterType"] = "GLOB"
    assert replicas([made])[0].repositories == ("*",)


@pytest.mark.parametrize("rules", [[{}], [{"destinations": [{}]}], [1], [rule("x", a=A) | {"repositoryFilters": [{}]}]])
def test_rules_that_make_no_sense_are_an_error(rules: Any) -> None:
    with pytest.raises(PolicyUnreadable):
        replicas(rules)


# Whatever is written there.

KEYWORDS = st.sampled_from(
    [
        "Statement",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "Condition",
        "AWS",
        "StringLike",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["Allow", "*", A, "ecr:*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS | st.text(max_size=4), inner, max_size=6),
    max_leaves=20,
)


@given(st.text() | JSON.map(json.dumps) | JSON.map(lambda one: json.dumps({"Statement": one})))
def test_a_text_is_understood_or_refused_and_nothing_else(text: str) -> None:
    with contextlib.suppress(PolicyUnreadable):
        assert isinstance(of_repository("x", text), tuple)
    with contextlib.suppress(PolicyUnreadable):
        assert isinstance(of_registry(text), tuple)


ACCOUNTS = st.sampled_from([A, B, C])
OWNED = st.sampled_from(["arn:aws:iam::{}:role/x", "arn:aws:lambda:us-east-1:{}:function:x", "{}", "arn:*:{}:x", "*"])
VALUES = st.builds(str.format, OWNED, ACCOUNTS) | st.sampled_from([ORG, "o-zzzzzzzzzz", "1*", "*"])
KEYS = st.sampled_from(
    [
        "aws:PrincipalAccount",
        "aws:SourceAccount",
        "aws:PrincipalArn",
        "aws:SourceArn",
        "aws:PrincipalOrgID",
        "aws:Other",
    ]
)
OPERATORS = st.sampled_from(
    ["StringEquals", "StringLike", "StringNotEquals", "StringEqualsIfExists", "ArnLike", "ArnEquals", "ArnLikeIfExists"]
)
CONDITIONS = st.dictionaries(
    OPERATORS, st.dictionaries(KEYS, st.lists(VALUES, min_size=1, max_size=2), min_size=1, max_size=2), max_size=2
)
PRINCIPALS = st.sampled_from(
    ["*", {"AWS": A}, {"AWS": [A, f"arn:aws:iam::{B}:root"]}, {"AWS": "*"}, {"Service": "lambda.amazonaws.com"}]
)
ACTIONS = st.lists(st.sampled_from(["ecr:BatchGetImage", "ecr:Put*", "ecr:*", "ecr:GetD*", "s3:*"]), max_size=2)
RESOURCES = st.sampled_from(["*", "arn:aws:ecr:us-east-1:1:repository/prod/*", "arn:aws:ecr:*:*:repository/p*"])
STATEMENTS = st.builds(
    lambda effect, *rest: dict(zip(("Effect", "Principal", "Action", "Condition", "Resource"), (effect, *rest), strict=True)),
    st.sampled_from(["Allow", "Allow", "Allow", "Deny"]), PRINCIPALS, ACTIONS, CONDITIONS, RESOURCES,
)  # fmt: skip


def requests() -> list[dict[str, str]]:
    """Everybody who may come, with the context that IAM has of them."""
    people = [
        {
            "aws:PrincipalAccount": account,
            "aws:PrincipalArn": f"arn:aws:iam::{account}:role/x",
            "aws:PrincipalOrgID": org,
        }
        for account in (A, B, C)
        for org in (ORG, "o-zzzzzzzzzz")
    ]
    lambdas = [
        {"service": "lambda.amazonaws.com", "aws:SourceAccount": account}
        | {"aws:SourceArn": f"arn:aws:lambda:us-east-1:{account}:function:x"}
        for account in (A, B, C)
    ]
    return [*people, *lambdas]


def holds(condition: dict[str, Any], request: dict[str, str]) -> bool:
    """IAM's evaluation: all operators and keys must hold, one of the values is enough."""
    for operator, wanted in condition.items():
        bare = operator.removesuffix("IfExists")
        for key, values in wanted.items():
            if key not in request:
                if bare == operator and bare != "StringNotEquals":
                    return False
                continue
            likes = bare != "StringEquals"
            same = any(
                fnmatch.fnmatchcase(request[key], value)
                if likes and bare != "StringNotEquals"
                else request[key] == value
                for value in values
            )
            if same == (bare == "StringNotEquals"):
                return False
    return True


def lets(statement: dict[str, Any], request: dict[str, str], repository: str) -> bool:
    principal, service = statement["Principal"], request.get("service")
    named = principal.get("AWS", []) if isinstance(principal, dict) else "*"
    everybody = named == "*" or (isinstance(principal, dict) and principal.get("Service") == service is not None)
    is_named = everybody or request.get("aws:PrincipalAccount", "none") in json.dumps(named)
    pulls = any(fnmatch.fnmatchcase("ecr:BatchGetImage", action) for action in statement["Action"])
    covers = fnmatch.fnmatchcase(f"arn:aws:ecr:us-east-1:1:repository/{repository}", statement["Resource"])
    return statement["Effect"] == "Allow" and is_named and pulls and covers and holds(statement["Condition"], request)


def is_told(consumer: Consumer, request: dict[str, str], repository: str) -> bool:
    account = request.get("aws:PrincipalAccount") or request["aws:SourceAccount"]
    if consumer.account not in {None, account} or not consumer.reaches(repository):
        return False
    return {
        Kind.ANYBODY: True,
        Kind.ACCOUNT: consumer.name == account,
        Kind.ORGANIZATION: consumer.name == request.get("aws:PrincipalOrgID"),
        Kind.SERVICE: consumer.name == request.get("service"),
        Kind.OTHER: False,
    }[consumer.kind]


@given(st.lists(STATEMENTS, max_size=3), st.sampled_from(["prod/a", "pre", "dev/x"]))
def test_whoever_iam_would_let_pull_is_told(statements: list[dict[str, Any]], repository: str) -> None:
    found = of_registry(policy(*statements))
    for request in requests():
        if any(lets(statement, request, repository) for statement in statements):
            assert any(is_told(consumer, request, repository) for consumer in found), request


@given(st.lists(STATEMENTS, max_size=3), STATEMENTS)
def test_a_statement_more_takes_nobody_away(statements: list[dict[str, Any]], more: dict[str, Any]) -> None:
    fewer, all_of_them = of_registry(policy(*statements)), of_registry(policy(*statements, more))
    assert all_of_them[: len(fewer)] == fewer


@given(
    st.lists(st.sampled_from(["prod", "p", "base/", "x-1"]), max_size=3), st.sampled_from(["prod/a", "p", "base", "y"])
)
def test_replication_reaches_what_begins_with_a_filter(filters: list[str], name: str) -> None:
    (found,) = replicas([rule(*filters, **{"eu-west-1": A})])
    assert found.reaches(name) == (not filters or name.startswith(tuple(filters)))
