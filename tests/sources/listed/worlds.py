"""One small world a source: every place where it can hold an image, each with an image of its own.

Answers are scripted over HTTP and checked against botocore's models; what a model demands and no test is about is filled in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.wire import wire_of
from tests.support import ACCOUNT, ago

HOST: Final = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
STRANGER: Final = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.1-cpu"
"""An image of AWS's own, as SageMaker uses them: in a private registry of another account."""

LONG_AGO: Final = ago(days=50).timestamp()

Images = Callable[[str], str]
"""The name of an image of the repository, by its tag."""


@dataclass
class Script:
    """Writes what one service answers."""

    aws: Emulator
    service: str

    def lists(self, operation: str, key: str, items: list[Any], page: int = 100) -> None:
        """Let an operation list these."""
        shape = self._output(operation).members[key].member
        self.aws.scripts.listed(self.service, operation, key, [filled(shape, item) for item in items], page=page)

    def describes(self, operation: str, member: str, items: Mapping[str, Any]) -> None:
        """Let an operation describe each of these, by what its parameter says."""
        shape = self._output(operation)
        told = {name: filled(shape, item) for name, item in items.items()}
        self.aws.scripts.described(self.service, operation, member, told, "ResourceNotFoundException")

    def answers(self, operation: str, answer: Callable[[dict[str, Any]], Any], region: str | None = None) -> None:
        """Let an operation answer what a function makes of its parameters."""
        shape = self._output(operation)
        self.aws.scripts.answer(self.service, operation, lambda asked: filled(shape, answer(asked)), region=region)

    def _output(self, operation: str) -> Any:
        return wire_of(self.service).model.operation_model(operation).output_shape


def filled(shape: Any, given: Any) -> Any:
    """What is given, with everything that the model demands besides."""
    match shape.type_name:
        case "structure":
            known = {name: filled(shape.members[name], value) for name, value in (given or {}).items()}
            demanded = [*shape.members][:1] if shape.is_tagged_union and not known else shape.required_members
            return {name: filled(shape.members[name], None) for name in demanded} | known
        case "list":
            least = [None] * shape.metadata.get("min", 0)
            return [filled(shape.member, item) for item in given or least]
        case "map":
            return {name: filled(shape.value, value) for name, value in (given or {}).items()}
        case _ if given is not None:
            return given
        case "timestamp":
            return LONG_AGO
        case "integer" | "long":
            return 1
        case _:
            return (shape.enum or ["x" * shape.metadata.get("min", 1)])[0]


@dataclass(frozen=True)
class World:
    """A source, what its service is called in faults, and how its world is made: the tag of each image, and where it stands."""

    source: str
    service: str
    build: Callable[[Emulator, Images], dict[str, str]]
    gone: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """What each call answers for something that was deleted in between."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What asks it, also where it is off by default."""
        return ("--with-source", self.source)

    def lose(self, operation: str) -> Fault:
        """The first call of this kind meets something that is gone."""
        code, message = self.gone[operation]
        return Fault.error(self.service, operation, code, message, 400, times=1)


def arn(service: str, path: str) -> str:
    return f"arn:aws:{service}:us-east-1:{ACCOUNT}:{path}"


def sagemaker(aws: Emulator, image: Images) -> dict[str, str]:
    script = Script(aws, "sagemaker")
    _sagemaker_packages(script, image)
    _sagemaker_endpoints(script, image)
    _sagemaker_jobs(script, image)
    _sagemaker_monitoring(script, image)
    _sagemaker_studio(script, image)
    _sagemaker_pipelines(script, image)
    return {
        "package": f"{arn('sagemaker', 'model-package/fraud/1')} InferenceSpecification.Containers[0].Image",
        "additional": "AdditionalInferenceSpecifications[neo].Containers[0].Image",
        "model": f"{arn('sagemaker', 'model/fraud')} PrimaryContainer.Image",
        "multi": f"{arn('sagemaker', 'model/multi')} Containers[second].Image",
        "variant": f"{arn('sagemaker', 'endpoint/fraud')} ProductionVariants[blue].DeployedImages[0].SpecifiedImage",
        "shadow": "ShadowProductionVariants[dark].DeployedImages[0].ResolvedImage",
        "pending": "PendingDeploymentSummary.ProductionVariants[green].DeployedImages[0].SpecifiedImage",
        "component": f"{arn('sagemaker', 'inference-component/llm')} Specification.Container.DeployedImage.SpecifiedImage",
        "algorithm": f"{arn('sagemaker', 'algorithm/trees')} TrainingSpecification.TrainingImage",
        "training": f"{arn('sagemaker', 'training-job/night')} AlgorithmSpecification.TrainingImage",
        "debug": "DebugRuleConfigurations[Loss].RuleEvaluatorImage",
        "profile": "ProfilerRuleConfigurations[Cpu].RuleEvaluatorImage",
        "processing": f"{arn('sagemaker', 'processing-job/clean')} AppSpecification.ImageUri",
        "tuning": f"{arn('sagemaker', 'hyper-parameter-tuning-job/best')} TrainingJobDefinitions[deep].AlgorithmSpecification",
        "schedule": f"{arn('sagemaker', 'monitoring-schedule/hourly')} MonitoringScheduleConfig.MonitoringJobDefinition.MonitoringAppSpecification.ImageUri",
        "data_quality": f"{arn('sagemaker', 'data_quality')} DataQualityAppSpecification.ImageUri",
        "model_quality": f"{arn('sagemaker', 'model_quality')} ModelQualityAppSpecification.ImageUri",
        "model_bias": f"{arn('sagemaker', 'model_bias')} ModelBiasAppSpecification.ImageUri",
        "model_explainability": f"{arn('sagemaker', 'model_explainability')} ModelExplainabilityAppSpecification.ImageUri",
        "studio": f"{arn('sagemaker', 'image-version/lab/1')} ContainerImage",
        "base": "BaseImage",
        "pipeline": f"{arn('sagemaker', 'pipeline/train')} definition",
        "before": f"{arn('sagemaker', 'pipeline/train')} version 3",
    }


def _sagemaker_packages(script: Script, image: Images) -> None:
    package = arn("sagemaker", "model-package/fraud/1")
    script.lists("ListModelPackages", "ModelPackageSummaryList", [{"ModelPackageArn": package}])
    container = {"Image": image("package")}
    neo = {"Name": "neo", "Containers": [{"Image": image("additional")}]}
    described = {
        "ModelPackageArn": package,
        "InferenceSpecification": {"Containers": [container]},
        "AdditionalInferenceSpecifications": [neo],
    }
    script.describes("DescribeModelPackage", "ModelPackageName", {package: described})
    models = ("fraud", "multi", "of-package", "of-stranger")
    script.lists(
        "ListModels", "Models", [{"ModelName": name, "ModelArn": arn("sagemaker", f"model/{name}")} for name in models]
    )
    containers: dict[str, Any] = {
        "fraud": {"PrimaryContainer": {"Image": image("model"), "Environment": {"Image": "no image at all"}}},
        "multi": {"Containers": [{"Image": STRANGER}, {"ContainerHostname": "second", "Image": image("multi")}]},
        "of-package": {"PrimaryContainer": {"ModelPackageName": package}},
        "of-stranger": {"PrimaryContainer": {"ModelPackageName": package.replace(ACCOUNT, "210987654321")}},
    }
    told = {name: {"ModelArn": arn("sagemaker", f"model/{name}")} | containers[name] for name in models}
    script.describes("DescribeModel", "ModelName", told)
    script.lists("ListAlgorithms", "AlgorithmSummaryList", [{"AlgorithmName": "trees"}])
    trees = {
        "AlgorithmArn": arn("sagemaker", "algorithm/trees"),
        "TrainingSpecification": {"TrainingImage": image("algorithm")},
    }
    script.describes("DescribeAlgorithm", "AlgorithmName", {"trees": trees})


def _sagemaker_endpoints(script: Script, image: Images) -> None:
    script.lists("ListEndpoints", "Endpoints", [{"EndpointName": "fraud"}])
    endpoint = {
        "EndpointArn": arn("sagemaker", "endpoint/fraud"),
        "ProductionVariants": [{"VariantName": "blue", "DeployedImages": [{"SpecifiedImage": image("variant")}]}],
        "ShadowProductionVariants": [{"VariantName": "dark", "DeployedImages": [{"ResolvedImage": image("shadow")}]}],
        "PendingDeploymentSummary": {
            "ProductionVariants": [{"VariantName": "green", "DeployedImages": [{"SpecifiedImage": image("pending")}]}]
        },
    }
    script.describes("DescribeEndpoint", "EndpointName", {"fraud": endpoint})
    script.lists("ListInferenceComponents", "InferenceComponents", [{"InferenceComponentName": "llm"}])
    component = {
        "InferenceComponentArn": arn("sagemaker", "inference-component/llm"),
        "Specification": {"Container": {"DeployedImage": {"SpecifiedImage": image("component")}}},
    }
    script.describes("DescribeInferenceComponent", "InferenceComponentName", {"llm": component})


def _sagemaker_jobs(script: Script, image: Images) -> None:
    ended = {"TrainingJobName": "old", "TrainingJobStatus": "Completed"}
    running = {"TrainingJobName": "night", "TrainingJobStatus": "InProgress"}
    script.lists("ListTrainingJobs", "TrainingJobSummaries", [ended, running])
    training = {
        "TrainingJobArn": arn("sagemaker", "training-job/night"),
        "AlgorithmSpecification": {"TrainingImage": image("training"), "TrainingInputMode": "File"},
        "DebugRuleConfigurations": [{"RuleConfigurationName": "Loss", "RuleEvaluatorImage": image("debug")}],
        "ProfilerRuleConfigurations": [{"RuleConfigurationName": "Cpu", "RuleEvaluatorImage": image("profile")}],
    }
    script.describes("DescribeTrainingJob", "TrainingJobName", {"night": training})
    stopping = {"ProcessingJobName": "clean", "ProcessingJobStatus": "Stopping"}
    script.lists("ListProcessingJobs", "ProcessingJobSummaries", [stopping])
    processing = {
        "ProcessingJobArn": arn("sagemaker", "processing-job/clean"),
        "AppSpecification": {"ImageUri": image("processing")},
    }
    script.describes("DescribeProcessingJob", "ProcessingJobName", {"clean": processing})
    tuning = {"HyperParameterTuningJobName": "best", "HyperParameterTuningJobStatus": "InProgress"}
    script.lists("ListHyperParameterTuningJobs", "HyperParameterTuningJobSummaries", [tuning])
    deep = {"DefinitionName": "deep", "AlgorithmSpecification": {"TrainingImage": image("tuning")}}
    best = {
        "HyperParameterTuningJobArn": arn("sagemaker", "hyper-parameter-tuning-job/best"),
        "TrainingJobDefinitions": [deep],
    }
    script.describes("DescribeHyperParameterTuningJob", "HyperParameterTuningJobName", {"best": best})


def _sagemaker_monitoring(script: Script, image: Images) -> None:
    paused = {"MonitoringScheduleName": "hourly", "MonitoringScheduleStatus": "Stopped"}
    script.lists("ListMonitoringSchedules", "MonitoringScheduleSummaries", [paused])
    definition = {"MonitoringAppSpecification": {"ImageUri": image("schedule")}}
    hourly = {
        "MonitoringScheduleArn": arn("sagemaker", "monitoring-schedule/hourly"),
        "MonitoringScheduleConfig": {"MonitoringJobDefinition": definition},
    }
    script.describes("DescribeMonitoringSchedule", "MonitoringScheduleName", {"hourly": hourly})
    for kind in ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability"):
        tag = "data_quality" if kind == "DataQuality" else f"model_{kind.removeprefix('Model').lower()}"
        summary = {"MonitoringJobDefinitionName": tag}
        script.lists(f"List{kind}JobDefinitions", "JobDefinitionSummaries", [summary])
        described = {"JobDefinitionArn": arn("sagemaker", tag), f"{kind}AppSpecification": {"ImageUri": image(tag)}}
        script.describes(f"Describe{kind}JobDefinition", "JobDefinitionName", {tag: described})


def _sagemaker_studio(script: Script, image: Images) -> None:
    script.lists("ListImages", "Images", [{"ImageName": "lab"}])
    script.lists("ListImageVersions", "ImageVersions", [{"Version": 1}])
    version = {
        "ImageVersionArn": arn("sagemaker", "image-version/lab/1"),
        "ContainerImage": image("studio"),
        "BaseImage": image("base"),
    }
    script.describes("DescribeImageVersion", "ImageName", {"lab": version})


def _sagemaker_pipelines(script: Script, image: Images) -> None:
    train = arn("sagemaker", "pipeline/train")
    script.lists("ListPipelines", "PipelineSummaries", [{"PipelineArn": train}])
    script.lists("ListPipelineVersions", "PipelineVersionSummaries", [{"PipelineVersionId": n} for n in (4, 3, 2, 1)])

    names = {4: image("pipeline"), 3: image("before"), 2: STRANGER, 1: image("unused")}

    def describe(asked: dict[str, Any]) -> dict[str, str]:
        named = names[asked.get("PipelineVersionId", 4)]
        step = f'{{"Name": "train", "Arguments": {{"AlgorithmSpecification": {{"TrainingImage": "{named}"}}}}}}'
        return {"PipelineDefinition": f'{{"Version": "2020-12-01", "Steps": [{step}]}}'}

    script.answers("DescribePipeline", describe)


def agentcore(aws: Emulator, image: Images) -> dict[str, str]:
    script = Script(aws, "bedrock-agentcore-control")
    runtime = arn("bedrock-agentcore", "runtime/agent-1")
    script.lists(
        "ListAgentRuntimes", "agentRuntimes",
        [{"agentRuntimeId": "agent-1", "agentRuntimeArn": runtime, "agentRuntimeVersion": "9"}],
    )  # fmt: skip
    images = {str(number): image(f"runtime-{number}") for number in range(1, 10)}
    numbers = [{"agentRuntimeVersion": number} for number in images]
    script.lists("ListAgentRuntimeVersions", "agentRuntimes", numbers, page=4)
    serving = {"name": "prod", "liveVersion": "2", "targetVersion": "3"}
    script.lists("ListAgentRuntimeEndpoints", "runtimeEndpoints", [serving])

    def describe(asked: dict[str, Any]) -> Any:
        if asked["agentRuntimeVersion"] == "8":
            return {"agentRuntimeArtifact": {"codeConfiguration": {"code": {"s3": {}}}}}
        return {
            "agentRuntimeArtifact": {"containerConfiguration": {"containerUri": images[asked["agentRuntimeVersion"]]}}
        }

    script.answers("GetAgentRuntime", describe)
    harness = arn("bedrock-agentcore", "harness/h-1")
    script.lists("ListHarnesses", "harnesses", [{"harnessId": "h-1", "arn": harness}])
    script.lists("ListHarnessVersions", "harnessVersions", [{"harnessVersion": "1"}])
    script.lists("ListHarnessEndpoints", "endpoints", [{"endpointName": "DEFAULT", "liveVersion": "1"}])
    environment = {"containerConfiguration": {"containerUri": image("harness")}}
    script.describes("GetHarness", "harnessId", {"h-1": {"harness": {"environmentArtifact": environment}}})
    return {
        "runtime-2": f"{runtime} version 2, endpoint prod",
        "runtime-3": f"{runtime} version 3, endpoint prod",
        "runtime-7": f"{runtime} version 7",
        "runtime-9": f"{runtime} version 9",
        "harness": f"{harness} version 1, endpoint DEFAULT",
    }


def emr_serverless(aws: Emulator, image: Images) -> dict[str, str]:
    script = Script(aws, "emr-serverless")
    states = {"stopped": "STOPPED", "gone": "TERMINATED"}
    script.lists("ListApplications", "applications", [{"id": name, "state": state} for name, state in states.items()])
    application = {
        "arn": arn("emr-serverless", "/applications/stopped"),
        "state": "STOPPED",
        "imageConfiguration": {"imageUri": image("application")},
        "workerTypeSpecifications": {"Spark.Driver": {"imageConfiguration": {"imageUri": image("driver")}}, "Tez": {}},
    }
    script.describes("GetApplication", "applicationId", {"stopped": {"application": application}})
    script.lists("ListJobRuns", "jobRuns", [{"id": "run-1", "applicationId": "stopped", "state": "QUEUED"}])
    run = {
        "arn": arn("emr-serverless", "/applications/stopped/jobruns/run-1"),
        "imageConfiguration": {"imageUri": image("job-run")},
    }
    script.describes("GetJobRun", "jobRunId", {"run-1": {"jobRun": run}})
    return {
        "application": f"{application['arn']} all workers",
        "driver": f"{application['arn']} worker type Spark.Driver",
        "job-run": f"{run['arn']} all workers",
    }


def gamelift(aws: Emulator, image: Images) -> dict[str, str]:
    script = Script(aws, "gamelift")

    def group(name: str, tag: str, support: str | None = None) -> dict[str, Any]:
        """A version of a definition, as its ARN says."""
        beside = (
            {"SupportContainerDefinitions": [{"ContainerName": "log", "ImageUri": image(support)}]} if support else {}
        )
        return beside | {
            "ContainerGroupDefinitionArn": arn("gamelift", f"containergroupdefinition/{name}"),
            "Name": name.partition(":")[0],
            "GameServerContainerDefinition": {"ContainerName": "game", "ImageUri": image(tag)},
        }

    latest = group("arena:9", "latest-version", "support")
    script.lists("ListContainerGroupDefinitions", "ContainerGroupDefinitions", [latest])
    older = [group("arena:5", "on-fleet"), group("arena:4", "rollback"), group("arena:3", "ancient")]
    fleet = arn("gamelift", "containerfleet/f-1")
    on_fleet, rollback, ancient = (str(found["ContainerGroupDefinitionArn"]) for found in older)
    script.lists(
        "ListContainerFleets", "ContainerFleets",
        [{"FleetId": "f-1", "FleetArn": fleet, "GameServerContainerGroupDefinitionArn": on_fleet}],
    )  # fmt: skip
    deployments = [
        {
            "DeploymentStatus": "COMPLETE",
            "RollbackGameServerBinaryArn": ancient,
            "CreationTime": ago(days=9).timestamp(),
        },
        {
            "DeploymentStatus": "COMPLETE",
            "RollbackGameServerBinaryArn": rollback,
            "CreationTime": ago(days=5).timestamp(),
        },
        {"DeploymentStatus": "IN_PROGRESS", "GameServerBinaryArn": on_fleet, "CreationTime": ago(days=1).timestamp()},
    ]
    script.lists("ListFleetDeployments", "FleetDeployments", [{"FleetId": "f-1"} | found for found in deployments])
    script.describes(
        "DescribeContainerGroupDefinition", "Name",
        {str(found["ContainerGroupDefinitionArn"]): {"ContainerGroupDefinition": found} for found in older},
    )  # fmt: skip
    return {
        "latest-version": f"{latest['ContainerGroupDefinitionArn']} container game",
        "support": f"{latest['ContainerGroupDefinitionArn']} container log",
        "on-fleet": f"{fleet} container group arena:5, container game",
        "rollback": f"{fleet} container group arena:4, container game",
    }


def lightsail(aws: Emulator, image: Images) -> dict[str, str]:
    script = Script(aws, "lightsail")

    def deployment(version: int, state: str, tag: str) -> dict[str, Any]:
        containers = {"web": {"image": image(tag)}, "own": {"image": ":shop.web.3"}}
        return {"version": version, "state": state, "containers": containers, "createdAt": ago(days=2).timestamp()}

    shop = {
        "containerServiceName": "shop",
        "arn": arn("lightsail", "ContainerService/shop"),
        "state": "DISABLED",
        "isDisabled": True,
        "currentDeployment": deployment(3, "ACTIVE", "current"),
        "nextDeployment": deployment(4, "ACTIVATING", "next"),
    }
    script.lists("GetContainerServices", "containerServices", [shop])
    kept = [
        deployment(4, "ACTIVATING", "next"),
        deployment(3, "ACTIVE", "current"),
        deployment(1, "INACTIVE", "earlier"),
    ]
    script.describes("GetContainerServiceDeployments", "serviceName", {"shop": {"deployments": kept}})
    return {
        "current": f"{shop['arn']} deployment 3 ACTIVE, container web",
        "next": f"{shop['arn']} deployment 4 ACTIVATING, container web",
        "earlier": f"{shop['arn']} deployment 1 INACTIVE, container web",
    }


def imagebuilder(aws: Emulator, image: Images) -> dict[str, str]:
    script = Script(aws, "imagebuilder")
    plain, layered = (arn("imagebuilder", f"container-recipe/{name}/1.0.0") for name in ("plain", "layered"))
    parent = arn("imagebuilder", "image/base/x.x.x")
    script.lists(
        "ListContainerRecipes", "containerRecipeSummaryList",
        [
            {"arn": plain, "parentImage": image("parent")},
            {"arn": layered, "parentImage": parent},
            {"arn": "shared", "parentImage": parent.replace(ACCOUNT, "210987654321")},
            {"arn": "managed", "parentImage": parent.replace(ACCOUNT, "aws")},
        ],
    )  # fmt: skip
    dockerfile = (
        f"FROM {image('stage')} AS build\nFROM {{{{{{ imagebuilder:parentImage }}}}}}\nCOPY --from=build /a /a\n"
    )
    recipes = {plain: {"dockerfileTemplateData": dockerfile}, layered: {}, "shared": {}, "managed": {}}
    script.describes(
        "GetContainerRecipe",
        "containerRecipeArn",
        {name: {"containerRecipe": found} for name, found in recipes.items()},
    )
    outputs = {"containers": [{"region": "us-east-1", "imageUris": [image("built")]}]}
    script.describes("GetImage", "imageBuildVersionArn", {parent: {"image": {"outputResources": outputs}}})
    return {
        "parent": f"{plain} parent image",
        "stage": f"{plain} Dockerfile",
        "built": f"{layered} parent image {parent}",
    }


def ecs_daemons(aws: Emulator, image: Images) -> dict[str, str]:
    script = Script(aws, "ecs")
    aws.ecs.cluster("edge")
    aws.ecs.cluster("plain")
    daemon = arn("ecs", "daemon/edge/agent")

    def daemons(asked: dict[str, Any]) -> Any:
        return {"daemonSummariesList": [{"daemonArn": daemon}] if asked["clusterArn"].endswith("/edge") else []}

    script.answers("ListDaemons", daemons)
    revision = arn("ecs", "daemon-revision/edge/agent")
    described = {"daemonArn": daemon, "currentRevisions": [{"arn": f"{revision}/5"}]}
    script.describes("DescribeDaemon", "daemonArn", {daemon: {"daemon": described}})
    deployments = [
        {"daemonDeploymentArn": "d-1", "status": "SUCCESSFUL", "createdAt": ago(days=9).timestamp()},
        {"daemonDeploymentArn": "d-2", "status": "SUCCESSFUL", "createdAt": ago(days=5).timestamp()},
        {"daemonDeploymentArn": "d-3", "status": "IN_PROGRESS", "createdAt": ago(days=1).timestamp()},
    ]
    script.lists("ListDaemonDeployments", "daemonDeployments", deployments)
    told = {
        "d-1": {"targetDaemonRevision": {"arn": f"{revision}/1"}},
        "d-2": {"targetDaemonRevision": {"arn": f"{revision}/5"}, "sourceDaemonRevisions": [{"arn": f"{revision}/4"}]},
        "d-3": {"rollback": {"rollbackTargetDaemonRevisionArn": f"{revision}/3"}},
    }
    script.answers(
        "DescribeDaemonDeployments",
        lambda asked: {"daemonDeployments": [told[name] for name in asked["daemonDeploymentArns"]]},
    )
    images = {f"{revision}/{number}": image(f"revision-{number}") for number in range(1, 6)}
    script.answers(
        "DescribeDaemonRevisions",
        lambda asked: {
            "daemonRevisions": [
                {
                    "daemonRevisionArn": name,
                    "daemonTaskDefinitionArn": arn("ecs", "daemon-task-definition/agent:2"),
                    "containerImages": [{"containerName": "agent", "image": images[name]}],
                }
                for name in asked["daemonRevisionArns"]
            ]
        },
    )
    numbers = [{"arn": arn("ecs", f"daemon-task-definition/agent:{number}")} for number in range(1, 10)]
    script.lists("ListDaemonTaskDefinitions", "daemonTaskDefinitions", numbers, page=4)
    script.describes(
        "DescribeDaemonTaskDefinition", "daemonTaskDefinition",
        {
            str(found["arn"]): {
                "daemonTaskDefinition": {
                    "containerDefinitions": [{"name": "agent", "image": image(f"definition-{found['arn'].rpartition(':')[2]}")}]
                }
            }
            for found in numbers
        },
    )  # fmt: skip
    return {
        "revision-5": f"{daemon} revision 5, container agent",
        "revision-4": f"{daemon} revision 4, container agent",
        "revision-3": f"{daemon} revision 3, container agent",
        "definition-2": f"{daemon} revision 5, daemon task definition agent:2, container agent",
        "definition-7": "daemon-task-definition/agent:7 container agent",
        "definition-8": "daemon-task-definition/agent:8 container agent",
        "definition-9": "daemon-task-definition/agent:9 container agent",
    }


def switch_inspector(aws: Emulator, status: str, region: str | None = None) -> None:
    """Let Inspector say whether it scans ECR in a region."""
    state = {"accountId": ACCOUNT, "resourceState": {"ecr": {"status": status}}}
    Script(aws, "inspector2").answers("BatchGetAccountStatus", lambda _: {"accounts": [state]}, region)


def inspector(aws: Emulator, image: Images) -> dict[str, str]:
    """Coverage names images by digest, so the tags are looked up in the repository that was made before."""
    script = Script(aws, "inspector2")
    for region in aws.regions:
        switch_inspector(aws, "ENABLED" if region == aws.region else "DISABLED", region)
    repo = aws.ecr.repository("team/app")

    def covered(tag: str, count: int, days: int) -> dict[str, Any]:
        seen = {"inUseCount": count, "lastInUseAt": ago(days=days).timestamp()}
        return {
            "resourceId": arn("ecr", f"repository/team/app/{repo.digest_of(tag)}"),
            "resourceMetadata": {"ecrImage": seen},
        }

    running, recent = covered("running", 3, 0), covered("recent", 0, 20)

    def coverage(asked: dict[str, Any]) -> Any:
        assert asked["filterCriteria"]["accountId"] == [{"comparison": "EQUALS", "value": ACCOUNT}]
        return {"coveredResources": [running] if "ecrImageInUseCount" in asked["filterCriteria"] else [running, recent]}

    script.answers("ListCoverage", coverage)
    return {
        "running": "Amazon Inspector counts 3 ECS tasks and EKS pods",
        "recent": "Amazon Inspector counts 0 ECS tasks and EKS pods, last seen in use",
    }


_NO_MODEL: Final = (
    "ValidationException",
    'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/fraud".',
)
_NO_RESOURCE: Final = ("ResourceNotFoundException", "There is no such resource.")
_NO_DAEMON: Final = ("DaemonNotFoundException", "The specified daemon wasn't found.")

WORLDS: Final = (
    World(
        "sagemaker",
        "sagemaker",
        sagemaker,
        {
            "DescribeModel": _NO_MODEL,
            "DescribeModelPackage": ("ValidationException", "ModelPackage arn:aws:sagemaker:... does not exist."),
            "DescribeTrainingJob": ("ValidationException", "Requested resource not found."),
            "DescribeProcessingJob": ("ResourceNotFound", "Could not find requested job with name: clean"),
            "ListImageVersions": ("ResourceNotFound", "No Image with the name lab exists."),
            "DescribeImageVersion": ("ResourceNotFound", "There is no such version."),
            "ListPipelineVersions": ("ResourceNotFound", "Pipeline train does not exist."),
            "DescribePipeline": ("ResourceNotFound", "Pipeline train does not exist."),
        },
    ),
    World(
        "agentcore",
        "bedrock-agentcore-control",
        agentcore,
        dict.fromkeys(
            ("ListAgentRuntimeVersions", "ListAgentRuntimeEndpoints", "GetAgentRuntime", "GetHarness"), _NO_RESOURCE
        ),
    ),
    World(
        "emr-serverless",
        "emr-serverless",
        emr_serverless,
        dict.fromkeys(("GetApplication", "ListJobRuns", "GetJobRun"), _NO_RESOURCE),
    ),
    World(
        "gamelift",
        "gamelift",
        gamelift,
        {"DescribeContainerGroupDefinition": ("NotFoundException", "It was not found.")},
    ),
    World(
        "lightsail",
        "lightsail",
        lightsail,
        {"GetContainerServiceDeployments": ("NotFoundException", "It was not found.")},
    ),
    World(
        "imagebuilder", "imagebuilder", imagebuilder, dict.fromkeys(("GetContainerRecipe", "GetImage"), _NO_RESOURCE)
    ),
    World(
        "ecs-daemons",
        "ecs",
        ecs_daemons,
        {
            "ListDaemons": ("ClusterNotFoundException", "Cluster not found."),
            "DescribeDaemon": _NO_DAEMON,
            "ListDaemonDeployments": _NO_DAEMON,
            "DescribeDaemonTaskDefinition": ("ClientException", "Unable to describe daemon task definition."),
        },
    ),
    World("inspector", "inspector2", inspector),
)
