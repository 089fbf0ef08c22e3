"""The examination: every source is really read, every registry really asked; nothing is changed, nothing written down.

Only the real reading tells the truth about permissions, so that is what is done, and what could not be tried is said. An
account that lets nobody in is asked nothing else. The permissions of ECR that are tried here:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from ecrsweep.app import OWNERS_SOURCE, REGISTRY_SOURCE, Outsiders, Progress, Request, take_census
from ecrsweep.aws.cache import default_cache_file
from ecrsweep.aws.ecr import DELETE_ACTIONS, OWNERS_ACTIONS, READ_ACTIONS
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.accounts import Member
from ecrsweep.core.diagnosis import (
    Access,
    Account,
    Check,
    Diagnosis,
    Exclusion,
    Identity,
    Kept,
    Regions,
    Registry,
    State,
    Way,
    state_of,
)
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
from ecrsweep.wiring.principals import exclusion, principal_of, simulated
from ecrsweep.wiring.remedies import for_permissions
from ecrsweep.wiring.ways import IN_HAND, way_to

_NO_SUCH_DIGEST: Final = "sha256:" + "0" * 64
"""Asking for the manifest of an image that does not exist shows the permission, and moves no pull time."""

_LISTING: Final = "ecr:DescribeRepositories"
_READING: Final = ("ecr:DescribeImages", "ecr:BatchGetImage")
_KINDS: Final[Mapping[type[Exception], State]] = {
    ClosedByOrganization: State.CLOSED,
    Denied: State.DENIED,
    Unreachable: State.UNREACHABLE,
}
_SHUT: Final[Mapping[Access, State]] = {Access.UNREACHABLE: State.UNREACHABLE, Access.FAILED: State.FAILED}
"""How a registry ends whose account lets nobody in; others are denied."""


class _Found(msgspec.Struct, frozen=True):
    """What a registry let us read: the checks, and the names of the repositories in scope."""

    registry: Registry
    names: tuple[str, ...] = ()


def examine(session: AwsSession, world: AwsWorld, request: Request, memory: Memory, say: Progress) -> Diagnosis:
    """Everything that doctor can find out. Raises `CredentialsFailure` where nobody can be asked anything."""
    scope = request.scope
    identity = _identity(session, world)
    members: Sequence[Member] = scope.members or (Member(scope.account, scope.regions),)
    say(f"Trying the way to {counted(len(members), 'account')}")
    ways = _ways(world, members, identity)
    say(f"Asking {counted(len(scope.registries), 'registry')}")
    found = list(world.each(lambda asked: _asked(world, request, asked, ways[asked.account]), scope.registries))
    recalled = memory.recall()
    census = take_census(world, request, say, recalled)
    say("Asking who else may pull")
    outsiders = Outsiders(world, request)
    outsiders.look({Asked(one.registry.account, one.registry.region): one.names for one in found if one.names})
    coverage = [entry for entry in census.coverage if entry.source != LEDGER_SOURCE]
    coverage += [_as_gap(one.registry, check) for one in found for check in _bad(one.registry)]
    coverage += outsiders.coverage
    say("Asking IAM")
    members = _with_home(members, identity, ways)
    gathered = _gathered(members, ways, [one.registry for one in found], coverage)
    accounts = tuple(world.each(lambda account: _examined(world, request, account), gathered))
    chosen = {source.name for source in request.sources}
    return Diagnosis(
        identity=identity,
        several=bool(scope.members),
        accounts=accounts,
        coverage=tuple(coverage),
        off_by_default=tuple(source.name for source in installed_sources() if source.name not in chosen),
        missing=tuple(sorted({action for account in accounts for action in account.missing})),
        manifest_cache=Kept(str(default_cache_file()), counted(world.cache.manifests, "manifest")),
        ledger=Kept(memory.location, _ledger(recalled.coverage)),
        ledger_coverage=recalled.coverage,
    )


def _identity(session: AwsSession, world: AwsWorld) -> Identity:
    origin, until = session.credentials
    principal, unsure = principal_of(session.arn, world.place(world.home_region))
    return Identity(session.account, session.arn, principal, origin, until, unsure)


def _ways(world: AwsWorld, members: Sequence[Member], identity: Identity) -> dict[str, Way]:
    tried = world.each(lambda member: way_to(world, member, identity), members)
    return {member.account: way for member, way in zip(members, tried, strict=True)}


def _with_home(members: Sequence[Member], identity: Identity, ways: dict[str, Way]) -> Sequence[Member]:
    """The accounts to tell of: that of the credentials too, where none of its own images or workloads are asked for."""
    if identity.account in ways:
        return members
    ways[identity.account] = Way(IN_HAND, Access.CALLER, arn=identity.arn, principal=identity.principal)
    return sorted((*members, Member(identity.account, asked=False)), key=lambda member: member.account)


def _asked(world: AwsWorld, request: Request, asked: Asked, way: Way) -> _Found:
    """What a registry lets us read: its list, and of the first repository in scope the images and a manifest."""
    if not way.is_open:
        checks = (Check(_LISTING, _SHUT.get(way.access, State.DENIED), way.error), *map(_untried_check, _READING))
        return _Found(Registry(asked.account, asked.region, None, None, (*checks, _untried_check(OWNERS_ACTIONS[0]))))
    names: list[str] = []
    store = world.image_store(asked)
    listed = _tried(_LISTING, lambda: names.extend(store.repository_names()))
    chosen = tuple(name for name in names if matches_any(request.scope.repositories, name))
    first = next(iter(chosen), None)
    checks = (
        listed,
        *_read(world, asked, first),
        _tried(OWNERS_ACTIONS[0], lambda: store.owners_tags(owners_keys(request.policies))),
    )
    number = len(names) if listed.state is State.WORKS else None
    return _Found(Registry(asked.account, asked.region, number, first, checks), chosen)


def _read(world: AwsWorld, asked: Asked, repository: str | None) -> Iterator[Check]:
    """Whether images and manifests of a repository can be read; not tried where there is none."""
    if repository is None:
        yield from map(_untried_check, _READING)
        return
    place = world.reach(asked.account).place(asked.region)
    named = {"registryId": asked.account, "repositoryName": repository}
    any_state = {"imageStatus": "ANY"}
    digest = [{"imageDigest": _NO_SUCH_DIGEST}]
    images, manifests = _READING
    yield _tried(images, lambda: place.call("ecr", "describe_images", **named, maxResults=1, filter=any_state))
    yield _tried(manifests, lambda: place.call("ecr", "batch_get_image", **named, imageIds=digest))


def _untried_check(action: str) -> Check:
    return Check(action, State.UNTRIED)


def _tried(action: str, call: Callable[[], object]) -> Check:
    try:
        call()
    except AwsFailure as failure:
        state = next((state for kind, state in _KINDS.items() if isinstance(failure, kind)), State.FAILED)
        return Check(action, state, str(failure))
    return Check(action, State.WORKS)


def _bad(registry: Registry) -> list[Check]:
    return [check for check in registry.checks if check.state not in {State.WORKS, State.UNTRIED}]


def _as_gap(registry: Registry, check: Check) -> Coverage:
    """What would be a gap of a plan: a registry that cannot be read."""
    source = OWNERS_SOURCE if check.action in OWNERS_ACTIONS else REGISTRY_SOURCE
    return Coverage(
        registry.account, registry.region, source, CoverageStatus.FAILED, error=check.error, action=check.action
    )


def _gathered(
    members: Iterable[Member], ways: Mapping[str, Way], registries: Iterable[Registry], coverage: Iterable[Coverage]
) -> Iterator[Account]:
    """Each account with what came of the whole."""
    entries: dict[str, list[Coverage]] = {}
    for entry in coverage:
        entries.setdefault(entry.account, []).append(entry)
    held: dict[str, list[Registry]] = {}
    for registry in registries:
        held.setdefault(registry.account, []).append(registry)
    for member in members:
        yield Account(
            member.account, member.name, ways[member.account], member.asked,
            registries=tuple(held.get(member.account, ())), coverage=tuple(entries.get(member.account, ())),
        )  # fmt: skip


def _examined(world: AwsWorld, request: Request, account: Account) -> Account:
    """An account, if it lets us in, with its regions, what its policy lacks, and what IAM says of what was not tried."""
    if not account.way.is_open:
        return account
    listed = account.way.access is Access.ASKED
    session, principal = world.session_of(account.account), account.way.principal
    missing = tuple(lacking(account.coverage, request.sources, frozenset(session.allowed_actions)))
    untried = _untried(request, account.coverage, session.allowed_actions) if listed else ()
    said, unsaid = (
        _simulated(session, principal, untried, account.registries) if listed else ({}, "nothing is asked there")
    )
    member = account.way.by.startswith("role ")
    return msgspec.structs.replace(
        account,
        regions=_regions(session) if listed else Regions(error="not asked: nothing of this account is asked for"),
        exclusions=tuple(_exclusions(world, account)),
        untried=untried,
        missing=missing,
        remedy=for_permissions(principal, missing, member=member, sources=request.scope.with_sources)
        if missing
        else None,
        simulated=said,
        unsimulated=unsaid,
    )


def _regions(session: AwsSession) -> Regions:
    """The regions that are switched on, those that are not, and why that is not known."""
    try:
        return Regions(tuple(session.enabled_regions()), tuple(session.disabled_regions()))
    except AwsFailure as failure:
        return Regions(error=str(failure))


def _exclusions(world: AwsWorld, account: Account) -> Iterator[Exclusion]:
    reached = world.reach(account.account)
    for registry in account.registries:
        if registry.checks[0].state is not State.CLOSED:
            yield exclusion(reached.place(registry.region), account.way.principal)


def _untried(request: Request, coverage: Sequence[Coverage], allowed: Iterable[str]) -> tuple[str, ...]:
    """The actions of the sources that were asked which nothing there gave a reason to call."""
    works = {entry.source for entry in coverage if state_of(entry) is State.WORKS}
    needed = {action for source in request.sources if source.name in works for action in source.actions}
    return tuple(sorted({*needed, *READ_ACTIONS} - set(allowed) - {entry.action for entry in coverage}))


def _simulated(
    session: AwsSession, principal: str, untried: Sequence[str], registries: Sequence[Registry]
) -> tuple[dict[str, str], str | None]:
    """What IAM says of the actions that were not tried, and of deleting; or why it says nothing."""
    if not principal:
        return {}, "IAM simulates roles and users only"
    place = AwsPlace(session, session.home_region)
    region, name = next(((found.region, found.tried_on) for found in registries if found.tried_on), ("*", "*"))
    partition = principal.split(":")[1]
    repository = f"arn:{partition}:ecr:{region}:{place.account}:repository/{name}"
    try:
        found = simulated(place, principal, DELETE_ACTIONS, repository)
        if untried:
            found |= simulated(place, principal, untried, "*")
    except (AwsFailure, KeyError) as failure:
        return {}, str(failure)
    return found, None


def _ledger(entry: Coverage) -> str:
    if entry.status is not CoverageStatus.COMPLETE:
        return str(entry.error)
    return "; ".join([f"{counted(entry.uses, 'use')} remembered", *entry.notes])
