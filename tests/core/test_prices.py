"""Prices: what a list must say, what its errors point to, and what the archive costs."""

import json
from typing import Any

import pytest

from ecrsweep.core.errors import BadInput
from ecrsweep.core.prices import ArchiveCost, cost_of_archive, read_prices
from tests.support import ROOT

GB = 2**30
OUR_OWN = ROOT / "src" / "ecrsweep" / "prices.json"


def changed(*path: str | int, to: Any) -> bytes:
    """Our own list with one member changed; `...` takes it away."""
    body: Any = json.loads(OUR_OWN.read_bytes())
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return json.dumps(body).encode()


def test_the_list_that_comes_along_can_be_read_and_says_when_and_whence() -> None:
    prices = read_prices(OUR_OWN.read_bytes(), "prices.json")
    assert (prices.date, prices.source) == ("2026-03-22", "https://aws.amazon.com/ecr/pricing/")
    assert prices.of("us-east-1") == prices.of("eu-west-1")
    for region in ("cn-north-1", "us-gov-west-1", "eusc-de-east-1", "us-isob-east-1"):
        assert prices.of(region) is None, region


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this is not JSON"),
        (b"[]", "Expected `object`"),
        (changed("format", to="ecrsweep.prices/9"), 'format is "ecrsweep.prices/9"'),
        (changed("date", to="January"), "date: Expected `str` matching"),
        (changed("source", to=...), "missing required field `source`"),
        (changed("bytes_per_gb", to=0), "bytes_per_gb: Expected `int` >= 1"),
        (changed("price", to=1), "unknown field `price`"),
        (changed("default", to=None), "default: Expected `object`, got `null`"),
        (changed("regions", "us-east-1", to=0.1), "regions.us-east-1: Expected `object`"),
        (
            changed("regions", "us-east-1", "standard_usd_per_gb_month", to="0.1"),
            "regions.us-east-1.standard_usd_per_gb_month: Expected `float`, got `str`",
        ),
        (
            changed("regions", "us-east-1", "restore_usd_per_gb", to=-1),
            "regions.us-east-1.restore_usd_per_gb: Expected",
        ),
        (
            changed("regions", "us-east-1", "archive_tiers", 1, "usd_per_gb_month", to=...),
            "regions.us-east-1.archive_tiers[1]: Object missing required field `usd_per_gb_month`",
        ),
        (changed("regions", "us-east-1", "archive_tiers", to=[]), "regions.us-east-1.archive_tiers: the last tier"),
        (changed("default", "archive_tiers", 1, "up_to_gb", to=200000), "default.archive_tiers: the last tier"),
        (changed("default", "archive_tiers", 0, "up_to_gb", to=...), "default.archive_tiers: up_to_gb must rise"),
    ],
)
def test_a_list_that_says_too_little_is_refused_by_the_key(content: bytes, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_prices(content, "mine.json")
    assert str(caught.value).startswith("mine.json: ")
    assert said in str(caught.value)


def test_the_archive_costs_as_much_as_the_standard_class_up_to_its_border_and_ninety_days_at_least() -> None:
    prices = read_prices(OUR_OWN.read_bytes(), "prices.json")
    found = cost_of_archive(100 * GB, "us-east-1", prices)
    assert found is not None
    assert rounded(found) == ArchiveCost(a_month=10.0, least=29.59, restore=3.0, standard_a_month=10.0)
    beyond = cost_of_archive(100 * GB, "us-east-1", prices, already=153_550 * GB)
    assert beyond is not None
    assert rounded(beyond) == ArchiveCost(a_month=8.5, least=25.15, restore=3.0, standard_a_month=10.0)
    nothing = cost_of_archive(0, "us-east-1", prices)
    assert nothing == ArchiveCost(0, 0, 0, 0)


def test_what_the_archive_costs_where_no_price_is_known_is_not_made_up() -> None:
    assert cost_of_archive(GB, "cn-north-1", read_prices(OUR_OWN.read_bytes(), "prices.json")) is None


def rounded(cost: ArchiveCost) -> ArchiveCost:
    return ArchiveCost(*(round(getattr(cost, name), 2) for name in cost.__struct_fields__))
