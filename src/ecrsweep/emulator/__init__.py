"""A faithful Amazon ECR and ECS over HTTP, for tests, for the demo, and for trying things.

It refuses what AWS refuses, has a clock that tests set, faults, throttles, latency and counters of calls. Other services are
answered by scripts, as unused, or by moto behind the same endpoint, which is loaded when the first call for it comes.
"""

from ecrsweep.emulator.calls import Call, Calls
from ecrsweep.emulator.clock import Clock
from ecrsweep.emulator.faults import Fault
from ecrsweep.emulator.server import Emulator

__all__ = ["Call", "Calls", "Clock", "Emulator", "Fault"]
