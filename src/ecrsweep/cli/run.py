"""What each command does: wire the world together, run the story, show it, and find the exit status."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
from rich.console import Console

from ecrsweep._version import __version__
from ecrsweep.app import PlanRun, Request, apply, explain, take_census, unexplained_pulls
from ecrsweep.aws.session import AwsSession, AwsWorld
from ecrsweep.cli.interrupts import stopping
from ecrsweep.cli.voice import Voice
from ecrsweep.config import Settings
from ecrsweep.core.decisions import Action
from ecrsweep.core.document import (
    Footer,
    PlannedImage,
    SavedPlan,
    coverage_document,
    decision_documents,
    planned,
    read_plan,
)
from ecrsweep.core.errors import BadInput, Missing, NotFound, PlanUnreadable
from ecrsweep.core.images import Image
from ecrsweep.core.ledger import history
from ecrsweep.core.names import EcrReference, Registry, parse_own_reference
from ecrsweep.core.outcomes import APPLY_FORMAT, ApplyResult
from ecrsweep.core.plan import Explanation
from ecrsweep.core.times import rfc3339
from ecrsweep.core.unexplained import unexplained_document
from ecrsweep.core.uses import Census, Coverage, Sighting
from ecrsweep.core.uses_file import uses_document
from ecrsweep.reports import PlanReport
from ecrsweep.reports.json import (
    HISTORY_FORMAT,
    PlanDocumentReport,
    PlanLinesReport,
    history_document,
    write_document,
    write_lines,
)
from ecrsweep.reports.table import (
    ApplyTable,
    PlanTable,
    UnexplainedTable,
    UsesTable,
    console,
    show_explanation,
    show_history,
)
from ecrsweep.reports.words import counted, coverage_lines, printable, size
from ecrsweep.wiring.exits import Exit, apply_statuses, gravest, plan_statuses
from ecrsweep.wiring.files import written_whole
from ecrsweep.wiring.grants import advice, lacking
from ecrsweep.wiring.memory import Memory, open_memory
from ecrsweep.wiring.prepare import ALL_REGIONS, open_session, prepare, reopen

Flags = dict[str, Any]

WHO_PULLS: Final = "cloudtrail"
"""The source that tells of every pull who made it."""


def run_plan(flags: Flags) -> int:
    """`ecrsweep plan`."""
    voice = Voice(flags)
    world, request = prepared(flags)
    memory = _memory(world, request)
    with ExitStack() as stack:
        reports: list[PlanReport] = [_plan_report(flags)]
        if flags["save"]:
            reports.append(PlanLinesReport(stack.enter_context(written_whole(flags["save"]))))
        with voice.working("Reading what is in use"):
            run = _begun(world, request, memory, voice)
            _through(run, reports, voice)
        footer = _ended(run, reports)
    sys.stdout.flush()
    statuses = list(plan_statuses(footer, exit_code=flags["exit_code"]))
    memory.note(run, request, statuses)
    memory.write(voice.warn)
    _say_what_is_lacking(world, request, footer.coverage, voice)
    if flags["output"] == "table" and footer.summary.delete:
        _say_next(flags)
    _require_matches(run)
    return gravest(statuses)


def run_apply(file: str | None, flags: Flags, typed: set[str]) -> int:
    """`ecrsweep apply [FILE]`."""
    voice = Voice(flags)
    if not flags["yes"] and not sys.stdin.isatty():
        raise BadInput(
            "apply asks before it deletes, and there is no terminal to ask on: add --yes to go ahead without"
        )
    if file is None:
        world, request = prepared(flags)
        memory = _memory(world, request)
        saved, status, goes_on = _planned_now(world, request, memory, flags, voice)
    else:
        world, request, saved = _read_saved(file, flags, typed)
        memory = _memory(world, request)
        _say_what_the_plan_reads(saved, voice)
        goes_on = saved.verdict is None or request.scope.override_limits
        status = Exit.DONE if goes_on else Exit.HELD
        if not goes_on:
            voice.warn(f"The plan is held by a limit: {saved.verdict}. To go ahead all the same: --override-limits.")
    if goes_on and saved.going and not (flags["yes"] or _confirmed(saved)):
        voice.warn("Not confirmed. Nothing was deleted.")
        status, goes_on = Exit.ERROR, False
    if not goes_on:
        memory.write(voice.warn)
        return status
    with voice.working("Asking again what is in use"):
        run = _begun(world, request, memory, voice)
    with stopping() as stopped:
        with voice.working("Deleting"):
            result = apply(world, saved, run, stopped.is_set, voice.say)
        _show_result(result, flags)
    statuses = list(apply_statuses(result))
    memory.note(run, request, statuses)
    memory.write(voice.warn)
    _say_what_is_lacking(world, request, result.coverage, voice, result)
    return gravest([status, *statuses])


def run_uses(flags: Flags) -> int:
    """`ecrsweep uses`."""
    if flags["history"]:
        return run_history(flags["history"], flags)
    voice = Voice(flags)
    if flags["unexplained"]:
        flags = _asking_who_pulls(flags)
    world, request = prepared(flags)
    memory = _memory(world, request)
    with voice.working("Reading what is in use"):
        run = _begun(world, request, memory, voice)
    census = run.census
    document = uses_document(
        census.uses, census.coverage, run.index.foreign, account=world.account, created_at=time.time()
    )
    if flags["save"]:
        with written_whole(flags["save"]) as out:
            write_document(out, document)
    status = Exit.HELD if census.gaps else Exit.DONE
    if flags["unexplained"]:
        status = _show_unexplained(world, census, flags, voice)
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


def run_history(image: str, flags: Flags) -> int:
    """`ecrsweep uses --history IMAGE`."""
    if flags["save"] or flags["unexplained"]:
        raise BadInput(
            "--history shows what is remembered of one image: --save and --unexplained have no place beside it"
        )
    voice = Voice(flags)
    session = open_session(_settings(flags), dict(os.environ))
    asked = _asked_image(image, session, flags)
    world, request = prepared(flags | {"regions": (asked.repository.registry.region,)}, session)
    with voice.working("Reading the ledger"):
        recalled = _memory(world, request).recall()
        digest, life = _life(asked, _held(world, asked), recalled.sightings)
    if digest is None:
        raise NotFound(f"There is no image {asked}, and none is remembered")
    if flags["output"] == "table":
        show_history(console(sys.stdout, flags["color"]), f"{asked.repository.uri}@{digest}", life, recalled.coverage)
    else:
        rows = [history_document(one) for one in life]
        document = {"format": HISTORY_FORMAT, "image": f"{asked.repository.uri}@{digest}", "history": rows}
        if flags["output"] == "json":
            write_document(sys.stdout.buffer, document | {"coverage": [coverage_document(recalled.coverage)]})
        else:
            write_lines(sys.stdout.buffer, rows)
    return Exit.DONE


def _asking_who_pulls(flags: Flags) -> Flags:
    """The flags with the source that knows who pulls."""
    if WHO_PULLS in flags["skip_sources"]:
        raise BadInput(f"--unexplained needs the source {WHO_PULLS}, and --skip-source leaves it out")
    return flags | {"with_sources": tuple(dict.fromkeys((*flags["with_sources"], WHO_PULLS)))}


def _show_unexplained(world: AwsWorld, census: Census, flags: Flags, voice: Voice) -> Exit:
    with voice.working("Reading what the repositories hold"):
        found, failures = unexplained_pulls(world, census)
    coverage = (*census.coverage, *failures)
    document = unexplained_document(found, coverage, world.account, time.time())
    if flags["output"] == "json":
        write_document(sys.stdout.buffer, document)
    elif flags["output"] == "jsonl":
        write_lines(sys.stdout.buffer, document["unexplained"])
    else:
        UnexplainedTable(console(sys.stdout, flags["color"])).show(found, coverage_lines(coverage, 0))
    return Exit.HELD if any(entry.is_gap for entry in coverage) else Exit.DONE


def run_explain(image: str, flags: Flags) -> int:
    """`ecrsweep explain IMAGE`."""
    voice = Voice(flags)
    session = open_session(_settings(flags), dict(os.environ))
    asked = _asked_image(image, session, flags)
    repository = asked.repository
    world, request = prepared(flags | {"regions": (repository.registry.region,)}, session)
    with voice.working("Reading what is in use"):
        run = _begun(world, request, _memory(world, request), voice)
        census = run.census
        store = world.image_store(repository.registry.region)
        digest = _digest_of(asked, store.inventory(repository.name).images)
        found = explain(run, store, repository, digest) if digest else None
    if found is None:
        raise NotFound(f"There is no image {asked} in account {session.account}")
    _show_explanation(found, census, flags)
    return Exit.HELD if census.gaps else Exit.DONE


_OF_THE_PLAN: Final = frozenset(
    {
        "repositories", "keep_newest", "keep_tags", "keep_latest", "pushed_within", "pulled_within", "used_within", "max_fraction",
        "max_images", "max_bytes", "regions", "consumer_regions", "uses_files", "skip_sources",
        "with_sources", "source_options",
    }
)  # fmt: skip


def _settings(flags: Flags) -> Settings:
    """What the flags say about the run itself; those of display are left out."""
    return msgspec.convert(
        {name: flags[name] for name in Settings.__struct_fields__ if name in flags}, Settings, strict=False
    )


def prepared(flags: Flags, session: AwsSession | None = None) -> tuple[AwsWorld, Request]:
    """The world and the request that the flags of a command mean. Raises `BadInput`, and `AwsFailure`."""
    return prepare(_settings(flags), dict(os.environ), session)


def _memory(world: AwsWorld, request: Request) -> Memory:
    return open_memory(world, request.scope.state, os.environ)


def _begun(world: AwsWorld, request: Request, memory: Memory, voice: Voice) -> PlanRun:
    """A plan of this moment: everything is asked, and what earlier runs left is recalled."""
    census = take_census(world, request, voice.say, memory.recall())
    return PlanRun(world, request, census, time.time())


def _asked_image(image: str, session: AwsSession, flags: Flags) -> EcrReference:
    """The image that the user names. Raises `BadInput` for one of another account."""
    asked = parse_own_reference(image, Registry(session.account, _single_region(session, flags, image)))
    if asked.repository.registry.account != session.account:
        account = asked.repository.registry.account
        raise BadInput(f"{image} is of account {account}, the credentials are of {session.account}")
    return asked


def _held(world: AwsWorld, asked: EcrReference) -> tuple[Image, ...]:
    """What the repository of an image holds; nothing, if it is gone."""
    try:
        return world.image_store(asked.repository.registry.region).inventory(asked.repository.name).images
    except Missing:
        return ()


def _life(
    asked: EcrReference, images: Sequence[Image], sightings: Sequence[Sighting]
) -> tuple[str | None, tuple[Sighting, ...]]:
    """The digest that is meant, and all that is remembered of it: of an image that is gone too, if its digest is given."""
    digest = _digest_of(asked, images)
    if digest is None and asked.digest:
        own = f"{asked.repository.uri}@"
        known = {one.image.removeprefix(own) for one in sightings if one.image.startswith(own)}
        digest = _digest_of(asked, [Image(gone) for gone in sorted(known)])
    return digest, () if digest is None else history(sightings, asked.repository, images, digest)


def _single_region(session: AwsSession, flags: Flags, image: str) -> str:
    """The region in which a name without a host is looked up; any will do for a name with one."""
    if len(flags["regions"]) == 1 and flags["regions"][0] != ALL_REGIONS:
        return str(flags["regions"][0])
    if not flags["regions"] and session.configured_region:
        return session.configured_region
    if ".dkr" in image.partition("/")[0]:
        return session.home_region
    raise BadInput("Name the one --region of the image, or give its full name")


def _plan_report(flags: Flags) -> PlanReport:
    match flags["output"]:
        case "json":
            return PlanDocumentReport(sys.stdout.buffer)
        case "jsonl":
            return PlanLinesReport(sys.stdout.buffer)
        case _:
            return PlanTable(console(sys.stdout, flags["color"]), verbose=flags["verbose"])


def _through(run: PlanRun, reports: Sequence[PlanReport], voice: Voice) -> list[PlannedImage]:
    """Let the repositories pass before every report; the images that may go."""
    going: list[PlannedImage] = []
    for report in reports:
        report.begin(run.header)
    for plan in run.repositories():
        voice.say(f"{plan.repository.registry.region} {plan.repository.name}: {counted(len(plan.decisions), 'image')}")
        for report in reports:
            report.add(plan)
        if plan.summary.delete:
            going += (row for row in decision_documents(plan) if row.action is Action.DELETE)
    return going


def _ended(run: PlanRun, reports: Sequence[PlanReport]) -> Footer:
    """Let every report end, when the status line is gone from the terminal; the footer."""
    footer = run.footer()
    for report in reports:
        report.end(footer)
    return footer


def _say_what_is_lacking(
    world: AwsWorld, request: Request, coverage: Sequence[Coverage], voice: Voice, result: ApplyResult | None = None
) -> None:
    """Where permissions were missing, the policy statement that grants them."""
    missing = lacking(coverage, request.sources, world.allowed_actions, result)
    if missing:
        voice.warn(advice(missing))


def _say_next(flags: Flags) -> None:
    if flags["quiet"] or not sys.stdout.isatty():
        return
    if flags["save"]:
        print(f"Next: ecrsweep apply {flags['save']}")
    else:
        print("Next: ecrsweep plan ... --save plan.jsonl, then ecrsweep apply plan.jsonl; or: ecrsweep explain IMAGE")


def _require_matches(run: PlanRun) -> None:
    """A repository that was named and does not exist is an error; a glob that matches nothing is not."""
    missing = [pattern for pattern in run.unmatched_repositories() if not set(pattern) & set("*?[")]
    if missing and not run.unread_registries:
        raise NotFound(f"There is no repository {', '.join(missing)} in {', '.join(run.header.scope.regions)}")


def _planned_now(
    world: AwsWorld, request: Request, memory: Memory, flags: Flags, voice: Voice
) -> tuple[SavedPlan, Exit, bool]:
    """A plan made and shown on the spot, its exit status, and whether there is anything to carry out."""
    shown = console(sys.stderr if flags["output"] != "table" else sys.stdout, flags["color"])
    with voice.working("Reading what is in use"):
        run = _begun(world, request, memory, voice)
        table = PlanTable(shown, verbose=flags["verbose"])
        going = _through(run, [table], voice)
    footer = _ended(run, [table])
    sys.stdout.flush()
    statuses = list(plan_statuses(footer, exit_code=False))
    memory.note(run, request, statuses)
    _say_what_is_lacking(world, request, footer.coverage, voice)
    _require_matches(run)
    verdict = None if footer.verdict is None else footer.verdict.detail
    saved = SavedPlan(run.header, tuple(going), footer.summary, verdict)
    if footer.verdict is not None:
        return saved, Exit.HELD, False
    if not going:
        if flags["output"] != "table":
            _show_result(ApplyResult((), footer.coverage, held=bool(statuses)), flags)
        return saved, gravest([*statuses, *([Exit.HELD] if footer.summary.hold else [])]), False
    return saved, gravest(statuses), True


def _read_saved(file: str, flags: Flags, typed: set[str]) -> tuple[AwsWorld, Request, SavedPlan]:
    """The saved plan, with the world and the request that it was made for."""
    extra = sorted("--" + name.replace("_", "-") for name in typed & _OF_THE_PLAN)
    if extra:
        raise BadInput(f"A saved plan has its own scope and rules: {', '.join(extra)} cannot be given with it")
    try:
        with Path(file).open("rb") as lines:
            saved = read_plan(lines, time.time())
    except OSError as error:
        raise PlanUnreadable(f"The plan {file} cannot be read: {error.strerror}") from error
    return (*reopen(saved, _settings(flags), dict(os.environ)), saved)


def _say_what_the_plan_reads(saved: SavedPlan, voice: Voice) -> None:
    """A plan comes from others: what it makes this machine read is told before it is done."""
    scope = saved.header.scope
    exports = [option for option in scope.source_options if option.startswith(f"{WHO_PULLS}.export=")]
    if scope.uses_files or exports:
        voice.warn(printable(f"Read again, because the plan rests on it: {', '.join((*scope.uses_files, *exports))}"))
    for command in scope.uses_commands:
        voice.warn(printable(f"The plan rests on a command, which runs only if it is given again: {command}"))


def _confirmed(saved: SavedPlan) -> bool:
    """Ask the user to type the account and the number of images: a habit of typing y is no answer."""
    account, number = saved.header.scope.account, len(saved.going)
    freed = size(sum(row.size_bytes for row in saved.going))
    print(
        f"This deletes up to {counted(number, 'image')} ({freed} at most) of account {account}, planned at "
        f"{rfc3339(saved.header.created_at)}. It cannot be undone.",
        file=sys.stderr,
    )
    print(
        f"To go ahead, type the account and the number of images ({account} {number}): ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().split() == [account, str(number)]


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


def _digest_of(asked: EcrReference, images: Sequence[Any]) -> str | None:
    """The digest that a reference means among these images. A digest cut short is taken where only one begins so."""
    if asked.digest:
        matching = [image.digest for image in images if image.digest.startswith(asked.digest)]
        if len(matching) > 1:
            raise BadInput(f"{asked} is not unique: {len(matching)} digests begin so")
        return matching[0] if matching else None
    return next((image.digest for image in images if asked.tag in image.tags), None)


def _show_explanation(found: Explanation, census: Census, flags: Flags) -> None:
    if flags["output"] == "json":
        write_document(sys.stdout.buffer, _explanation_document(found, census.coverage))
        return
    out = console(sys.stdout, flags["color"])
    show_explanation(out, found)
    out.print()
    for line in coverage_lines(census.coverage, 0):
        out.print(printable(line))


def _explanation_document(found: Explanation, coverage: Sequence[Coverage]) -> Mapping[str, Any]:
    return {
        "decision": planned(found.repository, found.decision),
        "parents": found.parents,
        "children": found.children,
        "subjects": found.subjects,
        "referrers": found.referrers,
        "history": [history_document(one) for one in found.history],
        "coverage": [coverage_document(entry) for entry in coverage],
    }
