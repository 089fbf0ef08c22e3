"""Amazon EventBridge Scheduler as witness: what schedules start, whether they are enabled or not.

A list of schedules tells no more of a target than its ARN, so each schedule is read. A universal target
(`arn:aws:scheduler:::aws-sdk:ecs:runTask`) names what it starts in its input.
API: https://docs.aws.amazon.com/scheduler/latest/APIReference/Welcome.html
"""

from collections.abc import Iterator
from functools import partial
from typing import Final

from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, member
from ecrsweep.sources.started import ACTIONS, Told, resolved, told_of
from ecrsweep.sources.written import written

NAME: Final = "scheduler"

_PAGE: Final = 100
_GONE: Final = "ResourceNotFoundException"
"""A schedule or its group that was deleted in between, by itself after its last run for one."""


class SchedulerSource:
    """The images of what every schedule of one account and region starts (`ports.Source`)."""

    name = NAME
    actions = (*ACTIONS, "scheduler:GetSchedule", "scheduler:ListSchedules")
    about = About(
        system="Amazon EventBridge Scheduler",
        calls="ListSchedules, GetSchedule; DescribeTaskDefinition and DescribeJobDefinitions of what schedules start",
        keeps=(
            "every container of the task or job definition that a schedule starts, in every group, enabled or disabled, "
            "by a target of its own or by a universal one: with a revision that one, without one the newest ACTIVE one; "
            "ECR image names written out in a target's input, whatever the target"
        ),
        unknowable=(
            "definitions of other accounts. A schedule encrypted with a key that the identity may not use "
            "(`kms:Decrypt`) is a gap"
        ),
        service="scheduler",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Uses by schedule. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "scheduler", answering(_GONE))
        yield from resolved(reading, NAME, _told(reading))


def _told(reading: Reading) -> Iterator[Told]:
    listed = reading.listed("list_schedules", "Schedules", MaxResults=_PAGE)
    for _, schedule in reading.each(partial(_schedule, reading), listed):
        for thing in written(schedule["Target"]):
            yield told_of(reading.place, NAME, thing, schedule["Arn"])


def _schedule(reading: Reading, brief: Json) -> Json:
    """A schedule as it is. Its name means one in its group only."""
    name, group = (member(brief, key, "scheduler:ListSchedules") for key in ("Name", "GroupName"))
    found = reading.described("get_schedule", "Arn", Name=name, GroupName=group)
    member(found, "Target", "scheduler:GetSchedule")
    return found
