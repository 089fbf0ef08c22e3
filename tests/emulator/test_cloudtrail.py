"""The emulated CloudTrail: real pages, times and tokens, what ECR was asked, and only members that the service has."""

from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from ecrsweep.emulator import Emulator
from tests.support import ACCOUNT, ago


def test_what_ecr_was_asked_stands_in_the_history_of_its_region(aws: Emulator) -> None:
    repo = aws.ecr.repository("team/app")
    digest = repo.push_image(tags=("v1",))
    aws.client("ecr").batch_get_image(repositoryName="team/app", imageIds=[{"imageTag": "v1"}])
    (event,) = aws.client("cloudtrail").lookup_events()["Events"]
    assert (event["EventName"], event["EventSource"], event["ReadOnly"]) == (
        "BatchGetImage",
        "ecr.amazonaws.com",
        "true",
    )
    assert '"imageTag": "v1"' in event["CloudTrailEvent"]
    assert "Boto3" in event["CloudTrailEvent"]
    assert aws.client("cloudtrail", region="eu-west-1").lookup_events()["Events"] == []
    assert digest in repo.by_digest


def test_the_history_is_told_latest_first_in_pages_and_for_ninety_days(aws: Emulator) -> None:
    repo = aws.ecr.repository("team/app")
    for day in range(120):
        aws.trail.pull(repo, tag=f"v{day}", at=ago(days=day))
    trail = aws.client("cloudtrail")
    found = list(trail.get_paginator("lookup_events").paginate().search("Events[].EventTime"))
    assert len(found) == 90
    assert found == sorted(found, reverse=True)
    assert aws.calls.count("cloudtrail", "LookupEvents") == 2
    assert len(trail.lookup_events(StartTime=ago(days=5.5), EndTime=ago(days=2.5))["Events"]) == 3
    names: Any = [{"AttributeKey": "EventName", "AttributeValue": "PutImage"}]
    assert trail.lookup_events(LookupAttributes=names)["Events"] == []


def test_what_the_service_refuses_is_refused(aws: Emulator) -> None:
    trail = aws.client("cloudtrail")
    with pytest.raises(ClientError, match="InvalidNextToken"):
        trail.lookup_events(NextToken="nonsense:50")
    with pytest.raises(ClientError, match="InvalidTimeRange"):
        trail.lookup_events(StartTime=ago(days=1), EndTime=ago(days=2))
    with pytest.raises(ClientError, match="EventDataStoreNotFound"):
        trail.get_event_data_store(EventDataStore=f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:eventdatastore/x")
    with pytest.raises(ClientError, match="InvalidQueryStatement"):
        trail.start_query(QueryStatement="DROP TABLE events")


def test_a_query_over_a_store_groups_and_counts(aws: Emulator) -> None:
    repo = aws.ecr.repository("team/app")
    for _ in range(3):
        aws.trail.pull(repo, tag="v1", by="user/dana", at=ago(days=1))
    aws.trail.pull(repo, tag="v2", by="user/eve", at=ago(days=9))
    store = aws.trail.store()
    trail = aws.client("cloudtrail")
    assert trail.get_event_data_store(EventDataStore=store)["MultiRegionEnabled"] is True
    statement = (
        "SELECT userIdentity.userName AS who, element_at(requestParameters, 'imageIds') AS ids, count(*) AS times, max(eventTime) AS "  # noqa: S608 - our own id
        f"last_at FROM {store.rpartition('/')[2]} WHERE eventName = 'BatchGetImage' AND eventTime >= '{ago(days=5):%Y-%m-%d %H:%M:%S}' "
        "GROUP BY 1, 2"
    )
    query = trail.start_query(QueryStatement=statement)["QueryId"]
    assert [trail.describe_query(QueryId=query)["QueryStatus"] for _ in range(2)] == ["RUNNING", "FINISHED"]
    (row,) = trail.get_query_results(QueryId=query)["QueryResultRows"]
    told = {name: value for cell in row for name, value in cell.items()}
    assert (told["who"], told["ids"], told["times"]) == ("dana", '[{"imageTag": "v1"}]', "3")


def test_every_answer_has_only_members_that_the_service_model_knows(aws: Emulator) -> None:
    repo = aws.ecr.repository("team/app")
    aws.trail.pull(repo, tag="v1", at=ago(days=1))
    store = aws.trail.store()
    statement = (
        f"SELECT awsRegion AS region FROM {store.rpartition('/')[2]} WHERE eventName = 'BatchGetImage' GROUP BY 1"  # noqa: S608 - likewise
    )
    query = aws.client("cloudtrail").start_query(QueryStatement=statement)["QueryId"]
    asked: dict[str, dict[str, Any]] = {
        "LookupEvents": {}, "GetEventDataStore": {"EventDataStore": store}, "StartQuery": {"QueryStatement": statement},
        "DescribeQuery": {"QueryId": query}, "GetQueryResults": {"QueryId": query},
    }  # fmt: skip
    model = botocore.session.get_session().get_service_model("cloudtrail")
    for name, parameters in asked.items():
        operate = aws.trail.operation(name)
        assert operate is not None
        shape: Any = model.operation_model(name).output_shape
        report = ParamValidator().validate(operate(ACCOUNT, "us-east-1", parameters), shape)
        assert not report.has_errors(), report.generate_report()
