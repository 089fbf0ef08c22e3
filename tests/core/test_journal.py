"""Journals: what is written reads back, and whatever is cut short or damaged is told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.core import journal
from ecrsweep.core.decisions import Action
from ecrsweep.core.document import Header, PlannedImage, SavedPlan, Scope
from ecrsweep.core.errors import JournalUnreadable
from ecrsweep.core.images import Kind
from ecrsweep.core.journal import KeptManifest, Touched, lines_of, read_journal, run_name
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.plan import Summary
from ecrsweep.core.policy import DAY, Policy
from tests.core.worlds import NOW, digest

REPOSITORY = Repository(Registry("123456789012", "us-east-1"), "team/app")
ROW = PlannedImage(
    "123456789012", "us-east-1", "team/app", digest(1), ("v1",), Kind.IMAGE, None, None, None, 5, Action.DELETE, ()
)
PLAN = SavedPlan(
    Header(NOW, NOW + DAY, "1.0", (Policy(),), Scope("123456789012", ("us-east-1",))),
    (ROW, ROW),
    Summary(delete=2),
    None,
    "sha256:abc",
)
EVENTS = [
    *journal.begun("run-1", "123456789012", "1.0", NOW, PLAN, override_limits=False),
    journal.manifests_kept(REPOSITORY, [KeptManifest(digest(1), "application/json", ("v1",), '{"a": "\\u2028"}')], NOW),
    journal.asking(1, Action.DELETE, REPOSITORY, [Touched(digest(1)), Touched(digest(2))], NOW, window=0.25),
    journal.answered(1, [Touched(digest(1)), Touched(digest(2), None, "KmsError", "no key")], "request-1", NOW),
    journal.asking(2, Action.UNTAG, REPOSITORY, [Touched(digest(3), "pr-1")], NOW, window=0.25),
    journal.failed(2, "unreachable", NOW),
    journal.asking(3, Action.ARCHIVE, REPOSITORY, [Touched(digest(4))], NOW, window=0.25),
    journal.came_to([{"digest": digest(9), "outcome": "spared", "code": "changed", "message": "moved"}], NOW),
    journal.ended({"deleted": 1}, NOW, interrupted=False),
]
LINES = lines_of(EVENTS).splitlines(keepends=True)


def test_what_is_written_reads_back() -> None:
    found = read_journal(LINES)
    assert (found.run, found.account, found.plan, found.whole) == ("run-1", "123456789012", PLAN, True)
    assert found.manifests[REPOSITORY][digest(1)].content == '{"a": "\\u2028"}'
    assert [call.action for call in found.calls] == [Action.DELETE, Action.UNTAG, Action.ARCHIVE]
    assert found.calls[1].error == "unreachable"
    assert found.summary == {"deleted": 1}


def test_what_was_done_is_what_aws_answered_and_where_no_answer_stands_it_may_have_been() -> None:
    found = read_journal(LINES)
    assert [touched.digest for _, touched in found.only(Action.DELETE)] == [digest(1)]
    assert [touched.tag for _, touched in found.only(Action.UNTAG)] == ["pr-1"]
    assert [touched.digest for _, touched in found.only(Action.ARCHIVE)] == [digest(4)]


@given(st.integers(1, len(LINES)), st.integers(1, 30))
def test_a_run_that_was_killed_at_any_moment_leaves_a_journal_that_reads(count: int, cut: int) -> None:
    whole = read_journal(LINES[:count])
    assert whole.whole is (count == len(LINES))
    if count > 1:
        cut_short = read_journal([*LINES[: count - 1], LINES[count - 1][:cut]])
        assert not cut_short.whole
        assert cut_short.calls == read_journal(LINES[: count - 1]).calls


@pytest.mark.parametrize(
    "lines",
    [
        [], [b"{}\n"], [b"not json\n"], [LINES[0], b"{\n", LINES[2]], [LINES[0], LINES[4]],
        [LINES[0], b'{"event": "asking", "call": 1, "action": "explode", "images": []}\n'],
    ],
)  # fmt: skip
def test_what_is_no_journal_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(JournalUnreadable):
        read_journal(lines)


def test_runs_sort_by_their_time_and_their_names_are_safe() -> None:
    assert run_name(0.0, "a/b c") == "19700101T000000.000Z-abc"
    assert run_name(0.0) < run_name(1.5, "x") < run_name(86_400.0)
