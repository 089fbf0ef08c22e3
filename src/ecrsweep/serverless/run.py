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
from ecrsweep.app import PlanRun, Request, Stop, begin_apply, take_census
from ecrsweep.apply import Carrying
from ecrsweep.aws.bucket import Bucket, LastingCache, parse_address
from ecrsweep.aws.session import AwsPlace, AwsSession, AwsWorld
from ecrsweep.core.decisions import Action
from ecrsweep.core.document import PlannedImage, SavedPlan, decision_documents, read_plan
from ecrsweep.core.errors import AwsFailure
from ecrsweep.core.outcomes import Outcome
from ecrsweep.core.times import rfc3339
from ecrsweep.reports.json import PlanLinesReport
from ecrsweep.serverless.settings import Asked
from ecrsweep.wiring.exits import Exit, apply_statuses, gravest, plan_statuses
from ecrsweep.wiring.grants import lacking, statement
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
        self._asked = asked
        self._environ = environ
        self._session: AwsSession | None = None
        self._world: AwsWorld | None = None
        self._request: Request | None = None
        self._plan_run: PlanRun | None = None
        self._carrying: Carrying | None = None
        self._memory: Memory | None = None
        self._plan_address: str | None = asked.plan
        self._began = time.time()

    def work(self, stop: Stop) -> None:
        """Everything that is asked, until it is done or `stop` says so. Raises `EcrsweepError`."""
        self._session = open_session(self._asked.settings, self._environ)
        saved = self._read_plan() if self._asked.plan else None
        if saved is None:
            self._world, self._request = prepare(self._asked.settings, self._environ, self._session)
        else:
            self._world, self._request = reopen(saved, self._asked.settings, self._environ, self._session)
        self._memory = open_memory(self._world, self._state(self._request), self._environ)
        try:
            self._work(self._world, self._request, saved, stop)
        finally:
            self._memory.write(log.warning)

    def _work(self, world: AwsWorld, request: Request, saved: SavedPlan | None, stop: Stop) -> None:
        """The plan, if none is given, and its apply, if that is asked."""
        cache = LastingCache(self._bucket, world.cache) if self._asked.bucket else None
        if cache is not None:
            cache.fetch()
        try:
            if saved is None:
                saved = self._made_plan(world, request, stop)
        finally:
            if cache is not None:
                cache.store()
        if self._asked.command == "apply" and saved is not None and saved.verdict is None and not stop():
            self._apply(world, request, saved, stop)

    def close(self) -> None:
        """Let nothing more of this run reach AWS."""
        if self._session is not None:
            self._session.close()

    def status(self) -> Exit:
        """What the run came to."""
        if self._plan_run is None:
            return Exit.ERROR
        if self._carrying is not None:
            found = set(apply_statuses(self._carrying.result())) - {Exit.INTERRUPTED}  # by nobody: what is left is told
            return gravest(found)
        unfinished = self._asked.plan is None and not self._plan_run.complete
        return Exit.LEFT_UNDONE if unfinished else gravest(plan_statuses(self._plan_run.footer(), exit_code=False))

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
        }
        result = None if self._carrying is None else self._carrying.result()
        if self._plan_run is not None:
            document |= {"scope": msgspec.to_builtins(self._plan_run.header.scope)}
            document |= {"planned_whole": self._plan_run.complete} | self._plan_run.footer().document()
        if result is not None:
            document["apply"] = result.document()
        if self._world is not None and self._request is not None and self._plan_run is not None:
            missing = lacking(
                self._plan_run.footer().coverage, self._request.sources, self._world.allowed_actions, result
            )
            document["missing_permissions"] = missing
            if missing:
                log.warning("The policy of this identity lacks this statement:\n%s", statement(missing))
        return document

    def keep(self, report: Mapping[str, Any]) -> str | None:
        """Write the report to the bucket; its address, None where there is no bucket. Raises `AwsFailure`."""
        if not self._asked.bucket:
            return None
        session = open_session(self._asked.settings, self._environ)  # the other may be closed
        bucket = Bucket(_home(session, self._environ), self._asked.bucket)
        return bucket.put(f"reports/{self.name}.json", msgspec.json.format(msgspec.json.encode(report), indent=1))

    @property
    def deleted(self) -> int:
        """How many images this run has deleted."""
        return 0 if self._carrying is None else self._carrying.result().count(Outcome.DELETED)

    @property
    def _bucket(self) -> Bucket:
        assert self._session is not None  # noqa: S101 - set by work before anything asks
        assert self._asked.bucket is not None  # noqa: S101 - likewise
        return Bucket(_home(self._session, self._environ), self._asked.bucket)

    def _read_plan(self) -> SavedPlan:
        assert self._session is not None  # noqa: S101 - set by work before anything asks
        assert self._asked.plan is not None  # noqa: S101 - asked before
        bucket, key = parse_address(self._asked.plan)
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
                going += (row for row in decision_documents(plan) if row.action is Action.DELETE)
            footer = run.footer()
            statuses = [*plan_statuses(footer, exit_code=False), *([] if run.complete else [Exit.INTERRUPTED])]
            self._note(run, request, statuses)
            if not run.complete:
                return None
            lines.end(footer)
            file.flush()
            if self._asked.bucket:
                self._plan_address = self._bucket.put(f"plans/{self.name}.jsonl", Path(file.name))
        verdict = None if footer.verdict is None else footer.verdict.detail
        return SavedPlan(run.header, tuple(going), footer.summary, verdict)

    def _apply(self, world: AwsWorld, request: Request, saved: SavedPlan, stop: Stop) -> None:
        again = self._begun(world, request)
        if self._plan_run is None:
            self._plan_run = again
        self._carrying = begin_apply(world, saved, again, log.info)
        self._carrying.work(stop)
        self._note(again, request, apply_statuses(self._carrying.result()))

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


def _home(session: AwsSession, environ: Mapping[str, str]) -> AwsPlace:
    """Where the bucket is: the region of the function."""
    return AwsPlace(session, environ.get("AWS_REGION") or session.home_region)


def not_kept(failure: AwsFailure) -> str:
    """What the log says where the report could not be written to the bucket."""
    return f"The report could not be written to the bucket, so it stands here: {failure}"
