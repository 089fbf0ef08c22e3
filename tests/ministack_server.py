"""ministack's server, with the resources of calls named as AWS names them. Run by `tests.judge`.

ministack 1.5 decides on the cluster, on the definition, or on nothing, where AWS decides on tasks, services and what hangs
on them, and on no repository where AWS decides on all. It decides on nothing where AWS decides on the projects of builds,
on the bus where AWS decides on the rule, and lets everybody ask the services that it lacks. What AWS does: the service
authorization reference, and denials that people have posted (a call without names: aws-amplify/amplify-cli#10828,
cdklabs/construct-hub#1207).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ministack.core import iam_actions, iam_evaluator

from ecrsweep.emulator.wire import wire_signed

Resources = Callable[[Mapping[str, Any], str], Sequence[str]]
_SEVERAL: Final = "\n"


def _with_services(kind: str, arns: Sequence[str]) -> list[str]:
    """These deployments or revisions, and the services that they are of: AWS asks for both."""
    services = {arn.rpartition("/")[0].replace(f":{kind}/", ":service/") for arn in arns}
    return [*arns, *sorted(services)]


def _nothing(asked: Mapping[str, Any], place: str) -> Sequence[str]:
    return ["*"]


def _projects(names: Sequence[str], place: str) -> list[str]:
    """Those of builds and batches of builds, whose identifiers begin with the project."""
    return sorted({f"arn:aws:codebuild:{place}:project/{name.partition(':')[0]}" for name in names})


def _rule(asked: Mapping[str, Any], place: str) -> list[str]:
    bus = asked.get("EventBusName", "default")
    return [f"arn:aws:events:{place}:rule/" + ("" if bus == "default" else f"{bus}/") + asked["Rule"]]


class _Named(dict[str, Any]):
    """The parameters of a call; what it does not name may be anything."""

    def __missing__(self, parameter: str) -> str:
        return "*"


def _one(service: str, end: str) -> Resources:
    """One resource, whose ARN ends so; `{Parameter}` stands for what the call names. A name may be a whole ARN."""

    def resources(asked: Mapping[str, Any], place: str) -> list[str]:
        named = [value for value in asked.values() if str(value).startswith(f"arn:aws:{service}:")]
        return named or [f"arn:aws:{service}:{place}:" + end.format_map(_Named(asked))]

    return resources


LACKING: Final = (
    "apprunner", "bedrock-agentcore", "emr-serverless", "gamelift", "imagebuilder", "lightsail", "sagemaker",
)  # fmt: skip
"""Services that ministack lacks, so that it would let everybody ask them."""

_BY_PATH: Final[Mapping[str, list[str]]] = {
    "bedrock-agentcore": ["bedrock-agentcore-control"],
    "emr-serverless": ["emr-serverless"],
    "imagebuilder": ["imagebuilder"],
}
"""Those of them whose operations are known by method and path, with botocore's names of their models."""

NAMING_ONE: Final[Mapping[str, str]] = {
    "bedrock-agentcore:GetAgentRuntime": "runtime/{agentRuntimeId}",
    "cloudformation:DescribeStacks": "stack/{StackName}/*",
    "emr-serverless:GetApplication": "/applications/{applicationId}",
    "emr-serverless:GetJobRun": "/applications/{applicationId}/jobruns/{jobRunId}",
    "emr-serverless:ListJobRuns": "/applications/{applicationId}",
    "gamelift:DescribeContainerGroupDefinition": "containergroupdefinition/{Name}",
    "imagebuilder:GetContainerRecipe": "container-recipe/{containerRecipeArn}",
    "imagebuilder:GetImage": "image/{imageBuildVersionArn}",
    "sagemaker:DescribeAlgorithm": "algorithm/{AlgorithmName}",
    "sagemaker:DescribeDataQualityJobDefinition": "data-quality-job-definition/{JobDefinitionName}",
    "sagemaker:DescribeEndpoint": "endpoint/{EndpointName}",
    "sagemaker:DescribeHyperParameterTuningJob": "hyper-parameter-tuning-job/{HyperParameterTuningJobName}",
    "sagemaker:DescribeImageVersion": "image-version/{ImageName}/{Version}",
    "sagemaker:DescribeInferenceComponent": "inference-component/{InferenceComponentName}",
    "sagemaker:DescribeModel": "model/{ModelName}",
    "sagemaker:DescribeModelBiasJobDefinition": "model-bias-job-definition/{JobDefinitionName}",
    "sagemaker:DescribeModelExplainabilityJobDefinition": "model-explainability-job-definition/{JobDefinitionName}",
    "sagemaker:DescribeModelPackage": "model-package/{ModelPackageName}",
    "sagemaker:DescribeModelQualityJobDefinition": "model-quality-job-definition/{JobDefinitionName}",
    "sagemaker:DescribeMonitoringSchedule": "monitoring-schedule/{MonitoringScheduleName}",
    "sagemaker:DescribePipeline": "pipeline/{PipelineName}",
    "sagemaker:DescribeProcessingJob": "processing-job/{ProcessingJobName}",
    "sagemaker:DescribeTrainingJob": "training-job/{TrainingJobName}",
    "sagemaker:ListImageVersions": "image/{ImageName}",
    "sagemaker:ListModelPackages": "model-package/*",
    "sagemaker:ListPipelineVersions": "pipeline/{PipelineName}",
}
"""By action: how the ARN of the one resource ends that AWS decides a call on. ministack decides all of these on `*`.

The policies of sources name the service and the account and nothing narrower, so no test of them proves more than that.
"""

AS_AWS: Final[Mapping[str, Resources]] = {
    **{action: _one(action.partition(":")[0], end) for action, end in NAMING_ONE.items()},
    "apprunner:DescribeService": lambda asked, place: [asked["ServiceArn"]],
    "apprunner:ListOperations": lambda asked, place: [asked["ServiceArn"]],
    "codebuild:BatchGetBuildBatches": lambda asked, place: _projects(asked["ids"], place),
    "codebuild:BatchGetBuilds": lambda asked, place: _projects(asked["ids"], place),
    "codebuild:BatchGetProjects": lambda asked, place: _projects(asked["names"], place),
    "ecr:DescribeRepositories": lambda asked, place: [
        f"arn:aws:ecr:{place}:repository/{name}" for name in asked.get("repositoryNames", ["*"])
    ],
    "ecs:DescribeServiceDeployments": lambda asked, place: _with_services(
        "service-deployment", asked["serviceDeploymentArns"]
    ),
    "ecs:DescribeServiceRevisions": lambda asked, place: _with_services(
        "service-revision", asked["serviceRevisionArns"]
    ),
    "ecs:DescribeServices": lambda asked, place: asked["services"],
    "ecs:DescribeTaskDefinition": _nothing,
    "ecs:DescribeTasks": lambda asked, place: asked["tasks"],
    "ecs:ListServiceDeployments": lambda asked, place: [asked["service"]],
    "ecs:ListServices": _nothing,
    "ecs:ListTasks": _nothing,
    "events:ListRules": _nothing,
    "events:ListTargetsByRule": _rule,
}
"""By action: the resources that AWS decides a call on, from its parameters and "region:account"."""

iam_actions.SERVICE_TO_IAM_NAMESPACE.update({service: service for service in LACKING})
iam_actions._BOTOCORE_SERVICE_MAP.update(_BY_PATH)
named_by_ministack = iam_actions.extract_resource_arn
_enforce = iam_evaluator.enforce


def extract_resource_arn(
    service: str, method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any, region: str, account: str
) -> str:
    """All resources of a call, a line each."""
    action = iam_actions.extract_iam_action(service, method, path, headers, body, query)
    if action not in AS_AWS:
        return str(named_by_ministack(service, method, path, headers, body, query, region, account))
    return _SEVERAL.join(AS_AWS[action](_asked(service, method, path, body, query), f"{region}:{account}"))


def _asked(service: str, method: str, path: str, body: bytes, query: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of a call, wherever its protocol has them."""
    wire = wire_signed(service)
    if wire is None:
        return {name: value[0] if isinstance(value, list) else value for name, value in query.items()}
    return wire.parameters(method, path, body)


def enforce(*arguments: Any, resource_arn: str = "*", **more: Any) -> Any:
    """The first refusal among all resources of a call."""
    for arn in resource_arn.split(_SEVERAL):
        refused = _enforce(*arguments, resource_arn=arn, **more)
        if refused:
            return refused
    return None


if __name__ == "__main__":
    from ministack.app import main

    iam_actions.extract_resource_arn = extract_resource_arn
    iam_evaluator.enforce = enforce
    main()
