"""What becomes of the images that no criterion keeps: deleted, archived, on trial in the archive, or kept all the same.

An artifact goes as a whole. One that is archived waits there until its time is over for every part of it, so that it can
come back as it was. https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html
"""

from collections.abc import Sequence

import msgspec

from ecrsweep.core.decisions import Action, Code, Reason
from ecrsweep.core.graph import Graph, reached
from ecrsweep.core.images import Image, Status
from ecrsweep.core.policy import Otherwise, Policy, format_duration
from ecrsweep.core.times import rfc3339


class Departure(msgspec.Struct, frozen=True):
    """Of the images that nothing keeps, those that stay all the same, with the reason.

    `binding` hold what belongs to them as well; `waiting` are archived and wait there, while what belongs to them may follow.
    """

    binding: dict[str, Reason]
    waiting: dict[str, Reason]


def depart(graph: Graph, left: Sequence[str], policy: Policy, now: float) -> Departure:
    """How the images in `left` depart, which nothing keeps: those that are in neither part of the answer go."""
    images = graph.images
    active = Status.ACTIVE  # looked up once: this is asked of every image
    idle = [digest for digest in left if images[digest].status != active]
    settled = {
        digest: archived_reason(images[digest], policy)
        for digest in idle
        if _stays_archived(images[digest], policy, now)
    }
    if policy.otherwise is Otherwise.DELETE:
        return Departure(settled, {})
    going = [digest for digest in left if images[digest].status == active]
    if policy.otherwise is Otherwise.KEEP:
        return Departure(settled | dict.fromkeys(going, Reason(Code.KEPT_BY_POLICY, policy.name)), {})
    whole = _artifacts_of([*going, *settled], graph, frozenset(left))
    return Departure({}, {digest: archived_reason(images[digest], policy) for digest in idle if digest in whole})


def usual_action(policy: Policy) -> Action:
    """What is done with an active image that goes."""
    return Action.ARCHIVE if policy.archives else Action.DELETE


def action_for(image: Image, policy: Policy) -> Action:
    """What is done with an image that goes: what is in the archive already can only be deleted."""
    return usual_action(policy) if image.status == Status.ACTIVE else Action.DELETE


def time_is_over(image: Image, policy: Policy) -> list[Reason]:
    """What an archived image that goes has to say of its time in the archive."""
    if image.status == Status.ACTIVE or image.archived_at is None or policy.archived_for is None:
        return []
    since, limit = rfc3339(image.archived_at), format_duration(policy.archived_for)
    if policy.otherwise is Otherwise.TRIAL:
        return [Reason(Code.TRIAL_PASSED, f"archived {since}, and nothing missed it for {limit}")]
    return [Reason(Code.NOT_KEPT, f"archived {since}, more than {limit} ago")]


def archived_reason(image: Image, policy: Policy | None) -> Reason:
    """That an image is in the archive, since when, and how long it stays."""
    since = f" since {rfc3339(image.archived_at)}" if image.archived_at is not None else ""
    limit = None if policy is None else policy.archived_for
    until = f"; it goes after {format_duration(limit)}" if limit is not None and image.status == Status.ARCHIVED else ""
    return Reason(Code.ARCHIVED, f"its state is {image.status}{since}{until}")


def _stays_archived(image: Image, policy: Policy, now: float) -> bool:
    """True where an image is not active, and its time in the archive is not over, or nobody can say so."""
    if image.status == Status.ACTIVE:
        return False
    limit = policy.archived_for
    known = image.status == Status.ARCHIVED and image.archived_at is not None and limit is not None
    return not (known and now - image.archived_at > limit)  # type: ignore[operator]


def _artifacts_of(digests: Sequence[str], graph: Graph, left: frozenset[str]) -> set[str]:
    """Whatever shares an artifact with one of these: all above them, and all under that."""
    return reached(reached(digests, *graph.up, within=left), *graph.down)
