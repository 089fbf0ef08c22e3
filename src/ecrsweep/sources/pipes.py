"""Amazon EventBridge Pipes as witness: the task or job that a pipe starts, whether the pipe runs or is stopped.

What a pipe takes from the event (`$.body.definition`) is computed: it is told, not guessed.
API: https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/Welcome.html
"""

from collections.abc import Iterator
from functools import partial
from typing import Final

from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, member
from ecrsweep.sources.started import ACTIONS, Told, resolved, told_of
from ecrsweep.sources.written import written

NAME: Final = "pipes"

_PAGE: Final = 100
_PARAMETERS: Final = ("EnrichmentParameters", "TargetParameters")


class PipesSource:
    """The images of what every pipe of one account and region starts (`ports.Source`)."""

    name = NAME
    actions = (*ACTIONS, "pipes:DescribePipe", "pipes:ListPipes")
    about = About(
        system="Amazon EventBridge Pipes",
        calls="ListPipes, DescribePipe; DescribeTaskDefinition and DescribeJobDefinitions of what pipes start",
        keeps=(
            "every container of the task or job definition that a pipe starts, running or stopped: with a revision that "
            "one, without one the newest ACTIVE one; ECR image names written out in the pipe's input templates"
        ),
        unknowable=(
            "what a pipe takes from the event; definitions of other accounts. A pipe encrypted with a key that the "
            "identity may not use (`kms:Decrypt`) is a gap"
        ),
        service="pipes",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Uses by pipe. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "pipes", answering("NotFoundException"))
        yield from resolved(reading, NAME, _told(reading))


def _told(reading: Reading) -> Iterator[Told]:
    for _, pipe in reading.each(partial(_pipe, reading), reading.listed("list_pipes", "Pipes", Limit=_PAGE)):
        for thing in written({key: pipe[key] for key in _PARAMETERS if key in pipe}):
            yield told_of(reading.place, NAME, thing, pipe["Arn"])


def _pipe(reading: Reading, brief: Json) -> Json:
    found = reading.described("describe_pipe", "Arn", Name=member(brief, "Name", "pipes:ListPipes"))
    member(found, "Target", "pipes:DescribePipe")
    return found
