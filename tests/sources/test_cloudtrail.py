"""CloudTrail as witness: whoever pulled an image within the last days keeps it, wherever the records are, and scanners keep nothing."""

import gzip
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ecrsweep.aws.bucket import Bucket
from ecrsweep.aws.session import AwsPlace
from ecrsweep.core.errors import AwsFailure, BadInput, Denied
from ecrsweep.core.uses import Covered, Note, Use
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from ecrsweep.sources import chosen_sources
from ecrsweep.sources.cloudtrail import CloudTrailSource
from tests.support import ACCOUNT, Cli, ago

LOGS = ("history", "lake", "folder", "bucket")
SERVICE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role"


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """A repository of old images, v1 to v9; no rule keeps any."""
    made = aws.ecr.repository("team/app")
    for version in range(1, 10):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=100 - version))
    return made


def daily(aws: Emulator, repo: Repository, days: int = 31) -> None:
    """Something is called every day, as in any account: else a day without a log file could be one that nobody logged."""
    for day in range(days):
        aws.trail.pull(repo, tag="v9", by="user/daily", at=ago(days=day, minutes=1))


def delivered(aws: Emulator, log: str, folder: Path, **store: Any) -> str:
    """The option that reads the records so far from this log."""
    if log == "history":
        return "cloudtrail.days=30"
    if log == "lake":
        return f"cloudtrail.lake={aws.trail.store(**store)}"
    s3, bucket = aws.client("s3"), f"logs-{uuid.uuid4()}"
    if log == "bucket":
        s3.create_bucket(Bucket=bucket)
    for key, content in aws.trail.log_files(prefix="audit/"):
        if log == "bucket":
            s3.put_object(Bucket=bucket, Key=key, Body=content)
        else:
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(content)
    return "cloudtrail.export=" + (f"s3://{bucket}/audit" if log == "bucket" else str(folder / "audit"))


def read(place: AwsPlace, *options: str) -> tuple[list[Use], str, AwsFailure | BadInput | None]:
    """What the source says here: its uses, its notes as one text, and how it ended or what it lacks of this account."""
    (source,) = [source for source in chosen_sources(("cloudtrail",), options) if source.name == "cloudtrail"]
    uses, notes = [], []
    ended: AwsFailure | BadInput | None = None
    try:
        for told in source.uses(place):
            match told:
                case Use():
                    uses.append(told)
                case Note():
                    notes.append(told.text)
                case Covered():
                    trouble = told.trouble_of(place.account)
                    ended = AwsFailure(trouble) if trouble else None
    except (AwsFailure, BadInput) as error:
        ended = error
    return uses, "\n".join(notes), ended


@pytest.mark.parametrize("log", LOGS)
def test_whoever_pulled_lately_keeps_the_image_and_is_named(
    aws: Emulator, cli: Cli, repo: Repository, log: str, tmp_path: Path
) -> None:
    daily(aws, repo)
    aws.trail.pull(repo, tag="v1", by="user/dana", at=ago(days=20))
    aws.trail.pull(repo, tag="v1", by="user/dana", at=ago(days=2))
    aws.trail.pull(
        repo, digest=repo.digest_of("v2"), by="host/i-0abc", at=ago(days=1), address="203.0.113.9", agent="docker/27"
    )
    aws.trail.pull(repo, tag="v3", by="user/far", account="210987654321", at=ago(days=1))
    aws.trail.pull(repo, tag="v4", by="user/refused", error="AccessDenied", at=ago(days=1))
    aws.trail.pull(repo, tag="v5", by="user/long-ago", at=ago(days=40))
    scanner = {
        "sessionContext": {"sessionIssuer": {"arn": f"{SERVICE_ROLE}/inspector2.amazonaws.com/R"}},
        "arn": "arn:x",
    }
    aws.trail.pull(repo, tag="v6", at=ago(days=1), userIdentity=scanner)
    aws.trail.pull(repo, tag="v7", by="backup/nightly", at=ago(days=1))
    option = delivered(aws, log, tmp_path / "logs")
    found = cli.plan(
        "--keep-newest",
        "0",
        "--source-option",
        option,
        "--source-option",
        f"cloudtrail.ignore=arn:x*, arn:aws:iam::{ACCOUNT}:role/back*",
    )
    assert found.status == 0, found.err
    actions = [found.action(repo.digest_of(f"v{version}")) for version in range(1, 10)]
    assert actions == ["keep"] * 4 + ["delete"] * 4 + ["keep"]
    assert f"arn:aws:iam::{ACCOUNT}:user/dana pulled 2 times, last {ago(days=2):%Y-%m-%dT%H}" in found.details(
        repo.digest_of("v1")
    )
    assert "assumed-role/host/i-0abc pulled 1 time" in found.details(repo.digest_of("v2"))
    assert "from 203.0.113.9, docker/27" in found.details(repo.digest_of("v2"))
    assert "arn:aws:iam::210987654321:user/far" in found.details(repo.digest_of("v3"))
    assert "was refused 1 time (AccessDenied)" in found.details(repo.digest_of("v4"))
    notes = "\n".join(note for entry in found.json["coverage"] for note in entry.get("notes", ()))
    assert "by Amazon Inspector 1, by cloudtrail.ignore 1" in notes
    assert "pulls that were refused: 1" in notes


def test_it_is_off_unless_it_is_asked_for(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.trail.pull(repo, tag="v1", at=ago(days=2))
    assert cli.plan("--keep-newest", "0").action(repo.digest_of("v1")) == "delete"
    assert aws.calls.count("cloudtrail") == 0
    empty = cli("uses", "--output", "json", "--with-source", "cloudtrail", "--region", "eu-west-1")
    assert empty.status == 0
    entries = {entry["region"]: entry for entry in empty.json["coverage"] if entry["source"] == "cloudtrail"}
    assert [entries[region]["uses"] for region in ("eu-west-1", "us-east-1", "us-west-2")] == [0, 1, 0]


def test_what_the_tag_named_when_it_was_pulled_stays_after_it_has_moved(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    old = repo.push_image(tags=("prod",), pushed_at=ago(days=60))
    aws.trail.pull(repo, tag="prod", by="user/dana", at=ago(days=20))
    newer = repo.push_image(tags=("prod",), pushed_at=ago(days=15))
    after = repo.push_image(pushed_at=ago(days=16))
    found = cli.plan("--keep-newest", "0", "--with-source", "cloudtrail")
    assert (found.action(newer), found.action(old), found.action(after)) == ("keep", "keep", "delete")
    assert "possible" in found.details(old)
    assert "user/dana" in found.details(old)


def test_reads_of_ecrsweep_itself_are_left_out_and_its_principal_is_not(
    aws: Emulator, place: AwsPlace, repo: Repository
) -> None:
    child = repo.push_image(pushed_at=ago(days=90))
    index = repo.push_index([child], tags=("multi",), pushed_at=ago(days=90))
    place.call("ecr", "batch_get_image", repositoryName=repo.name, imageIds=[{"imageDigest": index}])
    uses, notes, _ = read(place)
    assert (uses, notes) == ([], "left out, because nobody pulls so to run an image: by ecrsweep itself 1")
    aws.trail.pull(repo, tag="v1", by="sweeper/run", at=ago(days=1))
    assert [use.workload for use in read(place)[0]] == [f"arn:aws:sts::{ACCOUNT}:assumed-role/sweeper/run"]


@pytest.mark.parametrize(
    ("identity", "counts"),
    [
        ({"type": "AssumedRole", "arn": "arn:a", "principalId": "P:i-1", "invokedBy": "AWS Internal"}, True),
        ({"type": "AssumedRole", "arn": "arn:a", "principalId": "P:i-1", "invokedBy": "ecr.amazonaws.com"}, True),
        ({"type": "AWSService", "invokedBy": "lambda.amazonaws.com"}, True),
        ({"type": "AWSAccount", "principalId": "AROA:x", "accountId": "210987654321"}, True),
        ({"accountId": ACCOUNT, "invokedBy": "AWS Internal"}, True),
        ({"accountId": ACCOUNT, "invokedBy": "ecr.amazonaws.com"}, False),
        ({"type": "AWSService", "invokedBy": "inspector2.amazonaws.com"}, False),
        ({"arn": "arn:a", "sessionContext": {"sessionIssuer": {"arn": f"{SERVICE_ROLE}/replication.ecr.amazonaws.com/R"}}}, False),
        ({"arn": "arn:a", "sessionContext": {"sessionIssuer": {"arn": f"{SERVICE_ROLE}/pullthroughcache.ecr.amazonaws.com/R"}}}, False),
        ({"arn": "arn:a", "sessionContext": {"sessionIssuer": {"arn": f"{SERVICE_ROLE}/ecs.amazonaws.com/R"}}}, True),
        ({"arn": "arn:a", "sessionContext": {"sessionIssuer": {"arn": f"arn:aws:iam::{ACCOUNT}:role/inspector2"}}}, True),
    ],
)  # fmt: skip
def test_only_what_aws_does_for_itself_is_left_out(
    aws: Emulator, place: AwsPlace, repo: Repository, identity: dict[str, Any], counts: bool
) -> None:
    aws.trail.pull(repo, tag="v1", at=ago(days=1), userIdentity=identity)
    uses, notes, _ = read(place)
    assert bool(uses) == counts
    assert ("left out" in notes) != counts


def test_many_sessions_of_a_role_are_told_as_one(aws: Emulator, place: AwsPlace, repo: Repository) -> None:
    for number in range(40):
        aws.trail.pull(repo, tag="v1", by=f"ci/run-{number}", at=ago(days=3, minutes=number))
    for number in range(10):
        aws.trail.pull(repo, tag="v2", by=f"hosts/i-{number}", at=ago(days=3))
    uses = read(place)[0]
    assert [use.workload for use in uses if use.image.endswith("v1")] == [f"arn:aws:iam::{ACCOUNT}:role/ci"]
    (told,) = [use for use in uses if use.image.endswith("v1")]
    assert told.pulls is not None
    assert told.pulls.times == 40
    assert told.pulls.last - told.pulls.first == 39 * 60
    assert len([use for use in uses if use.image.endswith("v2")]) == 10


@pytest.mark.parametrize("log", ["history", "lake"])
def test_every_page_is_read(aws: Emulator, place: AwsPlace, repo: Repository, log: str, tmp_path: Path) -> None:
    number = 120 if log == "history" else 2100
    for each in range(number):
        aws.trail.pull(repo, digest=f"sha256:{each:064x}", at=ago(days=2, seconds=each))
    uses, _, ended = read(place, delivered(aws, log, tmp_path))
    assert ended is None
    assert len(uses) == number
    assert aws.calls.count("cloudtrail", "LookupEvents" if log == "history" else "GetQueryResults") == 3


def listing(keys: list[str], *, count: int | None = None, more: str = "") -> bytes:
    """What S3 answers to ListObjectsV2."""
    told = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    token = f"<IsTruncated>true</IsTruncated>{more}" if more else "<IsTruncated>false</IsTruncated>"
    number = len(keys) if count is None else count
    return f"<ListBucketResult><KeyCount>{number}</KeyCount>{token}{told}</ListBucketResult>".encode()


def test_every_page_of_a_bucket_is_listed(aws: Emulator, place: AwsPlace) -> None:
    more = "<NextContinuationToken>t1</NextContinuationToken>"
    aws.faults.add(Fault("garbage", "s3", body=listing(["a/1", "a/2"], more=more), times=1))
    aws.faults.add(Fault("garbage", "s3", body=listing(["a/3"]), skip=1))
    assert list(Bucket(place, "bucket").keys("a/")) == ["a/1", "a/2", "a/3"]


@pytest.mark.parametrize(
    "body", [listing(["a/1"], count=2), listing([], more="<x/>"), b"<ListBucketResult/>", b"<html></html>", b"{}"]
)
def test_a_listing_that_makes_no_sense_is_no_empty_bucket(aws: Emulator, place: AwsPlace, body: bytes) -> None:
    aws.faults.add(Fault("garbage", "s3", body=body))
    with pytest.raises(AwsFailure):
        list(Bucket(place, "bucket").keys("a/"))


@pytest.mark.parametrize(
    ("log", "service", "operation", "skip"),
    [
        ("history", "cloudtrail", "LookupEvents", 0),
        ("lake", "cloudtrail", "GetEventDataStore", 0),
        ("lake", "cloudtrail", "StartQuery", 0),
        ("lake", "cloudtrail", "DescribeQuery", 0),
        ("lake", "cloudtrail", "GetQueryResults", 0),
        ("bucket", "s3", "ListBucket", 0),
        ("bucket", "s3", "GetObject", 2),
        ("bucket", "ecr", "DescribeRepositories", 0),
    ],
)
def test_each_call_that_is_denied_is_a_gap(
    aws: Emulator, place: AwsPlace, repo: Repository, tmp_path: Path, log: str, service: str, operation: str, skip: int
) -> None:
    aws.trail.pull(repo, tag="v1", at=ago(days=1))
    option = delivered(aws, log, tmp_path)
    anything = "*" if service == "s3" else operation
    aws.faults.add(Fault.denied(service, anything, skip=skip))
    _, _, ended = read(place, option)
    assert isinstance(ended, Denied)
    assert ended.action == f"{service}:{operation}"
    (source,) = [source for source in chosen_sources(("cloudtrail",), (option,)) if source.name == "cloudtrail"]
    assert ended.action in source.actions


def test_a_denied_history_holds_every_candidate(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.trail.pull(repo, tag="v1", at=ago(days=1))
    aws.faults.add(Fault.denied("cloudtrail", "LookupEvents", region="eu-west-1"))
    held = cli.plan("--keep-newest", "0", "--with-source", "cloudtrail")
    assert held.status == 5
    assert held.action(repo.digest_of("v1")) == "keep"
    assert held.action(repo.digest_of("v2")) == "hold"
    (failed,) = [entry for entry in held.json["coverage"] if entry["status"] == "failed"]
    assert (failed["source"], failed["region"]) == ("cloudtrail", "eu-west-1")
    assert "cloudtrail:LookupEvents was denied" in failed["error"]
    accepted = cli.plan("--keep-newest", "0", "--with-source", "cloudtrail", "--accept-gap", "cloudtrail/eu-west-1")
    assert (accepted.status, accepted.action(repo.digest_of("v2"))) == (0, "delete")


PULL: dict[str, Any] = {
    "eventTime": "2026-01-01T00:00:00Z", "eventSource": "ecr.amazonaws.com", "eventName": "BatchGetImage", "awsRegion": "us-east-1",
    "userIdentity": {"arn": "arn:a", "accountId": ACCOUNT},
    "requestParameters": {"repositoryName": "team/app", "imageIds": [{"imageTag": "v1"}]},
}  # fmt: skip


def looked_up(**changes: Any) -> bytes:
    return json.dumps({"Events": [{"CloudTrailEvent": json.dumps(PULL | changes)}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"Events": [{"EventId": "1"}]}',
        b'{"Events": [{"CloudTrailEvent": "nonsense"}]}',
        b'{"Events": [], "NextToken": "again"}',
        looked_up(userIdentity=None),
        looked_up(requestParameters=None),
        looked_up(requestParameters={"repositoryName": "team/app", "imageIds": []}),
        looked_up(requestParameters={"repositoryName": "team/app", "imageIds": [{}]}),
        looked_up(requestParameters={"imageIds": [{"imageTag": "v1"}]}),
        looked_up(userIdentity={}),
        looked_up(eventTime="yesterday"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_gap(aws: Emulator, place: AwsPlace, body: bytes) -> None:
    aws.faults.add(Fault("garbage", "cloudtrail", "LookupEvents", body=body))
    assert read(place)[2] is not None


def test_a_record_that_makes_sense_is_read_without_what_it_may_lack(aws: Emulator, place: AwsPlace) -> None:
    answered = {"images": [{"imageId": {"imageTag": "v1", "imageDigest": "sha256:" + "a" * 64}}]}
    aws.faults.add(Fault("garbage", "cloudtrail", "LookupEvents", body=looked_up(responseElements=answered)))
    (use,) = read(place)[0]
    assert use.image == f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/app:v1@sha256:{'a' * 64}"
    aws.faults.clear()
    aws.faults.add(
        Fault("garbage", "cloudtrail", "LookupEvents", body=looked_up(requestParameters=None, errorCode="AccessDenied"))
    )
    uses, notes, ended = read(place)
    assert (uses, notes, ended) == ([], "calls that were refused without saying for which image: 1", None)


def test_throttling_is_a_gap_and_the_pace_is_below_the_limit(aws: Emulator, place: AwsPlace, repo: Repository) -> None:
    for each in range(220):
        aws.trail.pull(repo, digest=f"sha256:{each:064x}", at=ago(days=2, seconds=each))
    aws.throttle("cloudtrail", "LookupEvents", rate=2.0, burst=2.0)
    assert read(place)[2] is None
    aws.faults.add(Fault.error("cloudtrail", "LookupEvents", "ThrottlingException", "Rate exceeded", skip=1))
    uses, _, ended = read(place)
    assert "throttled" in str(ended)
    assert len(uses) == 50, "what was found before still protects"


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"Status": "STOPPED_INGESTION"}, "STOPPED_INGESTION"),
        ({"MultiRegionEnabled": False}, "one region only"),
        ({"CreatedTimestamp": ago(days=9).timestamp()}, "younger"),
        ({"RetentionPeriod": 7}, "fewer days"),
        ({"AdvancedEventSelectors": [{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}]}]}, "read"),
        (
            {"AdvancedEventSelectors": [{"FieldSelectors": [
                {"Field": "eventCategory", "Equals": ["Management"]}, {"Field": "readOnly", "Equals": ["false"]}]}]}, "read",
        ),
        (
            {"AdvancedEventSelectors": [{"FieldSelectors": [
                {"Field": "eventCategory", "Equals": ["Management"]},
                {"Field": "eventSource", "NotEquals": ["ecr.amazonaws.com"]}]}]}, "read",
        ),
        ({"AdvancedEventSelectors": [{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}]}, None),
    ],
)  # fmt: skip
def test_an_event_data_store_that_does_not_hold_all_that_is_asked_is_a_gap(
    aws: Emulator, place: AwsPlace, repo: Repository, tmp_path: Path, described: dict[str, Any], words: str | None
) -> None:
    aws.trail.pull(repo, tag="v1", at=ago(days=1))
    uses, _, ended = read(place, delivered(aws, "lake", tmp_path, **described))
    assert len(uses) == 1
    assert ended is None if words is None else words in str(ended)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("GetEventDataStore", b"{}"),
        ("StartQuery", b"{}"),
        ("DescribeQuery", b'{"QueryStatus": "FAILED", "ErrorMessage": "too much"}'),
        ("DescribeQuery", b'{"QueryStatus": "TIMED_OUT"}'),
        ("GetQueryResults", b"{}"),
        ("GetQueryResults", b'{"QueryStatus": "FINISHED"}'),
        ("GetQueryResults", b'{"QueryStatus": "RUNNING", "QueryResultRows": []}'),
        (
            "GetQueryResults",
            b'{"QueryStatus": "FINISHED", "QueryResultRows": [], "QueryStatistics": {"TotalResultsCount": 3}}',
        ),
        ("GetQueryResults", b'{"QueryStatus": "FINISHED", "QueryResultRows": [[{"times": "2"}]]}'),
        (
            "GetQueryResults",
            b'{"QueryStatus": "FINISHED", "QueryResultRows": [[{"region": "us-east-1"}, {"image_ids": "[{"}]]}',
        ),
    ],
)
def test_a_query_that_comes_to_nothing_is_a_gap(
    aws: Emulator, place: AwsPlace, tmp_path: Path, operation: str, body: bytes
) -> None:
    option = delivered(aws, "lake", tmp_path)
    aws.faults.add(Fault("garbage", "cloudtrail", operation, body=body))
    assert read(place, option)[2] is not None


def test_a_store_is_asked_in_its_own_region_and_account(
    aws: Emulator, place: AwsPlace, repo: Repository, tmp_path: Path
) -> None:
    aws.trail.pull(repo, tag="v1", at=ago(days=1))
    option = delivered(aws, "lake", tmp_path, region="eu-west-1", account="210987654321", OrganizationEnabled=True)
    assert len(read(place, option)[0]) == 1
    asked = [call for call in aws.calls.log if call.service == "cloudtrail"]
    assert {call.region for call in asked} == {"eu-west-1"}
    assert {call.parameters.get("EventDataStoreOwnerAccountId") for call in asked[1:]} == {"210987654321"}


def test_a_store_of_another_account_alone_tells_nothing_of_this_one(
    aws: Emulator, place: AwsPlace, repo: Repository, tmp_path: Path
) -> None:
    aws.trail.pull(repo, tag="v1", at=ago(days=1))
    uses, _, ended = read(place, delivered(aws, "lake", tmp_path, account="210987654321"))
    assert len(uses) == 1
    assert "holds the events of account 210987654321 alone" in str(ended)


def fewer_days(folder: Path) -> None:
    for file in sorted(folder.rglob("*.json.gz"), key=lambda file: file.name)[3:9]:
        file.unlink()


def damaged(folder: Path) -> None:
    next(folder.rglob("*.json.gz")).write_bytes(gzip.compress(b'{"Records": []}')[:-9])


def of_another_kind(folder: Path) -> None:
    next(folder.rglob("*.json.gz")).write_bytes(b'{"what": "ever"}')


def without_reads(folder: Path) -> None:
    for file in folder.rglob("*.json.gz"):
        file.write_bytes(
            gzip.compress(gzip.decompress(file.read_bytes()).replace(b'"readOnly": true', b'"readOnly": false'))
        )


def stopped(folder: Path) -> None:
    latest = sorted(folder.rglob("*.json.gz"), key=lambda file: file.name)[-2:]
    latest[1].unlink()
    latest[0].rename(latest[0].with_name(latest[0].name.replace("T2359Z", "T0000Z")))


def emptied(folder: Path) -> None:
    for file in folder.rglob("*.json.gz"):
        file.unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (fewer_days, "no log file of 6 of 30 days"), (damaged, "damaged"), (of_another_kind, "neither Records nor Events"),
        (without_reads, "logs no reads"), (stopped, "no log file since"), (emptied, "there is no log file"),
    ],
)  # fmt: skip
def test_log_files_that_are_not_all_or_not_whole_are_a_gap(
    aws: Emulator, place: AwsPlace, repo: Repository, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    daily(aws, repo)
    option = delivered(aws, "folder", tmp_path)
    assert read(place, option)[2] is None
    change(tmp_path)
    assert words in str(read(place, option)[2])


def test_a_log_made_by_hand_is_read_and_said_not_to_prove_that_it_is_whole(
    aws: Emulator, place: AwsPlace, repo: Repository, tmp_path: Path
) -> None:
    aws.trail.pull(repo, tag="v1", at=ago(days=1))
    printed = aws.client("cloudtrail").lookup_events()
    file = tmp_path / "events.json"
    file.write_text(json.dumps({"Events": printed["Events"]}, default=str))
    uses, notes, ended = read(place, f"cloudtrail.export={file}")
    assert (len(uses), ended) == (1, None)
    assert "nothing tells whether these are all" in notes
    assert str(read(place, f"cloudtrail.export={tmp_path}/nosuch")[2]).endswith("No such file or directory")


def test_a_bucket_that_lacks_days_of_a_region_with_repositories_is_a_gap(
    aws: Emulator, place: AwsPlace, repo: Repository, tmp_path: Path
) -> None:
    aws.trail.pull(repo, tag="v1", at=ago(days=3))
    option = delivered(aws, "bucket", tmp_path)
    uses, _, ended = read(place, option)
    assert len(uses) == 1
    assert "no log file of 29 of 30 days" in str(ended)
    assert read(place.at("eu-west-1"), option) == ([], "", None), "nothing can be pulled where there is no repository"
    assert "no log file of this account" in str(
        read(place, option.replace("/audit", "/audit/AWSLogs"), "cloudtrail.days=1")[2]
    )
    assert "holds no logs of CloudTrail" in str(read(place, option.replace("/audit", "/elsewhere"))[2])


def test_the_bucket_of_an_organisation_is_read_for_all_its_accounts(
    aws: Emulator, place: AwsPlace, repo: Repository
) -> None:
    daily(aws, repo)
    aws.trail.pull(repo, tag="v2", by="user/far", at=ago(days=1), recipientAccountId="210987654321")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="org-logs")
    for account in (ACCOUNT, "210987654321"):
        for key, content in aws.trail.log_files(account):
            s3.put_object(Bucket="org-logs", Key=key.replace("AWSLogs/", "AWSLogs/o-abc123/"), Body=content)
    for address, number in (
        ("s3://org-logs", 2), ("s3://org-logs/AWSLogs/o-abc123", 2), (f"s3://org-logs/AWSLogs/o-abc123/{ACCOUNT}/", 1),
    ):  # fmt: skip
        uses, _, ended = read(place, f"cloudtrail.export={address}")
        assert (len(uses), ended) == (number, None)
    asked = [call for call in aws.calls.log if call.service == "s3"]
    assert len(asked) < 150


@pytest.mark.parametrize(
    "options",
    [
        ("days=0",), ("days=91",), ("days=many",), ("nosuch=1",), ("athena=db.table",), ("lake=arn:aws:cloudtrail:x",),
        ("export=s3://x",), ("export=s3://bucket/AWSLogs/123456789012/CloudTrail/us-east-1",),
        ("export=/tmp", "lake=arn:aws:cloudtrail:us-east-1:123456789012:eventdatastore/9d932d63-99e5-4c3d-a60d-84ccd3849d78"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(BadInput):
        chosen_sources((), [f"cloudtrail.{option}" for option in options])


def test_it_needs_what_it_asks_and_no_more() -> None:
    store = "arn:aws:cloudtrail:us-east-1:123456789012:eventdatastore/9d932d63-99e5-4c3d-a60d-84ccd3849d78"
    plain = CloudTrailSource()
    assert plain.actions == ("cloudtrail:LookupEvents",)
    assert plain.with_options({"export": "/var/logs"}).actions == ()
    assert plain.with_options({"export": "s3://bucket"}).actions == (
        "ecr:DescribeRepositories",
        "s3:GetObject",
        "s3:ListBucket",
    )
    assert set(plain.with_options({"lake": store}).actions) == {
        "cloudtrail:GetEventDataStore", "cloudtrail:StartQuery", "cloudtrail:DescribeQuery", "cloudtrail:GetQueryResults",
    }  # fmt: skip


def test_pulls_of_the_account_that_asks_from_the_registry_of_another_are_uses_too(
    aws: Emulator, place: AwsPlace, repo: Repository
) -> None:
    aws.clock.advance(timedelta(seconds=1))
    far = aws.ecr.repository("team/app", account="210987654321")
    aws.trail.pull(far, tag="v1", account=ACCOUNT, at=ago(days=1), recipientAccountId=ACCOUNT)
    assert [use.image for use in read(place)[0]] == [f"{far.uri}:v1"]
