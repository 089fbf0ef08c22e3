"""A world in which every call that ecrsweep can make is made: a registry, and a function for each source.

A new source of this package adds its function here. The tests of IAM policies run every command against this world.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from ecrsweep.core.ledger import lines_of
from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from ecrsweep.memory.ledger import MANY
from tests.sources import test_apprunner as apprunner
from tests.sources import test_batch as batch
from tests.sources import test_codebuild as codebuild
from tests.sources import test_lambda as functions
from tests.sources.listed.worlds import WORLDS, Script, arn, switch_inspector
from tests.sources.worlds import CLUSTER, HERE, ROLE, job_definition
from tests.support import ACCOUNT, ago

REPOSITORY: Final = "team/app"
IN_USE: Final = "v2"
"""The one tag that everything uses."""

_JOB: Final = "etl:1"
_MACHINE: Final = f"arn:aws:states:{HERE}:{ACCOUNT}:stateMachine:nightly"
_RULE: Final = {
    "rulePriority": 1, "action": {"type": "expire"},
    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 100},
}  # fmt: skip


def furnish(aws: Emulator) -> Repository:
    """Fill an empty AWS. The repository has an index, to be read, images that can go, and a lifecycle policy."""
    repository = aws.ecr.repository(REPOSITORY)
    child = repository.push_image(pushed_at=ago(days=90))
    repository.push_index([child], tags=("multi",), pushed_at=ago(days=90))
    for version in range(3):
        repository.push_image(tags=(f"v{version}",), pushed_at=ago(days=90 - version))
    repository.policies["lifecycle"] = json.dumps({"rules": [_RULE]})
    for add in FURNISHED.values():
        add(aws, repository)
    return repository


def fill_ledger(aws: Emulator, bucket: str) -> None:
    """Let as many runs have written into the ledger in a bucket as make the next one put their files together."""
    for number in range(MANY):
        key = f"state/ledger/{ACCOUNT}/segments/{number}.jsonl"
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=lines_of(ACCOUNT, ()))


def _apprunner(aws: Emulator, repository: Repository) -> None:
    """A service that was deployed once."""
    operation = apprunner.operation("CREATE_SERVICE", ago(days=30))
    apprunner.tell(aws, apprunner.service("site", _image(repository)), operations=[operation])


def _batch(aws: Emulator, repository: Repository) -> None:
    """A job definition, which others start too; a queue with a job of its own, and one with a training job of SageMaker."""
    definition = job_definition("etl", 1, containerProperties={"image": _image(repository)})
    aws.scripts.answer("batch", "DescribeJobDefinitions", {"jobDefinitions": [definition]})
    queues = batch.Batch(aws)
    queues.queues(batch.queue("main"), batch.queue("training", batch.TRAINING))
    queues.jobs([batch.job("one", container={"image": _image(repository)})])
    queues.training({"two": ("SCHEDULED", _image(repository))})


def _cloudformation(aws: Emulator, repository: Repository) -> None:
    """A stack whose template makes a repository of its own, and names an image in it."""
    made = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "made/here"}}
    shown = {"Fn::Join": [" ", [{"Fn::GetAtt": ["Made", "RepositoryUri"]}, _image(repository)]]}
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": shown}}
    template = json.dumps({"Resources": {"Made": made, "Topic": topic}})
    aws.client("cloudformation").create_stack(StackName="web", TemplateBody=template)


def _cloudtrail(aws: Emulator, repository: Repository) -> None:
    """A pull of yesterday."""
    aws.trail.pull(repository, tag=IN_USE, at=ago(days=1))


def _codebuild(aws: Emulator, repository: Repository) -> None:
    """A project, a batch under way and a build under way."""
    image = _image(repository)
    codebuild.tell(
        aws, projects=[codebuild.project("web", image)], batches=[codebuild.build(1, image, kind="build-batch")],
        builds=[codebuild.build(2, image)],
    )  # fmt: skip


def _ecs(aws: Emulator, repository: Repository) -> None:
    """A task of its own, and a service with tasks, deployments and revisions."""
    definition = aws.ecs.register("web", {"web": _image(repository)})
    aws.ecs.run(definition)
    aws.ecs.service("web", definition)


def _eks(aws: Emulator, _: Repository) -> None:
    """A cluster that is being made: entering one that is there takes no permission of IAM, and an identity that it knows."""
    aws.eks.cluster("prod", status="CREATING", endpoint=None, certificateAuthority=None)


def _eventbridge(aws: Emulator, _: Repository) -> None:
    """A rule that starts a task and a job."""
    bus = {"Name": "default", "Arn": f"arn:aws:events:{HERE}:{ACCOUNT}:event-bus/default"}
    rule = {"Name": "nightly", "Arn": f"arn:aws:events:{HERE}:{ACCOUNT}:rule/nightly"}
    task = {"Id": "task", "Arn": CLUSTER, "RoleArn": ROLE, "EcsParameters": {"TaskDefinitionArn": _task()}}
    queue = f"{batch.QUEUES}/main"
    job = {"Id": "job", "Arn": queue, "RoleArn": ROLE, "BatchParameters": {"JobDefinition": _JOB, "JobName": "x"}}
    aws.scripts.answer("events", "ListEventBuses", {"EventBuses": [bus]})
    aws.scripts.answer("events", "ListRules", {"Rules": [rule]})
    aws.scripts.answer("events", "ListTargetsByRule", {"Targets": [task, job]})


def _inspector(aws: Emulator, repository: Repository) -> None:
    """A registry that Inspector scans in one region, with an image that it has seen in use."""
    for region in aws.regions:
        switch_inspector(aws, "ENABLED" if region == aws.region else "DISABLED", region)
    covered = {
        "resourceId": arn("ecr", f"repository/{REPOSITORY}/{repository.digest_of(IN_USE)}"),
        "resourceMetadata": {"ecrImage": {"inUseCount": 1, "lastInUseAt": ago(days=1).timestamp()}},
    }
    Script(aws, "inspector2").answers("ListCoverage", lambda _: {"coveredResources": [covered]})


def _lambda(aws: Emulator, repository: Repository) -> None:
    """A function with one version."""
    version = functions.version("web", "$LATEST", _image(repository), repository.digest_of(IN_USE))
    functions.tell(aws, version)


def _pipes(aws: Emulator, _: Repository) -> None:
    """A pipe that starts a task, and one that starts a job."""
    started = {
        "task": (CLUSTER, {"EcsTaskParameters": {"TaskDefinitionArn": _task()}}),
        "job": (f"{batch.QUEUES}/main", {"BatchJobParameters": {"JobDefinition": _JOB, "JobName": "x"}}),
    }
    pipes = {
        name: {
            "Name": name, "Arn": f"arn:aws:pipes:{HERE}:{ACCOUNT}:pipe/{name}", "Target": target, "TargetParameters": parameters
        }
        for name, (target, parameters) in started.items()
    }  # fmt: skip
    briefs = [{key: pipe[key] for key in ("Name", "Arn", "Target")} for pipe in pipes.values()]
    aws.scripts.answer("pipes", "ListPipes", {"Pipes": briefs})
    aws.scripts.described("pipes", "DescribePipe", "Name", pipes, "NotFoundException")


def _scheduler(aws: Emulator, _: Repository) -> None:
    """A schedule that starts a task by a target of its own, and one that starts a job by a universal target."""
    universal = "arn:aws:scheduler:::aws-sdk:batch:submitJob"
    job = json.dumps({"JobName": "x", "JobQueue": "main", "JobDefinition": _JOB})
    targets = {
        "task": {"Arn": CLUSTER, "RoleArn": ROLE, "EcsParameters": {"TaskDefinitionArn": _task()}},
        "job": {"Arn": universal, "RoleArn": ROLE, "Input": job},
    }
    schedules = {
        name: {
            "Name": name, "GroupName": "default", "Arn": f"arn:aws:scheduler:{HERE}:{ACCOUNT}:schedule/default/{name}",
            "Target": target,
        }
        for name, target in targets.items()
    }  # fmt: skip
    briefs = [{key: schedule[key] for key in ("Name", "GroupName", "Arn")} for schedule in schedules.values()]
    aws.scripts.answer("scheduler", "ListSchedules", {"Schedules": briefs})
    aws.scripts.described("scheduler", "GetSchedule", "Name", schedules, "ResourceNotFoundException")


def _stepfunctions(aws: Emulator, _: Repository) -> None:
    """A state machine without versions, whose states start a task and a job."""
    run = {"TaskDefinition": _task(), "Cluster": "default"}
    submit = {"JobName": "x", "JobQueue": "main", "JobDefinition": _JOB}
    states = {
        "Run": {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask", "Parameters": run, "Next": "Submit"},
        "Submit": {"Type": "Task", "Resource": "arn:aws:states:::batch:submitJob", "Parameters": submit, "End": True},
    }
    brief = {"stateMachineArn": _MACHINE, "name": "nightly", "type": "STANDARD", "creationDate": 1.0}
    whole = brief | {"roleArn": ROLE, "definition": json.dumps({"StartAt": "Run", "States": states})}
    aws.scripts.answer("stepfunctions", "ListStateMachines", {"stateMachines": [brief]})
    aws.scripts.answer("stepfunctions", "DescribeStateMachine", whole)
    aws.scripts.answer("stepfunctions", "ListStateMachineVersions", {"stateMachineVersions": []})


def _world(source: str) -> Callable[[Emulator, Repository], None]:
    """What the tests of a source that lists and describes read, with one image everywhere."""
    (world,) = (world for world in WORLDS if world.source == source)

    def furnished(aws: Emulator, repository: Repository) -> None:
        world.build(aws, lambda _: _image(repository))

    return furnished


def _image(repository: Repository) -> str:
    return f"{repository.uri}:{IN_USE}"


def _task() -> str:
    """The task definition of `_ecs`, by its revision."""
    return f"arn:aws:ecs:{HERE}:{ACCOUNT}:task-definition/web:1"


FURNISHED: Final[Mapping[str, Callable[[Emulator, Repository], None]]] = {
    "agentcore": _world("agentcore"),
    "apprunner": _apprunner,
    "batch": _batch,
    "cloudformation": _cloudformation,
    "cloudtrail": _cloudtrail,
    "codebuild": _codebuild,
    "ecs": _ecs,
    "ecs-daemons": _world("ecs-daemons"),
    "eks": _eks,
    "emr-serverless": _world("emr-serverless"),
    "eventbridge": _eventbridge,
    "gamelift": _world("gamelift"),
    "imagebuilder": _world("imagebuilder"),
    "inspector": _inspector,
    "lambda": _lambda,
    "lightsail": _world("lightsail"),
    "pipes": _pipes,
    "sagemaker": _world("sagemaker"),
    "scheduler": _scheduler,
    "stepfunctions": _stepfunctions,
}
"""By the names of the sources of this package that need permissions of IAM."""
