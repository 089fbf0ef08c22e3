"""What EventBridge tells between two runs: short-lived tasks, jobs and functions are in the ledger when the next run asks."""

import json
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, Finished, ago

SCRIPT = """
import json, sys
from ecrsweep.serverless.events import handler

for event in json.load(sys.stdin):
    try:
        print(json.dumps(handler(event, None)))
    except Exception as error:
        print(json.dumps({"raised": type(error).__name__, "text": str(error)}))
"""
CRON = {"name": "CRON", "value": "image"}
IDS = iter(range(1_000_000))


@pytest.fixture
def repo(aws: Emulator, cli: Cli) -> Repository:
    """Five old images, and a bucket for the ledger of this test: moto's buckets outlive an emulator."""
    cli.environ["ECRSWEEP_BUCKET"] = f"sweep-{uuid.uuid4()}"
    aws.client("s3").create_bucket(Bucket=cli.environ["ECRSWEEP_BUCKET"])
    made = aws.ecr.repository("team/app")
    for version in range(1, 6):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=90))
    return made


def at(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(source: str, kind: str, detail: dict[str, Any], **span: float) -> dict[str, Any]:
    return {
        "version": "0", "id": f"c8f9c4b5-76e5-d76a-f980-{next(IDS):012}", "detail-type": kind, "source": source,
        "account": ACCOUNT, "time": at(**(span or {"hours": 3})), "region": "us-east-1", "resources": [], "detail": detail,
    }  # fmt: skip


def task(image: str, digest: str | None = None, **detail: Any) -> dict[str, Any]:
    container = {"name": "job", "image": image, "lastStatus": "STOPPED"} | ({"imageDigest": digest} if digest else {})
    arn = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/prod/{next(IDS):032}"
    told = {"taskArn": arn, "lastStatus": "STOPPED", "createdAt": at(hours=4), "containers": [container]}
    return event("aws.ecs", "ECS Task State Change", told | detail)


def job(**detail: Any) -> dict[str, Any]:
    arn = f"arn:aws:batch:us-east-1:{ACCOUNT}:job/{next(IDS)}"
    created = int((datetime.now(UTC) - timedelta(hours=5)).timestamp() * 1000)
    told = {"jobArn": arn, "jobName": "nightly", "status": "SUCCEEDED", "createdAt": created}
    return event("aws.batch", "Batch Job State Change", told | detail)


def function(name: str, asked: dict[str, Any], answered: dict[str, Any] | None, **detail: Any) -> dict[str, Any]:
    arn = {"functionArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f", "functionName": "f"}
    told = {
        "eventSource": "lambda.amazonaws.com", "eventName": name, "eventTime": at(hours=3),
        "requestParameters": {"functionName": "f"} | asked, "responseElements": None if answered is None else arn | answered,
    }  # fmt: skip
    return event("aws.lambda", "AWS API Call via CloudTrail", told | detail)


def tell(cli: Cli, *events: Any, **environ: str) -> list[dict[str, Any]]:
    """Let the handler have these events; what it answered, or raised."""
    ended = cli.run([sys.executable, "-c", SCRIPT], json.dumps(events), environ)
    assert ended.status == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def plan(cli: Cli, *arguments: str) -> Finished:
    rules = ("--keep-newest", "0", "--pulled-within", "0d", "--state", f"s3://{cli.environ['ECRSWEEP_BUCKET']}/state")
    return cli("plan", "--output", "json", *rules, *arguments)


def kept(found: Finished, repo: Repository) -> list[str]:
    assert found.status == 0, found.err
    return sorted(tag for tag, digest in repo.by_tag.items() if found.action(digest) == "keep")


def test_a_task_that_came_and_went_between_two_runs_keeps_its_image(aws: Emulator, cli: Cli, repo: Repository) -> None:
    ended = task(f"{repo.uri}:main", repo.digest_of("v1"))
    running = task(f"{repo.uri}:v2", lastStatus="RUNNING")
    bare = task(repo.digest_of("v4").replace("sha256:", "sha256:0")[:71], repo.digest_of("v3"))
    public = task("public.ecr.aws/nginx/nginx:1")
    answers = tell(cli, ended, ended, running, bare, public)
    assert [answer.get("recorded") for answer in answers] == [1, 1, 1, 1, 0]
    found = plan(cli)
    assert kept(found, repo) == ["v1", "v2", "v3"]
    detail = found.details(repo.digest_of("v1"))
    assert f"{ended['detail']['taskArn']} container job (ecs), first {ended['detail']['createdAt']}" in detail
    keys = [
        entry["Key"]
        for entry in aws.client("s3").list_objects_v2(Bucket=cli.environ["ECRSWEEP_BUCKET"], Prefix="state/ledger")[
            "Contents"
        ]
    ]
    assert sum("event-" in key for key in keys) == 3, "an event that comes twice is one object"


def test_a_job_keeps_every_image_that_it_names_wherever_it_does(aws: Emulator, cli: Cli, repo: Repository) -> None:
    plain = job(container={"image": f"{repo.uri}:v1", "environment": [CRON, {"image": f"{repo.uri}:v5"}]})
    tasks = job(ecsProperties={"taskProperties": [{"containers": [{"image": f"{repo.uri}:v2"}]}]})
    pods = job(
        eksProperties={
            "podProperties": {"containers": [{"image": "busybox"}], "initContainers": [{"image": f"{repo.uri}:v3"}]}
        }
    )
    nodes = job(
        nodeProperties={"nodeRangeProperties": [{"container": {"image": f"{repo.uri}@{repo.digest_of('v4')}"}}]}
    )
    assert [answer.get("recorded") for answer in tell(cli, plain, tasks, pods, nodes)] == [1, 1, 1, 1]
    found = plan(cli)
    assert kept(found, repo) == ["v1", "v2", "v3", "v4"]
    assert "job/" in found.details(repo.digest_of("v1"))
    assert "(batch)" in found.details(repo.digest_of("v1"))


def test_a_function_keeps_what_it_was_made_of(aws: Emulator, cli: Cli, repo: Repository) -> None:
    events = [
        function("CreateFunction20150331", {"code": {"imageUri": f"{repo.uri}:v1"}}, {"packageType": "Image"}),
        function("UpdateFunctionCode20150331v2", {"imageUri": f"{repo.uri}@{repo.digest_of('v2')}"}, {}),
        function("UpdateFunctionCode20150331v2", {}, {"codeSha256": repo.digest_of("v3").removeprefix("sha256:")}),
        function("CreateFunction20150331", {"runtime": "python3.13"}, {"runtime": "python3.13", "codeSha256": "aGk="}),
        function("UpdateFunctionCode20150331v2", {"imageUri": f"{repo.uri}:v5"}, None, errorCode="AccessDenied"),
        function("UpdateFunctionCode20150331v2", {"imageUri": f"{repo.uri}:v5", "dryRun": True}, {}),
    ]
    assert [answer.get("recorded") for answer in tell(cli, *events)] == [1, 1, 1, 0, 0, 0]
    assert kept(plan(cli), repo) == ["v1", "v2", "v3"]


def test_a_tag_that_has_moved_since_keeps_what_it_may_have_named(aws: Emulator, cli: Cli, repo: Repository) -> None:
    old, young = repo.push_image(pushed_at=ago(days=60)), repo.push_image(pushed_at=ago(days=20))
    started = int((datetime.now(UTC) - timedelta(days=30)).timestamp() * 1000)
    repo.push_image(tags=("main",), pushed_at=ago(days=20))
    moved = job(container={"image": f"{repo.uri}:main"}, createdAt=started)
    moved["time"] = at(days=29)
    assert tell(cli, moved)[0]["recorded"] == 1
    found = plan(cli)
    assert (found.action(old), found.action(young)) == ("keep", "delete")


def test_where_a_tag_cannot_be_looked_up_its_name_is_remembered(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.faults.add(Fault.denied("ecr", "DescribeImages"))
    by_name = job(container={"image": f"{repo.uri}:v1"}), job(container={"image": "corp.example/team/app:v2"})
    assert [answer.get("recorded") for answer in tell(cli, *by_name)] == [1, 1]
    aws.faults.clear()
    assert kept(plan(cli), repo) == ["v1", "v2"]


def test_what_is_not_known_raises_and_so_does_what_cannot_be_written(aws: Emulator, cli: Cli, repo: Repository) -> None:
    good = task(f"{repo.uri}:v1", repo.digest_of("v1"))
    unknown: list[Any] = [
        {},
        [],
        "text",
        {**good, "detail": None},
        {key: value for key, value in good.items() if key != "id"},
        {**good, "detail-type": "ECS Container Instance State Change"},
        {**good, "source": "aws.nosuch"},
        {**good, "detail": {"taskArn": "arn"}},
        {**good, "detail": {"containers": [{"image": "x"}]}},
        {**good, "time": "soon"},
        task("", None),
        job(),
        job(container={}),
        function("UpdateFunctionCode20150331v2", {}, {"packageType": "Image"}),
        function("Invoke", {"imageUri": "x"}, {}),
        function("CreateFunction20150331", {"code": {"imageUri": "x"}}, {}, eventSource="evil.example"),
    ]
    answers = tell(cli, *unknown)
    assert [answer.get("raised") for answer in answers] == ["UnknownEvent"] * len(unknown)
    assert [answer.get("raised") for answer in tell(cli, good, ECRSWEEP_BUCKET="no-such-bucket")] == ["StateFailure"]
    assert [answer.get("raised") for answer in tell(cli, good, ECRSWEEP_BUCKET="")] == ["BadInput"]
