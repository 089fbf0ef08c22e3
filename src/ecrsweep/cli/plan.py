"""`ecrsweep plan`: decide, image by image, and show it."""

import sys
from contextlib import ExitStack

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
from ecrsweep.reports import PlanReport
from ecrsweep.reports.json import (
    PlanLinesReport,
)
from ecrsweep.wiring.exits import gravest, plan_statuses
from ecrsweep.wiring.files import written_whole


def run_plan(flags: Flags) -> int:
    """`ecrsweep plan`."""
    voice = Voice(flags)
    world, request = prepared(flags)
    memory = memory_of(world, request)
    say_what_reading_costs(request, flags, voice)
    with ExitStack() as stack:
        reports: list[PlanReport] = [plan_report(flags)]
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
    require_matches(run)
    return gravest(statuses)


def _say_next(flags: Flags) -> None:
    if flags["quiet"] or not sys.stdout.isatty():
        return
    if flags["save"]:
        print(f"Next: ecrsweep apply {flags['save']}")
    else:
        print("Next: ecrsweep plan ... --save plan.jsonl, then ecrsweep apply plan.jsonl; or: ecrsweep explain IMAGE")
