"""A folder that keeps state (`ports.StateStore`): a file a name, each written beside its place and moved into it.

Whoever is killed in the middle of a write leaves a file behind that nobody reads. To replace a file needs the lock of the
folder, because a file system has no conditional write; the system frees it when its holder dies.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from ecrsweep.core.errors import StateFailure
from ecrsweep.ports import Kept

_LOCK: Final = ".lock"


class Folder:
    """A folder of this machine. It is made when something is first kept in it."""

    def __init__(self, root: Path) -> None:
        """Nothing is read or made yet."""
        self._root = root

    @property
    def location(self) -> str:
        """The path of the folder."""
        return str(self._root)

    def names(self, under: str) -> Sequence[str]:
        """The names in this folder, sorted. Raises `StateFailure`."""
        folder = self._root / under
        with _told(folder):
            try:
                found = [entry.name for entry in folder.iterdir() if entry.is_file() and entry.name[0] != "."]
            except FileNotFoundError:
                return []
            return sorted(f"{under}{name}" for name in found)

    def read(self, names: Sequence[str]) -> Iterator[Kept | None]:
        """What is under each name, None where there is nothing (any more). Raises `StateFailure`."""
        return (self._read(self._root / name) for name in names)

    def add(self, name: str, content: bytes) -> None:
        """Keep this under a name that nobody else uses. Raises `StateFailure`."""
        self._write(self._root / name, content)

    def replace(self, name: str, content: bytes, version: str | None) -> bool:
        """Put this in the place of a version. False where it is not that version any more. Raises `StateFailure`."""
        file = self._root / name
        with _told(file):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (file.parent / _LOCK).open("ab") as lock, _locked(lock):
                there = self._read(file)
                if (None if there is None else there.version) != version:
                    return False
                self._write(file, content)
        return True

    def remove(self, names: Sequence[str]) -> None:
        """Forget these; what is not there is no error. Raises `StateFailure`."""
        for name in names:
            with _told(self._root / name):
                (self._root / name).unlink(missing_ok=True)

    def _read(self, file: Path) -> Kept | None:
        with _told(file):
            try:
                content = file.read_bytes()
            except FileNotFoundError:
                return None
            return Kept(content, hashlib.sha256(content).hexdigest())

    def _write(self, file: Path, content: bytes) -> None:
        with _told(file):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            number, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
            try:
                with os.fdopen(number, "wb") as out:
                    out.write(content)
                    out.flush()
                    os.fsync(out.fileno())
                Path(name).replace(file)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Turn what the system says into a sentence."""
    try:
        yield
    except OSError as error:
        raise StateFailure(f"{error.filename or file}: {error.strerror or error}") from error


@contextmanager
def _locked(lock: IO[bytes]) -> Iterator[None]:
    """Hold the lock of a folder: wait for whoever has it."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - there is none elsewhere

        lock.seek(0)
        msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)
        try:
            yield
        finally:
            lock.seek(0)
            msvcrt.locking(lock.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl  # noqa: PLC0415 - there is none on Windows

        fcntl.flock(lock, fcntl.LOCK_EX)  # the system frees it with the file
        yield
