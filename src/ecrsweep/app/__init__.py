"""The stories of a run, line by line: census, plan, apply, guard, restore, simulation. What each step does is told elsewhere.

Nothing here knows AWS, files or terminals: the world comes in through `ports`, and results go out as values.
"""

from ecrsweep.app.census import take_census, unasked_census
from ecrsweep.app.guarding import GuardRun
from ecrsweep.app.outsiders import Outsiders
from ecrsweep.app.planning import PlanRun, begin_apply, explain, held_whole
from ecrsweep.app.pulls import unexplained_pulls
from ecrsweep.app.reading import Reading
from ecrsweep.app.request import (
    EVERYWHERE,
    OWNERS_SOURCE,
    REGIONS_SOURCE,
    REGISTRY_SOURCE,
    Progress,
    Request,
    Stop,
)
from ecrsweep.app.restoring import Restoring
from ecrsweep.app.simulating import SimulationRun
from ecrsweep.app.stocktaking import take_stock

__all__ = [
    "EVERYWHERE",
    "OWNERS_SOURCE",
    "REGIONS_SOURCE",
    "REGISTRY_SOURCE",
    "GuardRun",
    "Outsiders",
    "PlanRun",
    "Progress",
    "Reading",
    "Request",
    "Restoring",
    "SimulationRun",
    "Stop",
    "begin_apply",
    "explain",
    "held_whole",
    "take_census",
    "take_stock",
    "unasked_census",
    "unexplained_pulls",
]
