"""Files that a command writes for later: whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: str) -> Iterator[BinaryIO]:
    """A file to write to that appears under its name only when all of it is on the disk.

    Raises `OSError`, and then leaves what was there before untouched.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        with target.open("wb") as file:  # a pipe or a device cannot be replaced
            yield file
        return
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
