"""The rules of retention, a sentence each, and the faults of other tools that concern decisions."""

from dataclasses import dataclass, field
from typing import Any

from ecrsweep.core.decisions import EXPLANATIONS, HOLDING, KEEPING, LETTING_GO, Code, Decision
from ecrsweep.core.images import DOCKER_LIST, OCI_INDEX, Gap, Image, Inventory, Status
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.plan import plan_repository, run_limit
from ecrsweep.core.policy import DAY, HOUR, Limits, Policy, governing
from ecrsweep.core.uses import Coverage, CoverageStatus, Use, UseIndex
from tests.core.worlds import NOW, digest

PLAIN = "application/vnd.oci.image.manifest.v1+json"
REPOSITORY = Repository(Registry("123456789012", "us-east-1"), "team/app")
OLD = 400 * DAY
STRICT = Policy(newest=0, pulled_within=None)


@dataclass
class Repo:
    """A repository told image by image."""

    images: list[Image] = field(default_factory=list)
    edges: dict[str, tuple[str, ...]] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)

    def push(self, *tags: str, age: float = OLD, contains: tuple[str, ...] = (), **rest: Any) -> str:
        """An image of this age; its digest."""
        made = digest(len(self.images))
        media_type = rest.pop("media_type", OCI_INDEX if contains else PLAIN)
        pulled = rest.pop("pulled", None)
        self.images.append(
            Image(
                made, tags, media_type, pushed_at=NOW - age, pulled_at=None if pulled is None else NOW - pulled, **rest
            )
        )
        if contains:
            self.edges[made] = contains
        return made

    def use(self, name: str, **rest: Any) -> None:
        """Somebody uses this tag or digest."""
        self.uses.append(Use(f"{REPOSITORY.uri}{name}", "arn:workload", "test", where="container web", **rest))

    def decide(self, policy: Policy = STRICT, **rest: Any) -> dict[str, Decision]:
        """The decisions by digest."""
        inventory = Inventory(REPOSITORY, tuple(self.images), self.edges, rest.pop("gaps", ()))
        matched = UseIndex(self.uses).match(REPOSITORY, self.images)
        plan = plan_repository(inventory, matched, policy, NOW, **rest)
        return {decision.image.digest: decision for decision in plan.decisions}

    def codes(self, policy: Policy = STRICT, **rest: Any) -> dict[str, set[str]]:
        """The codes of the reasons by digest."""
        return {d: {r.code.value for r in decision.reasons} for d, decision in self.decide(policy, **rest).items()}


def test_the_newest_are_counted_by_push_time_and_equal_times_by_the_smaller_digest() -> None:
    repo = Repo()
    first, second, third = (repo.push(f"v{n}") for n in range(3))
    codes = repo.codes(Policy(newest=2, pulled_within=None))
    by_digest = sorted([first, second, third])
    assert [codes[d] for d in by_digest] == [{"newest"}, {"newest"}, {"not_kept"}]


def test_untagged_images_and_signatures_take_no_place_among_the_newest() -> None:
    repo = Repo()
    kept = repo.push("v1", age=50 * DAY)
    repo.push(age=40 * DAY)
    repo.push(age=40 * DAY, subject=kept)
    repo.push(f"{kept.replace(':', '-')}.sig", age=40 * DAY)
    assert repo.codes(Policy(newest=1, pulled_within=None))[kept] == {"newest"}


def test_an_index_with_its_platforms_is_one_of_the_newest_and_ranks_by_its_own_push() -> None:
    repo = Repo()
    children = [repo.push(age=60 * DAY) for _ in range(3)]
    index = repo.push("v2", age=50 * DAY, contains=tuple(children))
    older = repo.push("v1", age=55 * DAY)
    codes = repo.codes(Policy(newest=1, pulled_within=None))
    assert codes[index] == {"newest"}
    assert all(codes[child] == {"child_of_kept"} for child in children)
    assert codes[older] == {"not_kept"}


def test_a_tagged_child_makes_its_index_a_tagged_artifact() -> None:
    repo = Repo()
    child = repo.push("amd64")
    index = repo.push(contains=(child,))
    assert repo.codes(Policy(newest=1, pulled_within=None))[index] == {"newest"}


def test_a_child_in_use_keeps_every_index_that_contains_it_and_their_other_children() -> None:
    repo = Repo()
    used, sibling = repo.push(), repo.push()
    index = repo.push("v1", contains=(used, sibling))
    outer = repo.push("v2", contains=(index,))
    repo.use(f"@{used}")
    assert repo.codes() == {
        used: {"in_use", "child_of_kept"},
        sibling: {"child_of_kept"},
        index: {"parent_of_kept", "child_of_kept"},
        outer: {"parent_of_kept"},
    }


def test_a_child_kept_for_another_index_does_not_keep_the_first() -> None:
    repo = Repo()
    shared = repo.push(age=90 * DAY)
    old = repo.push("v1", age=80 * DAY, contains=(shared,))
    new = repo.push("v2", age=50 * DAY, contains=(shared,))
    codes = repo.codes(Policy(newest=1, pulled_within=None))
    assert (codes[old], codes[new], codes[shared]) == ({"not_kept"}, {"newest"}, {"child_of_kept"})


def test_signatures_go_with_their_subject_however_they_are_filed() -> None:
    repo = Repo()
    subject = repo.push("v1")
    by_field = repo.push(subject=subject)
    by_tag = repo.push(f"{subject.replace(':', '-')}.sig")
    of_a_signature = repo.push(subject=by_field)
    assert repo.codes()[subject] == {"not_kept"}
    for referrer in (by_field, by_tag, of_a_signature):
        assert repo.codes()[referrer] == {"referrer_of_deleted"}
        assert "referrer_of_kept" in repo.codes(Policy(newest=1, pulled_within=None))[referrer]


def test_a_referrer_that_was_pulled_yesterday_speaks_for_nobody() -> None:
    repo = Repo()
    subject = repo.push("v1")
    signature = repo.push(subject=subject, pulled=DAY)
    codes = repo.codes(Policy(newest=0))
    assert (codes[subject], codes[signature]) == ({"not_kept"}, {"referrer_of_deleted"})


def test_a_referrer_in_use_stays_together_with_its_subject() -> None:
    repo = Repo()
    subject = repo.push("v1")
    chart = repo.push(subject=subject)
    repo.use(f"@{chart}")
    codes = repo.codes()
    assert "in_use" in codes[chart]
    assert codes[subject] == {"parent_of_kept"}


def test_an_orphaned_referrer_is_an_untagged_artifact_whatever_its_tag() -> None:
    repo = Repo()
    gone = digest(77).replace(":", "-")
    old = repo.push(f"{gone}.sig", age=20 * DAY)
    fresh = repo.push(f"{gone}.att", age=10 * DAY)
    policy = Policy(newest=100, pulled_within=None)
    assert repo.codes(policy) == {old: {"not_kept"}, fresh: {"untagged_grace"}}
    assert "its subject is gone" in repo.decide(policy)[old].reasons[0].detail


def test_a_tag_that_only_resembles_that_form_is_an_ordinary_tag() -> None:
    repo = Repo()
    image = repo.push("sha256-abc123", age=50 * DAY)
    assert repo.codes(Policy(newest=1, pulled_within=None))[image] == {"newest"}


def test_never_pulled_is_not_pulled_in_1970() -> None:
    repo = Repo()
    fresh = repo.push("v1", age=10 * DAY)
    old = repo.push("v0", age=31 * DAY)
    codes = repo.codes(Policy(newest=0))
    assert (codes[fresh], codes[old]) == ({"pushed_recently"}, {"not_kept"})


def test_a_recent_pull_keeps_tagged_and_untagged_images() -> None:
    repo = Repo()
    tagged, untagged, stale = (
        repo.push("v1", pulled=29 * DAY),
        repo.push(pulled=29 * DAY),
        repo.push("v0", pulled=31 * DAY),
    )
    codes = repo.codes(Policy(newest=0))
    assert (codes[tagged], codes[untagged], codes[stale]) == ({"pulled_recently"}, {"pulled_recently"}, {"not_kept"})


def test_untagged_images_have_two_weeks_and_no_more_for_their_push() -> None:
    repo = Repo()
    fresh, old = repo.push(age=13 * DAY), repo.push(age=15 * DAY)
    codes = repo.codes(Policy(newest=100))
    assert (codes[fresh], codes[old]) == ({"untagged_grace"}, {"not_kept"})


def test_grace_protects_every_image_for_a_day() -> None:
    repo = Repo()
    subject = repo.push("v1")
    image, signature = repo.push("v2", age=23 * HOUR), repo.push(age=HOUR, subject=subject)
    codes = repo.codes()
    assert codes[image] == {"pushed_recently"}
    assert codes[signature] == {"pushed_recently"}
    assert codes[subject] == {"not_kept"}


def test_one_protected_tag_protects_the_image_whatever_its_other_tags() -> None:
    repo = Repo()
    image = repo.push("v1", "release-1", "pr-7")
    assert repo.codes(Policy(newest=0, pulled_within=None, protected_tags=("release-*",)))[image] == {"protected_tag"}
    assert repo.codes(Policy(newest=0, pulled_within=None, protected_tags=("release",)))[image] == {"not_kept"}


def test_unknown_kinds_stay_count_among_the_newest_and_keep_what_they_name() -> None:
    repo = Repo()
    named = repo.push()
    unknown = repo.push("v1", age=40 * DAY, contains=(named,), media_type="application/vnd.example+json")
    older = repo.push("v0", age=41 * DAY)
    codes = repo.codes(Policy(newest=1, pulled_within=None))
    assert codes[unknown] == {"newest", "unknown_artifact"}
    assert codes[named] == {"child_of_kept"}
    assert codes[older] == {"not_kept"}


def test_archived_images_stay_and_take_no_place() -> None:
    repo = Repo()
    archived = repo.push("v2", age=40 * DAY, status=Status.ARCHIVED)
    active = repo.push("v1", age=41 * DAY)
    codes = repo.codes(Policy(newest=1, pulled_within=None))
    assert (codes[archived], codes[active]) == ({"archived"}, {"newest"})


def test_every_reason_is_listed_not_only_the_first() -> None:
    repo = Repo()
    image = repo.push("latest", age=HOUR, pulled=60.0)
    repo.use(":latest")
    assert repo.codes(Policy())[image] == {"in_use", "newest", "protected_tag", "pulled_recently", "pushed_recently"}


def test_nested_lists_and_docker_manifest_lists_are_followed_to_the_end() -> None:
    repo = Repo()
    leaf = repo.push()
    inner = repo.push(contains=(leaf,), media_type=DOCKER_LIST)
    outer = repo.push("v1", contains=(inner,))
    codes = repo.codes(Policy(newest=1, pulled_within=None))
    assert (codes[outer], codes[inner], codes[leaf]) == ({"newest"}, {"child_of_kept"}, {"child_of_kept"})
    assert repo.codes()[leaf] == {"child_of_deleted"}


def test_a_gap_holds_what_would_go_and_leaves_the_reasons_of_what_stays() -> None:
    repo = Repo()
    old, new = repo.push("v0"), repo.push("v1", age=HOUR)
    gap = Coverage("1", "us-east-1", "ecs", CoverageStatus.FAILED, error="denied")
    assert repo.codes(census_gaps=(gap,)) == {old: {"coverage_gap"}, new: {"pushed_recently"}}
    assert repo.codes(gaps=(Gap("unreadable"),))[old] == {"coverage_gap"}


def test_limits_hold_a_repository_or_the_run() -> None:
    repo = Repo()
    for number in range(30):
        repo.push(f"v{number}")
    limits = Limits(max_fraction=0.5)
    assert set.union(*repo.codes(limits=limits).values()) == {"limit"}
    assert "limit" not in set.union(*repo.codes(Policy(newest=20, pulled_within=None), limits=limits).values())
    summary = plan_repository(
        Inventory(REPOSITORY, tuple(repo.images), {}), UseIndex([]).match(REPOSITORY, repo.images), STRICT, NOW
    ).summary
    assert run_limit(Limits(max_images=29), summary) is not None
    assert run_limit(Limits(max_images=30), summary) is None


def test_the_first_policy_that_matches_the_whole_name_governs() -> None:
    first, second = Policy(name="a", repositories=("app",)), Policy(name="b", repositories=("team/*",))
    assert governing((first, second), "app") is first
    assert governing((first, second), "app-prod") is None
    assert governing((first, second), "team/x") is second


def test_every_code_has_an_explanation_and_one_side() -> None:
    assert set(EXPLANATIONS) == set(Code)
    assert set(Code) == KEEPING | HOLDING | LETTING_GO
    assert not KEEPING & HOLDING
    assert not KEEPING & LETTING_GO
    assert not HOLDING & LETTING_GO
