"""A world that moves, by hypothesis: pushes, deploys, pulls and deletions by others between plans, applies, faults, crashes, resumes.
Limits are passed and overridden, and other runs come while one is at work.

After every step the promises of the design hold: what was in use when an apply began is untouched, only what a plan names
is changed, nothing over a limit, by one run at a time, everything is decided once, indexes keep their children, and what report and journal say is what the registry
shows. `make long` takes thousands of steps.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ecrsweep.app import PlanRun, Request, begin_apply, held_whole, take_census
from ecrsweep.apply import Before, Record, done_before
from ecrsweep.aws.cache import ManifestCache
from ecrsweep.aws.pace import Pace
from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.decisions import GOING, Action, Code
from ecrsweep.core.document import PlannedImage, SavedPlan, Scope, decision_documents
from ecrsweep.core.errors import Busy, PlanExpired
from ecrsweep.core.journal import History, read_journal
from ecrsweep.core.names import Registry as Place
from ecrsweep.core.names import Repository as Name
from ecrsweep.core.outcomes import ApplyResult, Outcome
from ecrsweep.core.policy import DAY, Limits, Otherwise, Policy
from ecrsweep.emulator import Call, Clock, Emulator, Fault
from ecrsweep.emulator.faults import Faults
from ecrsweep.emulator.registry import Repository, StoredImage
from ecrsweep.memory import EdgeBook, FileJournal, Folder, Leases
from ecrsweep.sources.ecs import EcsSource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOME = "us-east-1"
REGIONS = (HOME, "eu-west-1")
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
READING = ("Describe", "List", "Get", "BatchGet")
CHANGING = ("BatchDeleteImage", "UpdateImageStorageClass")
STAYED = {Outcome.SPARED, Outcome.HELD, Outcome.REFUSED, Outcome.KEPT_WITH_PARENT, Outcome.NOT_TRIED}
NUMBERS = st.integers(0, 30)
AGES = st.sampled_from([0, 16, 40])
LIMITS = st.builds(
    Limits,
    max_fraction=st.sampled_from([None, None, 0.5, 0.8]),
    fraction_from=st.just(4),
    max_images=st.sampled_from([None, 3, 8]),
)
TAGS = st.sampled_from(["v1", "v2", "v3", "prod", "old-1", "old-2"])

T = TypeVar("T")
Key = tuple[str, str]
"""The name of a repository, and a digest or tag in it."""


class State(NamedTuple):
    """What can be seen of an image, but for its pull time."""

    archived: bool
    tags: frozenset[str]


class Workload(NamedTuple):
    """Something that runs, or may be started: the image that it began with, and the name by which it asks for it."""

    definition: str
    arn: str
    service: bool
    region: str
    repository: Repository
    name: str
    digest: str


class Saved(NamedTuple):
    """A plan, and under which request it was made."""

    request: Request
    plan: SavedPlan

    def expired(self, now: float) -> bool:
        try:
            self.plan.header.require_current(now)
        except PlanExpired:
            return True
        return False

    def overriding(self) -> "Saved":
        return Saved(overriding(self.request), self.plan)

    @property
    def is_empty_by_limit(self) -> bool:
        return bool(not self.plan.going and self.plan.summary.hold and not self.request.scope.override_limits)

    @property
    def is_too_large(self) -> bool:
        """Whether more would go than the whole run may let go."""
        most = self.request.scope.limits.max_images
        going = sum(image.action in GOING for image in self.plan.going)
        return not self.request.scope.override_limits and most is not None and going > most


def overriding(request: Request) -> Request:
    """The same where the user says that limits do not count."""
    return msgspec.structs.replace(request, scope=msgspec.structs.replace(request.scope, override_limits=True))


class Killed(BaseException):
    """The process is gone, as far as anything in it can tell."""


class Killer:
    """Ends the process with its n-th changing call, before AWS hears of it or after AWS has answered."""

    def __init__(self, session: AwsSession) -> None:
        self.moment, self.left = "", 0
        events = session.client("ecr", HOME).meta.events
        for operation in CHANGING:
            events.register(f"before-send.ecr.{operation}", lambda **_: self.at("before"))
            events.register(f"after-call.ecr.{operation}", lambda **_: self.at("after"))

    def at(self, moment: str) -> None:
        if moment != self.moment:
            return
        self.left -= 1
        if self.left < 0:
            self.moment = ""
            raise Killed


def over_the_fraction(limits: Limits, rows: Sequence[PlannedImage]) -> set[str]:
    """The repositories of which more goes than the limit allows, counted by hand."""
    if limits.max_fraction is None:
        return set()
    here = Counter(row.repository for row in rows)
    going = Counter(row.repository for row in rows if row.action in GOING)
    return {
        name
        for name, count in here.items()
        if count > limits.fraction_from and going[name] / count > limits.max_fraction
    }


def hurried() -> Pace:
    """Thousands of plans ask ECS more than its bucket lets through in ten minutes: here waiting takes no time."""
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    return Pace(lambda: passed[0], sleep)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(clock=Clock(NOW), regions=REGIONS) as running:
        yield running


@pytest.fixture(scope="module")
def session(emulator: Emulator) -> Iterator[AwsSession]:
    before = dict(os.environ)
    os.environ.update(emulator.environ() | {"AWS_MAX_ATTEMPTS": "1"})  # whatever fails, fails at once
    yield AwsSession(region=HOME, environ=os.environ, pace=hurried())
    os.environ.clear()
    os.environ.update(before)


def pick(choices: Sequence[T], number: int) -> T:
    return choices[number % len(choices)]


class Registry(RuleBasedStateMachine):
    """Two repositories, workloads in two regions, one plan that is kept, one journal of a run that did not end."""

    def __init__(self, emulator: Emulator, session: AwsSession, killer: Killer) -> None:
        super().__init__()
        emulator.reset()
        emulator.clock.set(NOW)
        self.aws, self.killer = emulator, killer
        self.folder = tempfile.TemporaryDirectory()
        self.world = AwsWorld(session, ManifestCache(None))
        self.edges = EdgeBook(Folder(Path(self.folder.name) / "state"), session.account)
        self.repositories = [emulator.ecr.repository(name, region=HOME) for name in ("app", "team/app")]
        self.workloads: list[Workload] = []
        scope = Scope(account=emulator.account, regions=(HOME,))
        policy = Policy(newest=0, pulled_within=None, used_within=None, untagged_for=0)
        self.request = Request(scope, (policy,), (EcsSource(),), "test")
        self.saved: Saved | None = None
        self.dead: tuple[Saved, Path] | None = None
        self.wrong: list[str] = []
        self.ticks = 0
        self.run, self.journal = "", Path()
        self.killed_at: float | None = None
        self.late: Leases | None = None
        self.calls_when_overtaken: int | None = None
        self.touched: set[Key] = set()
        self.count = 0
        self.aws.ecs.cluster()

    def teardown(self) -> None:
        self.folder.cleanup()

    def number(self) -> int:
        self.count += 1
        return self.count

    # What others do.

    @initialize(limits=LIMITS)
    def begin(self, limits: Limits) -> None:
        scope = msgspec.structs.replace(self.request.scope, limits=limits)
        self.request = msgspec.structs.replace(self.request, scope=scope)
        for where in (0, 1):
            for tag in ("v1", "old-1", None, None):
                self.push_image(where, tag, 40)
            self.push_index(where, "v2", [2, 3], 40)
            self.push_index(where, "old-2", [4], 40)
            self.push_signature(where, 5, "oci", 40)

    @rule(where=NUMBERS, tag=st.none() | TAGS, days=AGES, more=st.integers(0, 3))
    def push_image(self, where: int, tag: str | None, days: int, more: int = 0) -> None:
        self.push(where, tag, days, Repository.push_image)
        for _ in range(more):
            self.push(where, None, days, Repository.push_image)

    @rule(where=NUMBERS, tag=st.none() | TAGS, children=st.lists(NUMBERS, min_size=1, max_size=2), days=AGES)
    def push_index(self, where: int, tag: str | None, children: list[int], days: int) -> None:
        held = self.active(pick(self.repositories, where))
        if held:
            chosen = list(dict.fromkeys(pick(held, child).digest for child in children))
            self.push(where, tag, days, partial(Repository.push_index, children=chosen, note=str(self.number())))

    @rule(where=NUMBERS, subject=NUMBERS, style=st.sampled_from(["oci", "cosign-tag"]), days=AGES)
    def push_signature(self, where: int, subject: int, style: str, days: int) -> None:
        held = self.active(pick(self.repositories, where))
        if held:
            signed = pick(held, subject).digest
            seed = str(self.number())
            if style == "oci":
                tag, kind = None, "application/vnd.dev.cosign.artifact.sig.v1+json"
                make = partial(Repository.push_image, subject=signed, artifact_type=kind, seed=seed)
            else:
                tag, make = signed.replace(":", "-") + ".sig", partial(Repository.push_image, seed=seed)
            self.push(where, tag, days, make)

    def push(self, where: int, tag: str | None, days: int, make: Callable[..., str]) -> None:
        """Somebody pushes; what they pushed some days ago is here since then, for all that a plan can tell."""
        repository = pick(self.repositories, where)
        self.touch(repository, repository.by_tag.get(tag or "", ""))
        pushed = self.aws.clock.now - timedelta(days=days)
        self.touch(repository, make(repository, tags=() if tag is None else (tag,), pushed_at=pushed))

    @rule(where=NUMBERS, which=NUMBERS, tag=TAGS)
    def move_tag(self, where: int, which: int, tag: str) -> None:
        repository = pick(self.repositories, where)
        held = self.active(repository)
        if held:
            self.touch(repository, repository.by_tag.get(tag, ""))
            self.touch(repository, pick(held, which).digest)
            repository.tag(tag, pick(held, which).digest)

    @rule(where=NUMBERS, which=NUMBERS, by_tag=st.booleans(), service=st.booleans(), region=st.sampled_from(REGIONS))
    def deploy(self, where: int, which: int, by_tag: bool, service: bool, region: str) -> None:
        repository = pick(self.repositories, where)
        held = self.active(repository)
        if not held:
            return
        image, number = pick(held, which), self.number()
        name = f":{pick(image.tags, which)}" if image.tags and by_tag else f"@{image.digest}"
        definition = self.aws.ecs.register(f"family-{number}", {"app": repository.uri + name}, region=region)
        if service:
            arn = self.aws.ecs.service(f"service-{number}", definition, region=region)
        else:
            (arn,) = self.aws.ecs.run(definition, region=region)
        self.workloads.append(Workload(definition, arn, service, region, repository, name, image.digest))

    @rule(which=NUMBERS)
    def scale_to_zero(self, which: int) -> None:
        services = [workload for workload in self.workloads if workload.service]
        if services:
            found = pick(services, which)
            self.ecs("UpdateService", found, service=found.arn, desiredCount=0)

    @rule(which=NUMBERS)
    def retire(self, which: int) -> None:
        if not self.workloads:
            return
        found = self.workloads.pop(which % len(self.workloads))
        if found.service:
            self.ecs("DeleteService", found, service=found.arn, force=True)
        else:
            self.ecs("StopTask", found, task=found.arn)
        self.ecs("DeregisterTaskDefinition", found, taskDefinition=found.definition)

    def ecs(self, operation: str, workload: Workload, **asked: Any) -> None:
        operate = self.aws.ecs.operation(operation)
        assert operate is not None
        operate(self.aws.account, workload.region, asked | {"cluster": "default"})

    @rule(where=NUMBERS, which=NUMBERS)
    def pull(self, where: int, which: int) -> None:
        repository = pick(self.repositories, where)
        held = self.active(repository)
        if held:
            repository.pull(pick(held, which).digest)

    @rule(where=NUMBERS, which=NUMBERS)
    def remove(self, where: int, which: int) -> None:
        repository = pick(self.repositories, where)
        free = [image for image in repository.images() if not list(repository.containing(image.digest))]
        if free:
            self.touch(repository, pick(free, which).digest)
            repository.remove(pick(free, which).digest)

    @rule(days=st.sampled_from([0.4, 0.4, 6, 20]))
    def wait(self, days: float) -> None:
        self.aws.clock.advance(timedelta(days=days))

    # What we do.

    @rule(
        newest=st.integers(0, 2), pulled_within=st.none() | st.just(30 * DAY), untagged_for=st.sampled_from([0.0, 14 * DAY]),
        grace=st.sampled_from([0.0, DAY]), otherwise=st.sampled_from([Otherwise.DELETE, Otherwise.ARCHIVE, Otherwise.TRIAL]),
        untag=st.sampled_from([(), ("old-*",)]), limits=LIMITS,
    )  # fmt: skip
    def plan_by_rules(self, otherwise: Otherwise, limits: Limits, **rules: Any) -> None:
        after = 10 * DAY if otherwise is Otherwise.ARCHIVE else None
        policy = Policy(otherwise=otherwise, trial_for=5 * DAY, delete_after_archived=after, used_within=None, **rules)
        scope = msgspec.structs.replace(self.request.scope, limits=limits)
        self.request = Request(scope, (policy,), (EcsSource(),), "test")
        self.plan()

    def plan(self) -> None:
        """Where a limit lets nothing go at all, whoever reads that overrides it."""
        if self.planned_and_saved(self.request).is_empty_by_limit:
            self.planned_and_saved(overriding(self.request))

    def planned_and_saved(self, request: Request) -> "Saved":
        before, live = self.states(), self.live()
        self.aws.calls.reset()
        run, rows = self.planned(request)
        assert all(call.operation.startswith(READING) for call in self.aws.calls.log), "a plan changes nothing"
        read = self.aws.calls.count("ecr", "BatchGetImage")
        if not request.scope.override_limits:  # else it comes second anyway
            again, rows_again = self.planned(request)
            encode = msgspec.json.Encoder(order="deterministic").encode
            assert encode(rows) == encode(rows_again), "the same world, the same plan"
            if not read:  # the reads of the first plan are told in the footer of the second
                assert encode(run.footer().document()) == encode(again.footer().document())
        assert self.states() == before
        assert sorted((row.repository, row.digest) for row in rows) == sorted(before), "each is decided once"
        going = tuple(row for row in rows if row.action not in {Action.KEEP, Action.HOLD})
        assert not {(row.repository, row.digest) for row in going if row.action is not Action.UNTAG} & live
        self.check_limits(request, rows)
        verdict = run.footer().verdict
        self.saved = Saved(
            request, SavedPlan(run.header, going, run.footer().summary, verdict.detail if verdict else None)
        )
        assert (verdict is not None) == self.saved.is_too_large
        return self.saved

    def check_limits(self, request: Request, rows: Sequence[PlannedImage]) -> None:
        """Of a repository of which too much would go nothing goes, unless the user overrides that."""
        if request.scope.override_limits:
            assert not any(reason.code is Code.LIMIT for row in rows for reason in row.reasons)
        else:
            assert not over_the_fraction(request.scope.limits, rows)

    def planned(self, request: Request) -> tuple[PlanRun, list[PlannedImage]]:
        run = self.fresh(request)
        return run, [row for plan in run.repositories() for row in decision_documents(plan)]

    def fresh(self, request: Request) -> PlanRun:
        return PlanRun(self.world, request, take_census(self.world, request, lambda _: None), self.aws.clock.seconds)

    @rule(slow=st.booleans(), override=st.booleans())
    def apply(self, slow: bool, override: bool) -> None:
        self.carry_out(slow=slow, override=override)

    @rule(where=NUMBERS, which=NUMBERS)
    def apply_when_more_would_go_than_was_planned(self, where: int, which: int) -> None:
        """The limit is what the plan comes to; then the world grows."""
        self.deploy(where, which, by_tag=False, service=True, region=HOME)
        name = pick(self.repositories, where).name
        _, rows = self.planned(overriding(self.request))
        here = [row for row in rows if row.repository == name]
        going = sum(row.action in GOING for row in here)
        if 0 < going < len(here):
            limits = Limits(going / len(here), fraction_from=1)
            scope = msgspec.structs.replace(self.request.scope, limits=limits, override_limits=False)
            self.planned_and_saved(msgspec.structs.replace(self.request, scope=scope))
            self.push_image(where, None, 40, 9)
            self.carry_out(full=name)

    @rule(skip=st.integers(0, 3), slow=st.booleans(), late=st.booleans())
    def apply_while_another_run_comes(self, skip: int, slow: bool, late: bool) -> None:
        """`late`: this run has been asleep for so long that its lease is over."""
        coming = iter([late])

        def come(_: Call) -> None:
            for is_late in coming:
                self.another(is_late)

        for operation in CHANGING:
            self.aws.faults.add(Fault("before", "ecr", operation, skip=skip, run=come))
        self.carry_out(slow=slow)

    @rule(
        kind=st.sampled_from(
            ["throttle", "denied", "5xx", "drop_before", "drop_after", "expired", "refused", "gap", "gone region"]
        ),
        operation=st.sampled_from([*CHANGING, *CHANGING, "DescribeImages", "BatchGetImage"]),
        skip=st.integers(0, 3),
        times=st.sampled_from([1, None]),
    )
    def apply_with_a_fault(self, kind: str, operation: str, skip: int, times: int | None) -> None:
        self.aws.faults.add(self.fault(kind, operation, skip, times))
        self.carry_out()

    def fault(self, kind: str, operation: str, skip: int, times: int | None) -> Fault:
        where: dict[str, Any] = {"skip": skip, "times": times}
        match kind:
            case "throttle":
                return Fault.error("ecr", operation, "ThrottlingException", "Rate exceeded", **where)
            case "denied":
                return Fault.denied("ecr", operation, **where)
            case "5xx":
                return Fault.error("ecr", operation, "ServerException", "Internal", 500, **where)
            case "expired":
                return Fault.error("ecr", operation, "ExpiredTokenException", "The token has expired", **where)
            case "refused":
                refused = {image.digest: "KmsError" for image in self.current().plan.going[skip :: 1 + skip]}
                return Fault("failures", "ecr", "BatchDeleteImage", failures=refused)
            case "gap":
                return Fault.denied("ecs", "ListClusters", region=pick(REGIONS, skip))
            case "gone region":
                return Fault("drop_before", "ecr", region=HOME, skip=2 * skip)
            case _:
                return Fault(
                    "drop_before" if kind == "drop_before" else "drop_after", "ecr", operation, skip=skip, times=times
                )

    @rule(
        how=st.sampled_from(["deploy", "move_tag", "pull", "remove", "push_index"]), where=NUMBERS, which=NUMBERS, tag=TAGS,
        operation=st.sampled_from(["DescribeImages", *CHANGING]), skip=st.integers(0, 3),
    )  # fmt: skip
    def apply_while_the_world_moves(
        self, how: str, where: int, which: int, tag: str, operation: str, skip: int
    ) -> None:
        def move(_: Call) -> None:
            match how:
                case "deploy":
                    self.deploy(where, which, by_tag=bool(which % 2), service=bool(where % 2), region=HOME)
                case "move_tag":
                    self.move_tag(where, which, tag)
                case "pull":
                    self.pull(where, which)
                case "remove":
                    self.remove(where, which)
                case _:
                    self.push_index(where, tag, [which])

        self.aws.faults.add(Fault("before", "ecr", operation, skip=skip, times=1, run=move))
        self.carry_out(slow=bool(skip % 2))

    @rule(asked=st.integers(0, 4))
    def apply_and_interrupt(self, asked: int) -> None:
        self.carry_out(stop=asked)

    @rule(moment=st.sampled_from(["before", "after"]), skip=st.integers(0, 2), torn=st.booleans())
    def apply_and_crash(self, moment: str, skip: int, torn: bool) -> None:
        self.killer.moment, self.killer.left = moment, skip
        self.carry_out(torn=torn)
        self.killer.moment = ""

    @precondition(lambda self: self.dead is not None)
    @rule()
    def resume(self) -> None:
        self.carry_out(again=True)

    @precondition(lambda self: self.dead is not None)
    @rule(moment=st.sampled_from(["before", "after"]), skip=st.integers(0, 1), torn=st.booleans())
    def resume_and_crash(self, moment: str, skip: int, torn: bool) -> None:
        self.killer.moment, self.killer.left = moment, skip
        self.carry_out(again=True, torn=torn)
        self.killer.moment = ""

    def carry_out(self, **how: Any) -> None:
        """Carry out a plan under a lease, which keeps other runs away, but not for ever."""
        leases = self.taken()
        try:
            self.carry_out_alone(leases, **how)
        finally:
            if self.killed_at is None:
                leases.release()
            if self.late is not None:
                self.late.release()

    def taken(self) -> Leases:
        """A lease. One that was killed leaves its own behind for a while: who comes next is told whose it is."""
        self.ticks, self.late, self.calls_when_overtaken = 0, None, None
        before, self.run = self.run, f"run-{self.number()}"
        leases = self.leases(self.run)
        if self.killed_at == self.aws.clock.seconds:
            with pytest.raises(Busy, match=f"{before} of"):
                leases.take()
            self.aws.clock.advance(timedelta(minutes=20))
        self.killed_at = None
        leases.take()
        return leases

    def leases(self, run: str) -> Leases:
        store = Folder(Path(self.folder.name) / "state")
        return Leases(store, [Place(self.aws.account, HOME)], run, clock=self.time)

    def time(self) -> float:
        """Seconds since the epoch, also where every look at the clock takes a minute."""
        return self.aws.clock.seconds + 60 * self.ticks

    def another(self, late: bool) -> None:
        """Called as a run is changing something: another one comes."""
        leases = self.leases("another")
        if late:
            self.aws.clock.advance(timedelta(hours=2))
            self.late, self.calls_when_overtaken = leases, len(history_of(self.journal).calls)
        try:
            leases.take()
        except Busy as told:
            if late or f"{self.run} of" not in str(told):
                self.wrong.append(f"another run was told: {told}")
        else:
            if not late:
                self.wrong.append("another run was let in")

    def carry_out_alone(
        self, leases: Leases, *, again: bool = False, slow: bool = False, stop: int | None = None, torn: bool = False,
        override: bool = False, full: str | None = None,
    ) -> None:  # fmt: skip
        """Apply the plan that is kept or, `again`, take up the run that died; then compare what it says with what is there."""
        if self.dead is not None and again:
            saved, self.journal = self.dead
        else:
            saved, self.journal = self.current(), Path(self.folder.name) / f"journal-{self.number()}.jsonl"
        if saved.expired(self.aws.clock.seconds):
            self.dead = None
            return
        if override or held_whole(saved.plan, saved.request) is not None:  # the user looks at it and goes ahead
            saved = saved.overriding()
        record, before = self.begun(saved, leases, again=again, slow=slow)
        live, live_tags, there = self.live(), self.live_tags(), self.states()
        self.touched.clear()
        self.aws.calls.reset()
        for operation in CHANGING:
            self.aws.faults.add(Fault("before", "ecr", operation, run=self.watch))
        try:
            carrying = begin_apply(
                self.world, saved.plan, self.fresh(saved.request), say=lambda _: None, record=record, before=before
            )
            asked = iter(range(stop if stop is not None else 1_000_000))
            carrying.work(lambda: next(asked, None) is None)
        except Killed:
            self.died(saved, torn=torn)
        else:
            self.check_said(carrying.result(), there)
            self.check_journal(history_of(self.journal), carrying.result(), saved.request)
            if again:
                self.dead = None
            elif not carrying.result().changed:
                self.saved = None  # it has served: the next apply makes a new one
        finally:
            self.aws.faults.clear()
        self.check_calls(saved, live, live_tags, full)
        self.check_written(history_of(self.journal), there)

    def current(self) -> Saved:
        """The plan that is kept, or a new one by the same rules where that may not be carried out any more."""
        if self.saved is None or self.saved.expired(self.aws.clock.seconds):
            with self.calm():
                self.plan()
        assert self.saved is not None
        return self.saved

    @contextmanager
    def calm(self) -> Iterator[None]:
        """No faults for a while."""
        faults, self.aws.faults = self.aws.faults, Faults()
        yield
        self.aws.faults = faults

    def begun(self, saved: Saved, leases: Leases, *, again: bool, slow: bool) -> tuple[Record, dict[Name, Before]]:
        def clock() -> float:
            self.ticks += slow
            return self.time()

        record = Record(clock, FileJournal(self.journal), self.edges, still_ours=leases.renew)
        overrides = saved.request.scope.override_limits
        if not again:
            record.begin(self.run, self.aws.account, "test", saved.plan, override_limits=overrides)
            return record, {}
        history = history_of(self.journal)
        assert history.plan is not None
        assert history.plan.going == saved.plan.going, "the journal tells the plan"
        calls = max((call.number for call in history.calls), default=0)
        record.resume(self.run, calls, override_limits=overrides)
        return record, dict(done_before(history))

    def died(self, saved: Saved, *, torn: bool) -> None:
        if torn:
            with self.journal.open("ab") as journal:
                journal.write(b'{"event":"answ')
        self.dead, self.killed_at = (saved, self.journal), self.aws.clock.seconds

    def watch(self, call: Call) -> None:
        """Called as AWS hears of a change: what contains an image goes first."""
        repository = self.aws.ecr.repository(call.parameters["repositoryName"], region=HOME)
        for wanted in call.parameters.get("imageIds") or [call.parameters["imageId"]]:
            digest = wanted["imageDigest"]
            if "imageTag" in wanted:
                continue
            above = [repository.by_digest[parent] for parent in repository.containing(digest)]
            here = [each for each in above if call.operation == "BatchDeleteImage" or not each.archived]
            if any((repository.name, each.digest) not in self.touched for each in here):
                self.wrong.append(f"{call.operation} of {digest} while an index of it is there")

    # What must hold.

    def check_calls(self, saved: Saved, live: set[Key], live_tags: set[Key], full: str | None) -> None:
        """Only what the plan names was asked for, and nothing that was in use when it began, or over a limit."""
        going = saved.plan.going
        named = {(image.repository, image.digest, image.action) for image in going}
        untag = {(image.repository, tag) for image in going for tag in image.untag}
        for call in self.aws.calls.log:
            if call.operation.startswith(READING) or call.service != "ecr":
                assert call.operation not in CHANGING
                continue
            assert call.operation in CHANGING, call
            assert not saved.is_too_large, "a run over a limit changes nothing"
            name = call.parameters["repositoryName"]
            assert name != full, "a repository over a limit is not touched"
            for wanted in call.parameters.get("imageIds") or [call.parameters["imageId"]]:
                if "imageTag" in wanted:
                    assert (name, wanted["imageTag"]) in untag - live_tags
                    continue
                action = Action.DELETE if call.operation == "BatchDeleteImage" else Action.ARCHIVE
                assert (name, wanted["imageDigest"], action) in named, "only what the plan names"
                assert (name, wanted["imageDigest"]) not in live, "nothing that was in use when apply began"

    def check_said(self, result: ApplyResult, before: dict[Key, State]) -> None:
        """The report is what the registry shows."""
        now = self.states()
        told = {(entry.image.repository, entry.image.digest): entry for entry in result.results}
        assert len(told) == len(result.results)
        for key, entry in told.items():
            state, where = now.get(key), f"{entry.outcome}: {key}"
            match entry.outcome:
                case Outcome.DELETED:
                    assert state is None, where
                case Outcome.ALREADY_GONE:
                    assert state is None or not state.tags & set(entry.image.untag), where
                    assert state is None or entry.image.action is Action.UNTAG, where
                case Outcome.ARCHIVED:
                    assert key in self.touched or (state is not None and state.archived), where
                case Outcome.UNTAGGED:
                    assert key in self.touched or (state is not None and not state.tags & set(entry.image.untag)), where
                case Outcome.UNKNOWN:
                    pass
                case stayed:
                    assert stayed in STAYED
                    assert self.as_before(key, before, now, tags=entry.image.action is not Action.UNTAG), where
        for key in before.keys() - told.keys():
            assert self.as_before(key, before, now), f"nobody was to touch {key}"
        if any(entry.is_gap for entry in result.coverage):
            assert not any(call.operation in CHANGING for call in self.aws.calls.log), "a gap lets nothing go"

    def as_before(self, key: Key, before: dict[Key, State], now: dict[Key, State], *, tags: bool = True) -> bool:
        then, state = before.get(key), now.get(key)
        if key in self.touched or then == state:
            return True
        return not tags and then is not None and state is not None and then.archived == state.archived

    def check_journal(self, history: History, result: ApplyResult, request: Request) -> None:
        """The journal says what the report says."""
        assert history.summary == result.summary()
        assert history.override_limits == request.scope.override_limits
        if self.calls_when_overtaken is not None:
            assert len(history.calls) == self.calls_when_overtaken, "a run that was overtaken changes nothing more"
        assert history.whole is not result.interrupted
        outcomes = {(entry.image.repository, entry.image.digest): entry.outcome for entry in result.results}
        asked = {(call.repository.name, touched.digest) for call in history.calls for touched in call.asked}
        assert {key for key, outcome in outcomes.items() if outcome is Outcome.UNKNOWN} <= asked, "doubt needs a call"
        written = {(entry["repository"], entry["digest"]): entry["outcome"] for entry in history.outcomes}
        for key, outcome in written.items():
            assert outcomes[key] == outcome or outcomes[key] in {Outcome.DELETED, Outcome.ARCHIVED}

    def check_written(self, history: History, before: dict[Key, State]) -> None:
        """Whatever is gone or archived stands in the journal, and what it says was done is so."""
        now = self.states()
        asked = {(call.repository.name, touched.digest) for call in history.calls for touched in call.asked}
        for key in before.keys() - now.keys() - self.touched:
            assert key in asked, "no change without a line before it"
        for key in (before.keys() & now.keys()) - self.touched:
            assert before[key] == now[key] or key in asked
        for call in history.calls:
            for touched in call.done:
                key = (call.repository.name, touched.digest)
                assert call.action is not Action.DELETE or key not in now
                assert call.action is not Action.ARCHIVE or key not in now or now[key].archived

    @invariant()
    def nothing_went_before_what_contains_it(self) -> None:
        assert self.wrong == []

    @invariant()
    def indexes_have_their_children(self) -> None:
        for repository in self.repositories:
            for image in repository.images():
                for child in image.children:
                    assert child in repository.by_digest, "a kept index keeps its children"
                    assert image.archived or not repository.by_digest[child].archived

    # What is so.

    def active(self, repository: Repository) -> list[StoredImage]:
        return [image for image in repository.images() if not image.archived]

    def touch(self, repository: Repository, digest: str) -> None:
        """Note that somebody else changed this image, for what is compared after an apply that was under way."""
        self.touched.add((repository.name, digest))

    def states(self) -> dict[Key, State]:
        return {
            (repository.name, image.digest): State(image.archived, frozenset(image.tags))
            for repository in self.repositories
            for image in repository.images()
        }

    def live(self) -> set[Key]:
        """What is in use, by the digest that it began with and by its name as it is now, with all that it needs."""
        found: set[Key] = set()
        for workload in self.workloads:
            repository = workload.repository
            todo = [workload.digest, repository.by_tag.get(workload.name[1:], workload.digest)]
            while todo:
                digest = todo.pop()
                if digest in repository.by_digest:
                    found.add((repository.name, digest))
                    todo += repository.by_digest[digest].children
        return found

    def live_tags(self) -> set[Key]:
        return {(workload.repository.name, workload.name[1:]) for workload in self.workloads if workload.name[0] == ":"}


def history_of(file: Path) -> History:
    with file.open("rb") as lines:
        return read_journal(lines)


@pytest.mark.timeout(900)
def test_whatever_happens_in_whatever_order_the_promises_hold(emulator: Emulator, session: AwsSession) -> None:
    killer = Killer(session)
    run_state_machine_as_test(
        partial(Registry, emulator, session, killer),  # type: ignore[arg-type] # any maker of one will do
        settings=settings(
            max_examples=125 if LONG else 25,
            stateful_step_count=40 if LONG else 25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
