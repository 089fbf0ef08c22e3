"""AWS CloudTrail as witness for what no inventory knows: docker on a host, a laptop, a cluster that is in nobody's list.

Every pull is a call of ECR's API in somebody's name, and CloudTrail keeps it: in the event history of every account (the default), in the
bucket of a trail, or in an event data store. Each pull of the last days protects what it pulled.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from ecrsweep.core.errors import AwsFailure, BadInput
from ecrsweep.core.uses import Covered, Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.cloudtrail import export, history, lake
from ecrsweep.sources.cloudtrail.events import NAME, Tally

DAYS: Final = 30
MOST_DAYS: Final = 90
_OPTIONS: Final = ("days", "export", "ignore", "lake")

_ABOUT: Final = About(
    system="AWS CloudTrail",
    calls="LookupEvents, 50 a call; or the log files of a trail (`export`), or one query over an event data store (`lake`)",
    keeps=(
        "every image that anybody pulled within the last days (`days`, 30), by tag or digest, with who, from where and how often; "
        "where a tag has moved since, the untagged images pushed before the last of these pulls; pulls that were refused count too"
    ),
    unknowable=(
        "pulls of the last 15 minutes, which take that long to be recorded; the address behind the registry, where CloudTrail says "
        '"AWS Internal"; whether pulls from other accounts are all recorded in this one; images that run and are never pulled again'
    ),
    service="cloudtrail",
    bulk=True,
    by_default=False,
)
# A log that holds all regions is asked once; a bucket about each region, whatever services that region has.
_ABOUT_ALL_REGIONS: Final = msgspec.structs.replace(_ABOUT, service="", once=True, once_a_run=True)
_ABOUT_A_BUCKET: Final = msgspec.structs.replace(_ABOUT, service="")


class _Log(Protocol):
    """Where the records are."""

    def count(self, place: Place, since: datetime, until: datetime, tally: Tally) -> None:
        """Count the pulls. Raises `AwsFailure` or `BadInput`, after those that could be read."""


class _EventHistory:
    count = staticmethod(history.count)


class CloudTrailSource:
    """Every pull of the last days as a use (`ports.Source`)."""

    name = NAME

    def __init__(
        self,
        days: int = DAYS,
        *,
        ignore: tuple[str, ...] = (),
        log: _Log | None = None,
        actions: tuple[str, ...] = history.ACTIONS,
        about: About = _ABOUT,
    ) -> None:
        """`ignore` are globs of principals that do not count; `log` is the event history where none is given."""
        self._days = days
        self._ignore = ignore
        self._log: _Log = log or _EventHistory()
        self.actions = actions
        self.about = about

    def with_options(self, options: Mapping[str, str]) -> "CloudTrailSource":
        """The source with the options `days`, `ignore`, and one of `export` and `lake`. Raises `BadInput`."""
        strangers = options.keys() - set(_OPTIONS)
        if strangers:
            raise BadInput(
                f"The source {NAME} has the options {', '.join(_OPTIONS)}, and no {', '.join(sorted(strangers))}"
            )
        if {"export", "lake"} <= options.keys():
            raise BadInput(f"The source {NAME} reads one log: cloudtrail.export or cloudtrail.lake")
        days = _days(options.get("days", str(DAYS)))
        ignore = tuple(pattern.strip() for pattern in options.get("ignore", "").split(",") if pattern.strip())
        if "lake" in options:
            return CloudTrailSource(
                days, ignore=ignore, log=lake.Store(options["lake"]), actions=lake.ACTIONS, about=_ABOUT_ALL_REGIONS
            )
        if "export" not in options:
            return CloudTrailSource(days, ignore=ignore)
        if options["export"].startswith(export.S3):
            return CloudTrailSource(
                days,
                ignore=ignore,
                log=export.BucketExport(options["export"]),
                actions=export.ACTIONS,
                about=_ABOUT_A_BUCKET,
            )
        return CloudTrailSource(
            days, ignore=ignore, log=export.LocalExport(options["export"]), actions=(), about=_ABOUT_ALL_REGIONS
        )

    def uses(self, place: Place) -> Iterator[Use | Note | Covered]:
        """What was pulled from the registries of this region or, from a log of many regions, from any."""
        until = datetime.fromtimestamp(time.time(), UTC)
        tally = Tally(self._ignore)
        failure: AwsFailure | BadInput | None = None
        try:
            self._log.count(place, until - timedelta(days=self._days), until, tally)
        except (AwsFailure, BadInput) as error:
            failure = error
        yield from tally.uses()
        yield from tally.notes()
        if tally.covered is not None:
            yield tally.covered
        failure = failure or tally.failure
        if failure is not None:
            raise failure


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DAYS:
        raise BadInput(f'cloudtrail.days="{text}": accepted is a whole number from 1 to {MOST_DAYS}')
    return int(text)


__all__ = ["CloudTrailSource"]
