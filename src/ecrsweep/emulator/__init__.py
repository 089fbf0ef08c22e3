"""A faithful Amazon ECR and ECS over HTTP, for tests, for the demo, and for trying things.

It refuses what AWS refuses, has a clock that tests set, faults, throttles, latency and counters of calls. Every
other service is answered by moto behind the same endpoint, which is loaded when the first such call comes.
"""

from ecrsweep.emulator.calls import Call, Calls
from ecrsweep.emulator.clock import Clock
from ecrsweep.emulator.errors import AwsError
from ecrsweep.emulator.faults import Fault
from ecrsweep.emulator.server import Emulator, Gate, Request

__all__ = ["AwsError", "Call", "Calls", "Clock", "Emulator", "Fault", "Gate", "Request"]
