"""The decision: what of one repository stays, what goes, and why.

A pure function of the images, their graph, the uses that mean them, a policy and a moment. First each
image's own reasons; then keeping flows up from what speaks for its parents, and down to all that belongs
to what is kept; what is left departs as the policy says. The rules are explained to users in docs/retention.md.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from ecrsweep.core.decisions import Action, Code, Decision, Heads, Reason, in_order
from ecrsweep.core.departure import action_for, archived_reason, depart, time_is_over, usual_action
from ecrsweep.core.graph import Graph, build_graph, reached
from ecrsweep.core.images import Image, Inventory, Status
from ecrsweep.core.policy import Order, Policy, format_duration
from ecrsweep.core.ranking import Standing, newest_first, stand
from ecrsweep.core.times import rfc3339
from ecrsweep.core.untagging import tags_to_go

# In use, now or as an earlier run saw it, held or protected: speaks for what contains the image and, from a referrer, for its subject too.
_STRONG: Final = frozenset({Code.IN_USE, Code.USED_RECENTLY, Code.PROTECTED_TAG, Code.HELD_BY_OWNER})
# Pushed or pulled: speaks for what contains the image. From a referrer it speaks for nobody.
_WEAK: Final = frozenset({Code.PULLED_RECENTLY, Code.PUSHED_RECENTLY, Code.UNTAGGED_GRACE})

_SLACK: Final = 1.0
"""A second more than any criterion looks back, so that no rounding of times decides whether it is asked."""

_Reasons = dict[str, list[Reason]]


class Evidence(msgspec.Struct, frozen=True):
    """What is known of the images of one repository besides the images themselves, by digest.

    `in_use` are the reasons that uses give, `remembered` those that earlier runs left, `held` those of the owners.
    `named` are the tags that some use names. `whole` keeps everything: why nothing of the repository is to be touched.
    """

    in_use: Mapping[str, Sequence[Reason]] = {}
    remembered: Mapping[str, Reason] = {}
    held: Mapping[str, Sequence[Reason]] = {}
    named: frozenset[str] = frozenset()
    whole: Reason | None = None


class _Context(msgspec.Struct, frozen=True):
    """Which images stand in tagged artifacts, in untagged ones, in none (circles), and where the tagged artifacts stand.

    `horizon`: what was neither pushed nor pulled nor restored for so many seconds has no criterion of time on its side.
    """

    in_tagged: set[str]
    in_untagged: set[str]
    circular: set[str]
    standing: Standing
    horizon: float


def decide(inventory: Inventory, evidence: Evidence, policy: Policy | None, now: float) -> list[Decision]:
    """What evidence and policy say of every image, newest push first, equal times by digest.

    What earlier runs left is told of what is not in use now: a plan and the next one, which remembers it, read the same.
    `policy` None: nobody governs the repository. `now` in seconds since the epoch. Linear in images, tags and edges, but
    for the sort.
    """
    images = sorted(inventory.images, key=newest_first)
    graph = build_graph(images, inventory.edges)
    context = _context(graph, policy)
    own = _own_reasons(graph, context, evidence, policy, now)
    _flow_up(graph, own)
    waiting: dict[str, Reason] = {}
    if policy is not None:
        kept = reached(own, *graph.down)
        departure = depart(graph, [digest for digest in graph.images if digest not in kept], policy, now)
        for digest, reason in departure.binding.items():
            own[digest].append(reason)
        waiting = departure.waiting
    _flow_down(graph, own)
    for digest, reason in waiting.items():
        own[digest].append(reason)
    named, whole = evidence.named | context.standing.speaking, evidence.whole is not None
    below, active = graph.parents.keys() | graph.attached, Status.ACTIVE
    goes = None if policy is None else usual_action(policy)
    heads = _heads(graph, context, policy)
    return [
        _staying(image, own[image.digest], policy, named, now, whole=whole)
        if image.digest in own
        else Decision(image, goes, (), (), heads)
        if goes is not None and image.status == active and image.digest not in below
        else _going(graph, heads, policy, image, own)
        for image in images
    ]


def _heads(graph: Graph, context: _Context, policy: Policy | None) -> Heads:
    by = "version" if policy is not None and policy.order is Order.SEMVER else "push time"
    return Heads(context.standing.ranking, by, graph.orphans)


def _staying(
    image: Image, reasons: list[Reason], policy: Policy | None, named: frozenset[str], now: float, *, whole: bool
) -> Decision:
    """What stays; with tags to take off where the policy says so, and nobody holds the whole repository."""
    if image.status != Status.ACTIVE and all(reason.code is not Code.ARCHIVED for reason in reasons):
        reasons = [*reasons, archived_reason(image, policy)]
    tags = () if policy is None or whole else tags_to_go(image, policy, named, now)
    return Decision(image, Action.UNTAG if tags else Action.KEEP, in_order(reasons), tags)


def _going(graph: Graph, heads: Heads, policy: Policy | None, image: Image, own: _Reasons) -> Decision:
    """What nothing keeps. Where nobody governs, everything is kept, so there is a policy."""
    assert policy is not None  # noqa: S101 - said above
    found = _departing(graph, policy, image, own)
    return Decision(image, action_for(image, policy), in_order(found), (), None if found else heads)


def _context(graph: Graph, policy: Policy | None) -> _Context:
    silent = graph.attached | graph.orphans
    speaking = [image.digest for image in graph.images.values() if image.tags and image.digest not in silent]
    roots = set(graph.roots)
    tagged = reached(speaking, graph.parents) & roots
    return _Context(
        in_tagged=reached(tagged, graph.children),
        in_untagged=reached(roots - tagged, graph.children),
        circular=graph.images.keys() - reached(roots, *graph.down) if len(roots) < len(graph.images) else set(),
        standing=stand(graph, tagged, policy),
        horizon=0.0 if policy is None else policy.horizon + _SLACK,
    )


def _own_reasons(graph: Graph, context: _Context, evidence: Evidence, policy: Policy | None, now: float) -> _Reasons:
    """What speaks for each image by itself, without its neighbours."""
    own: _Reasons = defaultdict(list, {digest: list(reasons) for digest, reasons in evidence.in_use.items()})
    for digest, reason in evidence.remembered.items():
        if digest not in evidence.in_use:
            own[digest].append(reason)
    for digest, held in evidence.held.items():
        own[digest] += held
    of_all = [] if evidence.whole is None else [evidence.whole]
    of_all += [Reason(Code.NOT_GOVERNED)] if policy is None else []
    for digest in graph.images if of_all else ():
        own[digest] += dict.fromkeys(of_all)
    if policy is not None:
        for image in _worth_asking(graph, context, policy, now):
            found = [reason for reason in _by_policy(graph, context, image, policy, now) if reason not in of_all]
            if found:
                own[image.digest] += dict.fromkeys(found)
    return own


def _worth_asking(graph: Graph, context: _Context, policy: Policy, now: float) -> list[Image]:
    """The images for which a criterion of the policy may hold. Of most it is plain at a glance that none does."""
    images, moment = graph.images.values(), now - context.horizon
    speaking = policy.protected(images).union(context.standing.places, context.circular)
    return [
        image
        for image in images
        if image.digest in speaking
        or image.pushed_at is None
        or image.pushed_at >= moment
        or (image.pulled_at is not None and image.pulled_at >= moment)
        or (image.activated_at is not None and image.activated_at >= moment)
        or not image.is_known
    ]


def _by_policy(graph: Graph, context: _Context, image: Image, policy: Policy, now: float) -> list[Reason]:
    """The criteria of the policy that hold for an image."""
    found: list[Reason] = []
    for tag in image.tags:
        pattern = policy.protecting(tag)
        if pattern is not None:
            found.append(Reason(Code.PROTECTED_TAG, f"{tag} (matches {pattern})" if tag != pattern else tag))
    if not image.is_known:
        found.append(Reason(Code.UNKNOWN_ARTIFACT, image.media_type or "no media type"))
    found += _by_grace(image, policy, now)
    if image.digest not in graph.attached:
        found += _by_last_use(image, policy, now, context)
    for place in context.standing.places.get(image.digest, ()):
        found.append(Reason(Code.NEWEST, place.described))
    if image.digest in context.circular:
        found.append(Reason(Code.UNKNOWN_ARTIFACT, "its manifests contain each other"))
    return found


def _by_grace(image: Image, policy: Policy, now: float) -> Iterator[Reason]:
    """The criteria of time that hold for any image, whatever artifact it stands in."""
    if image.pushed_at is None:
        yield Reason(Code.PUSHED_RECENTLY, "ECR does not say when it was pushed")
    elif now - image.pushed_at <= policy.grace:
        yield Reason(Code.PUSHED_RECENTLY, f"{_pushed(image)}, within the grace of {format_duration(policy.grace)}")
    if image.activated_at is not None and now - image.activated_at <= policy.grace:
        yield Reason(Code.PUSHED_RECENTLY, _restored(image, policy.grace))


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
    back = None if image.activated_at is None else now - image.activated_at
    if policy.pulled_within and back is not None and policy.grace < back <= policy.pulled_within:
        yield Reason(Code.PUSHED_RECENTLY, _restored(image, policy.pulled_within))
    if policy.pushed_within and age <= policy.pushed_within:
        yield Reason(Code.PUSHED_RECENTLY, f"{_pushed(image)}, within {format_duration(policy.pushed_within)}")
    if (free or image.digest in context.in_untagged) and age <= policy.untagged_for:
        yield Reason(Code.UNTAGGED_GRACE, f"{_pushed(image)}, within {format_duration(policy.untagged_for)}")


def _pushed(image: Image) -> str:
    return "push time unknown" if image.pushed_at is None else f"pushed {rfc3339(image.pushed_at)}"


def _restored(image: Image, within: float) -> str:
    """Somebody wanted it back: that counts as a push does."""
    since = "" if image.activated_at is None else f" {rfc3339(image.activated_at)}"
    return f"restored from the archive{since}, within {format_duration(within)}"


def _flow_up(graph: Graph, own: _Reasons) -> None:
    """Give `parent_of_kept` to what contains an image that speaks, and to the subject of a referrer that does."""
    strong = [digest for digest, reasons in own.items() if any(reason.code in _STRONG for reason in reasons)]
    weak = [
        digest
        for digest, reasons in own.items()
        if digest not in graph.attached and any(reason.code in _WEAK for reason in reasons)
    ]

    edges = {(digest, upper) for digest in reached(strong, *graph.up) for upper in graph.above(digest)}
    edges |= {(digest, upper) for digest in reached(weak, graph.parents) for upper in graph.parents_of(digest)}
    for digest, upper in edges:
        own[upper].append(Reason(Code.PARENT_OF_KEPT, digest))


def _flow_down(graph: Graph, own: _Reasons) -> None:
    """Give `child_of_kept` and `referrer_of_kept` to all that belongs to what is kept."""
    for digest in reached(own, *graph.down):
        for child in graph.children_of(digest):
            own[child].append(Reason(Code.CHILD_OF_KEPT, digest))
        for referrer in graph.referrers_of(digest):
            own[referrer].append(Reason(Code.REFERRER_OF_KEPT, digest))


def _departing(graph: Graph, policy: Policy, image: Image, own: _Reasons) -> list[Reason]:
    """Why an image goes that nothing keeps, with what it belongs to or after its time in the archive; nothing of a mere head."""
    parents = graph.parents_of(image.digest)
    subjects = graph.subjects_of(image.digest) if image.digest in graph.attached else ()
    over = time_is_over(image, policy)
    if not (parents or subjects):
        return over
    found = [Reason(Code.CHILD_OF_DELETED, parent) for parent in parents if parent not in own]
    found += (Reason(Code.REFERRER_OF_DELETED, subject) for subject in subjects if subject not in own)
    found += over
    if any(upper in own for upper in (*parents, *subjects)):
        found.append(Reason(Code.NOT_KEPT, "what it belongs to is in the archive already"))
    return found
