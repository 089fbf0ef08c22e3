"""What stands in documents: names where they stand, and never a guess at what is computed."""

import json
from typing import Any

import pytest

from ecrsweep.sources.written import Kind, Written, written
from tests.support import ACCOUNT

HOST = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
IMAGE = f"{HOST}/team/app:v1"
PINNED = f"{HOST}/team/app@sha256:{'a' * 64}"
TASK = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition/web:7"
JOB = f"arn:aws-cn:batch:cn-north-1:{ACCOUNT}:job-definition/etl"


def found(document: Any) -> set[tuple[str, str]]:
    """Kind and text of what is written out."""
    return {(thing.kind.value, thing.text) for thing in written(document) if not thing.computed}


def computed(document: Any) -> set[str]:
    return {thing.kind.value for thing in written(document) if thing.computed}


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"TaskDefinition": "web:7"}, {("task definition", "web:7")}),
        ({"taskDefinitionArn": TASK}, {("task definition", TASK)}),
        ({"a": [{"jobDefinition": "etl"}]}, {("job definition", "etl")}),
        ({"anything": TASK}, {("task definition", TASK)}),
        (f"run {JOB} now", {("job definition", JOB)}),
        ({"TaskDefinition": "{% 'web:7' %}"}, {("task definition", "web:7")}),
        ({"TaskDefinition": f"{{% $big ? '{TASK}' : '{TASK[:-1]}8' %}}"}, {("task definition", TASK), ("task definition", TASK[:-1] + "8")}),
        ({"Input": json.dumps({"TaskDefinition": "web"})}, {("task definition", "web")}),
        (json.dumps(json.dumps({"TaskDefinition": "web"})), {("task definition", "web")}),
        ('{"TaskDefinition": "web:7", "at": <time>}', {("task definition", "web:7")}),
        ({"Image": "registry.internal:5000/app"}, {("image", "registry.internal:5000/app")}),
        ({"containers": [{"image": IMAGE}]}, {("image", IMAGE)}),
        ({"note": f"--conf spark.kubernetes.container.image={PINNED} --x"}, {("image", PINNED)}),
        (f"Run {IMAGE}. Then rest.", {("image", IMAGE)}),
        ({"Image": f"{IMAGE}."}, {("image", f"{IMAGE}.")}),
        (f"docker://{HOST}/team/app", {("image", f"{HOST}/team/app")}),
        (f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws/a/b_c:2.0-x,y", {("image", f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws/a/b_c:2.0-x")}),
        (f"{{% $x ? '{IMAGE}' : '{PINNED}' %}}", {("image", IMAGE), ("image", PINNED)}),
    ],
)  # fmt: skip
def test_what_is_written_out_is_found(document: Any, names: set[tuple[str, str]]) -> None:
    assert found(document) == names


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"TaskDefinition.$": "$.definition"}, "task definition"),
        ({"TaskDefinition.$": "States.Format('web:{}', $.revision)"}, "task definition"),
        ({"TaskDefinition": "{% $definition %}"}, "task definition"),
        ({"TaskDefinitionArn": "$.body.definition"}, "task definition"),
        ({"JobDefinition": "etl:<revision>"}, "job definition"),
        ('{"TaskDefinition": <definition>}', "task definition"),
        (f"{TASK[:-1]}<revision>", "task definition"),
        ({"x.$": f"States.Format('{HOST}/team/app:{{}}', $.tag)"}, "image"),
        (f"{{% '{HOST}/team/app:' & $tag %}}", "image"),
        (f"{{% '{HOST}/team/app' & $tag %}}", "image"),
        (f"{HOST}/team/app:v<number>", "image"),
    ],
)
def test_what_is_computed_is_told_and_not_guessed(document: Any, kind: str) -> None:
    assert computed(document) == {kind}
    assert found(document) == set()


@pytest.mark.parametrize(
    "document",
    [
        {"Image": {"S3Object": {"Bucket": "b", "Name": "photo.png"}}},
        {"image": "iVBORw0KGgoAAAANSUhEUg=="},
        {"image": "nginx:1.27"},
        {"image": "public.ecr.aws/docker/library/nginx"},
        {"ImageId": "ami-0123456789"},
        {"TaskDefinition": ""},
        f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com",
        {"JobDefinitionName": "quality"},
        "[not JSON",
        None,
        7,
    ],
)
def test_what_is_none_of_ours_is_left_alone(document: Any) -> None:
    assert list(written(document)) == []


def test_each_name_is_told_once_a_place_with_the_way_to_it() -> None:
    document = {"Target": {"Containers": [{"Image": IMAGE}, {"Image": IMAGE}]}}
    one, two = written(document)
    assert one == Written(Kind.IMAGE, IMAGE, ("Target", "Containers", "0", "Image"))
    assert one.spot == two.spot == "Target.Containers.Image"
