"""The newest of each group, the order of versions, the tags that go, and what owners say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ecrsweep.core.decisions import Action, Code, Reason
from ecrsweep.core.errors import BadInput
from ecrsweep.core.holds import Hold, Holds, owners_keys, word_of_owner
from ecrsweep.core.images import Status
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.policy import DAY, NewestPer, Order, Otherwise, Policy
from ecrsweep.core.times import parse_rfc3339
from ecrsweep.core.versions import LOWEST, highest_version, version_of
from tests.core.test_retention import REPOSITORY, STRICT, Repo
from tests.core.worlds import NOW, digest

BRANCHES = replace(STRICT, newest_per=(NewestPer(r"^(?P<branch>main|release|pr-\d+)-", 1),))


def test_each_branch_keeps_its_own_newest() -> None:
    repo = Repo()
    old_main, new_main = repo.push("main-1", age=60 * DAY), repo.push("main-2", age=50 * DAY)
    only = repo.push("release-1", age=300 * DAY)
    one, other = repo.push("pr-7-abc", age=200 * DAY), repo.push("pr-8-abc", age=200 * DAY)
    plain = repo.push("v1", age=40 * DAY)
    codes = repo.codes(BRANCHES)
    assert [codes[d] for d in (new_main, only, one, other)] == [{"newest"}] * 4
    assert codes[old_main] == codes[plain] == {"not_kept"}
    assert repo.decide(BRANCHES)[new_main].reasons[0].detail == "1 of the newest 1 with branch=main"


def test_each_major_version_keeps_its_own_newest_by_version_not_by_push() -> None:
    policy = replace(STRICT, order=Order.SEMVER, newest_per=(NewestPer(r"^v?(?P<major>\d+)\.", 1),))
    repo = Repo()
    backport = repo.push("1.2.9", age=50 * DAY)
    highest = repo.push("v1.10.0", age=90 * DAY)
    candidate = repo.push("1.10.0-rc.2", age=45 * DAY)
    second = repo.push("2.0.0", age=300 * DAY)
    codes = repo.codes(policy)
    assert codes[highest] == codes[second] == {"newest"}
    assert codes[backport] == codes[candidate] == {"not_kept"}


def test_by_version_what_has_none_comes_last_and_by_push_time() -> None:
    repo = Repo()
    word = repo.push("nightly", age=41 * DAY)
    first, second = repo.push("1.0.0", age=90 * DAY), repo.push("0.9.0", age=80 * DAY)
    policy = Policy(newest=2, pulled_within=None, order=Order.SEMVER)
    codes = repo.codes(policy)
    assert codes[first] == codes[second] == {"newest"}
    assert "3 of 3 tagged artifacts by version" in repo.decide(policy)[word].reasons[0].detail


def test_a_tag_on_a_platform_counts_for_its_index() -> None:
    repo = Repo()
    child = repo.push("main-9-amd64")
    index = repo.push("whatever", contains=(child,))
    assert repo.codes(BRANCHES)[index] == {"newest"}
    assert repo.codes(BRANCHES)[child] == {"child_of_kept"}


@pytest.mark.parametrize("fields", [{"pattern": "main-", "newest": 1}, {"pattern": "(?P<x>", "newest": 1}])
def test_a_group_needs_a_name_and_an_expression_that_is_one(fields: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        NewestPer(**fields)  # type: ignore[arg-type]


def test_a_trial_and_a_time_in_the_archive_are_two_words_for_one_thing() -> None:
    with pytest.raises(BadInput, match="trial_for"):
        Policy(otherwise=Otherwise.TRIAL, delete_after_archived=DAY)


ORDERED = ("0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
           "1.0.0", "1.0.1", "v1.2", "1.10.0", "2.0.0-1")  # fmt: skip


def test_versions_sort_as_their_specification_says() -> None:
    found = [version_of(tag) for tag in ORDERED]
    assert None not in found
    assert sorted(found) == found  # type: ignore[type-var]


@pytest.mark.parametrize("tag", ["latest", "1", "20240131", "main-1.2.3", "1.2.3.4", "v", "1.2.3-", "1.2-_x", ""])
def test_what_is_no_version_has_none(tag: str) -> None:
    assert version_of(tag) is None
    assert highest_version([tag]) == LOWEST


@given(st.text(alphabet="0123456789.-_vabrc", max_size=20))
def test_no_tag_breaks_the_reading_of_versions(tag: str) -> None:
    assert highest_version([tag, "0.0.0-0"]) >= highest_version(["0.0.0-0"])


UNTAG = replace(STRICT, newest=10, untag=("pr-*", "main-*"))


def test_tags_go_from_images_that_stay_and_the_others_stay() -> None:
    repo = Repo()
    image = repo.push("v1", "pr-1", "main-2")
    found = repo.decide(UNTAG)[image]
    assert found.action is Action.UNTAG
    assert found.untag == ("main-2", "pr-1")
    assert found.reasons[0].code is Code.NEWEST, "it says why the image stays"


def test_the_last_tag_never_goes() -> None:
    repo = Repo()
    alone, two = repo.push("pr-1"), repo.push("pr-2", "pr-3")
    found = repo.decide(UNTAG)
    assert found[alone].action is Action.KEEP
    assert found[two].untag == ("pr-2",)


@pytest.mark.parametrize(
    ("tags", "policy"),
    [
        (("v1", "pr-1"), replace(UNTAG, protected_tags=("pr-*",))),
        (("v1", "pr-1"), replace(UNTAG, grace=500 * DAY)),
        (("v1", "main-2"), replace(UNTAG, newest_per=BRANCHES.newest_per)),
        (("v1", digest(77).replace(":", "-") + ".sig"), replace(UNTAG, untag=("*.sig",))),
    ],
    ids=["protected", "pushed within the grace", "has a place in its group", "files a signature"],
)
def test_a_tag_stays_that(tags: tuple[str, ...], policy: Policy) -> None:
    repo = Repo()
    image = repo.push(*tags)
    assert repo.decide(policy)[image].action is Action.KEEP


def test_a_tag_that_somebody_names_stays_whatever_digest_runs() -> None:
    repo = Repo()
    image = repo.push("v1", "pr-1")
    repo.use(":pr-1")
    assert repo.decide(UNTAG)[image].action is Action.KEEP
    repo.uses.clear()
    repo.use(f"@{image}")
    assert repo.decide(UNTAG)[image].untag == ("pr-1",)


def test_archived_images_keep_their_tags() -> None:
    repo = Repo()
    image = repo.push("v1", "pr-1", status=Status.ARCHIVED, archived_at=NOW - DAY)
    assert repo.decide(UNTAG)[image].action is Action.KEEP


OTHER = Repository(Registry("210987654321", "eu-west-1"), REPOSITORY.name)


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("team/app:v1", True), ("team/app", True), (f"{REPOSITORY.uri}:v1", True), (digest(0), True),
        (f"team/app@{digest(0)}", True), (f"docker://{REPOSITORY.uri}@{digest(0)}", True), (REPOSITORY.uri, True),
        ("team/app:v2", False), ("team/app-prod:v1", False), (f"{OTHER.uri}:v1", False), (digest(5), False),
    ],
)  # fmt: skip
def test_a_hold_keeps_what_its_name_means_and_nothing_else(name: str, held: bool) -> None:
    repo = Repo()
    image = repo.push("v1")
    found = Holds([Hold(name, who="dana", why="audit")], NOW).on(REPOSITORY, repo.images)
    assert (repo.codes(held=found)[image] == {"held_by_owner"}) is held
    if held:
        assert repo.decide(held=found)[image].reasons[0].detail == "audit, by dana"


def test_a_hold_whose_day_has_come_holds_nothing_and_is_told_of() -> None:
    over, running = Hold("team/app:v1", until=NOW - 1), Hold("team/app:v1", until=NOW + 1)
    assert Holds([over], NOW).on(REPOSITORY, [Repo().push]) == {}  # type: ignore[list-item]
    assert Holds([over], NOW).expired == [over]
    assert Holds([running], NOW).current == [running]


def test_a_hold_until_a_day_reads_as_it_was_written() -> None:
    to_its_end, at_noon = parse_rfc3339("2027-04-01T00:00:00Z"), parse_rfc3339("2027-04-01T12:00:00Z")
    assert Hold("team/app:v1", "dana", "audit", until=to_its_end).described == "audit, by dana, until 2027-03-31"
    assert Hold("team/app:v1", why="audit", until=at_noon).described == "audit, until 2027-04-01T12:00:00Z"
    assert Hold("team/app:v1", until=to_its_end).document()["until"] == "2027-04-01T00:00:00Z"


def test_a_hold_of_what_is_no_image_is_refused() -> None:
    with pytest.raises(BadInput, match="hold of"):
        Holds([Hold("not an image")], NOW)


def test_a_hold_on_a_signature_keeps_what_it_signs() -> None:
    repo = Repo()
    image = repo.push("v1")
    signature = repo.push(subject=image)
    found = Holds([Hold(signature)], NOW).on(REPOSITORY, repo.images)
    assert repo.codes(held=found)[image] == {"parent_of_kept"}


def test_a_repository_that_its_owner_wants_left_alone_is() -> None:
    repo = Repo()
    image = repo.push("v1", "pr-1")
    word = word_of_owner({"ecrsweep": "never"}, UNTAG)
    assert repo.decide(UNTAG, whole=word)[image].action is Action.KEEP, "no tag goes either"
    assert "held_by_owner" in repo.codes(UNTAG, whole=word)[image]
    assert word_of_owner({"ecrsweep": "please"}, UNTAG) is None


def test_a_policy_can_ask_for_a_tag_of_the_repository() -> None:
    policy = replace(STRICT, opt_in_tag="sweep=yes")
    assert word_of_owner({}, policy) == Reason(
        Code.NOT_GOVERNED, 'policy "default" asks for the repository tag sweep=yes'
    )
    assert word_of_owner({"sweep": "no"}, policy) is not None
    assert word_of_owner({"sweep": "yes"}, policy) is None
    assert word_of_owner({"sweep": "anything"}, replace(policy, opt_in_tag="sweep")) is None
    assert owners_keys([policy, STRICT]) == ("ecrsweep", "sweep")
