"""Policies refuse nonsense, and durations never overflow into "everything"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.core.errors import BadInput
from ecrsweep.core.policy import DAY, HOUR, Limits, Policy, format_duration, matches_any, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 30 * DAY), ("12h", 12 * HOUR), ("2w", 14 * DAY), ("90m", 5400.0), ("0d", 0.0), ("45s", 45.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["999999d", "9" * 400 + "d", "-3d", "30", "d", "", "1.5d", "30 days", "1y", "٣d", "inf"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_duration(text)


@given(st.integers(0, 36_500 * 86_400))
def test_a_printed_duration_reads_back(seconds: int) -> None:
    assert parse_duration(format_duration(float(seconds))) == seconds


@pytest.mark.parametrize(
    "fields",
    [
        {"newest": -1},
        {"grace": -1.0},
        {"pulled_within": float("inf")},
        {"untagged_for": 1e12},
        {"protected_tag_regexes": ("(",)},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Policy(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{"max_fraction": 1.5}, {"max_fraction": -0.1}, {"max_images": -1}, {"max_bytes": -1}]
)
def test_limits_that_cannot_be_meant_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Limits(**fields)  # type: ignore[arg-type]


def test_globs_are_anchored() -> None:
    assert matches_any(("app",), "app")
    assert not matches_any(("app",), "app-prod")
    assert not matches_any(("app",), "team/app")
    assert matches_any(("team/*",), "team/a/b")
