"""The least IAM policy for a run: a table of what AWS decides each action on, and a pure function over it.

The table follows the service authorization reference, and tests hold it against a copy of that. Nothing here asks AWS.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from ecrsweep.aws import bucket
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
from ecrsweep.aws.partitions import main_region
from ecrsweep.aws.roles import ASSUME_ACTIONS
from ecrsweep.aws.session import ACTIONS as SESSION_ACTIONS
from ecrsweep.ports import Source
from ecrsweep.sources import is_own

Purpose = Literal[
    "plan", "apply", "archive", "restore", "guard", "guard-preview", "member", "member-apply", "member-archive", "caller"
]  # fmt: skip
Statement = dict[str, Any]

_DISCOVER: Final = "Discover"

BESIDES_READING: Final[Mapping[Purpose, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "plan": (),
    "apply": (("Delete", DELETE_ACTIONS),),
    "archive": (("Delete", DELETE_ACTIONS), ("Archive", ARCHIVE_ACTIONS)),
    "restore": (("Archive", ARCHIVE_ACTIONS), ("Push", PUSH_ACTIONS)),
    "guard": (("Guard", GUARD_ACTIONS),),
    "guard-preview": (("Guard", GUARD_ACTIONS), ("Preview", PREVIEW_ACTIONS)),
    "member": (),
    "member-apply": (("Delete", DELETE_ACTIONS),),
    "member-archive": (("Delete", DELETE_ACTIONS), ("Archive", ARCHIVE_ACTIONS)),
    "caller": (("Assume", ASSUME_ACTIONS), (_DISCOVER, ORGANIZATION_ACTIONS)),
}
"""What each purpose needs besides reading the registries: statements and their actions."""

OF_MEMBERS: Final[frozenset[Purpose]] = frozenset({"member", "member-apply", "member-archive"})
"""The purposes of a role that is assumed: plans, reports and what is known of indexes are kept by whoever assumes it."""

DECIDING: Final[frozenset[Purpose]] = frozenset({"plan", "apply", "archive", *OF_MEMBERS})
"""The purposes for which it counts how repositories are tagged, and who else may pull."""

BY_PROXY: Final[frozenset[Purpose]] = frozenset({"caller"})
"""The purposes for which the identity reads nothing itself: the roles do that it assumes."""

BY_NAME: Final[frozenset[Purpose]] = frozenset({"restore"})
"""The purposes for which images are named: nobody is asked what is in use, and neither repositories nor regions are looked for."""

MANAGED_POLICY_LIMIT: Final = 6_144
"""Characters of a managed policy, white space apart. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""

WITHOUT_PERMISSION: Final = frozenset({"sts:GetCallerIdentity"})
"""What every identity may do, whatever its policies say."""

REGIONS_ACTIONS: Final = tuple(action for action in SESSION_ACTIONS if action not in WITHOUT_PERMISSION)


ROLE: Final = "ecrsweep"
"""The role in each member account, unless another is named."""


class Kind(msgspec.Struct, frozen=True):
    """What AWS decides an action on: a word for the names of statements, and the ends of the ARNs.

    In an end, `{repository}` stands for each glob of repositories, `{bucket}` for the name of the bucket, `{role}` for that
    of each role, which has an account of its own.
    """

    word: str
    ends: tuple[str, ...] = ()


def every(*ends: str) -> Kind:
    """Resources of these types, all of them: what sources read, which have one statement together and no word for each."""
    return Kind("", ends)


ANYTHING: Final = Kind("")
"""There is no resource to name: the policy says `*`."""

RESOURCES: Final[Mapping[str, Mapping[str, Kind]]] = {
    "apprunner": {
        "DescribeService": every("service/*"),
        "ListOperations": every("service/*"),
        "ListServices": ANYTHING,
    },
    "batch": {
        "DescribeJobDefinitions": ANYTHING,
        "DescribeJobQueues": ANYTHING,
        "DescribeJobs": ANYTHING,
        "DescribeServiceJob": ANYTHING,
        "ListJobs": ANYTHING,
        "ListServiceJobs": ANYTHING,
    },
    "bedrock-agentcore": {
        "GetAgentRuntime": every("runtime/*"),
        "GetHarness": ANYTHING,
        "ListAgentRuntimeEndpoints": ANYTHING,
        "ListAgentRuntimeVersions": ANYTHING,
        "ListAgentRuntimes": ANYTHING,
        "ListHarnessEndpoints": ANYTHING,
        "ListHarnessVersions": ANYTHING,
        "ListHarnesses": ANYTHING,
    },
    "cloudformation": {
        "DescribeStacks": every("stack/*"),
        "GetTemplate": every("stack/*"),
        "ListExports": ANYTHING,
        "ListStackResources": every("stack/*"),
    },
    "cloudtrail": {
        "LookupEvents": ANYTHING,
    },
    "codebuild": {
        "BatchGetBuildBatches": every("project/*"),
        "BatchGetBuilds": every("project/*"),
        "BatchGetProjects": every("project/*"),
        "ListBuildBatches": ANYTHING,
        "ListBuilds": ANYTHING,
        "ListProjects": ANYTHING,
    },
    "ec2": {
        "DescribeRegions": ANYTHING,
    },
    "ecr": {
        "BatchDeleteImage": Kind("Images", ("repository/{repository}",)),
        "BatchGetImage": Kind("Images", ("repository/{repository}",)),
        "DescribeImages": Kind("Images", ("repository/{repository}",)),
        "DescribeRegistry": ANYTHING,
        # Asked without names it is decided on repository/*, so anything narrower denies it: aws-amplify/amplify-cli#10828.
        "DescribeRepositories": Kind("Repositories", ("repository/*",)),
        "GetLifecyclePolicy": Kind("Lifecycle", ("repository/{repository}",)),
        "GetLifecyclePolicyPreview": Kind("Lifecycle", ("repository/{repository}",)),
        "GetRegistryPolicy": ANYTHING,
        "GetRepositoryPolicy": Kind("Images", ("repository/{repository}",)),
        "PutImage": Kind("Images", ("repository/{repository}",)),
        "StartLifecyclePolicyPreview": Kind("Lifecycle", ("repository/{repository}",)),
        "UpdateImageStorageClass": Kind("Images", ("repository/{repository}",)),
    },
    "ecs": {
        "DescribeServiceDeployments": every("service-deployment/*", "service/*"),
        "DescribeServiceRevisions": every("service-revision/*", "service/*"),
        "DescribeServices": every("service/*"),
        "DescribeTaskDefinition": ANYTHING,
        "DescribeTasks": every("task/*"),
        "ListClusters": ANYTHING,
        "ListServiceDeployments": every("service/*"),
        "ListServices": ANYTHING,
        "ListTaskDefinitions": ANYTHING,
        # The reference has container instances here, but no call that names none is decided on one: cdklabs/construct-hub#1207.
        "ListTasks": ANYTHING,
        "DescribeDaemon": ANYTHING,
        "DescribeDaemonDeployments": ANYTHING,
        "DescribeDaemonRevisions": ANYTHING,
        "DescribeDaemonTaskDefinition": ANYTHING,
        "ListDaemonDeployments": ANYTHING,
        "ListDaemonTaskDefinitions": ANYTHING,
        "ListDaemons": ANYTHING,
    },
    "eks": {
        "DescribeCluster": every("cluster/*"),
        "ListClusters": ANYTHING,
    },
    "emr-serverless": {
        "GetApplication": every("/applications/*"),
        "GetJobRun": every("/applications/*/jobruns/*"),
        "ListApplications": ANYTHING,
        "ListJobRuns": every("/applications/*"),
    },
    "events": {
        "ListEventBuses": ANYTHING,
        "ListRules": ANYTHING,
        "ListTargetsByRule": every("rule/*"),
    },
    "gamelift": {
        "DescribeContainerGroupDefinition": every("containergroupdefinition/*"),
        "ListContainerFleets": ANYTHING,
        "ListContainerGroupDefinitions": ANYTHING,
        "ListFleetDeployments": ANYTHING,
    },
    "imagebuilder": {
        "GetContainerRecipe": every("container-recipe/*"),
        "GetImage": every("image/*"),
        "ListContainerRecipes": ANYTHING,
    },
    "inspector2": {
        "BatchGetAccountStatus": ANYTHING,
        "ListCoverage": ANYTHING,
    },
    "lambda": {
        "GetFunction": every("function:*"),
        "ListFunctions": ANYTHING,
    },
    "lightsail": {
        "GetContainerServiceDeployments": ANYTHING,
        "GetContainerServices": ANYTHING,
    },
    "organizations": {
        "ListAccounts": ANYTHING,
        "ListAccountsForParent": Kind("Units", ("ou/o-*/ou-*", "root/o-*/r-*")),
        "ListOrganizationalUnitsForParent": Kind("Units", ("ou/o-*/ou-*", "root/o-*/r-*")),
        # Units, roots and policies have tags too, which nobody here asks for.
        "ListTagsForResource": Kind("Accounts", ("account/o-*/*",)),
    },
    "pipes": {
        "DescribePipe": every("pipe/*"),
        "ListPipes": ANYTHING,
    },
    "s3": {
        "DeleteObject": Kind("Forgotten", ("{bucket}/state/ledger/*",)),
        "GetObject": Kind("Read", ("{bucket}/config/*", "{bucket}/plans/*", "{bucket}/state/*")),
        "ListBucket": Kind("Listed", ("{bucket}",)),
        "PutObject": Kind("Written", ("{bucket}/plans/*", "{bucket}/reports/*", "{bucket}/state/*")),
    },
    "sagemaker": {
        "DescribeAlgorithm": every("algorithm/*"),
        "DescribeDataQualityJobDefinition": every("data-quality-job-definition/*"),
        "DescribeEndpoint": every("endpoint/*"),
        "DescribeHyperParameterTuningJob": every("hyper-parameter-tuning-job/*"),
        "DescribeImageVersion": every("image-version/*"),
        "DescribeInferenceComponent": every("inference-component/*"),
        "DescribeModel": every("model/*"),
        "DescribeModelBiasJobDefinition": every("model-bias-job-definition/*"),
        "DescribeModelExplainabilityJobDefinition": every("model-explainability-job-definition/*"),
        "DescribeModelPackage": every("model-package/*"),
        "DescribeModelQualityJobDefinition": every("model-quality-job-definition/*"),
        "DescribeMonitoringSchedule": every("monitoring-schedule/*"),
        "DescribePipeline": every("pipeline/*"),
        "DescribeProcessingJob": every("processing-job/*"),
        "DescribeTrainingJob": every("training-job/*"),
        "ListAlgorithms": ANYTHING,
        "ListDataQualityJobDefinitions": ANYTHING,
        "ListEndpoints": ANYTHING,
        "ListHyperParameterTuningJobs": ANYTHING,
        "ListImageVersions": every("image/*"),
        "ListImages": ANYTHING,
        "ListInferenceComponents": ANYTHING,
        "ListModelBiasJobDefinitions": ANYTHING,
        "ListModelExplainabilityJobDefinitions": ANYTHING,
        "ListModelPackages": every("model-package/*"),
        "ListModelQualityJobDefinitions": ANYTHING,
        "ListModels": ANYTHING,
        "ListMonitoringSchedules": ANYTHING,
        "ListPipelineVersions": every("pipeline/*"),
        "ListPipelines": ANYTHING,
        "ListProcessingJobs": ANYTHING,
        "ListTrainingJobs": ANYTHING,
    },
    "scheduler": {
        "GetSchedule": every("schedule/*"),
        "ListSchedules": ANYTHING,
    },
    "states": {
        "DescribeStateMachine": every("stateMachine:*"),
        "ListStateMachineVersions": every("stateMachine:*"),
        "ListStateMachines": ANYTHING,
    },
    "sts": {
        "AssumeRole": Kind("Roles", ("role/{role}",)),
    },
    "tag": {
        "GetResources": ANYTHING,
    },
}
"""By service and operation. A new source of this package adds its actions here; a test prints the lines that lack."""

_WITHOUT_PLACE: Final = frozenset({"s3"})
"""Services whose ARNs name neither region nor account."""

_CLASS: Final = re.compile(r"\[!?\]?[^\]]*\]")


class MemberRole(NamedTuple):
    """A role by its account, which may be `*`, and its name, with its path if it has one."""

    account: str
    name: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What an identity shall be able to do, and where. Regions None: in any; `*` where account or partition may be any.

    A caller assumes these roles, and finds accounts where not all of them are known by number.
    """

    purpose: Purpose
    sources: tuple[Source, ...]
    regions: tuple[str, ...] | None = None
    consumer_regions: tuple[str, ...] | None = None
    repositories: tuple[str, ...] = ("*",)
    account: str = "*"
    partition: str = "*"
    bucket: str | None = None
    roles: tuple[MemberRole, ...] = (MemberRole("*", ROLE),)
    discovers: bool = True


def kind_of(action: str) -> Kind:
    """What AWS decides an action on; anything where the table lacks it, because too narrow would be a denial."""
    service, _, operation = action.partition(":")
    return RESOURCES.get(service, {}).get(operation, ANYTHING)


def policy_document(wanted: Wanted) -> dict[str, Any]:
    """The policy that allows what is wanted, and nothing else. Equal wishes give equal documents."""
    statements = [*_registry(wanted), *_uses(wanted), *_bucket(wanted)]
    return {"Version": "2012-10-17", "Statement": sorted(statements, key=lambda statement: str(statement["Sid"]))}


def iam_glob(pattern: str) -> str:
    """A glob over repository names as IAM can say it: `[...]` becomes `?`, which may be wider and is never narrower.

    A `$` begins a variable in IAM, so it is written as the variable that stands for it.
    """
    return _CLASS.sub("?", pattern).replace("$", "${$}")


def _registry(wanted: Wanted) -> Iterator[Statement]:
    if wanted.purpose in BY_NAME:
        yield from _allowed("Read", NAMED_ACTIONS, wanted.regions, wanted)
    elif wanted.purpose not in BY_PROXY:
        # What names no repository has no statement of its own: a policy for many regions would be longer than IAM takes.
        deciding = {*OWNERS_ACTIONS, *SHARING_ACTIONS} if wanted.purpose in DECIDING else set[str]()
        named = {action for action in deciding if kind_of(action).ends}
        yield from _allowed("Find", {*REGIONS_ACTIONS, *deciding} - named, _home(wanted), wanted)
        yield from _allowed("Read", {*READ_ACTIONS, *named}, wanted.regions, wanted)
    # What a caller asks has no region, and AWS answers it in the main one of the partition.
    regions = None if wanted.purpose in BY_PROXY else wanted.regions
    for name, actions in BESIDES_READING[wanted.purpose]:
        if name != _DISCOVER or wanted.discovers:
            yield from _allowed(name, actions, regions, wanted)


def _uses(wanted: Wanted) -> Iterator[Statement]:
    if wanted.purpose in BY_NAME | BY_PROXY:
        return
    own = [source for source in wanted.sources if is_own(source)]
    everywhere = _actions(source for source in own if not source.about.once)
    once = _actions(source for source in own if source.about.once)
    yield from _asked("Uses", everywhere, wanted.consumer_regions, wanted)
    yield from _asked("UsesOnce", once, _home(wanted), wanted)
    strangers = _actions(source for source in wanted.sources if not is_own(source))
    if strangers:
        # Nobody here knows what these are decided on, or where they are asked.
        yield {"Sid": "UsesOfOthers", "Effect": "Allow", "Action": sorted(strangers), "Resource": "*"}


def _bucket(wanted: Wanted) -> Iterator[Statement]:
    if wanted.bucket is not None:
        yield from _allowed("Bucket", bucket.ACTIONS, None, wanted)


def _home(wanted: Wanted) -> list[str] | None:
    """Where a run may be at home: in the region of the registry named first, or in the main one if that does not answer."""
    return None if wanted.regions is None else [*wanted.regions, main_region(wanted.partition)]


def _actions(sources: Iterable[Source]) -> set[str]:
    return {action for source in sources for action in source.actions} - WITHOUT_PERMISSION


def _asked(name: str, actions: set[str], regions: Sequence[str] | None, wanted: Wanted) -> Iterator[Statement]:
    """What sources ask, in two statements: what AWS decides on anything, and what it decides on resources.

    Sources read every resource of a type, so that naming the services and the account allows what naming the types would.
    Those, and ARNs for every region, would make a policy longer than IAM takes.
    """
    named = {action for action in actions if kind_of(action).ends and _service(action) not in _WITHOUT_PLACE}
    services = {_service(action) for action in named}
    arns = sorted(f"arn:{wanted.partition}:{service}:*:{wanted.account}:*" for service in services)
    for word, some, resource in (("Anything", actions - named, "*"), ("Named", named, arns)):
        if some:
            yield _statement(f"{name}{word}", some, resource, regions)


def _allowed(name: str, actions: Iterable[str], regions: Sequence[str] | None, wanted: Wanted) -> Iterator[Statement]:
    """A statement for each kind of resource that these actions are decided on, named by `name` and the kind's word."""
    by_kind: dict[tuple[str, Kind], list[str]] = {}
    for action in sorted(actions):
        kind = kind_of(action)
        by_kind.setdefault((_service(action) if kind.ends else "", kind), []).append(action)
    for (service, kind), some in by_kind.items():
        if kind.ends:
            yield _statement(f"{name}{kind.word}", some, _arns(service, kind, regions, wanted), None)
        else:
            yield _statement(f"{name}{kind.word}", some, "*", regions)


def _statement(
    name: str, actions: Iterable[str], resource: str | list[str], regions: Sequence[str] | None
) -> Statement:
    """A statement; with regions, one for calls in these only."""
    statement: Statement = {"Sid": name, "Effect": "Allow", "Action": sorted(actions), "Resource": resource}
    if regions is not None:
        statement["Condition"] = {"StringEquals": {"aws:RequestedRegion": sorted(set(regions))}}
    return statement


def _arns(service: str, kind: Kind, regions: Sequence[str] | None, wanted: Wanted) -> list[str]:
    if service == "sts":
        return sorted(f"arn:{wanted.partition}:iam::{role.account}:role/{role.name}" for role in wanted.roles)
    globs = {"*"} if "*" in wanted.repositories else {iam_glob(pattern) for pattern in wanted.repositories}
    ends = {
        end.replace("{bucket}", wanted.bucket or "").replace("{repository}", glob)
        for end in kind.ends
        for glob in globs
    }
    places = _places(service, regions, wanted)
    return sorted(f"arn:{wanted.partition}:{service}:{place}{end}" for place in places for end in ends)


def _places(service: str, regions: Sequence[str] | None, wanted: Wanted) -> set[str]:
    """Region and account of ARNs, with the colons around them."""
    if service in _WITHOUT_PLACE:
        return {"::"}
    if service == "organizations":
        return {":*:"}  # of the management account, which is none of those that are named here
    return {f"{region}:{wanted.account}:" for region in regions or ("*",)}


def _service(action: str) -> str:
    return action.partition(":")[0]
