"""A journal summed up, for people and for programs."""

from collections import Counter
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from ecrsweep.core.decisions import Action
from ecrsweep.core.journal import Call, History
from ecrsweep.reports.words import counted, printable

SUMMARY_FORMAT: Final = "ecrsweep.journal-summary/1"

_VERBS: Final = {Action.DELETE: "deleted", Action.ARCHIVE: "archived", Action.UNTAG: "untagged"}


def journal_document(history: History) -> dict[str, Any]:
    """JSON-able: the run, what was asked and answered by repository and action, what is in doubt."""
    return {
        "format": SUMMARY_FORMAT,
        "run": history.run,
        "account": history.account,
        "began_at": history.began_at,
        "finished": history.whole,
        "resumed": history.resumed,
        "override_limits": history.override_limits,
        "planned": 0 if history.plan is None else len(history.plan.going),
        "longest_window_seconds": max((call.window for call in history.calls), default=0.0),
        "calls": [_call_document(call) for call in history.calls],
        "outcomes": list(history.outcomes),
        "manifests": sum(len(kept) for kept in history.manifests.values()),
        "summary": history.summary,
    }


def show_journal(out: Console, history: History, location: str) -> None:
    """The run in a few lines, and each image that is in doubt or was refused."""
    out.print(
        Text(printable(f"Run {history.run} of account {history.account}, began {history.began_at}"), style="bold")
    )
    if history.override_limits:
        out.print("Limits were overridden (--override-limits).")
    done: Counter[tuple[str, Action]] = Counter()
    for call in history.calls:
        done[call.repository.uri, call.action] += sum(1 for _ in call.done)
    for (uri, action), number in sorted(done.items()):
        noun = "tag" if action is Action.UNTAG else "image"
        out.print(f"  {printable(uri)}: {counted(number, noun)} {_VERBS[action]}")
    for call in history.calls:
        for answer in call.answers or ():
            if answer.failure is not None:
                why = f"{answer.failure}: {answer.message}" if answer.message else answer.failure
                out.print(f"  refused: {printable(f'{call.repository.uri}@{answer.digest}: {why}')}")
        if call.answers is None:
            what = f"{call.action.value} of {counted(len(call.asked), 'image')} in {call.repository.uri}"
            out.print(f"  in doubt: {printable(what)}: {printable(call.error or 'no answer is written down')}")
    for outcome, number in sorted(Counter(str(image.get("outcome")) for image in history.outcomes).items()):
        out.print(f"  {counted(number, 'image')} {printable(outcome).replace('_', ' ')}")
    kept = sum(len(found) for found in history.manifests.values())
    if kept:
        out.print(f"  {counted(kept, 'manifest')} kept: ecrsweep restore --journal {printable(location)}")
    longest = max((call.window for call in history.calls), default=0.0)
    out.print(f"Longest time between the last look at an image and its call: {longest:.1f} s.")
    out.print(Text(_ending(history, location), style="bold"), soft_wrap=True)


def _ending(history: History, location: str) -> str:
    again = f" It was taken up again {counted(history.resumed, 'time')}." if history.resumed else ""
    if history.whole:
        return f"The run came to its end.{again}"
    return f"The run did not come to its end.{again} Go on: ecrsweep apply --resume {location}"


def _call_document(call: Call) -> dict[str, Any]:
    registry = call.repository.registry
    return {
        "call": call.number,
        "action": call.action.value,
        "account": registry.account,
        "region": registry.region,
        "repository": call.repository.name,
        "asked": len(call.asked),
        "done": sum(1 for _ in call.done),
        "answered": call.answers is not None,
        "error": call.error,
        "window_seconds": call.window,
    }
