"""The command line, the Lambda handler and the output of the AWS post of 2016, over the stories of today.

Its defaults and words are kept where they are safe; docs/migrating.md has a row for each difference.
"""

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Final

from ecrsweep._version import __version__
from ecrsweep.app import PlanRun, Request, apply, take_census
from ecrsweep.aws.cache import default_cache_file
from ecrsweep.aws.session import AwsSession, AwsWorld
from ecrsweep.cli.exits import Exit, gravest
from ecrsweep.cli.grants import lacking, statement
from ecrsweep.cli.guard import guarded
from ecrsweep.cli.interrupts import stopping
from ecrsweep.core.decisions import Action, Code, Decision
from ecrsweep.core.document import PlannedImage, SavedPlan, Scope, decision_documents
from ecrsweep.core.errors import AwsFailure, BadInput, CredentialsFailure, EcrsweepError
from ecrsweep.core.names import EcrReference, parse_reference
from ecrsweep.core.outcomes import ApplyResult, Outcome
from ecrsweep.core.plan import RepositoryPlan, Summary
from ecrsweep.core.policy import Policy
from ecrsweep.reports.words import coverage_lines, printable
from ecrsweep.sources import installed_sources

_FLAGS: Final = ("dryrun", "imagestokeep", "region", "ignoretagsregex")
_DASHES: Final = "-\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"
_NO_REGION: Final = ("", "None")


class Incomplete(EcrsweepError):
    """Raised by the handler, so that Lambda counts the invocation as failed: something was refused, or a gate held."""


def main(arguments: Sequence[str]) -> int:
    """The command line of the original; its exit status."""

    def sweep() -> Exit:
        settings = _settings_of(_parsed(arguments))
        return _sweep(settings, stopping)

    return guarded(sweep)


def handler(event: object, context: object) -> dict[str, int]:  # noqa: ARG001 - the signature of a Lambda handler
    """The Lambda handler of the original: settings come from the environment. An unset `DRYRUN` means dry run.

    Returns the exit status. Raises `Incomplete` where that is not 0, and `EcrsweepError` for what a user can meet.
    """
    environ = os.environ
    status = _sweep(
        _settings_of(
            {
                "region": environ.get("REGION", "None"),
                "dryrun": environ.get("DRYRUN") or "true",
                "imagestokeep": environ.get("IMAGES_TO_KEEP", "100"),
                "ignoretagsregex": environ.get("IGNORE_TAGS_REGEX", "^$"),
            }
        ),
        _never_stopping,
    )
    if status is not Exit.DONE:
        raise Incomplete(f"The run ended with status {status.value}: {_MEANINGS[status]}. The log says what and why.")
    return {"status": status.value}


_MEANINGS: Final = {
    Exit.ERROR: "an error",
    Exit.LEFT_UNDONE: "AWS refused something, or it was left undone",
    Exit.HELD: "not everything that could use the images was read, so they were held",
    Exit.INTERRUPTED: "interrupted",
}


class _Settings:
    def __init__(self, *, region: str | None, dry_run: bool, policy: Policy) -> None:
        self.region = region
        self.dry_run = dry_run
        self.policy = policy


def _parsed(arguments: Sequence[str]) -> Mapping[str, str]:
    """The flags, also with the long dashes that the original's page shows: pasted from there, they work."""
    parser = argparse.ArgumentParser(prog="main.py", description="Deletes stale ECR images")
    parser.add_argument(
        "-dryrun",
        "--dryrun",
        default="true",
        help="print what would be deleted and delete nothing: True (default) or False",
    )
    parser.add_argument(
        "-imagestokeep",
        "--imagestokeep",
        default="100",
        help="number of tagged images to keep in each repository (default 100)",
    )
    parser.add_argument("-region", "--region", default="None", help="region of the registry (default: all regions)")
    parser.add_argument(
        "-ignoretagsregex",
        "--ignoretagsregex",
        default="^$",
        help="images with a tag in which this regular expression is found stay (default ^$)",
    )
    return vars(parser.parse_args([_with_plain_dash(argument) for argument in arguments]))


def _with_plain_dash(argument: str) -> str:
    name = argument.lstrip(_DASHES)
    dashed = argument[:1] in set(_DASHES) and name.partition("=")[0] in _FLAGS
    return f"-{name}" if dashed else argument


def _settings_of(values: Mapping[str, str]) -> _Settings:
    """Settings from their texts. Raises `BadInput`: a dry run that is spelled wrong must not delete, nor seem to have."""
    dry_run = {"true": True, "false": False}.get(values["dryrun"].strip().lower())
    if dry_run is None:
        raise BadInput(f'dryrun is "{values["dryrun"]}": accepted are True and False')
    if not values["imagestokeep"].strip().isdigit():
        raise BadInput(f'imagestokeep is "{values["imagestokeep"]}": accepted is a whole number from 0 on')
    region = values["region"].strip()
    policy = Policy(
        name="original",
        newest=int(values["imagestokeep"]),
        protected_tags=("*latest*",),
        protected_tag_regexes=(values["ignoretagsregex"],),
        pulled_within=None,
    )
    return _Settings(region=None if region in _NO_REGION else region, dry_run=dry_run, policy=policy)


@contextmanager
def _never_stopping() -> Iterator[threading.Event]:
    """Signals are Lambda's business; a function has no Ctrl-C."""
    yield threading.Event()


def _sweep(settings: _Settings, stopping_by: Callable[[], AbstractContextManager[threading.Event]]) -> Exit:
    """Census, plan of every region, and, unless it is a dry run, everything asked again and the deletion."""
    session = AwsSession(region=settings.region, environ=os.environ)
    world = AwsWorld(session, default_cache_file())
    sources = installed_sources()
    scope = Scope(account=session.account, regions=_regions(session, settings.region))
    request = Request(scope, (settings.policy,), sources, __version__)
    run = PlanRun(world, request, take_census(world, request, _silent), time.time())
    going = list(_print_plans(run))
    footer = run.footer()
    for line in coverage_lines(footer.coverage, footer.foreign_uses):
        print(printable(line))
    statuses = [Exit.HELD] if any(entry.is_gap for entry in footer.coverage) else []
    result = None
    if not settings.dry_run and going:
        again = PlanRun(world, request, take_census(world, request, _silent), time.time())
        saved = SavedPlan(run.header, tuple(going), footer.summary, None)
        with stopping_by() as stopped:
            result = apply(world, saved, again, stopped.is_set, _silent)
        _print_result(result)
        statuses += [Exit.INTERRUPTED] if result.interrupted else []
        statuses += [Exit.LEFT_UNDONE] if result.left_undone else []
        statuses += [Exit.HELD] if result.held else []
    missing = lacking(footer.coverage, sources, world.allowed_actions, result)
    if missing:
        print("The policy of this identity lacks this statement:")
        print(statement(missing))
    print(_last_line(footer.summary, result, dry_run=settings.dry_run))
    return gravest(statuses)


def _silent(text: str) -> None:
    """The original prints no progress."""


def _regions(session: AwsSession, region: str | None) -> tuple[str, ...]:
    """The region that was named, or all: where they may not be asked for, those that are known to offer ECS."""
    if region is not None:
        session.require_region(region)
        return (region,)
    try:
        return tuple(session.enabled_regions())
    except CredentialsFailure:
        raise
    except AwsFailure:
        return tuple(session.known_regions("ecs"))


def _print_plans(run: PlanRun) -> Iterator[PlannedImage]:
    """Print each region and repository in the words of the original; what goes comes out."""
    region = None
    for plan in run.repositories():
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
