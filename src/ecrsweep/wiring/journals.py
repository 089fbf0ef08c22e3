"""Where the journal of an apply lies: where the user says, else with all that outlives a run. And the run as it is begun.

One run at a time changes a registry: the lease lies where the ledger does.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from ecrsweep._version import __version__
from ecrsweep.apply import Before, Record, done_before
from ecrsweep.aws.bucket import Bucket, parse_address
from ecrsweep.aws.state import BucketState
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.document import SavedPlan
from ecrsweep.core.errors import JournalUnreadable
from ecrsweep.core.journal import History, read_journal
from ecrsweep.core.names import Repository
from ecrsweep.memory import FileJournal, Leases, StoredJournal, stored_lines
from ecrsweep.ports import Journal, Place, StateStore
from ecrsweep.wiring.memory import Memory

FOLDER: Final = "journals"


class Resumed(msgspec.Struct, frozen=True):
    """A run that is taken up again: its journal, the plan that it carried out, and what it has done."""

    location: str
    history: History
    plan: SavedPlan

    @property
    def before(self) -> Mapping[Repository, Before]:
        """What it has done, and what it asked for."""
        return done_before(self.history)


@contextmanager
def recording(
    world: AwsWorld,
    memory: Memory,
    saved: SavedPlan,
    *,
    override_limits: bool,
    journal: str | None = None,
    manifests: bool = True,
    resumed: Resumed | None = None,
) -> Iterator[Record]:
    """The record of an apply, begun, while this run alone may change the registries of the plan.

    `journal` is a file or s3:// address. Raises `Busy`, `BadInput` and `StateFailure`.
    """
    leases = leases_on(memory.store, world, saved)
    leases.take()
    try:
        yield begin_record(
            world,
            memory,
            saved,
            leases,
            override_limits=override_limits,
            journal=journal,
            manifests=manifests,
            resumed=resumed,
        )
    finally:
        leases.release()


def leases_on(store: StateStore, world: AwsWorld, saved: SavedPlan) -> Leases:
    """The leases on the registries that a plan changes, not taken yet."""
    return Leases(store, {image.place.registry for image in saved.free}, world.run, clock=time.time)


def begin_record(
    world: AwsWorld,
    memory: Memory,
    saved: SavedPlan,
    leases: Leases,
    *,
    override_limits: bool,
    journal: str | None = None,
    manifests: bool = True,
    resumed: Resumed | None = None,
) -> Record:
    """The record of an apply, begun, whose leases have been taken. Raises `BadInput` and `StateFailure`."""
    to = _journal(world, memory, world.place(world.home_region), journal if resumed is None else resumed.location)
    record = Record(time.time, to, memory.edges, manifests=manifests, still_ours=leases.renew)
    if resumed is None:
        record.begin(world.run, world.account, __version__, saved, override_limits=override_limits)
    else:
        calls = max((call.number for call in resumed.history.calls), default=0)
        record.resume(world.run, calls, override_limits=override_limits)
    return record


def read_resumed(place: Place | None, location: str) -> Resumed:
    """The run whose journal is at a file or s3:// address, to be taken up again. Limits that it overrode stay overridden.

    Raises `PlanExpired`, `JournalUnreadable`, `BadInput`, `StateFailure`.
    """
    history = read_history(place, location)
    if history.plan is None:
        raise JournalUnreadable(f"The journal {location} does not tell the plan of its run")
    header = history.plan.header
    header.require_current(time.time())
    overrides = header.scope.override_limits or history.override_limits
    scope = msgspec.structs.replace(header.scope, override_limits=overrides)
    plan = msgspec.structs.replace(history.plan, header=msgspec.structs.replace(header, scope=scope))
    return Resumed(location, history, plan)


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
