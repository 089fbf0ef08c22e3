"""The results as a page for people, with a plot that is drawn by hand: no library is worth a few lines."""

import math
from collections.abc import Iterator
from html import escape
from typing import Any

Document = dict[str, Any]

_WIDE, _HIGH, _EDGE = 640, 360, 60
_COLOURS = {"boto3": "#b45309", "ecrsweep": "#1d4ed8", "floor": "#15803d", "plan": "#7c3aed", "peer": "#475569"}


def markdown(document: Document) -> str:
    """The whole page."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    machine = document["machine"]
    yield "# Results\n"
    yield "Made by `make bench`; what was measured how: [docs/performance.md](../docs/performance.md).\n"
    yield (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; Python {machine['python']}, "
        + ", ".join(f"{name} {machine[name]}" for name in ("boto3", "msgspec", "click", "ecrsweep"))
        + ".\n"
    )
    if "plan" in document:
        yield from _plan(document)
    if "reading" in document:
        yield from _reading(document)
    for part in ("latency", "bucket", "fleet", "start", "emulator"):
        if part in document:
            yield from {
                "latency": _latency,
                "bucket": _bucket,
                "start": _start,
                "emulator": _emulator,
                "fleet": _fleet,
            }[part](document[part])
    yield "![CPU seconds by images](results.svg)"


def _plan(document: Document) -> Iterator[str]:
    yield "## A plan, all included\n"
    yield "Uses of 10,000 tasks on 500 task definitions where nothing else is said, reading, deciding, JSON Lines; no latency.\n"
    yield "| world | images | CPU microseconds an image | peak MB | DescribeImages calls / pages | plan stage alone, microseconds an image |"
    yield "|---|---|---|---|---|---|"
    for name, told in document["plan"].items():
        stage = "" if told["stage"] is None else f"{told['stage']:.1f}"
        yield (
            f"| {name} | {told['planned']:,} | {told['cpu_us_an_image']:.1f} | {told['peak_mb']:.0f} "
            f"| {told['page_calls']:,} / {told['pages']:,} | {stage} |"
        )
    yield from _growth(document.get("plan_growth"))


def _reading(document: Document) -> Iterator[str]:
    yield "## Reading alone\n"
    yield "CPU of one process. Images a second of CPU, and as a multiple of boto3 as it comes in the same run.\n"
    yield "| world | reader | CPU s | wall s | peak MB | images / CPU s | times boto3 |"
    yield "|---|---|---|---|---|---|---|"
    for world, told in document["reading"].items():
        for reader in (name for name in _COLOURS if name in told):
            run, times = told[reader], told["boto3"]["cpu"] / told[reader]["cpu"]
            yield (
                f"| {world} | {reader} | {run['cpu']:.2f} | {run['wall']:.2f} | {run['peak_mb']:.0f} "
                f"| {told['images'] / run['cpu']:,.0f} | {times:.1f} |"
            )
    yield from _growth(document.get("reading_growth"))


def _growth(exponent: float | None) -> Iterator[str]:
    yield ""
    if exponent is not None:
        yield f"Growth: CPU, less that for ten images, rises with the power {exponent:.2f} of the number of images.\n"


def _latency(document: Document) -> Iterator[str]:
    yield "## When AWS takes its time\n"
    yield "| what, a page | world | pages | seconds, first to last | ideal with all requests in flight | times | most in flight |"
    yield "|---|---|---|---|---|---|---|"
    for name, told in document.items():
        yield (
            f"| {name} | {told['world']} | {told['pages']:,} | {told['seconds']:.1f} | {told['ideal']:.1f} "
            f"| {told['times']:.2f} | {told['most_in_flight']} |"
        )
    yield ""


def _bucket(told: Document) -> Iterator[str]:
    yield "## When AWS throttles\n"
    yield (
        f"A bucket of 20 a second with a burst of 20, {told['pages']:,} pages: {told['seconds']:.1f} s, {told['times']:.2f} times "
        f"the ideal of {told['ideal']:.1f} s; {told['throttled']} calls throttled ({told['throttled_share']:.1%}), "
        f"{told['lost_images']} images lost.\n"
    )


def _fleet(document: Document) -> Iterator[str]:
    yield "## Many accounts and regions\n"
    yield "Every source is asked in each account and region; one account in twenty holds and runs something, the others nothing.\n"
    yield (
        "| accounts x regions | calls | CPU s | CPU ms a call | peak MB | seconds | ideal with 64 in flight | times "
        "| connections at once |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for accounts, told in document.items():
        yield (
            f"| {accounts} x {told['regions']}, {told['latency'] * 1000:.0f} ms a call | {told['calls_in_all']:,} | {told['cpu']:.0f} "
            f"| {told['cpu_ms_a_call']:.2f} | {told['peak_mb']:.0f} | {told['wall']:.0f} | {told['ideal']:.0f} "
            f"| {told['wall'] / told['ideal']:.2f} | {told['counts']['most_open']:,} |"
        )
    yield ""


def _start(document: Document) -> Iterator[str]:
    yield "## Start\n"
    yield "| command | least ms | median ms | times `python -c pass` (least) |"
    yield "|---|---|---|---|"
    for name, told in document.items():
        times = told["least"] / document["pass"]["least"]
        yield f"| `{name}` | {told['least'] * 1000:.0f} | {told['median'] * 1000:.0f} | {times:.1f} |"
    yield ""


def _emulator(told: Document) -> Iterator[str]:
    yield "## Against the emulator\n"
    wall = {name: told[name]["wall"] for name in ("boto3", "ecrsweep")}
    yield (
        f"{told['images']:,} images in 20 repositories, 50 ms a call: boto3 {wall['boto3']:.1f} s, "
        f"ecrsweep {wall['ecrsweep']:.1f} s.\n"
    )


def plot(document: Document) -> str:
    """CPU seconds by images, both on logarithmic scales, as SVG."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for told in document.get("reading", {}).values():
        for reader in (name for name in _COLOURS if name in told):
            lines.setdefault(reader, []).append((told["images"], told[reader]["cpu"]))
    for name, told in document.get("plan", {}).items():
        if name in document.get("reading", {}):
            lines.setdefault("plan", []).append((told["images"], told["cpu"]))
    return "\n".join(_svg(lines)) + "\n"


def _svg(lines: dict[str, list[tuple[float, float]]]) -> Iterator[str]:
    points = [point for line in lines.values() for point in line] or [(1.0, 1.0)]
    (left, right), (low, high) = (_decades([point[axis] for point in points]) for axis in (0, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - left) / (right - left) * (_WIDE - 3 * _EDGE)
        up = (math.log10(y) - low) / (high - low) * (_HIGH - 2 * _EDGE)
        return _EDGE + across, _HIGH - _EDGE - up

    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" font-family="sans-serif" font-size="12">'
    yield f'<rect width="{_WIDE}" height="{_HIGH}" fill="white"/>'
    for power in range(left, right + 1):
        x, y = place(10.0**power, 10.0**low)
        yield f'<text x="{x:.0f}" y="{y + 18:.0f}" text-anchor="middle">{10**power:,}</text>'
    for power in range(low, high + 1):
        x, y = place(10.0**left, 10.0**power)
        yield f'<line x1="{x:.0f}" y1="{y:.0f}" x2="{_WIDE - 2 * _EDGE}" y2="{y:.0f}" stroke="#e5e7eb"/>'
        yield f'<text x="{x - 8:.0f}" y="{y + 4:.0f}" text-anchor="end">{10.0**power:g}</text>'
    yield f'<text x="{_EDGE}" y="30">CPU seconds by images</text>'
    for name, line in lines.items():
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in sorted(line)))
        x, y = place(*max(line))
        yield f'<polyline points="{path}" fill="none" stroke="{_COLOURS[name]}" stroke-width="2"/>'
        yield f'<text x="{x + 6:.0f}" y="{y + 4:.0f}" fill="{_COLOURS[name]}">{escape(name)}</text>'
    yield "</svg>"


def _decades(values: list[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
