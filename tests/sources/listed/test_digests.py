"""The digest that a service resolved and reports stays, also when the tag has moved on and nothing else names it."""

from ecrsweep.core.uses import CoverageStatus
from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from tests.sources.listed.conftest import Ask, Images
from tests.sources.listed.worlds import Script, arn
from tests.support import Cli, ago


def test_what_services_resolved_stays_after_its_tag_has_moved(
    aws: Emulator, cli: Cli, repo: Repository, image: Images
) -> None:
    name = image("prod")
    digests = [repo.digest_of("prod"), *(repo.push_image(("prod",), pushed_at=ago(days=80 - n)) for n in range(5))]
    _emr(aws, name, digests[0], digests[1])
    _gamelift(aws, name, digests[2])
    _daemon(aws, name, digests[3])
    found = cli.plan("--keep-newest", "0")
    assert found.status == 0, found.err
    actions = [found.action(digest) for digest in digests]
    assert actions == ["keep", "keep", "keep", "keep", "delete", "keep"], (
        "the last one has the tag, and one nobody uses"
    )


def _emr(aws: Emulator, name: str, application: str, run: str) -> None:
    script = Script(aws, "emr-serverless")
    script.lists("ListApplications", "applications", [{"id": "a", "state": "STARTED"}])
    resolved = {"state": "STARTED", "imageConfiguration": {"imageUri": name, "resolvedImageDigest": application}}
    script.describes("GetApplication", "applicationId", {"a": {"application": resolved}})
    script.lists("ListJobRuns", "jobRuns", [{"id": "r", "applicationId": "a"}])
    own = {"imageConfiguration": {"imageUri": name, "resolvedImageDigest": run}}
    script.describes("GetJobRun", "jobRunId", {"r": {"jobRun": own}})


def _gamelift(aws: Emulator, name: str, digest: str) -> None:
    container = {"ContainerName": "game", "ImageUri": name, "ResolvedImageDigest": digest}
    definition = {
        "ContainerGroupDefinitionArn": arn("gamelift", "containergroupdefinition/arena:1"),
        "GameServerContainerDefinition": container,
    }
    Script(aws, "gamelift").lists("ListContainerGroupDefinitions", "ContainerGroupDefinitions", [definition])


def _daemon(aws: Emulator, name: str, digest: str) -> None:
    aws.ecs.cluster("edge")
    script = Script(aws, "ecs")
    script.lists("ListDaemons", "daemonSummariesList", [{"daemonArn": "d"}])
    script.describes("DescribeDaemon", "daemonArn", {"d": {"daemon": {"currentRevisions": [{"arn": "d/1"}]}}})
    images = [{"containerName": "agent", "image": name, "imageDigest": digest}]
    revision = {"daemonRevisionArn": "d/1", "containerImages": images}
    script.answers("DescribeDaemonRevisions", lambda _: {"daemonRevisions": [revision]})


def test_a_revision_that_ecs_does_not_describe_is_a_gap_unless_it_is_missing(
    aws: Emulator, image: Images, ask: Ask
) -> None:
    _daemon(aws, image("v1"), "sha256:" + "0" * 64)
    for reason, status in (("MISSING", CoverageStatus.COMPLETE), ("ACCESS_DENIED", CoverageStatus.FAILED)):
        answer = {"daemonRevisions": [], "failures": [{"arn": "d/1", "reason": reason}]}
        Script(aws, "ecs").answers("DescribeDaemonRevisions", lambda _, told=answer: told)  # type: ignore[misc]
        assert ask("ecs-daemons").entry.status is status


def test_a_cluster_that_cannot_have_daemons_has_none(aws: Emulator, ask: Ask) -> None:
    from ecrsweep.emulator import Fault

    aws.ecs.cluster("fargate")
    aws.faults.add(Fault.error("ecs", "ListDaemons", "UnsupportedFeatureException", "Not in this cluster."))
    assert ask("ecs-daemons").entry.status is CoverageStatus.COMPLETE


def test_a_runtime_that_does_not_say_what_it_runs_is_noted(aws: Emulator, ask: Ask) -> None:
    script = Script(aws, "bedrock-agentcore-control")
    script.lists(
        "ListAgentRuntimes",
        "agentRuntimes",
        [{"agentRuntimeId": "r", "agentRuntimeVersion": "1", "agentRuntimeArn": "arn:r"}],
    )
    script.lists("ListAgentRuntimeVersions", "agentRuntimes", [])
    script.lists("ListAgentRuntimeEndpoints", "runtimeEndpoints", [])
    script.describes("GetAgentRuntime", "agentRuntimeId", {"r": {}})
    told = ask("agentcore")
    assert told.entry.notes == ("arn:r: version 1 does not say what it runs",)
    assert told.entry.status is CoverageStatus.COMPLETE
