"""The files that a user gives a run, from a disk or a bucket: the configuration, and hold files.

A path in a configuration is taken from the folder, or the part of the bucket, that the configuration lies in, so that it means
the same wherever the run is started.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ecrsweep.aws.bucket import Bucket, parse_address
from ecrsweep.aws.world import AwsWorld
from ecrsweep.config import Configuration, read_configuration, read_holds
from ecrsweep.config.nodes import LARGEST
from ecrsweep.core.errors import AwsFailure, BadInput
from ecrsweep.core.holds import Hold
from ecrsweep.ports import Place
from ecrsweep.sources import installed_sources
from ecrsweep.sources.file import STANDARD_INPUT

CONFIG_VARIABLE: Final = "ECRSWEEP_CONFIG"
_S3: Final = "s3://"


def configuration_from(location: str, place: Callable[[], Place] | None = None) -> Configuration:
    """The configuration at a path, or an s3:// address where there is a `place` to speak to its bucket from.

    Raises `BadInput`, and its kind `BadFile`, and `AwsFailure`.
    """
    if location.startswith(_S3) and place is None:
        raise BadInput(f'--config "{location}": accepted is a path; the Lambda function takes s3://BUCKET/KEY too')
    raw = _content(location, "configuration", place)
    return read_configuration(raw, location, source_names(), lambda path: _beside(location, path))


def source_names() -> list[str]:
    """The names of all sources that are installed."""
    return [source.name for source in installed_sources()]


def read_hold_files(locations: Sequence[str], world: AwsWorld) -> tuple[Hold, ...]:
    """All holds of these files. Raises `BadInput` for a file that cannot be read: what it holds is not known."""
    found: list[Hold] = []
    for location in locations:
        try:
            raw = _content(location, "hold file", lambda: world.place(world.home_region))
        except AwsFailure as failure:
            raise BadInput(f"The hold file {location} cannot be read, so nothing was done: {failure}") from failure
        found += read_holds(raw, location)
    return tuple(found)


def _content(location: str, what: str, place: Callable[[], Place] | None) -> bytes:
    if location.startswith(_S3) and place is not None:
        bucket, key = parse_address(location)
        return Bucket(place(), bucket).get(key)
    try:
        with Path(location).open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise BadInput(f"The {what} {location} cannot be read, so nothing was done: {error.strerror}") from error


def _beside(location: str, path: str) -> str:
    """A path in the file at `location`, as it means the same anywhere."""
    if path == STANDARD_INPUT or path.startswith(_S3):
        return path
    if location.startswith(_S3):
        if path.startswith(("/", "~")) or ".." in path.split("/"):
            raise BadInput(f'"{path}" is no path beside {location}: accepted are names below it, and s3://BUCKET/KEY')
        return f"{location.rpartition('/')[0]}/{path}"
    return str((Path(location).absolute().parent / Path(path).expanduser()).absolute())
