"""Holds: images that somebody wants kept, whatever policies say."""

import msgspec


class Hold(msgspec.Struct, frozen=True):
    """One hold. `until` in seconds since the epoch; None is for ever."""

    image: str
    who: str = ""
    why: str = ""
    until: float | None = None
