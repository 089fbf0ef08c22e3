"""What several commands do: prepare a run, let a plan pass before its reports, say what is lacking."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ecrsweep.app import PlanRun, Reading, Request, take_census
from ecrsweep.aws.session import AwsSession, AwsWorld
from ecrsweep.cli.voice import Voice
from ecrsweep.config import Settings
from ecrsweep.core.document import (
    Footer,
    Scope,
)
from ecrsweep.core.errors import NotFound
from ecrsweep.core.outcomes import ApplyResult
from ecrsweep.core.uses import Coverage
from ecrsweep.reports import PlanReport
from ecrsweep.reports.json import (
    PlanDocumentReport,
    PlanLinesReport,
)
from ecrsweep.reports.table import (
    PlanTable,
    console,
)
from ecrsweep.reports.words import counted
from ecrsweep.wiring.grants import advice, lacking
from ecrsweep.wiring.memory import Memory, open_memory
from ecrsweep.wiring.prepare import prepare

Flags = dict[str, Any]


WHO_PULLS: Final = "cloudtrail"
"""The source that tells of every pull who made it."""


def settings_of(flags: Flags) -> Settings:
    """What the flags say about the run itself; those of display are left out."""
    return msgspec.convert(
        {name: flags[name] for name in Settings.__struct_fields__ if name in flags}, Settings, strict=False
    )


def prepared(flags: Flags, session: AwsSession | None = None) -> tuple[AwsWorld, Request]:
    """The world and the request that the flags of a command mean. Raises `BadInput`, and `AwsFailure`."""
    return prepare(settings_of(flags), dict(os.environ), session)


def memory_of(world: AwsWorld, request: Request) -> Memory:
    """What earlier runs left, wherever this one keeps such things."""
    return open_memory(world, request.scope.state, os.environ)


def begin(world: AwsWorld, request: Request, memory: Memory, voice: Voice) -> PlanRun:
    """A plan of this moment: everything is asked, and what earlier runs left is recalled."""
    census = take_census(world, request, voice.say, memory.recall())
    return PlanRun(world, request, census, time.time())


def say_what_reading_costs(request: Request, flags: Flags, voice: Voice) -> None:
    """What `--exact-size` does besides, told before it is done."""
    if request.prices is not None and not flags["quiet"]:
        voice.warn(
            "--exact-size reads the manifest of every image that was not read before: a call for each 100. Reading moves "
            "the pull time that ECR records, unless this role is registered as a pull-time exclusion (docs/savings.md)."
        )


def plan_report(flags: Flags) -> PlanReport:
    """The report of a plan on stdout that `--output` means."""
    match flags["output"]:
        case "json":
            return PlanDocumentReport(sys.stdout.buffer)
        case "jsonl":
            return PlanLinesReport(sys.stdout.buffer)
        case _:
            return PlanTable(console(sys.stdout, flags["color"]), verbose=flags["verbose"])


def pass_through(run: PlanRun, reports: Sequence[PlanReport], voice: Voice) -> None:
    """Let the repositories pass before every report. Nothing of one is kept here when the next one comes."""
    for report in reports:
        report.begin(run.header)
    for plan in run.repositories():
        voice.say(f"{plan.repository.registry.region} {plan.repository.name}: {counted(len(plan.decisions), 'image')}")
        for report in reports:
            report.add(plan)


def end(run: PlanRun, reports: Sequence[PlanReport]) -> Footer:
    """Let every report end, when the status line is gone from the terminal; the footer."""
    footer = run.footer()
    for report in reports:
        report.end(footer)
    return footer


def say_what_is_lacking(
    world: AwsWorld, request: Request, coverage: Sequence[Coverage], voice: Voice, result: ApplyResult | None = None
) -> None:
    """Where permissions were missing, the policy statement that grants them; as progress, what AWS throttled."""
    for (action, region), times in sorted(world.throttled.items()):
        voice.say(f"AWS throttled {action} in {region} {counted(times, 'time')}; such calls were repeated more slowly")
    missing = lacking(coverage, request.sources, world.allowed_actions, result)
    if missing:
        voice.warn(advice(missing))


def require_matches(read: PlanRun | Reading, scope: Scope) -> None:
    """A repository that was named and does not exist is an error; a glob that matches nothing is not."""
    missing = [pattern for pattern in read.unmatched_repositories() if not set(pattern) & set("*?[")]
    if missing and not read.unread_registries:
        raise NotFound(f"There is no repository {', '.join(missing)} in {', '.join(scope.regions)}")
