"""What an account holds, in the terms in which a policy is thought of: groups of repositories, what their tags look like, how fast they grow.

`ecrsweep init` makes a first configuration of it. Nothing here decides about an image.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from ecrsweep.core.images import Inventory, Kind
from ecrsweep.core.names import Repository
from ecrsweep.core.policy import DAY

QUARTER: Final = 91 * DAY
WITHOUT_PREFIX: Final = "without a prefix"
"""The name of the group of all repositories that have no slash; no repository can have it."""


class Shape(StrEnum):
    """What a tag looks like, in words."""

    VERSION = "versions"
    MOVING = "moving tags"
    PULL_REQUEST = "pull requests"
    BRANCH_COMMIT = "branches with commits"
    COMMIT = "commits"
    COUNTER = "words with numbers"
    DATE = "dates"
    NUMBER = "numbers"
    OTHER = "other tags"


_SHAPES: Final = (
    (Shape.PULL_REQUEST, re.compile(r"(pr|mr|pull|merge)[-_.]?[0-9]+([-_.].*)?", re.IGNORECASE)),
    (Shape.DATE, re.compile(r"(19|20)[0-9]{2}[-_.]?(0[1-9]|1[0-2])[-_.]?[0-3][0-9]([-_.T].*)?")),
    (Shape.NUMBER, re.compile(r"v?[0-9]+")),
    (Shape.VERSION, re.compile(r"v?[0-9]+(\.[0-9]+)+([-+_.].*)?")),
    (Shape.COMMIT, re.compile(r"((git|sha)-)?[0-9a-f]{7,40}")),
    (Shape.BRANCH_COMMIT, re.compile(r"[A-Za-z][A-Za-z0-9_.-]*[-_.][0-9a-f]{7,40}")),
    (Shape.COUNTER, re.compile(r"[A-Za-z][A-Za-z_.-]*[-_.][0-9]+")),
    (Shape.MOVING, re.compile(r"[A-Za-z][A-Za-z_-]*")),
)
"""The first that matches the whole tag; letters alone are a name that moves: `latest`, `main`, `prod`."""


class Stock(msgspec.Struct, frozen=True):
    """What one repository holds. `pushed_lately`: tagged artifacts of the last quarter. `tags`: each shape's number and newest tag."""

    repository: Repository
    images: int
    untagged: int
    size_bytes: int
    pushed_lately: int
    tags: Mapping[Shape, tuple[int, str]]
    moving: tuple[str, ...]


class Group(msgspec.Struct, frozen=True):
    """Repositories that a policy may be for: those of one prefix, or all that have none. `globs` match these."""

    name: str
    globs: tuple[str, ...]
    stocks: tuple[Stock, ...]

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(stock.images for stock in self.stocks)

    @property
    def untagged(self) -> int:
        """How many have no tag and are not part of something, as far as that is known."""
        return sum(stock.untagged for stock in self.stocks)

    @property
    def size_bytes(self) -> int:
        """At most: layers are shared."""
        return sum(stock.size_bytes for stock in self.stocks)

    @property
    def busiest(self) -> Stock:
        """The repository with the most pushes lately."""
        return max(self.stocks, key=lambda stock: (stock.pushed_lately, stock.repository.name))

    @property
    def tags(self) -> dict[Shape, tuple[int, str]]:
        """Each shape, how often, and the newest tag of it in one of the repositories; the most frequent first."""
        numbers: Counter[Shape] = Counter()
        examples: dict[Shape, str] = {}
        for stock in self.stocks:
            for shape, (number, example) in stock.tags.items():
                numbers[shape] += number
                examples.setdefault(shape, example)
        return {shape: (number, examples[shape]) for shape, number in numbers.most_common()}

    @property
    def moving(self) -> tuple[str, ...]:
        """The tags that move, sorted."""
        return tuple(sorted({tag for stock in self.stocks for tag in stock.moving}))


def shape_of(tag: str) -> Shape:
    """What a tag looks like."""
    return next((shape for shape, pattern in _SHAPES if pattern.fullmatch(tag)), Shape.OTHER)


def stock_of(inventory: Inventory, now: float) -> Stock:
    """What a repository holds. `now` in seconds since the epoch. Signatures by tag are no tags of anybody's."""
    named = [image for image in inventory.images if image.tags and image.kind is not Kind.REFERRER]
    inside = {child for children in inventory.edges.values() for child in children}
    named.sort(key=lambda image: (-(image.pushed_at or now), image.digest))
    tags: dict[Shape, tuple[int, str]] = {}
    for tag in (tag for image in named for tag in sorted(image.tags)):
        shape = shape_of(tag)
        number, newest = tags.get(shape, (0, tag))
        tags[shape] = (number + 1, newest)
    return Stock(
        inventory.repository,
        images=len(inventory.images),
        untagged=sum(
            not image.tags and image.digest not in inside and image.subject is None for image in inventory.images
        ),
        size_bytes=sum(image.size_bytes for image in inventory.images),
        pushed_lately=sum(image.pushed_at is None or now - image.pushed_at <= QUARTER for image in named),
        tags=tags,
        moving=tuple(sorted({tag for image in named for tag in image.tags if shape_of(tag) is Shape.MOVING})),
    )


def grouped(stocks: Iterable[Stock]) -> Sequence[Group]:
    """The repositories by the first part of their names, over all regions, sorted; those without a slash together, the last."""
    found: dict[str, list[Stock]] = defaultdict(list)
    for stock in stocks:
        prefix, slash, _ = stock.repository.name.partition("/")
        found[prefix if slash else ""].append(stock)
    alone = tuple(found.pop("", ()))
    groups = [Group(prefix, (f"{prefix}/*",), tuple(some)) for prefix, some in sorted(found.items())]
    names = tuple(sorted({stock.repository.name for stock in alone}))
    return [*groups, *([Group(WITHOUT_PREFIX, names, alone)] if alone else [])]
