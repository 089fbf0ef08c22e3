"""Amazon SageMaker AI as witness: what serves, what trains and processes, and what either can be started from.

The bulk call, Search, is not used: its records leave out the images of profiler rules and pending deployments, it does not know
inference components, processing jobs and Studio, and nothing says how soon it shows a change. So all is listed and described.
API: https://docs.aws.amazon.com/sagemaker/latest/APIReference/Welcome.html
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, ecr_names, seconds, strings

NAME: Final = "sagemaker"
NEWEST_VERSIONS: Final = 3
"""How many versions of every pipeline count as in use: what somebody who goes back would start."""

_PAGE: Final = 100
_MAY_STILL_RUN: Final = timedelta(days=400)
"""No job waits and runs longer: 28 days each, or the 56 and 182 days of a training plan."""
_ENDED: Final = frozenset({"Completed", "Failed", "Stopped", "Deleting", "DeleteFailed"})

_IMAGES: Final = frozenset(
    {
        "BaseImage", "ContainerImage", "Image", "ImageUri", "ResolvedImage", "RuleEvaluatorImage", "SpecifiedImage",
        "TrainingImage",
    }
)  # fmt: skip
"""Every member of the API in which the name of a container image stands."""
_FREE_TEXT: Final = frozenset({"Environment", "HyperParameters", "RuleParameters", "StaticHyperParameters", "Tags"})
_LABELS: Final = ("VariantName", "ContainerHostname", "RuleConfigurationName", "DefinitionName", "Name", "SpecName")

_NOT_FOUND: Final = ("Could not find", "Cannot find", "Requested resource not found", "does not exist")
"""How a ValidationException of SageMaker begins or ends that should be a ResourceNotFound: https://github.com/aws/aws-sdk/issues/165"""


class _Kind(msgspec.Struct, frozen=True):
    """A kind of resource: how it is listed and described, and how its descriptions name it."""

    lists: str
    key: str
    name: str
    describes: str
    arn: str
    asks: str = ""
    """The parameter of the description, where it is not called as the member of the list."""
    status: str = ""
    """For jobs: the member of the list that says whether it has ended."""
    started: str = ""
    """For jobs that pull once: the member that says when they had."""
    listing: Mapping[str, str] = {}
    describing: Mapping[str, str] = {}


_PACKAGES: Final = _Kind(
    "list_model_packages", "ModelPackageSummaryList", "ModelPackageArn", "describe_model_package", "ModelPackageArn",
    asks="ModelPackageName", listing={"ModelPackageType": "Both"}, describing={"IncludedData": "MetadataOnly"},
)  # fmt: skip
_MODELS: Final = _Kind("list_models", "Models", "ModelName", "describe_model", "ModelArn")
_KINDS: Final = (
    _PACKAGES,
    _MODELS,
    _Kind("list_endpoints", "Endpoints", "EndpointName", "describe_endpoint", "EndpointArn"),
    _Kind(
        "list_inference_components", "InferenceComponents", "InferenceComponentName", "describe_inference_component",
        "InferenceComponentArn",
    ),
    _Kind("list_algorithms", "AlgorithmSummaryList", "AlgorithmName", "describe_algorithm", "AlgorithmArn"),
    _Kind(
        "list_training_jobs", "TrainingJobSummaries", "TrainingJobName", "describe_training_job", "TrainingJobArn",
        status="TrainingJobStatus", started="TrainingStartTime",
    ),
    _Kind(
        "list_processing_jobs", "ProcessingJobSummaries", "ProcessingJobName", "describe_processing_job",
        "ProcessingJobArn", status="ProcessingJobStatus", started="ProcessingStartTime",
    ),
    _Kind(
        "list_hyper_parameter_tuning_jobs", "HyperParameterTuningJobSummaries", "HyperParameterTuningJobName",
        "describe_hyper_parameter_tuning_job", "HyperParameterTuningJobArn", status="HyperParameterTuningJobStatus",
    ),
    _Kind(
        "list_monitoring_schedules", "MonitoringScheduleSummaries", "MonitoringScheduleName",
        "describe_monitoring_schedule", "MonitoringScheduleArn",
    ),
    *(
        _Kind(
            f"list_{what}_job_definitions", "JobDefinitionSummaries", "MonitoringJobDefinitionName",
            f"describe_{what}_job_definition", "JobDefinitionArn", asks="JobDefinitionName",
        )
        for what in ("data_quality", "model_quality", "model_bias", "model_explainability")
    ),
)  # fmt: skip
_OTHER_CALLS: Final = (
    "list_images", "list_image_versions", "describe_image_version", "list_pipelines", "list_pipeline_versions",
    "describe_pipeline",
)  # fmt: skip


class SageMakerSource:
    """Every image name that SageMaker holds in one account and region (`ports.Source`)."""

    name = NAME
    actions = tuple(
        sorted(
            f"sagemaker:{operation.title().replace('_', '')}"
            for operation in (*_OTHER_CALLS, *(call for kind in _KINDS for call in (kind.lists, kind.describes)))
        )
    )

    about = About(
        system="Amazon SageMaker AI",
        calls=(
            "List and Describe of model packages, models, endpoints, inference components, algorithms, training, processing "
            "and tuning jobs, monitoring schedules and their four kinds of job definitions, images with their versions, "
            "pipelines with their versions"
        ),
        keeps=(
            "every container of every model and model package, deployed or not; what the variants of endpoints, shadow and "
            "pending ones too, and inference components were given and resolved; algorithms; jobs that have not ended, with "
            "their debugger and profiler rules; monitoring schedules and job definitions; every version of every Studio "
            "image; names that stand in the newest 3 versions of every pipeline"
        ),
        unknowable=(
            "the images of model packages of other accounts, and those that a pipeline takes from a parameter or step: both "
            "are noted; documents of private hubs; executions of a pipeline that was changed more than three times since. "
            "Transform jobs are protected by their models; AutoML, compilation and optimization jobs run images of AWS"
        ),
        service="sagemaker",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Kind by kind. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "sagemaker", _is_gone)
        packages: set[str] = set()
        for kind in _KINDS:
            yield from reading.part(_of_kind(reading, kind, packages))
        yield from reading.part(_of_studio_images(reading))
        yield from reading.part(_of_pipelines(reading))
        reading.finish()


def _of_kind(reading: Reading, kind: _Kind, packages: set[str]) -> Iterator[Use | Note]:
    """The uses of all resources of a kind; the names of model packages are added to `packages`."""
    found = _listed(reading, kind)
    if kind is _PACKAGES:
        # Models name a package by its ARN or, where it has no versions, by its name.
        packages.update(found, (arn.partition("/")[2] for arn in found))
    for _, described in reading.each(lambda name: _described(reading, kind, name), found):
        yield from _uses_in(reading.place, described, str(described[kind.arn]), started=kind.started)
        if kind is _MODELS:
            yield from _packages_elsewhere(described, packages)


def _listed(reading: Reading, kind: _Kind) -> list[str]:
    asked: dict[str, Any] = {"MaxResults": _PAGE, **kind.listing}
    if kind.status:
        # StatusEquals would save nothing: SageMaker takes a page of all jobs and leaves out those of other states.
        asked["CreationTimeAfter"] = datetime.now(UTC) - _MAY_STILL_RUN
    return [
        str(found[kind.name])
        for found in reading.listed(kind.lists, kind.key, **asked)
        if not kind.status or found[kind.status] not in _ENDED
    ]


def _described(reading: Reading, kind: _Kind, name: str) -> Json:
    return reading.described(kind.describes, kind.arn, **{kind.asks or kind.name: name}, **kind.describing)


def _of_studio_images(reading: Reading) -> Iterator[Use]:
    names = [str(image["ImageName"]) for image in reading.listed("list_images", "Images", MaxResults=_PAGE)]
    versions = [
        (name, int(version["Version"])) for _, found in reading.each(lambda name: _versions(reading, name), names)
        for name, version in found
    ]  # fmt: skip
    for _, described in reading.each(lambda version: _image_version(reading, *version), versions):
        yield from _uses_in(reading.place, described, str(described["ImageVersionArn"]))


def _versions(reading: Reading, name: str) -> list[tuple[str, Json]]:
    found = reading.listed("list_image_versions", "ImageVersions", inside=True, ImageName=name, MaxResults=_PAGE)
    return [(name, version) for version in found]


def _image_version(reading: Reading, name: str, version: int) -> Json:
    return reading.described("describe_image_version", "ImageVersionArn", ImageName=name, Version=version)


def _of_pipelines(reading: Reading) -> Iterator[Use | Note]:
    arns = [
        str(found["PipelineArn"]) for found in reading.listed("list_pipelines", "PipelineSummaries", MaxResults=_PAGE)
    ]
    versions = [
        version for _, found in reading.each(lambda arn: _pipeline_versions(reading, arn), arns) for version in found
    ]
    for (arn, version), described in reading.each(lambda asked: _pipeline(reading, *asked), versions):
        where = f"version {version}" if version else "definition"
        definition = json.loads(described["PipelineDefinition"])
        names, unknown = _pipeline_images(definition)
        for image in dict.fromkeys(names):
            yield Use(image, arn, NAME, reading.place.account, reading.place.region, where)
        for taken_from in dict.fromkeys(unknown):
            yield Note(f"its {where} takes an image from {taken_from}, which is known only when it is started", arn)


def _pipeline_versions(reading: Reading, arn: str) -> list[tuple[str, int | None]]:
    """What it is now, which is its newest version, and those before that."""
    listed = reading.listed(
        "list_pipeline_versions", "PipelineVersionSummaries", inside=True,
        PipelineName=arn, SortOrder="Descending", MaxResults=NEWEST_VERSIONS,
    )  # fmt: skip
    newest = [int(version["PipelineVersionId"]) for version in itertools.islice(listed, NEWEST_VERSIONS)]
    return [(arn, None), *((arn, version) for version in newest[1:])]


def _pipeline(reading: Reading, arn: str, version: int | None) -> Json:
    asked = {} if version is None else {"PipelineVersionId": version}
    return reading.described("describe_pipeline", "PipelineDefinition", PipelineName=arn, **asked)


def _pipeline_images(node: object) -> tuple[list[str], list[str]]:
    """The names of private ECR in a definition, and where it takes images from that it does not name.

    Expressions: https://sagemaker-model-building-pipeline.readthedocs.io/, `{"Get": ...}` and `{"Std:Join": ...}`.
    """
    names: list[str] = []
    unknown: list[str] = []
    if isinstance(node, str):
        names += ecr_names(node)
    elif isinstance(node, list):
        for item in node:
            _add(_pipeline_images(item), names, unknown)
    elif isinstance(node, dict):
        joined = node.get("Std:Join")
        if isinstance(joined, dict):
            _add(_joined(joined), names, unknown)
            return names, unknown
        for key, value in node.items():
            if key in _IMAGES and isinstance(value, dict) and "Get" in value:
                unknown.append(str(value["Get"]))
            _add(_pipeline_images(value), names, unknown)
    return names, unknown


def _joined(joined: Json) -> tuple[list[str], list[str]]:
    """A join of strings is a string; one with parts that are not known yet can name anything."""
    values = joined["Values"]
    if all(isinstance(value, str) for value in values):
        return list(ecr_names(str(joined.get("On", "")).join(values))), []
    text = " + ".join(strings(values))
    return [], [text] if ".dkr" in text else []


def _add(found: tuple[list[str], list[str]], names: list[str], unknown: list[str]) -> None:
    names += found[0]
    unknown += found[1]


def _uses_in(place: Place, described: Json, workload: str, *, started: str = "") -> Iterator[Use]:
    """Every image that a description names, with the digest that stands beside it."""
    created = seconds(described.get("CreationTime"))
    for where, member, beside in _images(described):
        digest = _digest(member, beside)
        pulled_once = bool(started) or member == "SpecifiedImage"
        yield Use(
            image=str(beside[member]),
            workload=workload,
            source=NAME,
            account=place.account,
            region=place.region,
            where=where,
            digest=digest,
            resolved_from=created if pulled_once and digest is None else None,
            resolved_until=seconds(described.get(started)),
        )


def _images(node: object, where: str = "") -> Iterator[tuple[str, str, Json]]:
    """The path, the member and what is beside it, of every image in a description."""
    if isinstance(node, Mapping):
        for member, value in node.items():
            path = f"{where}.{member}" if where else str(member)
            if member in _IMAGES and isinstance(value, str):
                if value:
                    yield path, str(member), node
            elif member not in _FREE_TEXT:
                yield from _images(value, path)
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _images(item, f"{where}[{_label(item, number)}]")


def _label(item: object, number: int) -> str:
    named = item if isinstance(item, Mapping) else {}
    return str(next((named[label] for label in _LABELS if named.get(label)), number))


def _digest(member: str, beside: Json) -> str | None:
    if member == "SpecifiedImage":
        return str(beside.get("ResolvedImage", "")).partition("@")[2] or None
    digest = beside.get(f"{member}Digest")
    return str(digest).lower() if digest else None


def _packages_elsewhere(model: Json, packages: set[str]) -> Iterator[Note]:
    """Containers that a package of somebody else's describes: what image is in them cannot be read here."""
    for container in [model.get("PrimaryContainer") or {}, *(model.get("Containers") or ())]:
        package = container.get("ModelPackageName")
        if package and not container.get("Image") and package not in packages:
            yield Note(f"its container comes from {package}, whose image cannot be read here", str(model["ModelArn"]))


def _is_gone(failure: AwsFailure) -> bool:
    code = code_of(failure)
    return code == "ResourceNotFound" or (
        code == "ValidationException" and any(said in str(failure) for said in _NOT_FOUND)
    )
