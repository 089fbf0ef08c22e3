"""Decisions and their reasons, as data. A reason is never only a line of a log.

The set of codes is closed within a version of the plan format; a test holds that each has its
explanation here and its line in the documentation.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Final

import msgspec

from ecrsweep.core.images import Image
from ecrsweep.core.times import rfc3339_each


class Action(StrEnum):
    """What shall happen to an image."""

    KEEP = "keep"
    ARCHIVE = "archive"
    DELETE = "delete"
    HOLD = "hold"
    UNTAG = "untag"
    """It stays, and some of its tags go."""


class Code(StrEnum):
    """Why. The order is the order in which reasons are listed."""

    IN_USE = "in_use"
    NEWEST = "newest"
    PROTECTED_TAG = "protected_tag"
    PULLED_RECENTLY = "pulled_recently"
    PUSHED_RECENTLY = "pushed_recently"
    UNTAGGED_GRACE = "untagged_grace"
    USED_RECENTLY = "used_recently"
    HELD_BY_OWNER = "held_by_owner"
    KEPT_BY_POLICY = "kept_by_policy"
    UNKNOWN_ARTIFACT = "unknown_artifact"
    ARCHIVED = "archived"
    NOT_GOVERNED = "not_governed"
    PARENT_OF_KEPT = "parent_of_kept"
    CHILD_OF_KEPT = "child_of_kept"
    REFERRER_OF_KEPT = "referrer_of_kept"
    COVERAGE_GAP = "coverage_gap"
    LIMIT = "limit"
    CHANGED = "changed"
    NOT_KEPT = "not_kept"
    CHILD_OF_DELETED = "child_of_deleted"
    REFERRER_OF_DELETED = "referrer_of_deleted"
    TRIAL_PASSED = "trial_passed"


GOING: Final = frozenset({Action.DELETE, Action.ARCHIVE})
"""What takes an image out of reach."""

CHANGING: Final = GOING | {Action.UNTAG}
"""What apply has something to do for."""

HOLDING: Final = frozenset({Code.COVERAGE_GAP, Code.LIMIT, Code.CHANGED})
LETTING_GO: Final = frozenset({Code.NOT_KEPT, Code.CHILD_OF_DELETED, Code.REFERRER_OF_DELETED, Code.TRIAL_PASSED})
KEEPING: Final = frozenset(Code) - HOLDING - LETTING_GO

EXPLANATIONS: Final[dict[Code, str]] = {
    Code.IN_USE: "a workload uses it",
    Code.NEWEST: "it is among the newest tagged artifacts of its repository",
    Code.PROTECTED_TAG: "it carries a tag that the policy protects",
    Code.PULLED_RECENTLY: "somebody pulled it recently: something that no source knows may run it",
    Code.PUSHED_RECENTLY: "it was pushed recently and may not be deployed yet",
    Code.UNTAGGED_GRACE: "it has no tag, but was pushed recently",
    Code.USED_RECENTLY: "an earlier run saw it in use",
    Code.HELD_BY_OWNER: "the owner of the repository or image holds it",
    Code.KEPT_BY_POLICY: "the policy keeps what it does not name",
    Code.UNKNOWN_ARTIFACT: "its kind is not known here, so nothing can be said about its use",
    Code.ARCHIVED: "it is archived, and its time there is not over, or no policy says that archived images go",
    Code.NOT_GOVERNED: "no policy governs its repository",
    Code.PARENT_OF_KEPT: "it contains an image that is kept in its own right, or has a referrer that is",
    Code.CHILD_OF_KEPT: "an index that is kept contains it",
    Code.REFERRER_OF_KEPT: "it is a signature, SBOM or attestation of an image that is kept",
    Code.COVERAGE_GAP: "something that could use it could not be read",
    Code.LIMIT: "more would go than the limits allow",
    Code.CHANGED: "the world changed since it was planned",
    Code.NOT_KEPT: "nothing known uses it and no rule keeps it",
    Code.CHILD_OF_DELETED: "every index that contains it goes",
    Code.REFERRER_OF_DELETED: "what it is a signature, SBOM or attestation of goes",
    Code.TRIAL_PASSED: "nobody missed it while it was archived",
}

_RANK: Final = {code: position for position, code in enumerate(Code)}


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One reason: its code, and in words what it rests on here (a workload, a tag, a time)."""

    code: Code
    detail: str = ""


class Heads(msgspec.Struct, frozen=True):
    """What there is to say of the heads of a repository's artifacts: their ranks by digest, by what, and who lost its subject.

    Most of what goes is such a head, and most of these words are never read: they are made when somebody asks.
    """

    ranks: Mapping[str, int]
    by: str
    orphans: AbstractSet[str]

    def not_kept(self, image: Image, pushed: str | None, pulled: str | None) -> Reason:
        """Why one goes that nothing keeps; its times of push and pull are given as they are written."""
        when = "push time unknown" if pushed is None else f"pushed {pushed}"
        last = "never pulled" if pulled is None else f"last pulled {pulled}"
        return Reason(Code.NOT_KEPT, f"{self._standing(image.digest)}, {when}, {last}")

    def _standing(self, digest: str) -> str:
        rank = self.ranks.get(digest)
        if rank is not None:
            return f"{rank} of {len(self.ranks)} tagged artifacts by {self.by}"
        return "its subject is gone" if digest in self.orphans else "untagged"


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What shall happen to one image, and every reason for it. There is always at least one.

    `said` are the reasons; where `heads` is there, the image goes as one of these, and that is the reason. `untag` are the tags
    that go where the action is to untag: never the last one, which would take the image along.
    """

    image: Image
    action: Action
    said: tuple[Reason, ...]
    untag: tuple[str, ...] = ()
    heads: Heads | None = None

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Every reason, in order."""
        if self.heads is None:
            return self.said
        return self.reasons_with(*rfc3339_each((self.image.pushed_at, self.image.pulled_at)))

    def reasons_with(self, pushed: str | None, pulled: str | None) -> tuple[Reason, ...]:
        """The same, for who has written its times of push and pull already."""
        return self.said if self.heads is None else (self.heads.not_kept(self.image, pushed, pulled),)

    @property
    def stays(self) -> bool:
        """True where the image is kept, whatever becomes of its tags."""
        return self.action in {Action.KEEP, Action.UNTAG}


def in_order(reasons: list[Reason]) -> tuple[Reason, ...]:
    """Reasons sorted by code and detail, so that the same evidence always reads the same."""
    if len(reasons) == 1:
        return (reasons[0],)
    return tuple(sorted(reasons, key=lambda reason: (_RANK[reason.code], reason.detail)))
