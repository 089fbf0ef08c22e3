"""The template: clean for AWS's own checkers, safe by default, and no permission more or less than the calls need."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from cfnlint import api as cfnlint
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from ecrsweep.aws import bucket, ecr, session
from ecrsweep.config import Configuration, Settings
from ecrsweep.core.policy import Policy
from ecrsweep.serverless.settings import asked_of
from ecrsweep.sources import OWN
from ecrsweep.wiring.policies import WITHOUT_PERMISSION
from tests.deploy.template import FILE, TEMPLATE, Resolved, actions, policies, statements
from tests.support import ACCOUNT, ROOT

NOT_IN_A_FUNCTION = {
    "profile": "credentials are those of the role",
    "endpoint_url": "a function talks to AWS",
    "uses_commands": "there are no programs of the user's",
    "uses_files": "there is no disk with files of the user's",
    "override_limits": "only for one run, in its event",
    "accept_drops": "likewise: one that stands would switch the gate off",
    "state": "the ledger lies in the bucket of the function",
    "account": "only a configuration says it",
    "registries": "likewise",
    "consumers": "likewise",
    "strict_consumers": "likewise",
    "accounts": "several accounts are listed in a configuration",
    "aliases": "likewise",
    "fraction_from": "likewise",
    "policies": "likewise",
    "exact_size": "only for one run, in its event: it reads every manifest",
    "prices": "there is no disk with files of the user's",
}
READING = ("BatchGet", "Describe", "Get", "List", "Lookup")
DELETING = Resolved(Mode="delete")
PLANNING = Resolved()


def complaints(template: str) -> list[str]:
    config = cfnlint.ManualArgs(include_checks=["I"], regions=["us-east-1"])
    return [str(match) for match in cfnlint.lint(template, config=config)]


def test_the_linter_of_aws_has_nothing_to_say_and_could() -> None:
    assert not complaints(FILE.read_text())
    assert complaints(FILE.read_text().replace("TreatMissingData: breaching", "TreatMissingData: never"))


EVERYTHING = {
    "Mode": "delete",
    "ReserveConcurrency": "true",
    "AlarmTopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:alarms",
    "DaysWithoutSuccess": "7",
    "Regions": "eu-west-1,us-east-1",
}
BARE = {"DaysWithoutSuccess": "0", "ExcludeOwnPulls": "false", "ScheduleState": "DISABLED"}


@pytest.mark.parametrize("parameters", [{}, EVERYTHING, BARE], ids=["as it comes", "everything", "bare"])
def test_sam_translates_it_and_the_linter_has_nothing_to_say_of_that(parameters: dict[str, str]) -> None:
    template = yaml_parse(FILE.read_text())
    template["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://packages/function.zip"  # as `sam deploy` does
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    found = translator.translate(template, parameters)
    kinds = {resource["Type"] for resource in found["Resources"].values()}
    assert {"AWS::Lambda::Function", "AWS::Lambda::EventInvokeConfig", "AWS::Scheduler::Schedule"} <= kinds
    assert not [kind for kind in kinds if kind.startswith("AWS::Serverless")]
    assert not complaints(json.dumps(found))


def test_it_plans_only_until_it_is_told_to_delete() -> None:
    assert PLANNING.properties("ScheduledRun")["Target"]["Input"] == '{"command": "plan"}'
    assert DELETING.properties("ScheduledRun")["Target"]["Input"] == '{"command": "apply"}'
    assert PLANNING.environment["DRYRUN"] == "True"
    assert DELETING.environment["DRYRUN"] == "False"
    assert "delete" not in policies(PLANNING.properties("Role"))


def test_the_role_may_make_the_calls_that_the_code_makes_and_no_others() -> None:
    of_sources = {action for make in OWN.values() for action in make().actions}
    for role, deletes in ((PLANNING.properties("Role"), False), (DELETING.properties("Role"), True)):
        found = {name: actions(document) for name, document in policies(role).items()}
        assert found.pop("function") == {"logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"}
        assert (
            found.pop("read")
            == ({*ecr.READ_ACTIONS, *ecr.OWNERS_ACTIONS, *ecr.SHARING_ACTIONS, *session.ACTIONS} | of_sources)
            - WITHOUT_PERMISSION
        )
        assert found.pop("bucket") == set(bucket.ACTIONS)
        assert found == ({"delete": {*ecr.DELETE_ACTIONS, *ecr.ARCHIVE_ACTIONS}} if deletes else {})


def test_the_policies_fit_into_a_role() -> None:
    written = (
        json.dumps(document, separators=(",", ":")) for document in policies(DELETING.properties("Role")).values()
    )
    names_longer_than_here = 700
    assert sum(map(len, written)) + names_longer_than_here < 10_240, (
        "the most that a role takes inline: use managed ones"
    )


def test_the_policies_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "deploy" / "policies.py"), "--check"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr + "mend with: make tables"


def test_only_reading_is_allowed_on_everything() -> None:
    for name, resource in DELETING.resources.items():
        if resource["Type"] != "AWS::IAM::Role":
            continue
        for document in policies(resource["Properties"]).values():
            for found, resources in statements(document):
                if "*" in resources:
                    assert all(action.partition(":")[2].startswith(READING) for action in found), name


def test_nothing_names_a_partition_an_account_or_a_domain() -> None:
    for line in FILE.read_text().splitlines():
        code = line.partition(" #")[0]
        assert "arn:aws:" not in code
        assert "amazonaws.com" not in code or "Principal: {Service: " in code
        assert not any(len(word) == 12 and word.isdigit() for word in code.replace('"', " ").replace(":", " ").split())


def test_a_run_is_never_repeated_by_aws() -> None:
    assert PLANNING.properties("ScheduledRun")["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0
    assert PLANNING.properties("ScheduledRun")["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert PLANNING.properties("Function")["EventInvokeConfig"]["MaximumRetryAttempts"] == 0


def test_what_fails_ends_in_a_queue_of_its_own_that_the_roles_may_write_to() -> None:
    config = PLANNING.properties("Function")["EventInvokeConfig"]
    assert config["DestinationConfig"]["OnFailure"] == {"Type": "SQS", "Destination": "<FailedRuns.Arn>"}
    assert PLANNING.properties("ScheduledRun")["Target"]["DeadLetterConfig"] == {"Arn": "<MissedRuns.Arn>"}
    for role, queue in (("Role", "FailedRuns"), ("SchedulerRole", "MissedRuns")):
        assert PLANNING.properties(queue)["SqsManagedSseEnabled"] is True
        allowed = [entry for document in policies(PLANNING.properties(role)).values() for entry in statements(document)]
        assert ({"sqs:SendMessage"}, [f"<{queue}.Arn>"]) in allowed


def test_the_bucket_is_closed_encrypted_versioned_and_stays() -> None:
    resource, properties = PLANNING.resources["Bucket"], PLANNING.properties("Bucket")
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    (denied,) = PLANNING.properties("BucketPolicy")["PolicyDocument"]["Statement"]
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    expiring = {
        rule["Prefix"]: rule["ExpirationInDays"]
        for rule in properties["LifecycleConfiguration"]["Rules"]
        if "Prefix" in rule
    }
    assert expiring == {"plans/": 365, "reports/": 365}, "the state never expires"


def test_every_setting_is_a_parameter_or_has_a_reason_not_to_be() -> None:
    names = {name.removeprefix("ECRSWEEP_").lower() for name in PLANNING.environment if name.startswith("ECRSWEEP_")}
    assert names - {"bucket", "config"} == set(Settings.__struct_fields__) - NOT_IN_A_FUNCTION.keys()


def test_as_it_comes_the_settings_are_the_defaults_in_all_regions() -> None:
    asked = asked_of({"command": "plan"}, PLANNING.environment)
    assert asked.settings == Settings(regions=("all",), keep_tag_regexes=("^$",))
    assert (asked.bucket, asked.config) == ("<Bucket>", None)


SET = {
    "Regions": "eu-west-1, us-east-1", "Repositories": "team/*,web", "KeepNewest": "7", "KeepTags": "rel-*",
    "KeepTagRegexes": r"^v\d{1,3}$", "KeepLatest": "false", "PushedWithin": "3d", "PulledWithin": "0d",
    "UsedWithin": "60d", "Otherwise": "archive", "TrialFor": "60d", "DeleteAfterArchived": "120d", "MaxFraction": "0.5", "MaxImages": "9", "MaxBytes": "99", "MaxImagesPerRegistry": "8", "MaxBytesPerRegistry": "88", "ConsumerRegions": "us-east-1", "SkipSources": "ecs",
    "HoldFiles": "s3://b/holds.yaml", "WithSources": "other", "SourceOptions": "other.days=3", "AcceptGaps": "ecs/eu-west-1",
    "MemberRole": "ops/ecrsweep", "ExternalId": "word",
}  # fmt: skip


def test_every_parameter_of_a_run_reaches_its_setting() -> None:
    asked = asked_of({"command": "apply"}, Resolved(**SET).environment)
    assert asked.settings == Settings(
        regions=("eu-west-1", "us-east-1"), repositories=("team/*", "web"), keep_newest=7, keep_tags=("rel-*",),
        keep_tag_regexes=(r"^v\d{1,3}$",), keep_latest=False, pushed_within="3d", pulled_within="0d", used_within="60d",
        otherwise="archive", trial_for="60d", delete_after_archived="120d", max_fraction=0.5,
        max_images=9, max_bytes=99, max_images_per_registry=8, max_bytes_per_registry=88, consumer_regions=("us-east-1",), skip_sources=("ecs",), with_sources=("other",),
        hold_files=("s3://b/holds.yaml",), source_options=("other.days=3",), accept_gaps=("ecs/eu-west-1",),
        role_name="ops/ecrsweep", external_id="word",
    )  # fmt: skip


def test_a_configuration_has_its_regions_and_policies_unless_a_parameter_says_otherwise() -> None:
    written = Configuration("f", {"regions": ("eu-west-1",), "policies": (Policy(newest=3),), "max_images": 5})
    asked = asked_of({"command": "plan"}, Resolved(Config="s3://b/c.yaml").environment)
    assert asked.config == "s3://b/c.yaml"
    assert asked.over(written).settings.regions == ("eu-west-1",)
    assert asked.over(written).settings.policies == (Policy(newest=3),)
    parameters = {"Config": "c.yaml", "Regions": "us-east-1", "MaxImages": "2"}
    settings = asked_of({"command": "plan"}, Resolved(**parameters).environment).over(written).settings
    assert (settings.regions, settings.max_images) == (("us-east-1",), 2)


def test_roles_of_other_accounts_are_assumed_only_where_one_is_named() -> None:
    assert "members" not in policies(PLANNING.properties("Role"))
    found = policies(Resolved(MemberRole="ops/ecrsweep").properties("Role"))["members"]
    assumed = [resources for actions, resources in statements(found) if actions == {"sts:AssumeRole"}]
    assert [resource for some in assumed for resource in some] == ["arn:aws:iam::*:role/ops/ecrsweep"]


def test_the_variables_of_2016_have_the_same_values() -> None:
    environ = Resolved(**SET).environment
    same = {"REGION": "REGIONS", "IMAGES_TO_KEEP": "KEEP_NEWEST", "IGNORE_TAGS_REGEX": "KEEP_TAG_REGEXES"}
    assert {name: environ[name] for name in same} == {old: environ[f"ECRSWEEP_{new}"] for old, new in same.items()}


def test_every_parameter_is_used_grouped_labelled_and_described() -> None:
    names = set(TEMPLATE["Parameters"])
    console = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in console["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(names)
    assert set(console["ParameterLabels"]) == names
    assert all(parameter["Description"] for parameter in TEMPLATE["Parameters"].values())


def alarms(resolved: Resolved) -> dict[str, Mapping[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in resolved.resources.items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def test_alarms_tell_the_topic_if_there_is_one() -> None:
    assert not any("AlarmActions" in alarm for alarm in alarms(PLANNING).values())
    topic = EVERYTHING["AlarmTopicArn"]
    assert all(alarm["AlarmActions"] == [topic] for alarm in alarms(Resolved(AlarmTopicArn=topic)).values())


def periods(alarm: Mapping[str, Any]) -> set[int]:
    return {metric["MetricStat"]["Period"] for metric in alarm.get("Metrics", ()) if "MetricStat" in metric} or {
        alarm["Period"]
    }


@pytest.mark.parametrize("days", ["1", "7"])
def test_no_alarm_looks_back_further_than_cloudwatch_can(days: str) -> None:
    for name, alarm in alarms(Resolved(DaysWithoutSuccess=days)).items():
        for period in periods(alarm):
            longest = 7 * 86400 if period >= 3600 else 86400
            assert int(alarm["EvaluationPeriods"]) * period <= longest, name


def test_the_alarm_of_no_success_rings_where_there_is_no_data_and_can_be_left_out() -> None:
    alarm = alarms(PLANNING)["NoSuccessAlarm"]
    assert (alarm["TreatMissingData"], alarm["EvaluationPeriods"]) == ("breaching", 2)
    assert "NoSuccessAlarm" not in alarms(Resolved(DaysWithoutSuccess="0"))


def test_the_alarm_of_duration_is_at_80_percent_of_the_time_limit() -> None:
    alarm = alarms(Resolved(Timeout="300"))["DurationAlarm"]
    assert (alarm["Metrics"][0]["Expression"], alarm["Threshold"]) == ("longest / (300 * 10)", 80)


def test_a_concurrency_is_reserved_only_where_asked_for() -> None:
    assert "ReservedConcurrentExecutions" not in PLANNING.properties("Function")
    assert Resolved(ReserveConcurrency="true").properties("Function")["ReservedConcurrentExecutions"] == 1
