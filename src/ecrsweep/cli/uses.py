"""`ecrsweep uses`: the images in use and who uses them."""

import sys
import time

from ecrsweep.app import Request, unexplained_pulls
from ecrsweep.aws.world import AwsWorld
from ecrsweep.cli.history import run_history
from ecrsweep.cli.running import WHO_PULLS, Flags, begin, memory_of, prepared
from ecrsweep.cli.voice import Voice
from ecrsweep.core.errors import BadInput
from ecrsweep.core.unexplained import unexplained_document
from ecrsweep.core.uses import Census
from ecrsweep.core.uses_file import uses_document
from ecrsweep.reports.json import (
    write_document,
    write_lines,
)
from ecrsweep.reports.table import (
    UnexplainedTable,
    UsesTable,
    console,
)
from ecrsweep.reports.words import coverage_lines
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.files import written_whole


def run_uses(flags: Flags) -> int:
    """`ecrsweep uses`."""
    if flags["history"]:
        return run_history(flags["history"], flags)
    voice = Voice(flags)
    if flags["unexplained"]:
        flags = _asking_who_pulls(flags)
    world, request = prepared(flags)
    memory = memory_of(world, request)
    with voice.working("Reading what is in use"):
        run = begin(world, request, memory, voice)
    census = run.census
    document = uses_document(
        census.uses, census.coverage, run.index.foreign, account=world.account, created_at=time.time()
    )
    if flags["save"]:
        with written_whole(flags["save"]) as out:
            write_document(out, document)
    status = Exit.HELD if census.gaps else Exit.DONE
    if flags["unexplained"]:
        status = _show_unexplained(world, request, census, flags, voice)
    elif flags["output"] == "json":
        write_document(sys.stdout.buffer, document)
    elif flags["output"] == "jsonl":
        write_lines(sys.stdout.buffer, document["uses"])
    else:
        lines = coverage_lines(census.coverage, run.index.foreign)
        UsesTable(console(sys.stdout, flags["color"]), verbose=flags["verbose"]).show(census.uses, lines)
    sys.stdout.flush()
    memory.note(run, request, [status])
    memory.write(voice.warn)
    return status


def _asking_who_pulls(flags: Flags) -> Flags:
    """The flags with the source that knows who pulls."""
    if WHO_PULLS in flags["skip_sources"]:
        raise BadInput(f"--unexplained needs the source {WHO_PULLS}, and --skip-source leaves it out")
    return flags | {"with_sources": tuple(dict.fromkeys((*flags["with_sources"], WHO_PULLS)))}


def _show_unexplained(world: AwsWorld, request: Request, census: Census, flags: Flags, voice: Voice) -> Exit:
    with voice.working("Reading what the repositories hold"):
        found, failures = unexplained_pulls(world, census, request.scope)
    coverage = (*census.coverage, *failures)
    document = unexplained_document(found, coverage, world.account, time.time())
    if flags["output"] == "json":
        write_document(sys.stdout.buffer, document)
    elif flags["output"] == "jsonl":
        write_lines(sys.stdout.buffer, document["unexplained"])
    else:
        UnexplainedTable(console(sys.stdout, flags["color"])).show(found, coverage_lines(coverage, 0))
    return Exit.HELD if any(entry.is_gap for entry in coverage) else Exit.DONE
