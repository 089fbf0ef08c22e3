"""Where the journal of an apply lies: where the user says, else with all that outlives a run."""

import time
from pathlib import Path
from typing import Final

from ecrsweep._version import __version__
from ecrsweep.apply import Record
from ecrsweep.aws.bucket import Bucket, parse_address
from ecrsweep.aws.session import AwsWorld
from ecrsweep.aws.state import BucketState
from ecrsweep.core.document import SavedPlan
from ecrsweep.core.errors import JournalUnreadable
from ecrsweep.core.journal import History, read_journal
from ecrsweep.memory import FileJournal, StoredJournal, stored_lines
from ecrsweep.ports import Journal, Place
from ecrsweep.wiring.memory import Memory

FOLDER: Final = "journals"


def begin_record(
    world: AwsWorld, memory: Memory, saved: SavedPlan, *, journal: str | None = None, manifests: bool = True
) -> Record:
    """The record of an apply, begun. `journal` is a file or s3:// address. Raises `BadInput` and `StateFailure`."""
    place = world.place(world.home_region)
    record = Record(time.time, _journal(world, memory, place, journal), memory.edges, manifests=manifests)
    record.begin(world.run, world.account, __version__, saved.digest)
    return record


def read_history(place: Place | None, location: str) -> History:
    """The journal at a file or s3:// address. `place` is where a bucket is spoken to from.

    Raises `JournalUnreadable`, `BadInput`, `StateFailure`.
    """
    if location.startswith("s3://"):
        assert place is not None  # noqa: S101 - who names a bucket has a session
        bucket, key = parse_address(location)
        return read_journal(stored_lines(BucketState(Bucket(place, bucket), ""), key.rstrip("/")))
    try:
        with Path(location).open("rb") as lines:
            return read_journal(lines)
    except OSError as error:
        raise JournalUnreadable(f"The journal {location} cannot be read: {error.strerror}") from error


def _journal(world: AwsWorld, memory: Memory, place: Place, location: str | None) -> Journal:
    if location is None:
        name = f"{FOLDER}/{world.account}/{world.run}"
        if memory.folder is not None:
            return FileJournal(memory.folder / f"{name}.jsonl")
        return StoredJournal(memory.store, name)
    if location.startswith("s3://"):
        bucket, key = parse_address(location)
        return StoredJournal(BucketState(Bucket(place, bucket), ""), key.rstrip("/"))
    return FileJournal(Path(location))
