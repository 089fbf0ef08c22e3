"""Where journals are kept (`ports.Journal`): a file that is appended to, or objects of a state store, one a write.

What is written has reached the disk, or the bucket, before the call returns: whatever happens next, it can be read.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ecrsweep.core.errors import StateFailure
from ecrsweep.core.journal import lines_of
from ecrsweep.ports import StateStore


class FileJournal:
    """A file of this machine. It is made when something is first written."""

    def __init__(self, file: Path) -> None:
        """Nothing is made yet."""
        self._file = file
        self._open: IO[bytes] | None = None

    @property
    def location(self) -> str:
        """The path of the file."""
        return str(self._file)

    def write(self, *events: Mapping[str, Any]) -> None:
        """Append these lines and see them onto the disk. Raises `StateFailure`."""
        try:
            if self._open is None:
                self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._open = self._file.open("ab")
                if self._open.tell():  # a line that was cut short must not run into ours
                    self._open.write(b"\n")
            self._open.write(lines_of(events))
            self._open.flush()
            os.fsync(self._open.fileno())
        except OSError as error:
            raise StateFailure(f"{self._file}: {error.strerror or error}") from error


class StoredJournal:
    """A folder of a state store: a part a write, numbered, so that nothing that stands is ever written over."""

    def __init__(self, store: StateStore, folder: str) -> None:
        """Nothing is made yet. `folder` has no slash at its end."""
        self._store = store
        self._folder = folder
        self._parts: int | None = None

    @property
    def location(self) -> str:
        """Its address."""
        return f"{self._store.location}/{self._folder}"

    def write(self, *events: Mapping[str, Any]) -> None:
        """Keep these lines. Raises `StateFailure`."""
        if self._parts is None:
            self._parts = len(self._store.names(f"{self._folder}/"))
        self._parts += 1
        self._store.add(f"{self._folder}/{self._parts:06}.jsonl", lines_of(events))


def stored_lines(store: StateStore, folder: str) -> Iterator[bytes]:
    """The lines of a journal that is kept in parts. Raises `StateFailure`."""
    for kept in store.read(store.names(f"{folder}/")):
        if kept is not None:
            yield from kept.content.splitlines(keepends=True)
