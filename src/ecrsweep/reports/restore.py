"""What a restore brought back, for people."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from ecrsweep.core.names import Repository
from ecrsweep.core.restoring import Outcome, RestoreResult, Result
from ecrsweep.reports.words import counted, printable

_SHORT_DIGEST: Final = 19
_SHOWN: Final = 10
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
    ((Outcome.RESTORED,), "out of the archive"),
    ((Outcome.PUSHED_BACK,), "pushed back"),
    ((Outcome.TAG_PUT_BACK,), "put back"),
    ((Outcome.WAS_ACTIVE,), "there already"),
    ((Outcome.ACTIVATING,), "on the way"),
    ((Outcome.TAG_TAKEN,), "left where it is, because it names another image now"),
    ((Outcome.GONE, Outcome.LAYERS_GONE, Outcome.PARTS_GONE), "gone for good"),
    ((Outcome.REFUSED,), "refused"),
    ((Outcome.UNKNOWN,), "in doubt"),
    ((Outcome.NOT_TRIED,), "not tried"),
)


def show_restored(out: Console, result: RestoreResult, *, verbose: bool = False) -> None:
    """What became of images and tags, repository by repository, and the sum. `verbose` names all that are well, not only some."""
    by_repository: dict[Repository, list[Result]] = defaultdict(list)
    for entry in result.results:
        by_repository[entry.repository].append(entry)
    for repository, entries in by_repository.items():
        out.print(Text(repository.uri, style="bold"))
        well = [entry for entry in entries if entry.outcome in _GOOD]
        shown = well if verbose else well[:_SHOWN]
        for entry in (*shown, *(entry for entry in entries if entry.outcome not in _GOOD)):
            out.print(Text(_line(entry), style="" if entry.outcome in _GOOD else "yellow"))
        if len(shown) < len(well):
            out.print(f"  and {len(well) - len(shown):,} more (--verbose)")
        out.print()
    for note in result.notes:
        out.print(f"Note: {printable(note)}")
    out.print(Text(restore_sentence(result), style="bold"))


def restore_sentence(result: RestoreResult) -> str:
    """What a restore came to, in a few sentences."""
    parts = [
        f"{_amount(entries)} {words}." for outcomes, words in _SENTENCES if (entries := list(result.only(*outcomes)))
    ]
    if any(result.only(Outcome.ACTIVATING)):
        parts.append("AWS goes on by itself, about 20 minutes in all: until then nobody can pull what is on the way.")
    if result.interrupted:
        parts.append("Interrupted: run it again to see what is back, and to go on.")
    if result.timed_out:
        parts.append("The time given with --timeout is over: run it again to see what is back.")
    if result.stopped_by:
        parts.append(f"Stopped: {printable(result.stopped_by)}")
    return " ".join(parts) or "There was nothing to bring back."


def _amount(entries: Sequence[Result]) -> str:
    """`3 images and 1 tag`."""
    tags = sum(entry.tag is not None for entry in entries)
    images = len(entries) - tags
    return " and ".join(counted(number, noun) for number, noun in ((images, "image"), (tags, "tag")) if number)


def _line(entry: Result) -> str:
    what = f"tag {entry.tag} of {entry.digest[:_SHORT_DIGEST]}"
    if entry.tag is None:
        what = f"{entry.digest[:_SHORT_DIGEST]} ({', '.join(entry.tags) or 'untagged'})"
    why = f": {entry.message}" if entry.message else ""
    return printable(f"  {what} {_WORDS[entry.outcome]}{why}")
