"""The emulated CloudTrail: who called what, in the event history, in event data stores, and as the log files of a trail.

The emulated ECR writes its BatchGetImage calls down here; pulls of others are added from outside. Records follow the example of the ECR user guide
(https://docs.aws.amazon.com/AmazonECR/latest/userguide/logging-using-cloudtrail.html) and what is reported of docker's:
https://github.com/aws/containers-roadmap/issues/244
"""

import gzip
import json
import re
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ecrsweep.emulator.clock import Clock
from ecrsweep.emulator.errors import AwsError
from ecrsweep.emulator.registry import Repository

_Json = dict[str, Any]

INTERNAL: Final = "AWS Internal"
_PAGE: Final = 50
_KEPT: Final = timedelta(days=90).total_seconds()
_FROM: Final = re.compile(r"FROM ([0-9a-f-]{36}) WHERE (.+) GROUP BY ([\d, ]+)$", re.DOTALL)
_COLUMN: Final = re.compile(r"(?P<expression>(?:[\w.]+|\w+\((?:[^()]|\(\))*\)(?:\.\w+)?)) AS (?P<name>\w+)")
_CONDITION: Final = re.compile(r"(\w+) (=|>=|<=) '([^']*)'")


class TrailState:
    """All records, by the account that received them and its region."""

    def __init__(self, clock: Clock, account: str) -> None:
        """Nothing has happened yet; `account` is meant where none is given."""
        self._clock, self._account = clock, account
        self._lock = threading.Lock()
        self._records: dict[tuple[str, str], list[_Json]] = defaultdict(list)
        self._stores: dict[str, _Json] = {}
        self._queries: dict[str, _Json] = {}
        self._pages: dict[str, list[Any]] = {}

    def pull(
        self,
        repository: Repository,
        *,
        tag: str | None = None,
        digest: str | None = None,
        by: str = "user/dana",
        at: datetime | None = None,
        address: str = INTERNAL,
        agent: str = INTERNAL,
        account: str | None = None,
        error: str | None = None,
        **changes: Any,
    ) -> _Json:
        """Write down a pull, as docker makes it. `by` is `user/NAME`, `ROLE/SESSION` or a whole ARN; `changes` replace members."""  # fmt: skip
        caller = account or repository.account
        asked = {"imageTag": tag} if tag else {}
        asked |= {"imageDigest": digest} if digest else {}
        record = self._record(repository.region, identity(by, caller) | {"invokedBy": INTERNAL}, at, address, agent, error) | {
            "requestParameters": {"registryId": repository.account, "repositoryName": repository.name, "imageIds": [asked]},
            "resources": [{"accountId": repository.account, "ARN": repository.arn}],
            "recipientAccountId": repository.account,
        }  # fmt: skip
        record |= changes
        return self.add(record)

    def called(
        self, account: str, region: str, operation: str, parameters: _Json, agent: str, error: str | None
    ) -> None:
        """Write down a call of ECR's API by this emulator's own callers."""
        role = identity("sweeper/run", account)
        record = self._record(region, role, None, "203.0.113.7", agent, error)
        asked = {key: value for key, value in parameters.items() if key != "acceptedMediaTypes"}
        self.add(record | {"eventName": operation, "requestParameters": asked, "recipientAccountId": account})

    def add(self, record: _Json) -> _Json:
        """Write down any record."""
        with self._lock:
            self._records[record["recipientAccountId"], record["awsRegion"]].append(record)
        return record

    def records(self, account: str | None = None, region: str | None = None) -> list[_Json]:
        """The records of an account in a region, or in all of them, the latest first."""
        with self._lock:
            found = [
                record
                for (owner, where), records in self._records.items()
                if owner == (account or self._account) and region in {None, where}
                for record in records
            ]
        return sorted(found, key=_seconds, reverse=True)

    def log_files(self, account: str | None = None, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Key and content of each log file that a trail of this account would have delivered, a file a region and day."""
        owner = account or self._account
        by_place: dict[tuple[str, str], list[_Json]] = defaultdict(list)
        for record in self.records(owner):
            by_place[record["awsRegion"], record["eventTime"][:10]].append(record)
        for (region, day), records in by_place.items():
            name = f"{owner}_CloudTrail_{region}_{day.replace('-', '')}T2359Z_{uuid.uuid4().hex[:16]}.json.gz"
            if day == self._clock.now.strftime("%Y-%m-%d"):
                name = name.replace("T2359Z", self._clock.now.strftime("T%H%MZ"))
            key = f"{prefix}AWSLogs/{owner}/CloudTrail/{region}/{day.replace('-', '/')}/{name}"
            yield key, gzip.compress(json.dumps({"Records": records}).encode())

    def store(self, *, region: str = "us-east-1", account: str | None = None, **described: Any) -> str:
        """Create an event data store; its ARN. `described` replaces members of its description."""
        arn = f"arn:aws:cloudtrail:{region}:{account or self._account}:eventdatastore/{uuid.uuid4()}"
        self._stores[arn] = {
            "EventDataStoreArn": arn, "Name": "all", "Status": "ENABLED", "MultiRegionEnabled": True,
            "OrganizationEnabled": False, "RetentionPeriod": 366,
            "CreatedTimestamp": self._clock.seconds - timedelta(days=200).total_seconds(),
        } | described  # fmt: skip
        return arn

    def operation(self, name: str) -> Callable[[str, str, _Json], _Json] | None:
        """The method for an operation of the API; None for one that is not known here."""
        return {
            "LookupEvents": self._lookup,
            "GetEventDataStore": self._describe_store,
            "StartQuery": self._start,
            "DescribeQuery": self._describe_query,
            "GetQueryResults": self._results,
        }.get(name)

    def _record(
        self, region: str, who: _Json, at: datetime | None, address: str, agent: str, error: str | None
    ) -> _Json:
        moment = self._clock.now if at is None else at
        return {
            "eventVersion": "1.08", "userIdentity": who, "eventTime": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "eventSource": "ecr.amazonaws.com", "eventName": "BatchGetImage", "awsRegion": region,
            "sourceIPAddress": address, "userAgent": agent, "responseElements": None, "requestID": str(uuid.uuid4()),
            "eventID": str(uuid.uuid4()), "readOnly": True, "eventType": "AwsApiCall", "managementEvent": True,
            "eventCategory": "Management",
        } | ({"errorCode": error, "errorMessage": "refused"} if error else {})  # fmt: skip

    def _lookup(self, account: str, region: str, asked: _Json) -> _Json:
        wanted = {entry["AttributeKey"]: entry["AttributeValue"] for entry in asked.get("LookupAttributes", ())}
        if len(wanted) > 1 or wanted.keys() - {"EventName"}:
            raise AwsError("InvalidLookupAttributesException", "Only one lookup attribute is known here: EventName.")
        since = max(asked.get("StartTime", 0.0), self._clock.seconds - _KEPT)
        until = asked.get("EndTime", self._clock.seconds)
        if since > until:
            raise AwsError("InvalidTimeRangeException", "The start is after the end.")

        def find() -> list[_Json]:
            found = self.records(account, region)
            named = [record for record in found if record["eventName"] == wanted.get("EventName", record["eventName"])]
            return [_event(record) for record in named if since <= _seconds(record) <= until]

        size = asked.get("MaxResults", _PAGE)
        if not 1 <= size <= _PAGE:
            raise AwsError("InvalidMaxResultsException", "A maximum results value of 1 to 50 is accepted.")
        return self._page(asked, "Events", size, find)

    def _page(self, asked: _Json, key: str, size: int, find: Callable[[], list[Any]]) -> _Json:
        token, _, start = asked.get("NextToken", "").partition(":")
        if not token:
            token, start = uuid.uuid4().hex, "0"
            self._pages[token] = find()
        if token not in self._pages:
            raise AwsError("InvalidNextTokenException", "Invalid token.")
        items, first = self._pages[token], int(start)
        more = {"NextToken": f"{token}:{first + size}"} if first + size < len(items) else {}
        return {key: items[first : first + size]} | more

    def _describe_store(self, account: str, region: str, asked: _Json) -> _Json:  # noqa: ARG002 - as all operations
        found = self._stores.get(asked["EventDataStore"])
        if found is None or f":{region}:" not in asked["EventDataStore"]:
            raise AwsError("EventDataStoreNotFoundException", "The event data store was not found.")
        return found

    def _start(self, account: str, region: str, asked: _Json) -> _Json:
        statement = asked["QueryStatement"]
        parts = _FROM.search(statement)
        store = next((arn for arn in self._stores if parts and arn.endswith(parts[1]) and f":{region}:" in arn), None)
        if parts is None or store is None:
            raise AwsError("InvalidQueryStatementException", "The query statement is not understood.")
        query = str(uuid.uuid4())
        columns = {found["name"]: found["expression"] for found in _COLUMN.finditer(statement[: parts.start()])}
        grouped = [list(columns)[int(number) - 1] for number in parts[3].split(",")]
        rows = _grouped(_selected(self.records(account), parts[2]), columns, grouped)
        self._queries[query] = {"rows": rows, "asked": 0, "store": store}
        return {"QueryId": query}

    def _describe_query(self, account: str, region: str, asked: _Json) -> _Json:  # noqa: ARG002 - as all operations
        query = self._queries[asked["QueryId"]]
        query["asked"] += 1
        return {"QueryId": asked["QueryId"], "QueryStatus": "FINISHED" if query["asked"] > 1 else "RUNNING"}

    def _results(self, account: str, region: str, asked: _Json) -> _Json:  # noqa: ARG002 - as all operations
        rows = self._queries[asked["QueryId"]]["rows"]
        page = self._page(asked, "QueryResultRows", asked.get("MaxQueryResults", _PAGE), lambda: rows)
        return page | {
            "QueryStatus": "FINISHED",
            "QueryStatistics": {"ResultsCount": len(page["QueryResultRows"]), "TotalResultsCount": len(rows)},
        }


def identity(by: str, account: str) -> _Json:
    """The member `userIdentity` for a user, a session of a role, or an ARN."""
    if by.startswith("arn:"):
        return {"type": "IAMUser", "principalId": "AIDAEMULATED", "arn": by, "accountId": account}
    kind, _, name = by.partition("/")
    if kind == "user":
        arn = f"arn:aws:iam::{account}:user/{name}"
        return {"type": "IAMUser", "principalId": "AIDAEMULATED", "arn": arn, "accountId": account, "userName": name}
    issuer = {"type": "Role", "arn": f"arn:aws:iam::{account}:role/{kind}", "accountId": account, "userName": kind}
    return {
        "type": "AssumedRole", "principalId": f"AROAEMULATED:{name}", "accountId": account,
        "arn": f"arn:aws:sts::{account}:assumed-role/{kind}/{name}", "sessionContext": {"sessionIssuer": issuer},
    }  # fmt: skip


def _event(record: _Json) -> _Json:
    return {
        "EventId": record["eventID"], "EventName": record["eventName"], "ReadOnly": "true", "EventTime": _seconds(record),
        "EventSource": record["eventSource"], "CloudTrailEvent": json.dumps(record),
    }  # fmt: skip


def _seconds(record: _Json) -> float:
    return datetime.fromisoformat(record["eventTime"]).timestamp()


def _selected(records: Sequence[_Json], conditions: str) -> Iterator[_Json]:
    """The records that meet every condition of a WHERE."""
    compare: dict[str, Callable[[str, str], bool]] = {
        "=": lambda one, other: one == other, ">=": lambda one, other: one >= other, "<=": lambda one, other: one <= other,
    }  # fmt: skip
    for record in records:
        if all(
            compare[sign](str(_column(record, name)), value) for name, sign, value in _CONDITION.findall(conditions)
        ):
            yield record


def _grouped(records: Iterator[_Json], columns: dict[str, str], grouped: Sequence[str]) -> list[list[dict[str, str]]]:
    """The rows of a query, as Lake writes them: a list of cells, and none where there is no value."""
    groups: dict[tuple[Any, ...], list[_Json]] = defaultdict(list)
    for record in records:
        groups[tuple(_column(record, columns[name]) for name in grouped)].append(record)
    rows = []
    for values, members in groups.items():
        row = dict(zip(grouped, values, strict=True))
        for name in columns.keys() - set(grouped):
            row[name] = _summed(members, columns[name])
        rows.append([{name: str(value)} for name, value in row.items() if value is not None])
    return rows


def _summed(records: Sequence[_Json], expression: str) -> Any:
    times = [_column(record, "eventTime") for record in records]
    match expression.partition("("):
        case ("count", _, _):
            return len(records)
        case ("min", _, _):
            return f"{min(times)}.000"
        case ("max", _, _):
            return f"{max(times)}.000"
        case _:
            return _column(max(records, key=_seconds), expression.partition("(")[2].partition(",")[0])


def _column(record: _Json, expression: str) -> Any:
    """A column, a member of one, or an entry of a map: names of members are in any case."""
    if expression == "eventTime":
        return record["eventTime"].replace("T", " ").removesuffix("Z")
    entry = re.fullmatch(r"element_at\((\w+), (?:'(\w+)'|(\d+))\)(?:\.(\w+))?", expression)
    if entry is None:
        value: Any = record
        for part in expression.split("."):
            value = _member(value, part)
        return value
    held = record.get(entry[1])
    found = (held or {}).get(entry[2]) if entry[2] else (held or [None])[int(entry[3]) - 1]
    if entry[4]:
        return _member(found, entry[4])
    return json.dumps(found) if isinstance(found, list | dict) else found


def _member(value: Any, name: str) -> Any:
    lowered = {key.lower(): held for key, held in value.items()} if isinstance(value, dict) else {}
    return lowered.get(name.lower())
