"""Where the memory of a run lies, and what the run does with it: ask it first, add to it once, when all is decided.

Recording changes nothing in AWS but objects of the user's own bucket, so a plan does it too. Where it cannot be done, the
run says so and goes on: memory only ever adds protection.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from ecrsweep.app import PlanRun, Request
from ecrsweep.aws.bucket import Bucket
from ecrsweep.aws.state import BucketState
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.counts import Count, Key, counts_of
from ecrsweep.core.errors import StateFailure
from ecrsweep.core.ledger import LEDGER_SOURCE, Recollection, merged
from ecrsweep.core.uses import Sighting
from ecrsweep.memory import EdgeBook, Folder, HoldBook, Ledger
from ecrsweep.ports import Place, StateStore
from ecrsweep.wiring.exits import Exit

Warn = Callable[[str], None]


class Memory:
    """The ledger as one run uses it."""

    def __init__(self, store: StateStore, account: str) -> None:
        """Nothing is read yet."""
        self.store = store
        self.edges = EdgeBook(store, account)
        self._ledger = Ledger(store, account)
        self._holds = HoldBook(store, account)
        self._seen: tuple[Sighting, ...] = ()
        self._accepted: dict[Key, Count] = {}

    @property
    def location(self) -> str:
        """Where it lies."""
        return self._ledger.location

    @property
    def folder(self) -> Path | None:
        """The folder in which all of it lies; None where it is in a bucket."""
        return Path(self.store.location) if isinstance(self.store, Folder) else None

    def recall(self) -> Recollection:
        """What earlier runs left, and what an earlier part of this run was accepted with."""
        found = self._ledger.recall(time.time())
        counts = {count.key: count for count in found.counts} | self._accepted
        holds, gaps = self._holds.recall()
        return msgspec.structs.replace(found, counts=tuple(counts.values()), holds=holds, gaps=gaps)

    def note(self, run: PlanRun, request: Request, statuses: Iterable[Exit]) -> None:
        """Take in what a run saw, and how much each source told it, if nothing held it."""
        self._seen = merged([*self._seen, *run.sightings()])
        if not {Exit.HELD, Exit.INTERRUPTED} & set(statuses):
            told = (entry for entry in run.census.coverage if entry.source != LEDGER_SOURCE)
            self._accepted |= counts_of(told, request.options, run.header.created_at)

    def write(self, warn: Warn) -> None:
        """Write down what was noted. What goes wrong is warned of."""
        try:
            self._ledger.add(self._seen)
            self._ledger.accept(self._accepted.values())
        except StateFailure as failure:
            warn(f"What this run saw in use could not be written to the ledger at {self.location}: {failure}")
            return
        try:
            self._ledger.put_together()
        except StateFailure as failure:
            warn(f"The files of the ledger at {self.location} could not be put together: {failure}")


def open_memory(world: AwsWorld, location: str | None, environ: Mapping[str, str]) -> Memory:
    """The memory of the world's account: at this folder or s3:// address, or where this system keeps such things.

    What earlier runs noted of archived indexes goes into the cache of the world.
    """
    store = open_store(world.place(environ.get("AWS_REGION") or world.home_region), location)
    memory = Memory(store, world.account)
    with suppress(StateFailure):  # without them, what is archived holds its repository
        world.cache.remember(memory.edges.recall().items())
    return memory


def open_ledger(place: Place, location: str | None, account: str) -> Ledger:
    """The ledger of an account. `place` is where a bucket is spoken to from."""
    return Ledger(open_store(place, location), account)


def open_store(place: Place, location: str | None) -> StateStore:
    """Where state is kept: a folder or s3:// address; None is where this system keeps such things."""
    if location is not None and location.startswith("s3://"):
        bucket, _, prefix = location.removeprefix("s3://").strip("/").partition("/")
        return BucketState(Bucket(place, bucket), prefix)
    return Folder(default_state_folder() if location is None else Path(location))


def default_state_folder() -> Path:
    """The folder in which each system keeps the state of programs."""
    if os.environ.get("ECRSWEEP_STATE_DIR"):
        return Path(os.environ["ECRSWEEP_STATE_DIR"])
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        return Path("/tmp/ecrsweep/state")  # noqa: S108 - the only folder that a function can write to
    if os.environ.get("XDG_STATE_HOME"):
        return Path(os.environ["XDG_STATE_HOME"]) / "ecrsweep"
    folder = Path("Library/Application Support") if sys.platform == "darwin" else Path(".local/state")
    return Path.home() / folder / "ecrsweep"
