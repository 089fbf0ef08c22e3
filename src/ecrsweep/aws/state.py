"""A part of a bucket that keeps state (`ports.StateStore`): an object a name, replaced by conditional writes.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from ecrsweep.aws.bucket import Bucket
from ecrsweep.aws.pool import ordered_map
from ecrsweep.core.errors import AwsFailure, Missing, StateFailure
from ecrsweep.ports import Kept

_SIDE_BY_SIDE: Final = 16


class BucketState:
    """The objects of a bucket whose keys begin with a prefix."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        """`prefix` without a slash at its end; "" is the whole bucket. Nothing is asked yet."""
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def location(self) -> str:
        """Its s3:// address."""
        return f"s3://{self._bucket.name}/{self._prefix}".rstrip("/")

    def names(self, under: str) -> Sequence[str]:
        """The names in this folder, sorted. Raises `StateFailure`."""
        with _told():
            return sorted(key.removeprefix(self._prefix) for key in self._bucket.keys(self._prefix + under))

    def read(self, names: Sequence[str]) -> Iterator[Kept | None]:
        """What is under each name, None where there is nothing (any more). Raises `StateFailure`."""
        with _told():
            yield from ordered_map(self._read, names, _SIDE_BY_SIDE)

    def add(self, name: str, content: bytes) -> None:
        """Keep this under a name that nobody else uses. Raises `StateFailure`."""
        with _told():
            self._bucket.put(self._prefix + name, content)

    def replace(self, name: str, content: bytes, version: str | None) -> bool:
        """Put this in the place of a version. False where another writer was faster. Raises `StateFailure`."""
        with _told():
            return self._bucket.put_if(self._prefix + name, content, version)

    def remove(self, names: Sequence[str]) -> None:
        """Forget these; what is not there is no error. Raises `StateFailure`."""
        with _told():
            for _ in ordered_map(lambda name: self._bucket.remove(self._prefix + name), names, _SIDE_BY_SIDE):
                pass

    def _read(self, name: str) -> Kept | None:
        try:
            return self._bucket.get_version(self._prefix + name)
        except Missing:
            return None


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except AwsFailure as failure:
        raise StateFailure(str(failure)) from failure
