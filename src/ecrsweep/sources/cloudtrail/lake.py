"""CloudTrail Lake: one query over an event data store, of all its regions and accounts.

The store must hold what is asked: read events of ECR, of every region, since long enough. It says so itself, and one that does not is a gap.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/query-supported-event-schemas.html
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StartQuery.html
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from ecrsweep.core.errors import AwsFailure, BadInput, Malformed
from ecrsweep.core.times import parse_rfc3339, rfc3339
from ecrsweep.core.uses import Covered
from ecrsweep.ports import Place
from ecrsweep.sources.cloudtrail.events import (
    EVENT,
    EVENT_SOURCE,
    Asked,
    Identity,
    ImageId,
    Record,
    Resource,
    Tally,
    session_of,
)

ACTIONS: Final = (
    "cloudtrail:DescribeQuery",
    "cloudtrail:GetEventDataStore",
    "cloudtrail:GetQueryResults",
    "cloudtrail:StartQuery",
)
_ARN: Final = re.compile(
    r"arn:[a-z-]+:cloudtrail:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):eventdatastore/(?P<id>[0-9a-f-]{36})"
)
_PAGE: Final = 1000
_WAITS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_DECODE_IDS: Final = msgspec.json.Decoder(list[ImageId]).decode

# What makes two rows different, by the name of its column; the rest is added up.
_COLUMNS: Final = {
    "identity_type": "userIdentity.type",
    "principal_id": "userIdentity.principalId",
    "principal_arn": "userIdentity.arn",
    "principal_account": "userIdentity.accountId",
    "invoked_by": "userIdentity.invokedBy",
    "issuer_arn": "userIdentity.sessionContext.sessionIssuer.arn",
    "user_agent": "userAgent",
    "error_code": "errorCode",
    "region": "awsRegion",
    "recipient": "recipientAccountId",
    "resource_arn": "element_at(resources, 1).arn",
    "registry": "element_at(requestParameters, 'registryId')",
    "repository": "element_at(requestParameters, 'repositoryName')",
    "image_ids": "element_at(requestParameters, 'imageIds')",
}
_SUMS: Final = {
    "times": "count(*)",
    "first_at": "min(eventTime)",
    "last_at": "max(eventTime)",
    "address": "max_by(sourceIPAddress, eventTime)",
}


class Store:
    """An event data store, by its ARN."""

    def __init__(self, arn: str) -> None:
        """Nothing is asked yet. Raises `BadInput` for what is no ARN of one."""
        found = _ARN.fullmatch(arn)
        if found is None:
            raise BadInput(f'cloudtrail.lake="{arn}": accepted is arn:aws:cloudtrail:REGION:ACCOUNT:eventdatastore/ID')
        self._arn, self._region, self._account, self._id = arn, found["region"], found["account"], found["id"]

    def count(self, place: Place, since: datetime, until: datetime, tally: Tally) -> None:
        """Count the pulls that the store holds. Raises `AwsFailure`, after those that could be read."""
        here = place.at(self._region)
        store = here.call("cloudtrail", "get_event_data_store", EventDataStore=self._arn)
        if store.get("OrganizationEnabled") is not True:
            alone = f"The event data store {self._id} holds the events of account {self._account} alone: pulls may be missing"
            tally.covered = Covered({self._account: ""}, alone)
        missing = _missing(store, since)
        for row in self._rows(here, since, until):
            tally.add(_record(row), times=_number(row), first=_moment(row, "first_at"))
        if missing:
            raise AwsFailure(f"The event data store {self._id} {missing}: pulls may be missing", action=ACTIONS[1])

    def _rows(self, place: Place, since: datetime, until: datetime) -> Iterator[Mapping[str, str]]:
        owner = {} if self._account == place.account else {"EventDataStoreOwnerAccountId": self._account}
        started = place.call("cloudtrail", "start_query", QueryStatement=_statement(self._id, since, until), **owner)
        if not started.get("QueryId"):
            raise Malformed("cloudtrail:StartQuery answered without the query", action=ACTIONS[3])
        query = {"QueryId": started["QueryId"], **owner}
        self._wait(place, query)
        page: Mapping[str, Any] = {}
        seen = 0
        while not page or page.get("NextToken"):
            more = {"NextToken": page["NextToken"]} if page else {}
            page = place.call("cloudtrail", "get_query_results", MaxQueryResults=_PAGE, **query, **more)
            if page.get("QueryStatus") != "FINISHED" or "QueryResultRows" not in page:
                raise Malformed(
                    f"cloudtrail:GetQueryResults answered a query that is {page.get('QueryStatus')}", action=ACTIONS[2]
                )
            for row in page["QueryResultRows"]:
                seen += 1
                # A column without a value is left out, or says so.
                yield {name: value for cell in row for name, value in cell.items() if value not in {None, "", "null"}}
        total = page.get("QueryStatistics", {}).get("TotalResultsCount", seen)
        if total != seen:
            raise Malformed(f"cloudtrail:GetQueryResults told {total} rows and gave {seen}", action=ACTIONS[2])

    def _wait(self, place: Place, query: Mapping[str, str], sleep: Callable[[float], None] = time.sleep) -> None:
        """Until the query is done: AWS ends one that takes longer than an hour."""
        asked = 0
        while True:
            answer = place.call("cloudtrail", "describe_query", **query)
            status = answer.get("QueryStatus")
            if status == "FINISHED":
                return
            if status not in {"QUEUED", "RUNNING"}:
                raise AwsFailure(
                    f"The query over the event data store {self._id} ended as {status}: {answer.get('ErrorMessage', 'no reason given')}",
                    action=ACTIONS[0],
                )
            sleep(_WAITS[min(asked, len(_WAITS) - 1)])
            asked += 1


def _statement(store: str, since: datetime, until: datetime) -> str:
    columns = ", ".join(f"{expression} AS {name}" for name, expression in (_COLUMNS | _SUMS).items())
    groups = ", ".join(str(number) for number in range(1, len(_COLUMNS) + 1))
    return (
        f"SELECT {columns} FROM {store} "  # noqa: S608 - the id is 36 hexadecimal digits and hyphens
        f"WHERE eventSource = '{EVENT_SOURCE}' AND eventName = '{EVENT}' "
        f"AND eventTime >= '{since:%Y-%m-%d %H:%M:%S}' AND eventTime <= '{until:%Y-%m-%d %H:%M:%S}' GROUP BY {groups}"
    )


def _missing(store: Mapping[str, Any], since: datetime) -> str:
    """What the store does not hold of what is asked, in words; "" where it holds all."""
    if store.get("Status") != "ENABLED":
        return f"is {store.get('Status')}"
    if store.get("MultiRegionEnabled") is not True:
        return "holds the events of one region only"
    created = store.get("CreatedTimestamp")
    if not isinstance(created, datetime) or created > since:
        return "is younger than the days that are asked"
    if store.get("RetentionPeriod", 0) * 86400 < time.time() - since.timestamp():
        return "keeps events for fewer days than are asked"
    selectors = store.get("AdvancedEventSelectors")
    if selectors and not any(_admits(selector) for selector in selectors):
        return "does not take in every management event that reads"
    return ""


def _admits(selector: Mapping[str, Any]) -> bool:
    """Whether a selector takes in management events that read, whoever makes them."""
    fields = {found.get("Field"): found for found in selector.get("FieldSelectors", ())}
    if fields.keys() - {"eventCategory", "readOnly"}:
        return False
    if fields.get("eventCategory", {}).get("Equals") != ["Management"]:
        return False
    return "readOnly" not in fields or fields["readOnly"].get("Equals") == ["true"]


def _record(row: Mapping[str, str]) -> Record:
    """The record that a row speaks for. Raises `Malformed`."""
    ids = row.get("image_ids")
    try:
        asked = Asked(row.get("registry"), row.get("repository"), _DECODE_IDS(ids) if ids else None)
        region = row["region"]
    except (KeyError, msgspec.MsgspecError) as error:
        raise Malformed(
            f"cloudtrail:GetQueryResults gave a row that makes no sense: {error!r}", action=ACTIONS[2]
        ) from error
    return Record(
        event_time=rfc3339(_moment(row, "last_at")),
        event_source=EVENT_SOURCE,
        event_name=EVENT,
        aws_region=region,
        user_identity=Identity(
            type=row.get("identity_type"),
            principal_id=row.get("principal_id"),
            arn=row.get("principal_arn"),
            account_id=row.get("principal_account"),
            invoked_by=row.get("invoked_by"),
            session_context=session_of(row.get("issuer_arn")),
        ),
        source_ip_address=row.get("address"),
        user_agent=row.get("user_agent"),
        error_code=row.get("error_code"),
        request_parameters=asked,
        resources=[Resource(row.get("resource_arn"))],
        recipient_account_id=row.get("recipient"),
    )


def _number(row: Mapping[str, str]) -> int:
    text = row.get("times", "")
    if not text.isdigit():
        raise Malformed(f"cloudtrail:GetQueryResults counted {text!r} pulls", action=ACTIONS[2])
    return int(text)


def _moment(row: Mapping[str, str], name: str) -> float:
    """A time as Lake writes it, in UTC without saying so: `2026-01-31 12:00:00.000`."""
    text = row.get(name, "")
    try:
        return parse_rfc3339(text if text.endswith("Z") else f"{text}+00:00")
    except BadInput as error:
        raise Malformed(f"cloudtrail:GetQueryResults gave {text!r} as a time", action=ACTIONS[2]) from error
