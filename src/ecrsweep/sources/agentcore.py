"""Amazon Bedrock AgentCore as witness: runtimes and harnesses, with the versions that their endpoints serve.

A version never changes: an endpoint serves one, and moves to another when it is updated.
API: https://docs.aws.amazon.com/bedrock-agentcore-control/latest/APIReference/Welcome.html
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, in_words, seconds

NAME: Final = "agentcore"
NEWEST_VERSIONS: Final = 3
"""How many versions of everything count as in use, served or not: what somebody who goes back would take."""

_PAGE: Final = 100


class _Hosted(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of thing that has versions and endpoints, and what the API calls them."""

    lists: str
    key: str
    id: str
    version: str
    arn: str
    versions: tuple[str, str]
    """How its versions are listed, and under what key."""
    endpoints: tuple[str, str, str]
    """How its endpoints are listed, under what key, and the member that names each."""
    describes: str
    inside: str = ""
    """The member of the description in which everything stands, if there is one."""
    artifact: str
    has_artifact: bool
    """False where a version without one runs something of AWS's own."""
    updated: str


_HOSTED: Final = (
    _Hosted(
        lists="list_agent_runtimes",
        key="agentRuntimes",
        id="agentRuntimeId",
        version="agentRuntimeVersion",
        arn="agentRuntimeArn",
        versions=("list_agent_runtime_versions", "agentRuntimes"),
        endpoints=("list_agent_runtime_endpoints", "runtimeEndpoints", "name"),
        describes="get_agent_runtime",
        artifact="agentRuntimeArtifact",
        has_artifact=True,
        updated="lastUpdatedAt",
    ),
    _Hosted(
        lists="list_harnesses",
        key="harnesses",
        id="harnessId",
        version="harnessVersion",
        arn="arn",
        versions=("list_harness_versions", "harnessVersions"),
        endpoints=("list_harness_endpoints", "endpoints", "endpointName"),
        describes="get_harness",
        inside="harness",
        artifact="environmentArtifact",
        has_artifact=False,
        updated="updatedAt",
    ),
)


class AgentCoreSource:
    """Every image name that AgentCore holds in one account and region (`ports.Source`)."""

    name = NAME
    actions = (
        "bedrock-agentcore:GetAgentRuntime",
        "bedrock-agentcore:GetHarness",
        "bedrock-agentcore:ListAgentRuntimeEndpoints",
        "bedrock-agentcore:ListAgentRuntimeVersions",
        "bedrock-agentcore:ListAgentRuntimes",
        "bedrock-agentcore:ListHarnessEndpoints",
        "bedrock-agentcore:ListHarnessVersions",
        "bedrock-agentcore:ListHarnesses",
    )

    about = About(
        system="Amazon Bedrock AgentCore",
        calls=(
            "ListAgentRuntimes, ListAgentRuntimeVersions, ListAgentRuntimeEndpoints, GetAgentRuntime; ListHarnesses, "
            "ListHarnessVersions, ListHarnessEndpoints, GetHarness"
        ),
        keeps=(
            "the container of every version of a runtime or harness that an endpoint serves or moves to, and of the newest 3 "
            "versions of each"
        ),
        unknowable="sessions that began on a version which has since been replaced more than three times",
        service="bedrock-agentcore-control",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Uses of runtimes first, then of harnesses. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "bedrock-agentcore-control", answering("ResourceNotFoundException"))
        for hosted in _HOSTED:
            yield from reading.part(_uses_of(reading, hosted))
        reading.finish()


def _uses_of(reading: Reading, hosted: _Hosted) -> Iterator[Use | Note]:
    things = reading.listed(hosted.lists, hosted.key, maxResults=_PAGE)
    wanted = [
        (thing, version, where)
        for thing, versions in reading.each(lambda thing: _versions(reading, hosted, thing), things)
        for version, where in versions.items()
    ]
    for (thing, _, where), version in reading.each(lambda asked: _version(reading, hosted, *asked[:2]), wanted):
        yield from _uses_in(reading.place, hosted, thing, version, where)


def _versions(reading: Reading, hosted: _Hosted, thing: Json) -> dict[str, str]:
    """The versions that count, and where an image of theirs stands."""
    asked = {hosted.id: thing[hosted.id], "maxResults": _PAGE}
    served: dict[str, list[str]] = {}
    operation, key, name = hosted.endpoints
    for endpoint in reading.listed(operation, key, inside=True, **asked):
        for version in {endpoint.get("liveVersion"), endpoint.get("targetVersion")} - {None}:
            served.setdefault(str(version), []).append(str(endpoint[name]))
    operation, key = hosted.versions
    versions = [str(found[hosted.version]) for found in reading.listed(operation, key, inside=True, **asked)]
    current = [str(thing[hosted.version])] if hosted.version in thing else []
    newest = sorted({*versions, *current}, key=int, reverse=True)[:NEWEST_VERSIONS]
    return {
        version: in_words(
            f"version {version}", *(f"endpoint {endpoint}" for endpoint in sorted(served.get(version, ())))
        )
        for version in sorted({*newest, *served}, key=int)
    }


def _version(reading: Reading, hosted: _Hosted, thing: Json, version: str) -> Json:
    asked = {hosted.id: thing[hosted.id], hosted.version: version}
    answer = reading.described(hosted.describes, hosted.inside or hosted.arn, **asked)
    found: Json = answer[hosted.inside] if hosted.inside else answer
    return found


def _uses_in(place: Place, hosted: _Hosted, thing: Json, version: Json, where: str) -> Iterator[Use | Note]:
    workload = str(thing[hosted.arn])
    artifact = version.get(hosted.artifact)
    if not artifact and hosted.has_artifact:
        yield Note(f"{where} does not say what it runs", workload)
    container = (artifact or {}).get("containerConfiguration")
    if container is not None:
        yield Use(
            image=container["containerUri"],
            workload=workload,
            source=NAME,
            account=place.account,
            region=place.region,
            where=where,
            resolved_from=seconds(version.get(hosted.updated)),
        )
