"""The examination: every source is really read, every registry really asked; nothing is changed, nothing written down.

Only the real reading tells the truth about permissions, so that is what is done, and what could not be tried is said. Whether
deleting is allowed cannot be tried without deleting; IAM is asked to simulate that, where it may be asked.
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ecrsweep.app import OWNERS_SOURCE, REGISTRY_SOURCE, Progress, Request, take_census
from ecrsweep.aws.cache import default_cache_file
from ecrsweep.aws.ecr import DELETE_ACTIONS, OWNERS_ACTIONS, READ_ACTIONS
from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.diagnosis import Check, Diagnosis, Exclusion, Identity, Kept, Registry, State, state_of
from ecrsweep.core.errors import AwsFailure, ClosedByOrganization, Denied, Unreachable
from ecrsweep.core.holds import owners_keys
from ecrsweep.core.ledger import LEDGER_SOURCE
from ecrsweep.core.names import Registry as Asked
from ecrsweep.core.policy import matches_any
from ecrsweep.core.uses import Coverage, CoverageStatus
from ecrsweep.reports.words import counted
from ecrsweep.sources import installed_sources
from ecrsweep.wiring.grants import lacking
from ecrsweep.wiring.memory import Memory

OPTIONAL_ACTIONS: Final = ("ecr:ListPullTimeUpdateExclusions", "iam:GetRole", "iam:SimulatePrincipalPolicy")
"""What doctor asks besides. Where it may not, it says what it therefore does not know."""

_NO_SUCH_DIGEST: Final = "sha256:" + "0" * 64
"""Asking for the manifest of an image that does not exist shows the permission, and moves no pull time."""

_ASSUMED: Final = re.compile(r"arn:(?P<partition>[a-z-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+")
_USER: Final = re.compile(r"arn:[a-z-]+:iam::\d{12}:user/.+")
_KINDS: Final[Mapping[type[Exception], State]] = {
    ClosedByOrganization: State.CLOSED,
    Denied: State.DENIED,
    Unreachable: State.UNREACHABLE,
}


def examine(session: AwsSession, world: AwsWorld, request: Request, memory: Memory, say: Progress) -> Diagnosis:
    """Everything that doctor can find out. Raises `CredentialsFailure` where nobody can be asked anything."""
    identity = _identity(session, world)
    say("Asking the registries")
    registries = [_registry(world, request, registry) for registry in request.scope.registries]
    recalled = memory.recall()
    census = take_census(world, request, say, recalled)
    coverage = [entry for entry in census.coverage if entry.source != LEDGER_SOURCE]
    coverage += [
        _as_gap(registry.account, registry.region, check) for registry in registries for check in _bad(registry)
    ]
    untried = _untried(world, request, coverage)
    say("Asking IAM")
    simulated, unsimulated = _simulated(world, identity.principal, untried, registries)
    enabled, disabled, regions_error = _regions(session)
    chosen = {source.name for source in request.sources}
    return Diagnosis(
        identity=identity,
        enabled_regions=enabled,
        disabled_regions=disabled,
        regions_error=regions_error,
        registries=tuple(registries),
        coverage=tuple(coverage),
        off_by_default=tuple(source.name for source in installed_sources() if source.name not in chosen),
        untried=tuple(untried),
        missing=tuple(lacking(coverage, request.sources, world.allowed_actions)),
        simulated=simulated,
        unsimulated=unsimulated,
        exclusions=tuple(_exclusion(world, region, identity.principal) for region in request.scope.regions),
        manifest_cache=Kept(str(default_cache_file()), counted(world.cache.manifests, "manifest")),
        ledger=Kept(memory.location, _ledger(recalled.coverage)),
        ledger_coverage=recalled.coverage,
    )


def _identity(session: AwsSession, world: AwsWorld) -> Identity:
    origin, until = session.credentials
    return Identity(session.account, session.arn, _principal(session.arn, world), origin, until)


def _principal(arn: str, world: AwsWorld) -> str:
    """Who IAM knows behind an ARN of the token service: the user, or the role with its path (GetRole), else as far as that is known."""
    assumed = _ASSUMED.fullmatch(arn)
    if assumed is None:
        return arn if _USER.fullmatch(arn) else ""
    try:
        answer = world.place(world.home_region).call("iam", "get_role", RoleName=assumed["role"])
        return str(answer["Role"]["Arn"])
    except (AwsFailure, KeyError):
        return f"arn:{assumed['partition']}:iam::{assumed['account']}:role/{assumed['role']}"


def _regions(session: AwsSession) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """The regions that are switched on, those that are not, and why that is not known."""
    try:
        enabled = session.enabled_regions()
    except AwsFailure as failure:
        return (), (), str(failure)
    return tuple(enabled), tuple(session.disabled_regions()), None


def _registry(world: AwsWorld, request: Request, registry: Asked) -> Registry:
    """What a registry lets us read: its list, and of the first repository in scope the images and a manifest."""
    listing, images, manifests = "ecr:DescribeRepositories", "ecr:DescribeImages", "ecr:BatchGetImage"
    place = world.reach(registry.account).place(registry.region)
    names: list[str] = []
    store = world.image_store(registry)
    checks = [_tried(listing, lambda: names.extend(store.repository_names()))]
    first = next((name for name in names if matches_any(request.scope.repositories, name)), None)
    if first is None:
        checks += [Check(images, State.UNTRIED), Check(manifests, State.UNTRIED)]
    else:
        named = {"registryId": registry.account, "repositoryName": first}
        any_state = {"imageStatus": "ANY"}
        digest = [{"imageDigest": _NO_SUCH_DIGEST}]
        checks += [
            _tried(images, lambda: place.call("ecr", "describe_images", **named, maxResults=1, filter=any_state)),
            _tried(manifests, lambda: place.call("ecr", "batch_get_image", **named, imageIds=digest)),
        ]
    checks.append(_tried(OWNERS_ACTIONS[0], lambda: store.owners_tags(owners_keys(request.policies))))
    return Registry(
        registry.account, registry.region, len(names) if checks[0].state is State.WORKS else None, first, tuple(checks)
    )


def _tried(action: str, call: Callable[[], object]) -> Check:
    try:
        call()
    except AwsFailure as failure:
        state = next((state for kind, state in _KINDS.items() if isinstance(failure, kind)), State.FAILED)
        return Check(action, state, str(failure))
    return Check(action, State.WORKS)


def _bad(registry: Registry) -> list[Check]:
    return [check for check in registry.checks if check.state not in {State.WORKS, State.UNTRIED}]


def _as_gap(account: str, region: str, check: Check) -> Coverage:
    """What would be a gap of a plan: a registry that cannot be read."""
    source = OWNERS_SOURCE if check.action in OWNERS_ACTIONS else REGISTRY_SOURCE
    return Coverage(account, region, source, CoverageStatus.FAILED, error=check.error, action=check.action)


def _untried(world: AwsWorld, request: Request, coverage: Sequence[Coverage]) -> list[str]:
    """The actions of the sources that were asked which nothing there gave a reason to call."""
    works = {entry.source for entry in coverage if state_of(entry) is State.WORKS}
    needed = {action for source in request.sources if source.name in works for action in source.actions}
    return sorted({*needed, *READ_ACTIONS} - world.allowed_actions - {entry.action for entry in coverage})


def _simulated(
    world: AwsWorld, principal: str, untried: Sequence[str], registries: Sequence[Registry]
) -> tuple[dict[str, str], str | None]:
    """What IAM says of the actions that were not tried, and of deleting; or why it says nothing."""
    if not principal:
        return {}, "IAM simulates roles and users only"
    region, name = next(((found.region, found.tried_on) for found in registries if found.tried_on), ("*", "*"))
    partition = principal.split(":")[1]
    repository = f"arn:{partition}:ecr:{region}:{world.account}:repository/{name}"
    try:
        found = _simulation(world, principal, DELETE_ACTIONS, repository)
        if untried:
            found |= _simulation(world, principal, untried, "*")
    except (AwsFailure, KeyError) as failure:
        return {}, str(failure)
    return found, None


def _simulation(world: AwsWorld, principal: str, actions: Sequence[str], resource: str) -> dict[str, str]:
    results = world.place(world.home_region).pages(
        "iam", "simulate_principal_policy", "EvaluationResults",
        PolicySourceArn=principal, ActionNames=list(actions), ResourceArns=[resource],
    )  # fmt: skip
    return {result["EvalActionName"]: result["EvalDecision"] for result in results}


def _exclusion(world: AwsWorld, region: str, principal: str) -> Exclusion:
    """Whether the principal is registered (ListPullTimeUpdateExclusions). A role counts by its name where its path is not known."""
    try:
        held = set(world.place(region).pages("ecr", "list_pull_time_update_exclusions", "pullTimeUpdateExclusions"))
    except AwsFailure as failure:
        return Exclusion(region, None, str(failure))
    if not principal:
        return Exclusion(region, None, "only roles and users can be registered")
    kind, _, name = principal.rpartition(":")[2].partition("/")
    role = name.rpartition("/")[2]
    return Exclusion(region, any(_is(excluded, principal, kind, role) for excluded in held))


def _is(excluded: str, principal: str, kind: str, name: str) -> bool:
    same_account = excluded.rpartition(":")[0] == principal.rpartition(":")[0]
    return same_account and excluded.rpartition(":")[2].startswith(f"{kind}/") and excluded.rpartition("/")[2] == name


def _ledger(entry: Coverage) -> str:
    if entry.status is not CoverageStatus.COMPLETE:
        return str(entry.error)
    return "; ".join([f"{counted(entry.uses, 'use')} remembered", *entry.notes])
