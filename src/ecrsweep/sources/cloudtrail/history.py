"""The event history that every account has: 90 days, region by region, 50 records a call, two calls a second.

https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
"""

from datetime import datetime

from ecrsweep.core.errors import Malformed
from ecrsweep.ports import Place
from ecrsweep.sources.cloudtrail.events import EVENT, Tally, parse_record

ACTIONS = ("cloudtrail:LookupEvents",)
_PAGE = 50


def count(place: Place, since: datetime, until: datetime, tally: Tally) -> None:
    """Count the pulls of this region. Raises `AwsFailure` after those that could be read."""
    asked = [{"AttributeKey": "EventName", "AttributeValue": EVENT}]
    for event in place.pages(
        "cloudtrail",
        "lookup_events",
        "Events",
        LookupAttributes=asked,
        StartTime=since,
        EndTime=until,
        MaxResults=_PAGE,
    ):
        if not event.get("CloudTrailEvent"):
            raise Malformed("cloudtrail:LookupEvents answered an event without its record", action=ACTIONS[0])
        tally.add(parse_record(event["CloudTrailEvent"]))
