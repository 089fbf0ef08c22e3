"""What several commands do: prepare a run, let a plan pass before its reports, say what is lacking."""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
import msgspec
from rich.console import Console

from ecrsweep.app import PlanRun, Reading, Request, take_census
from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.cli.voice import Voice
from ecrsweep.config import OF_ONE_POLICY, Configuration, Settings
from ecrsweep.core.document import (
    Footer,
    Scope,
)
from ecrsweep.core.errors import BadInput, NotFound
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
    """What the flags say about the run itself, over what the configuration says; those of display are left out.

    Raises `BadInput` where both have rules for what is kept: a flag would speak for all policies, or for none.
    """
    configuration: Configuration | None = flags.get("config")
    said = {} if configuration is None else dict(configuration.settings)
    if configuration is not None and configuration.policies is not None:
        rules = sorted("--" + name.replace("_", "-") for name in typed(OF_ONE_POLICY & flags.keys()))
        if rules:
            raise BadInput(
                f"{configuration.name} has policies, so {', '.join(rules)} would not say for which: change the policy in the file"
            )
    flagged = {name: flags[name] for name in Settings.__struct_fields__ if name in flags}
    return msgspec.convert(said | flagged, Settings, strict=False)


def typed(names: Iterable[str]) -> set[str]:
    """Those of these flags that stand on the command line."""
    context = click.get_current_context(silent=True)
    source = click.core.ParameterSource.COMMANDLINE
    return set() if context is None else {name for name in names if context.get_parameter_source(name) is source}


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
    if request.exact_size and not flags["quiet"]:
        voice.warn(
            "--exact-size reads the manifest of every image that was not read before: a call for each 100. Reading moves "
            "the pull time that ECR records, unless this role is registered as a pull-time exclusion (docs/savings.md)."
        )


def plan_report(flags: Flags, request: Request) -> PlanReport:
    """The report of a plan on stdout that `--output` means."""
    match flags["output"]:
        case "json":
            return PlanDocumentReport(sys.stdout.buffer)
        case "jsonl":
            return PlanLinesReport(sys.stdout.buffer)
        case _:
            return plan_table(console(sys.stdout, flags["color"]), flags, request)


def plan_table(out: Console, flags: Flags, request: Request) -> PlanTable:
    """The table of a plan; it tells what archiving costs where a policy archives."""
    prices = request.prices if any(policy.archives for policy in request.policies) else None
    return PlanTable(out, verbose=flags["verbose"], prices=prices)


def pass_through(run: PlanRun, reports: Sequence[PlanReport], voice: Voice) -> None:
    """Let the repositories pass before every report. Nothing of one is kept here when the next one comes."""
    for report in reports:
        report.begin(run.header)
    for plan in run.repositories():
        voice.say(f"{plan.repository.registry.region} {plan.repository.name}: {counted(len(plan.decisions), 'image')}")
        for report in reports:
            report.add(plan)
        del plan  # or it would be there until the next one is decided


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
    for (account, region, action), times in sorted(world.throttled.items()):
        where = f"{region} of account {account}" if request.scope.members else region
        voice.say(f"AWS throttled {action} in {where} {counted(times, 'time')}; such calls were repeated more slowly")
    missing = lacking(coverage, request.sources, world.allowed_actions, result)
    if missing:
        voice.warn(advice(missing))


def require_matches(read: PlanRun | Reading, scope: Scope) -> None:
    """A repository that was named and does not exist is an error; a glob that matches nothing is not."""
    missing = [pattern for pattern in read.unmatched_repositories() if not set(pattern) & set("*?[")]
    if missing and not read.unread_registries:
        raise NotFound(f"There is no repository {', '.join(missing)} of {scope.described}")
