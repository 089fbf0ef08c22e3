"""`python -m ecrsweep.emulator`: an emulated AWS to talk to with any client, until Ctrl-C."""

import argparse
import threading

from ecrsweep.emulator import Clock, Emulator
from ecrsweep.emulator.company import build


def main() -> None:
    """Start, print how to reach it, and wait."""
    parser = argparse.ArgumentParser(prog="python -m ecrsweep.emulator")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--demo", action="store_true", help="with the company of the demo in it")
    asked = parser.parse_args()
    with Emulator(clock=Clock.real(), port=asked.port) as emulator:
        if asked.demo:
            build(emulator)
        for name, value in emulator.environ().items():
            print(f"export {name}={value}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


main()
