"""True bytes: what a plan frees when each layer is counted once a repository, and what that is worth a month.

ECR stores a layer once in a repository, however many images name it, so it goes with the last of them
(docs/savings.md says what that rests on). Where the layers of a manifest are not known, the figures of its
repository are upper bounds, and say so.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from ecrsweep.core.decisions import Action, Decision
from ecrsweep.core.images import Image, Layers, Status
from ecrsweep.core.names import Repository
from ecrsweep.core.prices import Prices


class Sizes(msgspec.Struct, frozen=True):
    """Bytes by where they lie now and after the plan; each layer stands in one figure.

    A layer lies in the archive where archived images alone have it. `unread` counts the manifests whose layers are
    not known: with some, what goes and what moves are upper bounds. `why` is the first reason for that.
    """

    freed: int = 0
    freed_from_archive: int = 0
    moved_to_archive: int = 0
    kept: int = 0
    kept_in_archive: int = 0
    unread: int = 0
    why: str | None = None

    def __add__(self, other: "Sizes") -> "Sizes":
        """Field by field; the first reason stays."""
        return Sizes(
            self.freed + other.freed,
            self.freed_from_archive + other.freed_from_archive,
            self.moved_to_archive + other.moved_to_archive,
            self.kept + other.kept,
            self.kept_in_archive + other.kept_in_archive,
            self.unread + other.unread,
            self.why or other.why,
        )

    @property
    def is_exact(self) -> bool:
        """True where the layers of every manifest are known."""
        return not self.unread

    @property
    def delete(self) -> int:
        """What is not stored any more, in whatever class."""
        return self.freed + self.freed_from_archive

    @property
    def keep(self) -> int:
        """What stays where it is."""
        return self.kept + self.kept_in_archive


class Figures(msgspec.Struct, frozen=True):
    """What stands in the summary of a plan besides, where the true bytes were asked for; None: not known exactly."""

    delete_bytes_exact: int | None = None
    keep_bytes_exact: int | None = None
    archive_bytes_exact: int | None = None
    monthly_savings_usd: float | None = None
    manifests_unread: int = 0


class Savings(msgspec.Struct, frozen=True):
    """The sizes of every repository of a plan, and the prices that they are valued at."""

    prices: Prices
    repositories: tuple[tuple[Repository, Sizes], ...] = ()

    @property
    def total(self) -> Sizes:
        """Of all repositories together."""
        return sum((sizes for _, sizes in self.repositories), Sizes())

    @property
    def by_region(self) -> dict[str, Sizes]:
        """Of each region, in the order of the plan."""
        found: dict[str, Sizes] = defaultdict(Sizes)
        for repository, sizes in self.repositories:
            found[repository.registry.region] += sizes
        return dict(found)

    @property
    def inexact_repositories(self) -> int:
        """How many have figures that are upper bounds."""
        return sum(not sizes.is_exact for _, sizes in self.repositories)

    @property
    def unpriced_regions(self) -> list[str]:
        """The regions whose prices are not known."""
        return [region for region in self.by_region if self.prices.of(region) is None]

    @property
    def assumed_regions(self) -> list[str]:
        """The regions that the list does not name, valued at what it has for such."""
        unknown = {*self.prices.regions, *self.unpriced_regions}
        return [region for region in self.by_region if region not in unknown]

    @property
    def monthly_usd(self) -> float | None:
        """US dollars that the plan saves a month; an upper bound where the sizes are; None where a price is not known."""
        worth = [monthly_savings(sizes, region, self.prices) for region, sizes in self.by_region.items()]
        known = [one for one in worth if one is not None]
        return sum(known) if len(known) == len(worth) else None

    @property
    def figures(self) -> Figures:
        """What stands in the summary of a plan: nothing that is an upper bound under the name of what is exact."""
        total, usd = self.total, self.monthly_usd
        if not total.is_exact:
            return Figures(manifests_unread=total.unread)
        return Figures(total.delete, total.keep, total.moved_to_archive, None if usd is None else round(usd, 2))


def monthly_savings(sizes: Sizes, region: str, prices: Prices) -> float | None:
    """US dollars that a month costs less after the plan than before; None where the prices of the region are not known.

    Less than nothing never comes out: AWS asks no more for the archive than for the standard class.
    """
    price = prices.of(region)
    if price is None:
        return None
    before = prices.archive_month(sizes.freed_from_archive + sizes.kept_in_archive, price)
    after = prices.archive_month(sizes.moved_to_archive + sizes.kept_in_archive, price)
    return prices.standard_month(sizes.freed + sizes.moved_to_archive, price) + before - after


# Which images have a layer: those in the standard class now or the archive, those that stay in each, those that move.
_NOW: Final = 1
_STAYS: Final = 2
_STAYS_ARCHIVED: Final = 4
_MOVES: Final = 8


def sizes_of(decisions: Iterable[Decision], layers: Layers) -> Sizes:
    """The bytes of one repository, before and after these decisions. Linear in the layers that its manifests name.

    Of a manifest whose layers are not known, what ECR says of its size is taken, as if no other image had its layers.
    """
    holders: dict[str, int] = defaultdict(int)
    largest: dict[str, int] = {}
    total = Sizes()
    for decision in decisions:
        held = _held(decision)
        blobs = layers.blobs.get(decision.image.digest)
        if blobs is None:
            total += _unread(decision.image, held, layers.unread)
            continue
        for blob in blobs:
            holders[blob.digest] |= held
            # Two manifests can disagree only where one of them lies: the larger is no less than what is stored.
            largest[blob.digest] = max(blob.size, largest.get(blob.digest, 0))
    return total + _summed(holders, largest)


def _held(decision: Decision) -> int:
    is_archived = decision.image.status == Status.ARCHIVED
    now = 0 if is_archived else _NOW
    if decision.action is Action.DELETE:
        return now
    if is_archived:
        return _STAYS_ARCHIVED
    return now | (_MOVES if decision.action is Action.ARCHIVE else _STAYS)


def _unread(image: Image, held: int, why: Mapping[str, str]) -> Sizes:
    one = _summed({image.digest: held}, {image.digest: image.size_bytes})
    return one + Sizes(unread=1, why=why.get(image.digest))


def _summed(holders: Mapping[str, int], sizes: Mapping[str, int]) -> Sizes:
    """Each layer counted once, by who has it."""
    counted: dict[str, int] = defaultdict(int)
    for digest, held in holders.items():
        counted[_fate(held)] += sizes[digest]
    return msgspec.convert(counted, Sizes)


def _fate(held: int) -> str:
    """The figure that a layer stands in. One image of the standard class that stays keeps it there.

    So does an archived image that is left alone with it: no document says that it moves then, and nothing is saved by that.
    """
    if held & _STAYS or (held & _NOW and held & _STAYS_ARCHIVED and not held & _MOVES):
        return "kept"
    if held & _MOVES:
        return "moved_to_archive"
    if held & _STAYS_ARCHIVED:
        return "kept_in_archive"
    return "freed" if held & _NOW else "freed_from_archive"
