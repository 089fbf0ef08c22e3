"""`ecrsweep demo`: the embedded AWS with a believable company in it, and the real commands run against it."""

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any, Final

from ecrsweep.core.errors import BadInput
from ecrsweep.wiring.exits import Exit

_FLAGS: Final[dict[str, Any]] = {
    "regions": ("us-east-1", "eu-west-1"), "quiet": True, "verbose": False, "log_format": "text", "output": "table",
    "save": None, "diff": None, "policy_at": None, "exit_code": False,
}  # fmt: skip


def run_demo(*, keep_running: bool, port: int, color: str) -> int:
    """Start the emulator, show what plan says of it, and say what to try; with `keep_running`, stay up until Ctrl-C."""
    try:
        from ecrsweep.emulator import Clock, Emulator  # noqa: PLC0415 - moto belongs to an extra
        from ecrsweep.emulator.company import REGIONS, build  # noqa: PLC0415

        emulator = Emulator(clock=Clock.real(), regions=REGIONS, port=port).start()
    except ImportError as error:
        raise BadInput(f"The demo needs its extra ({error.name} is missing): pip install 'ecrsweep[demo]'") from error
    cache = tempfile.mkdtemp(prefix="ecrsweep-demo-")
    try:
        examples = build(emulator)
        environ = emulator.environ() | {"ECRSWEEP_CACHE_DIR": cache, "ECRSWEEP_STATE_DIR": cache}
        _show_plan(environ, color)
        _show_examples(examples)
        if keep_running:
            _stay(environ)
        else:
            print("To try every command against this company: ecrsweep demo --keep-running")
    finally:
        emulator.stop()
        shutil.rmtree(cache, ignore_errors=True)
    return Exit.DONE


def _show_plan(environ: dict[str, str], color: str) -> None:
    """The real `plan`, in this process, with nothing of the user's own AWS configuration."""
    from ecrsweep.cli.plan import run_plan  # noqa: PLC0415 - boto3 takes its time

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(environ)
    print("An embedded AWS with a small company in it: four teams, two regions, two years of builds.")
    print("$ ecrsweep plan --region us-east-1 --region eu-west-1\n", flush=True)
    run_plan(_FLAGS | {"color": color})
    sys.stdout.flush()


def _show_examples(examples: Sequence[tuple[str, str]]) -> None:
    """Point at what no rule of age or count would have kept."""
    print("\nNo rule of age or count would have kept these; losing one of them is an outage:")
    for image, story in examples:
        print(f"  {image:<37} {story}")
    print(flush=True)


def _stay(environ: dict[str, str]) -> None:
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    print("It stays up until Ctrl-C. In another terminal:\n")
    for name, value in environ.items():
        print(f"export {name}={value}")
    print(
        "\nThen, for example:\n"
        "  ecrsweep plan --save plan.jsonl\n"
        "  ecrsweep explain payments/api:1.12.0\n"
        "  ecrsweep uses\n"
        "  ecrsweep uses --unexplained\n"
        "  ecrsweep simulate --keep-newest 5\n"
        "  ecrsweep apply plan.jsonl",
        flush=True,
    )
    done.wait()
