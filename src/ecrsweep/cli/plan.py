"""`ecrsweep plan`: decide, image by image, and show it."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path

from ecrsweep.app import PlanRun, Request, unasked_census
from ecrsweep.cli.running import (
    Flags,
    begin,
    end,
    memory_of,
    pass_through,
    plan_report,
    prepared,
    require_matches,
    say_what_is_lacking,
    say_what_reading_costs,
)
from ecrsweep.cli.voice import Voice
from ecrsweep.config import moment_of
from ecrsweep.core.difference import OldPlan
from ecrsweep.core.errors import BadInput, PlanUnreadable
from ecrsweep.reports import PlanReport
from ecrsweep.reports.difference import DifferenceDocument, DifferenceTable
from ecrsweep.reports.json import PlanLinesReport
from ecrsweep.reports.table import console
from ecrsweep.wiring.exits import gravest, plan_statuses
from ecrsweep.wiring.files import written_whole


def run_plan(flags: Flags) -> int:
    """`ecrsweep plan`."""
    if flags["policy_at"]:
        return _run_plan_of_the_past(flags)
    voice = Voice(flags)
    world, request = prepared(flags)
    memory = memory_of(world, request)
    say_what_reading_costs(request, flags, voice)
    old = _old_plan(flags["diff"])
    with ExitStack() as stack:
        reports = _reports(flags, request, old)
        if flags["save"]:
            reports.append(PlanLinesReport(stack.enter_context(written_whole(flags["save"]))))
        with voice.working("Reading what is in use"):
            run = begin(world, request, memory, voice)
            pass_through(run, reports, voice)
        footer = end(run, reports)
    sys.stdout.flush()
    statuses = list(plan_statuses(footer, exit_code=flags["exit_code"]))
    memory.note(run, request, statuses)
    memory.write(voice.warn)
    say_what_is_lacking(world, request, footer.coverage, voice)
    if flags["output"] == "table" and footer.summary.delete:
        _say_next(flags)
    require_matches(run, request.scope)
    return gravest(statuses)


def _old_plan(file: str | None) -> OldPlan | None:
    """The plan that `--diff` names. It is read first, so that `--save` may take its place."""
    if file is None:
        return None
    try:
        with Path(file).open("rb") as lines:
            return OldPlan(lines)
    except OSError as error:
        raise PlanUnreadable(f"The plan {file} cannot be read: {error.strerror}") from error


def _reports(flags: Flags, request: Request, old: OldPlan | None) -> list[PlanReport]:
    """What shows the plan on stdout: with `--diff` its table and what changed, or in JSON what changed alone."""
    if old is None:
        return [plan_report(flags, request)]
    if flags["output"] != "table":
        return [DifferenceDocument(sys.stdout.buffer, old, lines=flags["output"] == "jsonl")]
    return [
        plan_report(flags, request),
        DifferenceTable(console(sys.stdout, flags["color"]), old, verbose=flags["verbose"]),
    ]


def _run_plan_of_the_past(flags: Flags) -> int:
    """`ecrsweep plan --policy-at`: nobody is asked what is in use now, and nothing is written down."""
    if flags["save"]:
        raise BadInput("--policy-at shows what would have been decided in the past: it cannot be saved for apply")
    if flags["diff"]:
        raise BadInput("--policy-at shows what would have been decided in the past: --diff has no place beside it")
    now = time.time()
    moment = moment_of(flags["policy_at"], now)
    voice = Voice(flags)
    world, request = prepared(flags)
    census = unasked_census(request, memory_of(world, request).recall(), "left out by --policy-at")
    run = PlanRun(world, request, census, now, policy_at=moment)
    report = plan_report(flags, request)
    with voice.working("Reading what the repositories hold"):
        pass_through(run, [report], voice)
    footer = end(run, [report])
    sys.stdout.flush()
    say_what_is_lacking(world, request, footer.coverage, voice)
    require_matches(run, request.scope)
    return gravest(plan_statuses(footer, exit_code=flags["exit_code"]))


def _say_next(flags: Flags) -> None:
    if flags["quiet"] or not sys.stdout.isatty():
        return
    if flags["save"]:
        print(f"Next: ecrsweep apply {flags['save']}")
    else:
        print("Next: ecrsweep plan ... --save plan.jsonl, then ecrsweep apply plan.jsonl; or: ecrsweep explain IMAGE")
