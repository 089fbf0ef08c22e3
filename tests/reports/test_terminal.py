"""What people read: sentences break at words on a terminal, and what is to be copied stays in one line."""

import io

import pytest
from rich.text import Text

from ecrsweep.reports.table import console

SENTENCE = "263 images can go, up to 53.8 GB, and in each of their repositories more would go than is allowed."
RESOURCE = "    123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app@sha256:0123456789 : a task"


class Terminal(io.StringIO):
    """A text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of a sentence, plain and in bold, and of a resource, where there are 40 columns."""
    monkeypatch.setenv("COLUMNS", "40")
    paper = console(out, "off")
    paper.print(SENTENCE)
    paper.print(Text(SENTENCE, style="bold"))
    paper.print(RESOURCE)
    return out.getvalue().splitlines()


def test_a_sentence_goes_on_at_a_word_on_a_terminal_and_a_resource_stays_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *sentences, resource = shown(Terminal(), monkeypatch)
    assert max(map(len, sentences)) <= 40
    assert " ".join(line.strip() for line in sentences) == f"{SENTENCE} {SENTENCE}"
    assert resource == RESOURCE


def test_the_name_of_an_image_stays_a_line_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    for line in (RESOURCE.strip(), f"Kept because of {RESOURCE.strip()}, and others"):
        console(out, "off").print(line)
        assert out.getvalue().splitlines()[-1] == line


def test_a_log_has_a_line_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(io.StringIO(), monkeypatch) == [SENTENCE, SENTENCE, RESOURCE]
