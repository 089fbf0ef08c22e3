"""Files as witness for what no API knows: docker on hosts, laptops, other accounts. One source a file (`--uses-file`).

A file lies on a disk, in a bucket (`s3://`) or comes through standard input (`-`). Its forms: docs/formats.md.
API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

import stat
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ecrsweep.aws.bucket import Bucket, parse_address
from ecrsweep.core.errors import BadInput
from ecrsweep.core.policy import parse_duration
from ecrsweep.core.uses import Coverage, Note, Use
from ecrsweep.core.uses_file import LARGEST, parse_uses
from ecrsweep.ports import About, Place
from ecrsweep.sources.listed import coverage_name, told

NAME: Final = "file"
STANDARD_INPUT: Final = "-"
_S3: Final = "s3://"

_Content = tuple[bytes, float | None]
"""What a file holds, and when it was last written, where that is known."""


class FileSource:
    """The uses that one file lists (`ports.Source`); without a path, the pattern that those with one are made after."""

    about = About(
        system="a uses file, a JSON array or a plain list",
        calls="GetObject, for a file in a bucket",
        keeps="every image that stands in the file; failed readings of the run that made it are gaps of this one",
        unknowable="what has been started since the file was made: its age is told from 7 days on, and limited by the option `max-age`",
        by_default=False,
        flag="--uses-file",
        once=True,
        once_a_run=True,
    )

    def __init__(self, path: str = "", max_age: float | None = None) -> None:
        """`path` as typed; a file older than `max_age` seconds is a gap."""
        self._path = path
        self._max_age = max_age
        self._lock = threading.Lock()
        self._drained: bytes | None = None

    @property
    def name(self) -> str:
        """`file:` and the last part of the path."""
        last = "stdin" if self._path == STANDARD_INPUT else self._path.rstrip("/").rpartition("/")[2]
        return coverage_name(NAME, last) if self._path else NAME

    @property
    def actions(self) -> tuple[str, ...]:
        """Reading the object, where it is one."""
        return ("s3:GetObject",) if self._path.startswith(_S3) else ()

    def with_options(self, options: Mapping[str, str]) -> "FileSource":
        """The same file with the option `max-age`, a duration. Raises `BadInput`."""
        strangers = options.keys() - {"max-age"}
        if strangers:
            raise BadInput(f"The source file has the option max-age, and no {', '.join(sorted(strangers))}")
        return FileSource(self._path, parse_duration(options["max-age"]))

    def of(self, path: str) -> "FileSource":
        """The source of this file, with the same options."""
        return FileSource(path, self._max_age)

    def uses(self, place: Place) -> Iterator[Use | Note | Coverage]:
        """What the file lists. Raises `BadInput` for one that cannot be read or understood, and `AwsFailure`."""
        content, modified = self._content(place)
        try:
            file = parse_uses(content, self._path, NAME)
            yield from told(file, self.name, time.time(), modified=modified, max_age=self._max_age)
        except BadInput as error:
            raise BadInput(f"{self._path}: {error}") from error

    def _content(self, place: Place) -> _Content:
        if self._path.startswith(_S3):
            bucket, key = parse_address(self._path)
            return Bucket(place, bucket).get_dated(key)
        if self._path == STANDARD_INPUT and sys.stdin.isatty():
            raise BadInput(
                "standard input is a terminal: pipe the list of uses into this command, as was done for the plan"
            )
        try:
            return self._local()
        except OSError as error:
            raise BadInput(f"{self._path}: {error.strerror or error}") from error

    def _local(self) -> _Content:
        """A pipe can be read only once, although a plan and its apply both ask for it: what it gave is remembered."""
        with self._lock:
            if self._drained is not None:
                return self._drained, None
            if self._path == STANDARD_INPUT:
                self._drained = sys.stdin.buffer.read(LARGEST + 1)
                return self._drained, None
            with Path(self._path).open("rb") as file:
                found = Path(self._path).stat()
                content = file.read(LARGEST + 1)
            if stat.S_ISREG(found.st_mode):
                return content, found.st_mtime
            self._drained = content
            return content, None
