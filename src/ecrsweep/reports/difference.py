"""What changed since another plan, for people and for programs (`reports.PlanReport`)."""

from collections import Counter
from typing import BinaryIO, Final

from rich.console import Console
from rich.text import Text

from ecrsweep.core.difference import DIFFERENCE_FORMAT, Change, OldPlan, goes_now
from ecrsweep.core.document import Footer, Header, coverage_document, decision_documents, summary_document
from ecrsweep.core.plan import RepositoryPlan
from ecrsweep.core.times import rfc3339
from ecrsweep.reports.json import write_document, write_lines
from ecrsweep.reports.words import counted, printable

_SHOWN: Final = 20
_SHORT_DIGEST: Final = 19


class DifferenceReport:
    """Holds a plan against an old one as it comes."""

    def __init__(self, old: OldPlan) -> None:
        """Nothing is compared yet."""
        self._old = old
        self._header: Header | None = None
        self.changes: list[Change] = []

    def begin(self, header: Header) -> None:
        """Note which plan it is."""
        self._header = header

    def add(self, plan: RepositoryPlan) -> None:
        """Compare one repository."""
        self.changes += self._old.compare(decision_documents(plan))

    def end(self, footer: Footer) -> None:
        """Compare what is left: images that are gone."""
        self.changes += self._old.gone()
        self._footer = footer


class DifferenceTable(DifferenceReport):
    """The changes for people: what goes now first, with the reason."""

    def __init__(self, out: Console, old: OldPlan, *, verbose: bool = False) -> None:
        """`verbose` names every change."""
        super().__init__(old)
        self._out = out
        self._shown = None if verbose else _SHOWN

    def end(self, footer: Footer) -> None:
        """Show them."""
        super().end(footer)
        self._out.print()
        self._out.print(Text(f"Since {self._old.described}", style="bold"))
        if not self.changes:
            self._out.print("Nothing has changed.")
            return
        ordered = sorted(self.changes, key=lambda change: not goes_now(change))
        for change in ordered[: self._shown]:
            image = change.image
            tags = f" ({', '.join(image.tags)})" if image.tags else ""
            why = f": {image.reasons[0].code} {image.reasons[0].detail}" if image.reasons else ""
            line = f"{change.before} -> {change.after}  {image.place.uri}@{image.digest[:_SHORT_DIGEST]}{tags}{why}"
            self._out.print(Text(printable(line), style="red" if goes_now(change) else ""))
        if self._shown is not None and len(ordered) > self._shown:
            self._out.print(f"and {len(ordered) - self._shown:,} more (--verbose)")
        counts = Counter((change.before, change.after) for change in self.changes)
        told = ", ".join(f"{number:,} {before} -> {after}" for (before, after), number in sorted(counts.items()))
        self._out.print(Text(f"{counted(len(self.changes), 'change')}: {told}.", style="bold"))


class DifferenceDocument(DifferenceReport):
    """The changes as one JSON document, or as JSON Lines with the changes alone."""

    def __init__(self, out: BinaryIO, old: OldPlan, *, lines: bool) -> None:
        """Write to `out` at the end."""
        super().__init__(old)
        self._out = out
        self._lines = lines

    def end(self, footer: Footer) -> None:
        """Write them."""
        super().end(footer)
        changes = [change.document() for change in self.changes]
        if self._lines:
            write_lines(self._out, changes)
            return
        old = self._old.saved
        document = {
            "format": DIFFERENCE_FORMAT,
            "before": {
                "created_at": rfc3339(old.header.created_at),
                "digest": old.digest,
                "summary": summary_document(old.summary, old.figures),
            },
            "after": {
                "created_at": None if self._header is None else rfc3339(self._header.created_at),
                "summary": summary_document(footer.summary, footer.figures),
                "coverage": [coverage_document(entry) for entry in footer.coverage],
            },
            "changes": changes,
        }
        write_document(self._out, document)
