"""`ecrsweep simulate`: the policy replayed over the past, and what was pulled after it would have gone."""

import sys
import time

from ecrsweep.app import SimulationRun, take_census
from ecrsweep.cli.running import Flags, memory_of, prepared, require_matches, say_what_is_lacking
from ecrsweep.cli.voice import Voice
from ecrsweep.core.simulation import Simulation
from ecrsweep.reports.json import write_document, write_lines
from ecrsweep.reports.simulation import show_simulation
from ecrsweep.reports.table import console
from ecrsweep.wiring.exits import Exit, gravest


def run_simulate(flags: Flags) -> int:
    """`ecrsweep simulate`."""
    voice = Voice(flags)
    world, request = prepared(flags)
    with voice.working("Reading what is in use"):
        census = take_census(world, request, voice.say, memory_of(world, request).recall())
        run = SimulationRun(world, request, census, time.time(), flags["days"])
        for replayed in run.repositories():
            voice.say(f"Replayed {replayed.repository.registry.region} {replayed.repository.name}")
    found = run.result()
    _show(found, request.scope.described, flags)
    sys.stdout.flush()
    say_what_is_lacking(world, request, found.coverage, voice)
    require_matches(run.reading, request.scope)
    statuses = [Exit.HELD] if any(entry.is_gap for entry in found.coverage) else []
    if flags["exit_code"] and found.regrets:
        statuses.append(Exit.CANDIDATES)
    return gravest(statuses)


def _show(found: Simulation, where: str, flags: Flags) -> None:
    match flags["output"]:
        case "json":
            write_document(sys.stdout.buffer, found.document())
        case "jsonl":
            rows = (regret.document() for regret in found.regrets)
            write_lines(sys.stdout.buffer, [found.header(), *rows, found.footer()])
        case _:
            show_simulation(console(sys.stdout, flags["color"]), found, where, verbose=flags["verbose"])
