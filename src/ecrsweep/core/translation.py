"""The nearest AWS lifecycle policy to a retention policy: one that never takes what the policy would keep, uses apart.

A policy keeps what any of its criteria keeps; a rule of AWS has one criterion, and the first rule that selects an image is the
only one that counts for it (https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html). So images with tags
and images without get a rule each where one criterion says all that the policy says of them, and none where it does not.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from ecrsweep.core.lifecycle import MOST_RULES, MOST_WILDCARDS
from ecrsweep.core.policy import DAY, Order, Otherwise, Policy, format_duration

IGNORABLE: Final[dict[str, Any]] = {"pulled_within": None, "pushed_within": None, "grace": 0.0}
"""The criteria that a translation may be told to ignore, and what a policy without them says."""

_EVERYTHING: Final = 1_000_000
"""More images than a repository can hold: a rule that lets so many be takes none, and keeps later rules off."""

_TAGGED: Final = "images with tags"
_UNTAGGED: Final = "images without tags"
_ARCHIVED: Final = "archived images"
_SIGNATURES: Final = "sha256-*"


class Translation(msgspec.Struct, frozen=True):
    """The rules of a lifecycle policy, JSON-able; the classes of images that get none, each with the reasons; and what is lost."""

    rules: tuple[dict[str, Any], ...]
    left_alone: tuple[tuple[str, tuple[str, ...]], ...]
    lost: tuple[str, ...]

    @property
    def document(self) -> dict[str, Any]:
        """What `aws ecr put-lifecycle-policy` takes."""
        return {"rules": list(self.rules)}


def translate(policy: Policy, ignoring: Iterable[str] = ()) -> Translation:
    """The nearest lifecycle policy. `ignoring` names criteria of `IGNORABLE` that the user gives up."""
    given_up = [name for name in IGNORABLE if name in set(ignoring)]
    meant = msgspec.structs.replace(policy, **{name: IGNORABLE[name] for name in given_up})
    rules: list[dict[str, Any]] = []
    left_alone: list[tuple[str, tuple[str, ...]]] = []
    classes = ((_UNTAGGED, _why_not_untagged, _untagged), (_TAGGED, _why_not_tagged, _tagged))
    for name, why_not, write in classes:
        reasons = tuple(why_not(meant))
        if reasons:
            left_alone.append((name, reasons))
        else:
            rules += write(meant)
    if meant.archived_for is not None:
        reasons = tuple(_about_patterns(meant))
        if reasons:
            left_alone.append((_ARCHIVED, reasons))
        else:
            rules += _archived(meant, meant.archived_for)
    numbered = tuple({"rulePriority": number, **rule} for number, rule in enumerate(rules, start=1))
    return Translation(numbered, tuple(left_alone), tuple(_lost(policy, given_up)))


def _why_not_untagged(policy: Policy) -> Iterator[str]:
    yield from _why_not_at_all(policy)
    if policy.archives:
        yield f"otherwise: {policy.otherwise.value}: AWS would archive the untagged parts of indexes that stay"
    elif policy.pulled_within is not None:
        yield _pulls(policy.pulled_within)


def _why_not_tagged(policy: Policy) -> Iterator[str]:
    yield from _why_not_at_all(policy)
    yield from _about_patterns(policy)
    if policy.newest_per:
        yield "newest_per: AWS knows no groups of tags"
    if policy.newest and policy.order is Order.SEMVER:
        yield "order: semver: AWS knows no versions, only push times"
    if policy.pulled_within is not None and not policy.archives:
        yield _pulls(policy.pulled_within)
    ages = [name for name in IGNORABLE if getattr(policy, name)]
    if policy.newest and ages:
        yield f"newest: {policy.newest} beside {' and '.join(ages)}: a rule of AWS has one criterion, and each would take what the other keeps"


def _why_not_at_all(policy: Policy) -> Iterator[str]:
    if policy.otherwise is Otherwise.KEEP:
        yield "otherwise: keep: the policy lets nothing go"


def _about_patterns(policy: Policy) -> Iterator[str]:
    if policy.protected_tag_regexes:
        yield "protected_tag_regexes: AWS knows no regular expressions"
    if len(policy.protected_tags) > MOST_RULES // 2 - 3:
        yield f"protected_tags: {len(policy.protected_tags)} patterns do not fit into a policy of {MOST_RULES} rules"


def _pulls(within: float) -> str:
    return f"pulled_within: {format_duration(within)}: what AWS expires it expires whether it was pulled or not"


def _untagged(policy: Policy) -> Iterator[dict[str, Any]]:
    within = max(policy.untagged_for, policy.grace, policy.pushed_within or 0)
    yield _rule("Without tags", policy, within, tagStatus="untagged")


def _tagged(policy: Policy) -> Iterator[dict[str, Any]]:
    yield from _shields(policy, "standard")
    tagged = {"tagStatus": "tagged", "tagPatternList": ["*"]}
    if policy.newest:
        counted = tagged | {"countType": "imageCountMoreThan", "countNumber": policy.newest}
        yield {
            "description": f"All but the newest {policy.newest} with tags",
            "selection": counted,
            "action": _action(policy),
        }
        return
    within = max(policy.grace, policy.pushed_within or 0)
    yield _rule("With tags", policy, within, **tagged)


def _rule(which: str, policy: Policy, within: float, **selected: object) -> dict[str, Any]:
    """A rule of age: by the last pull where that is what AWS can go by, else by the push."""
    by_pull = policy.archives and policy.pulled_within is not None
    days = _days(max(within, policy.pulled_within or 0) if by_pull else within)
    counted = {
        "countType": "sinceImagePulled" if by_pull else "sinceImagePushed",
        "countUnit": "days",
        "countNumber": days,
    }
    ago = f"neither pushed nor pulled for {days}d" if by_pull else f"pushed more than {days}d ago"
    return {"description": f"{which}, {ago}", "selection": dict(selected) | counted, "action": _action(policy)}


def _archived(policy: Policy, archived_for: float) -> Iterator[dict[str, Any]]:
    """By the time in the archive; all that is kept by an age is kept by that, because it was pushed and pulled before."""
    yield from _shields(policy, "archive")
    ages = (policy.untagged_for, policy.grace, policy.pushed_within or 0, policy.pulled_within or 0)
    selection = {
        "tagStatus": "any", "storageClass": "archive", "countType": "sinceImageTransitioned", "countUnit": "days",
        "countNumber": _days(max(archived_for, *ages)),
    }  # fmt: skip
    yield {
        "description": f"Archived for {format_duration(archived_for)}",
        "selection": selection,
        "action": {"type": "expire"},
    }


def _shields(policy: Policy, storage: str) -> Iterator[dict[str, Any]]:
    """A rule for every pattern that protects, and for signatures by tag, before the rule that takes: it takes nothing itself."""
    for pattern in dict.fromkeys([_SIGNATURES, *map(_widened, policy.protected_tags)]):
        selection = {"tagStatus": "tagged", "tagPatternList": [pattern]}
        selection |= {"storageClass": storage} if storage != "standard" else {}
        yield {
            "description": f"Keeps what is tagged {pattern}",
            "selection": selection | {"countType": "imageCountMoreThan", "countNumber": _EVERYTHING},
            "action": {"type": "expire"},
        }


def _widened(glob: str) -> str:
    """The glob as AWS writes it: only `*`, and few of these. It matches no less than the original."""
    starred = re.sub(r"\*+", "*", re.sub(r"\?|\[!?\]?[^\]]*\]", "*", glob))
    parts = starred.split("*")
    return starred if len(parts) - 1 <= MOST_WILDCARDS else "*".join([*parts[:MOST_WILDCARDS], ""])


def _days(seconds: float) -> int:
    """Whole days, never less than the time; AWS counts from one."""
    return max(1, math.ceil(seconds / DAY))


def _action(policy: Policy) -> dict[str, str]:
    return {"type": "transition", "targetStorageClass": "archive"} if policy.archives else {"type": "expire"}


def _lost(policy: Policy, given_up: Sequence[str]) -> Iterator[str]:
    """What no lifecycle policy says, in sentences; the gravest first."""
    yield "AWS does not know what is in use: it takes an image that runs like any other. Nothing below changes that"
    for name in given_up:
        yield f"{name} is ignored, as asked: AWS will take what it keeps"
    if policy.used_within is not None:
        yield f"used_within: {format_duration(policy.used_within)}: AWS remembers no uses"
    yield (
        "AWS looks at images, not at artifacts: what an index contains goes with it, but a signature or SBOM with a subject is an "
        "image without tags, a tag or a pull of a part of an index does not keep the index, and each counts among the newest"
    )
    yield "manifests of a kind that is not known are taken like any other"
    if policy.otherwise is Otherwise.TRIAL:
        yield "a trial of AWS ends with the deletion, whether something missed the image or not"
    if policy.untag:
        yield "untag: AWS takes no tags off images that stay"
    if policy.opt_in_tag:
        yield f"opt_in_tag: {policy.opt_in_tag}: put the policy only on repositories that have the tag"
    yield "gaps, drops, limits and holds are no business of AWS: it asks nobody before it takes"
