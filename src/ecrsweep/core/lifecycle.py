"""What an AWS lifecycle policy does to the images of a repository, evaluated offline.

A pure function of the policy, the images and a moment, by the rules of
https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html: every rule marks among all that it
selects; an image belongs to the lowest-numbered rule that selects it, and only that rule's mark counts.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from ecrsweep.core.decisions import Reason
from ecrsweep.core.errors import BadInput
from ecrsweep.core.graph import build_graph, reached
from ecrsweep.core.images import Image, Inventory, Status
from ecrsweep.core.names import Repository
from ecrsweep.core.policy import DAY

GUARD_FORMAT: Final = "ecrsweep.guard/1"
MOST_RULES: Final = 50
MOST_WILDCARDS: Final = 4


class BadLifecyclePolicy(BadInput):
    """A lifecycle policy that AWS would not accept, or that nobody here understands."""


class Selection(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which images a rule looks at, and how many or how old it lets them be."""

    tag_status: Literal["tagged", "untagged", "any"]
    count_type: Literal["imageCountMoreThan", "sinceImagePushed", "sinceImagePulled", "sinceImageTransitioned"]
    count_number: int
    count_unit: Literal["days"] | None = None
    tag_prefix_list: tuple[str, ...] | None = None
    tag_pattern_list: tuple[str, ...] | None = None
    storage_class: Literal["standard", "archive"] = "standard"

    def selects(self, image: Image) -> bool:
        """True where the rule looks at the image: storage class and tag status fit, and **every** word of the list."""
        if (image.status == Status.ARCHIVED) != (self.storage_class == "archive"):
            return False
        match self.tag_status:
            case "any":
                return True
            case "untagged":
                return not image.tags
            case "tagged":
                return bool(image.tags) and all(any(fits(tag) for tag in image.tags) for fits in self._words())

    def _words(self) -> list[Callable[[str], object]]:
        if self.tag_prefix_list is not None:
            return [lambda tag, word=prefix: tag.startswith(word) for prefix in self.tag_prefix_list]  # type: ignore[misc]
        return [_anchored(pattern).fullmatch for pattern in self.tag_pattern_list or ()]


class LifecycleAction(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is done with what a rule takes."""

    type: Literal["expire", "transition"]
    target_storage_class: Literal["archive"] | None = None


class Rule(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One rule of a policy."""

    rule_priority: int
    selection: Selection
    action: LifecycleAction
    description: str = ""


class Taken(msgspec.Struct, frozen=True):
    """That AWS will act on an image: the priority of the rule that does it, and what it does."""

    rule: int
    action: Literal["expire", "transition"]


class Finding(msgspec.Struct, frozen=True):
    """An image that AWS will take although something uses it: which rule does it, and who uses it.

    `used_by` is empty where nothing does, and only everything that goes was asked for.
    """

    repository: Repository
    image: Image
    taken: Taken
    used_by: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """JSON-able."""
        registry = self.repository.registry
        return {
            "account": registry.account,
            "region": registry.region,
            "repository": self.repository.name,
            "digest": self.image.digest,
            "tags": sorted(self.image.tags),
            "rule": self.taken.rule,
            "action": self.taken.action,
            "used_by": list(self.used_by),
        }


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: tuple[Rule, ...]


def parse_lifecycle_policy(text: str | bytes) -> tuple[Rule, ...]:
    """The rules of a policy as GetLifecyclePolicy returns it, by priority.

    Raises `BadLifecyclePolicy` for what AWS would refuse, and for members that are not known here: a rule that is not
    understood cannot be said to spare anything.
    """
    try:
        rules = msgspec.json.decode(text, type=_Document).rules
    except msgspec.MsgspecError as error:
        raise BadLifecyclePolicy(f"the lifecycle policy is not understood: {error}") from error
    if not 1 <= len(rules) <= MOST_RULES:
        raise BadLifecyclePolicy(f"a lifecycle policy has 1 to {MOST_RULES} rules, this one has {len(rules)}")
    for rule in rules:
        why = _fault(rule)
        if why:
            raise BadLifecyclePolicy(f"rule {rule.rule_priority} of the lifecycle policy: {why}")
    ordered = tuple(sorted(rules, key=lambda rule: rule.rule_priority))
    _check_together(ordered)
    return ordered


def evaluate_lifecycle(
    rules: Sequence[Rule], images: Iterable[Image], edges: Mapping[str, Sequence[str]], now: float
) -> dict[str, Taken]:
    """What AWS will do, by digest; images that it leaves alone are left out.

    `edges` are the digests that each index contains: a child is not expired while an index that contains it lives.
    `now` in seconds since the epoch. Linear in images times rules, but for the sort.
    """
    held = list(images)
    marks = [_marked(rule, held, now) for rule in rules]
    taken: dict[str, Taken] = {}
    for image in held:
        owner = next((number for number, rule in enumerate(rules) if rule.selection.selects(image)), None)
        if owner is not None and image.digest in marks[owner]:
            taken[image.digest] = Taken(rules[owner].rule_priority, rules[owner].action.type)
    return _without_children_of_the_living(taken, held, edges)


def find_endangered(
    inventory: Inventory, used: Mapping[str, Sequence[Reason]], rules: Sequence[Rule], now: float
) -> list[Finding]:
    """Everything of a repository that AWS will take, newest push first; who uses it, where something does.

    `used` are the reasons that uses give, by digest. What an image in use contains is in use with it: it could not run
    without.
    """
    graph = build_graph(inventory.images, inventory.edges)
    users: dict[str, set[str]] = defaultdict(set)
    for digest, reasons in used.items():
        for needed in reached([digest], graph.children):
            users[needed] |= {reason.detail for reason in reasons}
    taken = evaluate_lifecycle(rules, inventory.images, inventory.edges, now)
    return [
        Finding(inventory.repository, image, taken[image.digest], tuple(sorted(users.get(image.digest, ()))))
        for image in sorted(inventory.images, key=_newest_first)
        if image.digest in taken
    ]


def _marked(rule: Rule, images: Sequence[Image], now: float) -> set[str]:
    """The digests that a rule would take if it were alone."""
    selection = rule.selection
    selected = [image for image in images if selection.selects(image)]
    match selection.count_type:
        case "imageCountMoreThan":
            ranked = sorted(selected, key=_newest_first)
            return {image.digest for image in ranked[selection.count_number :]}
        case "sinceImagePushed":
            moment: Callable[[Image], float | None] = _pushed
        case "sinceImagePulled":
            moment = _last_used
        case "sinceImageTransitioned":
            moment = _archived
    limit = now - selection.count_number * DAY
    return {image.digest for image in selected if (found := moment(image)) is not None and found < limit}


def _newest_first(image: Image) -> tuple[float, str]:
    return (-(image.pushed_at if image.pushed_at is not None else float("inf")), image.digest)


def _pushed(image: Image) -> float | None:
    return image.pushed_at


def _last_used(image: Image) -> float | None:
    return image.pushed_at if image.pulled_at is None else image.pulled_at


def _archived(image: Image) -> float | None:
    return image.archived_at


def _without_children_of_the_living(
    taken: dict[str, Taken], images: Sequence[Image], edges: Mapping[str, Sequence[str]]
) -> dict[str, Taken]:
    """Take back the expiry of what a living index contains, at any depth: what is taken back lives too."""
    present = {image.digest for image in images}
    children: dict[str, list[str]] = defaultdict(list)
    for parent, named in edges.items():
        if parent in present:
            children[parent] = [child for child in named if child in present]
    expired = {digest for digest, found in taken.items() if found.action == "expire"}
    waiting = [digest for digest in present if digest not in expired]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child in expired:
                expired.discard(child)
                del taken[child]
                waiting.append(child)
    return taken


def _fault(rule: Rule) -> str | None:
    """Why AWS would refuse a rule by itself; None where it would not."""
    selection, action = rule.selection, rule.action
    lists = [words for words in (selection.tag_prefix_list, selection.tag_pattern_list) if words is not None]
    checks = (
        (rule.rule_priority < 1, "its priority is less than 1"),
        (selection.count_number < 1, "countNumber is less than 1"),
        (selection.tag_status == "tagged" and len([words for words in lists if words]) != 1,
         "tagged needs exactly one of tagPrefixList and tagPatternList"),
        (selection.tag_status != "tagged" and bool(lists), "tags are listed, and tagStatus is not tagged"),
        (any(pattern.count("*") > MOST_WILDCARDS for pattern in selection.tag_pattern_list or ()),
         f"a pattern has more than {MOST_WILDCARDS} wildcards"),
        ((selection.count_unit is not None) != selection.count_type.startswith("since"),
         "countUnit belongs to the since... types, and only to these"),
        (selection.count_type == "sinceImagePulled" and action.type != "transition",
         "sinceImagePulled goes with transition only"),
        (selection.count_type == "sinceImageTransitioned"
         and (action.type != "expire" or selection.storage_class != "archive"),
         "sinceImageTransitioned goes with expire and the storage class archive only"),
        ((action.type == "transition") != (action.target_storage_class is not None),
         "targetStorageClass belongs to transition, and only to it"),
        (action.type == "transition" and selection.storage_class == "archive", "what is archived cannot be archived"),
    )  # fmt: skip
    return next((why for wrong, why in checks if wrong), None)


def _check_together(rules: Sequence[Rule]) -> None:
    """Raise `BadLifecyclePolicy` for rules that AWS would not take beside each other."""
    priorities = [rule.rule_priority for rule in rules]
    if len(set(priorities)) < len(priorities):
        raise BadLifecyclePolicy("two rules of the lifecycle policy have the same priority")
    seen: set[Any] = set()
    for rule in rules:
        selection = rule.selection
        place = selection.storage_class
        if selection.tag_status == "any" and any(
            other.selection.storage_class == place and other.rule_priority > rule.rule_priority for other in rules
        ):
            raise BadLifecyclePolicy(f"rule {rule.rule_priority} takes any image, so its priority must be the last")
        keys: set[Any] = {(place, "untagged")} if selection.tag_status == "untagged" else set()
        keys |= {(place, "prefix", prefix) for prefix in selection.tag_prefix_list or ()}
        if keys & seen:
            raise BadLifecyclePolicy(f"rule {rule.rule_priority} selects what another rule selects")
        seen |= keys


def _anchored(pattern: str) -> re.Pattern[str]:
    """Only `*` is a wildcard in a tag pattern; `?` and `[` stand for themselves, and no tag has them."""
    return re.compile("".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", pattern)))
