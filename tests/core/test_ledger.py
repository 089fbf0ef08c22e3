"""The memory of use: merging, bounds, lines on a disk that may be damaged, and what it says for an image."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ecrsweep.core.decisions import Code
from ecrsweep.core.images import Image
from ecrsweep.core.ledger import (
    MOST_WORKLOADS,
    ahead,
    history,
    lines_of,
    merged,
    read_lines,
    recent,
    seen_by_digest,
    seen_in,
    used_recently,
)
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.policy import DAY, HOUR
from ecrsweep.core.uses import Pulls, Sighting, Use, UseIndex
from tests.core.worlds import NOW, digest, memories

ACCOUNT = "123456789012"
HOME = Repository(Registry(ACCOUNT, "us-east-1"), "team/app")
IMAGE = Image(digest(1), ("v1",), pushed_at=NOW - 90 * DAY)


def sighting(workload: str = "arn:job", last: float = 0.0, first: float | None = None, **rest: Any) -> Sighting:
    """Seen so many seconds before now."""
    name = rest.pop("image", f"{HOME.uri}@{IMAGE.digest}")
    return Sighting(name, workload, "ecs", NOW - (last if first is None else first), NOW - last, **rest)


SIGHTINGS = st.lists(memories([HOME]).map(lambda memory: memory.sighting), max_size=8)


@given(SIGHTINGS, st.randoms(use_true_random=False))
def test_merging_knows_no_order_and_no_number_of_times(sightings: list[Sighting], chance: random.Random) -> None:
    shuffled = [*sightings, *sightings[: len(sightings) // 2]]
    chance.shuffle(shuffled)
    assert merged(shuffled) == merged(sightings)
    assert merged(merged(sightings)) == merged(sightings)
    half = len(sightings) // 2
    assert merged([*merged(sightings[:half]), *merged(sightings[half:])]) == merged(sightings)


@given(SIGHTINGS)
def test_what_is_written_is_what_is_read(sightings: list[Sighting]) -> None:
    lines = read_lines(ACCOUNT, lines_of(ACCOUNT, sightings))
    assert lines.sightings == tuple(sightings)
    assert (lines.damaged, lines.refused) == ((), None)


@given(SIGHTINGS, st.data())
def test_a_line_that_is_damaged_takes_no_other_along(sightings: list[Sighting], data: st.DataObject) -> None:
    lines = lines_of(ACCOUNT, sightings).splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines)))
    garbage = data.draw(
        st.sampled_from([b"\xff\xfe\x00 not JSON\n", b'{"image": "x"}\n', b"[1, 2]\n", b"null\n", b'{"\n'])
    )
    read = read_lines(ACCOUNT, b"".join([*lines[:place], garbage, *lines[place:]]))
    assert read.sightings == tuple(sightings)
    assert len(read.damaged) == 1


@given(SIGHTINGS, st.integers(0, 10_000))
def test_a_file_that_was_cut_gives_all_lines_before_the_cut(sightings: list[Sighting], cut: int) -> None:
    whole = lines_of(ACCOUNT, sightings)
    read = read_lines(ACCOUNT, whole[:cut])
    complete = whole[:cut].count(b"\n") - 1
    assert read.sightings[: max(complete, 0)] == tuple(sightings[: max(complete, 0)])


def test_times_that_make_no_sense_are_damage() -> None:
    line = b'{"image":"a/b@c","workload":"w","source":"s","first_seen":"%s","last_seen":"%s"}\n'
    for first, last in [(b"2026-01-02T00:00:00Z", b"2026-01-01T00:00:00Z"), (b"2026-01-01", b"soon"), (b"", b"")]:
        assert len(read_lines(ACCOUNT, line % (first, last)).damaged) == 1
    without_zone = line % (b"2026-01-01T00:00:00", b"2026-01-01T00:00:00")
    assert len(read_lines(ACCOUNT, without_zone).damaged) == 1


def test_a_file_of_another_account_or_of_a_later_version_is_not_taken() -> None:
    refused = read_lines("210987654321", lines_of(ACCOUNT, [sighting()]))
    assert refused.sightings == ()
    assert refused.refused == f"it is of account {ACCOUNT}, not of 210987654321"
    later = read_lines(ACCOUNT, b'{"format":"ecrsweep.ledger/2","account":"123456789012"}\n')
    assert "cannot read" in str(later.refused)


def test_of_many_workloads_those_seen_last_are_remembered_and_the_image_always() -> None:
    many = [sighting(f"arn:task/{number:05}", last=number * HOUR) for number in range(3 * MOST_WORKLOADS)]
    other = sighting("arn:old", last=900 * DAY, image=f"{HOME.uri}@{digest(2)}")
    kept = merged([*many, other])
    assert len(kept) == MOST_WORKLOADS + 1
    assert other in kept
    assert max(one.last_seen for one in kept) == NOW


def test_the_same_use_seen_twice_was_seen_from_the_first_time_to_the_last() -> None:
    (one,) = merged([sighting(last=DAY, possible=True), sighting(last=20 * DAY)])
    assert (one.first_seen, one.last_seen, one.possible) == (NOW - 20 * DAY, NOW - DAY, False)


def test_it_counts_to_the_second_of_the_border_and_from_the_future() -> None:
    def kept(last: float) -> bool:
        index = recent([sighting(last=last)], 30 * DAY, NOW)
        return IMAGE.digest in used_recently(index, HOME, [IMAGE], 30 * DAY)

    assert [kept(30 * DAY), kept(30 * DAY + 1), kept(0), kept(-400 * DAY)] == [True, False, True, True]
    assert ahead([sighting(last=-400 * DAY), sighting(last=-HOUR), sighting()], NOW) == 1


def test_the_reason_names_who_was_seen_last_first_and_last_when() -> None:
    index = recent([sighting("arn:old", last=9 * DAY), sighting("arn:new", last=DAY, first=5 * DAY)], 30 * DAY, NOW)
    reason = used_recently(index, HOME, [IMAGE], 30 * DAY)[IMAGE.digest]
    assert reason.code is Code.USED_RECENTLY
    assert reason.detail == (
        "last seen 2027-01-14T08:00:00Z, within 30d, by arn:new (ecs), first 2027-01-10T08:00:00Z; and by 1 more"
    )


def test_a_digest_counts_where_it_was_used_and_nowhere_else() -> None:
    elsewhere = Repository(HOME.registry, "other")
    index = recent([sighting()], 30 * DAY, NOW)
    assert used_recently(index, elsewhere, [IMAGE], 30 * DAY) == {}
    assert used_recently(index, Repository(Registry("210987654321", "us-east-1"), "team/app"), [IMAGE], 1.0) == {}


def test_a_name_without_a_digest_means_what_the_tag_named_then() -> None:
    bare = Image(digest(2), pushed_at=NOW - 60 * DAY)
    moved = replace(IMAGE, pushed_at=NOW - DAY)
    then = [sighting(last=5 * DAY, image=f"{HOME.uri}:v1")]
    assert set(used_recently(recent(then, 30 * DAY, NOW), HOME, [IMAGE, bare], 30 * DAY)) == {IMAGE.digest}
    assert set(used_recently(recent(then, 30 * DAY, NOW), HOME, [moved, bare], 30 * DAY)) == {IMAGE.digest, bare.digest}
    assert [len(history(then, HOME, [moved, bare], one)) for one in (IMAGE.digest, bare.digest)] == [1, 1]
    assert history(then, HOME, [IMAGE, bare], bare.digest) == ()


def test_what_a_run_sees_by_digest_is_remembered_under_the_plain_name_of_its_registry() -> None:
    dual = f"docker://{ACCOUNT}.dkr-ecr.us-east-1.on.aws/team/app:v9@{digest(1)}"
    uses = [
        Use(dual, "arn:a", "ecs", where="container web", digest=digest(2)),
        Use(f"{HOME.uri}:v1", "arn:b", "ecs"),
        Use(f"corp.example/team/app:v1@{digest(3)}", "arn:c", "kubernetes"),
        Use("", "arn:d", "lambda", region="eu-west-1", digest=digest(4), anywhere=True),
        Use(f"nginx@{digest(5)}", "arn:e", "ecs"),
        Use(f"what ${{EVER}}@{digest(6)}", "arn:f", "ecs"),
    ]
    assert [(one.image, one.digest, one.region, one.workload) for one in seen_by_digest(uses, NOW)] == [
        (f"{HOME.uri}@{digest(1)}", None, "", "arn:a container web"),
        (f"{HOME.uri}@{digest(2)}", None, "", "arn:a container web"),
        (f"corp.example/team/app@{digest(3)}", None, "", "arn:c"),
        ("", digest(4), "eu-west-1", "arn:d"),
        (uses[5].image, None, "", "arn:f"),
    ]


def test_a_pull_was_seen_when_it_was_and_not_when_it_was_read_of() -> None:
    pulls = Pulls(3, NOW - 20 * DAY, NOW - 9 * DAY)
    use = Use(f"{HOME.uri}@{IMAGE.digest}", "arn:role/laptop", "cloudtrail", pulls=pulls)
    found = [*seen_by_digest([use], NOW), *seen_in(HOME, UseIndex([use]).match(HOME, [IMAGE]), NOW)]
    assert {(one.first_seen, one.last_seen) for one in found} == {(NOW - 20 * DAY, NOW - 9 * DAY)}


def test_the_life_of_an_image_that_is_gone_is_told_under_its_digest() -> None:
    life = history([sighting("arn:a", last=9 * DAY), sighting("arn:b", last=DAY)], HOME, [], IMAGE.digest)
    assert [one.workload for one in life] == ["arn:b", "arn:a"]
    assert history([sighting()], HOME, [], digest(7)) == ()
