"""Which partition a region belongs to, by botocore's table alone: no credentials, no profile, no call.

AWS has several clouds that know nothing of each other (`aws`, `aws-cn`, `aws-us-gov`, ...); an ARN begins with its cloud.
https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from botocore.exceptions import UnknownRegionError
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

from ecrsweep.core.errors import BadInput

_MAIN_REGIONS: Final = {
    "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1", "aws-eusc": "eusc-de-east-1", "aws-iso": "us-iso-east-1",
    "aws-iso-b": "us-isob-east-1", "aws-iso-e": "eu-isoe-west-1", "aws-iso-f": "us-isof-south-1",
}  # fmt: skip


def main_region(partition: str) -> str:
    """The region of a partition that is never switched off."""
    return _MAIN_REGIONS.get(partition, "us-east-1")


def partition_of_all(regions: Iterable[str]) -> str:
    """The one partition that all of these belong to. Raises `BadInput` for a name that is no region's, and for several."""
    found = {region: _partition_of(region) for region in regions}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{region} is in {partition}" for region, partition in sorted(found.items()))
        raise BadInput(f"The regions are of different partitions, which no credentials reach together: {told}")
    return next(iter(found.values()))


def unfamiliar(regions: Iterable[str]) -> list[str]:
    """Those that botocore's table does not have, sorted: newer than it, or misspelt."""
    return sorted(region for region in set(regions) if region not in known_regions(_partition_of(region)))


def known_regions(partition: str) -> Sequence[str]:
    """The regions of a partition that botocore knows."""
    return tuple(_table().get_available_endpoints("ec2", partition))


def suggestion(region: str, known: Iterable[str]) -> str:
    """What somebody who named this region may have meant."""
    import difflib  # noqa: PLC0415 - needed for a mistake only

    close = difflib.get_close_matches(region, list(known), n=1)
    return f"Did you mean {close[0]}?" if close else "Regions have names such as us-east-1."


def _partition_of(region: str) -> str:
    try:
        return str(_table().get_partition_for_region(region))
    except UnknownRegionError as error:
        every = [name for partition in _table().get_available_partitions() for name in known_regions(partition)]
        raise BadInput(f"There is no region {region}. {suggestion(region, every)}") from error


@lru_cache
def _table() -> Any:  # noqa: ANN401 - botocore has no types of its own here
    return EndpointResolver(Loader().load_data("endpoints"), uses_builtin_data=True)
