"""What AWS asks for storage: a list of prices by region, with its date and source, read from JSON.

Rests on https://aws.amazon.com/ecr/pricing/ and, for what the archive costs besides, on
https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html. Knows nothing of images. A region whose price
nobody wrote down has none: no figure is made up.
"""

from itertools import pairwise
from typing import Annotated, Any, Final

import msgspec

from ecrsweep.core.errors import BadInput

PRICES_FORMAT: Final = "ecrsweep.prices/1"

_ABSENT: Final = msgspec.Raw()
_DAYS_A_MONTH: Final = 365 / 12
_Usd = Annotated[float, msgspec.Meta(ge=0)]


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price of the gigabytes up to a border; the last tier has none."""

    usd_per_gb_month: _Usd
    up_to_gb: Annotated[float, msgspec.Meta(gt=0)] | None = None


class RegionPrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What storage costs in one region: a month in each class, and bringing an image back from the archive."""

    standard_usd_per_gb_month: _Usd
    archive_tiers: tuple[Tier, ...]
    restore_usd_per_gb: _Usd


class Prices(msgspec.Struct, frozen=True):
    """A list of prices.

    `default` is for regions that the list does not name, but for those whose names begin with one of
    `default_not_for`: they bill apart, in another currency perhaps.
    """

    date: str
    source: str
    bytes_per_gb: int
    archive_minimum_days: int
    regions: dict[str, RegionPrices]
    default: RegionPrices | None = None
    default_not_for: tuple[str, ...] = ()

    def of(self, region: str) -> RegionPrices | None:
        """The prices of a region; None where they are not known."""
        if region in self.regions:
            return self.regions[region]
        return None if region.startswith(self.default_not_for) else self.default

    def standard_month(self, count: int, price: RegionPrices) -> float:
        """US dollars for a month of so many bytes in the standard class."""
        return count / self.bytes_per_gb * price.standard_usd_per_gb_month

    def archive_month(self, count: int, price: RegionPrices) -> float:
        """US dollars for a month of so many bytes in the archive, where there are no others."""
        left, below, sum_of_tiers = count / self.bytes_per_gb, 0.0, 0.0
        for tier in price.archive_tiers:
            here = left if tier.up_to_gb is None else min(left, tier.up_to_gb - below)
            sum_of_tiers += here * tier.usd_per_gb_month
            left, below = left - here, tier.up_to_gb or below
        return sum_of_tiers


class ArchiveCost(msgspec.Struct, frozen=True):
    """What it costs to archive instead of to delete, in US dollars.

    `least` is due however soon the images are deleted or brought back: the archive bills a minimum of days.
    """

    a_month: float
    least: float
    restore: float
    standard_a_month: float


def cost_of_archive(count: int, region: str, prices: Prices, *, already: int = 0) -> ArchiveCost | None:
    """What so many bytes cost in the archive of a region, where `already` others are; None where its prices are not known."""
    price = prices.of(region)
    if price is None:
        return None
    month = prices.archive_month(already + count, price) - prices.archive_month(already, price)
    return ArchiveCost(
        a_month=month,
        least=month * prices.archive_minimum_days / _DAYS_A_MONTH,
        restore=count / prices.bytes_per_gb * price.restore_usd_per_gb,
        standard_a_month=prices.standard_month(count, price),
    )


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    date: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    source: Annotated[str, msgspec.Meta(min_length=1)]
    bytes_per_gb: Annotated[int, msgspec.Meta(gt=0)]
    archive_minimum_days: Annotated[int, msgspec.Meta(ge=0)]
    regions: dict[str, msgspec.Raw]
    default: msgspec.Raw = _ABSENT
    default_not_for: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
    note: str = ""
    """For people."""


def read_prices(content: bytes, name: str) -> Prices:
    """The list of prices in a file of this name. Raises `BadInput` that names the key and what is wrong with it."""
    raw: _File = _decoded(content, _File, name, "")
    if raw.format != PRICES_FORMAT:
        raise BadInput(f'{name}: format is "{raw.format}": accepted is "{PRICES_FORMAT}"')
    return Prices(
        date=raw.date,
        source=raw.source,
        bytes_per_gb=raw.bytes_per_gb,
        archive_minimum_days=raw.archive_minimum_days,
        regions={region: _region(body, name, f"regions.{region}") for region, body in raw.regions.items()},
        default=_region(raw.default, name, "default") if bytes(raw.default) else None,
        default_not_for=raw.default_not_for,
    )


def _region(body: msgspec.Raw, name: str, key: str) -> RegionPrices:
    price: RegionPrices = _decoded(bytes(body), RegionPrices, name, key)
    borders = [tier.up_to_gb for tier in price.archive_tiers]
    if not borders or borders[-1] is not None:
        raise BadInput(f"{name}: {key}.archive_tiers: the last tier has no up_to_gb, for it has no end")
    bounded = [border for border in borders if border is not None]
    if len(bounded) < len(borders) - 1 or any(low >= high for low, high in pairwise(bounded)):
        raise BadInput(f"{name}: {key}.archive_tiers: up_to_gb must rise from tier to tier")
    return price


def _decoded(content: bytes, kind: Any, name: str, key: str) -> Any:  # noqa: ANN401 - msgspec's own word for a type
    """What msgspec makes of it. Its errors say where by a path from the root, `$`, which is `key` here."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `")
        where = key + path.rstrip("`").removeprefix("$")
        raise BadInput(f"{name}: {where.lstrip('.')}: {what}" if where else f"{name}: {what}") from error
    except msgspec.MsgspecError as error:
        raise BadInput(f"{name}: this is not JSON: {error}") from error
