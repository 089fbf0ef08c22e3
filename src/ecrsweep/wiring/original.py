"""The run of the AWS post of 2016, in its order and its words, over the stories of today.

Its defaults and words are kept where they are safe; docs/migrating.md has a row for each difference. `cli.original`
and `serverless.handler` translate what they are given into its settings.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Final

from ecrsweep._version import __version__
from ecrsweep.app import PlanRun, Request, Stop, begin_apply, take_census
from ecrsweep.apply import Carrying, Record
from ecrsweep.aws.session import AwsSession
from ecrsweep.config import Settings, limits_of, policy_of
from ecrsweep.core.decisions import Action, Code, Decision
from ecrsweep.core.document import PlannedImage, SavedPlan, Scope, decision_documents
from ecrsweep.core.errors import AwsFailure, BadInput, CredentialsFailure
from ecrsweep.core.names import EcrReference, parse_reference
from ecrsweep.core.outcomes import ApplyResult, Outcome
from ecrsweep.core.plan import RepositoryPlan, Summary
from ecrsweep.core.policy import Limits, Policy
from ecrsweep.reports.words import coverage_lines, printable
from ecrsweep.sources import chosen_sources
from ecrsweep.wiring.exits import Exit, apply_statuses, gravest, plan_statuses
from ecrsweep.wiring.grants import advice, lacking
from ecrsweep.wiring.prepare import open_world

DEFAULTS: Final = {"dryrun": "true", "imagestokeep": "100", "region": "None", "ignoretagsregex": "^$"}
"""What the original does when it is told nothing, by the names of its flags."""

_NO_REGION: Final = ("", "None", "all")
_NO_LIMITS: Final = Limits()
_NOTHING_BESIDE: Final = Settings(pulled_within="0d", keep_latest=False, max_fraction=None)


class OriginalSettings:
    """What the original can be told, and what may keep images besides. `regions` None: all."""

    def __init__(
        self,
        *,
        regions: tuple[str, ...] | None,
        dry_run: bool,
        policy: Policy,
        repositories: tuple[str, ...] = ("*",),
        limits: Limits = _NO_LIMITS,
    ) -> None:
        self.regions = regions
        self.dry_run = dry_run
        self.policy = policy
        self.repositories = repositories
        self.limits = limits


def settings_of(values: Mapping[str, str], beside: Settings = _NOTHING_BESIDE) -> OriginalSettings:
    """Settings from their texts. Raises `BadInput`: a dry run that is spelled wrong must not delete, nor seem to have.

    What `beside` keeps is kept too; the original alone knows no limits, no pull times, and every repository.
    """
    dry_run = {"true": True, "false": False}.get(values["dryrun"].strip().lower())
    if dry_run is None:
        raise BadInput(f'dryrun is "{values["dryrun"]}": accepted are True and False')
    if not values["imagestokeep"].strip().isdigit():
        raise BadInput(f'imagestokeep is "{values["imagestokeep"]}": accepted is a whole number from 0 on')
    named = tuple(region.strip() for region in values["region"].split(",") if region.strip() not in _NO_REGION)
    more = policy_of(beside)
    policy = Policy(
        name="original",
        newest=int(values["imagestokeep"]),
        protected_tags=("*latest*", *more.protected_tags),
        protected_tag_regexes=tuple(dict.fromkeys((values["ignoretagsregex"], *more.protected_tag_regexes))),
        pushed_within=more.pushed_within,
        pulled_within=more.pulled_within,
        used_within=None,
    )
    return OriginalSettings(
        regions=named or None,
        dry_run=dry_run,
        policy=policy,
        repositories=beside.repositories or ("*",),
        limits=limits_of(beside),
    )


Stopping = Callable[[], AbstractContextManager[Stop]]


class OriginalRun:
    """One run in the original's order. What it has deleted can be told at any moment, from another thread too."""

    def __init__(self, settings: OriginalSettings) -> None:
        """Nothing is asked of AWS yet."""
        self._settings = settings
        self._session: AwsSession | None = None
        self._carrying: Carrying | None = None

    def work(self, stopping: Stopping, out_of_time: Stop = lambda: False) -> Exit:
        """Census, plan of every region, and, unless it is a dry run, everything asked again and the deletion.

        `stopping` is entered for the deletion: what it gives is asked before every batch whether to stop. `out_of_time`
        ends the reading too. Prints as the original does. Raises `EcrsweepError` for what a user can meet.
        """
        settings = self._settings
        session = AwsSession(region=settings.regions[0] if settings.regions else None, environ=os.environ)
        self._session, world, sources = session, open_world(session), chosen_sources((), ())
        scope = Scope(
            account=session.account,
            regions=_regions(session, settings.regions),
            repositories=settings.repositories,
            limits=settings.limits,
        )
        request = Request(scope, (settings.policy,), sources, __version__)
        run = PlanRun(world, request, take_census(world, request, _silent), time.time())
        going = list(_print_plans(run, out_of_time))
        if not run.complete:
            print("Stopped: the time was over before everything was read. Nothing was deleted.")
            return Exit.LEFT_UNDONE
        footer = run.footer()
        for line in coverage_lines(footer.coverage, footer.foreign_uses):
            print(printable(line))
        statuses = list(plan_statuses(footer, exit_code=False))
        if footer.verdict is not None:
            print(f"Held by a limit: {footer.verdict.detail}.")
        for held in footer.held_registries:
            print(f"Held by a limit: {held.described}.")
        result = None
        if not settings.dry_run and going and footer.verdict is None:
            again = PlanRun(world, request, take_census(world, request, _silent), time.time())
            self._carrying = begin_apply(
                world,
                SavedPlan(run.header, tuple(going), footer.summary, None, held_registries=footer.held_registries),
                again,
                say=_silent,
                record=Record(time.time),
            )
            with stopping() as stopped:
                self._carrying.work(stopped)
            result = self._carrying.result()
            _print_result(result)
            statuses += apply_statuses(result)
        missing = lacking(footer.coverage, sources, world.allowed_actions, result)
        if missing:
            print(advice(missing))
        print(_last_line(footer.summary, result, dry_run=settings.dry_run))
        return gravest(statuses)

    def end(self, why: str) -> None:
        """Let nothing more of this run reach AWS, and print what it has done so far."""
        if self._session is not None:
            self._session.close()
        print(f"Stopped: {why}")
        if self._carrying is None:
            print("Nothing was deleted.")
            return
        result = self._carrying.result()
        _print_result(result)
        print(f"Images deleted: {result.count(Outcome.DELETED)}.")


def _silent(text: str) -> None:
    """The original prints no progress."""


def _regions(session: AwsSession, named: tuple[str, ...] | None) -> tuple[str, ...]:
    """The regions that were named, or all: where they may not be asked for, those that are known to offer ECS."""
    if named is not None:
        for region in named:
            session.require_region(region)
        return named
    try:
        return tuple(session.enabled_regions())
    except CredentialsFailure:
        raise
    except AwsFailure:
        return tuple(session.known_regions("ecs"))


def _print_plans(run: PlanRun, out_of_time: Stop) -> Iterator[PlannedImage]:
    """Print each region and repository in the words of the original; what goes comes out."""
    region = None
    for plan in run.repositories(out_of_time):
        if plan.repository.registry.region != region:
            region = plan.repository.registry.region
            print(f"Discovering images in {region}")
            print("Images that are running:")
            for image in _running(run, region):
                print(printable(image))
        _print_repository(plan)
        yield from (row for row in decision_documents(plan) if row.action is Action.DELETE)


def _running(run: PlanRun, region: str) -> list[str]:
    """The names in use that ECS of this region holds, or that mean this region's registry wherever they are held."""

    def belongs(image: str, used_in: str) -> bool:
        match parse_reference(image):
            case EcrReference(repository=repository):
                return region in {used_in, repository.registry.region}
            case _:
                return False

    return sorted({use.image for use in run.census.uses if belongs(use.image, use.region)})


def _print_repository(plan: RepositoryPlan) -> None:
    images = [decision.image for decision in plan.decisions]
    in_use = sum(any(reason.code is Code.IN_USE for reason in decision.reasons) for decision in plan.decisions)
    print("------------------------")
    print(f"Starting with repository :{plan.repository.uri}")
    print(f"Total number of images found: {len(images)}")
    print(f"Number of untagged images found {sum(not image.tags for image in images)}")
    print(f"Number of running images found {in_use}")
    going = [decision for decision in plan.decisions if decision.action is Action.DELETE]
    held = sum(decision.action is Action.HOLD for decision in plan.decisions)
    if held:
        print(f"Number of images held, because not everything that could use them was read: {held}")
    if not going:
        print(f"Nothing to delete in repository : {plan.repository.name}")
        return
    print(f"Number of images to be deleted: {len(going)}")
    print("Image URLs that are marked for deletion:")
    for decision in going:
        for url in _urls(plan, decision):
            print(f"- {printable(url)} - {_pushed_at(decision)}")


def _urls(plan: RepositoryPlan, decision: Decision) -> Iterator[str]:
    if not decision.image.tags:
        yield f"{plan.repository.uri}@{decision.image.digest}"
    for tag in decision.image.tags:
        yield f"{plan.repository.uri}:{tag}"


def _pushed_at(decision: Decision) -> str:
    pushed = decision.image.pushed_at
    return "push time unknown" if pushed is None else str(datetime.fromtimestamp(pushed, UTC))


def _print_result(result: ApplyResult) -> None:
    for entry in result.results:
        if entry.outcome not in {Outcome.DELETED, Outcome.ALREADY_GONE}:
            why = ": ".join(part for part in (entry.code, entry.message) if part)
            print(printable(f"Not deleted ({entry.outcome.value}): {entry.image.place.uri}@{entry.image.digest} {why}"))


def _last_line(summary: Summary, result: ApplyResult | None, *, dry_run: bool) -> str:
    if dry_run:
        return f"Dry run: nothing was deleted. Images that would be deleted: {summary.delete}. Images held: {summary.hold}."
    deleted = 0 if result is None else result.count(Outcome.DELETED)
    failed = 0 if result is None else len(result.results) - result.count(Outcome.DELETED, Outcome.ALREADY_GONE)
    return f"Images deleted: {deleted}. Images not deleted: {failed}. Images held: {summary.hold}."
