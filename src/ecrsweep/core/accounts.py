"""The accounts of a run: where images may go, and who is asked what is in use. Evidence of all comes before any decision.

An image of one account may run in another, so the two lists are separate, and an account may be on one of them alone.
"""

import msgspec


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account of a run, and how it is reached: by a role, by a profile, or, with neither, by the credentials in hand."""

    account: str
    regions: tuple[str, ...] = ()
    """The regions of its registries; none where no image of it may go."""
    asked: bool = True
    """Whether it is asked what is in use there."""
    role: str | None = None
    """A name, with its path if it has one, or an ARN."""
    external_id: str | None = None
    profile: str | None = None
    name: str = ""
    """What AWS Organizations calls it."""
    closed: str | None = None
    """Why nobody can ask it, in a word of AWS Organizations: SUSPENDED."""
