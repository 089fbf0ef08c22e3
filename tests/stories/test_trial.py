"""A trial by archive: what is missed comes back and stays, what nobody misses goes."""

import json
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from tests.support import ACCOUNT, Cli, Finished, ago

SCRIPT = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from ecrsweep.serverless.missed import handler

def tell(event):
    try:
        return handler(event, None)
    except Exception as error:
        return {"raised": type(error).__name__, "text": str(error)}

with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    for answer in pool.map(tell, json.load(sys.stdin)):
        print(json.dumps(answer))
"""
NO_RULES = ("--keep-newest", "0", "--pulled-within", "0d", "--used-within", "0d", "--otherwise", "trial")
AGENT = "docker/27.0 \x1b[31mgo/1.23"


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


class Trial:
    """An account in which ecrsweep keeps its state in a bucket, and the alarm goes to a topic that a queue listens to."""

    def __init__(self, aws: Emulator, cli: Cli) -> None:
        self.aws, self.cli = aws, cli
        self.bucket = f"sweep-{uuid.uuid4()}"
        aws.client("s3").create_bucket(Bucket=self.bucket)
        cli.environ["ECRSWEEP_STATE"] = f"s3://{self.bucket}/state"
        topic = aws.client("sns").create_topic(Name="alarms")["TopicArn"]
        self.queue = aws.client("sqs").create_queue(QueueName="alarms")["QueueUrl"]
        aws.client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:{ACCOUNT}:alarms",
            Attributes={"RawMessageDelivery": "true"},
        )  # fmt: skip
        cli.environ["ECRSWEEP_ALARM_TOPIC"] = topic

    def run(self, command: str, *arguments: str) -> Finished:
        yes = ("--yes",) if command == "apply" else ()
        ended = self.cli(command, "--output", "json", *yes, *NO_RULES, *arguments)
        assert ended.status == 0, ended.err
        return ended

    def tell(self, *events: Any, at_once: int = 1, **environ: str) -> tuple[list[dict[str, Any]], str]:
        """Let the handler have these events; what it answered or raised, and what it logged."""
        command = [sys.executable, "-c", SCRIPT, str(at_once)]
        ended = self.cli.run(command, json.dumps(events), environ)
        assert ended.status == 0, ended.err
        return [json.loads(line) for line in ended.out.splitlines()], ended.err

    def alarms(self) -> list[str]:
        client = self.aws.client("sqs")
        found = []
        while messages := client.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(message["Body"])
                client.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def kept(self, folder: str) -> list[Any]:
        client = self.aws.client("s3")
        keys = client.list_objects_v2(Bucket=self.bucket, Prefix=f"state/{folder}/").get("Contents", [])
        return [json.loads(client.get_object(Bucket=self.bucket, Key=key["Key"])["Body"].read()) for key in keys]


@pytest.fixture
def trial(aws: Emulator, cli: Cli) -> Iterator[Trial]:
    made = Trial(aws, cli)
    yield made
    aws.client("sqs").delete_queue(QueueUrl=made.queue)  # moto's outlive an emulator


def event(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What EventBridge makes of a record of CloudTrail."""
    return {
        "version": "0", "id": str(uuid.uuid4()), "detail-type": "AWS API Call via CloudTrail", "source": "aws.ecr",
        "account": ACCOUNT, "time": record.get("eventTime"), "region": "us-east-1", "resources": [], "detail": record,
    } | changes  # fmt: skip


def pull(aws: Emulator, repo: Repository, reference: str) -> int:
    """The status that somebody gets who pulls, as docker does."""
    try:
        address = f"{aws.url}/v2/{repo.name}/manifests/{reference}"
        with urllib.request.urlopen(address) as answer:  # noqa: S310 - the emulator of this machine
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def states(aws: Emulator, repo: Repository) -> dict[str, str]:
    return {image.digest: image.status(aws.clock.seconds) for image in repo.images()}


def test_what_is_missed_comes_back_whole_and_stays_and_what_nobody_misses_goes(
    aws: Emulator, cli: Cli, trial: Trial
) -> None:
    repo = aws.ecr.repository("team/app")
    leaves = [repo.push_image(pushed_at=ago(days=200)) for _ in range(2)]
    index = repo.push_index(leaves, tags=("v1",), pushed_at=ago(days=200))
    unmissed = repo.push_image(tags=("v2",), pushed_at=ago(days=200))
    aws.clock.set(ago(days=40))
    trial.run("apply")
    assert set(states(aws, repo).values()) == {"ARCHIVED"}

    aws.clock.set(ago(days=20))
    assert pull(aws, repo, "v1") == 404
    (record,) = [found for found in aws.trail.records() if found["sourceIPAddress"] != "203.0.113.7"]
    missed = event(record)
    (answer,), log = trial.tell(missed)
    assert answer == {"missed": [f"{repo.uri}@{index}"], "ignored": {}}
    assert record["userIdentity"]["arn"] in log
    assert "about 20 minutes" in log
    assert states(aws, repo) == dict.fromkeys((*leaves, index), "ACTIVATING") | {unmissed: "ARCHIVED"}
    assert trial.tell(missed, missed)[0] == [answer, answer], "EventBridge delivers at least once"
    (alarm,) = trial.alarms()
    assert f"{repo.uri}@{index} (v1) is archived and somebody wants it" in alarm
    assert "Restoring 3 images" in alarm
    (hold,) = trial.kept("holds")
    assert (hold["image"], hold["who"]) == (f"{repo.uri}@{index}", record["userIdentity"]["arn"])

    aws.clock.advance(timedelta(minutes=21))
    assert pull(aws, repo, "v1") == 200
    aws.clock.set(datetime.now(UTC))
    plan = trial.run("plan")
    assert {digest: plan.action(digest) for digest in (index, unmissed)} == {index: "keep", unmissed: "delete"}
    assert plan.codes(index) >= {"held_by_owner"}
    assert "pulled while it was archived" in plan.details(index)
    assert record["userIdentity"]["arn"] in plan.details(index)
    assert {plan.action(leaf) for leaf in leaves} == {"keep"}
    assert plan.codes(unmissed) == {"trial_passed"}
    trial.run("apply")
    assert states(aws, repo) == dict.fromkeys((*leaves, index), "ACTIVE")


def test_many_miss_a_part_of_it_at_once_and_only_what_is_archived_is_any_of_it(
    aws: Emulator, cli: Cli, trial: Trial
) -> None:
    repo = aws.ecr.repository("team/app")
    leaf = repo.push_image(pushed_at=ago(days=200))
    index = repo.push_index([leaf], tags=("v1",), pushed_at=ago(days=200))
    old = repo.push_image(tags=("old",), pushed_at=ago(days=200))
    aws.clock.set(ago(days=2))
    trial.run("apply")
    fresh = repo.push_image(tags=("new",))
    aws.clock.set(datetime.now(UTC))
    by_leaf = [
        event(aws.trail.pull(repo, digest=leaf, by=f"nodes/i-{number}", agent=AGENT, address="10.0.0.7"))
        for number in range(20)
    ]
    others = [
        event(aws.trail.pull(repo, tag="new")),
        event(aws.trail.pull(repo, digest=fresh, error="ImageNotFoundException")),
        event(aws.trail.pull(repo, tag="nosuch")),
        event(aws.trail.pull(repo, tag="old", at=ago(days=9))),
        event(aws.trail.pull(repo, tag="old", agent="Boto3/1.43 ecrsweep/0.1.0")),
        event(aws.trail.pull(repo, tag="old", requestParameters=None, error="AccessDenied")),
        event(aws.trail.pull(aws.ecr.repository("gone/app"), tag="v1")),
        event(aws.trail.pull(repo, tag="old", requestParameters={
            "registryId": "210987654321", "repositoryName": "team/app", "imageIds": [{"imageTag": "old"}]})),
    ]  # fmt: skip
    del aws.ecr.registry(ACCOUNT, "us-east-1")["gone/app"]
    answers, log = trial.tell(*by_leaf, *others, at_once=8)
    assert [answer["missed"] for answer in answers] == [[f"{repo.uri}@{leaf}"]] * 20 + [[]] * 8
    assert [list(answer["ignored"]) for answer in answers[20:]] == [
        ["it is not archived"], ["it is not archived"], ["there is no such image"], ["it was archived more than a day later"],
        ["by ecrsweep itself"], ["it was refused without saying for which image"], ["there is no such image"],
        ["it is in the registry of another account"],
    ]  # fmt: skip
    assert "\x1b" not in log
    assert states(aws, repo) == {leaf: "ACTIVATING", index: "ACTIVATING", old: "ARCHIVED", fresh: "ACTIVE"}
    assert len(trial.kept("holds")) == 1
    assert 1 <= len(trial.alarms()) <= 8, "of those that come at the very same moment, each may be told"


def test_what_cannot_be_done_or_understood_raises_and_a_second_try_does_what_was_left(
    aws: Emulator, cli: Cli, trial: Trial
) -> None:
    repo = aws.ecr.repository("team/app")
    digest = repo.push_image(tags=("v1",), pushed_at=ago(days=200))
    repo.archive(digest)
    good = event(aws.trail.pull(repo, tag="v1"))
    record = good["detail"]
    unknown: list[Any] = [
        {}, [], "text", event(record, source="aws.ecs"), event(record, detail=None), event(record | {"eventName": "PutImage"}),
        event(record, **{"detail-type": "ECR Image Action"}), event(record | {"eventTime": "soon"}),
        event(record | {"requestParameters": None}), event({"eventName": "BatchGetImage"}),
        event(record | {"requestParameters": {"repositoryName": "team/app", "imageIds": [{}], "registryId": ACCOUNT}}),
    ]  # fmt: skip
    assert [answer.get("raised") for answer in trial.tell(*unknown)[0]] == ["UnknownEvent"] * len(unknown)
    aws.faults.add(Fault.denied("sns", "*", times=1))
    answers, _ = trial.tell(good, good, good)
    assert [answer.get("raised") for answer in answers] == ["Denied", None, None]
    assert states(aws, repo) == {digest: "ACTIVATING"}
    assert len(trial.alarms()) == 1, "an alarm that could not be raised is raised when Lambda tries again"

    other = repo.push_image(tags=("v2",), pushed_at=ago(days=200))
    repo.archive(other)
    aws.faults.add(Fault.denied("ecr", "UpdateImageStorageClass", times=1))
    again = event(aws.trail.pull(repo, tag="v2"))
    answers, log = trial.tell(again, again)
    assert [answer.get("raised") for answer in answers] == ["NotRestored", None]
    assert "NOT restored" in log
    assert states(aws, repo) == {digest: "ACTIVATING", other: "ACTIVATING"}
    assert len(trial.kept("holds")) == 2
    assert trial.tell(good, ECRSWEEP_STATE="")[0][0]["raised"] == "BadInput"
