"""The first configuration of an account, as text: what it holds stands in comments, and why each policy says what it says.

What is written is read back by `config.file` before anybody sees it: a starter that does not load is a fault of ours.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

from ecrsweep.core.stock import Group, Shape

_NEWEST: Final = (10, 20, 30, 50, 100)
"""Round numbers to keep; the most is what holds without a configuration."""
_TYPICAL: Final = 5
"""So many tags of a shape are a habit; fewer are an accident."""
_MOST_NAMES: Final = 8

_HEAD: Final = """\
# What ecrsweep keeps in account {account}, proposed by `ecrsweep init` from what was there on {day}.
# Nothing here is in force until you run:  ecrsweep plan --config {name}
# The plan changes nothing. Whatever is in use stays, whatever a policy says.
#
# Every key: docs/configuration.md. Editors complete and check this file after:
#   ecrsweep schema config > ecrsweep.schema.json
# yaml-language-server: $schema=ecrsweep.schema.json

registry:
  account: "{account}"   # with credentials of another account nothing is done
  regions: [{regions}]

# The first policy whose repositories match governs a repository. What no policy governs is kept.
policies:
"""

_TAIL: Final = """
# Brakes, for when a plan is larger than you expect. The first holds without being said; 1 is no limit.
# limits:
#   max_fraction: 0.5   # of one repository of more than 20 images
#   max_images: 1000    # of one run; max_images_per_registry: of one account in one region

# Images that must stay whatever happens, and why: docs/formats.md has the form.
# holds: [holds.yaml]

# Private host names of these registries, such as a CNAME or a proxy.
# aliases:
#   registry.example.com: {account}/{region}
"""


def starter(
    account: str, regions: Sequence[str], groups: Sequence[Group], unread: Sequence[str], *, day: str, name: str
) -> str:
    """A configuration with a policy for each group. `unread` names repositories of which nothing is known."""
    written = ", ".join(regions)
    text = _HEAD.format(account=account, day=day, name=name, regions=written)
    text += "\n".join("\n".join(_policy(group)) + "\n" for group in groups)
    if not groups:
        text += "  - name: everything   # there is no repository yet: these are the defaults\n"
    for line in unread:
        text += f"\n# Not read, so no policy was proposed: {_plain(line)}"
    return text + _TAIL.format(account=account, region=regions[0])


def _policy(group: Group) -> Iterator[str]:
    """One policy, each line with its reason."""
    repositories = len(group.stocks)
    images = f"{group.images:,} image{'' if group.images == 1 else 's'}"
    held = f"1 repository, {images}" if repositories == 1 else f"{repositories} repositories, {images}"
    yield f"  # {_plain(group.name)}: {held}, {_gigabytes(group.size_bytes)}."
    yield f"  # {_looks(group)}"
    yield f"  - name: {json.dumps(group.name)}"
    yield from _repositories(group)
    lately = group.busiest.pushed_lately
    newest = next((number for number in _NEWEST if number >= lately), _NEWEST[-1])
    why = f"in the last quarter {_plain(group.busiest.repository.name)} had {lately:,} pushes with a tag, the most here"
    yield f"    newest: {newest}   # {why}"
    yield from _per_group(group.tags)
    yield from _protected(group)
    untagged = f"{group.untagged:,} now" if group.untagged else "none now"
    yield f"    untagged_for: 14d   # images without a tag, {untagged}, go this long after their push"
    yield "    pulled_within: 30d   # what was pulled lately may run where nobody looks"
    yield "    otherwise: delete   # or archive, trial (archived first, deleted if nothing misses it), keep"


def _looks(group: Group) -> str:
    """What the tags look like, in words."""
    if not group.tags:
        return "No tags."
    told = [f"{shape.value} such as {_plain(example)} ({number:,})" for shape, (number, example) in group.tags.items()]
    return f"Tags: {', '.join(told)}."


def _repositories(group: Group) -> Iterator[str]:
    """One glob with the names that it stands for, or the names, one a line."""
    names = sorted({stock.repository.name for stock in group.stocks})
    if group.globs == (f"{group.name}/*",):
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        yield f"    repositories: [{json.dumps(group.globs[0])}]   # {_plain(', '.join(names[:_MOST_NAMES]))}{more}"
        return
    yield "    repositories:"
    for glob in group.globs:
        yield f"      - {json.dumps(glob)}"


def _per_group(tags: dict[Shape, tuple[int, str]]) -> Iterator[str]:
    """The newest of each line of work besides, where tags tell lines of work apart."""
    lines = [
        (shape, pattern, why)
        for shape, pattern, why in (
            (Shape.VERSION, r"^v?(?P<major>[0-9]+)\.", "of each major version: somebody may have stayed on it"),
            (
                Shape.BRANCH_COMMIT,
                "^(?P<branch>.+)-[0-9a-f]{7,40}$",
                "of each branch: a busy one does not push the others out",
            ),
        )
        if tags.get(shape, (0, ""))[0] >= _TYPICAL
    ]
    if lines:
        yield "    newest_per:"
    for _, pattern, why in lines:
        yield f"      - {{pattern: '{pattern}', newest: 3}}   # {why}"


def _protected(group: Group) -> Iterator[str]:
    """The tags that move: each names one image, the one that is meant now."""
    moving = [tag for tag in group.moving if tag != "latest"]
    if 0 < len(moving) <= _MOST_NAMES:
        listed = ", ".join(json.dumps(tag) for tag in ("latest", *moving))
        yield f"    protected_tags: [{listed}]   # tags that move: each keeps one image"


def _gigabytes(size: int) -> str:
    return f"up to {size / 1e9:,.1f} GB"


def _plain(text: str) -> str:
    """Text of others in a comment: nothing that ends the line, or speaks to a terminal."""
    return re.sub(r"[^ -~]", "?", text)
