"""`ecrsweep restore`: bring images back, by name, by the plan that archived them, or by the journal of a run."""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ecrsweep._version import __version__
from ecrsweep.app import Restoring
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.cli.images import asked_image, digest_of, held_now, require_ours
from ecrsweep.cli.interrupts import stopping
from ecrsweep.cli.running import Flags, settings_of
from ecrsweep.cli.voice import Voice
from ecrsweep.config import check_state
from ecrsweep.core.accounts import Member
from ecrsweep.core.decisions import Action
from ecrsweep.core.document import PlannedImage, Scope, read_rows
from ecrsweep.core.errors import BadInput, JournalUnreadable, NotFound, PlanForeign, PlanUnreadable
from ecrsweep.core.journal import History
from ecrsweep.core.names import Repository
from ecrsweep.core.policy import parse_duration
from ecrsweep.core.restoring import RESTORE_FORMAT, RestoreResult, Wish, wishes_of_journal, wishes_of_plan
from ecrsweep.core.times import rfc3339
from ecrsweep.reports.json import write_document, write_lines
from ecrsweep.reports.restore import show_restored
from ecrsweep.reports.table import console
from ecrsweep.reports.words import counted, size
from ecrsweep.wiring.accounts import check_accounts, members_of
from ecrsweep.wiring.exits import Exit, gravest, restore_statuses
from ecrsweep.wiring.grants import advice
from ecrsweep.wiring.journals import read_history
from ecrsweep.wiring.memory import open_memory
from ecrsweep.wiring.prepare import check_account, open_session, open_world

_STOPPING: Final = "Stopping. What AWS was asked to bring back goes on by itself. Once more stops at once."
_STOPPED: Final = "Stopped at once. What AWS was asked to bring back goes on by itself."


def run_restore(images: Sequence[str], flags: Flags) -> int:
    """`ecrsweep restore IMAGE... | --plan FILE | --journal FILE`."""
    voice = Voice(flags)
    _check(images, flags)
    patience = _patience(flags["timeout"])
    settings = settings_of(flags)
    session = open_session(settings, dict(os.environ))
    check_account(settings, session)
    check_accounts(settings)
    wishes, members = _wanted(images, flags, session, members_of(settings, session), voice)
    world = open_world(session, members)
    open_memory(world, check_state(settings.state), os.environ)  # what archived indexes contain
    restoring = Restoring(world, wishes, voice.say)
    with voice.working("Looking what is there"):
        restoring.look()
    number = len(restoring.to_fetch) + restoring.to_push + restoring.to_tag
    if number and not (flags["yes"] or _confirmed(restoring, wishes)):
        voice.warn("Not confirmed. Nothing was changed.")
        return Exit.ERROR
    with stopping(_STOPPING, _STOPPED) as stopped:
        with voice.working("Bringing back"):
            restoring.work(stopped.is_set)
            if flags["wait"]:
                until = time.monotonic() + patience
                restoring.wait(stopped.is_set, stopped.wait, lambda: time.monotonic() >= until)
        result = restoring.result()
        _show(result, flags)
    if restoring.denied:
        voice.warn(advice(restoring.denied, "restore"))
    return gravest(restore_statuses(result))


def _check(images: Sequence[str], flags: Flags) -> None:
    """Before AWS is asked anything. Raises `BadInput`."""
    if sum(map(bool, (images, flags["plan"], flags["journal"]))) != 1:
        raise BadInput("Name the images to bring back, or --plan FILE, or --journal FILE: one of these")
    if not flags["yes"] and not sys.stdin.isatty():
        raise BadInput(
            "restore asks before it brings images back, and there is no terminal to ask on: add --yes to go ahead without"
        )


def _patience(text: str) -> float:
    """How long to wait, in seconds. Raises `BadInput`."""
    try:
        return parse_duration(text)
    except BadInput as error:
        raise BadInput(f"--timeout: {error}") from error


def _wanted(
    images: Sequence[str], flags: Flags, session: AwsSession, members: tuple[Member, ...], voice: Voice
) -> tuple[list[Wish], tuple[Member, ...]]:
    """What shall be back, as the user said it, and the accounts that it lies in. Raises `EcrsweepError`."""
    if flags["plan"]:
        wishes, scope = _of_plan(flags["plan"], session.account, voice)
        return wishes, scope.members or members
    if flags["journal"]:
        wishes, history = _of_journal(flags["journal"], session, voice)
        return wishes, (() if history.plan is None else history.plan.header.scope.members) or members
    return _of_images(images, flags, session, members), members


def _of_images(images: Sequence[str], flags: Flags, session: AwsSession, members: Sequence[Member]) -> list[Wish]:
    found: dict[Repository, list[str]] = defaultdict(list)
    world = open_world(session, members)
    for image in images:
        asked = asked_image(image, session, flags)
        require_ours(asked, session, members)
        digest = digest_of(asked, held_now(world, asked))
        if digest is None:
            raise NotFound(
                f"There is no image {asked} in account {asked.repository.registry.account}, archived or not. If a run deleted it, its journal may "
                "bring it back: ecrsweep restore --journal FILE. Nothing was changed"
            )
        found[asked.repository].append(digest)
    return [Wish(repository=where, archived=tuple(digests), whole=True) for where, digests in found.items()]


def _of_plan(file: str, account: str, voice: Voice) -> tuple[list[Wish], Scope]:
    rows: list[PlannedImage] = []
    try:
        with Path(file).open("rb") as lines:
            saved = read_rows(lines, lambda row: rows.append(row) if row.action is Action.ARCHIVE else None)
    except OSError as error:
        raise PlanUnreadable(f"The plan {file} cannot be read: {error.strerror}") from error
    header = saved.header
    if header.scope.account != account:
        raise PlanForeign(
            f"The plan is of account {header.scope.account}, the credentials are of {account}. Nothing was changed"
        )
    strangers = sorted({row.account for row in rows} - set(header.scope.accounts))
    if strangers:
        raise PlanUnreadable(f"The plan names images outside its own scope: {', '.join(strangers)}")
    if time.time() > header.expires_at:
        voice.warn(
            f"The plan expired at {rfc3339(header.expires_at)}: that is no obstacle to bringing back what it archived."
        )
    return wishes_of_plan(rows), header.scope


def _of_journal(location: str, session: AwsSession, voice: Voice) -> tuple[list[Wish], History]:
    try:
        history = read_history(AwsPlace(session, os.environ.get("AWS_REGION") or session.home_region), location)
    except JournalUnreadable as error:
        raise JournalUnreadable(f"{location}: {error}") from error
    if history.account != session.account:
        raise BadInput(
            f"The journal is of account {history.account}, the credentials are of {session.account}. Nothing was changed"
        )
    if not history.whole:
        voice.warn(f"The run {history.run} did not come to its end: what it may have done is looked at too.")
    return wishes_of_journal(history), history


def _confirmed(restoring: Restoring, wishes: Sequence[Wish]) -> bool:
    fetched, pushed, tagged = restoring.to_fetch, restoring.to_push, restoring.to_tag
    parts = [
        f"brings {counted(len(fetched), 'image')} ({size(sum(fetched))} at most) out of the archive" if fetched else "",
        f"pushes {counted(pushed, 'image')} back" if pushed else "",
        f"puts {counted(tagged, 'tag')} back" if tagged else "",
    ]
    accounts = sorted({wish.repository.registry.account for wish in wishes})
    where = f"account {accounts[0]}" if len(accounts) == 1 else f"{len(accounts)} accounts"
    print(f"This {' and '.join(filter(None, parts))}, in {where}.", file=sys.stderr)
    if fetched:
        print("It takes about 20 minutes, and AWS bills what is fetched, by the GB.", file=sys.stderr)
    print("Go ahead? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _show(result: RestoreResult, flags: Flags) -> None:
    match flags["output"]:
        case "json":
            write_document(sys.stdout.buffer, result.document())
        case "jsonl":
            header = {"format": RESTORE_FORMAT, "tool_version": __version__}
            write_lines(sys.stdout.buffer, [header, *(entry.document() for entry in result.results), result.footer()])
        case _:
            show_restored(console(sys.stdout, flags["color"]), result, verbose=flags["verbose"])
    sys.stdout.flush()
