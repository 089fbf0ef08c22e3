"""What indexes contain and images store, remembered for ever, and when we read them ourselves.

A manifest is immutable under its digest, so it is read once in its life. Reading moves its recorded
pull time, so each read is written down with its moment and with the pull time seen just before: design of
docs/adr/0004. A damaged file is set aside and begun anew; a damaged row counts as absent. Losing the cache
costs calls, and protects the indexes read since, because our own reads then look like pulls.
"""

import hashlib
import logging
import os
import sqlite3
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ecrsweep.core.images import Blob
from ecrsweep.core.manifests import Contents
from ecrsweep.core.names import Repository

log = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS {schema}.manifests (
    digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, children TEXT NOT NULL, seal TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {schema}.layers (
    digest TEXT PRIMARY KEY, blobs TEXT NOT NULL, seal TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {schema}.reads (
    account TEXT NOT NULL, region TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL,
    read_at REAL NOT NULL, pulled_before REAL,
    PRIMARY KEY (account, region, repository, digest, read_at)
) WITHOUT ROWID;
"""
_TABLES: Final = ("manifests", "layers", "reads")
_SIZE: Final = "SELECT " + " + ".join(f"(SELECT COUNT(*) FROM {{schema}}.{table})" for table in _TABLES)  # noqa: S608 - our own names
_AT_ONCE: Final = 500
_decode_blobs: Final = msgspec.json.Decoder(tuple[Blob, ...] | None).decode


class OwnRead(msgspec.Struct, frozen=True):
    """One read of ours: when, by the clock of AWS, and the pull time recorded just before. Seconds since the epoch."""

    digest: str
    read_at: float
    pulled_before: float | None


def default_cache_file() -> Path:
    """The file in the user's cache folder, where each system keeps such things."""
    if os.environ.get("ECRSWEEP_CACHE_DIR"):
        return Path(os.environ["ECRSWEEP_CACHE_DIR"]) / "manifests.sqlite3"
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        return Path("/tmp/ecrsweep/manifests.sqlite3")  # noqa: S108 - the only folder that a function can write to
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "ecrsweep" / "manifests.sqlite3"
    folder = Path("Library/Caches") if sys.platform == "darwin" else Path(".cache")
    return Path.home() / folder / "ecrsweep" / "manifests.sqlite3"


class ManifestCache:
    """The cache file, safe for several threads and several processes."""

    def __init__(self, file: Path | None) -> None:
        """Open or create the file; None keeps everything in memory. Never raises: without a file it warns and goes on."""
        self._lock = threading.Lock()
        self._file = file
        self._connection = self._open()

    def contents(self, digests: Sequence[str]) -> dict[str, Contents]:
        """What is remembered of these manifests; those not remembered are left out."""
        found: dict[str, Contents] = {}
        for digest, media_type, children, seal in self._named(
            "digest, media_type, children, seal", "manifests", digests
        ):
            if seal == _seal(digest, media_type, children):
                found[digest] = Contents(media_type, msgspec.json.decode(children, type=tuple[str, ...]))
        return found

    def layers(self, digests: Sequence[str]) -> dict[str, tuple[Blob, ...] | None]:
        """What is remembered of what these images store; None where a manifest does not tell. The rest is left out."""
        found: dict[str, tuple[Blob, ...] | None] = {}
        for digest, blobs, seal in self._named("digest, blobs, seal", "layers", digests):
            if seal == _seal(digest, blobs):
                found[digest] = _decode_blobs(blobs)
        return found

    def remember(self, contents: Iterable[tuple[str, Contents]]) -> None:
        """Keep what these manifests contain."""
        rows = []
        for digest, found in contents:
            children = msgspec.json.encode(found.children).decode()
            rows.append((digest, found.media_type, children, _seal(digest, found.media_type, children)))
        self._write("INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?)", rows)

    def remember_layers(self, blobs: Iterable[tuple[str, tuple[Blob, ...] | None]]) -> None:
        """Keep what these images store."""
        rows = []
        for digest, found in blobs:
            text = msgspec.json.encode(found).decode()
            rows.append((digest, text, _seal(digest, text)))
        self._write("INSERT OR REPLACE INTO layers VALUES (?, ?, ?)", rows)

    def own_reads(self, repository: Repository) -> dict[str, list[OwnRead]]:
        """Every read of ours in a repository, by digest."""
        reads: dict[str, list[OwnRead]] = defaultdict(list)
        query = "SELECT digest, read_at, pulled_before FROM reads WHERE account = ? AND region = ? AND repository = ?"
        for row in self._rows(query, _key(repository)):
            reads[row[0]].append(OwnRead(*row))
        return reads

    def note_reads(self, repository: Repository, reads: Iterable[OwnRead]) -> None:
        """Write down reads of ours."""
        rows = [(*_key(repository), read.digest, read.read_at, read.pulled_before) for read in reads]
        self._write("INSERT OR IGNORE INTO reads VALUES (?, ?, ?, ?, ?, ?)", rows)

    @property
    def manifests(self) -> int:
        """How many manifests are remembered."""
        query = "SELECT COUNT(*) FROM (SELECT digest FROM manifests UNION SELECT digest FROM layers)"
        return sum(count for (count,) in self._rows(query, ()))

    @property
    def size(self) -> int:
        """How many rows it has, of all kinds."""
        rows = self._rows(_SIZE.format(schema="main"), ())
        return int(rows[0][0]) if rows else 0

    def merge(self, file: Path) -> int:
        """Take in another cache file; its size. Raises `sqlite3.Error` where it cannot be read; then nothing is taken in."""
        with self._lock:
            self._connection.execute("ATTACH DATABASE ? AS other", (str(file),))
            try:
                # One written before layers were remembered has no table for them.
                self._connection.executescript(_SCHEMA.format(schema="other"))
                with self._connection:
                    for table in _TABLES:
                        self._connection.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM other.{table}")  # noqa: S608 - our own names
                return int(self._connection.execute(_SIZE.format(schema="other")).fetchone()[0])
            finally:
                self._connection.execute("DETACH DATABASE other")

    def copy_to(self, file: Path) -> None:
        """Write a consistent copy to a new file."""
        with self._lock, sqlite3.connect(file) as copy:
            self._connection.backup(copy)
        copy.close()

    def _named(self, columns: str, table: str, digests: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The rows of a table under these digests, some at a time."""
        for start in range(0, len(digests), _AT_ONCE):
            some = digests[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            yield from self._rows(f"SELECT {columns} FROM {table} WHERE digest IN ({marks})", some)  # noqa: S608 - our own names and question marks go in

    def _rows(self, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(query, tuple(parameters)).fetchall()
            except sqlite3.Error as error:
                self._connection = self._anew(error)
                return []

    def _write(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        if not rows:
            return
        with self._lock:
            try:
                with self._connection:
                    self._connection.executemany(statement, rows)
            except sqlite3.Error as error:
                self._connection = self._anew(error)
                with self._connection:
                    self._connection.executemany(statement, rows)

    def _open(self) -> sqlite3.Connection:
        if self._file is None:
            return _connect(":memory:")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return _connect(str(self._file))
        except (OSError, sqlite3.Error) as error:
            return self._anew(error)

    def _anew(self, error: Exception) -> sqlite3.Connection:
        """Set a damaged file aside and begin a new one; where that is not possible, go on in memory."""
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if self._file is not None and damaged:
            log.warning("The manifest cache %s is damaged (%s): set aside, a new one begins.", self._file, error)
            try:
                self._file.replace(self._file.with_suffix(".damaged"))
                return _connect(str(self._file))
            except (OSError, sqlite3.Error) as second:
                error = second
        log.warning(
            "The manifest cache %s cannot be used (%s): indexes read now will look recently pulled to the next run.",
            self._file,
            error,
        )
        return _connect(":memory:")


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=30, check_same_thread=False)
    try:
        connection.executescript(_SCHEMA.format(schema="main"))
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _seal(*columns: str) -> str:
    """A row whose seal does not fit was damaged: wrong edges could let an image go."""
    return hashlib.sha256("\n".join(columns).encode()).hexdigest()


def _key(repository: Repository) -> tuple[str, str, str]:
    return repository.registry.account, repository.registry.region, repository.name
