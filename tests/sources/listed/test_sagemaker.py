"""SageMaker: names and digests, jobs that have ended, packages of others, and pipelines that name their images late."""

import json
from typing import Any

import pytest

from ecrsweep.core.uses import CoverageStatus
from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from tests.sources.listed.conftest import Ask, Images
from tests.sources.listed.worlds import HOST, STRANGER, Script, arn
from tests.support import Cli, ago


@pytest.fixture
def script(aws: Emulator) -> Script:
    return Script(aws, "sagemaker")


def models(script: Script, containers: dict[str, Any]) -> None:
    script.lists("ListModels", "Models", [{"ModelName": name} for name in containers])
    told = {
        name: {"ModelArn": arn("sagemaker", f"model/{name}"), "PrimaryContainer": container}
        for name, container in containers.items()
    }
    script.describes("DescribeModel", "ModelName", told)


def pipeline(script: Script, *definitions: str) -> None:
    """A pipeline with these versions, the newest first."""
    script.lists("ListPipelines", "PipelineSummaries", [{"PipelineArn": "p"}])
    versions = range(len(definitions), 0, -1)
    script.lists("ListPipelineVersions", "PipelineVersionSummaries", [{"PipelineVersionId": n} for n in versions])

    def describe(asked: dict[str, Any]) -> Any:
        return {"PipelineDefinition": definitions[len(definitions) - asked.get("PipelineVersionId", len(definitions))]}

    script.answers("DescribePipeline", describe)


def test_images_of_aws_itself_are_in_other_registries_and_not_missing_here(
    cli: Cli, image: Images, script: Script
) -> None:
    image("unused")
    models(script, {"theirs": {"Image": STRANGER}, "ours": {"Image": f"{HOST}/team/app:gone"}})
    found = cli.plan("--keep-newest", "0")
    assert found.status == 0
    assert [entry["reference"] for entry in found.json["unresolved"]] == [f"{HOST}/team/app:gone"]


def test_a_second_page_is_read_and_jobs_that_have_ended_are_not_described(
    aws: Emulator, image: Images, script: Script, ask: Ask
) -> None:
    ended = [{"ProcessingJobName": f"job-{n}", "ProcessingJobStatus": "Completed"} for n in range(120)]
    running = {"ProcessingJobName": "last", "ProcessingJobStatus": "InProgress"}
    script.lists("ListProcessingJobs", "ProcessingJobSummaries", [*ended, running])
    script.describes(
        "DescribeProcessingJob", "ProcessingJobName", {"last": {"AppSpecification": {"ImageUri": image("v1")}}}
    )
    assert ask("sagemaker").tags == {"v1"}
    assert aws.calls.count("sagemaker", "ListProcessingJobs") == 2
    assert aws.calls.count("sagemaker", "DescribeProcessingJob") == 1


def test_what_a_running_job_pulled_stays_after_its_tag_has_moved(
    cli: Cli, repo: Repository, image: Images, script: Script
) -> None:
    name = image("prod")
    pulled = repo.digest_of("prod")
    script.lists(
        "ListTrainingJobs", "TrainingJobSummaries", [{"TrainingJobName": "night", "TrainingJobStatus": "InProgress"}]
    )
    night = {
        "CreationTime": ago(days=20).timestamp(),
        "TrainingStartTime": ago(days=20).timestamp(),
        "AlgorithmSpecification": {"TrainingImage": name, "TrainingInputMode": "File"},
    }
    script.describes("DescribeTrainingJob", "TrainingJobName", {"night": night})
    repo.push_image(("prod",), pushed_at=ago(days=10))
    later = repo.push_image(pushed_at=ago(days=15))
    found = cli.plan("--keep-newest", "0")
    assert found.codes(pulled) == {"in_use"}
    assert "possible" in found.details(pulled)
    assert found.action(later) == "delete", "it was pushed after the job had started"


def test_a_digest_beside_a_name_is_a_use_too(repo: Repository, image: Images, script: Script, ask: Ask) -> None:
    name = image("v1")
    digest = repo.digest_of("v1")
    script.lists("ListEndpoints", "Endpoints", [{"EndpointName": "e"}])
    deployed = {"SpecifiedImage": name, "ResolvedImage": f"{repo.uri}@{digest}"}
    variants = [{"VariantName": "blue", "DeployedImages": [deployed, {"SpecifiedImage": name}]}]
    script.describes("DescribeEndpoint", "EndpointName", {"e": {"ProductionVariants": variants}})
    script.lists("ListAlgorithms", "AlgorithmSummaryList", [{"AlgorithmName": "a"}])
    training = {"TrainingImage": name, "TrainingImageDigest": digest.upper().replace("SHA", "sha")}
    script.describes("DescribeAlgorithm", "AlgorithmName", {"a": {"TrainingSpecification": training}})
    found = {use.where: use for use in ask("sagemaker").uses}
    first, second = (found[f"ProductionVariants[blue].DeployedImages[{n}].SpecifiedImage"] for n in (0, 1))
    assert (first.digest, first.resolved_from) == (digest, None)
    assert second.digest is None
    assert second.resolved_from is not None, "its tag was resolved when it was deployed"
    assert found["ProductionVariants[blue].DeployedImages[0].ResolvedImage"].image.endswith(digest)
    assert found["TrainingSpecification.TrainingImage"].digest == digest


def test_a_container_of_somebody_elses_package_is_noted_and_one_of_ours_is_not(script: Script, ask: Ask) -> None:
    ours, plain = arn("sagemaker", "model-package/ours/1"), arn("sagemaker", "model-package/plain")
    script.lists("ListModelPackages", "ModelPackageSummaryList", [{"ModelPackageArn": name} for name in (ours, plain)])
    script.describes("DescribeModelPackage", "ModelPackageName", {ours: {}, plain: {}})
    theirs = "arn:aws:sagemaker:us-east-1:210987654321:model-package/theirs/1"
    models(script, {name: {"ModelPackageName": name} for name in (ours, "plain", theirs)})
    notes = ask("sagemaker").entry.notes
    assert len(notes) == 1
    assert f"its container comes from {theirs}" in notes[0]


def test_names_in_pipelines_are_found_wherever_they_are_put_together(image: Images, script: Script, ask: Ask) -> None:
    joined = {"Std:Join": {"On": "/", "Values": [HOST, "team/app:joined"]}}
    definition = {
        "Parameters": [{"Name": "Image", "Type": "String", "DefaultValue": image("default")}],
        "Steps": [
            {"Name": "a", "Arguments": {"AppSpecification": {"ImageUri": {"Get": "Parameters.Image"}}}},
            {"Name": "b", "Arguments": {"AppSpecification": {"ImageUri": joined}}},
            {
                "Name": "c",
                "Arguments": {"Image": {"Std:Join": {"On": "", "Values": [f"{HOST}/x:", {"Get": "Parameters.Tag"}]}}},
            },
        ],
    }
    pipeline(script, json.dumps(definition))
    told = ask("sagemaker")
    assert told.tags == {"default", "joined"}
    assert told.entry.notes == (
        "p: its definition takes an image from Parameters.Image, which is known only when it is started",
        f"p: its definition takes an image from {HOST}/x: + Parameters.Tag, which is known only when it is started",
    )


def test_the_newest_three_versions_of_a_pipeline_count(image: Images, script: Script, ask: Ask) -> None:
    pipeline(script, *(json.dumps({"Image": image(f"v{n}")}) for n in (5, 4, 3, 2, 1)))
    assert ask("sagemaker").tags == {"v5", "v4", "v3"}


def test_a_pipeline_that_is_no_json_is_a_gap_and_the_others_are_read(image: Images, script: Script, ask: Ask) -> None:
    pipeline(script, json.dumps({"Image": image("v2")}), "{broken")
    models(script, {"m": {"Image": image("v1")}})
    told = ask("sagemaker")
    assert told.entry.status is CoverageStatus.FAILED
    assert "did not answer as it documents" in str(told.entry.error)
    assert told.tags == {"v1", "v2"}
