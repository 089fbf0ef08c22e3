"""Image names in custom resources: real shapes of real operators, and what is only text."""

from typing import Any

import pytest

from ecrsweep.sources.clusters.custom import EXPRESSION, TAGLESS, Doubt, images_in, is_interesting
from tests.sources.conftest import HOST

APP = f"{HOST}/team/app"
ALIAS = "registry.example.com/team/app"
DIGEST = f"sha256:{'a' * 64}"


def found(thing: Any, **how: Any) -> dict[str, str]:
    """The place of every name."""
    return {each.image: each.where for each in images_in(thing, **how) if not isinstance(each, Doubt)}


def doubts(thing: Any) -> list[tuple[str, str]]:
    return [(each.why, each.where) for each in images_in(thing) if isinstance(each, Doubt)]


def template(image: str = f"{APP}:v1", name: str = "main") -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, "image": image, "imagePullPolicy": "Always"}]}}


SHAPES: list[tuple[str, Any, dict[str, str]]] = [
    ("Argo Rollout", {"spec": {"replicas": 0, "template": template()}}, {f"{APP}:v1": "container main"}),
    (
        "Argo Workflow",
        {"spec": {"templates": [{"name": "build", "container": {"image": f"{APP}:v1"}, "sidecars": [{"name": "db", "image": f"{APP}:v2"}]},
                                {"name": "test", "script": {"image": f"{APP}:v3", "source": "echo"}}]}},
        {f"{APP}:v1": "spec.templates[build].container.image", f"{APP}:v2": "spec.templates[build].sidecars[db].image",
         f"{APP}:v3": "spec.templates[test].script.image"},
    ),
    ("Argo CronWorkflow", {"spec": {"suspend": True, "workflowSpec": {"templates": [{"name": "t", "container": {"image": f"{APP}:v1"}}]}}},
     {f"{APP}:v1": "spec.workflowSpec.templates[t].container.image"}),
    (
        "Knative Service and Revision",
        {"spec": {"template": template()}, "status": {"containerStatuses": [{"name": "main", "imageDigest": f"{APP}@{DIGEST}"}]}},
        {f"{APP}:v1": "container main", f"{APP}@{DIGEST}": "status.containerStatuses[main].imageDigest"},
    ),
    (
        "Tekton Task",
        {"spec": {"steps": [{"name": "build", "image": f"{APP}:v1"}, {"image": f"{APP}:v2"}], "stepTemplate": {"image": f"{APP}:v3"}}},
        {f"{APP}:v1": "spec.steps[build].image", f"{APP}:v2": "spec.steps[1].image", f"{APP}:v3": "spec.stepTemplate.image"},
    ),
    ("Tekton PipelineRun with a default of a parameter", {"spec": {"params": [{"name": "builder", "default": f"{APP}:v1"}]}},
     {f"{APP}:v1": "spec.params[builder].default"}),
    ("KEDA ScaledJob", {"spec": {"jobTargetRef": {"template": template()}}}, {f"{APP}:v1": "container main (spec.jobTargetRef.template.spec)"}),
    ("JobSet", {"spec": {"replicatedJobs": [{"name": "w", "template": {"spec": {"template": template()}}}]}}, {f"{APP}:v1": "container main"}),
    ("Ray", {"spec": {"headGroupSpec": {"template": template()}, "workerGroupSpecs": [{"groupName": "g", "template": template(f"{APP}:v2")}]}},
     {f"{APP}:v1": "container main (spec.headGroupSpec.template.spec)", f"{APP}:v2": "container main (spec.workerGroupSpecs[0].template.spec)"}),
    ("Spark", {"spec": {"image": f"{APP}:v1", "driver": {"image": f"{APP}:v2"}}}, {f"{APP}:v1": "spec.image", f"{APP}:v2": "spec.driver.image"}),
    ("Prometheus", {"spec": {"baseImage": APP, "tag": "v1", "version": "v2"}}, {f"{APP}:v1": "spec", f"{APP}:v2": "spec"}),
    ("Helm values", {"spec": {"values": {"image": {"registry": HOST, "repository": "team/app", "tag": 1.5}}}}, {f"{APP}:1.5": "spec.values.image"}),
    ("Helm values with a digest", {"spec": {"values": {"image": {"repository": APP, "tag": "", "digest": DIGEST}}}}, {f"{APP}@{DIGEST}": "spec.values.image"}),
    ("Helm values with a bare digest", {"spec": {"values": {"image": {"repository": APP, "sha": "a" * 64}}}}, {f"{APP}@{DIGEST}": "spec.values.image"}),
    ("Helm values without a tag", {"spec": {"values": {"image": {"registry": HOST, "repository": "team/app"}}}}, {APP: "spec.values.image"}),
    ("Helm values as a text", {"spec": {"valuesInline": f"image:\n  name: {APP}:v1\n  x: 1"}}, {f"{APP}:v1": "spec.valuesInline"}),
    (
        "Argo CD Application",
        {"spec": {"source": {"repoURL": HOST, "chart": "charts/web", "targetRevision": "1.2.3", "kustomize": {"images": [f"web={APP}:v1"]}}},
         "status": {"summary": {"images": [f"{APP}:v2"]}, "history": [{"source": {"kustomize": {"images": [f"web={APP}:v0"]}}}]}},
        {f"{HOST}/charts/web:1.2.3": "spec.source", f"{APP}:v1": "spec.source.kustomize.images[0]", f"{APP}:v2": "status.summary.images[0]",
         f"{APP}:v0": "status.history[0].source.kustomize.images[0]"},
    ),
    ("Flux OCIRepository", {"spec": {"url": f"oci://{APP}", "ref": {"tag": "v1", "digest": DIGEST}}},
     {f"oci://{APP}:v1": "spec", f"oci://{APP}@{DIGEST}": "spec"}),
    ("Flux Kustomization", {"spec": {"images": [{"name": "web", "newName": APP, "newTag": "v1"}]}}, {f"{APP}:v1": "spec.images[web]"}),
    ("an alias of a registry", {"spec": {"image": f"{ALIAS}:v1"}}, {f"{ALIAS}:v1": "spec.image"}),
    ("an alias in parts", {"spec": {"image": {"registry": "registry.example.com", "repository": "team/app", "tag": "v1"}}}, {f"{ALIAS}:v1": "spec.image"}),
    ("dual-stack, FIPS and China", {"spec": {"images": [
        "123456789012.dkr-ecr.us-east-1.on.aws/a:1", "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/b:1",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/c:1"]}},
     {"123456789012.dkr-ecr.us-east-1.on.aws/a:1": "spec.images[0]", "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/b:1": "spec.images[1]",
      "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/c:1": "spec.images[2]"}),
    ("under any name", {"spec": {"runtime": f"{APP}:v1"}}, {f"{APP}:v1": "spec.runtime"}),
    ("with a tag and a digest", {"spec": {"runtime": f"docker://{APP}:v1@{DIGEST}"}}, {f"{APP}:v1@{DIGEST}": "spec.runtime"}),
    ("in an annotation", {"metadata": {"annotations": {"last-applied": f'{{"image":"{APP}:v1"}}'}}}, {f"{APP}:v1": "metadata.annotations.last-applied"}),
    ("not in managed fields", {"metadata": {"managedFields": [{"image": f"{APP}:v1"}]}}, {}),
    ("not public ones", {"spec": {"image": "nginx:1.25", "imagePullPolicy": "Always", "images": ["docker.io/library/redis:7"]}}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("thing", "places"), [case[1:] for case in SHAPES], ids=[case[0] for case in SHAPES])
def test_image_names_are_found_wherever_an_operator_keeps_them(thing: Any, places: dict[str, str]) -> None:
    assert found(thing) == places


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{inputs.parameters.image}}", {}),
        ("$(params.image)", {}),
        (f"{APP}:{{{{workflow.parameters.tag}}}}", {}),
        (f"{APP}:${{TAG}}", {}),
        (f"{{{{= debug ? '{APP}:debug' : '{APP}:v1' }}}}", {f"{APP}:debug": "spec.image", f"{APP}:v1": "spec.image"}),
    ],
)
def test_an_expression_is_a_doubt_and_the_names_in_it_count(text: str, names: dict[str, str]) -> None:
    thing = {"spec": {"image": text}}
    assert doubts(thing) == [(EXPRESSION, "spec.image")]
    assert found(thing) == names


def test_a_repository_without_a_tag_is_a_doubt_where_it_is_wanted_and_no_tag_stands_beside_it() -> None:
    assert doubts({"spec": {"image": APP}}) == [(TAGLESS, "spec.image")]
    assert doubts({"spec": {"image": APP, "tag": "v1"}}) == []
    assert doubts({"status": {"image": APP}}) == []


@pytest.mark.parametrize(
    ("thing", "ended"),
    [
        ({"spec": {"image": f"{APP}:v1"}}, False),
        ({"spec": {"image": f"{APP}:v1"}, "status": {"phase": "Running"}}, False),
        ({"spec": {"image": f"{APP}:v1"}, "status": "odd"}, False),
        ({"spec": {"image": f"{APP}:v1"}, "status": {"phase": "Succeeded"}}, True),
        ({"spec": {"image": f"{APP}:v1"}, "status": {"completionTime": "2026-06-01T00:00:00Z"}}, True),
        ({"spec": {"note": f"we used {APP}:v1 once"}}, True),
        ({"status": {"image": f"{APP}:v1"}}, True),
        ({"metadata": {"annotations": {"was": f"{APP}:v1"}}}, True),
    ],
)
def test_what_is_only_told_or_has_run_to_its_end_pulls_no_more(thing: Any, ended: bool) -> None:
    assert {each.ended for each in images_in(thing) if not isinstance(each, Doubt)} == {ended}


def test_further_paths_lead_to_names_that_nothing_gives_away() -> None:
    thing = {
        "spec": {"pools": [{"runtime": "registry.example.com/a:1"}, {"runtime": "b:2"}, {"runtime": 7}], "one": "c"}
    }
    assert found(thing) == {}
    assert found(thing, paths=("spec.pools[].runtime", "spec.one", "spec.none.at.all")) == {
        "registry.example.com/a:1": "spec.pools[].runtime", "b:2": "spec.pools[].runtime", "c": "spec.one",
    }  # fmt: skip


def test_however_deep_an_object_is_it_is_read_to_its_end() -> None:
    thing: Any = {"image": f"{APP}:v1"}
    for _ in range(5000):
        thing = {"a": [thing]}
    assert list(found(thing)) == [f"{APP}:v1"]


@pytest.mark.parametrize(
    "thing", [None, 7, "text", [], {}, [[{"image": None}]], {"image": {"tag": None}}, {"containers": "x"}]
)
def test_odd_objects_name_nothing(thing: Any) -> None:
    assert found(thing) == {}


def test_objects_that_cannot_name_an_image_are_not_looked_at() -> None:
    assert is_interesting(b'{"spec": {"runnerImage": "x"}}')
    assert is_interesting(f'{{"a": "{APP}"}}'.encode())
    assert not is_interesting(b'{"spec": {"replicas": 1}}')
