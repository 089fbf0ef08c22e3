"""AWS CodeBuild as witness: the build images of projects, of builds under way, and of batches under way.

A build is started with the image of its project or with one of its own, which only the build itself tells; a batch starts
builds for hours. https://docs.aws.amazon.com/codebuild/latest/APIReference/Welcome.html
A fleet's `imageId` is a machine image (AMI) and names no container.
"""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from ecrsweep.core.errors import Malformed
from ecrsweep.core.uses import Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, in_batches, seconds

NAME: Final = "codebuild"

_AT_ONCE: Final = 100
_UNDER_WAY: Final = "IN_PROGRESS"
_LONGEST_LIFE: Final = 48 * 3600.0
"""Seconds after its start in which a build is over: 8 hours in the queue and 36 at work are the most, the rest is margin."""
_OUT_OF_ORDER: Final = 3600.0
"""By how many seconds builds may be out of order in a list that is sorted by time all the same."""

_NAME: Final = r"\d{12}\.dkr[.-]ecr[a-z0-9.-]*/[\w./:@-]+"
_NAMED_IMAGES: Final = re.compile(rf"\bimage[\"']?\s*:(?:[\s\[\"',-]*(?:aws/[\w./:-]+|{_NAME}))+")
"""What stands under the key `image` of a buildspec in YAML or JSON: one image, or a list of them."""


class CodeBuildSource:
    """Every build image that CodeBuild names in one account and region (`ports.Source`)."""

    name = NAME
    actions = (
        "codebuild:BatchGetBuildBatches",
        "codebuild:BatchGetBuilds",
        "codebuild:BatchGetProjects",
        "codebuild:ListBuildBatches",
        "codebuild:ListBuilds",
        "codebuild:ListProjects",
    )
    about = About(
        system="AWS CodeBuild",
        calls=(
            "ListProjects, BatchGetProjects; ListBuildBatches of those under way, BatchGetBuildBatches; ListBuilds, "
            "BatchGetBuilds, the newest first, back to where no build can be under way any more (two days)"
        ),
        keeps=(
            "the image of every project, build under way and batch under way, and the images that their buildspecs give to the "
            "builds of a batch, where the buildspec is part of the project"
        ),
        unknowable=(
            "images that a buildspec in the source names, that its commands pull, or that the next build will be started "
            "with instead of the project's"
        ),
        service="codebuild",
    )

    def uses(self, place: Place) -> Iterator[Use]:
        """Uses of projects, then of batches, then of builds. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "codebuild")
        names = list(reading.listed("list_projects", "projects"))
        yield from reading.found(partial(_project_uses, place), in_batches(names, _AT_ONCE))
        under_way = {"status": _UNDER_WAY}
        batches = list(reading.listed("list_build_batches", "ids", filter=under_way, maxResults=_AT_ONCE))
        yield from reading.found(partial(_batch_uses, place), in_batches(batches, _AT_ONCE))
        yield from reading.part(_build_uses(reading))
        reading.finish()


def _project_uses(place: Place, names: Sequence[str]) -> Iterator[Use]:
    for project in _described(place, "batch_get_projects", "projects", names=names):
        yield from _image_uses(place, project)


def _batch_uses(place: Place, ids: Sequence[str]) -> Iterator[Use]:
    for batch in _described(place, "batch_get_build_batches", "buildBatches", ids=ids):
        yield from _image_uses(place, batch)


def _build_uses(reading: Reading) -> Iterator[Use]:
    """The uses of builds under way. As long as builds come newest first, reading ends behind a page with one that is too old.

    By what CodeBuild sorts them is not documented: should they come in another order, all are read.
    """
    too_old = time.time() - _LONGEST_LIFE
    oldest, is_newest_first = float("inf"), True
    for ids in _batches(reading.listed("list_builds", "ids")):
        for build in _described(reading.place, "batch_get_builds", "builds", ids=ids):
            yield from _image_uses(reading.place, build)
            begun = seconds(build.get("startTime"))
            started = oldest if begun is None else begun
            is_newest_first &= started <= oldest + _OUT_OF_ORDER
            oldest = min(oldest, started)
        if is_newest_first and oldest < too_old:
            return


def _described(place: Place, operation: str, key: str, **wanted: Sequence[str]) -> Iterator[Json]:
    """What was asked for by name or id, in that order; what is gone is left out.

    Raises `Malformed` at the end where the answer says nothing of something, or leaves out the image that it needs.
    """
    answer = place.call("codebuild", operation, **wanted)
    (asked,) = wanted.values()
    found = {item.get("id") or item.get("name"): item for item in answer.get(key, ())}
    yield from (found[name] for name in asked if name in found)
    told = {name for name, item in found.items() if _image(item) or _is_over(item)}
    untold = [name for name in asked if name not in told and name not in answer.get(f"{key}NotFound", ())]
    if untold:
        action = f"codebuild:{operation.title().replace('_', '')}"
        others = f" and of {len(untold) - 1} more" if len(untold) > 1 else ""
        raise Malformed(f"{action} in {place.region} told no image of {untold[0]}{others}", action=action)


def _image_uses(place: Place, item: Json) -> Iterator[Use]:
    """The image of a project, and of a build or batch that is not over, with those that its buildspec names, if it is no path."""
    if _is_over(item) or not _image(item):
        return
    use = partial(Use, workload=str(item.get("arn")), source=NAME, account=place.account, region=place.region)
    yield use(image=_image(item), where="build image")
    for source in (item.get("source", {}), *item.get("secondarySources", ())):
        for block in _NAMED_IMAGES.finditer(source.get("buildspec", "")):
            for image in re.findall(_NAME, block[0]):
                yield use(image=image, where="image in its buildspec")


def _image(item: Json) -> str:
    return str(item.get("environment", {}).get("image", ""))


def _is_over(item: Json) -> bool:
    """Whether a build or batch has ended; a project never has."""
    status = item.get("buildStatus") or item.get("buildBatchStatus") or _UNDER_WAY
    return bool(status != _UNDER_WAY)


def _batches(items: Iterable[str]) -> Iterator[list[str]]:
    """A hundred at a time; nothing more is taken of `items` before it is asked for."""
    waiting = iter(items)
    while some := list(islice(waiting, _AT_ONCE)):
        yield some
