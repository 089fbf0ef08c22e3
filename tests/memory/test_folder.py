"""A folder that keeps state: whole or not at all, whoever is killed, and no writer takes another's entries away."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ecrsweep.core.errors import StateFailure
from ecrsweep.core.uses import Sighting
from ecrsweep.memory import Folder, Ledger

ACCOUNT = "123456789012"
NAME = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/app@sha256:"


def sighting(number: int, *, at: float = 1_800_000_000.0) -> Sighting:
    return Sighting(f"{NAME}{number:064x}", f"arn:task/{number}", "ecs", at, at)


def remembered(root: Path) -> set[str]:
    return {one.image for one in Ledger(Folder(root), ACCOUNT).recall(1_800_000_000.0).sightings}


def write_many(root: Path, writer: int, number: int) -> None:
    """What one of several runs at once does, many times over."""
    ledger = Ledger(Folder(root), ACCOUNT)
    for count in range(number):
        ledger.add([sighting(1000 * writer + count)])
        ledger.put_together(least=3)


def test_writers_that_race_lose_nothing_of_each_other(tmp_path: Path) -> None:
    writers, each = 4, 40
    context = multiprocessing.get_context("spawn")
    racing = [context.Process(target=write_many, args=(tmp_path, writer, each)) for writer in range(writers)]
    for process in racing:
        process.start()
    while any(process.is_alive() for process in racing):
        before = remembered(tmp_path)
        assert before <= remembered(tmp_path), "a reader must never see less than before"
    for process in racing:
        process.join()
    assert [process.exitcode for process in racing] == [0] * writers
    expected = {sighting(1000 * writer + count).image for writer in range(writers) for count in range(each)}
    assert remembered(tmp_path) == expected
    Ledger(Folder(tmp_path), ACCOUNT).put_together(least=0)
    assert remembered(tmp_path) == expected
    assert Ledger(Folder(tmp_path), ACCOUNT).segments == 0


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.memory.test_folder import ACCOUNT, sighting
from ecrsweep.memory import Folder, Ledger

ledger = Ledger(Folder(Path({folder!r})), ACCOUNT)
number = 0
while True:
    ledger.add([sighting(number + extra) for extra in range(200)])
    print(number, flush=True)
    number += 200
    ledger.put_together(least=2)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_whoever_is_killed_in_the_middle_of_a_write_leaves_a_ledger_that_reads(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    for turn in range(4):
        script = textwrap.dedent(WRITER).format(root=root, folder=str(tmp_path))
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        written = int(process.stdout.readline())
        time.sleep(0.05 * turn)
        process.send_signal(signal.SIGKILL)
        written = max([written, *(int(line) for line in process.stdout.read().split())])
        process.wait()
        recalled = Ledger(Folder(tmp_path), ACCOUNT).recall(1_800_000_000.0)
        assert recalled.coverage.notes == (), "nothing is damaged"
        assert {sighting(number).image for number in range(written + 200)} <= {one.image for one in recalled.sightings}


def test_a_file_is_replaced_only_if_it_is_still_the_one_that_was_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.replace("a/file", b"first", None)
    assert not folder.replace("a/file", b"again", None), "somebody else has made it"
    (kept,) = folder.read(["a/file"])
    assert kept is not None
    assert folder.replace("a/file", b"second", kept.version)
    assert not folder.replace("a/file", b"third", kept.version)
    assert (tmp_path / "a" / "file").read_bytes() == b"second"


def test_what_is_not_there_is_none_and_removing_it_no_error(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "nowhere")
    assert list(folder.read(["x"])) == [None]
    assert folder.names("some/where/") == []
    folder.remove(["x"])
    assert not (tmp_path / "nowhere").exists()


def test_what_the_system_refuses_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StateFailure, match="file: "):
        Folder(tmp_path / "file").add("x", b"")
    with pytest.raises(StateFailure):
        Folder(tmp_path / "file").names("x/")
