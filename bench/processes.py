"""Processes that are measured: the server on one core, its clients on another, each client with a home of its own."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CORES = sorted(os.sched_getaffinity(0))
CLIENT, SERVER = CORES[0], CORES[-1]
_TAIL = 2000


@dataclass(frozen=True)
class Measured:
    """What a process took: seconds of wall and CPU, and its peak memory in MB. `counts` is what the server was asked.

    `out` is the end of what it printed.
    """

    wall: float
    cpu: float
    peak_mb: float
    out: str
    counts: dict[str, Any]

    @property
    def calls(self) -> int:
        """How many pages of images were served."""
        return int(self.counts.get("calls", {}).get("DescribeImages", 0))

    @property
    def document(self) -> dict[str, Any]:
        """For the file of results."""
        return {name: value for name, value in asdict(self).items() if name != "out"}


class Served:
    """A running server, and how to run a client against it."""

    def __init__(self, url: str) -> None:
        """`url` is its address."""
        self.url = url

    def run(self, command: Sequence[str], *, keep: bool = False) -> Measured:
        """Run a client to its end on its core; `keep` keeps what it prints. Raises where it fails."""
        self._ask("/reset")
        with tempfile.TemporaryDirectory(prefix="bench-") as home, tempfile.TemporaryFile() as out:
            began = time.perf_counter()
            client = subprocess.Popen(
                list(command), cwd=ROOT, env=_environ(self.url, home), stdin=subprocess.DEVNULL,
                stdout=out if keep else subprocess.DEVNULL,
            )  # fmt: skip
            os.sched_setaffinity(client.pid, {CLIENT})
            _, status, used = os.wait4(client.pid, 0)
            wall = time.perf_counter() - began
            client.returncode = os.waitstatus_to_exitcode(status)
            out.seek(max(0, out.seek(0, os.SEEK_END) - _TAIL))
            said = out.read().decode()
        if client.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {client.returncode}")
        return Measured(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said, self._ask("/counts"))

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url + path) as answer:  # noqa: S310 - our own server
                told: dict[str, Any] = json.load(answer)
                return told
        except (OSError, ValueError):  # the emulator, which counts by itself
            return {}


@contextmanager
def served(world: str, *, latency: float = 0.0, rate: float = 0.0, tasks: int = 0) -> Iterator[Served]:
    """A server of a world; `latency` in seconds, `rate` in calls a second of each operation, with a burst of 20."""
    flags = ["--world", world, "--latency", str(latency), "--rate", str(rate), "--tasks", str(tasks)]
    with _serving("bench.server", flags) as server:
        yield server


@contextmanager
def served_fleet(accounts: int, *, latency: float = 0.0) -> Iterator[Served]:
    """A server of so many accounts; `latency` in seconds."""
    with _serving("bench.fleet", ["--accounts", str(accounts), "--latency", str(latency)]) as server:
        yield server


@contextmanager
def _serving(module: str, flags: Sequence[str]) -> Iterator[Served]:
    command = [sys.executable, "-m", module, *flags, "--cpu", str(SERVER)]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None  # noqa: S101 - pipes were asked for
    assert server.stdout is not None  # noqa: S101 - likewise
    try:
        yield Served(server.stdout.readline().strip())
    finally:
        server.stdin.close()
        server.wait(10)
        server.stdout.close()


def median(runs: Sequence[Measured]) -> Measured:
    """The run in the middle by CPU."""
    return sorted(runs, key=lambda run: run.cpu)[len(runs) // 2]


def least(runs: Sequence[Measured]) -> float:
    """The least CPU seconds: what else the machine does only ever adds to them."""
    return min(run.cpu for run in runs)


def seconds_of(command: Sequence[str], times: int) -> dict[str, float]:
    """The least and the median wall seconds of a command that is run so many times."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(list(command), check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=_plain_environ())
        taken.append(time.perf_counter() - began)
    return {"least": min(taken), "median": statistics.median(taken)}


def _plain_environ() -> dict[str, str]:
    """Nothing of the user's own, and bytecode that is kept, as of what is installed."""
    own = ("AWS_", "ECRSWEEP_", "XDG_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def _environ(url: str, home: str) -> Mapping[str, str]:
    return _plain_environ() | {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "AKIAEMULATED123456789012",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "HOME": home,
    }
