"""The lifecycle policy made of a retention policy: AWS accepts it, and it never takes what the policy keeps."""

import json

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec.structs import replace

from ecrsweep.core.decisions import Action
from ecrsweep.core.images import OCI_INDEX, Image, Inventory, Status
from ecrsweep.core.lifecycle import evaluate_lifecycle, parse_lifecycle_policy
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.policy import DAY, HOUR, NewestPer, Order, Otherwise, Policy
from ecrsweep.core.retention import Evidence, decide
from ecrsweep.core.translation import translate
from tests.core.worlds import NOW, PLAIN, digest

AGES = st.sampled_from([1.0, HOUR, DAY, DAY + 1, 2 * DAY, 14 * DAY, 14 * DAY + 1, 30 * DAY, 30 * DAY + 1, 400 * DAY])
TAGS = ("latest", "v1", "v1.2", "release-1", "pr-7", "r[1]", "prod", "a-b-c-d-e-f")


def since(draw: st.DrawFn, age: float) -> float:
    """An age no greater than this one."""
    return min(draw(AGES), age)


@st.composite
def repositories(draw: st.DrawFn, *, signed: bool) -> Inventory:
    """Plain images, archived or not, and indexes of untagged images that were pushed before them and never pulled alone.

    `signed`: and signatures by tag.
    """
    images: list[Image] = []
    edges: dict[str, tuple[str, ...]] = {}
    free = list(draw(st.permutations(TAGS)))
    for number in range(draw(st.integers(0, 8))):
        age = draw(AGES)
        tags = tuple(free.pop() for _ in range(draw(st.integers(0, min(2, len(free))))))
        pulled = NOW - since(draw, age) if draw(st.booleans()) else None
        below = [
            image for image in images if not (image.tags or image.pulled_at) and (image.pushed_at or NOW) <= NOW - age
        ]
        index = bool(below) and draw(st.booleans())
        media = OCI_INDEX if index else PLAIN[0]
        images.append(Image(digest(number), tags, media, pushed_at=NOW - age, pulled_at=pulled))
        if index:
            edges[digest(number)] = tuple({draw(st.sampled_from(below)).digest for _ in range(2)})
        if signed and draw(st.booleans()):
            signature = digest(number).replace(":", "-") + ".sig"
            images.append(Image(digest(100 + number), (signature,), PLAIN[1], pushed_at=NOW - draw(AGES)))
    for number in range(draw(st.integers(0, 2))):
        age = draw(AGES)
        tags = tuple(free.pop() for _ in range(draw(st.integers(0, min(1, len(free))))))
        archived = NOW - since(draw, age)
        images.append(
            Image(
                digest(200 + number), tags, PLAIN[0], status=Status.ARCHIVED, pushed_at=NOW - age, archived_at=archived
            )
        )
    return Inventory(Repository(Registry("123456789012", "us-east-1"), "team/app"), tuple(images), edges)


policies = st.builds(
    Policy,
    newest=st.sampled_from([0, 0, 1, 3]),
    newest_per=st.sampled_from([(), (), (), (NewestPer(r"^(?P<line>\w+)-", 1),)]),
    order=st.sampled_from([Order.PUSHED, Order.PUSHED, Order.SEMVER]),
    protected_tags=st.lists(st.sampled_from(["latest", "v?.*", "r[[]1]", "[!v]1*", "a-*-*-*-*-f", "pr-*"]), max_size=2, unique=True).map(tuple),
    protected_tag_regexes=st.sampled_from([(), (), (), ("^v1$",)]),
    pushed_within=st.none() | st.sampled_from([HOUR, 14 * DAY]),
    pulled_within=st.none() | st.sampled_from([30 * DAY, 36 * HOUR]),
    used_within=st.none(),
    untagged_for=st.sampled_from([0.0, DAY, 14 * DAY]),
    grace=st.sampled_from([0.0, 0.0, HOUR, DAY]),
    otherwise=st.sampled_from([Otherwise.DELETE, Otherwise.DELETE, Otherwise.ARCHIVE, Otherwise.TRIAL, Otherwise.KEEP]),
    trial_for=st.sampled_from([HOUR, 14 * DAY, 30 * DAY]),
)  # fmt: skip


@given(st.data(), policies)
def test_aws_never_takes_what_the_policy_keeps(data: st.DataObject, policy: Policy) -> None:
    if policy.otherwise is not Otherwise.TRIAL:
        policy = replace(policy, delete_after_archived=data.draw(st.none() | st.sampled_from([0.0, 14 * DAY])))
    found = translate(policy)
    if not found.rules:
        event("not expressible")
        return
    rules = parse_lifecycle_policy(json.dumps(found.document))
    counted = policy.newest > 0
    inventory = data.draw(repositories(signed=not counted))
    ours = {decision.image.digest: decision.action for decision in decide(inventory, Evidence(), policy, NOW)}
    taken = evaluate_lifecycle(rules, inventory.images, inventory.edges, NOW)
    event("takes something" if taken else "takes nothing")
    for image, what in taken.items():
        assert ours[image] is (Action.DELETE if what.action == "expire" else Action.ARCHIVE)


@given(policies, st.sets(st.sampled_from(["grace", "pulled_within", "pushed_within"])))
def test_whatever_is_written_aws_accepts_and_what_is_not_has_its_reason(policy: Policy, ignoring: set[str]) -> None:
    found = translate(policy, ignoring)
    if found.rules:
        parse_lifecycle_policy(json.dumps(found.document))
    alone = dict(found.left_alone)
    assert all(alone.values())
    assert ("untagged" in str(found.rules)) is ("images without tags" not in alone)
    assert ("['*']" in str(found.rules)) is ("images with tags" not in alone)
    archived = policy.archived_for is not None and "archived images" not in alone
    assert ("sinceImageTransitioned" in str(found.rules)) is archived


def test_the_count_alone_becomes_a_rule_of_count_behind_what_protects() -> None:
    policy = Policy(newest=20, pulled_within=None, grace=0.0, untagged_for=7 * DAY, protected_tags=("latest",))
    untagged, signatures, latest, counted = translate(policy).rules
    assert (untagged["selection"]["tagStatus"], untagged["selection"]["countNumber"]) == ("untagged", 7)
    assert untagged["description"] == "Without tags, pushed more than 7d ago"
    assert signatures["selection"]["tagPatternList"] == ["sha256-*"]
    assert latest["selection"]["tagPatternList"] == ["latest"]
    assert counted["selection"]["countNumber"] == 20
    assert counted["rulePriority"] == 4


def test_what_cannot_be_said_is_left_alone_with_its_reasons() -> None:
    found = translate(Policy())
    assert found.rules == ()
    reasons = dict(found.left_alone)
    assert any("pulled_within: 30d" in reason for reason in reasons["images without tags"])
    assert any("newest: 100 beside" in reason for reason in reasons["images with tags"])


def test_a_criterion_is_given_up_only_by_name_and_that_is_told() -> None:
    found = translate(Policy(), ["pulled_within", "grace"])
    assert [rule["selection"]["countType"] for rule in found.rules][-1] == "imageCountMoreThan"
    assert next(text for text in found.lost if "ignored, as asked" in text).startswith("pulled_within")
    assert "in use" in found.lost[0]


@pytest.mark.parametrize(
    ("otherwise", "kind"), [(Otherwise.ARCHIVE, "sinceImagePulled"), (Otherwise.TRIAL, "sinceImagePulled")]
)
def test_an_archive_goes_by_pulls_as_aws_can(otherwise: Otherwise, kind: str) -> None:
    policy = Policy(newest=0, otherwise=otherwise, pulled_within=30 * DAY)
    tagged = [rule for rule in translate(policy).rules if rule["action"]["type"] == "transition"]
    assert [rule["selection"]["countType"] for rule in tagged] == [kind]
    assert tagged[0]["description"] == "With tags, neither pushed nor pulled for 30d"
    expiring = [rule for rule in translate(policy).rules if rule["selection"]["countType"] == "sinceImageTransitioned"]
    assert len(expiring) == (1 if otherwise is Otherwise.TRIAL else 0)
