"""The benchmark runs, and what it counts is right: a figure that nobody checks is worth nothing."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT


def test_the_smallest_benchmark_counts_every_image_and_asks_for_each_page_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.run", "--quick", "--only", "reading,plan", "--worlds", "1k", "--into", str(tmp_path),
               "--peer", f"{sys.executable} -m bench.readers floor"]  # fmt: skip
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=100)
    told = json.loads((tmp_path / "results.json").read_text())
    assert set(told["reading"]["1k"]) == {"images", "boto3", "ecrsweep", "floor", "peer"}
    assert {name: told["reading"]["1k"][name]["counts"]["calls"]["DescribeImages"] for name in ("boto3", "ecrsweep")} == {
        "boto3": 10, "ecrsweep": 10,
    }  # fmt: skip
    for plan in told["plan"].values():
        assert (plan["planned"], plan["page_calls"]) == (1000, 10)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "## A plan, all included" in page
    assert "| 1k | peer |" in page
    assert (tmp_path / "results.svg").read_text().startswith("<svg")
