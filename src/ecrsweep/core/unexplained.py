"""Pulls that nothing else explains: somebody runs, builds on or copies an image, and no other source knows of it.

A pull is explained where another use means the same image, an index that contains it, something that it contains, or what it is a
signature of: who runs an image by tag pulls the index, the image of its platform, and perhaps a signature.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ecrsweep.core.document import coverage_document
from ecrsweep.core.graph import build_graph, reached
from ecrsweep.core.images import Inventory
from ecrsweep.core.names import EcrReference, Registry, Repository, parse_reference
from ecrsweep.core.times import rfc3339
from ecrsweep.core.uses import Coverage, Pulls, Use, UseIndex

UNEXPLAINED_FORMAT: Final = "ecrsweep.unexplained/1"


def repositories_pulled(uses: Iterable[Use]) -> list[Repository]:
    """The repositories that somebody pulled from, sorted."""
    references = (parse_reference(use.image) for use in uses if use.pulls is not None)
    return sorted({found.repository for found in references if isinstance(found, EcrReference)})


def unexplained(
    uses: Sequence[Use], inventories: Iterable[Inventory], aliases: Mapping[str, Registry] | None = None
) -> list[Use]:
    """The pulls among these uses that no other use explains, by what the repositories hold now.

    Where a repository is not at hand, or does not hold the image any more, only a use of the same name explains a pull.
    """
    others = [use for use in uses if use.pulls is None]
    index = UseIndex(others, aliases)
    explained: dict[Repository, tuple[set[str], dict[str, str]]] = {}
    for inventory in inventories:
        tags = {tag: image.digest for image in inventory.images for tag in image.tags}
        explained[inventory.repository] = (_explained(inventory, index), tags)
    names = _names(others)
    return [use for use in uses if use.pulls is not None and not _is_explained(use, explained, names)]


def _explained(inventory: Inventory, index: UseIndex) -> set[str]:
    """The digests of all that the other uses of a repository touch when they are pulled."""
    used = index.match(inventory.repository, inventory.images).reasons.keys()
    graph = build_graph(inventory.images, inventory.edges)
    return reached(used, *graph.down) | reached(used, *graph.up)


def _names(uses: Iterable[Use]) -> set[tuple[Repository, str | None]]:
    """Repository with tag or digest, as the other uses write them."""
    names: set[tuple[Repository, str | None]] = set()
    for use in uses:
        found = parse_reference(use.image)
        if isinstance(found, EcrReference):
            named = (found.tag, found.digest, use.digest)
            names |= {(found.repository, name) for name in named if name}
    return names


def _is_explained(
    use: Use, explained: dict[Repository, tuple[set[str], dict[str, str]]], names: set[tuple[Repository, str | None]]
) -> bool:
    found = parse_reference(use.image)
    if not isinstance(found, EcrReference):
        return False
    digests, tags = explained.get(found.repository, (set(), {}))
    meant = found.digest or tags.get(found.tag or "")
    if meant in digests:
        return True
    return (found.repository, found.digest or found.tag) in names


def unexplained_document(uses: Iterable[Use], coverage: Iterable[Coverage], account: str, now: float) -> dict[str, Any]:
    """What was found as JSON-able data."""
    return {
        "format": UNEXPLAINED_FORMAT,
        "account": account,
        "created_at": rfc3339(now),
        "unexplained": [unexplained_row(use) for use in uses],
        "coverage": [coverage_document(entry) for entry in coverage],
    }


def unexplained_row(use: Use) -> dict[str, Any]:
    """One principal and image as JSON-able data."""
    found = parse_reference(use.image)
    pulls = use.pulls or Pulls(0, 0.0, 0.0)
    named = found if isinstance(found, EcrReference) else None
    return {
        "principal": use.workload,
        "image": use.image,
        "account": named.repository.registry.account if named else None,
        "region": named.repository.registry.region if named else None,
        "repository": named.repository.name if named else None,
        "tag": named.tag if named else None,
        "digest": named.digest if named else None,
        "times": pulls.times,
        "first_at": rfc3339(pulls.first),
        "last_at": rfc3339(pulls.last),
        "address": pulls.address,
        "user_agent": pulls.agent,
        "error": pulls.error,
    }
