"""The manifest cache: remembered for ever, damaged at times, and never the cause of a wrong answer."""

import sqlite3
from pathlib import Path

import pytest

from ecrsweep.aws.cache import ManifestCache, OwnRead
from ecrsweep.core.images import OCI_INDEX
from ecrsweep.core.manifests import Contents
from ecrsweep.core.names import Registry, Repository

INDEX = Contents(OCI_INDEX, ("sha256:a", "sha256:b"))
HOME = Repository(Registry("123456789012", "us-east-1"), "team/app")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "manifests.sqlite3"


def test_what_was_read_is_remembered_by_the_next_run(file: Path) -> None:
    ManifestCache(file).remember([("sha256:i", INDEX)])
    ManifestCache(file).note_reads(HOME, [OwnRead("sha256:i", 10.0, None), OwnRead("sha256:i", 20.0, 5.0)])
    again = ManifestCache(file)
    assert again.contents(["sha256:i", "sha256:other"]) == {"sha256:i": INDEX}
    assert again.own_reads(HOME) == {"sha256:i": [OwnRead("sha256:i", 10.0, None), OwnRead("sha256:i", 20.0, 5.0)]}


def test_a_file_that_is_no_database_is_set_aside(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"not a database at all" * 1000)
    cache = ManifestCache(file)
    cache.remember([("sha256:i", INDEX)])
    assert cache.contents(["sha256:i"]) == {"sha256:i": INDEX}
    assert file.with_suffix(".damaged").exists()


def test_a_row_that_was_damaged_counts_as_absent(file: Path) -> None:
    ManifestCache(file).remember([("sha256:i", INDEX)])
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE manifests SET children = '[\"sha256:a\"]'")
    assert ManifestCache(file).contents(["sha256:i"]) == {}


def test_a_page_that_was_damaged_costs_the_file_and_no_more(file: Path) -> None:
    ManifestCache(file).remember((f"sha256:{number}", INDEX) for number in range(2000))
    raw = bytearray(file.read_bytes())
    raw[4096 : len(raw) - 4096] = b"\x00" * (len(raw) - 8192)
    file.write_bytes(raw)
    cache = ManifestCache(file)
    found = cache.contents([f"sha256:{number}" for number in range(2000)])
    assert all(contents == INDEX for contents in found.values())
    cache.remember([("sha256:new", INDEX)])
    assert cache.contents(["sha256:new"]) == {"sha256:new": INDEX}


def test_where_no_file_can_be_written_everything_stays_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    cache = ManifestCache(tmp_path / "cache" / "manifests.sqlite3")
    cache.remember([("sha256:i", INDEX)])
    assert cache.contents(["sha256:i"]) == {"sha256:i": INDEX}
    assert "cannot be used" in caplog.text


def test_many_digests_at_once(file: Path) -> None:
    cache = ManifestCache(file)
    cache.remember((f"sha256:{number}", INDEX) for number in range(1200))
    assert len(cache.contents([f"sha256:{number}" for number in range(1200)])) == 1200
