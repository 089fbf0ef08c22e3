"""What a run really did, line by line, as it is written down: the events of a journal, and what they come to.

A line stands before every call that changes something, and one after it with what AWS answered for each image: whatever
moment a run dies at, the journal says what was under way. The format is public: docs/formats.md. Reading trusts nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ecrsweep.core.decisions import Action
from ecrsweep.core.errors import JournalUnreadable
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.times import rfc3339

JOURNAL_FORMAT: Final = "ecrsweep.journal/1"

Event = dict[str, Any]


class KeptManifest(msgspec.Struct, frozen=True):
    """A manifest as the journal keeps it, with the tags that it had."""

    digest: str
    media_type: str | None
    tags: tuple[str, ...]
    content: str


class Touched(msgspec.Struct, frozen=True):
    """One image, or one tag of it, that a call was about, and what AWS answered: `failure` None where it was done."""

    digest: str
    tag: str | None = None
    failure: str | None = None
    message: str | None = None


class Call(msgspec.Struct, frozen=True):
    """One call of a run: what was asked of which repository, and the answers; None where none stands in the journal."""

    number: int
    action: Action
    repository: Repository
    asked: tuple[Touched, ...]
    answers: tuple[Touched, ...] | None = None
    error: str | None = None

    @property
    def done(self) -> Iterator[Touched]:
        """What AWS said was done."""
        return (answer for answer in self.answers or () if answer.failure is None)


class History(msgspec.Struct, frozen=True):
    """A journal read back. `whole` is False where the run did not come to its end, or the last line was cut short."""

    run: str
    account: str
    began_at: str
    calls: tuple[Call, ...]
    manifests: Mapping[Repository, Mapping[str, KeptManifest]]
    whole: bool
    plan: str | None = None
    outcomes: tuple[Mapping[str, Any], ...] = ()
    summary: Mapping[str, Any] | None = None

    def only(self, action: Action) -> Iterator[tuple[Repository, Touched]]:
        """The images or tags for which an action was done, or may have been: those of calls without an answer too."""
        for call in self.calls:
            if call.action is action:
                found = call.asked if call.answers is None else call.done
                yield from ((call.repository, touched) for touched in found)


def run_name(now: float, word: str = "") -> str:
    """A name for a run that sorts by time: `now` in seconds since the epoch, and a word that tells it from others."""
    moment = datetime.fromtimestamp(now, UTC)
    bare = re.sub(r"[^A-Za-z0-9-]", "", word)
    name = f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z"
    return f"{name}-{bare}" if bare else name


def begun(run: str, account: str, tool_version: str, now: float, plan: str | None = None) -> Event:
    """The first line. `plan` is the digest of the saved plan that is carried out."""
    return {
        "event": "begun", "format": JOURNAL_FORMAT, "run": run, "at": rfc3339(now), "account": account, "plan": plan,
        "tool_version": tool_version,
    }  # fmt: skip


def manifests_kept(repository: Repository, manifests: Iterable[KeptManifest], now: float) -> Event:
    """The manifests of images that are about to go."""
    return _event("manifests", now, repository) | {"manifests": [msgspec.to_builtins(found) for found in manifests]}


def asking(number: int, action: Action, repository: Repository, asked: Iterable[Touched], now: float) -> Event:
    """Stands before a call. `number` tells it from the others of the run."""
    images = [_bare(touched) for touched in asked]
    return _event("asking", now, repository) | {"call": number, "action": action.value, "images": images}


def answered(number: int, answers: Iterable[Touched], request: str | None, now: float) -> Event:
    """Stands after a call that was answered. `request` is AWS's word for it."""
    results = [_bare(answer) | {"failure": answer.failure, "message": answer.message} for answer in answers]
    return {"event": "answered", "at": rfc3339(now), "call": number, "request": request, "results": results}


def failed(number: int, error: str, now: float) -> Event:
    """Stands after a call that failed as a whole: it may have been carried out all the same."""
    return {"event": "failed", "at": rfc3339(now), "call": number, "error": error}


def came_to(documents: Sequence[Mapping[str, Any]], now: float) -> Event:
    """What became of images: as in the document of an apply, in short."""
    kept = ("account", "region", "repository", "digest", "outcome", "code", "message")
    images = [{name: document.get(name) for name in kept} for document in documents]
    return {"event": "outcomes", "at": rfc3339(now), "images": images}


def ended(summary: Mapping[str, Any], now: float, *, interrupted: bool) -> Event:
    """The last line of a run that came to its end."""
    return {"event": "ended", "at": rfc3339(now), "summary": dict(summary), "interrupted": interrupted}


def lines_of(events: Iterable[Mapping[str, Any]]) -> bytes:
    """The events as they stand in the file: a line each."""
    return b"".join(msgspec.json.encode(event) + b"\n" for event in events)


def read_journal(lines: Iterable[bytes]) -> History:
    """What a journal says. The last line may be cut short; any other that cannot be read raises `JournalUnreadable`."""
    events, whole = _events(lines)
    if not events or events[0].get("format") != JOURNAL_FORMAT:
        raise JournalUnreadable(f"This is no journal of ecrsweep: it does not begin with the format {JOURNAL_FORMAT!r}")
    calls: dict[int, Call] = {}
    manifests: dict[Repository, dict[str, KeptManifest]] = {}
    outcomes: list[Mapping[str, Any]] = []
    first, last = events[0], events[-1]
    for number, event in enumerate(events, start=1):
        try:
            _take(event, calls, manifests, outcomes)
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            raise JournalUnreadable(f"Line {number} of the journal cannot be understood: {error!r}") from error
    summary = last.get("summary") if last.get("event") == "ended" else None
    return History(
        str(first.get("run")), str(first.get("account")), str(first.get("at")), tuple(calls.values()), manifests,
        whole and summary is not None, first.get("plan"), tuple(outcomes), summary,
    )  # fmt: skip


def _take(
    event: Event,
    calls: dict[int, Call],
    manifests: dict[Repository, dict[str, KeptManifest]],
    outcomes: list[Mapping[str, Any]],
) -> None:
    match event.get("event"):
        case "manifests":
            held = manifests.setdefault(_repository(event), {})
            held |= {one.digest: one for one in msgspec.convert(event["manifests"], list[KeptManifest])}
        case "asking":
            asked = tuple(msgspec.convert(event["images"], list[Touched]))
            calls[event["call"]] = Call(event["call"], Action(event["action"]), _repository(event), asked)
        case "answered":
            answers = tuple(msgspec.convert(event["results"], list[Touched]))
            calls[event["call"]] = msgspec.structs.replace(calls[event["call"]], answers=answers)
        case "failed":
            calls[event["call"]] = msgspec.structs.replace(calls[event["call"]], error=str(event["error"]))
        case "outcomes":
            outcomes.extend(event["images"])


def _events(lines: Iterable[bytes]) -> tuple[list[Event], bool]:
    """The lines as events, and whether the last one was whole."""
    events: list[Event] = []
    broken: Exception | None = None
    for number, line in enumerate(lines, start=1):
        if broken is not None:
            raise JournalUnreadable(f"Line {number - 1} of the journal cannot be read: {broken}") from broken
        try:
            events.append(msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.MsgspecError as error:
            broken = error
    return events, broken is None


def _event(name: str, now: float, repository: Repository) -> Event:
    registry = repository.registry
    return {
        "event": name, "at": rfc3339(now), "account": registry.account, "region": registry.region,
        "repository": repository.name,
    }  # fmt: skip


def _repository(event: Event) -> Repository:
    return Repository(Registry(str(event["account"]), str(event["region"])), str(event["repository"]))


def _bare(touched: Touched) -> Event:
    return {"digest": touched.digest} | ({"tag": touched.tag} if touched.tag is not None else {})
