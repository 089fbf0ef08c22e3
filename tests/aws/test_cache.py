"""The manifest cache: remembered for ever, damaged at times, and never the cause of a wrong answer."""

import gzip
import sqlite3
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ecrsweep.aws.bucket import Bucket, LastingCache
from ecrsweep.aws.cache import ManifestCache, OwnRead
from ecrsweep.aws.errors import translated
from ecrsweep.core.images import OCI_INDEX, Blob
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


LAYERS = (Blob("sha256:config", 10), Blob("sha256:layer", 20))


def test_layers_are_remembered_and_so_is_that_a_manifest_tells_none(file: Path) -> None:
    ManifestCache(file).remember_layers([("sha256:a", LAYERS), ("sha256:b", ()), ("sha256:c", None)])
    again = ManifestCache(file)
    assert again.layers(["sha256:a", "sha256:b", "sha256:c", "sha256:d"]) == {
        "sha256:a": LAYERS, "sha256:b": (), "sha256:c": None,
    }  # fmt: skip
    assert again.manifests == 3


def test_layers_that_were_damaged_count_as_absent(file: Path) -> None:
    ManifestCache(file).remember_layers([("sha256:a", LAYERS)])
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE layers SET blobs = '[]'")
    assert ManifestCache(file).layers(["sha256:a"]) == {}


def of_the_first_version(file: Path) -> None:
    """A cache from before layers were remembered."""
    file.parent.mkdir(exist_ok=True)
    ManifestCache(file).remember([("sha256:old", INDEX)])
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE layers")


def test_a_cache_from_before_layers_were_remembered_goes_on(file: Path) -> None:
    of_the_first_version(file)
    cache = ManifestCache(file)
    cache.remember_layers([("sha256:a", LAYERS)])
    assert cache.layers(["sha256:a"]) == {"sha256:a": LAYERS}
    assert cache.contents(["sha256:old"]) == {"sha256:old": INDEX}


def test_a_cache_from_before_layers_were_remembered_is_taken_in(file: Path) -> None:
    of_the_first_version(file)
    cache = ManifestCache(None)
    cache.remember_layers([("sha256:a", LAYERS)])
    assert cache.merge(file) == 1
    assert cache.contents(["sha256:old"]) == {"sha256:old": INDEX}
    assert cache.size == 2


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


class Drawer:
    """A bucket for one object, which counts how often it is written."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.writes = 0

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        if operation == "put_object":
            self.content, self.writes = parameters["Body"], self.writes + 1
            return {}
        if self.content is None:
            answer: Any = {"Error": {"Code": "NoSuchKey"}}
            with translated("s3:GetObject", "us-east-1"):
                raise ClientError(answer, "GetObject")
        return {"Body": BytesIO(self.content)}

    region = "us-east-1"

    def lasting(self, cache: ManifestCache) -> LastingCache:
        place: Any = self
        return LastingCache(Bucket(place, "drawer"), cache)


def test_where_no_disk_lasts_the_next_function_finds_what_was_learned() -> None:
    drawer, first, second = Drawer(), ManifestCache(None), ManifestCache(None)
    lasting = drawer.lasting(first)
    lasting.fetch()
    first.remember([("sha256:i", INDEX)])
    lasting.store()
    drawer.lasting(second).fetch()
    assert second.contents(["sha256:i"]) == {"sha256:i": INDEX}


def test_it_is_written_only_where_it_has_more_than_was_there() -> None:
    drawer, cache = Drawer(), ManifestCache(None)
    lasting = drawer.lasting(cache)
    lasting.fetch()
    lasting.store()
    assert drawer.writes == 0
    cache.remember([("sha256:i", INDEX)])
    lasting.store()
    lasting.store()
    assert drawer.writes == 1
    again = drawer.lasting(cache)  # the same environment, warm: its disk has what the bucket has
    again.fetch()
    again.store()
    assert drawer.writes == 1


def test_what_another_run_has_put_there_in_the_meantime_stays() -> None:
    drawer, mine, theirs = Drawer(), ManifestCache(None), ManifestCache(None)
    lasting = drawer.lasting(mine)
    lasting.fetch()
    theirs.remember([("sha256:theirs", INDEX)])
    drawer.lasting(theirs).store()
    mine.remember([("sha256:mine", INDEX)])
    lasting.store()
    assert set(mine.contents(["sha256:mine", "sha256:theirs"])) == {"sha256:mine", "sha256:theirs"}
    last = ManifestCache(None)
    drawer.lasting(last).fetch()
    assert last.size == 2


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"no gzip", id="no gzip"),
        pytest.param(gzip.compress(b"no database" * 999), id="no database"),
        pytest.param(gzip.compress(b"x")[:-8] + b"????????", id="overwritten"),
        pytest.param(gzip.compress(b"x" * 999)[:10] + b"\xff" * 30, id="no stream"),
        pytest.param(gzip.compress(b"x" * 999)[:20], id="cut"),
    ],
)
def test_a_damaged_object_counts_as_absent_and_is_replaced(damage: bytes) -> None:
    drawer, cache = Drawer(), ManifestCache(None)
    drawer.content = damage
    lasting = drawer.lasting(cache)
    lasting.fetch()
    cache.remember([("sha256:i", INDEX)])
    lasting.store()
    again = ManifestCache(None)
    drawer.lasting(again).fetch()
    assert again.contents(["sha256:i"]) == {"sha256:i": INDEX}
