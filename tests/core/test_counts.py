"""When it is suspicious how little a source tells, beside the last run that was accepted."""

import pytest

from ecrsweep.core.counts import Count, counts_of, with_drops
from ecrsweep.core.uses import Coverage, CoverageStatus

ACCOUNT = "123456789012"


def entry(uses: int, images: int | None = None, *, region: str = "us-east-1", source: str = "ecs") -> Coverage:
    images = uses if images is None else images
    return Coverage(ACCOUNT, region, source, CoverageStatus.COMPLETE, uses, images=images)


def dropped(before: Coverage, now: Coverage, options: dict[str, str] | None = None) -> str | None:
    accepted = counts_of([before], {}, 0.0).values()
    (judged,) = with_drops([now], accepted, options or {})
    return judged.drop


@pytest.mark.parametrize(
    ("before", "now", "suspicious"),
    [
        ((120, 40), (3, 2), True),
        ((120, 40), (59, 19), True),
        ((120, 40), (60, 20), False),
        ((120, 40), (0, 0), True),
        ((1, 1), (0, 0), True),
        ((0, 0), (0, 0), False),
        ((0, 0), (9, 9), False),
        ((9, 9), (1, 1), False),
        ((10, 10), (4, 4), True),
        ((10, 10), (5, 5), False),
        ((200, 20), (40, 20), False),
        ((200, 20), (40, 10), False),
        ((200, 20), (150, 3), True),
    ],
)
def test_silence_is_suspicious_and_fewer_than_half_where_there_were_many(
    before: tuple[int, int], now: tuple[int, int], suspicious: bool
) -> None:
    assert (dropped(entry(*before), entry(*now)) is not None) is suspicious


def test_the_sentence_says_how_much_was_told_when_and_how_much_is_now() -> None:
    assert dropped(entry(120, 40), entry(3, 2)) == (
        "ecs in us-east-1 had 120 uses of 40 images at the last accepted run (1970-01-01T00:00:00Z), now 3 uses of 2 images"
    )
    everywhere = entry(1, region="all", source="nomad")
    assert str(dropped(everywhere, entry(0, region="all", source="nomad"))).startswith("nomad had 1 use of 1 image at")
    assert str(dropped(entry(1), entry(0))).endswith("now none")


def test_another_region_another_source_and_other_options_are_not_compared() -> None:
    assert dropped(entry(50, region="eu-west-1"), entry(0)) is None
    assert dropped(entry(50, source="batch"), entry(0)) is None
    assert dropped(entry(50), entry(0), {"ecs": "ecs.newest=1"}) is None


@pytest.mark.parametrize("status", [CoverageStatus.FAILED, CoverageStatus.SKIPPED])
def test_what_was_not_read_is_no_drop_and_makes_no_count(status: CoverageStatus) -> None:
    unread = Coverage(ACCOUNT, "us-east-1", "ecs", status, error="why")
    assert dropped(entry(50), unread) is None
    assert counts_of([unread], {}, 0.0) == {}


def test_a_drop_is_a_gap_until_somebody_accepts_it() -> None:
    (judged,) = with_drops([entry(0)], [Count(ACCOUNT, "us-east-1", "ecs", "", 5, 5, 0.0)], {})
    assert judged.status is CoverageStatus.COMPLETE
    assert judged.is_gap
    assert judged.trouble == judged.drop


def test_two_uses_files_of_one_name_count_together() -> None:
    counts = counts_of([entry(3, source="file:uses.json"), entry(4, source="file:uses.json")], {}, 0.0)
    assert [(count.uses, count.images) for count in counts.values()] == [(7, 7)]
