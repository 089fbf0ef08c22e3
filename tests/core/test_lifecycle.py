"""The evaluator of AWS lifecycle policies: the worked examples of the documentation, what AWS refuses, and who owns an image."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ecrsweep.core.images import OCI_INDEX, Image, Status
from ecrsweep.core.lifecycle import BadLifecyclePolicy, Rule, Taken, evaluate_lifecycle, parse_lifecycle_policy
from ecrsweep.core.policy import DAY
from tests.core.worlds import NOW, digest

EXPIRE = {"type": "expire"}
ARCHIVE = {"type": "transition", "targetStorageClass": "archive"}


def rule(priority: int, status: str, count: str, number: int, action: Any = None, **more: Any) -> dict[str, Any]:
    selection = {"tagStatus": status, "countType": count, "countNumber": number, **more}
    if count.startswith("since"):
        selection["countUnit"] = "days"
    return {"rulePriority": priority, "selection": selection, "action": action or EXPIRE}


def parsed(*rules: dict[str, Any]) -> tuple[Rule, ...]:
    return parse_lifecycle_policy(json.dumps({"rules": rules}))


def named(name: str, tags: str, days: float, **more: Any) -> Image:
    """An image of an example: its letter, its tags, and how many days ago it was pushed."""
    return Image(digest=name, tags=tuple(tags.split()), pushed_at=NOW - days * DAY, **more)


def taken(rules: tuple[Rule, ...], *images: Image, edges: Any = None) -> str:
    return "".join(sorted(evaluate_lifecycle(rules, images, edges or {}, NOW)))


MANY = "imageCountMoreThan"
OLD = "sinceImagePushed"
BETA_PROD = (named("A", "beta-1 prod-1", 10), named("B", "beta-2 prod-2", 9), named("C", "beta-3", 8))
ALPHA_BETA = (
    named("A", "alpha-1", 12), named("B", "beta-1", 11), named("C", "alpha-2 beta-2", 10), named("D", "alpha-3", 4),
    named("E", "beta-3", 3), named("F", "alpha-4 beta-4", 2),
)  # fmt: skip
MIXED = (
    named("A", "alpha-1", 4), named("B", "", 3), named("C", "alpha-2", 2), named("D", "git-5678", 1.5),
    named("E", "", 1.2),
)  # fmt: skip


@pytest.mark.parametrize(
    ("images", "rules", "result"),
    [
        # "Filtering on multiple rules": an image that rule 1 has seen is skipped by rule 2, marked there or not.
        (BETA_PROD, [rule(1, "tagged", MANY, 1, tagPrefixList=["prod"]), rule(2, "tagged", MANY, 1, tagPrefixList=["beta"])], "A"),
        (BETA_PROD, [rule(1, "tagged", MANY, 1, tagPrefixList=["beta"]), rule(2, "tagged", MANY, 1, tagPrefixList=["prod"])], "AB"),
        # "Filtering on multiple tags in a single rule": every prefix has to be there.
        (ALPHA_BETA, [rule(1, "tagged", MANY, 1, tagPrefixList=["alpha", "beta"])], "C"),
        (ALPHA_BETA, [rule(1, "tagged", OLD, 5, tagPatternList=["alpha*", "beta*"])], "C"),
        # "Filtering on all images".
        (MIXED, [rule(1, "any", MANY, 1)], "ABCD"),
        (MIXED, [rule(1, "tagged", MANY, 1, tagPrefixList=["alpha"]), rule(2, "any", MANY, 1)], "ABD"),
        (MIXED, [rule(1, "tagged", MANY, 1, tagPrefixList=["alpha"]), rule(2, "untagged", OLD, 1), rule(3, "any", MANY, 1)], "ABDE"),
        # "Filtering on image age" and "on image count".
        ((named("A", "prod-1", 15), named("B", "prod-2", 13), named("C", "dev", 20)), [rule(1, "tagged", OLD, 14, tagPatternList=["prod*"])], "A"),
        ((named("A", "", 2), named("B", "", 1), named("C", "x", 3)), [rule(1, "untagged", MANY, 1)], "A"),
    ],
)  # fmt: skip
def test_worked_examples_of_the_documentation(images: Any, rules: Any, result: str) -> None:
    assert taken(parsed(*rules), *images) == result


def test_archiving_by_last_pull_counts_from_the_push_where_no_pull_is_recorded() -> None:
    rules = parsed(rule(1, "any", "sinceImagePulled", 30, ARCHIVE))
    never, lately = named("A", "a", 40), named("B", "b", 90, pulled_at=NOW - 3 * DAY)
    long_ago = named("C", "c", 90, pulled_at=NOW - 31 * DAY)
    assert evaluate_lifecycle(rules, [never, lately, long_ago], {}, NOW) == {
        "A": Taken(1, "transition"), "C": Taken(1, "transition"),
    }  # fmt: skip


def test_rules_of_the_archive_see_what_is_archived_and_nothing_else() -> None:
    rules = parsed(rule(1, "any", MANY, 1), rule(2, "any", "sinceImageTransitioned", 90, storageClass="archive"))
    cold = named("A", "a", 200, status=Status.ARCHIVED, archived_at=NOW - 91 * DAY)
    fresh = named("B", "b", 200, status=Status.ARCHIVED, archived_at=NOW - 89 * DAY)
    assert taken(rules, cold, fresh, named("C", "c", 9), named("D", "d", 8)) == "AC"


def test_a_child_lives_as_long_as_any_index_that_contains_it() -> None:
    rules = parsed(rule(1, "untagged", OLD, 1))
    images = [
        named("I", "v1", 50, media_type=OCI_INDEX), named("N", "", 50, media_type=OCI_INDEX), named("L", "", 50),
        named("S", "", 50, media_type=OCI_INDEX), named("M", "", 50),
    ]  # fmt: skip
    assert taken(rules, *images, edges={"I": ("N",), "N": ("L",), "S": ("M", "L")}) == "MS"


def test_only_a_star_is_a_wildcard_and_a_pattern_means_the_whole_tag() -> None:
    rules = parsed(rule(1, "tagged", OLD, 1, tagPatternList=["v*.0"]))
    assert (
        taken(rules, named("A", "v1.0", 5), named("B", "v1.0-rc", 5), named("C", "xv1.0", 5), named("D", "v1x0", 5))
        == "A"
    )


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ([], "1 to 50"),
        ([rule(n, "tagged", MANY, 1, tagPrefixList=[f"p{n}"]) for n in range(1, 52)], "1 to 50"),
        ([rule(1, "any", MANY, 0)], "countNumber"),
        ([rule(1, "tagged", MANY, 1)], "exactly one"),
        ([rule(1, "tagged", MANY, 1, tagPrefixList=["a"], tagPatternList=["a*"])], "exactly one"),
        ([rule(1, "untagged", MANY, 1, tagPrefixList=["a"])], "tags are listed"),
        ([rule(1, "tagged", MANY, 1, tagPatternList=["*a*b*c*d*"])], "wildcards"),
        ([rule(1, "any", MANY, 1, countUnit="days")], "countUnit"),
        ([rule(1, "any", "sinceImagePulled", 1)], "transition only"),
        ([rule(1, "any", "sinceImageTransitioned", 1)], "archive only"),
        ([rule(1, "any", MANY, 1, {"type": "transition"})], "targetStorageClass"),
        ([rule(1, "any", MANY, 1), rule(2, "untagged", MANY, 1)], "must be the last"),
        ([rule(1, "untagged", MANY, 1), rule(1, "any", MANY, 1)], "same priority"),
        ([rule(1, "untagged", MANY, 1), rule(2, "untagged", OLD, 1)], "another rule"),
        ([rule(1, "tagged", MANY, 1, tagPrefixList=["a"]), rule(2, "tagged", OLD, 1, tagPrefixList=["a"])], "another rule"),
        ([rule(1, "any", "sinceTheFlood", 1)], "not understood"),
        ([rule(1, "any", MANY, 1) | {"unheardOf": True}], "not understood"),
    ],
)  # fmt: skip
def test_what_aws_refuses_is_refused_and_what_is_not_understood_too(rules: Any, word: str) -> None:
    with pytest.raises(BadLifecyclePolicy, match=word):
        parsed(*rules)


RULES = st.lists(
    st.tuples(
        st.sampled_from(["tagged", "untagged"]),
        st.sampled_from([MANY, OLD]),
        st.integers(1, 4),
        st.sampled_from(["a", "b", "ab"]),
    ),
    max_size=4,
    unique_by=lambda drawn: drawn[3] if drawn[0] == "tagged" else "untagged",
)
IMAGES = st.lists(
    st.builds(
        lambda number, tags, days: Image(digest(number), tuple(sorted(tags)), pushed_at=NOW - days * DAY),
        st.integers(0, 30),
        st.sets(st.sampled_from(["a", "ab", "b", "c"])),
        st.integers(0, 6),
    ),
    max_size=12,
    unique_by=lambda image: image.digest,
)


@given(RULES, st.booleans(), IMAGES)
def test_no_rule_takes_an_image_that_a_rule_before_it_selects(drawn: Any, last: bool, images: list[Image]) -> None:
    rules = [
        rule(n, status, count, number, **({"tagPrefixList": [prefix]} if status == "tagged" else {}))
        for n, (status, count, number, prefix) in enumerate(drawn, start=1)
    ] + ([rule(9, "any", MANY, 2)] if last else [])
    if not rules:
        return
    policy = parsed(*rules)
    found = evaluate_lifecycle(policy, images, {}, NOW)
    for image in images:
        selecting = [each for each in policy if each.selection.selects(image)]
        owner = selecting[0] if selecting else None
        alone = owner is not None and image.digest in evaluate_lifecycle(
            (replace(owner, rule_priority=1),), images, {}, NOW
        )
        assert (image.digest in found) == alone
        if owner is not None and image.digest in found:
            assert found[image.digest].rule == owner.rule_priority
