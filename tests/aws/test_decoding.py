"""The big lists mean the same whoever reads them: botocore's parser, or the one that goes straight from bytes."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import msgspec
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.aws import decoding
from ecrsweep.aws.cache import ManifestCache
from ecrsweep.aws.decoding import HANDLERS, decode_page, decode_plain, image_of
from ecrsweep.aws.errors import translated
from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.errors import Malformed
from ecrsweep.core.images import Image, Inventory
from ecrsweep.core.names import Registry
from ecrsweep.core.times import rfc3339
from ecrsweep.emulator import Emulator
from tests.support import ago

DIGEST = "sha256:" + "4a1c6567c38904384ebc64e35b7eeddd8451110c299e3368d2210066487d97e5"

RECORDED = (
    # The example of the API's documentation, with the account and digest of a test.
    '{"imageDetails":[{"artifactMediaType":"application/vnd.docker.container.image.v1+json","imageDigest":"'
    + DIGEST
    + '","imageManifestMediaType":"application/vnd.docker.distribution.manifest.v2+json","imagePushedAt":1.583173542E9,'
    '"imageSizeInBytes":51282431,"imageTags":["latest","2020.03"],"lastRecordedPullTime":1.622748E9,"registryId":"012345678910",'
    '"repositoryName":"amazonlinux"}],"nextToken":"eyJ2IjoiMiJ9"}',
    '{"imageDetails":[]}',
    "{}",
    '{"imageDetails":[{"imageDigest":"' + DIGEST + '","imageTags":null,"imagePushedAt":null,"imageStatus":"ARCHIVED",'
    '"lastArchivedAt":1764000000,"subjectManifestDigest":"sha256:ab","imageScanStatus":{"status":"COMPLETE"}}],"nextToken":null}',
    '{"imageDetails":[{"imageDigest":"'
    + DIGEST
    + '","imagePushedAt":"2024-05-01T12:00:00.250Z"}],"other":[1,{"a":2}]}',
    '{"imageDetails":[{"imageDigest":"' + DIGEST + '","imagePushedAt":-1.5,"lastActivatedAt":1e20}]}',
    '{"imageDetails":[{"imageTags":["no digest"]}]}',
    '{"imageDetails":[{"imageDigest":"' + DIGEST + '","imageSizeInBytes":"large"}]}',
    '{"imageDetails":{"imageDigest":"' + DIGEST + '"}}',
)
NOT_JSON = ("", "<html>", '{"imageDeta', "[]", "null", '"text"')

texts = st.text('abz09:-_. \\"\n\u00e4\u20ac\U0001f433', max_size=12)
numbers = st.one_of(
    st.integers(0, 4_000_000_000),
    st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000),
    st.floats(0, 2**33).map(lambda seconds: round(seconds, 6)),
)
odd = st.one_of(st.none(), st.booleans(), texts, st.floats(allow_nan=False), st.lists(texts, max_size=2))


def rarely(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is as documented, and in one case of many what is not."""
    return st.integers(0, 30).flatmap(lambda dice: odd if dice == 0 else usual)


details = st.fixed_dictionaries(
    {"imageDigest": rarely(texts)},
    optional={
        "imageTags": rarely(st.lists(rarely(texts), max_size=4)),
        "imageManifestMediaType": rarely(texts),
        "artifactMediaType": rarely(texts),
        "imagePushedAt": rarely(numbers),
        "lastRecordedPullTime": rarely(numbers),
        "lastArchivedAt": rarely(numbers),
        "lastActivatedAt": rarely(numbers),
        "imageSizeInBytes": rarely(st.integers(0, 2**63 - 1)),
        "subjectManifestDigest": rarely(texts),
        "imageStatus": rarely(st.sampled_from(["ACTIVE", "ARCHIVED", "ACTIVATING", "FROZEN"])),
        "imageScanStatus": st.fixed_dictionaries({}, optional={"status": texts}),
        "somethingNew": odd,
    },
)
pages = st.fixed_dictionaries({}, optional={"imageDetails": st.lists(details, max_size=4), "nextToken": rarely(texts)})

Read = Callable[[str], Any]


class _Wire:
    """A response as urllib3 has it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> list[bytes]:
        return [self._body]


def reader(service: Any, operation: str, *, straight: bool, **asked: Any) -> Read:
    """What a real client of botocore, whose answers are given here, makes of a body."""
    client = boto3.client(
        service, region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    answer: dict[str, Any] = {}

    def instead(request: Any, **_: Any) -> AWSResponse:
        headers: Any = {"x-amzn-requestid": "r"}
        return AWSResponse(request.url, answer["status"], headers, _Wire(answer["body"].encode()))

    client.meta.events.register("before-send", instead)
    for event, decode in HANDLERS.items() if straight else ():
        client.meta.events.register(event, decode)

    def read(body: str, status: int = 200) -> Any:
        answer.update(body=body, status=status)
        return getattr(client, operation)(**asked)

    return read


def told(read: Read, body: str) -> Any:
    """What a page tells, with times as they are written, to the microsecond; or that it makes no sense."""
    try:
        with translated("ecr:DescribeImages", "us-east-1"):
            page = read(body)
        found = [image_of(detail) for detail in page.get("imageDetails", [])]
    except Malformed:
        return "malformed"
    times = [
        [
            None if moment is None else rfc3339(moment)
            for moment in (image.pushed_at, image.pulled_at, image.archived_at, image.activated_at)
        ]
        for image in found
    ]
    timeless = [
        msgspec.structs.replace(image, pushed_at=None, pulled_at=None, archived_at=None, activated_at=None)
        for image in found
    ]
    return timeless, times, page.get("nextToken"), "imageDetails" in page


PARSED, STRAIGHT = (
    reader("ecr", "describe_images", straight=straight, repositoryName="team/app") for straight in (False, True)
)
JOBS, DEFINITIONS = "describe_jobs", "describe_job_definitions"
OF_BATCH = {
    (operation, straight): reader("batch", operation, straight=straight, **asked)
    for operation, asked in ((JOBS, {"jobs": ["a"]}), (DEFINITIONS, {}))
    for straight in (False, True)
}


@pytest.mark.parametrize("body", RECORDED)
def test_recorded_pages_mean_the_same(body: str) -> None:
    assert told(STRAIGHT, body) == told(PARSED, body)


@given(pages)
def test_random_pages_mean_the_same(page: Any) -> None:
    body = json.dumps(page)
    assert told(STRAIGHT, body) == told(PARSED, body)


def test_a_page_as_documented_is_never_walked_by_botocore() -> None:
    page = STRAIGHT(RECORDED[0])
    assert [type(detail) for detail in page["imageDetails"]] == [Image]
    assert page["ResponseMetadata"]["RequestId"] == "r"
    assert type(PARSED(RECORDED[0])["imageDetails"][0]) is dict


@pytest.mark.parametrize(
    ("decode", "body"),
    [(decode, body) for decode in (decode_page, decode_plain) for body in NOT_JSON]
    + [(decode_plain, '{"jobs": [{"jobId": null}]}')],
)
def test_what_cannot_have_been_meant_is_left_to_botocore(decode: Callable[..., None], body: str) -> None:
    answer: dict[str, Any] = {"status_code": 200, "body": body.encode()}
    taken: dict[str, Any] = {}
    decode(answer, taken)
    assert (answer["body"], taken) == (body.encode(), {})


def test_errors_stay_botocores_own() -> None:
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        STRAIGHT('{"__type":"RepositoryNotFoundException","message":"gone"}', 400)  # type: ignore[call-arg]


def test_a_registry_reads_the_same_where_botocore_has_no_such_event(
    aws: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = aws.ecr.repository("team/app")
    children = [repo.push_image(pushed_at=ago(days=age)) for age in (3, 4)]
    repo.push_index(children, tags=("v1", "latest"), pushed_at=ago(days=3))
    repo.push_image(tags=("v0",), pushed_at=ago(days=90, milliseconds=7))
    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)

    cache = ManifestCache(None)

    def inventory() -> Inventory:
        session = AwsSession(region="us-east-1", environ=aws.environ())
        return AwsWorld(session, cache).image_store(Registry(aws.account, "us-east-1")).inventory("team/app")

    straight = inventory()
    monkeypatch.setattr(decoding, "HANDLERS", {"before-parse.ecr.NoSuchOperation": decode_page})
    parsed = inventory()
    assert len(parsed.images) == 4
    assert (parsed.images, parsed.edges) == (straight.images, straight.edges)


def members(shape: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a shape as the service would write them, every structure with some of its members."""
    match shape.type_name:
        case "structure" if depth < 6:
            return st.fixed_dictionaries(
                {}, optional={name: members(inner, depth + 1) for name, inner in shape.members.items()}
            )
        case "list" if depth < 6:
            return st.lists(members(shape.member, depth + 1), max_size=2)
        case "map":
            return st.dictionaries(texts, members(shape.value, depth + 1), max_size=2)
        case "string":
            return texts
        case "integer" | "long":
            return st.integers(-(2**31), 2**53)
        case "boolean":
            return st.booleans()
        case "float" | "double":
            return st.floats(allow_nan=False, allow_infinity=False)
    return st.just({} if shape.type_name == "structure" else [])


def output_of(operation: str) -> Any:
    """The shape of an answer of Batch."""
    model = boto3.client("batch", region_name="us-east-1").meta.service_model
    return model.operation_model("".join(word.title() for word in operation.split("_"))).output_shape


def nulled(answer: Any, at: int) -> Any:
    """The same with nothing under one of its keys."""
    keys = sorted(answer)
    return answer | {keys[at % len(keys)]: None} if keys else answer


@pytest.mark.parametrize("operation", [JOBS, DEFINITIONS])
@given(data=st.data())
def test_random_answers_of_batch_mean_the_same(operation: str, data: st.DataObject) -> None:
    answer = data.draw(members(output_of(operation)))
    if data.draw(st.integers(0, 3)) == 0:
        answer = nulled(answer, data.draw(st.integers(0, 9)))
    body = json.dumps(answer)
    straight, parsed = (OF_BATCH[operation, straight](body) for straight in (True, False))
    assert straight == parsed


@pytest.mark.parametrize("operation", [JOBS, DEFINITIONS])
def test_every_member_that_batch_answers_is_plain_json_under_its_own_name(operation: str) -> None:
    """Should a newer botocore know of a time or of bytes in there, it has to be its parser that reads them."""
    waiting, seen = [output_of(operation)], set()
    while waiting:
        shape = waiting.pop()
        if shape.name in seen:
            continue
        seen.add(shape.name)
        assert shape.type_name in {
            "structure",
            "list",
            "map",
            "string",
            "integer",
            "long",
            "boolean",
            "float",
            "double",
        }
        assert not {"locationName", "jsonvalue", "location", "streaming", "union"} & shape.serialization.keys()
        if shape.type_name == "structure":
            waiting += shape.members.values()
        elif shape.type_name in {"list", "map"}:
            waiting.append(shape.member if shape.type_name == "list" else shape.value)
    assert len(seen) > 20


def test_jobs_are_never_walked_by_botocore() -> None:
    told = OF_BATCH[JOBS, True]('{"jobs": [{"jobId": "a", "newerThanBotocore": 1}]}')
    assert told["jobs"] == [{"jobId": "a", "newerThanBotocore": 1}]
    assert told["ResponseMetadata"]["RequestId"] == "r"
