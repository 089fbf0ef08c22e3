"""The Lambda handler: `{"command": "plan"}` or `{"command": "apply"}`, or, without a command, the original's environment.

An invocation that did not do all it was asked raises `Incomplete`, so that Lambda counts it as failed and alarms ring.
"""

import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Final

from ecrsweep.core.errors import Busy, EcrsweepError, PlanExpired
from ecrsweep.core.journal import run_name
from ecrsweep.serverless.deadline import FOR_THE_LOG, Deadline, OutOfTime
from ecrsweep.serverless.run import Run
from ecrsweep.serverless.settings import asked_of, beside_the_original, check_without_command
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.original import DEFAULTS, OriginalRun, settings_of

log = logging.getLogger("ecrsweep")

_TIME_LIMIT: Final = "the time limit of the function came first; the next run goes on from here"
_MEANINGS: Final = {
    Exit.ERROR: "an error",
    Exit.LEFT_UNDONE: "AWS refused something, or it was left undone",
    Exit.HELD: "something was held: not everything that could use the images was read, or a limit was passed",
}
_ENVIRONMENT: Final = {
    "region": "REGION", "dryrun": "DRYRUN", "imagestokeep": "IMAGES_TO_KEEP", "ignoretagsregex": "IGNORE_TAGS_REGEX",
}  # fmt: skip
"""The original's flags, and the names under which its function has them."""


class Incomplete(EcrsweepError):
    """The invocation did not do all it was asked: something was refused, a gate held, or the time was over."""


def handler(event: Any, context: Any) -> dict[str, Any]:  # noqa: ANN401 - what Lambda gives
    """Do what the event says; what came of it, JSON-able.

    Raises `Incomplete` for every exit status but 0, and `EcrsweepError` for what a user can meet.
    """
    logging.getLogger("ecrsweep").setLevel(logging.INFO)
    deadline = Deadline.of(context)
    if isinstance(event, Mapping):
        if "command" in event:
            return _commanded(event, deadline, getattr(context, "aws_request_id", None))
        check_without_command(event)
    return _original(deadline)


def _commanded(event: Mapping[str, Any], deadline: Deadline, request: str | None) -> dict[str, Any]:
    run = Run(asked_of(event, os.environ), os.environ, run_name(time.time(), request or ""))
    try:
        deadline.run(lambda: run.work(deadline.passed))
        status, stopped = run.status(), _TIME_LIMIT if run.was_cut else None
    except OutOfTime:
        status, stopped = Exit.LEFT_UNDONE, _TIME_LIMIT
    except EcrsweepError as error:
        status, stopped = Exit.HELD if isinstance(error, PlanExpired | Busy) else Exit.ERROR, str(error)
    except Exception as error:
        log.exception("This is a fault in ecrsweep itself. Please report it with these lines.")
        status, stopped = Exit.ERROR, f"a fault in ecrsweep itself: {type(error).__name__}: {error}"
    run.close()
    return _told(run, status, stopped, deadline)


def _told(run: Run, status: Exit, stopped: str | None, deadline: Deadline) -> dict[str, Any]:
    """Keep the report, print its outline, and answer or raise. Without a bucket that takes it, the log has it whole."""
    report = run.report(stopped) | {"status": status.value}
    address = None
    try:
        address = deadline.run(lambda: run.keep(report), leaving=FOR_THE_LOG)
    except EcrsweepError as failure:
        log.error("The report could not be written to the bucket, so it stands here: %s", failure)  # noqa: TRY400 - the sentence says all
        status = status if status is not Exit.DONE else Exit.ERROR
        stopped = stopped or f"the report could not be written to the bucket: {failure}"
    if address is None:
        print(json.dumps(report, default=str))
    outline = {
        "status": status.value, "run": run.name, "command": report["command"], "plan": report["plan"], "report": address,
        "summary": report.get("summary"), "deleted": report["deleted"], "stopped": stopped,
    }  # fmt: skip
    print(json.dumps(outline))
    if status is not Exit.DONE:
        why = stopped or _MEANINGS[status]
        where = f" Report: {address}" if address else ""
        raise Incomplete(f"The run {run.name} ended with status {status.value}: {why}.{where}")
    return outline


def _original(deadline: Deadline) -> dict[str, Any]:
    """Settings come from the environment, as the original's function has them. An unset `DRYRUN` means dry run.

    What ecrsweep's own variables keep besides is kept here too: a function has one set of rules, however it is called.
    """
    values = {flag: os.environ.get(name) or DEFAULTS[flag] for flag, name in _ENVIRONMENT.items()}
    run = OriginalRun(settings_of(values, beside_the_original(os.environ)))
    try:
        status = deadline.run(lambda: run.work(lambda: nullcontext(deadline.passed), deadline.passed))
    except OutOfTime as error:
        run.end(str(error))
        status = Exit.LEFT_UNDONE
    if status is Exit.INTERRUPTED:
        status = Exit.LEFT_UNDONE
    if status is not Exit.DONE:
        raise Incomplete(f"The run ended with status {status.value}: {_MEANINGS[status]}. The log says what and why.")
    return {"status": status.value}
