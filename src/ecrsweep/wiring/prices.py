"""The list of prices that a run values its true bytes at: the one that comes along, or the user's own."""

from pathlib import Path
from typing import Final

from ecrsweep.config import Settings
from ecrsweep.core.errors import BadInput
from ecrsweep.core.prices import Prices, read_prices

_OUR_OWN: Final = Path(__file__).resolve().parents[1] / "prices.json"


def prices_of(settings: Settings) -> Prices | None:
    """The prices that the settings mean; None where nobody asked for the true bytes. Raises `BadInput`."""
    if not settings.exact_size:
        if settings.prices is not None:
            raise BadInput("--prices values the true bytes: add --exact-size")
        return None
    if settings.prices is None:
        return list_prices()
    try:
        content = Path(settings.prices).read_bytes()
    except OSError as error:
        raise BadInput(f"--prices {settings.prices} cannot be read: {error.strerror}") from error
    return read_prices(content, f"--prices {settings.prices}")


def list_prices() -> Prices:
    """The list that comes along."""
    return read_prices(_OUR_OWN.read_bytes(), _OUR_OWN.name)
