"""The role in member accounts, and docs/organization.md: what the templates make, and that the commands are such as AWS has."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.validate import ParamValidator
from cfnlint import api as cfnlint
from samtranslator.yaml_helper import yaml_parse

from ecrsweep.aws import ecr, session
from ecrsweep.emulator import Emulator
from ecrsweep.sources import OWN
from ecrsweep.wiring.policies import MANAGED_POLICY_LIMIT, ROLE, WITHOUT_PERMISSION, Wanted, policy_document
from tests.deploy.aws_command import parsed
from tests.deploy.template import Resolved, actions, read, statements
from tests.support import ACCOUNT, ROOT, Cli

FOLDER = ROOT / "deploy" / "organization"
TEXT = (ROOT / "docs" / "organization.md").read_text()
MEMBER = read(FOLDER / "member-role.yaml")
EXCLUSION = read(FOLDER / "pull-time-exclusion.yaml")
CALLER = "arn:aws:iam::111122223333:role/ecrsweep-caller"
REQUIRED = {"CallerRoleArn": CALLER, "OrganizationId": "o-abcdefghij"}
TEMPLATE_BODY_LIMIT = 51_200
"""Bytes. https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
POLICIES_OF_A_ROLE = 10
"""Managed ones, unless a quota was raised. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""


def member(partition: str = "aws", **parameters: str) -> Resolved:
    return Resolved(MEMBER, partition=partition, **REQUIRED | parameters)


def documents(resolved: Resolved) -> dict[str, Any]:
    """The managed policies on the role, by resource."""
    return {
        name: resource["Properties"]["PolicyDocument"]
        for name, resource in resolved.resources.items()
        if resource["Type"] == "AWS::IAM::ManagedPolicy" and resource["Properties"]["Roles"] == ["<Role>"]
    }


def trust(resolved: Resolved) -> dict[str, Any]:
    (statement,) = resolved.properties("Role")["AssumeRolePolicyDocument"]["Statement"]
    found: dict[str, Any] = statement
    return found


def complaints(template: str) -> list[str]:
    config = cfnlint.ManualArgs(include_checks=["I"], regions=["us-east-1"])
    return [str(match) for match in cfnlint.lint(template, config=config)]


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.name)
def test_the_linter_of_aws_has_nothing_to_say_and_could(file: Path) -> None:
    text = file.read_text()
    assert not complaints(text)
    assert complaints(text.replace("AWS::AccountId", "AWS::Account"))
    assert len(text) <= TEMPLATE_BODY_LIMIT


def test_the_role_may_make_the_calls_of_a_plan_and_where_it_deletes_those_of_apply() -> None:
    of_sources = {action for make in OWN.values() for action in make().actions}
    reading = {*ecr.READ_ACTIONS, *ecr.OWNERS_ACTIONS, *ecr.SHARING_ACTIONS, *session.ACTIONS} | of_sources
    assert {name: actions(document) for name, document in documents(member()).items()} == {
        "ReadPolicy": reading - WITHOUT_PERMISSION
    }
    deleting = documents(member(AllowDelete="true"))
    assert deleting.pop("ReadPolicy") == documents(member())["ReadPolicy"]
    assert actions(deleting.pop("DeletePolicy")) == {*ecr.DELETE_ACTIONS, *ecr.ARCHIVE_ACTIONS}
    assert not deleting


def test_images_go_in_its_own_account_only_and_in_the_regions_named() -> None:
    everywhere = documents(member(AllowDelete="true"))["DeletePolicy"]
    assert [resources for _, resources in statements(everywhere)] == [[f"arn:aws:ecr:*:{ACCOUNT}:repository/*"]] * 2
    assert all("Condition" not in statement for statement in everywhere["Statement"])
    for statement in documents(member(AllowDelete="true", DeleteRegions="eu-west-1,us-east-1"))["DeletePolicy"][
        "Statement"
    ]:
        assert statement["Condition"] == {"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "us-east-1"]}}


def test_it_trusts_the_role_of_the_caller_within_the_organisation_and_nobody_else() -> None:
    assert trust(member()) == {
        "Effect": "Allow", "Principal": {"AWS": CALLER}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}},
    }  # fmt: skip
    conditions = trust(member(ExternalId="for-us"))["Condition"]["StringEquals"]
    assert conditions == {"aws:PrincipalOrgID": "o-abcdefghij", "sts:ExternalId": "for-us"}


@pytest.mark.parametrize(
    ("parameter", "value", "accepted"),
    [
        ("CallerRoleArn", CALLER, True),
        ("CallerRoleArn", "arn:aws-cn:iam::111122223333:role/service-role/ecrsweep", True),
        ("CallerRoleArn", "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Ops_0123", True),
        ("CallerRoleArn", "arn:aws:sts::111122223333:assumed-role/ecrsweep-caller/me", False),
        ("CallerRoleArn", "arn:aws:iam::111122223333:root", False),
        ("CallerRoleArn", "arn:aws:iam::111122223333:role/*", False),
        ("CallerRoleArn", "*", False),
        ("OrganizationId", "o-abcdefghij", True),
        ("OrganizationId", "", False),
        ("OrganizationId", "r-ab12", False),
        ("ExternalId", "", True),
        ("ExternalId", "a", False),
        ("ExternalId", "*", False),
        ("RoleName", "ops/ecrsweep", False),
        ("DeleteRegions", "eu-west-1", True),
        ("DeleteRegions", "us-gov-west-1", True),
        ("DeleteRegions", "*", False),
    ],
)  # fmt: skip
def test_what_would_open_the_role_wider_is_no_value_of_a_parameter(
    parameter: str,
    value: str,
    accepted: bool,
) -> None:
    pattern = MEMBER["Parameters"][parameter]["AllowedPattern"]
    assert (re.fullmatch(pattern, value) is not None) is accepted


def test_what_must_not_be_shown_is_not_and_nothing_opens_by_default() -> None:
    assert MEMBER["Parameters"]["ExternalId"]["NoEcho"] is True
    assert MEMBER["Parameters"]["AllowDelete"]["Default"] == "false"
    assert {name for name, parameter in MEMBER["Parameters"].items() if "Default" not in parameter} == {*REQUIRED}


def test_the_policies_fit_into_managed_ones_in_every_partition() -> None:
    regions = ",".join(f"ap-northeast-{number}" for number in range(30))
    found = documents(member(partition="aws-us-gov", AllowDelete="true", DeleteRegions=regions))
    assert len(found) <= POLICIES_OF_A_ROLE
    for name, document in found.items():
        size = len(json.dumps(document, separators=(",", ":")))
        assert size <= MANAGED_POLICY_LIMIT, f"{name}: write a part of its statements into another policy"


def test_only_the_own_account_and_partition_are_meant() -> None:
    for document in documents(member(partition="aws-cn", AllowDelete="true")).values():
        for _, resources in statements(document):
            assert all(arn == "*" or re.match(rf"arn:aws-cn:[a-z-]+:\*:{ACCOUNT}:", arn) for arn in resources)


def test_our_reads_are_no_pulls_where_the_other_template_names_the_role_of_this_one() -> None:
    assert EXCLUSION["Parameters"]["RoleName"]["Default"] == MEMBER["Parameters"]["RoleName"]["Default"] == ROLE
    found = Resolved({**EXCLUSION, "Conditions": {}}, partition="aws-cn", RoleName="sweeper")
    assert found.properties("PullTimeExclusion") == {"PrincipalArn": f"arn:aws-cn:iam::{ACCOUNT}:role/sweeper"}


@pytest.mark.parametrize("deletes", ["false", "true"])
def test_a_stack_of_it_makes_the_role_with_its_policies(aws: Emulator, deletes: str) -> None:
    name = f"sweeper-{deletes}"
    given = REQUIRED | {"RoleName": name, "AllowDelete": deletes}
    aws.client("cloudformation").create_stack(
        StackName=name, TemplateBody=(FOLDER / "member-role.yaml").read_text(), Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )  # fmt: skip
    iam = aws.client("iam")
    made = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert made == [trust(member())]
    found = set()
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)["PolicyVersion"]["Document"]
        found |= actions(document)
    wanted = documents(member(AllowDelete=deletes)).values()
    assert found == {action for document in wanted for action in actions(document)}


def commands() -> list[list[str]]:
    """The words of every command of the document, with something in the place of its variables."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"^\w+=\$\((.*)\)", r"\1", line)
            for name, value in {"$CALLER": CALLER, "$ORGANIZATION": "o-abcdefghij", "$TARGET": "r-ab12"}.items():
                command = command.replace(name, value)
            found.append(shlex.split(command.replace("file://caller.json", "{}"), comments=True))
    return found


def calls(aws: Emulator) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every call of AWS in the document: its operation, the shape of its parameters, and these."""
    for service, operation, *words in (words[1:] for words in commands() if words[0] == "aws"):
        client = aws.client(service)
        parameters, _, left = parsed(client, service, operation, words, ROOT)
        assert not left, (operation, left)
        name = client.meta.method_to_api_mapping[operation.replace("-", "_")]
        yield operation, client.meta.service_model.operation_model(name).input_shape, parameters


def unknown_words(shape: Any, value: Any) -> Iterator[str]:
    """Values that the service model does not list, where it lists them: botocore leaves that to AWS."""
    if shape.type_name == "structure":
        for name, entry in value.items():
            yield from unknown_words(shape.members[name], entry)
    elif shape.type_name == "list":
        for entry in value:
            yield from unknown_words(shape.member, entry)
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield str(value)


def test_the_commands_have_flags_and_values_that_aws_has(aws: Emulator) -> None:
    asked = list(calls(aws))
    assert {"create-stack-set", "create-stack-instances", "update-stack-instances"} <= {name for name, _, _ in asked}
    for operation, shape, parameters in asked:
        if shape is not None and shape.members:
            report = ParamValidator().validate(parameters, shape)
            assert not report.has_errors(), (operation, report.generate_report())
            assert not list(unknown_words(shape, parameters)), operation


def test_the_commands_give_the_parameters_that_there_are(aws: Emulator) -> None:
    templates = {"ecrsweep-member-role": MEMBER["Parameters"], "ecrsweep-pull-times": EXCLUSION["Parameters"]}
    for operation, _, parameters in calls(aws):
        named = {
            entry["ParameterKey"] for key in ("Parameters", "ParameterOverrides") for entry in parameters.get(key, ())
        }
        template = templates.get(str(parameters.get("StackSetName", parameters.get("StackName"))), {})
        assert named <= template.keys(), operation
        if operation in {"create-stack", "create-stack-set"}:
            assert {name for name in template if "Default" not in template[name]} <= named, operation
        if operation == "update-stack-set":
            assert named == template.keys(), "what is left out may go back to its default"
        if "TemplateBody" in parameters:
            assert yaml_parse(parameters["TemplateBody"])["Parameters"] == template


def test_the_table_has_every_parameter_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z]\w+)` \| (?:`([^`]*)`)? *\|", TEXT, re.MULTILINE))
    assert rows == {name: parameter.get("Default", "") for name, parameter in MEMBER["Parameters"].items()}


def test_the_policy_of_the_caller_is_what_the_document_says(cli: Cli) -> None:
    (command,) = (words for words in commands() if words[:2] == ["ecrsweep", "iam-policy"])
    printed = cli(*command[1 : command.index(">")]).json
    assert printed == policy_document(Wanted(purpose="caller", sources=(), partition="aws"))
    assert printed["Statement"][0]["Resource"] == [f"arn:aws:iam::*:role/{MEMBER['Parameters']['RoleName']['Default']}"]
