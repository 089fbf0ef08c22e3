"""Uses: which images a name means, what is protected on suspicion, and what finds no image any more."""

from hypothesis import assume, given
from hypothesis import strategies as st

from ecrsweep.core.images import Image, Inventory
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.uses import Matched, Use, UseIndex
from tests.core.worlds import certain_uses, digest, inventories

PLAIN = "application/vnd.oci.image.manifest.v1+json"
HOME = Repository(Registry("123456789012", "us-east-1"), "team/app")
V1 = Image(digest(1), ("v1",), PLAIN, pushed_at=100.0)
V2 = Image(digest(2), ("v2", "prod"), PLAIN, pushed_at=200.0)
BARE = Image(digest(3), (), PLAIN, pushed_at=50.0)


def matched(*uses: Use, repository: Repository = HOME) -> Matched:
    return UseIndex(uses).match(repository, (V1, V2, BARE))


def protected(*uses: Use, repository: Repository = HOME) -> set[str]:
    return set(matched(*uses, repository=repository).reasons)


def use(image: str, **rest: object) -> Use:
    return Use(image, "arn:workload", "test", **rest)  # type: ignore[arg-type]


def test_a_tag_and_a_digest_protect_both() -> None:
    assert protected(use(f"{HOME.uri}:v1@{V2.digest}")) == {V1.digest, V2.digest}


def test_an_observed_digest_is_protected_beside_what_the_tag_names_now() -> None:
    assert protected(use(f"{HOME.uri}:prod", digest=BARE.digest)) == {V2.digest, BARE.digest}


def test_the_same_name_in_another_registry_protects_nothing_here() -> None:
    other = Repository(Registry("210987654321", "us-east-1"), "team/app")
    assert protected(use(f"{other.uri}:v1")) == set()


def test_an_alias_counts_where_the_path_is_the_name_or_ends_with_it_behind_a_slash() -> None:
    app = Repository(HOME.registry, "app")
    part = Repository(HOME.registry, "pp")
    alias = use("images.corp.example/mirror/team/app:v1")
    assert protected(alias) == {V1.digest}
    assert protected(alias, repository=app) == {V1.digest}
    assert protected(alias, repository=part) == set()


def test_a_digest_under_an_alias_is_protected_everywhere() -> None:
    elsewhere = Repository(HOME.registry, "quite/another")
    found = matched(use(f"images.corp.example/x/y@{V1.digest}"), repository=elsewhere)
    assert set(found.reasons) == {V1.digest}
    assert "possible" in found.reasons[V1.digest][0].detail


def test_a_foreign_name_with_an_observed_digest_proves_nothing() -> None:
    index = UseIndex([use("nginx:1", digest=V1.digest), use("docker://" + V1.digest)])
    assert index.match(HOME, (V1,)).reasons == {}
    assert index.foreign == 2


def test_a_workload_known_by_a_tag_that_has_moved_keeps_the_untagged_images_of_before() -> None:
    started = use(f"{HOME.uri}:prod", resolved_from=150.0, resolved_until=160.0)
    assert protected(started) == {V2.digest, BARE.digest}
    assert protected(use(f"{HOME.uri}:prod", resolved_from=250.0, resolved_until=260.0)) == {V2.digest}
    assert protected(use(f"{HOME.uri}:prod", resolved_from=40.0, resolved_until=45.0)) == {V2.digest}


def test_a_workload_that_tells_its_digest_leaves_nothing_to_guess() -> None:
    known = use(f"{HOME.uri}:prod", digest=V1.digest, resolved_from=150.0, resolved_until=160.0)
    assert protected(known) == {V1.digest, V2.digest}


def test_a_tag_that_names_nothing_any_more_is_taken_for_moved() -> None:
    assert protected(use(f"{HOME.uri}:gone", resolved_from=150.0)) == {BARE.digest}


def test_uses_whose_image_is_gone_are_unresolved_unless_the_workload_has_ended() -> None:
    gone, ended = use(f"{HOME.uri}:gone"), use(f"{HOME.uri}:gone", ended=True)
    lost = use(f"{HOME.uri}:v1@{digest(99)}")
    still = use(f"{HOME.uri}:gone", digest=V1.digest)
    assert matched(gone, ended, lost, still, use(f"{HOME.uri}:v1")).unresolved == [gone, lost]


def test_ten_thousand_workloads_of_one_name_are_all_named_and_looked_up_once() -> None:
    uses = [Use(f"{HOME.uri}:v1", f"arn:task/{number}", "test") for number in range(10_000)]
    assert len(matched(*uses).reasons[V1.digest]) == 10_000


ALIASES = {"registry.corp.example": HOME.registry, "localhost:5000": HOME.registry}


def test_a_name_under_a_declared_alias_is_a_sure_use_in_its_registry_and_a_missing_image_is_told() -> None:
    index = UseIndex([use("registry.corp.example/team/app:v1"), use("Registry.Corp.example/team/app:gone")], ALIASES)
    found = index.match(HOME, (V1, V2, BARE))
    assert {digest: [match.possible for match in matches] for digest, matches in found.found.items()} == {
        V1.digest: [False]
    }
    assert [missing.image for missing in found.unresolved] == ["Registry.Corp.example/team/app:gone"]
    elsewhere = UseIndex([use("registry.corp.example/other:v1")], ALIASES)
    assert [one.image for one in elsewhere.missing(HOME.registry, {"team/app"}, asked=["other"])]
    assert elsewhere.repositories_named_in(HOME.registry) == ["other"]


def test_a_declared_alias_counts_in_no_other_registry_but_for_a_digest() -> None:
    far = Repository(Registry("123456789012", "eu-west-1"), "team/app")
    uses = [use("registry.corp.example/team/app:v1"), use(f"registry.corp.example/team/app@{V2.digest}")]
    assert UseIndex(uses, ALIASES).match(far, (V1, V2, BARE)).found.keys() == {V2.digest}
    assert UseIndex(uses).match(far, (V1, V2, BARE)).found.keys() == {V1.digest, V2.digest}


@given(st.data(), inventories())
def test_declaring_an_alias_takes_no_protection_away_in_its_registry(data: st.DataObject, inventory: Inventory) -> None:
    assume(inventory.images)
    uses = [found for found, _ in data.draw(st.lists(certain_uses(inventory), min_size=1, max_size=4))]
    aliases = dict.fromkeys(ALIASES, inventory.repository.registry)
    declared = UseIndex(uses, aliases).match(inventory.repository, inventory.images).found
    assert declared.keys() == UseIndex(uses).match(inventory.repository, inventory.images).found.keys()
