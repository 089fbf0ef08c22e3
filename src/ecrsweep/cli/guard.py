"""`ecrsweep guard`: the AWS lifecycle policies in place, held against what is in use."""

import sys
import time
from typing import Any

from ecrsweep.app import GuardRun, take_census
from ecrsweep.cli.running import prepared
from ecrsweep.cli.voice import Voice
from ecrsweep.core.document import coverage_document
from ecrsweep.core.lifecycle import GUARD_FORMAT, Finding
from ecrsweep.core.uses import CoverageStatus
from ecrsweep.reports.guard import show_findings
from ecrsweep.reports.json import write_document, write_lines
from ecrsweep.reports.table import console
from ecrsweep.reports.words import coverage_lines, printable
from ecrsweep.wiring.exits import Exit, gravest


def run_guard(flags: dict[str, Any]) -> int:
    """`ecrsweep guard`."""
    voice = Voice(flags)
    world, request = prepared(flags)
    with voice.working("Reading what is in use"):
        census = take_census(world, request, voice.say)
        run = GuardRun(world, request, census, time.time(), preview=flags["preview"])
        found = [finding for finding in run.findings() if finding.used_by or flags["all_of_them"]]
    _show(run, found, flags)
    statuses = [Exit.HELD] if any(entry.is_gap for entry in run.coverage) else []
    if flags["exit_code"] and any(finding.used_by for finding in found):
        statuses.append(Exit.CANDIDATES)
    return gravest(statuses)


def _show(run: GuardRun, found: list[Finding], flags: dict[str, Any]) -> None:
    documents = [finding.document() for finding in found]
    coverage = [coverage_document(entry) for entry in run.coverage]
    match flags["output"]:
        case "json":
            document = {"format": GUARD_FORMAT, "findings": documents, "coverage": coverage}
            document |= {"differences": run.differences} if flags["preview"] else {}
            write_document(sys.stdout.buffer, document)
        case "jsonl":
            write_lines(sys.stdout.buffer, documents)
        case _:
            out = console(sys.stdout, flags["color"])
            show_findings(out, found, policies=run.policies, verbose=flags["verbose"])
            for line in coverage_lines(run.coverage, run.index.foreign):
                out.print(printable(line), style="bold red" if line.startswith("GAP:") else "")
            for difference in run.differences:
                out.print(f"Differs: {printable(difference)}")
            if any(entry.status is CoverageStatus.FAILED for entry in run.coverage):
                out.print("What was not read may be in use too.")
