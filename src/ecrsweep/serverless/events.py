"""What EventBridge tells between two runs, written into the ledger: tasks of ECS, jobs of Batch, functions of Lambda.

A task that lives for an hour is in no snapshot of a nightly run. Each event becomes one small object; the next run puts them
together. An event of a shape that is not known here raises, so that the function's dead-letter queue gets it.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
https://docs.aws.amazon.com/batch/latest/userguide/batch_job_events.html
https://docs.aws.amazon.com/lambda/latest/dg/logging-using-cloudtrail.html
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from ecrsweep.aws.decoding import image_of
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.config import check_state
from ecrsweep.core.errors import AwsFailure, BadInput, EcrsweepError
from ecrsweep.core.ledger import merged, seen_by_digest
from ecrsweep.core.names import AliasReference, EcrReference, parse_reference
from ecrsweep.core.times import parse_rfc3339
from ecrsweep.core.uses import Sighting, Use
from ecrsweep.serverless.run import STATE_PREFIX
from ecrsweep.serverless.settings import BUCKET_VARIABLE
from ecrsweep.wiring.memory import open_ledger

log = logging.getLogger("ecrsweep")

ACTIONS: Final = ("ecr:DescribeImages", "s3:PutObject")
"""What the function needs of IAM: which digest a tag names now, and an object for each event."""

STATE_VARIABLE: Final = "ECRSWEEP_STATE"

_Json = Mapping[str, Any]
_CODE_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CODE_CHANGES: Final = ("CreateFunction", "UpdateFunctionCode")
"""CloudTrail writes the version of the API behind these names: UpdateFunctionCode20150331v2."""


class UnknownEvent(EcrsweepError):
    """An event of a shape that is not known here."""


class Seen(msgspec.Struct, frozen=True):
    """An image that an event names: by whom it is used, and from when until when its name was surely or maybe resolved."""

    image: str
    workload: str
    source: str
    since: float
    until: float
    digest: str | None = None


def handler(event: Any, context: object) -> dict[str, Any]:  # noqa: ANN401, ARG001 - what Lambda gives
    """Write down what the event shows in use; how much that was.

    Raises `UnknownEvent`, and `EcrsweepError` where it cannot be written: Lambda tries again, then its dead-letter queue
    has the event.
    """
    seen = list(seen_in_event(event))
    session = _session()
    place = AwsPlace(session, os.environ.get("AWS_REGION") or session.home_region)
    region = str(event["region"])
    sightings = merged(one for found in seen for one in _sightings(session, found, region))
    ledger = open_ledger(place, location_of(os.environ), _text(event, "account"))
    ledger.add(sightings, name=f"event-{re.sub(r'[^A-Za-z0-9-]', '', _text(event, 'id'))}")
    log.info("%s: %d uses", event["detail-type"], len(sightings))
    return {"recorded": len(sightings), "location": ledger.location}


def seen_in_event(event: Any) -> Iterator[Seen]:  # noqa: ANN401 - whatever somebody sends
    """The images that an event shows in use. Raises `UnknownEvent`."""
    if not isinstance(event, Mapping) or not isinstance(event.get("detail"), Mapping):
        raise UnknownEvent("The event is not one of EventBridge: it has no detail")
    for name in ("account", "detail-type", "id", "region", "source", "time"):
        _text(event, name)
    match event["source"], event["detail-type"]:
        case "aws.ecs", "ECS Task State Change":
            read: Callable[[_Json], Iterator[Seen]] = _of_task
        case "aws.batch", "Batch Job State Change":
            read = _of_job
        case "aws.lambda", "AWS API Call via CloudTrail":
            read = _of_function
        case source, kind:
            raise UnknownEvent(f'An event "{kind}" of {source} says nothing that is known here of images in use')
    try:
        yield from read(event)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnknownEvent(f"{event['detail-type']} of a shape that is not known here: {error!r}") from error


def _of_task(event: _Json) -> Iterator[Seen]:
    """Each container under the name and digest that it reports. A task that has not pulled yet names its image all the same."""
    detail, now = event["detail"], parse_rfc3339(event["time"])
    moments = [parse_rfc3339(detail[key]) for key in ("createdAt", "pullStartedAt", "startedAt") if detail.get(key)]
    found = [container for container in detail["containers"] if container.get("image") or container.get("imageDigest")]
    if detail["containers"] and not found:
        raise UnknownEvent("ECS Task State Change: no container of the task names an image")
    for container in found:
        workload = f"{detail['taskArn']} container {container.get('name', '')}".rstrip()
        image, digest = container.get("image", ""), container.get("imageDigest")
        yield Seen("" if image.startswith("sha256:") else image, workload, "ecs", min([*moments, now]), now, digest)


def _of_job(event: _Json) -> Iterator[Seen]:
    """Every image that the job names, in whatever kind of container, pod or node range."""
    detail, now = event["detail"], parse_rfc3339(event["time"])
    since = min([detail[key] / 1000 for key in ("createdAt", "startedAt") if detail.get(key)] + [now])
    parts = ("container", "ecsProperties", "eksProperties", "nodeProperties")
    images = list(dict.fromkeys(image for part in parts for image in _images_in(detail.get(part))))
    if not images:
        raise UnknownEvent("Batch Job State Change: the job names no image where jobs are known to do so")
    for image in images:
        yield Seen(image, detail["jobArn"], "batch", since, now)


def _images_in(part: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(part, list):
        for item in part:
            yield from _images_in(item)
    elif isinstance(part, Mapping):
        for key, value in part.items():
            if key == "image" and isinstance(value, str):
                yield value
            elif key != "environment":  # whose entries may have any name
                yield from _images_in(value)


def _of_function(event: _Json) -> Iterator[Seen]:
    """The image that a function was made of or changed to. Functions of a .zip file and calls that failed use none."""
    detail = event["detail"]
    if detail["eventSource"] != "lambda.amazonaws.com" or not detail["eventName"].startswith(_CODE_CHANGES):
        raise UnknownEvent(f"{detail['eventName']} of {detail['eventSource']} says nothing that is known here")
    asked, answered = detail.get("requestParameters") or {}, detail.get("responseElements") or {}
    if detail.get("errorCode") or asked.get("dryRun") is True:
        return
    image = asked.get("imageUri") or (asked.get("code") or {}).get("imageUri") or ""
    is_zip = answered.get("runtime") or asked.get("runtime") or answered.get("packageType") == "Zip"
    if is_zip and not image:
        return
    # Of an image, this hash is its digest: reported, not documented. It may add protection.
    code = str(answered.get("codeSha256", ""))
    digest = f"sha256:{code}" if _CODE_DIGEST.fullmatch(code) else None
    if not image and digest is None:
        raise UnknownEvent(f"{detail['eventName']}: neither an image nor a .zip file is named")
    now = parse_rfc3339(detail.get("eventTime") or event["time"])
    workload = str(answered.get("functionArn") or asked["functionName"])
    yield Seen(image, workload, "lambda", now, now)
    if digest is not None:
        yield Seen(image, workload, "lambda", now, now, digest)


def _sightings(session: AwsSession, seen: Seen, region: str) -> Iterator[Sighting]:
    """What the ledger remembers of it: by digest, where one is told, named, or can be found out; else by name and time."""
    digest = seen.digest or _named_now(session, seen)
    use = Use(seen.image, seen.workload, seen.source, region=region, digest=digest, anywhere=not seen.image)
    found = [
        msgspec.structs.replace(one, first_seen=seen.since, last_seen=seen.until)
        for one in seen_by_digest([use], seen.until)
    ]
    yield from found
    reference = parse_reference(seen.image)
    if not found and isinstance(reference, EcrReference | AliasReference):
        yield Sighting(str(reference), seen.workload, seen.source, seen.since, seen.until)


def _named_now(session: AwsSession, seen: Seen) -> str | None:
    """The digest that a tag names now (DescribeImages), if it was pushed before the workload began; None where that is not known.

    A failure is no loss: the name and the time are remembered then, and the next plan finds out what that may have been.
    """
    reference = parse_reference(seen.image)
    if not isinstance(reference, EcrReference) or reference.digest or not reference.tag:
        return None
    registry = reference.repository.registry
    try:
        answer = AwsPlace(session, registry.region).call(
            "ecr", "describe_images", registryId=registry.account, repositoryName=reference.repository.name,
            imageIds=[{"imageTag": reference.tag}],
        )  # fmt: skip
        (image,) = map(image_of, answer["imageDetails"])
    except (AwsFailure, KeyError, ValueError):
        return None
    return image.digest if image.pushed_at is not None and image.pushed_at <= seen.since else None


def location_of(environ: Mapping[str, str]) -> str:
    """Where ledger, holds and edges are. Raises `BadInput` where nobody said so: the disk of a function does not last."""
    bucket = environ.get(BUCKET_VARIABLE)
    location = check_state(environ.get(STATE_VARIABLE)) or (f"s3://{bucket}/{STATE_PREFIX}" if bucket else None)
    if location is None:
        raise BadInput(f"Neither {BUCKET_VARIABLE} nor {STATE_VARIABLE} says where the ledger is")
    return location


def _text(event: _Json, name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise UnknownEvent(f"The event is not one of EventBridge: it has no {name}")
    return value


@lru_cache(maxsize=1)
def _session() -> AwsSession:
    """One session for the life of the function."""
    return AwsSession(environ=os.environ)
