"""What a restore brought back, for people."""

from collections import defaultdict
from typing import Final

from rich.console import Console
from rich.text import Text

from ecrsweep.core.names import Repository
from ecrsweep.core.restoring import Outcome, RestoreResult, Result
from ecrsweep.reports.words import counted, printable

_SHORT_DIGEST: Final = 19
_GOOD: Final = frozenset({Outcome.RESTORED, Outcome.PUSHED_BACK, Outcome.TAG_PUT_BACK, Outcome.WAS_ACTIVE})
_WORDS: Final = {
    Outcome.RESTORED: "can be pulled again",
    Outcome.ACTIVATING: "is on its way",
    Outcome.WAS_ACTIVE: "was there",
    Outcome.PUSHED_BACK: "pushed back",
    Outcome.TAG_PUT_BACK: "put back",
    Outcome.TAG_TAKEN: "left alone",
    Outcome.GONE: "is gone",
    Outcome.LAYERS_GONE: "cannot come back",
    Outcome.PARTS_GONE: "cannot come back",
    Outcome.REFUSED: "refused",
    Outcome.UNKNOWN: "in doubt",
    Outcome.NOT_TRIED: "not tried",
}
_SENTENCES: Final = (
    ((Outcome.RESTORED,), "image", "out of the archive"),
    ((Outcome.PUSHED_BACK,), "image", "pushed back"),
    ((Outcome.TAG_PUT_BACK,), "tag", "put back"),
    ((Outcome.WAS_ACTIVE,), "image or tag", "there already"),
    ((Outcome.ACTIVATING,), "image", "on the way"),
    ((Outcome.TAG_TAKEN,), "tag", "left where it is: it names another image now"),
    ((Outcome.GONE, Outcome.LAYERS_GONE, Outcome.PARTS_GONE), "image", "gone for good"),
    ((Outcome.REFUSED,), "image", "refused by AWS"),
    ((Outcome.UNKNOWN,), "image", "in doubt"),
    ((Outcome.NOT_TRIED,), "image", "not tried"),
)


def show_restored(out: Console, result: RestoreResult) -> None:
    """Every image and tag with what became of it, repository by repository, and the sum."""
    by_repository: dict[Repository, list[Result]] = defaultdict(list)
    for entry in result.results:
        by_repository[entry.repository].append(entry)
    for repository, entries in by_repository.items():
        out.print(Text(repository.uri, style="bold"))
        for entry in entries:
            out.print(Text(_line(entry), style="" if entry.outcome in _GOOD else "yellow"))
        out.print()
    for note in result.notes:
        out.print(f"Note: {printable(note)}")
    out.print(Text(restore_sentence(result), style="bold"))


def restore_sentence(result: RestoreResult) -> str:
    """What a restore came to, in a few sentences."""
    parts = []
    for outcomes, noun, words in _SENTENCES:
        number = sum(1 for _ in result.only(*outcomes))
        if number:
            parts.append(f"{counted(number, noun)} {words}.")
    if any(result.only(Outcome.ACTIVATING)):
        parts.append("AWS goes on by itself, about 20 minutes in all: until then nobody can pull what is on the way.")
    if result.interrupted:
        parts.append("Interrupted: run it again to see what is back, and to go on.")
    if result.timed_out:
        parts.append("The time given with --timeout is over: run it again to see what is back.")
    if result.stopped_by:
        parts.append(f"Stopped: {printable(result.stopped_by)}")
    return " ".join(parts) or "There was nothing to bring back."


def _line(entry: Result) -> str:
    what = f"tag {entry.tag} of {entry.digest[:_SHORT_DIGEST]}"
    if entry.tag is None:
        what = f"{entry.digest[:_SHORT_DIGEST]} ({', '.join(entry.tags) or 'untagged'})"
    why = f": {entry.message}" if entry.message else ""
    return printable(f"  {what} {_WORDS[entry.outcome]}{why}")
