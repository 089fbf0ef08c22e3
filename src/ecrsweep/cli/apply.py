"""`ecrsweep apply`: carry out a saved plan, or one made, shown and confirmed on the spot."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console

from ecrsweep._version import __version__
from ecrsweep.app import Request, begin_apply, held_whole
from ecrsweep.aws.session import AwsPlace
from ecrsweep.aws.world import AwsWorld
from ecrsweep.cli.interrupts import stopping
from ecrsweep.cli.running import (
    WHO_PULLS,
    Flags,
    begin,
    end,
    memory_of,
    pass_through,
    plan_table,
    prepared,
    require_matches,
    say_what_is_lacking,
    say_what_reading_costs,
    settings_of,
)
from ecrsweep.cli.voice import Voice
from ecrsweep.core.decisions import GOING, Action
from ecrsweep.core.document import Footer, Header, PlannedImage, SavedPlan, changing_documents, read_plan
from ecrsweep.core.errors import BadInput, PlanUnreadable
from ecrsweep.core.outcomes import APPLY_FORMAT, ApplyResult
from ecrsweep.core.plan import RepositoryPlan
from ecrsweep.core.times import rfc3339
from ecrsweep.reports.json import (
    write_document,
    write_lines,
)
from ecrsweep.reports.savings import planned_bytes
from ecrsweep.reports.table import (
    ApplyTable,
    console,
)
from ecrsweep.reports.words import OVERRIDDEN, counted, printable
from ecrsweep.wiring.exits import Exit, apply_statuses, gravest, plan_statuses
from ecrsweep.wiring.journals import Resumed, read_resumed, recording
from ecrsweep.wiring.memory import Memory
from ecrsweep.wiring.prepare import open_session, reopen


def run_apply(file: str | None, flags: Flags, typed: set[str]) -> int:
    """`ecrsweep apply [FILE]`."""
    voice = Voice(flags)
    if not flags["yes"] and not sys.stdin.isatty():
        raise BadInput(
            "apply asks before it changes anything, and there is no terminal to ask on: add --yes to go ahead without"
        )
    resumed = _taken_up(file, flags)
    if resumed is not None:
        saved = resumed.plan
        world, request = _reopened(saved, flags, typed, voice)
        memory = memory_of(world, request)
        status, goes_on = Exit.DONE, True
    elif file is None:
        world, request = prepared(flags)
        memory = memory_of(world, request)
        saved, status, goes_on = _planned_now(world, request, memory, flags, voice)
    else:
        world, request, saved = _read_saved(file, flags, typed, voice)
        memory = memory_of(world, request)
        _say_what_the_plan_reads(saved, voice)
        limit = held_whole(saved, request)
        goes_on = limit is None
        status = Exit.DONE if goes_on else Exit.HELD
        if not goes_on:
            voice.warn(f"The plan is held by a limit: {limit}. {_OVERRIDE}")
    if request.scope.override_limits:
        saved = saved.without_limits
    if goes_on and saved.held_registries:
        held = "; ".join(held.described for held in saved.held_registries)
        voice.warn(printable(f"Held by a limit, so that nothing is changed there: {held}. {_OVERRIDE}"))
    if goes_on and saved.free and not (flags["yes"] or _confirmed(saved)):
        voice.warn("Not confirmed. Nothing was changed.")
        status, goes_on = Exit.ERROR, False
    if not goes_on:
        memory.write(voice.warn)
        return status
    with voice.working("Asking again what is in use"):
        run = begin(world, request, memory, voice)
    begun = recording(
        world, memory, saved, override_limits=request.scope.override_limits, journal=flags["journal"],
        manifests=flags["manifests"], resumed=resumed,
    )  # fmt: skip
    with begun as record, stopping() as stopped:
        before = None if resumed is None else resumed.before
        carrying = begin_apply(world, saved, run, say=voice.say, record=record, before=before)
        with voice.working("Changing"):
            carrying.work(stopped.is_set)
        result = carrying.result()
        _show_result(result, flags)
    statuses = list(apply_statuses(result))
    memory.note(run, request, statuses)
    memory.write(voice.warn)
    say_what_is_lacking(world, request, result.coverage, voice, result)
    return gravest([status, *statuses])


class _Going:
    """What an apply has to do, taken from a plan as its repositories pass (`reports.PlanReport`)."""

    def __init__(self) -> None:
        self.images: list[PlannedImage] = []

    def begin(self, header: Header) -> None:
        """Nothing is known yet."""

    def add(self, plan: RepositoryPlan) -> None:
        """Take what changes."""
        self.images += changing_documents(plan)

    def end(self, footer: Footer) -> None:
        """Nothing more comes."""


_OVERRIDE: Final = "To go ahead all the same: --override-limits."
_OF_THE_PLAN: Final = frozenset(
    {
        "repositories", "otherwise", "trial_for", "delete_after_archived", "keep_newest", "keep_tags", "keep_latest", "pushed_within", "pulled_within", "used_within", "max_fraction",
        "max_images", "max_bytes", "max_images_per_registry", "max_bytes_per_registry", "regions", "consumer_regions", "uses_files", "skip_sources",
        "with_sources", "source_options", "exact_size", "prices",
    }
)  # fmt: skip


def _planned_now(
    world: AwsWorld, request: Request, memory: Memory, flags: Flags, voice: Voice
) -> tuple[SavedPlan, Exit, bool]:
    """A plan made and shown on the spot, its exit status, and whether there is anything to carry out."""
    say_what_reading_costs(request, flags, voice)
    shown = console(sys.stderr if flags["output"] != "table" else sys.stdout, flags["color"])
    with voice.working("Reading what is in use"):
        run = begin(world, request, memory, voice)
        table = plan_table(shown, flags, request)
        going = _Going()
        pass_through(run, [table, going], voice)
    footer = end(run, [table])
    sys.stdout.flush()
    statuses = list(plan_statuses(footer, exit_code=False))
    memory.note(run, request, statuses)
    say_what_is_lacking(world, request, footer.coverage, voice)
    require_matches(run, request.scope)
    verdict = None if footer.verdict is None else footer.verdict.detail
    saved = SavedPlan(
        run.header, tuple(going.images), footer.summary, verdict, figures=footer.figures,
        held_registries=footer.held_registries,
    )  # fmt: skip
    if footer.verdict is not None:
        return saved, Exit.HELD, False
    if not going.images:
        if flags["output"] != "table":
            _show_result(ApplyResult((), footer.coverage, held=bool(statuses)), flags)
        return saved, gravest([*statuses, *([Exit.HELD] if footer.summary.hold else [])]), False
    return saved, gravest(statuses), True


def _taken_up(file: str | None, flags: Flags) -> Resumed | None:
    """The run that `--resume` names; None where it is not given."""
    location = flags["resume"]
    if location is None:
        return None
    if file is not None or flags["journal"] is not None:
        raise BadInput(
            "--resume goes on with the plan and the journal of the run: neither FILE nor --journal has a place beside it"
        )
    place = None
    if location.startswith("s3://"):
        session = open_session(settings_of(flags), dict(os.environ))
        place = AwsPlace(session, session.home_region)
    return read_resumed(place, location)


def _read_saved(file: str, flags: Flags, typed: set[str], voice: Voice) -> tuple[AwsWorld, Request, SavedPlan]:
    """The saved plan, with the world and the request that it was made for."""
    try:
        with Path(file).open("rb") as lines:
            saved = read_plan(lines, time.time())
    except OSError as error:
        raise PlanUnreadable(f"The plan {file} cannot be read: {error.strerror}") from error
    return (*_reopened(saved, flags, typed, voice), saved)


def _reopened(saved: SavedPlan, flags: Flags, typed: set[str], voice: Voice) -> tuple[AwsWorld, Request]:
    """The world and the request that a plan was made for."""
    extra = sorted("--" + name.replace("_", "-") for name in typed & _OF_THE_PLAN)
    if extra:
        raise BadInput(f"A saved plan has its own scope and rules: {', '.join(extra)} cannot be given with it")
    settings = settings_of(flags)
    if settings.policies is not None and settings.policies != saved.header.policies:
        voice.warn(f"The plan has its own policies: those of {flags['config'].name}, which are others, do not count.")
    world, request = reopen(saved, settings, dict(os.environ))
    if request.scope.override_limits:
        voice.warn(OVERRIDDEN)
    return world, request


def _say_what_the_plan_reads(saved: SavedPlan, voice: Voice) -> None:
    """A plan comes from others: what it makes this machine read is told before it is done."""
    scope = saved.header.scope
    exports = [option for option in scope.source_options if option.startswith(f"{WHO_PULLS}.export=")]
    again = (*scope.uses_files, *exports, *scope.hold_files)
    if again:
        voice.warn(printable(f"Read again, because the plan rests on it: {', '.join(again)}"))
    for command in scope.uses_commands:
        voice.warn(printable(f"The plan rests on a command, which runs only if it is given again: {command}"))


def _confirmed(saved: SavedPlan) -> bool:
    """Ask the user to type the account and the number of images: a habit of typing y is no answer."""
    accounts, number = sorted({row.account for row in saved.free}), len(saved.free)
    several = len(accounts) > 1
    word = str(len(accounts)) if several else accounts[0]
    where = f"{word} accounts" if several else f"account {word}"
    print(
        f"This {_what_it_does(saved)} of {where}, planned at {rfc3339(saved.header.created_at)}. "
        f"{_undoing(saved.free)}",
        file=sys.stderr,
    )
    print(
        f"To go ahead, type the {'number of accounts' if several else 'account'} and the number of images ({word} {number}): ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().split() == [word, str(number)]


def _what_it_does(saved: SavedPlan) -> str:
    """In words: "deletes up to 3 images (12 MB at most) and archives up to 2 images"."""
    parts = []
    for action, verb in ((Action.DELETE, "deletes"), (Action.ARCHIVE, "archives"), (Action.UNTAG, "takes tags off")):
        rows = [row for row in saved.free if row.action is action]
        if rows:
            figures = saved.figures if action is Action.DELETE else None
            most = f" ({planned_bytes(sum(row.size_bytes for row in rows), figures)})" if action in GOING else ""
            parts.append(f"{verb} up to {counted(len(rows), 'image')}{most}")
    return " and ".join(parts)


def _undoing(going: Sequence[PlannedImage]) -> str:
    """What can be undone, and how surely."""
    actions = {row.action for row in going}
    if Action.DELETE in actions:
        return "A deletion cannot be undone once the layers are gone."
    return "ecrsweep restore brings archived images back." if Action.ARCHIVE in actions else "The images stay."


def _show_result(result: ApplyResult, flags: Flags) -> None:
    """Show what was done; where stdout fails after images have gone, stderr gets the report."""
    try:
        match flags["output"]:
            case "json":
                write_document(sys.stdout.buffer, result.document())
            case "jsonl":
                header = {"format": APPLY_FORMAT, "tool_version": __version__}
                rows = [entry.document() for entry in result.results]
                write_lines(sys.stdout.buffer, [header, *rows, result.footer()])
            case _:
                ApplyTable(console(sys.stdout, flags["color"]), verbose=flags["verbose"]).show(result)
        sys.stdout.flush()
    except OSError:
        ApplyTable(_plain(sys.stderr), verbose=True).show(result)
        raise


def _plain(out: TextIO) -> Console:
    return console(out, "off")
