"""Scripted services: asked and answered over the wire as the real ones, with pages, and no answer that they never give."""

import pytest
from botocore.exceptions import ClientError

from ecrsweep.emulator import Emulator, Fault


def services(number: int) -> list[dict[str, str]]:
    return [{"ServiceName": f"service-{n}"} for n in range(number)]


def test_a_list_comes_in_pages_of_the_service(aws: Emulator) -> None:
    aws.scripts.listed("apprunner", "ListServices", "ServiceSummaryList", services(45), page=20)
    pages = []
    asked: dict[str, str] = {}
    while True:
        page = aws.client("apprunner").list_services(**asked)
        pages.append(len(page["ServiceSummaryList"]))
        if "NextToken" not in page:
            break
        asked = {"NextToken": page["NextToken"]}
    assert pages == [20, 20, 5]
    assert aws.calls.count("apprunner", "ListServices") == 3


def test_a_path_is_read_as_the_service_reads_it(aws: Emulator) -> None:
    aws.scripts.listed("scheduler", "ListSchedules", "Schedules", [], page=100)
    aws.scripts.answer(
        "scheduler", "GetSchedule", lambda asked: {"Name": asked["Name"], "GroupName": asked.get("GroupName", "none")}
    )
    found = aws.client("scheduler").get_schedule(Name="nightly run", GroupName="ops")
    assert (found["Name"], found["GroupName"]) == ("nightly run", "ops")
    assert aws.client("scheduler").list_schedules(MaxResults=5)["Schedules"] == []


def test_another_region_and_account_hold_nothing(aws: Emulator) -> None:
    aws.scripts.listed("apprunner", "ListServices", "ServiceSummaryList", services(1), page=20)
    assert aws.client("apprunner", region="eu-west-1").list_services()["ServiceSummaryList"] == []


def test_what_is_not_there_is_answered_with_the_error_of_the_service(aws: Emulator) -> None:
    aws.scripts.described("apprunner", "DescribeService", "ServiceArn", {}, "ResourceNotFoundException")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        aws.client("apprunner").describe_service(ServiceArn="arn:aws:apprunner:us-east-1:1:service/x/1")


def test_a_service_that_nobody_uses_reads_as_empty_before_and_after_moto_is_loaded_for_another(aws: Emulator) -> None:
    def unused() -> list[object]:
        batch, states = aws.client("batch"), aws.client("stepfunctions")
        return [
            batch.describe_job_definitions()["jobDefinitions"], states.list_state_machines()["stateMachines"],
            states.list_state_machine_versions(stateMachineArn="arn:aws:states:us-east-1:1:stateMachine:a")["stateMachineVersions"],
            aws.client("pipes").list_pipes()["Pipes"],
        ]  # fmt: skip

    assert unused() == [[], [], [], []]
    aws.client("scheduler").create_schedule_group(Name="one")
    assert unused() == [[], [], [], []]


def test_what_one_emulator_has_in_moto_the_next_has_not(aws: Emulator) -> None:
    aws.client("scheduler").create_schedule_group(Name="one")
    assert len(aws.client("scheduler").list_schedule_groups()["ScheduleGroups"]) == 2
    aws.reset()
    assert aws.client("scheduler").list_schedule_groups()["ScheduleGroups"] == [], "nothing was made in this one"
    aws.client("scheduler").create_schedule_group(Name="two")
    groups = aws.client("scheduler").list_schedule_groups()["ScheduleGroups"]
    assert {group["Name"] for group in groups} == {"default", "two"}


@pytest.mark.parametrize("service", ["scheduler", "stepfunctions", "events"])
def test_a_fault_meets_a_service_in_moto_by_its_operation_and_in_its_own_words(aws: Emulator, service: str) -> None:
    operation, call = {
        "scheduler": ("ListSchedules", "list_schedules"),
        "stepfunctions": ("ListStateMachines", "list_state_machines"),
        "events": ("ListEventBuses", "list_event_buses"),
    }[service]
    aws.faults.add(Fault.denied(service, operation))
    with pytest.raises(ClientError, match="AccessDeniedException"):
        getattr(aws.client(service), call)()
    assert aws.calls.count(service, operation) == 1


def test_an_answer_that_the_service_never_gives_is_refused(aws: Emulator) -> None:
    aws.scripts.answer("apprunner", "ListServices", {"Services": []})
    with pytest.raises(ClientError, match="would never answer"):
        aws.client("apprunner").list_services()
