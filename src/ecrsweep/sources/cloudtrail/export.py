"""The log files of a trail, in its bucket or as a copy on a disk: for accounts with more pulls than the event history can be asked for.

A bucket holds them by account, region and day; a trail of an organisation holds all its accounts.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html
"""

import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from ecrsweep.aws.bucket import Bucket
from ecrsweep.core.errors import AwsFailure, BadInput, Malformed
from ecrsweep.core.times import parse_rfc3339, rfc3339
from ecrsweep.core.uses import Covered
from ecrsweep.ports import Place
from ecrsweep.sources.cloudtrail.events import EVENT, Record, Tally, parse_record

ACTIONS: Final = ("ecr:DescribeRepositories", "s3:GetObject", "s3:ListBucket")
S3: Final = "s3://"

_ROOT: Final = "AWSLogs/"
_BUCKET: Final = re.compile(r"s3://(?P<name>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
_BASE: Final = re.compile(r"(?P<root>(?:.*/)?AWSLogs/)(?P<organization>o-[a-z0-9]+/)?(?P<account>\d{12}/)?")
_ACCOUNT: Final = re.compile(r"(?:.*/)?(\d{12})/")
_ORGANIZATION: Final = re.compile(r"(?:.*/)?o-[a-z0-9]+/")
_FILE: Final = re.compile(
    r"(?:.*/)?(?P<account>\d{12})_CloudTrail_(?P<region>[a-z0-9-]+)_(?P<at>\d{8}T\d{4}Z)_[^/]+\.json(\.gz)?"
)
_READS: Final = re.compile(rb'"readOnly"\s*:\s*(true|"true")')
_FRESH: Final = timedelta(hours=24)
_SHOWN: Final = 3
_NOTHING: Final = "has no log file of this account"
_EVENT: Final = EVENT.encode()
_BESIDE: Final = re.compile(r"(^|/)CloudTrail-(Digest|Insight|NetworkActivity|Aggregated)[^/]*/")


class _File(msgspec.Struct):
    """A log file, or what `aws cloudtrail lookup-events` prints."""

    records: list[msgspec.Raw] | None = msgspec.field(default=None, name="Records")
    events: list["_Looked"] | None = msgspec.field(default=None, name="Events")


class _Looked(msgspec.Struct):
    record: str = msgspec.field(name="CloudTrailEvent")


class BucketExport:
    """The log files in a bucket."""

    def __init__(self, address: str) -> None:
        """`address` is s3://BUCKET/PREFIX, where AWSLogs lies in or below the prefix. Raises `BadInput`."""
        found = _BUCKET.fullmatch(address)
        if found is None:
            raise BadInput(f'cloudtrail.export="{address}" is no address: accepted is s3://BUCKET/PREFIX')
        prefix = (found["prefix"] or "").strip("/")
        prefix = f"{prefix}/" if prefix else ""
        base = _BASE.fullmatch(prefix)
        if base is None and f"/{_ROOT}" in f"/{prefix}":
            raise BadInput(
                f'cloudtrail.export="{address}" goes too deep: accepted is up to AWSLogs, its organisation or account'
            )
        self.address, self._name = address, found["name"]
        self._base = prefix if base is not None else prefix + _ROOT

    def count(self, place: Place, since: datetime, until: datetime, tally: Tally) -> None:
        """Count the pulls in the log files of this region. Raises `AwsFailure`, after those that could be read."""
        bucket = Bucket(place, self._name)
        history = _History(since, until)
        folders = self._folders(bucket)
        keys = [key for folder in folders for key in _keys(bucket, f"{folder}CloudTrail/{place.region}/", since)]
        # A log file that is gone by now is no resource that nobody misses: what stood in it is not known.
        for key, content in zip(keys, place.each(bucket.get, keys), strict=True):
            history.add(f"{S3}{self._name}/{key}", content, tally)
        lacks = history.lacks(place.account)
        what = f"the trail in {self.address} {lacks}" if lacks else ""
        if what and _holds_repositories(place):
            raise AwsFailure(f"In {place.region}, {what}: pulls may be missing", action=ACTIONS[2])
        if what and place.account in history.accounts:
            tally.note(what)
        if history.failure:
            raise history.failure

    def _folders(self, bucket: Bucket) -> list[str]:
        """The folders of all accounts below the base."""
        if _ACCOUNT.fullmatch(self._base):
            return [self._base]
        below = list(bucket.folders(self._base))
        for organization in [folder for folder in below if _ORGANIZATION.fullmatch(folder)]:
            below += bucket.folders(organization)
        accounts = [folder for folder in below if _ACCOUNT.fullmatch(folder)]
        if not accounts:
            raise AwsFailure(
                f"{self.address} holds no logs of CloudTrail: there is no {self._base}ACCOUNT/", action=ACTIONS[2]
            )
        return accounts


class LocalExport:
    """Log files on a disk: one file, or a folder with all below it."""

    def __init__(self, path: str) -> None:
        """Nothing is read yet."""
        self._path = path

    def count(self, place: Place, since: datetime, until: datetime, tally: Tally) -> None:  # noqa: ARG002 - a log of any account
        """Count the pulls in the files. Raises `BadInput` for what cannot be read, and `AwsFailure`."""
        history = _History(since, until)
        try:
            files = _files(Path(self._path))
            for file in files:
                history.add(str(file), file.read_bytes(), tally)
        except OSError as error:
            raise BadInput(f"cloudtrail.export={self._path}: {error.strerror or error}") from error
        if not files:
            raise BadInput(f"cloudtrail.export={self._path}: there is no log file, .json or .json.gz")
        regions = f", regions {', '.join(sorted(history.regions))}" if history.regions else ""
        tally.note(f"read {len(files):,} file{'' if len(files) == 1 else 's'} of {self._path}{regions}")
        if history.accounts:
            tally.covered = self._covered(history)
        elif not history.failure:
            tally.note("the files are not named as CloudTrail names them, so nothing tells whether these are all")
        if history.failure:
            raise history.failure

    def _covered(self, history: "_History") -> Covered:
        trouble = {account: history.lacks(account) for account in history.accounts}
        trail = f"The trail in {self._path}"
        return Covered(
            {account: f"{trail} {lacks}: pulls may be missing" if lacks else "" for account, lacks in trouble.items()},
            f"{trail} {_NOTHING}: pulls may be missing",
        )


class _History:
    """Which days of which accounts the files cover, and what is wrong with them."""

    def __init__(self, since: datetime, until: datetime) -> None:
        self._since, self._until = since, until
        self._delivered: defaultdict[str, set[datetime]] = defaultdict(set)
        self._reading: set[str] = set()
        self.regions: set[str] = set()
        self.failure: AwsFailure | None = None

    def add(self, name: str, content: bytes, tally: Tally) -> None:
        """Count the pulls of one file; one that is damaged becomes the failure."""
        found = _FILE.fullmatch(name)
        try:
            text = _unpacked(content, name)
            if found is not None:
                account = found["account"]
                self._delivered[account].add(datetime.strptime(found["at"], "%Y%m%dT%H%MZ").replace(tzinfo=UTC))
                self.regions.add(found["region"])
                if account not in self._reading and _READS.search(text) is not None:
                    self._reading.add(account)
            for raw in _records(text, name):
                record = parse_record(raw)
                if self._since.timestamp() <= _seconds(record, name) <= self._until.timestamp():
                    tally.add(record)
        except AwsFailure as failure:
            self.failure = self.failure or failure

    @property
    def accounts(self) -> list[str]:
        """The accounts of which there is any log file."""
        return sorted(self._delivered)

    def lacks(self, account: str) -> str:
        """What the files do not cover of an account, in words; "" where nothing speaks against their being all."""
        if account not in self._delivered:
            return _NOTHING
        delivered = self._delivered[account]
        held = {moment.date() for moment in delivered}
        days = [
            self._since.date() + timedelta(days=number)
            for number in range((self._until.date() - self._since.date()).days)
        ]
        missing = [day for day in days if day not in held]
        if missing:
            shown = ", ".join(str(day) for day in missing[:_SHOWN]) + (" and so on" if len(missing) > _SHOWN else "")
            return f"has no log file of {len(missing)} of {len(days)} days ({shown})"
        if max(delivered) < self._until - _FRESH:
            return f"has no log file since {rfc3339(max(delivered).timestamp())}"
        return "" if account in self._reading else "logs no reads, and a pull is one"


def _keys(bucket: Bucket, folder: str, since: datetime) -> Iterator[str]:
    """The log files of a region from the day of `since` on: what a day holds was written in it, or some minutes before."""
    return (
        key for key in bucket.keys(folder, after=f"{folder}{since:%Y/%m/%d}") if key.endswith((".json.gz", ".json"))
    )


def _holds_repositories(place: Place) -> bool:
    """Whether there is anything in this region that could have been pulled."""
    return bool(place.call("ecr", "describe_repositories", maxResults=1).get("repositories", True))


def _files(path: Path) -> list[Path]:
    """The log files of a folder, or the one file. Digests and insights of a trail lie beside and are none. Raises `OSError`."""
    path.stat()
    if not path.is_dir():
        return [path]
    files = (file for file in path.rglob("*.json*") if file.name.endswith((".json", ".json.gz")) and file.is_file())
    return sorted(file for file in files if not _BESIDE.search(str(file.relative_to(path))))


def _unpacked(content: bytes, name: str) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise Malformed(f"{name} is damaged: {error}") from error


def _records(text: bytes, name: str) -> Iterable[str | msgspec.Raw]:
    """The records of a log file that speak of pulls; the others are not looked at."""
    try:
        file = msgspec.json.decode(text, type=_File)
    except msgspec.MsgspecError as error:
        raise Malformed(f"{name} is not a log file of CloudTrail: {error}") from error
    if file.records is None and file.events is None:
        raise Malformed(f"{name} is not a log file of CloudTrail: it has neither Records nor Events")
    yield from (raw for raw in file.records or () if _EVENT in bytes(raw))
    yield from (event.record for event in file.events or () if EVENT in event.record)


def _seconds(record: Record, name: str) -> float:
    try:
        return parse_rfc3339(record.event_time)
    except BadInput as error:
        raise Malformed(f"{name} has a record with a time that is none: {error}") from error
