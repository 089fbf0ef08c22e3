"""Tags that go while their image stays: those of branches and builds, on images that are alive.

A tag that somebody names is what the next start of a workload asks for. The last tag never goes: ECR deletes an image
with its last tag. https://docs.aws.amazon.com/AmazonECR/latest/userguide/delete_image.html
"""

from collections.abc import Collection

from ecrsweep.core.images import Image, Status, names_a_subject
from ecrsweep.core.policy import Policy, matches_any


def tags_to_go(image: Image, policy: Policy, spoken_for: Collection[str], now: float) -> tuple[str, ...]:
    """The tags that go from an image that stays, sorted; none while it is within the grace after its push.

    `spoken_for` are the tags that some use names, or by which an artifact has a place among the newest of a group.
    """
    if not policy.untag or image.status != Status.ACTIVE:
        return ()
    if image.pushed_at is None or now - image.pushed_at <= policy.grace:
        return ()
    going = [tag for tag in sorted(image.tags) if _may_go(tag, policy) and tag not in spoken_for]
    return tuple(going) if len(going) < len(image.tags) else tuple(going[:-1])


def _may_go(tag: str, policy: Policy) -> bool:
    return matches_any(policy.untag, tag) and policy.protecting(tag) is None and not names_a_subject(tag)
