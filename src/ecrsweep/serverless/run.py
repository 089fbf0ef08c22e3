"""One invocation: plan, keep the plan, apply it if asked, report. Each step leaves what was done so far to be told.

The report is written whatever happens: at the end, when the time limit comes, and when something fails.
"""

import logging
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ecrsweep._version import __version__
from ecrsweep.app import PlanRun, Request, Stop, begin_apply, held_whole, take_census
from ecrsweep.apply import Carrying
from ecrsweep.aws.bucket import Bucket, LastingCache, parse_address
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.aws.state import BucketState
from ecrsweep.aws.world import AwsWorld
from ecrsweep.config import Settings
from ecrsweep.core.decisions import Code
from ecrsweep.core.document import (
    PlannedImage,
    SavedPlan,
    changing_documents,
    held_document,
    read_plan,
    summary_document,
)
from ecrsweep.core.errors import AwsFailure
from ecrsweep.core.outcomes import ApplyResult, Outcome
from ecrsweep.core.times import rfc3339
from ecrsweep.memory import Leases
from ecrsweep.reports.json import PlanLinesReport
from ecrsweep.serverless.settings import Asked
from ecrsweep.wiring.exits import Exit, apply_statuses, gravest, plan_statuses
from ecrsweep.wiring.given import configuration_from
from ecrsweep.wiring.grants import advice, lacking
from ecrsweep.wiring.journals import begin_record, leases_on
from ecrsweep.wiring.memory import Memory, open_memory
from ecrsweep.wiring.prepare import open_session, prepare, reopen

log = logging.getLogger("ecrsweep")

RUN_FORMAT: Final = "ecrsweep.run/1"
STATE_PREFIX: Final = "state"
"""The folder of the bucket that keeps what outlives a run."""


class Run:
    """What one invocation does, and all that is known of it at any moment."""

    def __init__(self, asked: Asked, environ: Mapping[str, str], name: str) -> None:
        """`name` tells this run from all others, in reports and in the bucket."""
        self.name = name
        self.was_cut = False
        """True where the time limit ended the work before it was done."""
        self._asked = asked
        self._environ = environ
        self._session: AwsSession | None = None
        self._desk: Bucket | None = None
        self._cache: LastingCache | None = None
        self._world: AwsWorld | None = None
        self._request: Request | None = None
        self._saved: SavedPlan | None = None
        self._plan_run: PlanRun | None = None
        self._carrying: Carrying | None = None
        self._leases: Leases | None = None
        self._memory: Memory | None = None
        self._plan_address: str | None = asked.plan
        self._began = time.time()

    def work(self, stop: Stop) -> None:
        """Everything that is asked, until it is done or `stop` says so. Raises `EcrsweepError`."""
        environ = self._environ
        self._desk = self._opened_desk()
        self._session = open_session(self._asked.settings, environ, self.name)
        settings = self._settings(self._session)
        if self._asked.plan:
            self._saved = self._read_plan(self._asked.plan)
            self._world, self._request = reopen(self._saved, settings, environ, self._session)
        else:
            self._world, self._request = prepare(settings, environ, self._session)
        self._memory = open_memory(self._world, self._state(self._request), environ)
        if self._desk is not None:
            self._cache = LastingCache(self._desk, self._world.cache)
            self._cache.fetch()
        if self._saved is None:
            self._saved = self._made_plan(self._world, self._request, stop)
            if self._cache is not None:
                self._cache.store()
        self.was_cut = self._saved is None
        if self._saved is not None and self._asked.command == "apply" and not self._is_held_whole:
            overridden = self._request.scope.override_limits
            saved = self._saved.without_limits if overridden else self._saved
            self._apply(self._world, self._request, saved, stop)
        self._memory.write(log.warning)

    def _settings(self, session: AwsSession) -> Settings:
        """What event, environment and configuration say together."""
        if self._asked.config is not None:
            configuration = configuration_from(self._asked.config, lambda: _home(session, self._environ))
            for warning in configuration.warnings:
                log.warning("%s", warning)
            self._asked = self._asked.over(configuration)
        return self._asked.settings

    def close(self) -> None:
        """Let nothing more of this run reach AWS, but the report."""
        if self._session is not None:
            self._session.close()

    def status(self) -> Exit:
        """What the run came to."""
        found = {Exit.LEFT_UNDONE} if self.was_cut else set()
        if self._is_held_whole:
            found.add(Exit.HELD)
        if self._plan_run is not None:
            found |= set(plan_statuses(self._plan_run.footer(), exit_code=False))
        if self._carrying is not None:
            # Nobody interrupts a function: what is left is told.
            found |= set(apply_statuses(self._carrying.result())) - {Exit.INTERRUPTED}
        return gravest(found)

    def report(self, stopped: str | None) -> dict[str, Any]:
        """Everything that is known, JSON-able. `stopped` says in words why the run ended before it was done."""
        document: dict[str, Any] = {
            "format": RUN_FORMAT,
            "run": self.name,
            "tool_version": __version__,
            "command": self._asked.command,
            "began_at": rfc3339(self._began),
            "ended_at": rfc3339(time.time()),
            "stopped": stopped,
            "plan": self._plan_address,
            "planned_whole": self._saved is not None,
            "deleted": 0,
        }
        if self._plan_run is not None:
            document |= {"scope": msgspec.to_builtins(self._plan_run.header.scope)}
            document |= self._plan_run.footer().document()
        if self._saved is not None:
            document["summary"] = summary_document(self._saved.summary, self._saved.figures)
            detail = self._saved.verdict
            document["verdict"] = None if detail is None else {"code": Code.LIMIT.value, "detail": detail}
            document |= held_document(self._saved.held_registries)
        result = None if self._carrying is None else self._carrying.result()
        if result is not None:
            document |= {"deleted": result.count(Outcome.DELETED), "apply": result.document()}
        document["missing_permissions"] = self._missing_permissions(result)
        document["throttled"] = self._throttled()
        return document

    def keep(self, report: Mapping[str, Any]) -> str | None:
        """Write the report to the bucket; its address, None where there is no bucket. Raises `AwsFailure`."""
        desk = self._desk or self._opened_desk()
        if desk is None:
            return None
        address = desk.put(f"reports/{self.name}.json", msgspec.json.format(msgspec.json.encode(report), indent=1))
        if self._leases is not None:
            self._leases.release()
        try:
            if self._cache is not None:
                self._cache.store()
        except AwsFailure as failure:
            log.warning(
                "What was learned of indexes could not be kept, so that the next run reads them again: %s", failure
            )
        return address

    @property
    def _is_held_whole(self) -> bool:
        """True where a limit holds the plan."""
        if self._saved is None or self._request is None:
            return False
        return held_whole(self._saved, self._request) is not None

    def _opened_desk(self) -> Bucket | None:
        """The bucket, through a session of its own that stays open when the other is closed.

        Its client is made now: when time is short, only the request itself is left to do.
        """
        if not self._asked.bucket:
            return None
        place = _home(open_session(self._asked.settings, self._environ), self._environ)
        place.client("s3")
        return Bucket(place, self._asked.bucket)

    def _read_plan(self, address: str) -> SavedPlan:
        assert self._session is not None  # noqa: S101 - set by work before anything asks
        bucket, key = parse_address(address)
        content = Bucket(_home(self._session, self._environ), bucket).get(key)
        return read_plan(content.splitlines(keepends=True), time.time())

    def _made_plan(self, world: AwsWorld, request: Request, stop: Stop) -> SavedPlan | None:
        """A plan of now, kept in the bucket as it comes about; None where `stop` came first."""
        run = self._begun(world, request)
        self._plan_run = run
        going: list[PlannedImage] = []
        with (
            tempfile.TemporaryDirectory(prefix="ecrsweep-") as folder,
            (Path(folder) / "plan.jsonl").open("wb") as file,
        ):
            lines = PlanLinesReport(file)
            lines.begin(run.header)
            for plan in run.repositories(stop):
                lines.add(plan)
                log.info("%s: %d images", plan.repository.uri, len(plan.decisions))
                going += changing_documents(plan)
                del plan  # or it would be there until the next one is decided
            footer = run.footer()
            statuses = [*plan_statuses(footer, exit_code=False), *([] if run.complete else [Exit.INTERRUPTED])]
            self._note(run, request, statuses)
            if not run.complete:
                return None
            lines.end(footer)
            file.flush()
            if self._desk is not None:
                self._plan_address = self._desk.put(f"plans/{self.name}.jsonl", Path(file.name))
        verdict = None if footer.verdict is None else footer.verdict.detail
        return SavedPlan(
            run.header, tuple(going), footer.summary, verdict, figures=footer.figures,
            held_registries=footer.held_registries,
        )  # fmt: skip

    def _apply(self, world: AwsWorld, request: Request, saved: SavedPlan, stop: Stop) -> None:
        if stop():
            self.was_cut = True
            return
        assert self._memory is not None  # noqa: S101 - set by work before anything begins
        again = self._begun(world, request)
        if self._plan_run is None:
            self._plan_run = again
        # Through the session that stays open: whatever ends the run, the next one shall not wait for it.
        store = self._memory.store if self._desk is None else BucketState(self._desk, STATE_PREFIX)
        self._leases = leases_on(store, world, saved)
        self._leases.take()
        try:
            overrides = request.scope.override_limits
            record = begin_record(world, self._memory, saved, self._leases, override_limits=overrides)
            self._carrying = begin_apply(world, saved, again, say=log.info, record=record)
            self._carrying.work(stop)
        finally:
            self._leases.release()
        result = self._carrying.result()
        self.was_cut = result.interrupted and result.count(Outcome.NOT_TRIED) > 0
        self._note(again, request, apply_statuses(result))

    def _begun(self, world: AwsWorld, request: Request) -> PlanRun:
        """A plan of this moment: everything is asked, and what earlier runs left is recalled."""
        assert self._memory is not None  # noqa: S101 - set by work before anything begins
        census = take_census(world, request, log.info, self._memory.recall())
        return PlanRun(world, request, census, time.time())

    def _note(self, run: PlanRun, request: Request, statuses: Iterable[Exit]) -> None:
        assert self._memory is not None  # noqa: S101 - likewise
        self._memory.note(run, request, statuses)

    def _state(self, request: Request) -> str | None:
        """Where the ledger is: where somebody said, else in the bucket of the function, which is all that lasts."""
        return request.scope.state or (f"s3://{self._asked.bucket}/{STATE_PREFIX}" if self._asked.bucket else None)

    def _throttled(self) -> list[dict[str, Any]]:
        """How often AWS refused calls for their rate, each of which was repeated more slowly."""
        counts = {} if self._world is None else self._world.throttled
        for (account, region, action), times in sorted(counts.items()):
            log.info("AWS throttled %s in %s of %s %d times", action, region, account, times)
        return [
            {"account": account, "region": region, "action": action, "times": times}
            for (account, region, action), times in sorted(counts.items())
        ]

    def _missing_permissions(self, result: ApplyResult | None) -> list[str]:
        if self._world is None or self._request is None or self._plan_run is None:
            return []
        coverage = self._plan_run.footer().coverage
        missing = lacking(coverage, self._request.sources, self._world.allowed_actions, result)
        if missing:
            log.warning("%s", advice(missing))
        return missing


def _home(session: AwsSession, environ: Mapping[str, str]) -> AwsPlace:
    """Where the bucket is: the region of the function."""
    return AwsPlace(session, environ.get("AWS_REGION") or session.home_region)
