"""The decision: what of one repository stays, what goes, and why.

A pure function of the images, their graph, the uses that mean them, a policy and a moment. First each
image's own reasons; then keeping flows up from what speaks for its parents, and down to all that belongs
to what is kept. The rules are explained to users in docs/retention.md.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ecrsweep.core.decisions import Action, Code, Decision, Reason, in_order
from ecrsweep.core.graph import Graph, build_graph, reached
from ecrsweep.core.images import Image, Inventory, Kind, Status
from ecrsweep.core.policy import Policy, format_duration
from ecrsweep.core.times import rfc3339

# In use, now or as an earlier run saw it, or protected: speaks for what contains the image and, from a referrer, for its subject too.
_STRONG = frozenset({Code.IN_USE, Code.USED_RECENTLY, Code.PROTECTED_TAG})
# Pushed or pulled: speaks for what contains the image. From a referrer it speaks for nobody.
_WEAK = frozenset({Code.PULLED_RECENTLY, Code.PUSHED_RECENTLY, Code.UNTAGGED_GRACE})

_Reasons = dict[str, list[Reason]]


class _Context(msgspec.Struct, frozen=True):
    """Which images stand in tagged artifacts, in untagged ones, in none (circles), and the tagged artifacts by rank."""

    in_tagged: set[str]
    in_untagged: set[str]
    circular: set[str]
    ranking: dict[str, int]


def decide(
    inventory: Inventory,
    in_use: Mapping[str, Sequence[Reason]],
    policy: Policy | None,
    now: float,
    remembered: Mapping[str, Reason] | None = None,
) -> list[Decision]:
    """What evidence and policy say of every image, newest push first, equal times by digest.

    `in_use` are the reasons that uses give, by digest, `remembered` those that earlier runs left. They are told of what is
    not in use now: a plan and the next one, which remembers it, read the same. `policy` None: nobody governs the
    repository. `now` in seconds since the epoch. Linear in images, tags and edges, but for the sort.
    """
    graph = build_graph(inventory.images, inventory.edges)
    context = _context(graph)
    own: _Reasons = defaultdict(list, {digest: list(reasons) for digest, reasons in in_use.items()})
    for digest, reason in (remembered or {}).items():
        if digest not in in_use:
            own[digest].append(reason)
    _add_own(graph, context, policy, now, own)
    _flow_up(graph, own)
    _flow_down(graph, own)
    return [
        Decision(image, Action.KEEP, in_order(own[image.digest]))
        if image.digest in own
        else Decision(image, Action.DELETE, in_order(list(_departing(graph, context, policy, image))))
        for image in sorted(inventory.images, key=_newest_first)
    ]


def _newest_first(image: Image) -> tuple[float, str]:
    """An image whose push time nobody tells counts as the newest."""
    return (float("-inf") if image.pushed_at is None else -image.pushed_at, image.digest)


def _context(graph: Graph) -> _Context:
    speaking = (
        image.digest
        for image in graph.images.values()
        if image.tags and image.digest not in graph.attached and image.digest not in graph.orphans
    )
    roots = set(graph.roots)
    tagged = reached(speaking, graph.parents_of) & roots
    ranked = sorted((graph.images[digest] for digest in tagged), key=_newest_first)
    slots = (image.digest for image in ranked if image.status != Status.ARCHIVED)
    return _Context(
        in_tagged=reached(tagged, graph.children_of),
        in_untagged=reached(roots - tagged, graph.children_of),
        circular=graph.images.keys() - reached(roots, graph.under),
        ranking={digest: rank for rank, digest in enumerate(slots, start=1)},
    )


def _add_own(graph: Graph, context: _Context, policy: Policy | None, now: float, own: _Reasons) -> None:
    """What speaks for each image by itself, without its neighbours."""
    for digest, image in graph.images.items():
        if policy is None:
            own[digest].append(Reason(Code.NOT_GOVERNED))
            continue
        found = list(_by_rule(image, policy, now))
        if digest not in graph.attached:
            found += _by_last_use(image, policy, now, context)
        if context.ranking.get(digest, policy.newest + 1) <= policy.newest:
            found.append(Reason(Code.NEWEST, f"{context.ranking[digest]} of the newest {policy.newest}"))
        if digest in context.circular:
            found.append(Reason(Code.UNKNOWN_ARTIFACT, "its manifests contain each other"))
        if found:
            own[digest] += found


def _by_rule(image: Image, policy: Policy, now: float) -> Iterator[Reason]:
    """The criteria that hold for any image, whatever artifact it stands in."""
    for tag in image.tags:
        pattern = policy.protecting(tag)
        if pattern is not None:
            yield Reason(Code.PROTECTED_TAG, f"{tag} (matches {pattern})" if tag != pattern else tag)
    if image.pushed_at is None:
        yield Reason(Code.PUSHED_RECENTLY, "ECR does not say when it was pushed")
    elif now - image.pushed_at <= policy.grace:
        yield Reason(Code.PUSHED_RECENTLY, f"{_pushed(image)}, within the grace of {format_duration(policy.grace)}")
    if image.kind is Kind.UNKNOWN:
        yield Reason(Code.UNKNOWN_ARTIFACT, image.media_type or "no media type")
    if image.status != Status.ACTIVE:
        yield Reason(Code.ARCHIVED, f"its state is {image.status}")


def _by_last_use(image: Image, policy: Policy, now: float, context: _Context) -> Iterator[Reason]:
    """The criteria of time. The last use of what is tagged is the later of push and pull; untagged has a rule of its own."""
    free = image.digest not in context.in_tagged and image.digest not in context.in_untagged
    tagged = free or image.digest in context.in_tagged
    age = now - image.pushed_at if image.pushed_at is not None else 0.0
    if policy.pulled_within and image.pulled_at is not None and now - image.pulled_at <= policy.pulled_within:
        limit = format_duration(policy.pulled_within)
        yield Reason(Code.PULLED_RECENTLY, f"last pulled {rfc3339(image.pulled_at)}, within {limit}")
    elif tagged and policy.pulled_within and age <= policy.pulled_within:
        limit = format_duration(policy.pulled_within)
        yield Reason(Code.PUSHED_RECENTLY, f"{_pushed(image)} and not pulled since, within {limit}")
    if policy.pushed_within and age <= policy.pushed_within:
        yield Reason(Code.PUSHED_RECENTLY, f"{_pushed(image)}, within {format_duration(policy.pushed_within)}")
    if (free or image.digest in context.in_untagged) and age <= policy.untagged_for:
        yield Reason(Code.UNTAGGED_GRACE, f"{_pushed(image)}, within {format_duration(policy.untagged_for)}")


def _pushed(image: Image) -> str:
    return "push time unknown" if image.pushed_at is None else f"pushed {rfc3339(image.pushed_at)}"


def _flow_up(graph: Graph, own: _Reasons) -> None:
    """Give `parent_of_kept` to what contains an image that speaks, and to the subject of a referrer that does."""
    strong = [digest for digest, reasons in own.items() if any(reason.code in _STRONG for reason in reasons)]
    weak = [
        digest
        for digest, reasons in own.items()
        if digest not in graph.attached and any(reason.code in _WEAK for reason in reasons)
    ]

    def above(digest: str) -> Sequence[str]:
        return (*graph.parents_of(digest), *graph.subjects_of(digest))

    edges = {(digest, upper) for digest in reached(strong, above) for upper in above(digest)}
    edges |= {(digest, upper) for digest in reached(weak, graph.parents_of) for upper in graph.parents_of(digest)}
    for digest, upper in edges:
        own[upper].append(Reason(Code.PARENT_OF_KEPT, digest))


def _flow_down(graph: Graph, own: _Reasons) -> None:
    """Give `child_of_kept` and `referrer_of_kept` to all that belongs to what is kept."""
    for digest in reached(list(own), graph.under):
        for child in graph.children_of(digest):
            own[child].append(Reason(Code.CHILD_OF_KEPT, digest))
        for referrer in graph.referrers_of(digest):
            own[referrer].append(Reason(Code.REFERRER_OF_KEPT, digest))


def _departing(graph: Graph, context: _Context, policy: Policy | None, image: Image) -> Iterator[Reason]:
    """Why an image goes that nothing keeps: as the head of its artifact, or with what it belongs to."""
    for parent in graph.parents_of(image.digest):
        yield Reason(Code.CHILD_OF_DELETED, parent)
    if image.digest in graph.attached:
        for subject in graph.subjects_of(image.digest):
            yield Reason(Code.REFERRER_OF_DELETED, subject)
    if image.digest in graph.parents or image.digest in graph.attached or policy is None:
        return
    pulled = "never pulled" if image.pulled_at is None else f"last pulled {rfc3339(image.pulled_at)}"
    yield Reason(Code.NOT_KEPT, f"{_standing(graph, context, image)}, {_pushed(image)}, {pulled}")


def _standing(graph: Graph, context: _Context, image: Image) -> str:
    if image.digest in context.ranking:
        return f"{context.ranking[image.digest]} of {len(context.ranking)} tagged artifacts by push time"
    return "its subject is gone" if image.digest in graph.orphans else "untagged"
