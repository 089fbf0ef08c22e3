"""Amazon EventBridge rules as witness: what their targets start, on every bus, whether they are enabled or not.

A disabled rule is switched on with one call, so it counts. State machines and functions that rules invoke are the
business of their own sources. API: https://docs.aws.amazon.com/eventbridge/latest/APIReference/Welcome.html
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.attempts import Attempts
from ecrsweep.sources.started import ACTIONS, Told, member, resolved, told_of
from ecrsweep.sources.written import written

NAME: Final = "eventbridge"

_PAGE: Final = 100
_GONE: Final = ("ResourceNotFoundException",)
"""A bus or rule that was deleted in between: it starts nothing any more."""

_Json = Mapping[str, Any]


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
        attempts = Attempts()
        yield from resolved(place, NAME, attempts, _told(place, attempts))


def _told(place: Place, attempts: Attempts) -> Iterator[Told]:
    buses = attempts.listed(place.pages("events", "list_event_buses", "EventBuses", Limit=_PAGE))
    rules = (
        rule for found in attempts.each(place, lambda bus: _rules(place, bus), buses, gone=_GONE) for rule in found
    )
    for rule, targets in attempts.each(place, lambda rule: (rule, _targets(place, rule)), rules, gone=_GONE):
        for target in targets:
            for thing in written(target):
                yield told_of(place, NAME, thing, rule["Arn"], f"target {target['Id']}")


def _rules(place: Place, bus: _Json) -> list[_Json]:
    """The rules of a bus, each with what its targets are asked by. A name means one rule on its bus only."""
    name = member(bus, "Name", "events:ListEventBuses")
    rules = place.pages("events", "list_rules", "Rules", EventBusName=name, Limit=_PAGE)
    return [
        {key: member(rule, key, "events:ListRules") for key in ("Name", "Arn")} | {"EventBusName": name}
        for rule in rules
    ]


def _targets(place: Place, rule: _Json) -> list[_Json]:
    asked = {"Rule": rule["Name"], "EventBusName": rule["EventBusName"], "Limit": _PAGE}
    return list(place.pages("events", "list_targets_by_rule", "Targets", **asked))
