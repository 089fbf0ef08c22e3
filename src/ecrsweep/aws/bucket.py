"""A bucket: for what must outlive a function (plans, reports, the manifest cache), and for what others keep in theirs.

API: https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html
"""

import gzip
import re
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ecrsweep.aws.cache import ManifestCache
from ecrsweep.aws.errors import code_of, translated
from ecrsweep.core.errors import AwsFailure, BadInput, Malformed, Missing
from ecrsweep.ports import Kept, Place

ACTIONS: Final = ("s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject")
"""What reading and writing need of IAM. Without ListBucket, S3 answers "denied" for an object that does not exist.

DeleteObject is for the small objects of the ledger, once they have been put together.
"""

CACHE_KEY: Final = "state/manifests.sqlite3.gz"
_NAME: Final = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_ADDRESS: Final = re.compile(rf"s3://(?P<bucket>{_NAME})/(?P<key>.+)")
_ABSENT: Final = frozenset({"NoSuchKey", "404"})
_OUTRUN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})
"""What S3 answers where another writer was faster; NoSuchKey where it has removed what was to be replaced."""


class Bucket:
    """One bucket, spoken to from one place."""

    def __init__(self, place: Place, name: str) -> None:
        """The bucket of this name; nothing is asked yet."""
        self.name = name
        self._place = place

    def put(self, key: str, content: bytes | Path) -> str:
        """Write an object from bytes or a file (PutObject); its s3:// address. Raises `AwsFailure`."""
        if isinstance(content, Path):
            with content.open("rb") as body:
                self._call("put_object", Key=key, Body=body)
        else:
            self._call("put_object", Key=key, Body=content)
        return f"s3://{self.name}/{key}"

    def put_if(self, key: str, content: bytes, etag: str | None) -> bool:
        """Write an object in the place of the one with this ETag, None where there is none. False where another was faster.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            self._call("put_object", Key=key, Body=content, **condition)
        except AwsFailure as failure:
            if code_of(failure) in _OUTRUN:
                return False
            raise
        return True

    def get(self, key: str) -> bytes:
        """The content of an object (GetObject). Raises `Missing`, and `AwsFailure`."""
        return self._got(key)[0]

    def get_dated(self, key: str) -> tuple[bytes, float | None]:
        """The content of an object, and when it was written where S3 says so. Raises `Missing`, and `AwsFailure`."""
        content, answer = self._got(key)
        written = answer.get("LastModified")
        return content, written.timestamp() if isinstance(written, datetime) else None

    def get_version(self, key: str) -> Kept:
        """The content of an object with its ETag. Raises `Missing`, and `AwsFailure`."""
        content, answer = self._got(key)
        with translated("s3:GetObject", self._place.region):
            return Kept(content, answer["ETag"])

    def _got(self, key: str) -> tuple[bytes, Mapping[str, Any]]:
        try:
            answer = self._call("get_object", Key=key)
        except AwsFailure as failure:
            if code_of(failure) in _ABSENT:
                raise Missing(f"There is no s3://{self.name}/{key}", action=failure.action) from failure
            raise
        with translated("s3:GetObject", self._place.region):
            content: bytes = answer["Body"].read()
        return content, answer

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """The keys that begin so and come behind `after`, in order (ListObjectsV2). Raises `AwsFailure`."""
        for page in self._pages(Prefix=prefix, **({"StartAfter": after} if after else {})):
            yield from (found["Key"] for found in page.get("Contents", ()))

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands between `prefix` and the next slash, as prefixes themselves (ListObjectsV2). Raises `AwsFailure`."""
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            yield from (found["Prefix"] for found in page.get("CommonPrefixes", ()))

    def remove(self, key: str) -> None:
        """Delete an object; one that is not there is no error (DeleteObject). Raises `AwsFailure`."""
        self._call("delete_object", Key=key)

    def _pages(self, **parameters: object) -> Iterator[dict[str, Any]]:
        """The pages of a listing. S3 leaves empty lists out, so the count that it tells must agree: silence is not "none"."""
        action, token = "s3:ListBucket", None
        while True:
            page = self._call("list_objects_v2", **parameters, **({"ContinuationToken": token} if token else {}))
            held = len(page.get("Contents", ())) + len(page.get("CommonPrefixes", ()))
            if page.get("KeyCount") != held:
                raise Malformed(
                    f"{action} of {self.name} tells {page.get('KeyCount')} keys and lists {held}", action=action
                )
            yield page
            if not page.get("IsTruncated"):
                return
            if page.get("NextContinuationToken") in {None, token}:
                raise Malformed(f"{action} of {self.name} says that there is more and not how to get it", action=action)
            token = page["NextContinuationToken"]

    def _call(self, operation: str, **parameters: object) -> dict[str, Any]:
        return self._place.call("s3", operation, Bucket=self.name, **parameters)


def parse_address(text: str) -> tuple[str, str]:
    """Bucket and key of an s3:// address. Raises `BadInput`."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise BadInput(f'"{text}" is not the address of an object: accepted is s3://BUCKET/KEY')
    return found["bucket"], found["key"]


def check_name(text: str) -> str:
    """The name of a bucket, if it can be one. Raises `BadInput`."""
    if not re.fullmatch(_NAME, text):
        raise BadInput(
            f'"{text}" is not the name of a bucket: it has 3 to 63 lower case letters, digits, dots and hyphens'
        )
    return text


class LastingCache:
    """The manifest cache where no disk lasts: fetched from a bucket, and put back with what was learned."""

    def __init__(self, bucket: Bucket, cache: ManifestCache) -> None:
        """`cache` is the one at work here."""
        self._bucket = bucket
        self._cache = cache
        self._stored = 0
        """The size of what the bucket has: nothing there is ever taken back, so a cache of the same size is the same."""

    def fetch(self) -> None:
        """Take in what the bucket has. A damaged object counts as absent. Raises `AwsFailure`."""
        self._stored = 0
        try:
            content = self._bucket.get(CACHE_KEY)
        except Missing:
            return
        with tempfile.TemporaryDirectory(prefix="ecrsweep-") as folder:
            file = Path(folder) / "fetched.sqlite3"
            try:
                file.write_bytes(gzip.decompress(content))
                self._stored = self._cache.merge(file)
            except (OSError, EOFError, zlib.error, sqlite3.Error):
                return

    def store(self) -> None:
        """Put the cache back where it has more than was there; what another run has put there is taken in first.

        Raises `AwsFailure`.
        """
        if self._cache.size == self._stored:
            return
        self.fetch()
        size = self._cache.size
        with tempfile.TemporaryDirectory(prefix="ecrsweep-") as folder:
            file = Path(folder) / "stored.sqlite3"
            self._cache.copy_to(file)
            self._bucket.put(CACHE_KEY, gzip.compress(file.read_bytes(), compresslevel=6))
        self._stored = size
