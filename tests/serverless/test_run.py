"""One invocation, cut between its steps: what it came to, and what its report says, must be the truth."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.core.document import Footer, Header, Scope
from ecrsweep.core.errors import PlanExpired
from ecrsweep.core.plan import Summary
from ecrsweep.core.policy import Policy
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from ecrsweep.reports.json import PlanLinesReport
from ecrsweep.serverless import handler
from ecrsweep.serverless.handler import Incomplete
from ecrsweep.serverless.run import Run
from ecrsweep.serverless.settings import asked_of
from ecrsweep.wiring.exits import Exit
from tests.support import ACCOUNT, ROOT, ago

pytest.importorskip("moto")


@pytest.fixture
def environ(aws: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment of a function with a bucket."""
    bucket = f"ecrsweep-{time.time_ns()}"
    aws.client("s3").create_bucket(Bucket=bucket)
    variables = aws.environ() | {
        "ECRSWEEP_BUCKET": bucket, "ECRSWEEP_KEEP_NEWEST": "1", "ECRSWEEP_PULLED_WITHIN": "0d",
        "ECRSWEEP_CACHE_DIR": str(tmp_path),
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    made = aws.ecr.repository("team/app")
    for number in range(3):
        made.push_image(tags=(f"v{number}",), pushed_at=ago(days=90 - number))
    return made


def run_of(environ: dict[str, str], **event: Any) -> Run:
    return Run(asked_of(event, environ), environ, "a-run")


def asked_times(number: int) -> Iterator[bool]:
    """A clock that says stop when it is asked for the last time."""
    yield from [False] * number
    while True:
        yield True


@pytest.mark.parametrize(
    ("before", "planned_whole", "outcomes"),
    [
        (0, False, None),  # after the first repository
        (1, True, None),  # before everything is asked again
        (2, True, {"not_tried": 2}),  # before the first repository is swept
        (3, True, {"not_tried": 2}),  # before the first batch
    ],
)
def test_wherever_the_time_is_over_something_is_left_undone(
    environ: dict[str, str], repo: Repository, before: int, planned_whole: bool, outcomes: dict[str, int] | None
) -> None:
    run = run_of(environ, command="apply")
    clock = asked_times(before)
    run.work(lambda: next(clock))
    report = run.report("time")
    assert (run.status(), run.was_cut) == (Exit.LEFT_UNDONE, True)
    assert (report["planned_whole"], report["deleted"]) == (planned_whole, 0)
    found = {name: number for name, number in report.get("apply", {}).get("summary", {}).items() if number}
    assert (found or None) == outcomes
    assert len(repo.images()) == 3


def test_every_member_of_a_report_stands_in_the_documentation(environ: dict[str, str], repo: Repository) -> None:
    formats = (ROOT / "docs" / "formats.md").read_text()
    section = formats[formats.index("`ecrsweep.run/1`") : formats.index("## Exit status")]
    run = run_of(environ, command="apply")
    run.work(lambda: False)
    for member in (*run.report(None), "status"):
        assert f"`{member}`" in section, member


def test_a_report_has_the_true_bytes_where_the_event_asks_for_them(environ: dict[str, str], repo: Repository) -> None:
    run = run_of(environ, command="apply", exact_size=True)
    run.work(lambda: False)
    summary = run.report(None)["summary"]
    assert summary["delete_bytes_exact"] == summary["delete_bytes_upper_bound"] + 2 * 1500  # the configurations
    assert run.report(None)["savings"]["repositories"][0]["exact"]
    assert (run.status(), len(repo.images())) == (Exit.DONE, 1)


def test_time_that_is_over_when_all_is_done_changes_nothing(environ: dict[str, str], repo: Repository) -> None:
    run = run_of(environ, command="apply")
    clock = asked_times(4)
    run.work(lambda: next(clock))
    assert (run.status(), run.was_cut, len(repo.images())) == (Exit.DONE, False, 1)


def test_a_limit_holds_a_run_and_the_saved_plan_until_the_event_overrides_it(
    environ: dict[str, str], repo: Repository
) -> None:
    limited = environ | {"ECRSWEEP_MAX_IMAGES": "1"}
    first = run_of(limited, command="apply")
    first.work(lambda: False)
    assert (first.status(), len(repo.images())) == (Exit.HELD, 3)
    plan = first.report(None)["plan"]
    again = run_of(limited, command="apply", plan=plan)
    again.work(lambda: False)
    report = again.report(None)
    assert (again.status(), report["verdict"]["code"], len(repo.images())) == (Exit.HELD, "limit", 3)
    overriding = run_of(limited, command="apply", plan=plan, override_limits=True)
    overriding.work(lambda: False)
    assert (overriding.status(), len(repo.images())) == (Exit.DONE, 1)


def test_a_plan_that_has_expired_is_held(
    environ: dict[str, str], aws: Emulator, repo: Repository, tmp_path: Path
) -> None:
    file = tmp_path / "plan.jsonl"
    with file.open("wb") as stream:
        lines = PlanLinesReport(stream)
        lines.begin(Header(1.0, 2.0, "1", (Policy(),), Scope(ACCOUNT, ("us-east-1",))))
        lines.end(Footer((), (), Summary()))
    bucket = environ["ECRSWEEP_BUCKET"]
    aws.client("s3").put_object(Bucket=bucket, Key="plans/old.jsonl", Body=file.read_bytes())
    event = {"command": "apply", "plan": f"s3://{bucket}/plans/old.jsonl"}
    with pytest.raises(PlanExpired):
        run_of(environ, **event).work(lambda: False)
    with pytest.raises(Incomplete, match=r"status 5.*expired"):
        handler.handler(event, None)


def test_a_fault_of_our_own_is_reported_too(
    environ: dict[str, str], repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("never")

    monkeypatch.setattr("ecrsweep.serverless.run.prepare", broken)
    with pytest.raises(Incomplete, match=r"a fault in ecrsweep itself: ZeroDivisionError: never.*reports/"):
        handler.handler({"command": "plan"}, None)


def test_without_a_bucket_the_log_has_the_report(
    environ: dict[str, str], repo: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ECRSWEEP_BUCKET")
    assert handler.handler({"command": "plan"}, None)["report"] is None
    assert '"format": "ecrsweep.run/1"' in capsys.readouterr().out


def test_a_configuration_and_hold_files_in_the_bucket_are_read(
    aws: Emulator, environ: dict[str, str], repo: Repository
) -> None:
    s3, bucket = aws.client("s3"), environ["ECRSWEEP_BUCKET"]
    text = "policies: [{repositories: [team/*], newest: 0, pulled_within: off}]\nholds: [holds.yaml]\n"
    s3.put_object(Bucket=bucket, Key="config/ecrsweep.yaml", Body=text.encode())
    s3.put_object(Bucket=bucket, Key="config/holds.yaml", Body=b"- {image: 'team/app:v0', who: me, why: audit}")
    plain = {
        name: value for name, value in environ.items() if name not in {"ECRSWEEP_KEEP_NEWEST", "ECRSWEEP_PULLED_WITHIN"}
    }
    configured = plain | {"ECRSWEEP_CONFIG": f"s3://{bucket}/config/ecrsweep.yaml"}
    run = Run(asked_of({"command": "apply"}, configured), configured, "a-run")
    run.work(lambda: False)
    assert run.status() is Exit.DONE
    assert [set(image.tags) for image in repo.images()] == [{"v0"}]


def test_the_report_tells_what_aws_throttled(aws: Emulator, environ: dict[str, str], repo: Repository) -> None:
    aws.faults.add(Fault.error("ecr", "DescribeImages", "ThrottlingException", "Rate exceeded", times=2))
    run = run_of(environ, command="plan")
    run.work(lambda: False)
    assert run.report(None)["throttled"] == [
        {"account": ACCOUNT, "region": "us-east-1", "action": "ecr:DescribeImages", "times": 2}
    ]
