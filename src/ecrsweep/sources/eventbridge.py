"""Amazon EventBridge rules as witness: what their targets start, on every bus, whether they are enabled or not.

A disabled rule is switched on with one call, so it counts. State machines and functions that rules invoke are the
business of their own sources. API: https://docs.aws.amazon.com/eventbridge/latest/APIReference/Welcome.html
"""

from collections.abc import Iterator
from functools import partial
from typing import Final

from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, member
from ecrsweep.sources.started import ACTIONS, Told, resolved, told_of
from ecrsweep.sources.written import written

NAME: Final = "eventbridge"

_PAGE: Final = 100
_GONE: Final = "ResourceNotFoundException"
"""A bus or rule that was deleted in between: it starts nothing any more."""


class EventBridgeSource:
    """The images of what every rule of one account and region starts (`ports.Source`)."""

    name = NAME
    actions = (*ACTIONS, "events:ListEventBuses", "events:ListRules", "events:ListTargetsByRule")
    about = About(
        system="Amazon EventBridge rules",
        calls=(
            "ListEventBuses, ListRules, ListTargetsByRule; DescribeTaskDefinition and DescribeJobDefinitions of what "
            "targets start"
        ),
        keeps=(
            "every container of the task or job definition that a target of a rule starts, on every bus, enabled or "
            "disabled: with a revision that one, without one the newest ACTIVE one; definitions and ECR image names "
            "written out in a target's input"
        ),
        unknowable="what an input transformer puts together from the event; definitions of other accounts",
        service="events",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Uses by rule and target. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "events", answering(_GONE))
        yield from resolved(reading, NAME, _told(reading))


def _told(reading: Reading) -> Iterator[Told]:
    buses = reading.listed("list_event_buses", "EventBuses", Limit=_PAGE)
    rules = reading.found(partial(_rules, reading), buses)
    for rule, targets in reading.each(partial(_targets, reading), rules):
        for target in targets:
            for thing in written(target):
                yield told_of(reading.place, NAME, thing, rule["Arn"], f"target {target['Id']}")


def _rules(reading: Reading, bus: Json) -> Iterator[Json]:
    """The rules of a bus, each with what its targets are asked by. A name means one rule on its bus only."""
    name = member(bus, "Name", "events:ListEventBuses")
    for rule in reading.listed("list_rules", "Rules", inside=True, EventBusName=name, Limit=_PAGE):
        yield {key: member(rule, key, "events:ListRules") for key in ("Name", "Arn")} | {"EventBusName": name}


def _targets(reading: Reading, rule: Json) -> list[Json]:
    asked = {"Rule": rule["Name"], "EventBusName": rule["EventBusName"], "Limit": _PAGE}
    return list(reading.listed("list_targets_by_rule", "Targets", inside=True, **asked))
