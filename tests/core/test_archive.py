"""Archive, trial and keeping the rest: what becomes of an artifact that nothing keeps, a sentence each."""

from typing import Any

import pytest
from msgspec.structs import replace

from ecrsweep.core.decisions import Action
from ecrsweep.core.images import Status
from ecrsweep.core.policy import DAY, Otherwise, Policy
from tests.core.test_retention import STRICT, Repo
from tests.core.worlds import NOW

ARCHIVE = replace(STRICT, otherwise=Otherwise.ARCHIVE)
TRIAL = replace(STRICT, otherwise=Otherwise.TRIAL, trial_for=30 * DAY)


def archived(days: float) -> dict[str, Any]:
    return {"status": Status.ARCHIVED, "archived_at": NOW - days * DAY}


def test_what_nothing_keeps_is_archived_with_its_children_and_its_referrers() -> None:
    repo = Repo()
    child = repo.push()
    index = repo.push("v1", contains=(child,))
    signature = repo.push(subject=index)
    found = repo.decide(ARCHIVE)
    assert {found[d].action for d in (child, index, signature)} == {Action.ARCHIVE}
    assert repo.codes(ARCHIVE)[child] == {"child_of_deleted"}


def test_what_is_archived_stays_for_good_unless_a_policy_says_for_how_long() -> None:
    repo = Repo()
    image = repo.push("v1", **archived(1000))
    assert repo.decide(ARCHIVE)[image].action is Action.KEEP
    assert repo.codes(ARCHIVE)[image] == {"archived"}
    for policy in (ARCHIVE, STRICT):
        over = replace(policy, delete_after_archived=90 * DAY)
        assert repo.decide(over)[image].action is Action.DELETE
        assert "more than 90d ago" in repo.decide(over)[image].reasons[0].detail


def test_a_trial_that_is_over_says_so_and_one_that_is_not_waits() -> None:
    repo = Repo()
    over, running = repo.push("v1", **archived(31)), repo.push("v2", **archived(29))
    assert repo.codes(TRIAL)[over] == {"trial_passed"}
    assert repo.decide(TRIAL)[over].action is Action.DELETE
    assert repo.codes(TRIAL)[running] == {"archived"}


def test_an_artifact_waits_in_the_archive_until_all_of_it_has_been_there_long_enough() -> None:
    repo = Repo()
    late, early = repo.push(**archived(3)), repo.push(**archived(60))
    index = repo.push("v1", contains=(late, early), **archived(60))
    signature = repo.push(subject=index, **archived(60))
    assert {decision.action for decision in repo.decide(TRIAL).values()} == {Action.KEEP}
    assert repo.codes(TRIAL)[signature] == {"archived"}


def test_an_archive_that_was_interrupted_goes_on_with_the_children() -> None:
    repo = Repo()
    left, done = repo.push(), repo.push(**archived(60))
    index = repo.push("v1", contains=(left, done), **archived(60))
    found = repo.decide(TRIAL)
    assert found[left].action is Action.ARCHIVE
    assert found[left].reasons[0].detail == "what it belongs to is in the archive already"
    assert found[index].action is found[done].action is Action.KEEP, "a trial begins when all of it is archived"


def test_where_the_rest_is_deleted_an_archived_index_keeps_what_it_contains() -> None:
    repo = Repo()
    child = repo.push()
    index = repo.push("v1", contains=(child,), **archived(60))
    assert repo.codes(STRICT)[child] == {"child_of_kept"}
    assert repo.codes(STRICT)[index] == {"archived"}


def test_what_is_in_use_stays_in_the_archive_however_long_and_says_that_it_is_archived() -> None:
    repo = Repo()
    image = repo.push("v1", **archived(1000))
    repo.use(":v1")
    assert repo.codes(TRIAL)[image] == {"in_use", "archived"}


def test_what_is_on_its_way_back_is_left_alone() -> None:
    repo = Repo()
    image = repo.push("v1", status=Status.ACTIVATING, archived_at=NOW - 60 * DAY)
    unknown = repo.push("v2", status="FROZEN", archived_at=NOW - 60 * DAY)
    assert repo.codes(TRIAL)[image] == repo.codes(TRIAL)[unknown] == {"archived"}


def test_what_somebody_brought_back_is_not_archived_again_at_once() -> None:
    repo = Repo()
    image = repo.push("v1", archived_at=NOW - 60 * DAY, activated_at=NOW - 5 * DAY)
    assert repo.codes(replace(TRIAL, pulled_within=30 * DAY))[image] == {"pushed_recently"}
    assert repo.decide(TRIAL)[image].action is Action.ARCHIVE
    fresh = repo.push("v2", activated_at=NOW - 3600)
    assert repo.codes(TRIAL)[fresh] == {"pushed_recently"}, "the grace holds whatever the rules of pulls say"


def test_the_rest_can_be_kept_and_what_is_archived_goes_all_the_same() -> None:
    repo = Repo()
    kept, gone = repo.push("v1"), repo.push("v2", **archived(100))
    policy = replace(STRICT, otherwise=Otherwise.KEEP, delete_after_archived=90 * DAY)
    assert repo.codes(policy)[kept] == {"kept_by_policy"}
    assert repo.decide(policy)[gone].action is Action.DELETE


def test_archived_images_take_no_place_among_the_newest() -> None:
    repo = Repo()
    older = repo.push("v1", age=50 * DAY)
    repo.push("v2", age=40 * DAY, **archived(3))
    assert repo.codes(Policy(newest=1, pulled_within=None, otherwise=Otherwise.ARCHIVE))[older] == {"newest"}


@pytest.mark.parametrize("otherwise", [Otherwise.ARCHIVE, Otherwise.TRIAL])
def test_a_second_plan_after_an_archive_finds_nothing_more_to_do(otherwise: Otherwise) -> None:
    repo = Repo()
    child = repo.push()
    index = repo.push("v1", contains=(child,))
    repo.push("v2", subject=index)
    policy = replace(STRICT, otherwise=otherwise)
    going = [d for d, decision in repo.decide(policy).items() if decision.action is Action.ARCHIVE]
    repo.images = [
        replace(image, status=Status.ARCHIVED, archived_at=NOW) if image.digest in going else image
        for image in repo.images
    ]
    assert {decision.action for decision in repo.decide(policy).values()} == {Action.KEEP}
