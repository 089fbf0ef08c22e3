"""Amazon EventBridge Pipes as witness: the task or job that a pipe starts, whether the pipe runs or is stopped.

What a pipe takes from the event (`$.body.definition`) is computed: it is told, not guessed.
API: https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/Welcome.html
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.attempts import Attempts
from ecrsweep.sources.started import ACTIONS, Told, member, resolved, told_of
from ecrsweep.sources.written import written

NAME: Final = "pipes"

_PAGE: Final = 100
_GONE: Final = ("NotFoundException",)
_PARAMETERS: Final = ("EnrichmentParameters", "TargetParameters")

_Json = Mapping[str, Any]


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
        attempts = Attempts()
        yield from resolved(place, NAME, attempts, _told(place, attempts))


def _told(place: Place, attempts: Attempts) -> Iterator[Told]:
    listed = attempts.listed(place.pages("pipes", "list_pipes", "Pipes", Limit=_PAGE))
    for pipe in attempts.each(place, lambda brief: _pipe(place, brief), listed, gone=_GONE):
        for thing in written({key: pipe[key] for key in _PARAMETERS if key in pipe}):
            yield told_of(place, NAME, thing, pipe["Arn"])


def _pipe(place: Place, brief: _Json) -> _Json:
    found = place.call("pipes", "describe_pipe", Name=member(brief, "Name", "pipes:ListPipes"))
    for key in ("Arn", "Target"):
        member(found, key, "pipes:DescribePipe")
    return found
