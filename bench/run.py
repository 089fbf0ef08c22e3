"""The measurements: `make bench`, or a part of them.

    python -m bench.run [--quick] [--only reading,plan,...] [--peer 'CMD'] [--repeat N] [--into FOLDER]

The server of pre-rendered pages runs on one core, its client on another. The machine may be shared and noisy: what counts
are ratios within one run, counts, CPU and peak memory; wall seconds only where waiting is what is measured.
"""

import argparse
import json
import math
import os
import platform
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import fleet, report
from bench import world as worlds
from bench.processes import ROOT, Measured, Served, least, median, seconds_of, served, served_fleet
from ecrsweep.emulator import Emulator
from ecrsweep.emulator.server import DEFAULT_REGIONS
from ecrsweep.sources import installed_sources

PYTHON = sys.executable
READER = [PYTHON, "-m", "bench.readers"]
ALL_BUT_ECS = [
    word for source in installed_sources() if source.name != "ecs" for word in ("--skip-source", source.name)
]
PLAN = [PYTHON, "-m", "ecrsweep", "plan", "--output", "jsonl", "--quiet", "--max-fraction", "1", *ALL_BUT_ECS]
"""Nine images in ten go: no limit holds them, so that the status is 0."""
FLEET_PLAN = [PYTHON, "-m", "ecrsweep", "plan", "--output", "jsonl", "--quiet"]
FAR = 0.1
"""Seconds that a call takes where accounts and regions are many."""
RATE = 20.0
BURST = 20.0
AT_ONCE = 64
"""Requests in flight at most: `_SIDE_BY_SIDE` of `aws/session.py`."""

Document = dict[str, Any]


class Bench:
    """The measurements, each of which gives a part of the document."""

    def __init__(self, flags: argparse.Namespace) -> None:
        """`flags` are those of the command line."""
        self.peer: str | None = flags.peer
        self.repeat: int = flags.repeat
        self.worlds: list[str] = flags.worlds
        self.tasks: int = flags.tasks
        self.latencies: list[float] = flags.latencies
        self.fleets: list[int] = [5] if flags.quick else [20, 200]
        self.slow: str = self.worlds[-1]

    def reading(self) -> Document:
        """Every image listed, and nothing else: ecrsweep beside boto3 as it comes, the floor and the peer."""
        readers = {name: [*READER, name] for name in ("boto3", "ecrsweep", "floor")}
        if self.peer is not None:
            readers["peer"] = shlex.split(self.peer)
        document: Document = {}
        for name in self.worlds:
            with served(name) as server:
                document[name] = {"images": worlds.WORLDS[name].total, **self._side_by_side(server, readers)}
        return document

    def _side_by_side(self, server: Served, readers: dict[str, list[str]]) -> Document:
        """Each in turn, as often as asked, so that what else the machine does meets all of them."""
        runs: dict[str, list[Measured]] = {name: [] for name in readers}
        for _ in range(self.repeat):
            for name, command in readers.items():
                runs[name].append(server.run(command))
        return {name: {**median(each).document, "least_cpu": least(each)} for name, each in runs.items()}

    def plan(self) -> Document:
        """A plan with all that belongs to it: uses of 10,000 tasks, reading, deciding, JSON Lines."""
        document: Document = {}
        for name in [*self.worlds, *(["1M-deep", "100k-one"] if "1M" in self.worlds else [])]:
            for tasks in (0, self.tasks):
                with served(name, tasks=tasks) as server:
                    runs = [server.run(PLAN, keep=True) for _ in range(1 if tasks else self.repeat)]
                key = name if tasks else f"{name} without tasks"
                document[key] = {
                    **_of_plan(name, median(runs)),
                    "least_cpu": least(runs),
                    "stage": _stage(name) if not tasks and name in self.worlds else None,
                }
        return document

    def latency(self) -> Document:
        """Wall seconds from the first to the last page, beside the ideal of so many requests in flight."""
        document: Document = {}
        for seconds in self.latencies:
            with served(self.slow, latency=seconds) as server:
                runs = {"reading": server.run([*READER, "ecrsweep"]), "plan": server.run(PLAN, keep=True)}
            world = worlds.WORLDS[self.slow]
            ideal = world.pages * seconds / min(AT_ONCE, world.repositories)
            for what, run in runs.items():
                took = run.counts["seconds"]["DescribeImages"] + seconds
                document[f"{what}, {seconds * 1000:.0f} ms"] = {
                    "world": self.slow, "pages": world.pages, "seconds": took, "ideal": ideal, "times": took / ideal,
                    "most_in_flight": run.counts["most_in_flight"],
                }  # fmt: skip
        return document

    def bucket(self) -> Document:
        """What becomes of a listing against a bucket of 20 a second: time beside the ideal, throttled, lost."""
        world = worlds.WORLDS[self.slow]
        ideal = max(0.0, world.pages - BURST) / RATE
        with served(self.slow, rate=RATE) as server:
            run = server.run(PLAN, keep=True)
        took = run.counts["seconds"]["DescribeImages"]
        throttled = run.counts["throttled"].get("DescribeImages", 0)
        return {
            "world": self.slow, "pages": world.pages, "seconds": took, "ideal": ideal, "times": took / ideal,
            "throttled": throttled, "throttled_share": throttled / world.pages,
            "lost_images": world.total - _of_plan(self.slow, run)["planned"],
        }  # fmt: skip

    def emulator(self) -> Document:
        """A small registry in the emulator, which pages, throttles and answers as ECR does."""
        with Emulator() as aws:
            for number in range(20):
                repository = aws.ecr.repository(f"team/app-{number:02}")
                for image in range(50):
                    repository.push_image(tags=(f"v{image}",))
            aws.latency = 0.05
            server = Served(aws.url)
            return {
                "images": 1000,
                **self._side_by_side(server, {"boto3": [*READER, "boto3"], "ecrsweep": [*READER, "ecrsweep"]}),
            }

    def fleet(self) -> Document:
        """A plan of many accounts in all regions, most of them empty: every source is asked in each."""
        document: Document = {}
        for accounts in self.fleets:
            with (
                tempfile.NamedTemporaryFile("w", suffix=".yaml") as config,
                served_fleet(accounts, latency=FAR) as server,
            ):
                config.write(fleet.configuration(accounts))
                config.flush()
                run = server.run([*FLEET_PLAN, "--config", config.name], keep=True)
            calls = sum(run.counts["calls"].values())
            document[str(accounts)] = {
                "regions": len(DEFAULT_REGIONS), "planned": _images_of(run), "calls_in_all": calls, "cpu_ms_a_call": run.cpu / calls * 1000,
                "ideal": calls * FAR / AT_ONCE, "latency": FAR, **run.document,
            }  # fmt: skip
        return document

    def start(self) -> Document:
        """How long it takes to say what it can do, beside Python itself."""
        times = 10 if self.repeat == 1 else 40
        commands = {"pass": ["-c", "pass"], "click": ["-c", "import click"], "--help": ["-m", "ecrsweep", "--help"],
                    "--version": ["-m", "ecrsweep", "--version"]}  # fmt: skip
        return {name: seconds_of([PYTHON, *words], times) for name, words in commands.items()}


def _images_of(run: Measured) -> int:
    """How many images a plan decided on."""
    planned = re.search(r'"summary":{"repositories":\d+,"images":(\d+)', run.out)
    return int(planned[1]) if planned else 0


def _of_plan(name: str, run: Measured) -> Document:
    world = worlds.WORLDS[name]
    return {
        "images": world.total, "planned": _images_of(run), "pages": world.pages, "page_calls": run.calls,
        "cpu_us_an_image": run.cpu / world.total * 1e6, **run.document,
    }  # fmt: skip


def _start(command: list[str]) -> float:
    """CPU seconds over next to nothing."""
    with served("start") as server:
        return least([server.run(command) for _ in range(5)])


def _stage(name: str) -> float:
    import subprocess  # noqa: PLC0415 - the one process that no server is for

    command = [PYTHON, "-m", "bench.stage", name]
    told = subprocess.run(command, check=True, capture_output=True, cwd=ROOT, text=True).stdout
    return float(json.loads(told)["cpu_us_an_image"])


def growth(points: Sequence[tuple[int, float]], start: float) -> float | None:
    """The exponent with which seconds grow with images, fitted to all points; what ten images take is taken off first.

    Every measurement is uncertain by some hundredths of its whole, so a point weighs by the share that its images have in it:
    where starting is nearly all, what is left of it is noise.
    """
    fitted = [
        (math.log(images), math.log(seconds - start), (1 - start / seconds) ** 2)
        for images, seconds in points
        if seconds > start
    ]
    if len(fitted) < 2:  # noqa: PLR2004 - a line needs two points
        return None
    weight = sum(w for _, _, w in fitted)
    middle, height = (sum(point[axis] * point[2] for point in fitted) / weight for axis in (0, 1))
    return sum(w * (x - middle) * (y - height) for x, y, w in fitted) / sum(w * (x - middle) ** 2 for x, _, w in fitted)


def machine() -> Document:
    """On what it was measured."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    names = ("boto3", "botocore", "msgspec", "click", "ecrsweep")
    return {
        "cpu": model[1] if model else platform.processor(), "cores": os.cpu_count(), "system": platform.platform(),
        "python": platform.python_version(), **{name: version(name) for name in names},
    }  # fmt: skip


def main() -> None:
    """Measure what is asked for, and write it down."""
    flags = _flags()
    bench = Bench(flags)
    parts: dict[str, Callable[[], Document]] = {
        "start": bench.start, "reading": bench.reading, "plan": bench.plan, "latency": bench.latency,
        "bucket": bench.bucket, "emulator": bench.emulator, "fleet": bench.fleet,
    }  # fmt: skip
    results = flags.into / "results.json"
    document: Document = json.loads(results.read_text()) if flags.only and results.exists() else {}
    document |= {"machine": machine(), "peer": flags.peer}
    for name in flags.only or parts:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        document[name] = parts[name]()
    measured = set(flags.only or parts)
    if "reading" in measured:
        read = [(told["images"], told["ecrsweep"]["least_cpu"]) for told in document["reading"].values()]
        document["reading_growth"] = growth(read, _start([*READER, "ecrsweep"]))
    if "plan" in measured:
        planned = [
            (told["images"], told["least_cpu"]) for told in document["plan"].values() if told["stage"] is not None
        ]
        document["plan_growth"] = growth(planned, _start(PLAN))
    flags.into.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(document, indent=2) + "\n")
    (flags.into / "results.svg").write_text(report.plot(document))
    (flags.into / "RESULTS.md").write_text(report.markdown(document))
    print((flags.into / "RESULTS.md").read_text())


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="small worlds, once: under two minutes")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        help="these parts, by comma; what was measured before of others stays",
    )
    parser.add_argument("--worlds", type=lambda text: text.split(","))
    parser.add_argument("--latencies", type=lambda text: [float(word) for word in text.split(",")])
    parser.add_argument("--peer", help="a command that lists every image at AWS_ENDPOINT_URL")
    parser.add_argument("--repeat", type=int)
    parser.add_argument("--into", type=Path, help="the folder for the results")
    flags = parser.parse_args()
    flags.worlds = flags.worlds or (["1k", "10k", "100k"] if flags.quick else ["10k", "100k", "1M"])
    flags.latencies = flags.latencies or ([0.2] if flags.quick else [0.05, 0.2])
    flags.tasks = 100 if flags.quick else worlds.TASKS
    flags.repeat = flags.repeat or (1 if flags.quick else 3)
    flags.into = flags.into or (ROOT / "build" / "bench" if flags.quick else ROOT / "bench")
    return flags


if __name__ == "__main__":
    main()
