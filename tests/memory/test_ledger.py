"""The ledger over a state store: what is damaged, of another account, or in the hands of another writer."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ecrsweep.aws.bucket import Bucket
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.aws.state import BucketState
from ecrsweep.core.counts import Count
from ecrsweep.core.errors import StateFailure
from ecrsweep.core.uses import CoverageStatus, Sighting
from ecrsweep.emulator import Clock, Emulator, Fault
from ecrsweep.memory import Folder, Ledger
from ecrsweep.ports import StateStore

ACCOUNT = "123456789012"
NOW = 1_800_000_000.0
NAME = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/app@sha256:"


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with Emulator(clock=Clock(datetime.now(UTC))) as emulator:
        yield emulator


@pytest.fixture
def bucket(aws: Emulator) -> Iterator[BucketState]:
    """A fresh bucket of an emulated S3."""
    name = f"sweep-{uuid.uuid4()}"
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in aws.environ().items():
            patch.setenv(variable, value)
        aws.client("s3").create_bucket(Bucket=name)
        yield BucketState(Bucket(AwsPlace(AwsSession(environ=aws.environ()), "us-east-1"), name), "state")
    aws.faults.clear()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    """Either place that can keep a ledger."""
    made: StateStore = Folder(tmp_path) if request.param == "folder" else request.getfixturevalue("bucket")
    return made


def sighting(number: int, last: float = NOW) -> Sighting:
    return Sighting(f"{NAME}{number:064x}", f"arn:task/{number}", "ecs", last, last)


def numbers(ledger: Ledger) -> list[int]:
    return sorted(int(one.image.removeprefix(NAME), 16) for one in ledger.recall(NOW).sightings)


def test_the_first_run_is_told_that_it_is_the_first(store: StateStore) -> None:
    recalled = Ledger(store, ACCOUNT).recall(NOW)
    assert (recalled.sightings, recalled.counts) == ((), ())
    assert recalled.coverage.status is CoverageStatus.COMPLETE
    assert recalled.coverage.notes == ("no earlier run has written one yet",)


def test_segments_are_put_together_and_nothing_changes_by_that(store: StateStore) -> None:
    ledger = Ledger(store, ACCOUNT)
    for number in range(5):
        ledger.add([sighting(number), sighting(number + 1)])
    assert (numbers(ledger), ledger.segments) == ([0, 1, 2, 3, 4, 5], 5)
    ledger.put_together(least=6)
    assert ledger.segments == 5
    ledger.put_together(least=5)
    assert (numbers(ledger), ledger.segments) == ([0, 1, 2, 3, 4, 5], 0)
    ledger.add([sighting(9)])
    ledger.put_together(least=1)
    assert numbers(ledger) == [0, 1, 2, 3, 4, 5, 9]


def test_an_event_that_comes_twice_is_one_entry(store: StateStore) -> None:
    ledger = Ledger(store, ACCOUNT)
    for _ in range(2):
        ledger.add([sighting(1)], name="event-1")
    assert (numbers(ledger), ledger.segments) == ([1], 1)


def test_damaged_lines_are_told_of_once_and_put_aside(store: StateStore) -> None:
    ledger = Ledger(store, ACCOUNT)
    ledger.add([sighting(1)])
    store.add(
        f"ledger/{ACCOUNT}/segments/torn.jsonl", b'{"format":"ecrsweep.ledger/1","account":"123456789012"}\n{"ima'
    )
    recalled = ledger.recall(NOW)
    assert len(recalled.sightings) == 1
    assert recalled.coverage.status is CoverageStatus.COMPLETE
    assert recalled.coverage.notes == ("1 line is damaged and set aside, the rest was read",)
    ledger.put_together()
    assert ledger.recall(NOW).coverage.notes == ()
    (aside,) = store.read(store.names(f"ledger/{ACCOUNT}/damaged/"))
    assert aside is not None
    assert aside.content == b'{"ima\n'


def test_a_file_of_another_account_is_left_alone_and_told_of(store: StateStore) -> None:
    ledger, other = Ledger(store, ACCOUNT), "210987654321"
    ledger.add([sighting(1)])
    foreign = f"ledger/{ACCOUNT}/segments/foreign.jsonl"
    store.add(foreign, b'{"format":"ecrsweep.ledger/1","account":"%s"}\n' % other.encode())
    assert f"segments/foreign.jsonl was not read: it is of account {other}" in ledger.recall(NOW).coverage.notes[0]
    ledger.put_together(least=1)
    assert store.names(f"ledger/{ACCOUNT}/segments/") == [foreign]
    assert numbers(ledger) == [1]
    assert numbers(Ledger(store, other)) == []


def test_entries_from_the_future_are_taken_and_told_of(store: StateStore) -> None:
    ledger = Ledger(store, ACCOUNT)
    ledger.add([sighting(1), sighting(2, NOW + 1e9)])
    recalled = ledger.recall(NOW)
    assert len(recalled.sightings) == 2
    assert recalled.coverage.notes[0].startswith("1 of its entries are ahead of this clock, up to 2058-")


def test_counts_of_several_runs_stand_side_by_side(store: StateStore) -> None:
    first, second = Ledger(store, ACCOUNT), Ledger(store, ACCOUNT)
    ecs, batch = (Count(ACCOUNT, "us-east-1", name, "", 5, 5, NOW) for name in ("ecs", "batch"))
    first.accept([ecs])
    second.accept([batch])
    assert set(first.recall(NOW).counts) == {ecs, batch}
    newer = Count(ACCOUNT, "us-east-1", "ecs", "", 9, 9, NOW + 1)
    second.accept([newer])
    assert set(first.recall(NOW).counts) == {newer, batch}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{not json", "damaged"),
        (
            b'{"format":"ecrsweep.counts/1","account":"210987654321","counts":[]}',
            "of ecrsweep.counts/1 and account 2109",
        ),
        (b'{"format":"ecrsweep.counts/2","account":"123456789012","counts":[]}', "of ecrsweep.counts/2"),
    ],
)
def test_counts_that_cannot_be_read_are_told_of(store: StateStore, content: bytes, told: str) -> None:
    store.add(f"counts/{ACCOUNT}.json", content)
    ledger = Ledger(store, ACCOUNT)
    assert told in " ".join(ledger.recall(NOW).coverage.notes)
    ledger.accept([Count(ACCOUNT, "us-east-1", "ecs", "", 5, 5, NOW)])
    replaced = bool(ledger.recall(NOW).counts)
    assert replaced is (told == "damaged"), "what others understand is not ours to replace"


def test_writers_in_a_bucket_that_race_lose_nothing_of_each_other(bucket: BucketState) -> None:
    def write(writer: int) -> None:
        ledger = Ledger(bucket, ACCOUNT)
        for count in range(8):
            ledger.add([sighting(100 * writer + count)])
            ledger.put_together(least=2)
            ledger.accept([Count(ACCOUNT, "us-east-1", f"source-{writer}-{count}", "", 1, 1, NOW)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    ledger = Ledger(bucket, ACCOUNT)
    assert numbers(ledger) == [100 * writer + count for writer in range(4) for count in range(8)]
    assert len(ledger.recall(NOW).counts) >= 24, "many writers at once may each lose a count, never the others'"


def test_a_bucket_that_is_replaced_under_our_hands_is_left_to_the_other(aws: Emulator, bucket: BucketState) -> None:
    ours, other = Ledger(bucket, ACCOUNT), Ledger(bucket, ACCOUNT)
    ours.add([sighting(1)])
    ours.put_together(least=1)
    ours.add([sighting(2)])

    def meddle(_: object) -> None:
        aws.faults.clear()
        other.add([sighting(3)])
        other.put_together(least=1)

    # Listed twice, read once each: what comes now is the conditional write.
    fault = aws.faults.add(Fault("before", "s3", run=meddle, skip=4, times=1))
    ours.put_together(least=1)
    assert fault.times == 0, "the other writer came in between"
    assert numbers(ours) == [1, 2, 3]


def test_more_segments_than_a_page_holds_are_all_read(bucket: BucketState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")
    ledger = Ledger(bucket, ACCOUNT)
    for number in range(17):
        ledger.add([sighting(number)])
    assert (numbers(ledger), ledger.segments) == (list(range(17)), 17)
    ledger.put_together()
    assert (numbers(ledger), ledger.segments) == (list(range(17)), 0)


def test_a_bucket_that_refuses_is_told_of_and_holds_nothing(aws: Emulator, bucket: BucketState) -> None:
    ledger = Ledger(bucket, ACCOUNT)
    ledger.add([sighting(1)])
    aws.faults.add(Fault.error("s3", "*", "AccessDenied", "Access Denied", 403))
    recalled = ledger.recall(NOW)
    assert recalled.coverage.status is CoverageStatus.SKIPPED
    assert not recalled.coverage.is_gap
    assert "was denied" in str(recalled.coverage.error)
    with pytest.raises(StateFailure, match="denied"):
        ledger.add([sighting(2)])


def test_a_bucket_that_does_not_exist_is_told_of(bucket: BucketState, aws: Emulator) -> None:
    place = AwsPlace(AwsSession(environ=aws.environ()), "us-east-1")
    nowhere = Ledger(BucketState(Bucket(place, "no-such-bucket"), "state"), ACCOUNT)
    assert "NoSuchBucket" in str(nowhere.recall(NOW).coverage.error)
    with pytest.raises(StateFailure, match="NoSuchBucket"):
        nowhere.add([sighting(1)])
