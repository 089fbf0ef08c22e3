"""docs/deploy.md: its commands are run, one after the other, and what they make is what the template makes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from deploy.package import PYTHON
from ecrsweep.emulator import Emulator
from ecrsweep.sources import OWN
from tests.deploy.aws_command import AwsCommand
from tests.deploy.runtime import Function
from tests.deploy.template import TEMPLATE, Resolved, actions, policies
from tests.support import ACCOUNT, ROOT, ago

pytest.importorskip("moto")

TEXT = (ROOT / "docs" / "deploy.md").read_text()
DONE = "<the block is done>"
BUCKET = f"ecrsweep-{ACCOUNT}-us-east-1"


def blocks() -> list[tuple[str, str]]:
    """Every block of commands, with the heading it stands under."""
    found, heading = [], ""
    for match in re.finditer(r"^#+ (?P<heading>[^\n]+)$|^```sh\n(?P<block>.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        heading = match["heading"] or heading
        if match["block"]:
            found.append((heading, match["block"]))
    return found


class Reader:
    """Somebody who types the commands of the document into one shell."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._left = blocks()
        self._errors = folder / "errors.log"
        with self._errors.open("w") as errors:
            self._shell = subprocess.Popen(
                ["bash", "-eu"], cwd=folder, env=dict(environ), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )  # fmt: skip

    def goes_on_to(self, heading: str | None) -> str:
        """Type all that stands before a heading, or the rest; what was printed."""
        printed = []
        while self._left and self._left[0][0] != heading:
            printed.append(self._type(self._left.pop(0)[1]))
        assert heading is None or self._left, f"there are no commands under {heading}"
        return "".join(printed)

    def leaves(self) -> None:
        self._shell.kill()
        self._shell.communicate()

    def _type(self, block: str) -> str:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{block}\nprintf '\\n%s\\n' '{DONE}'\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line.strip() == DONE:
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"{block}\nfailed:\n{self._errors.read_text()}")


def programs(folder: Path, arm64_zip: Path) -> None:
    """The other programs that the document names: `make package` was run before."""
    (folder / "make").write_text(
        f'#!/bin/sh\ntest "$*" = package && mkdir -p dist && ln -sf {arm64_zip} dist/ecrsweep-lambda-arm64.zip\n'
    )
    (folder / "ecrsweep").write_text(f'#!/bin/sh\nexec {sys.executable} -m ecrsweep "$@"\n')
    for name in ("make", "ecrsweep"):
        (folder / name).chmod(0o755)


@pytest.fixture
def reader(aws: Emulator, tmp_path: Path, arm64_zip: Path, code: Path, runtime: Path) -> Iterator[Reader]:
    """A reader of the document in an empty folder and account. What is invoked is really run, in the environment it was given."""
    urlopen(Request(f"{aws.url}/moto-api/reset", method="POST"))  # noqa: S310 - our own emulator
    on_path, folder = tmp_path / "bin", tmp_path / "work"
    on_path.mkdir()
    folder.mkdir()
    programs(on_path, arm64_zip)

    def invoke(parameters: Mapping[str, Any]) -> bytes:
        config = aws.client("lambda").get_function_configuration(FunctionName=parameters["FunctionName"])
        with Function(code, runtime, aws, tmp_path, config["Environment"]["Variables"]) as function:
            said = function.invoke(json.loads(parameters["Payload"]))
            assert said.error is None, said.message
            return json.dumps(said.answer).encode()

    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ECRSWEEP_"))}
    environ = {**plain, **aws.environ(), "PATH": f"{on_path}:{os.environ['PATH']}"}
    with AwsCommand(aws, on_path, sys.executable, invoke):
        made = Reader(folder, environ)
        yield made
        made.leaves()


def inline(iam: Any, role: str) -> dict[str, Any]:
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}


def test_the_commands_make_what_the_template_makes_and_take_it_away_again(
    aws: Emulator, reader: Reader, tmp_path: Path
) -> None:
    repo = aws.ecr.repository("team/app")
    repo.push_image(tags=("v1",), pushed_at=ago(days=90))

    reader.goes_on_to("Step 1: the policy")
    policy = aws.client("s3").get_bucket_policy(Bucket=BUCKET)["Policy"]
    assert json.loads(policy)["Statement"][0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    aws.client("s3").delete_bucket_policy(Bucket=BUCKET)  # moto denies what it denies whatever the condition is

    printed = reader.goes_on_to("Letting it delete")
    assert json.loads(printed[printed.index('{"status"') :].splitlines()[0])["status"] == 0
    assert json.loads((tmp_path / "work" / "report.json").read_text())["format"] == "ecrsweep.run/1"
    compare(aws, Resolved(Mode="plan", AlarmTopicArn="topic"))

    reader.goes_on_to("Removing")
    compare(aws, Resolved(Mode="delete", AlarmTopicArn="topic"))

    reader.goes_on_to(None)
    assert not aws.client("lambda").list_functions()["Functions"]
    assert not aws.client("scheduler").list_schedules()["Schedules"]
    assert not aws.client("iam").list_roles()["Roles"]
    assert not aws.client("sqs").list_queues().get("QueueUrls")
    assert not aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert not aws.client("logs").describe_log_groups()["logGroups"]
    assert not aws.client("sns").list_topics()["Topics"]
    assert not aws.client("ecr").list_pull_time_update_exclusions()["pullTimeUpdateExclusions"]
    assert [found["Name"] for found in aws.client("s3").list_buckets()["Buckets"] if found["Name"] == BUCKET]


def compare(aws: Emulator, template: Resolved) -> None:
    """What there is, against what the template would have made."""
    compare_function(aws, template.properties("Function"))
    compare_roles(aws, template)
    compare_schedule(aws, template.properties("ScheduledRun"))
    compare_bucket(aws, template.properties("Bucket"))
    compare_alarms(aws, template)
    sqs = aws.client("sqs")
    for url in sqs.list_queues()["QueueUrls"]:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert found["MessageRetentionPeriod"] == str(template.properties("FailedRuns")["MessageRetentionPeriod"])
        assert found["SqsManagedSseEnabled"].lower() == "true"
    (group,) = aws.client("logs").describe_log_groups()["logGroups"]
    assert group["retentionInDays"] == template.properties("LogGroup")["RetentionInDays"]
    assert group["logGroupName"] == template.properties("LogGroup")["LogGroupName"]
    excluded = aws.client("ecr").list_pull_time_update_exclusions()["pullTimeUpdateExclusions"]
    assert excluded == [f"arn:aws:iam::{ACCOUNT}:role/ecrsweep"]


def compare_function(aws: Emulator, wanted: Mapping[str, Any]) -> None:
    client = aws.client("lambda")
    found = client.get_function_configuration(FunctionName="ecrsweep")
    for name in ("Handler", "Runtime", "Timeout", "MemorySize", "Architectures", "EphemeralStorage"):
        assert found[name] == wanted[name], name
    variables = {name: str(value) for name, value in wanted["Environment"]["Variables"].items()} | {
        "ECRSWEEP_BUCKET": BUCKET
    }
    assert found["Environment"]["Variables"].items() <= variables.items()
    asynchronous = client.get_function_event_invoke_config(FunctionName="ecrsweep")
    for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds"):
        assert asynchronous[name] == wanted["EventInvokeConfig"][name]
    assert asynchronous["DestinationConfig"]["OnFailure"]["Destination"].endswith(":ecrsweep-failed-runs")


def compare_roles(aws: Emulator, template: Resolved) -> None:
    iam = aws.client("iam")
    found, wanted = inline(iam, "ecrsweep"), policies(template.properties("Role"))
    assert actions(found["function"]) == actions(wanted.pop("function"))
    allowed = {action for document in wanted.values() for action in actions(document)}
    # The template cannot know which sources are asked besides, and allows what all of them need.
    by_default = {action for make in OWN.values() if make().about.by_default for action in make().actions}
    besides = {action for make in OWN.values() for action in make().actions} - by_default
    assert actions(found["ecrsweep"]) == allowed - besides
    assert actions(inline(iam, "ecrsweep-scheduler")["start"]) == actions(
        policies(template.properties("SchedulerRole"))["start"]
    )
    for role, name in (("ecrsweep", "Role"), ("ecrsweep-scheduler", "SchedulerRole")):
        trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        assert trust == template.properties(name)["AssumeRolePolicyDocument"]


def compare_schedule(aws: Emulator, wanted: Mapping[str, Any]) -> None:
    found = aws.client("scheduler").get_schedule(Name="ecrsweep")
    for name in ("ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow"):
        assert found[name] == wanted[name]
    assert found["Target"]["Input"] == wanted["Target"]["Input"]
    assert found["Target"]["RetryPolicy"] == wanted["Target"]["RetryPolicy"]
    assert found["Target"]["DeadLetterConfig"]["Arn"].endswith(":ecrsweep-missed-runs")


def compare_bucket(aws: Emulator, wanted: Mapping[str, Any]) -> None:
    s3 = aws.client("s3")
    blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert blocked == wanted["PublicAccessBlockConfiguration"]
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    rules = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    days = {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule}
    assert days == {
        rule["Prefix"]: rule["ExpirationInDays"]
        for rule in wanted["LifecycleConfiguration"]["Rules"]
        if "Prefix" in rule
    }


def compare_alarms(aws: Emulator, template: Resolved) -> None:
    found = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    wanted = [entry["Properties"] for entry in template.resources.values() if entry["Type"] == "AWS::CloudWatch::Alarm"]

    def outline(alarm: Mapping[str, Any]) -> tuple[Any, ...]:
        operator, missing = alarm["ComparisonOperator"], alarm["TreatMissingData"]
        return (alarm.get("MetricName", "expression"), operator, missing, alarm["EvaluationPeriods"])

    # The template reckons the share of the time limit, because that is a parameter; the document has it reckoned.
    assert sorted(
        outline({"MetricName": "Duration"} | entry if "share" in str(entry) else entry) for entry in wanted
    ) == sorted(outline(entry) for entry in found)
    assert all(entry["AlarmActions"] for entry in found)


def test_the_table_has_every_parameter_with_its_default_and_its_variables() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? *\| (.*?) *\| (.+) \|$", TEXT, re.MULTILINE)
    table = {name: (default, set(re.findall(r"`(\w+)`", variables))) for name, default, variables, _ in rows}
    variables = TEMPLATE["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
    for name, parameter in TEMPLATE["Parameters"].items():
        default, named = table.pop(name)
        assert default == str(parameter["Default"])
        conditional = {"Mode": {"DRYRUN"}, "Regions": {"ECRSWEEP_REGIONS"}}
        assert named == {variable for variable, value in variables.items() if value == {"Ref": name}} | conditional.get(
            name, set()
        )
    assert not table


def test_what_is_deployed_with_sam_has_parameters_that_exist() -> None:
    overrides = re.findall(r"--parameter-overrides (.+)", TEXT)
    assert overrides
    for words in overrides:
        Resolved(**dict(word.split("=", 1) for word in words.split()))


def test_figures_and_names_are_those_of_the_package(arm64_zip: Path) -> None:
    for document in (TEXT, (ROOT / "docs" / "adr" / "0005-lambda-as-a-zip.md").read_text()):
        told = re.search(r"([\d.]+) MB", document.replace("1024 MB", ""))
        assert told is not None
        assert abs(float(told[1]) - arm64_zip.stat().st_size / 1e6) < 1, "say the size of today"
        assert f"Python {PYTHON}" in document
