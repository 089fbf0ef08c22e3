"""The packaged zip as a Lambda: AWS's own runtime client, the template's environment, nothing of this checkout."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.deploy.runtime import Function
from tests.deploy.template import Resolved
from tests.support import ago

pytest.importorskip("moto")

ASK_LITTLE = {"Regions": "us-east-1", "KeepNewest": "1", "PulledWithin": "0d"}

Deploy = Callable[..., "Deployed"]


class Deployed:
    """A function with its bucket."""

    def __init__(self, function: Function, aws: Emulator, bucket: str) -> None:
        self.function = function
        self.invoke = function.invoke
        self.bucket = bucket
        self._s3 = aws.client("s3")

    def keys(self, prefix: str) -> list[str]:
        found = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", ())]

    def read(self, key: str) -> Any:
        return json.loads(self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def limit(self) -> float:
        """A time limit of which this machine, as busy as it is now, needs a tenth for a plan."""
        self.invoke({"command": "plan"})  # cold
        return max(5.0, 10 * self.invoke({"command": "plan"}).seconds)

    @property
    def report(self) -> dict[str, Any]:
        """The newest report."""
        return dict(self.read(max(self.keys("reports/"))))


@pytest.fixture
def deploy(aws: Emulator, code: Path, runtime: Path, tmp_path: Path) -> Iterator[Deploy]:
    """Put up the function with the environment that the template gives it for some parameters."""
    with ExitStack() as stack:

        def started(environ: dict[str, str] | None = None, /, **parameters: str) -> Deployed:
            scratch = tmp_path / str(len(list(tmp_path.iterdir())))
            scratch.mkdir()
            bucket = f"ecrsweep-{tmp_path.name.replace('_', '-')[:40]}-{time.time_ns()}"
            aws.client("s3").create_bucket(Bucket=bucket)
            variables = Resolved(**ASK_LITTLE | parameters).environment | {"ECRSWEEP_BUCKET": bucket} | (environ or {})
            function = stack.enter_context(Function(code, runtime, aws, scratch, variables))
            return Deployed(function, aws, bucket)

        yield started


def repository(aws: Emulator, name: str = "team/app", images: int = 3) -> Repository:
    repo = aws.ecr.repository(name)
    for number in range(images):
        repo.push_image(tags=(f"v{number}",), pushed_at=ago(days=2000 - number))
    return repo


def left(repo: Repository) -> int:
    return len(repo.images())


def test_a_plan_is_kept_with_its_report_and_deletes_nothing(aws: Emulator, deploy: Deploy) -> None:
    repo = repository(aws)
    deployed = deploy(Mode="plan")
    said = deployed.invoke({"command": "plan"})
    assert said.error is None, said.message
    assert left(repo) == 3
    assert said.answer["status"] == 0
    assert said.answer["summary"]["delete"] == 2
    assert said.answer["report"] == f"s3://{deployed.bucket}/{deployed.keys('reports/')[0]}"
    assert said.answer["plan"] == f"s3://{deployed.bucket}/{deployed.keys('plans/')[0]}"
    report = deployed.report
    assert report["format"] == "ecrsweep.run/1"
    assert (report["status"], report["stopped"], report["planned_whole"], report["deleted"]) == (0, None, True, 0)
    assert report["summary"] == said.answer["summary"]
    assert {entry["status"] for entry in report["coverage"]} == {"complete"}
    assert "apply" not in report


def test_apply_deletes_and_the_report_names_every_image(aws: Emulator, deploy: Deploy) -> None:
    repo = repository(aws)
    gone = {repo.digest_of("v0"), repo.digest_of("v1")}
    deployed = deploy(Mode="delete")
    said = deployed.invoke({"command": "apply"})
    assert said.error is None, said.message
    assert left(repo) == 1
    report = deployed.report
    assert report["deleted"] == said.answer["deleted"] == 2
    assert {entry["digest"]: entry["outcome"] for entry in report["apply"]["results"]} == dict.fromkeys(gone, "deleted")


def test_a_saved_plan_is_carried_out_by_another_invocation(aws: Emulator, deploy: Deploy) -> None:
    repo = repository(aws)
    deployed = deploy(Mode="delete")
    plan = deployed.invoke({"command": "plan"}).answer["plan"]
    repo.tag("keep", repo.digest_of("v0"))
    said = deployed.invoke({"command": "apply", "plan": plan})
    assert said.error is None, said.message
    assert {tag for image in repo.images() for tag in image.tags} == {"keep", "v0", "v2"}
    report = deployed.report
    assert (report["plan"], report["planned_whole"], report["summary"]["delete"]) == (plan, True, 2)
    assert report["apply"]["summary"]["spared"] == 1


def test_the_log_can_be_read(aws: Emulator, deploy: Deploy) -> None:
    repository(aws)
    deployed = deploy()
    deployed.invoke({"command": "plan"})
    lines = deployed.function.log.splitlines()
    assert any(line.startswith("[INFO]") and line.rstrip().endswith("team/app: 3 images") for line in lines)
    assert json.loads(lines[-1])["status"] == 0


def test_without_a_command_it_is_the_function_of_2016(aws: Emulator, deploy: Deploy) -> None:
    repo = repository(aws)
    planning = deploy(Mode="plan")
    assert planning.invoke({"key1": "value1"}).answer == {"status": 0}
    assert left(repo) == 3
    assert "Dry run: nothing was deleted. Images that would be deleted: 2." in planning.function.log
    assert deploy(Mode="delete").invoke(None).answer == {"status": 0}
    assert {tag for image in repo.images() for tag in image.tags} == {"v2"}


def test_without_any_variable_of_ours_it_has_the_rules_of_2016(aws: Emulator, deploy: Deploy) -> None:
    repo = repository(aws)
    repo.pull("v0")
    nothing = dict.fromkeys(Resolved().environment, "")
    original = nothing | {"REGION": "us-east-1", "DRYRUN": "False", "IMAGES_TO_KEEP": "1", "IGNORE_TAGS_REGEX": "1$"}
    assert deploy(original).invoke({}).answer == {"status": 0}
    assert {tag for image in repo.images() for tag in image.tags} == {"v1", "v2"}


def test_what_the_parameters_keep_is_kept_without_a_command_too(aws: Emulator, deploy: Deploy) -> None:
    repo, other = repository(aws), repository(aws, "other/app")
    repo.pull("v0")
    narrow = deploy(Mode="delete", Repositories="team/*", PulledWithin="30d", KeepTags="nothing,v1")
    assert narrow.invoke({}).answer == {"status": 0}
    assert (left(repo), left(other)) == (3, 3)
    limited = deploy(Mode="delete", Repositories="team/*", MaxImages="1")
    said = limited.invoke({})
    assert (said.error, left(repo)) == ("Incomplete", 3)
    assert "Held by a limit: 2 images would go, the limit is 1." in limited.function.log


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"command": "aply"}, '"aply": accepted are plan and apply'),
        ({"command": ["plan"]}, "accepted are plan and apply"),
        ({"command": "plan", "keep_newst": 20}, "keep_newst: accepted are command, plan, accept_drops"),
        ({"command": "plan", "keep_newest": "many"}, "keep_newest"),
        ({"comand": "apply"}, 'no command: accepted is {"command": "plan"}'),
        ({"Command": "apply"}, "no command"),
        ({"keep_newest": 20}, "keep_newest and no command"),
        ({"command": "apply", "plan": 7}, "s3://BUCKET/KEY"),
    ],
)
def test_a_misspelt_event_is_an_error_that_says_what_is_accepted(
    aws: Emulator, deploy: Deploy, event: Any, words: str
) -> None:
    repo = repository(aws)
    said = deploy(Mode="delete").invoke(event)
    assert said.error == "BadInput"
    assert words in said.message
    assert left(repo) == 3


def test_a_gap_holds_everything_fails_the_invocation_and_is_reported(aws: Emulator, deploy: Deploy) -> None:
    repo = repository(aws)
    aws.faults.add(Fault.denied("ecs", "ListClusters", region="eu-west-1"))
    deployed = deploy(Mode="delete")
    said = deployed.invoke({"command": "apply"})
    assert said.error == "Incomplete"
    assert "status 5" in said.message
    assert f"s3://{deployed.bucket}/reports/" in said.message
    assert left(repo) == 3
    report = deployed.report
    assert (report["status"], report["deleted"], report["summary"]["hold"]) == (5, 0, 2)
    assert {entry["region"] for entry in report["coverage"] if entry["status"] == "failed"} == {"eu-west-1"}
    assert "ecs:ListClusters" in report["missing_permissions"]


def test_a_bucket_that_cannot_be_written_stops_a_run_before_it_deletes(aws: Emulator, deploy: Deploy) -> None:
    repo = repository(aws)
    deployed = deploy({"ECRSWEEP_BUCKET": "ecrsweep-of-somebody-else"}, Mode="delete")
    said = deployed.invoke({"command": "apply"})
    assert said.error == "Incomplete"
    assert left(repo) == 3
    reported = [json.loads(line) for line in deployed.function.log.splitlines() if line.startswith('{"format"')]
    assert [(report["status"], report["deleted"]) for report in reported] == [(1, 0)], "the log has the report instead"


def test_what_indexes_contain_outlives_the_function(aws: Emulator, deploy: Deploy, tmp_path: Path) -> None:
    repo = aws.ecr.repository("team/app")
    repo.push_index([repo.push_image(pushed_at=ago(days=90))], tags=("v1",), pushed_at=ago(days=90))
    first = deploy()
    assert first.invoke({"command": "plan"}).error is None
    assert first.keys("state/manifests") == ["state/manifests.sqlite3.gz"]
    elsewhere = {"ECRSWEEP_BUCKET": first.bucket}
    assert deploy(elsewhere).invoke({"command": "plan"}).error is None
    assert aws.calls.count("ecr", "BatchGetImage") == 1
    assert first.keys("state/manifests") == ["state/manifests.sqlite3.gz"]


def outcomes(report: dict[str, Any]) -> dict[str, int]:
    return {name: number for name, number in report["apply"]["summary"].items() if number and "bytes" not in name}


def test_the_time_limit_in_the_middle_of_deletions_leaves_a_true_report_and_the_next_run_goes_on(
    aws: Emulator, deploy: Deploy
) -> None:
    repo = repository(aws, images=1501)
    deployed = deploy(Mode="delete", MaxFraction="1")
    limit = deployed.limit()
    aws.faults.add(Fault("delay", "ecr", "BatchDeleteImage", seconds=limit / 14))  # well within the margin
    said = deployed.invoke({"command": "apply"}, seconds=limit)
    assert said.error == "Incomplete"
    assert "the time limit of the function came first; the next run goes on from here" in said.message
    report, gone = deployed.report, 1501 - left(repo)
    assert 0 < gone < 1500
    assert gone % 100 == 0
    assert (report["status"], report["deleted"]) == (4, gone)
    assert "time limit" in report["stopped"]
    assert outcomes(report) == {"deleted": gone, "not_tried": 1500 - gone}
    aws.faults.clear()
    assert deployed.invoke({"command": "apply"}).answer["deleted"] == 1500 - gone
    assert left(repo) == 1


def test_a_deletion_that_hangs_is_unknown_in_the_report_and_nothing_is_sent_afterwards(
    aws: Emulator, deploy: Deploy
) -> None:
    repo = repository(aws, images=301)
    deployed = deploy(Mode="delete", MaxFraction="1")
    limit = deployed.limit()
    aws.faults.add(Fault("delay", "ecr", "BatchDeleteImage", seconds=limit + 1, skip=1, times=1))
    said = deployed.invoke({"command": "apply"}, seconds=limit)
    assert said.error == "Incomplete"
    report = deployed.report
    assert (report["status"], report["deleted"], outcomes(report)) == (
        4,
        100,
        {"deleted": 100, "unknown": 100, "not_tried": 100},
    )
    asked = aws.calls.count("ecr")
    while left(repo) > 101:  # what hung comes through after all
        time.sleep(0.1)
    time.sleep(1)
    assert aws.calls.count("ecr") == asked
    assert deployed.invoke({"command": "apply"}).answer["deleted"] == 100
    assert left(repo) == 1


def test_the_time_limit_while_planning_deletes_nothing_and_the_next_run_finishes(aws: Emulator, deploy: Deploy) -> None:
    deployed = deploy(Mode="delete")
    limit = deployed.limit()
    plans = len(deployed.keys("plans/"))
    repos = [repository(aws, f"team/app{number}") for number in range(40)]
    index = repos[0].push_index([repos[0].push_image(pushed_at=ago(days=950))], pushed_at=ago(days=950))
    late = {repo.name for repo in repos[20:]}
    hangs = Fault(
        "delay", "ecr", "DescribeImages", seconds=limit + 1, when=lambda asked: asked["repositoryName"] in late
    )
    aws.faults.add(hangs)
    said = deployed.invoke({"command": "apply"}, seconds=limit)
    assert said.error == "Incomplete"
    assert "the time limit" in said.message
    assert sum(left(repo) for repo in repos) == 122
    report = deployed.report
    assert (report["status"], report["planned_whole"], report["deleted"], report["plan"]) == (4, False, 0, None)
    assert 0 < report["summary"]["repositories"] < 40
    assert len(deployed.keys("plans/")) == plans
    assert deployed.keys("state/"), "what was learned of the index is not lost"
    aws.faults.clear()
    assert deployed.invoke({"command": "apply"}).answer["deleted"] == 82
    assert index not in repos[0].by_digest
    assert all(left(repo) == 1 for repo in repos)


def test_a_reading_that_hangs_ends_with_a_report_and_no_deletion(aws: Emulator, deploy: Deploy) -> None:
    repo = repository(aws)
    deployed = deploy(Mode="delete")
    limit = deployed.limit()
    aws.faults.add(Fault("delay", "ecs", "ListClusters", seconds=limit + 1, times=1))
    said = deployed.invoke({"command": "apply"}, seconds=limit)
    assert said.error == "Incomplete"
    report = deployed.report
    assert (report["status"], report["planned_whole"], report["deleted"]) == (4, False, 0)
    assert "apply" not in report
    assert left(repo) == 3


def test_the_function_of_2016_stops_before_its_time_limit_too(aws: Emulator, deploy: Deploy) -> None:
    repo = repository(aws, images=501)
    deployed = deploy(Mode="delete")
    limit = deployed.limit()
    aws.faults.add(Fault("delay", "ecr", "BatchDeleteImage", seconds=limit / 4))
    said = deployed.invoke({}, seconds=limit)
    assert said.error == "Incomplete"
    assert 0 < 501 - left(repo) < 500
    assert f"Images deleted: {501 - left(repo)}." in deployed.function.log


def test_a_report_that_cannot_be_written_in_time_stands_in_the_log(aws: Emulator, deploy: Deploy) -> None:
    repository(aws)
    deployed = deploy()
    limit = deployed.limit()
    # After the cache, what is remembered, the plan, and what the run writes down: each was a call or more.
    hanging = Fault("delay", "s3", seconds=limit + 1, skip=10, times=1)
    aws.faults.add(hanging)
    said = deployed.invoke({"command": "plan"}, seconds=limit)
    assert said.error == "Incomplete"
    assert "the report could not be written to the bucket" in said.message
    reported = [json.loads(line) for line in deployed.function.log.splitlines() if line.startswith('{"format"')]
    assert [(report["planned_whole"], report["deleted"]) for report in reported] == [(True, 0)]
