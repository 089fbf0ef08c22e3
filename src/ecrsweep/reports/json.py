"""Plans, applies and uses for programs: one JSON document, or JSON Lines, written as the repositories come."""

from collections.abc import Iterable
from typing import Any, BinaryIO, Final

import msgspec

from ecrsweep.core.document import Footer, Header, PlanLines, decision_documents
from ecrsweep.core.plan import RepositoryPlan
from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Sighting

HISTORY_FORMAT: Final = "ecrsweep.history/1"

_encode = msgspec.json.Encoder().encode


class PlanLinesReport:
    """A plan as JSON Lines, as `--save` and `--output jsonl` write it (`reports.PlanReport`)."""

    def __init__(self, out: BinaryIO) -> None:
        """Write to `out`, which is not closed."""
        self._out = out
        self._lines = PlanLines()

    def begin(self, header: Header) -> None:
        """Write the header."""
        self._out.write(self._lines.begin(header))

    def add(self, plan: RepositoryPlan) -> None:
        """Write a line a decision."""
        self._out.writelines(self._lines.add(plan))

    def end(self, footer: Footer) -> None:
        """Write the footer."""
        self._out.write(self._lines.end(footer))


class PlanDocumentReport:
    """A plan as one JSON document, streamed: decisions come before what is known only at the end."""

    def __init__(self, out: BinaryIO) -> None:
        """Write to `out`, which is not closed."""
        self._out = out
        self._separator = b"\n"

    def begin(self, header: Header) -> None:
        """Write the members of the header and open the list of decisions."""
        self._out.write(_encode(header.document())[:-1] + b',"decisions":[')

    def add(self, plan: RepositoryPlan) -> None:
        """Write the decisions of a repository, a line each."""
        for row in decision_documents(plan):
            self._out.write(self._separator + _encode(row))
            self._separator = b",\n"

    def end(self, footer: Footer) -> None:
        """Close the list and write the members of the footer."""
        self._out.write(b"\n]," + _encode(footer.document())[1:] + b"\n")


def history_document(one: Sighting) -> dict[str, Any]:
    """Who was seen using an image, first and last when, as JSON-able data; `possible` stands only where it may not be so."""
    document: dict[str, Any] = {
        "workload": one.workload,
        "source": one.source,
        "first_seen": rfc3339(one.first_seen),
        "last_seen": rfc3339(one.last_seen),
    }
    return document | ({"possible": True} if one.possible else {})


def write_document(out: BinaryIO, document: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """One document, indented: for what a person may read too."""
    out.write(msgspec.json.format(_encode(document), indent=2) + b"\n")


def write_lines(out: BinaryIO, documents: Iterable[Any]) -> None:
    """A line a document."""
    out.writelines(_encode(document) + b"\n" for document in documents)
