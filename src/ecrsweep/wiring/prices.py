"""The list of prices of a run: the one that comes along, or the user's own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ecrsweep.config import Settings
from ecrsweep.core.errors import BadInput
from ecrsweep.core.policy import Policy
from ecrsweep.core.prices import Prices, read_prices

_OUR_OWN: Final = Path(__file__).resolve().parents[1] / "prices.json"


def prices_of(settings: Settings, policies: Iterable[Policy]) -> Prices:
    """The prices that the settings mean. Raises `BadInput`, also where a list of the user's would value nothing."""
    if settings.prices is None:
        return read_prices(_OUR_OWN.read_bytes(), _OUR_OWN.name)
    if not settings.exact_size and not any(policy.archives for policy in policies):
        raise BadInput("--prices values the true bytes, and what archiving costs: add --exact-size")
    try:
        content = Path(settings.prices).read_bytes()
    except OSError as error:
        raise BadInput(f"--prices {settings.prices} cannot be read: {error.strerror}") from error
    return read_prices(content, f"--prices {settings.prices}")
