"""From what the user asks for to the world it is asked of: session, regions, sources, policies."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import msgspec

from ecrsweep._version import __version__
from ecrsweep.app import Request
from ecrsweep.aws.cache import ManifestCache, default_cache_file
from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.config import Settings, check_accepted_gaps, check_state, limits_of, policies_of
from ecrsweep.core.accounts import Member
from ecrsweep.core.document import SavedPlan, Scope
from ecrsweep.core.errors import BadInput, PlanForeign, PlanUnreadable
from ecrsweep.core.policy import Policy
from ecrsweep.sources import chosen_sources, installed_sources, named_sources
from ecrsweep.sources.file import STANDARD_INPUT
from ecrsweep.wiring.accounts import ALL_REGIONS, check_accounts, connect, members_of
from ecrsweep.wiring.given import read_hold_files
from ecrsweep.wiring.prices import prices_of


def open_session(settings: Settings, environ: Mapping[str, str], run: str | None = None) -> AwsSession:
    """The session that the settings mean; `run` is the name of the run, None for a new one. Raises `CredentialsFailure` for an unknown profile."""
    named = [region for region in settings.regions if region != ALL_REGIONS]
    return AwsSession(
        profile=settings.profile,
        endpoint_url=settings.endpoint_url,
        region=named[0] if named else None,
        environ=environ,
        run=run,
    )


def open_world(session: AwsSession, members: Sequence[Member] = ()) -> AwsWorld:
    """The world of a session, with the manifest cache where this system keeps such things. Members are accounts besides."""
    return AwsWorld(session, ManifestCache(default_cache_file()), members, connect)


def prepare(
    settings: Settings, environ: Mapping[str, str], session: AwsSession | None = None
) -> tuple[AwsWorld, Request]:
    """The world and the request that the settings mean. Settings are checked before AWS is asked anything.

    Raises `BadInput` for settings that make no sense, and `AwsFailure`.
    """
    policies = policies_of(settings)
    limits = limits_of(settings)
    accepts = check_accepted_gaps(settings.accept_gaps)
    drops = check_accepted_gaps(settings.accept_drops, "--accept-drop")
    state = check_state(settings.state)
    prices = prices_of(settings, policies)
    check_skipped(settings.skip_sources)
    chosen_sources(settings.with_sources, settings.source_options)
    named_sources(settings.uses_files, settings.uses_commands, settings.source_options, allowed=())
    check_accounts(settings)
    session = session or open_session(settings, environ)
    check_account(settings, session)
    members = members_of(settings, session)
    scope = Scope(
        account=session.account,
        regions=_regions_of(members) if members else registry_regions(session, settings.regions),
        repositories=settings.repositories or ("*",),
        consumer_regions=_consumer_regions(session, settings.consumer_regions),
        skip_sources=settings.skip_sources,
        with_sources=settings.with_sources,
        source_options=settings.source_options,
        accept_gaps=accepts,
        accept_drops=drops,
        uses_files=tuple(_from_anywhere(path) for path in settings.uses_files),
        uses_commands=settings.uses_commands,
        limits=limits,
        override_limits=settings.override_limits,
        state=state,
        aliases=settings.aliases,
        hold_files=tuple(_from_anywhere(path) for path in settings.hold_files),
        members=members,
        strict_consumers=settings.strict_consumers,
    )
    world = open_world(session, members)
    request = request_of(world, scope, policies, allowed=settings.uses_commands)
    return world, msgspec.structs.replace(request, prices=prices, exact_size=settings.exact_size)


def reopen(
    saved: SavedPlan, settings: Settings, environ: Mapping[str, str], session: AwsSession | None = None
) -> tuple[AwsWorld, Request]:
    """The world and the request that a saved plan was made for; of the settings only those that cannot let more go count.

    These are session, account, state, accepted gaps and drops, the overriding of limits, commands, and hold files. A command of
    the plan runs only if the settings name it too; others that they name are asked besides, as hold files are read besides.

    Raises `PlanForeign` where the credentials are of another account, and `PlanUnreadable` where the plan names images
    outside its own scope.
    """
    scope = saved.header.scope
    session = session or open_session(msgspec.structs.replace(settings, regions=scope.regions), environ)
    if session.account != scope.account:
        raise PlanForeign(
            f"The plan is of account {scope.account}, the credentials are of {session.account}. Nothing was deleted"
        )
    check_account(settings, session)
    strangers = sorted({row.place.registry for row in saved.going} - set(scope.registries))
    if strangers:
        named = ", ".join(f"{registry.account} in {registry.region}" for registry in strangers)
        raise PlanUnreadable(f"The plan names images outside its own scope: {named}")
    accepts = check_accepted_gaps(settings.accept_gaps)
    drops = check_accepted_gaps(settings.accept_drops, "--accept-drop")
    scope = msgspec.structs.replace(
        scope,
        accept_gaps=tuple(dict.fromkeys((*scope.accept_gaps, *accepts))),
        accept_drops=tuple(dict.fromkeys((*scope.accept_drops, *drops))),
        override_limits=scope.override_limits or settings.override_limits,
        state=check_state(settings.state) or scope.state,
        hold_files=tuple(dict.fromkeys((*scope.hold_files, *map(_from_anywhere, settings.hold_files)))),
        uses_commands=tuple(dict.fromkeys((*scope.uses_commands, *settings.uses_commands))),
    )
    world = open_world(session, scope.members)
    return world, request_of(world, scope, saved.header.policies, allowed=settings.uses_commands)


def request_of(world: AwsWorld, scope: Scope, policies: tuple[Policy, ...], *, allowed: Container[str]) -> Request:
    """The request of a scope, with the sources that it is asked of; only `allowed` commands will run.

    Raises `BadInput`, also for a hold file that cannot be read: what it holds is not known.
    """
    sources = chosen_sources(scope.with_sources, scope.source_options)
    named = named_sources(scope.uses_files, scope.uses_commands, scope.source_options, allowed=allowed)
    return Request(scope, policies, (*sources, *named), __version__, read_hold_files(scope.hold_files, world))


def _regions_of(members: Sequence[Member]) -> tuple[str, ...]:
    """The regions in which some member has a registry. Raises `BadInput` where there is none."""
    regions = {region for member in members for region in member.regions}
    if not regions:
        raise BadInput("No region is given: use --region, AWS_REGION, or regions in the configuration")
    return tuple(sorted(regions))


def check_account(settings: Settings, session: AwsSession) -> None:
    """Raise `BadInput` where the configuration is of another account."""
    if settings.account not in {None, session.account}:
        raise BadInput(
            f"The configuration is of account {settings.account}, the credentials are of {session.account}. Nothing was changed"
        )


def _from_anywhere(path: str) -> str:
    """A path that means the same in another folder; addresses and standard input already do."""
    return path if path == STANDARD_INPUT or path.startswith("s3://") else str(Path(path).absolute())


def check_skipped(names: Sequence[str]) -> None:
    """Raise `BadInput` for a name of --skip-source that no installed source has."""
    known = [source.name for source in installed_sources()]
    for name in names:
        if name not in known:
            raise BadInput(f"--skip-source {name}: there is no such source. There are: {', '.join(known)}")


def registry_regions(session: AwsSession, asked: Sequence[str]) -> tuple[str, ...]:
    """The regions that the user asks for, or the configured one, sorted. Raises `BadInput` where there is none."""
    if ALL_REGIONS in asked:
        return tuple(session.enabled_regions())
    regions = list(asked) or list(filter(None, [session.configured_region]))
    if not regions:
        raise BadInput("No region is given: use --region, AWS_REGION, or a region in the profile")
    for region in regions:
        session.require_region(region)
    return tuple(sorted(set(regions)))


def _consumer_regions(session: AwsSession, asked: Sequence[str]) -> tuple[str, ...] | None:
    if not asked or ALL_REGIONS in asked:
        return None
    for region in asked:
        session.require_region(region)
    return tuple(sorted(set(asked)))
