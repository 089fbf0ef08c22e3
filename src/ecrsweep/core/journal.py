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
from ecrsweep.core.document import PlannedImage, SavedPlan, held_document, read_header, read_held
from ecrsweep.core.errors import JournalUnreadable, PlanUnreadable
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.plan import Summary
from ecrsweep.core.times import rfc3339

JOURNAL_FORMAT: Final = "ecrsweep.journal/1"

Event = dict[str, Any]

_ROWS: Final = 500
"""Images of the plan in one line."""


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
    window: float = 0.0
    """Seconds between the last look at its images and the call."""

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
    plan: SavedPlan | None = None
    """What was to be carried out; its expiry is not looked at."""
    outcomes: tuple[Mapping[str, Any], ...] = ()
    summary: Mapping[str, Any] | None = None
    resumed: int = 0
    """How many times the run was taken up again."""
    override_limits: bool = False
    """True where the user said that limits do not count, when it was begun or taken up again."""

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


def begun(
    run: str, account: str, tool_version: str, now: float, plan: SavedPlan, *, override_limits: bool
) -> Iterator[Event]:
    """The first lines: who carries out which plan, so that it can be taken up again from here.

    `override_limits` is what counts for this run: whoever carries out a plan may say it who did not make it so.
    """
    yield {
        "event": "begun", "format": JOURNAL_FORMAT, "run": run, "at": rfc3339(now), "account": account,
        "tool_version": tool_version, "plan": plan.digest, "header": plan.header.document(),
        "summary": msgspec.to_builtins(plan.summary), "override_limits": override_limits,
        **held_document(plan.held_registries),
    }  # fmt: skip
    rows = msgspec.to_builtins(plan.going)
    for start in range(0, len(rows), _ROWS):
        yield {"event": "planned", "images": rows[start : start + _ROWS]}


def resumed(run: str, now: float, *, override_limits: bool) -> Event:
    """Stands where a run that was interrupted is taken up again, by another."""
    return {"event": "resumed", "run": run, "at": rfc3339(now), "override_limits": override_limits}


def manifests_kept(repository: Repository, manifests: Iterable[KeptManifest], now: float) -> Event:
    """The manifests of images that are about to go."""
    return _event("manifests", now, repository) | {"manifests": [msgspec.to_builtins(found) for found in manifests]}


def asking(
    number: int, action: Action, repository: Repository, asked: Iterable[Touched], now: float, *, window: float
) -> Event:
    """Stands before a call. `number` tells it from the others of the run; `window` are the seconds since its images were checked."""
    images = [_bare(touched) for touched in asked]
    about = {"call": number, "action": action.value, "checked_seconds_ago": round(window, 3), "images": images}
    return _event("asking", now, repository) | about


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
    """What a journal says. A line may be cut short only where a run died: at the end, or before it was taken up again.

    Raises `JournalUnreadable` for what is no journal, or damaged.
    """
    events, whole = _events(lines)
    if not events or events[0].get("format") != JOURNAL_FORMAT:
        raise JournalUnreadable(f"This is no journal of ecrsweep: it does not begin with the format {JOURNAL_FORMAT!r}")
    reading = _Reading()
    for number, event in enumerate(events, start=1):
        try:
            reading.take(event)
        except (KeyError, TypeError, ValueError, PlanUnreadable, msgspec.ValidationError) as error:
            raise JournalUnreadable(f"Line {number} of the journal cannot be understood: {error!r}") from error
    first, last = events[0], events[-1]
    summary = last.get("summary") if last.get("event") == "ended" else None
    finished = summary is not None and not last.get("interrupted")
    return History(
        run=str(first.get("run")),
        account=str(first.get("account")),
        began_at=str(first.get("at")),
        calls=tuple(reading.calls.values()),
        manifests=reading.manifests,
        whole=whole and finished,
        plan=reading.plan,
        outcomes=tuple(reading.outcomes),
        summary=summary,
        resumed=reading.resumed,
        override_limits=reading.override_limits,
    )


class _Reading:
    """What the lines have told so far."""

    def __init__(self) -> None:
        self.calls: dict[int, Call] = {}
        self.manifests: dict[Repository, dict[str, KeptManifest]] = {}
        self.outcomes: list[Mapping[str, Any]] = []
        self.resumed = 0
        self.override_limits = False
        self._begun: SavedPlan | None = None
        self._rows: list[PlannedImage] = []

    @property
    def plan(self) -> SavedPlan | None:
        return None if self._begun is None else msgspec.structs.replace(self._begun, going=tuple(self._rows))

    def take(self, event: Event) -> None:
        self.override_limits |= event.get("override_limits") is True
        match event.get("event"):
            case "begun":
                summary = msgspec.convert(event["summary"], Summary)
                self._begun = SavedPlan(
                    read_header(event["header"]), (), summary, None, event.get("plan"), held_registries=read_held(event)
                )
            case "planned":
                self._rows += msgspec.convert(event["images"], list[PlannedImage])
            case "resumed":
                self.resumed += 1
            case "manifests":
                held = self.manifests.setdefault(_repository(event), {})
                held |= {one.digest: one for one in msgspec.convert(event["manifests"], list[KeptManifest])}
            case "asking":
                asked = tuple(msgspec.convert(event["images"], list[Touched]))
                window = float(event["checked_seconds_ago"])
                action = Action(event["action"])
                self.calls[event["call"]] = Call(event["call"], action, _repository(event), asked, window=window)
            case "answered":
                answers = tuple(msgspec.convert(event["results"], list[Touched]))
                self.calls[event["call"]] = msgspec.structs.replace(self.calls[event["call"]], answers=answers)
            case "failed":
                self.calls[event["call"]] = msgspec.structs.replace(
                    self.calls[event["call"]], error=str(event["error"])
                )
            case "outcomes":
                self.outcomes.extend(event["images"])


def _events(lines: Iterable[bytes]) -> tuple[list[Event], bool]:
    """The lines as events, and whether the last one was whole. Whoever takes a run up again begins a new line."""
    events: list[Event] = []
    broken: Exception | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            if broken is not None:
                raise JournalUnreadable(f"Line {number} of the journal cannot be read: {error}") from error
            broken = error
            continue
        if broken is not None and event.get("event") != "resumed":
            raise JournalUnreadable(f"Line {number - 1} of the journal cannot be read: {broken}") from broken
        broken = None
        events.append(event)
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
