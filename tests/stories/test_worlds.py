"""Random companies over the wire: what is in use survives plan and apply, whatever changes in between, and plan changes nothing."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecrsweep.app import PlanRun, Request, begin_apply, take_census
from ecrsweep.apply import Record
from ecrsweep.aws.cache import ManifestCache
from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.decisions import Action
from ecrsweep.core.document import PlannedImage, SavedPlan, Scope, decision_documents
from ecrsweep.core.outcomes import ApplyResult, Outcome
from ecrsweep.core.policy import Policy
from ecrsweep.emulator import Clock, Emulator, Fault
from ecrsweep.emulator.registry import Repository
from ecrsweep.sources.ecs import EcsSource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REGIONS = ("eu-west-1", "us-east-1")
EXAMPLES = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 25
READING = ("Describe", "List", "Get", "BatchGet")
STRICT = Policy(newest=1, pulled_within=None)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(clock=Clock(NOW), regions=REGIONS) as running:
        yield running


@pytest.fixture(scope="module")
def session(emulator: Emulator) -> Iterator[AwsSession]:
    with changed_environment(emulator.environ()):
        yield AwsSession(region="us-east-1", environ=os.environ)


@contextmanager
def changed_environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    yield
    os.environ.clear()
    os.environ.update(before)


class Company:
    """A world that a seed makes: repositories in two regions, services and tasks that use some of it."""

    def __init__(self, emulator: Emulator, chance: random.Random) -> None:
        emulator.reset()
        self.aws, self.chance = emulator, chance
        self.repositories = [
            emulator.ecr.repository(name, region=region) for region in REGIONS for name in ("app", "team/app")
        ]
        for repository in self.repositories:
            self.fill(repository)
        self.used: set[str] = set()
        for number in range(chance.randint(0, 4)):
            self.use(number)

    def fill(self, repository: Repository) -> None:
        for number in range(self.chance.randint(0, 8)):
            held = [image.digest for image in repository.images()]
            tags = (f"v{number}",) if self.chance.random() < 0.7 else ()
            pushed = NOW - timedelta(days=self.chance.choice([0.5, 10, 20, 40, 100]))
            match self.chance.choice(["image", "image", "index", "signature"]):
                case "index" if held:
                    children = self.chance.sample(held, min(len(held), self.chance.randint(1, 2)))
                    repository.push_index(children, tags, pushed_at=pushed, note=str(number))
                case "signature" if held:
                    style = self.chance.choice(["oci", "cosign-tag"])
                    repository.push_signature(self.chance.choice(held), style, pushed_at=pushed)
                case _:
                    repository.push_image(tags, pushed_at=pushed)

    def use(self, number: int) -> None:
        """Some workload of some region begins to use some image, by some form of its name."""
        repository = self.chance.choice(self.repositories)
        if not repository.images():
            return
        image = self.chance.choice(repository.images())
        ending = f":{image.tags[0]}" if image.tags and self.chance.random() < 0.5 else f"@{image.digest}"
        host = repository.uri.partition("/")[0]
        if self.chance.random() < 0.3:
            host = f"{repository.account}.dkr-ecr.{repository.region}.on.aws"
        region = self.chance.choice(REGIONS)
        definition = self.aws.ecs.register(
            f"family-{number}", {"app": f"{host}/{repository.name}{ending}"}, region=region
        )
        match self.chance.choice(["definition", "task", "service", "service at zero"]):
            case "task":
                self.aws.ecs.run(definition, region=region)
            case "service" | "service at zero" as kind:
                count = 0 if kind == "service at zero" else 1
                self.aws.ecs.service(f"service-{number}", definition, count=count, region=region)
        self.used.add(image.digest)

    def change(self) -> None:
        """What happens between a plan and its end: deploys, moved tags, pulls, deletions, new indexes."""
        repository = self.chance.choice(self.repositories)
        images = repository.images()
        match self.chance.choice(["use", "tag", "pull", "remove", "index"]):
            case "use":
                self.use(100 + self.chance.randint(0, 99))
            case "tag" if images:
                repository.tag(self.chance.choice(["v0", "v1", "new"]), self.chance.choice(images).digest)
            case "pull" if images:
                repository.pull(self.chance.choice(images).digest)
            case "remove":
                free = [
                    i.digest for i in images if not list(repository.containing(i.digest)) and i.digest not in self.used
                ]
                if free:
                    repository.remove(self.chance.choice(free))
            case "index" if images:
                repository.push_index([self.chance.choice(images).digest], ("fresh",), note=str(self.chance.random()))

    def held(self) -> set[str]:
        return {image.digest for repository in self.repositories for image in repository.images()}


def planned(session: AwsSession) -> tuple[AwsWorld, Request, PlanRun, list[PlannedImage]]:
    world = AwsWorld(session, ManifestCache(None))
    request = Request(Scope(account=session.account, regions=REGIONS), (STRICT,), (EcsSource(),), "test")
    run = fresh(world, request)
    going = [row for plan in run.repositories() for row in decision_documents(plan) if row.action is Action.DELETE]
    return world, request, run, going


def fresh(world: AwsWorld, request: Request) -> PlanRun:
    return PlanRun(world, request, take_census(world, request, lambda _: None), NOW.timestamp())


def applied(world: AwsWorld, request: Request, run: PlanRun, going: list[PlannedImage]) -> ApplyResult:
    saved = SavedPlan(run.header, tuple(going), run.footer().summary, None)
    again = fresh(world, request)
    record = Record(NOW.timestamp)
    carrying = begin_apply(world, saved, again, say=lambda _: None, record=record)
    carrying.work(lambda: False)
    return carrying.result()


MANY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SEEDS = st.integers(0, 2**32).map(random.Random)


@MANY
@given(SEEDS)
def test_plan_keeps_what_is_used_decides_everything_once_and_changes_nothing(
    emulator: Emulator, session: AwsSession, chance: random.Random
) -> None:
    company = Company(emulator, chance)
    _, _, run, going = planned(session)
    assert not {row.digest for row in going} & company.used
    assert run.footer().summary.images == sum(len(repository.images()) for repository in company.repositories)
    assert all(call.operation.startswith(READING) for call in emulator.calls.log)


@MANY
@given(SEEDS)
def test_apply_deletes_what_was_planned_and_still_may_go_and_says_so_truly(
    emulator: Emulator, session: AwsSession, chance: random.Random
) -> None:
    company = Company(emulator, chance)
    world, request, run, going = planned(session)
    for _ in range(chance.randint(0, 3)):
        company.change()
    if chance.random() < 0.5:
        emulator.faults.add(
            Fault(
                "before",
                "ecr",
                "DescribeImages",
                times=1,
                when=lambda asked: "imageIds" in asked,
                run=lambda _: company.change(),
            )
        )
    used = set(company.used)
    result = applied(world, request, run, going)
    left = company.held()
    said = {entry.image.digest for entry in result.only(Outcome.DELETED)}
    assert used <= left, "what was in use when apply began is there"
    assert said <= {row.digest for row in going}
    assert not said & left
    assert len(result.results) == len(going)


@MANY
@given(SEEDS)
def test_a_gap_deletes_nothing(emulator: Emulator, session: AwsSession, chance: random.Random) -> None:
    company = Company(emulator, chance)
    world, request, run, going = planned(session)
    operation = chance.choice(["ListClusters", "ListTaskDefinitions"])
    emulator.faults.add(Fault.denied("ecs", operation, region=chance.choice(REGIONS)))
    before = company.held()
    result = applied(world, request, run, going)
    assert company.held() == before
    assert result.held == bool(going)


@MANY
@given(SEEDS)
def test_a_refused_parent_keeps_its_children_and_a_second_run_finishes(
    emulator: Emulator, session: AwsSession, chance: random.Random
) -> None:
    company = Company(emulator, chance)
    world, request, run, going = planned(session)
    refused = {row.digest: "KmsError" for row in going if chance.random() < 0.3}
    fault = emulator.faults.add(Fault("failures", "ecr", "BatchDeleteImage", failures=refused))
    result = applied(world, request, run, going)
    assert {entry.image.digest for entry in result.only(Outcome.REFUSED)} <= set(refused)
    assert not any(entry.code == "ImageReferencedByManifestList" for entry in result.results)
    left = company.held()
    for repository in company.repositories:
        for image in repository.images():
            if image.digest in refused:
                assert set(image.children) <= left, "a refused parent keeps its children"
    fault.failures.clear()
    world, request, run, going = planned(session)
    assert not applied(world, request, run, going).left_undone
    assert company.used <= company.held()


def test_a_long_apply_looks_again_so_that_a_new_index_keeps_its_children(
    emulator: Emulator, session: AwsSession
) -> None:
    """Between two batches of one repository somebody pushes an index over an image that is still to go."""
    emulator.reset()
    repo = emulator.ecr.repository("team/app")
    images = [repo.push_image(pushed_at=NOW - timedelta(days=90)) for _ in range(130)]
    world, request, run, going = planned(session)
    moment = NOW.timestamp()

    def clock() -> float:
        nonlocal moment
        moment += 20
        return moment

    def push(_: object) -> None:
        left = next(digest for digest in images if digest in repo.by_digest)
        repo.push_index([left], tags=("new",), pushed_at=NOW)

    emulator.faults.add(Fault("after", "ecr", "BatchDeleteImage", times=1, run=push))
    saved = SavedPlan(run.header, tuple(going), run.footer().summary, None)
    carrying = begin_apply(world, saved, fresh(world, request), say=lambda _: None, record=Record(clock))
    carrying.work(lambda: False)
    result = carrying.result()
    assert result.count(Outcome.DELETED) == 129
    (spared,) = result.only(Outcome.SPARED)
    assert "child_of_kept" in (spared.message or "")
    assert spared.image.digest in repo.by_digest
