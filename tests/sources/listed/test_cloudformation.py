"""CloudFormation, answered by moto: the names in templates, as far as they are known, and notes where they are not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ecrsweep.core.uses import CoverageStatus
from ecrsweep.emulator import Emulator, Fault
from tests.sources.listed.conftest import Ask, Images
from tests.sources.listed.worlds import HOST
from tests.support import ACCOUNT, Cli

pytest.importorskip("moto")

ECR = "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}"


@pytest.fixture
def stacks(aws: Emulator) -> Iterator[Any]:
    """CloudFormation without any stack."""
    client = aws.client("cloudformation")
    yield client
    aws.faults.clear()
    while found := client.describe_stacks()["Stacks"]:
        for stack in found:
            client.delete_stack(StackName=stack["StackId"])


def topic(shown: Any, **more: Any) -> dict[str, Any]:
    """A template with one resource that shows this text."""
    return {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": shown, **more}}}}


def made(stacks: Any, template: dict[str, Any] | str, name: str = "web", **parameters: str) -> str:
    body = template if isinstance(template, str) else json.dumps(template)
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    return str(stacks.create_stack(StackName=name, TemplateBody=body, Parameters=given)["StackId"])


def test_an_image_named_only_in_a_template_stays_where_it_is_asked_for(cli: Cli, image: Images, stacks: Any) -> None:
    used, unused = image("v1"), image("v2")
    stack = made(stacks, topic(f"docker run {used} && true"))
    found = cli.plan("--keep-newest", "0", "--with-source", "cloudformation")
    assert found.status == 0, found.err
    by_tag = {decision["tags"][0]: decision for decision in found.json["decisions"]}
    assert by_tag["v1"]["action"] == "keep"
    assert by_tag["v1"]["reasons"][0]["detail"] == f"{stack} Resources.Topic.Properties.DisplayName"
    assert by_tag["v2"]["action"] == "delete"
    assert unused
    without = cli.plan("--keep-newest", "0")
    assert {decision["action"] for decision in without.json["decisions"]} == {"delete"}


def test_functions_are_followed_as_far_as_their_values_are_known(aws: Emulator, ask: Ask, stacks: Any) -> None:
    template = topic({"Fn::Sub": f"{ECR}/sub:${{Tag}}"})
    template["Parameters"] = {"Tag": {"Type": "String"}, "Whole": {"Type": "String"}}
    template["Mappings"] = {"Tags": {"prod": {"api": "mapped"}}}
    template["Conditions"] = {"IsProd": {"Fn::Equals": [{"Ref": "Tag"}, "v1"]}}
    join = [{"Ref": "AWS::AccountId"}, ".dkr.ecr.", {"Ref": "AWS::Region"}, ".amazonaws.com/join:", {"Ref": "Tag"}]
    arn = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/picked"
    part = {"Fn::Select": [1, {"Fn::Split": ["/", arn]}]}
    template["Metadata"] = {
        "joined": {"Fn::Join": ["", join]},
        "with": {"Fn::Sub": ["${Host}/variables:${!Tag}${Tag}", {"Host": HOST, "Tag": {"Ref": "Tag"}}]},
        "mapped": {"Fn::Join": [":", [f"{HOST}/find", {"Fn::FindInMap": ["Tags", "prod", "api"]}]]},
        "either": {"Fn::If": ["IsProd", f"{HOST}/yes:1", [{"Fn::Sub": f"{HOST}/no:${{Tag}}"}]]},
        "picked": {"Fn::Join": ["", [f"{HOST}/", part, ":1"]]},
        "mail": f"see {HOST}/mail:1. Or not.",
    }
    made(stacks, template, Tag="v1", Whole=f"{HOST}/whole:1")
    told = ask("cloudformation")
    assert (told.entry.status, told.entry.error, told.entry.notes) == (CoverageStatus.COMPLETE, None, ())
    names = {use.image.partition("/")[2] for use in told.uses}
    assert names == {
        "sub:v1", "join:v1", "variables", "find:mapped", "yes:1", "no:v1", "picked:1", "mail:1", "whole:1",
    }  # fmt: skip


def test_repositories_and_exports_of_stacks_are_looked_up(ask: Ask, stacks: Any) -> None:
    template = topic({"Fn::Sub": "${Repo.RepositoryUri}:v1"})
    template["Resources"]["Repo"] = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "made/here"}}
    split = {"Fn::Split": [":", {"Fn::GetAtt": ["Repo", "Arn"]}]}
    host = [
        {"Fn::Select": [4, split]},
        ".dkr.ecr.",
        {"Fn::Select": [3, split]},
        ".amazonaws.com/",
        {"Ref": "Repo"},
        ":v2",
    ]
    template["Metadata"] = {"cdk": {"Fn::Join": ["", host]}}
    template["Outputs"] = {"Name": {"Value": {"Ref": "Repo"}, "Export": {"Name": "shared-name"}}}
    made(stacks, template)
    made(stacks, topic({"Fn::Join": ["", [f"{HOST}/", {"Fn::ImportValue": "shared-name"}, ":v3"]]}), "other")
    told = ask("cloudformation")
    assert (told.entry.error, told.entry.notes) == (None, ())
    assert {use.image for use in told.uses} == {f"{HOST}/made/here:v{n}" for n in (1, 2, 3)}


def test_yaml_and_the_short_forms_of_functions_are_read(ask: Ask, stacks: Any) -> None:
    made(
        stacks,
        f"""
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Tag: {{Type: String, Default: v1}}
Resources:
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      DisplayName: !Sub "{ECR}/yaml-sub:${{Tag}}"
      TopicName: !Join ["-", [a, !Ref Tag]]
Metadata:
  joined: !Join ["", [!Ref "AWS::AccountId", ".dkr.ecr.us-east-1.amazonaws.com/yaml-join:", !Ref Tag]]
  attribute: !GetAtt Topic.TopicName
""",
    )
    told = ask("cloudformation")
    assert (told.entry.error, told.entry.notes) == (None, ())
    assert {use.image.partition("/")[2] for use in told.uses} == {"yaml-sub:v1", "yaml-join:v1"}


def test_what_is_known_only_when_it_is_deployed_is_noted_and_never_guessed(
    aws: Emulator, ask: Ask, stacks: Any
) -> None:
    aws.client("ssm").put_parameter(Name="/image", Value="x", Type="String", Overwrite=True)
    template = topic({"Fn::Sub": f"{HOST}/app:${{Other.TopicName}}"})
    template["Resources"]["Other"] = {"Type": "AWS::SNS::Topic"}
    template["Metadata"] = {
        "Image": {"Fn::GetAtt": ["Other", "TopicName"]},
        "looked": "x{{resolve:ssm:/image}}",
        "image": {"ContainerUri": "{{resolve:ssm:/image}}"},
        "both": {"Fn::Join": [" ", [f"{HOST}/known:1", {"Ref": "Other"}]]},
        "plain": {"Ref": "Other"},
    }
    made(stacks, template)
    told = ask("cloudformation")
    assert {use.image for use in told.uses} == {f"{HOST}/known:1"}
    notes = {note.partition(": ")[2] for note in told.entry.notes}
    unknown = "names an image that is not known before it is deployed"
    assert notes == {
        f"Resources.Topic.Properties.DisplayName {unknown}: {HOST}/app:${{Other.TopicName}}",
        f"Metadata.Image {unknown}: ${{Other.TopicName}}",
        f"Metadata.image.ContainerUri {unknown}: {{{{resolve:ssm:/image}}}}",
        f"Metadata.both {unknown}: {HOST}/known:1 ${{Other}}",
    }


def test_a_deleted_stack_counts_no_more_and_many_stacks_are_all_read(ask: Ask, stacks: Any) -> None:
    gone = made(stacks, topic(f"{HOST}/app:gone"), "gone")
    stacks.delete_stack(StackName=gone)
    for number in range(60):
        made(stacks, topic(f"{HOST}/app:v{number}"), f"s{number}")
    told = ask("cloudformation")
    assert told.tags == {f"v{number}" for number in range(60)}


def test_a_template_that_is_none_is_a_gap_and_the_others_are_read(aws: Emulator, ask: Ask, stacks: Any) -> None:
    made(stacks, topic(f"{HOST}/app:v1"), "good")
    odd = made(stacks, topic("x"), "odd")
    body = (
        '<GetTemplateResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><GetTemplateResult>'
        "<TemplateBody>{} : [</TemplateBody></GetTemplateResult></GetTemplateResponse>"
    )
    for text in ("a: [", "just words", "[1]", '{"Resources": {"T": 7}}'):
        aws.faults.clear()
        answer = body.format(text).encode()
        aws.faults.add(
            Fault("garbage", "cloudformation", "GetTemplate", body=answer, when=lambda asked: asked["StackName"] == odd)
        )
        told = ask("cloudformation")
        assert told.entry.status is CoverageStatus.FAILED, text
        assert told.tags == {"v1"}


@pytest.mark.parametrize("operation", ["DescribeStacks", "GetTemplate", "ListExports", "ListStackResources"])
def test_each_call_that_is_denied_garbled_or_throttled_is_a_gap(
    aws: Emulator, ask: Ask, stacks: Any, operation: str
) -> None:
    template = topic(f"{HOST}/app:v1")
    template["Resources"]["Repo"] = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "made/here"}}
    made(stacks, template)
    assert ask("cloudformation").entry.status is CoverageStatus.COMPLETE
    throttled = Fault.error("cloudformation", operation, "Throttling", "Rate exceeded")
    for fault in (Fault.denied("cloudformation", operation), throttled, Fault("garbage", "cloudformation", operation)):
        aws.faults.clear()
        aws.faults.add(fault)
        told = ask("cloudformation")
        assert told.entry.status is CoverageStatus.FAILED
        assert f"cloudformation:{operation}" in str(told.entry.error)


def test_a_stack_that_is_gone_in_between_is_no_gap(aws: Emulator, ask: Ask, stacks: Any) -> None:
    for name in ("a", "b"):
        made(stacks, topic(f"{HOST}/app:{name}"), name)
    aws.faults.add(
        Fault.error("cloudformation", "GetTemplate", "ValidationError", "Stack with id a does not exist", times=1)
    )
    told = ask("cloudformation")
    assert told.entry.status is CoverageStatus.COMPLETE
    assert len(told.uses) == 1


def test_an_account_without_stacks_reads_as_complete(aws: Emulator, ask: Ask, stacks: Any) -> None:
    told = ask("cloudformation")
    assert (told.entry.status, told.entry.error, told.uses) == (CoverageStatus.COMPLETE, None, ())
    assert aws.calls.count("cloudformation", "DescribeStacks") == 1
