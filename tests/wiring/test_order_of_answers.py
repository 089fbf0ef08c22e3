"""Same inputs, same plan: whoever answers first, and in whatever order a user lists the accounts and their regions.

The accounts, sources and registries here answer from tables; who is asked next is drawn. All that asks and decides is real.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecrsweep.app import PlanRun, Request, take_census
from ecrsweep.aws.session import AwsSession
from ecrsweep.config import Listed, Settings
from ecrsweep.core.document import PlanLines, Scope
from ecrsweep.core.errors import AwsFailure, ClosedByOrganization, Denied, Missing
from ecrsweep.core.images import Image, Inventory
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.policy import DAY, Limits, Policy
from ecrsweep.core.sharing import Replica
from ecrsweep.core.uses import Coverage, CoverageStatus, Note, Use
from ecrsweep.ports import About, Account, Place, Source, World
from ecrsweep.wiring.accounts import members_of

T = TypeVar("T")
R = TypeVar("R")

NOW: Final = 1_800_000_000.0
HOME: Final = "111111111111"
ACCOUNTS: Final = (HOME, "222222222222", "333333333333", "444444444444")
REGIONS: Final = ("eu-west-1", "us-east-1", "us-west-2")
NAMES: Final = ("app", "team/app", "web")
PLAIN: Final = "application/vnd.oci.image.manifest.v1+json"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def drawn(seed: object) -> random.Random:
    return random.Random(str(seed))  # noqa: S311 - worlds, no secrets


class Facts:
    """What is so in a world, and is the same however it is asked: each answer is made of its place alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def chance(self, *place: object) -> random.Random:
        return drawn(f"{self._seed} {place}")

    def trouble(self, *place: object) -> None:
        """Now and then nobody answers, or somebody refuses."""
        found = self.chance("trouble", *place).random()
        if found < 0.06:
            raise AwsFailure(f"no answer of {place}")
        if found < 0.1:
            raise Denied(f"not allowed at {place}", action="x:Read")


class TableSource:
    """A source (`ports.Source`) in a few words."""

    actions = ("x:Read",)

    def __init__(self, name: str, facts: Facts, *, once: bool = False) -> None:
        self.name, self._facts = name, facts
        self.about = About(name, "", "", "", service=name, once=once)

    def uses(self, place: Place) -> Iterator[Use | Note | Coverage]:
        chance = self._facts.chance(self.name, place.account, place.region)
        if chance.random() < 0.1:
            raise ClosedByOrganization("a service control policy forbids it")
        for number in range(chance.randrange(4)):
            account, region = chance.choice(ACCOUNTS), chance.choice(REGIONS)
            name, tag = chance.choice((*NAMES, "gone")), f"v{chance.randrange(6)}"
            image = chance.choice(
                (f"{account}.dkr.ecr.{region}.amazonaws.com/{name}:{tag}", f"mirror.local/{name}:{tag}")
            )
            yield Use(image, f"task {number}", self.name, place.account, place.region)
        if chance.random() < 0.2:
            yield Note("something cannot be known", f"task of {place.account}")
        if chance.random() < 0.2:
            yield Coverage(place.account, place.region, f"{self.name}-other", CoverageStatus.FAILED, error="handed on")
        if chance.random() < 0.05:
            raise ValueError("an answer that makes no sense")
        self._facts.trouble(self.name, place.account, place.region)


class TablePlace:
    """Where a source is asked: it needs no more than this of it."""

    def __init__(self, account: str, region: str) -> None:
        self.account, self.region = account, region


class TableAccount:
    """An account (`ports.Account`)."""

    home_region = "us-east-1"

    def __init__(self, account: str, facts: Facts) -> None:
        self._account, self._facts = account, facts

    def require(self) -> None:
        self._facts.trouble("require", self._account)

    def enabled_regions(self) -> Sequence[str]:
        self._facts.trouble("regions", self._account)
        return [name for name in REGIONS if self._facts.chance("enabled", self._account, name).random() < 0.8]

    def place(self, region: str) -> Place:
        return cast("Place", TablePlace(self._account, region))

    def offers(self, service: str, region: str) -> bool:
        return self._facts.chance("offers", service, region).random() < 0.9

    def is_closed(self, region: str) -> bool:
        return self._facts.chance("closed", self._account, region).random() < 0.5


class TableStore:
    """A registry, as far as a plan reads it (`ports.ImageStore`)."""

    def __init__(self, registry: Registry, facts: Facts) -> None:
        self.registry, self._facts = registry, facts

    def _asked(self, *what: object) -> random.Random:
        self._facts.trouble(*what, self.registry)
        return self._facts.chance(*what, self.registry)

    def repository_names(self) -> Sequence[str]:
        chance = self._asked("names")
        return [name for name in NAMES if chance.random() < 0.7]

    def inventory(self, name: str, *, with_layers: bool = False) -> Inventory:
        chance = self._asked("inventory", name)
        if chance.random() < 0.05:
            raise Missing("it is gone by now")
        images = [
            Image(
                digest(n),
                tags=(f"v{n}",),
                media_type=PLAIN,
                pushed_at=NOW - chance.randrange(2, 90) * DAY,
                size_bytes=n,
            )
            for n in range(chance.randrange(6))
        ]
        return Inventory(Repository(self.registry, name), tuple(images), {})

    def owners_tags(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        return {} if self._asked("owners").random() < 0.8 else {"web": {"ecrsweep": "never"}}

    def registry_policy(self) -> str | None:
        return _allowing(self._asked("registry policy"))

    def repository_policy(self, name: str) -> str | None:
        return _allowing(self._asked("policy", name))

    def replication(self) -> Sequence[Replica]:
        copies = self._asked("replication").random() < 0.3
        return [Replica(Registry("555555555555", "eu-west-1"), ("*",))] if copies else []


def _allowing(chance: random.Random) -> str | None:
    """A policy that lets some accounts pull, in any order, or none."""
    who = chance.sample(["666666666666", "777777777777", ACCOUNTS[1]], chance.randrange(3))
    statement = {"Effect": "Allow", "Principal": {"AWS": who}, "Action": "ecr:BatchGetImage", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}) if who else None


class TableWorld:
    """All of it (`ports.World`); who of those that wait is asked next is drawn, and how many wait at once."""

    def __init__(self, facts: Facts, chance: random.Random) -> None:
        self._facts, self._chance = facts, chance

    def reach(self, account: str) -> Account:
        return TableAccount(account, self._facts)

    def image_store(self, registry: Registry) -> Any:
        return TableStore(registry, self._facts)

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        waiting = iter(items)
        while some := list(islice(waiting, self._chance.randrange(1, 9))):
            yield from self._answered(work, some)

    def gather(self, work: Callable[[T], R], items: Iterable[T]) -> Sequence[R]:
        return self._answered(work, list(items))

    def _answered(self, work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
        order = self._chance.sample(range(len(items)), len(items))
        found = {number: work(items[number]) for number in order}
        return [found[number] for number in range(len(items))]


@pytest.fixture(scope="module")
def session() -> AwsSession:
    """Whose credentials they are; nothing is asked with them."""
    return AwsSession(region="us-east-1", environ={}, account=HOME)


def listed(chance: random.Random, accounts: Sequence[str]) -> tuple[Listed, ...]:
    """A list of accounts as a user may write it: in any order."""
    return tuple(
        Listed(account, role="ecrsweep", regions=tuple(chance.sample(REGIONS, len(REGIONS))))
        for account in chance.sample(accounts, len(accounts))
    )


def planned(session: AwsSession, facts: Facts, chance: random.Random, *, strict: bool) -> bytes:
    """The plan, byte for byte, of a world that is asked in the order that `chance` draws."""
    lists = Settings(registries=listed(chance, ACCOUNTS[:3]), consumers=listed(chance, ACCOUNTS[1:]))
    members = members_of(lists, session)
    scope = Scope(
        HOME, tuple(sorted({region for member in members for region in member.regions})), members=members,
        strict_consumers=strict, accept_gaps=("lambda", "ecs@222222222222", "owners"),
        limits=Limits(max_fraction=0.9, fraction_from=3, max_images_per_registry=4),
    )  # fmt: skip
    sources = [TableSource("ecs", facts), TableSource("lambda", facts), TableSource("file", facts, once=True)]
    policy = Policy(newest=1, pulled_within=None, used_within=None)
    request = Request(scope, (policy,), tuple(cast("Source", source) for source in sources), "0")
    world = cast("World", TableWorld(facts, chance))
    run = PlanRun(world, request, take_census(world, request, lambda text: None), NOW)
    lines = PlanLines()
    written = [lines.begin(run.header)]
    for plan in run.repositories():
        written += lines.add(plan)
    return b"".join([*written, lines.end(run.footer())])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32), st.booleans())
def test_the_plan_does_not_depend_on_the_order_of_lists_and_answers(
    session: AwsSession, seed: int, order: int, strict: bool
) -> None:
    facts = Facts(seed)
    first = planned(session, facts, drawn(0), strict=strict)
    assert planned(session, facts, drawn(order), strict=strict) == first


def test_these_worlds_have_everything_in_them_that_could_come_in_another_order(session: AwsSession) -> None:
    """Otherwise the property would say little."""
    seen: set[str] = set()
    for seed in range(40):
        for strict in (False, True):
            *rows, footer = map(
                msgspec.json.decode, planned(session, Facts(seed), drawn(1), strict=strict).splitlines()
            )
            seen |= {f"row {row['action']}" for row in rows[1:]}
            seen |= {f"{entry['source']} {entry['status']}" for entry in footer["coverage"]}
            seen |= {name for name in ("unresolved", "held_registries") if footer.get(name)}
    assert seen >= {
        "row keep", "row delete", "row hold", "unresolved", "held_registries", "ecs failed", "ecs complete", "ecs skipped", "ecr failed",
        "owners failed", "regions failed", "file complete", "lambda-other failed", "consumers complete", "consumers failed",
    }  # fmt: skip
