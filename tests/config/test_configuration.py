"""The configuration file: what it says is what is meant, and whatever cannot be meant has its line, its key and its words."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.config import BadFile, Settings, read_configuration, read_holds
from ecrsweep.config.file import POLICY
from ecrsweep.core.names import Registry
from ecrsweep.core.policy import DAY, HOUR, NewestPer, Order, Otherwise, Policy

SOURCES = ("cloudtrail", "command", "ecs", "eks", "file")
NAME = "ecrsweep.yaml"
EVERYTHING = """
registry: {account: "123456789012", regions: [us-east-1, eu-west-1], repositories: [team/*]}
consumers: {regions: [all]}
sources:
  skip: [eks, "file:hosts.txt"]
  with: [cloudtrail]
  options: {cloudtrail: {days: 30, lake: "arn:aws:cloudtrail:x"}, file: {max-age: 7d}}
  uses_files: [hosts.txt, "-", "s3://bucket/uses.json"]
  uses_commands: ["ssh host docker ps"]
  accept_gaps: [ecs/eu-west-1]
  accept_drops: ["file:hosts.txt"]
aliases: {Registry.Example.com: 123456789012/eu-west-1}
policies:
  - name: web
    repositories: [web/*, "storefront"]
    newest: 20
    newest_per: [{pattern: '^(?P<branch>main|release)-', newest: 3}]
    order: semver
    pushed_within: 12h
    pulled_within: off
    used_within: 0d
    protected_tags: [latest, 'release-*']
    protected_tag_regexes: ['^v[0-9]+$']
    untagged_for: 7d
    grace: 2h
    otherwise: trial
    trial_for: 10d
    untag: ['pr-*']
    opt_in_tag: team=web
  - otherwise: archive
    delete_after_archived: 90d
limits: {max_fraction: 0.5, fraction_from: 3, max_images: 100, max_bytes: 1000}
state: s3://bucket/state
holds: [holds.yaml]
"""


def read(text: str) -> Any:
    return read_configuration(text.encode(), NAME, SOURCES, lambda path: path if "://" in path else f"beside/{path}")


def problems(text: str) -> list[str]:
    with pytest.raises(BadFile) as caught:
        read(text)
    return str(caught.value).splitlines()[1:]


def test_every_key_means_what_it_says() -> None:
    found = read(EVERYTHING)
    web, rest = found.policies
    assert msgspec.convert(dict(found.settings), Settings) == Settings(
        account="123456789012", regions=("us-east-1", "eu-west-1"), repositories=("team/*",), consumer_regions=("all",),
        skip_sources=("eks", "file:hosts.txt"), with_sources=("cloudtrail",),
        source_options=("cloudtrail.days=30", "cloudtrail.lake=arn:aws:cloudtrail:x", "file.max-age=7d"),
        uses_files=("beside/hosts.txt", "beside/-", "s3://bucket/uses.json"), uses_commands=("ssh host docker ps",),
        accept_gaps=("ecs/eu-west-1",), accept_drops=("file:hosts.txt",),
        aliases={"registry.example.com": Registry("123456789012", "eu-west-1")}, policies=(web, rest),
        max_fraction=0.5, fraction_from=3, max_images=100, max_bytes=1000, state="s3://bucket/state", hold_files=("beside/holds.yaml",),
    )  # fmt: skip
    assert web == Policy(
        name="web", repositories=("web/*", "storefront"), newest=20, order=Order.SEMVER, pushed_within=12 * HOUR,
        newest_per=(NewestPer("^(?P<branch>main|release)-", 3),), pulled_within=None, used_within=None,
        protected_tags=("latest", "release-*"), protected_tag_regexes=("^v[0-9]+$",), untagged_for=7 * DAY, grace=2 * HOUR,
        otherwise=Otherwise.TRIAL, trial_for=10 * DAY, untag=("pr-*",), opt_in_tag="team=web",
    )  # fmt: skip
    assert rest == Policy(name="policies[1]", otherwise=Otherwise.ARCHIVE, delete_after_archived=90 * DAY)


def test_what_is_not_said_is_what_holds_without_a_file() -> None:
    assert read("policies: [{name: default}]").policies == (Policy(),)
    assert read("limits: {max_images: 3}").policies is None
    assert read("limits: {max_images: 3}").settings == {"max_images": 3}


def test_the_keys_of_a_policy_are_the_fields_of_a_policy() -> None:
    assert set(POLICY.members) == set(Policy.__struct_fields__)


WRONG = [
    ("policies: [{newest: -3}]", '1:21: policies[0].newest: found "-3"; accepted is a whole number from 0 on'),
    ("policies: [{newest: 012}]", "readers of YAML differ"),
    ("policies: [{newest: 1_000}]", "readers of YAML differ"),
    ("policies: [{newest: 1e3}]", "readers of YAML differ"),
    ("policies: [{newest: 0o14}]", "readers of YAML differ"),
    ("policies: [{newest: 3.0}]", 'found "3.0"; accepted is a whole number'),
    ("policies: [{newest: true}]", 'found "true"; accepted is a whole number'),
    ("policies: [{newest: yes}]", "readers of YAML differ"),
    ('policies: [{newest: "3"}]', 'found "3"; accepted is a whole number'),
    (f"policies: [{{newest: {'9' * 400}}}]", "a whole number from 0 to"),
    ("policies: [{newest: }]", "found nothing"),
    ("policies: [{pulled_within: 999999d}]", "longer than the longest duration accepted, 36500d"),
    ("policies: [{pulled_within: 30}]", "accepted are a whole number and a unit, such as 30d, 12h or 2w, or off"),
    ("policies: [{pulled_within: 1:30}]", "readers of YAML differ"),
    ("policies: [{pulled_within: no}]", "readers of YAML differ"),
    ("policies: [{grace: off}]", 'found "off"'),
    ("policies: [{grace: -1d}]", 'found "-1d"'),
    ("policies: [{grace: 1.5d}]", 'found "1.5d"'),
    ("policies: [{protected_tags: latest}]", "accepted is a list, such as [latest]"),
    ("policies: [{protected_tags: [1.10]}]", 'write "1.10"'),
    ("policies: [{protected_tags: [no]}]", 'write "no"'),
    ("policies: [{protected_tags: ['']}]", 'found ""'),
    ("policies: [{protected_tag_regexes: ['(']}]", "not a regular expression"),
    ("policies: [{newest_per: [{pattern: '^main', newest: 3}]}]", "no named group"),
    ("policies: [{newest_per: [{pattern: '^(?P<a>x)'}]}]", "newest is missing"),
    ("policies: [{order: semantic}]", "accepted are pushed and semver"),
    ("policies: [{otherwise: tral}]", "did you mean trial?"),
    ("policies: [{otherwise: trial, delete_after_archived: 1d}]", "no place beside a trial"),
    ("policies: [{pulled-within: 3d}]", "did you mean pulled_within?"),
    ("policies: [{name: a}, {name: a}]", 'another policy is named "a"'),
    ("policies: []", "a list of at least 1"),
    ("policies: {name: a}", "found keys with values; accepted is a list"),
    ("policy: []", "did you mean policies?"),
    ("registris: []", "did you mean registries?"),
    ("registry: {account: 123456789012}", 'write "123456789012"'),
    ("registry: {account: '12345'}", "12 digits"),
    ("registry: {regions: [us-esat]}", "the name of a region"),
    ("registry: {regions: []}", "a list of at least 1"),
    ("sources: {skip: [ecss]}", "did you mean ecs?"),
    ("sources: {options: {cloudtrail: {days: yes}}}", "readers of YAML differ"),
    ("sources: {accept_gaps: ['what ever']}", "SOURCE[@ACCOUNT][/REGION]"),
    ("aliases: {registry: 123456789012/eu-west-1}", "is not a host name"),
    ("aliases: {ghcr.io: 123456789012/eu-west-1}", "says by itself which registry it is"),
    ("aliases: {123456789012.dkr.ecr.eu-west-1.amazonaws.com: 123456789012/us-east-1}", "says by itself"),
    ("aliases: {registry.example.com: eu-west-1}", "ACCOUNT/REGION"),
    ("limits: {max_fraction: 2}", "a number from 0 to 1"),
    ("limits: {max_fraction: true}", "a number from 0 to 1"),
    ("state: s3://B", "accepted is a folder, or s3://BUCKET/PREFIX"),
    ("limits: {max_images: 1, max_images: 2}", "the key stands twice: first on line 1"),
    ("limits: &x {max_images: 1}\nregistry: *x", "the alias *x is not accepted"),
    ("limits: {<<: {max_images: 1}}", "there is no such key"),
    ("limits: !!python/object:os.system {}", "the type tag:yaml.org,2002:python/object:os.system is not accepted"),
    ("limits:\n\tmax_images: 1", "2:1: a tab"),
    ("limits: {}\n---\nlimits: {}", "a second document"),
    ("limits: [", "not YAML"),
    ("? [a]\n: b", "a key is a word"),
    ("[" * 5000, "nested deeper"),
    ("", "the file is empty"),
    ("# nothing but this\n", "the file is empty"),
    ("- a", "found a list; accepted are the keys registry"),
    ("just words", 'found "just words"'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_cannot_be_meant_is_refused_in_words(text: str, said: str) -> None:
    told = problems(text)
    assert any(said in line for line in told), told
    assert all(line.startswith(f"{NAME}:") for line in told)


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"state: \x00", b"a: b" * 300_000])
def test_what_is_no_text_is_refused_too(raw: bytes) -> None:
    with pytest.raises(BadFile):
        read_configuration(raw, NAME, SOURCES, str)


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    told = problems("limits: {max_images: a}\npolicies:\n  - newest: b\n    gracee: 1d\n  - grace: c\n")
    assert [line.split(":")[1] for line in told] == ["1", "3", "4", "5"]


def test_aliases_do_not_multiply() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    assert any("the alias" in line for line in problems(bomb))


@given(
    st.text()
    | st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ).map(str)
)
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(BadFile):
        read(text)


@pytest.mark.parametrize(
    ("first", "second", "is_unreachable"),
    [
        ("*", "team/app", True), ("*", "team/*", True), ("team/*", "team/app-*", True), ("team/*", "team/app", True),
        ("team/app", "team/app", True), ("team/?", "team/*", False), ("team/*", "*", False), ("team/a*", "team/[ab]*", False),
        ("*/app", "team/app", True), ("*/app", "team/ap*", False),
    ],
)  # fmt: skip
def test_a_policy_behind_one_that_matches_all_it_matches_is_warned_of(
    first: str, second: str, is_unreachable: bool
) -> None:
    found = read(
        f"policies:\n  - {{name: a, repositories: ['{first}']}}\n  - {{name: b, repositories: ['{second}']}}\n"
    )
    assert bool(found.warnings) is is_unreachable
    if is_unreachable:
        assert f'{NAME}:3:5: policies[1]: the policy "b" governs nothing: "a" stands before it' in found.warnings[0]


def test_a_policy_behind_one_that_asks_for_a_tag_may_be_reached() -> None:
    assert read("policies: [{name: a, opt_in_tag: sweep}, {name: b}]").warnings == ()


DIGEST = "sha256:" + "a" * 64


def test_holds_are_read_from_yaml_and_json() -> None:
    text = f"""
- {{image: "team/app:1.2", who: me, why: because, until: 2027-01-31}}
- {{image: "team/app@{DIGEST}", who: me, why: because}}
- {{image: "{DIGEST}", who: me, why: because, until: 2027-01-31T12:00:00Z}}
- {{image: team/app, who: me, why: because}}
"""
    found = read_holds(text.encode(), "holds.yaml")
    assert [hold.image for hold in found] == ["team/app:1.2", f"team/app@{DIGEST}", DIGEST, "team/app"]
    assert [hold.until for hold in found] == [1801440000.0, None, 1801396800.0, None]
    as_json = msgspec.json.encode([{"image": "team/app:1.2", "who": "me", "why": "because", "until": "2027-01-31"}])
    assert read_holds(as_json, "holds.json") == found[:1]
    assert read_holds(b"[]", "holds.yaml") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {image: 'a:1', who: x}", "h:1:3: [0]: why is missing"),
        ("- {image: 'sha256:abc', who: x, why: y}", "64 digits"),
        ("- {image: 'a@sha256:abc', who: x, why: y}", "64 digits"),
        ("- {image: 'ghcr.io/a/b:1', who: x, why: y}", "not an image of a private ECR registry"),
        ("- {image: 'a b', who: x, why: y}", "parsing image reference"),
        ("- {image: 'a:1', who: x, why: y, until: 2027-02-31}", "accepted is a day such as"),
        ("- {image: 'a:1', who: x, why: y, until: tomorrow}", "accepted is a day such as"),
        ("- {image: 'a:1', who: x, why: y, until: 2027-01-31T12:00:00}", "2027-01-31T12:00:00Z"),
        ("holds: []", "accepted is a list"),
        ("", "the file is empty"),
    ],
)
def test_a_hold_that_cannot_be_read_is_an_error(text: str, said: str) -> None:
    with pytest.raises(BadFile, match="so nothing was done") as caught:
        read_holds(text.encode(), "h")
    assert said in str(caught.value)
