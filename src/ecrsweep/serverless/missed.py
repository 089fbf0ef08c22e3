"""An archived image that somebody pulls all the same: it is brought back, held from then on, and the alarm is raised.

CloudTrail tells of every pull, as BatchGetImage, and EventBridge hands it on. Whether one failed cannot be told from that: the
API answers 200 with a list of failures, and CloudTrail keeps no answers of calls that only read. But what is archived cannot
be pulled, so every pull that names an archived image has missed it. GetDownloadUrlForLayer names no image, and comes after.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail-management.html
"""

import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from ecrsweep.app import Restoring
from ecrsweep.aws.bucket import Bucket, LastingCache
from ecrsweep.aws.cache import ManifestCache
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.errors import BadInput, EcrsweepError, Malformed
from ecrsweep.core.holds import Hold
from ecrsweep.core.images import Image, Status
from ecrsweep.core.names import EcrReference, Registry, Repository, parse_reference
from ecrsweep.core.policy import DAY
from ecrsweep.core.restoring import Outcome, RestoreResult, Wish
from ecrsweep.core.times import parse_rfc3339, rfc3339
from ecrsweep.memory import EdgeBook, HoldBook
from ecrsweep.ports import StateStore
from ecrsweep.reports.words import counted, printable
from ecrsweep.serverless.events import UnknownEvent, location_of
from ecrsweep.serverless.settings import BUCKET_VARIABLE
from ecrsweep.sources.cloudtrail.events import EVENT, EVENT_SOURCE, Record, parse_record, runs_nothing
from ecrsweep.wiring.memory import open_store

log = logging.getLogger("ecrsweep")

ACTIONS: Final = (
    "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:UpdateImageStorageClass", "s3:GetObject", "s3:ListBucket",
    "s3:PutObject", "sns:Publish",
)  # fmt: skip
"""What the function needs of IAM. It deletes nothing, and pushes nothing."""

TOPIC_VARIABLE: Final = "ECRSWEEP_ALARM_TOPIC"
MISSED_FORMAT: Final = "ecrsweep.missed/1"
SUBJECT: Final = "ecrsweep: an archived image is missed"

_JUST_BEFORE: Final = DAY
"""A pull so long before the archiving may not have been recorded yet when it was decided (ECR records them daily)."""
_LONGEST_WORD: Final = 300


class NotRestored(EcrsweepError):
    """The image that is missed could not be brought back, or not all of it."""


class _Miss(msgspec.Struct, frozen=True):
    """One archived image that somebody wanted."""

    repository: Repository
    image: Image
    who: str
    origin: str
    at: float

    @property
    def name(self) -> str:
        """The same for the same image, however often it is missed."""
        place = hashlib.sha256(self.repository.uri.encode()).hexdigest()[:12]
        return f"missed-{self.image.digest.removeprefix('sha256:')}-{place}"

    @property
    def hold(self) -> Hold:
        """What keeps it from now on."""
        before = self.image.archived_at is not None and self.at < self.image.archived_at
        when = "just before it was archived" if before else "while it was archived"
        why = f"pulled {when}, {rfc3339(self.at)}, from {self.origin}; ecrsweep brought it back"
        return Hold(f"{self.repository.uri}@{self.image.digest}", self.who, why)

    def told(self, result: RestoreResult, holds: str) -> str:
        """The alarm, in words."""
        tags = printable(", ".join(self.image.tags)) or "untagged"
        coming = sum(1 for _ in result.only(Outcome.ACTIVATING, Outcome.RESTORED))
        parts = [
            f"{self.repository.uri}@{self.image.digest} ({tags}) is archived and somebody wants it.",
            f"Asked for by {self.who} at {rfc3339(self.at)}, from {self.origin}.",
            f"Restoring {counted(coming, 'image')}: it takes about 20 minutes, and pulls fail until then."
            if coming
            else "",
            *(f"NOT restored: {entry.digest}: {printable(entry.message or entry.outcome)}." for entry in _left(result)),
            *(
                f"Not known what else belongs to it: {printable(note)}. Pull it again when it is back."
                for note in result.notes
            ),
            f"From now on it is kept: {holds}/{self.name}.json says so, and whoever removes that lets it go again.",
        ]
        return "\n".join(filter(None, parts))


def handler(event: Any, context: object) -> dict[str, Any]:  # noqa: ANN401, ARG001 - what Lambda gives
    """Bring back what the event shows to be missed; which images that were, and why others were none of it.

    Raises `UnknownEvent` for a shape that is not known here, `NotRestored`, and `EcrsweepError` where AWS or the state cannot be
    reached: Lambda tries again, then its dead-letter queue has the event. What is done already is not done again.
    """
    record = record_of(event)
    ignored: Counter[str] = Counter()
    found = list(_misses(record, ignored))
    for miss in found:
        _bring_back(miss, event)
    return {"missed": [f"{miss.repository.uri}@{miss.image.digest}" for miss in found], "ignored": dict(ignored)}


def record_of(event: Any) -> Record:  # noqa: ANN401 - whatever somebody sends
    """The record of a pull that an event carries. Raises `UnknownEvent`."""
    if not isinstance(event, Mapping) or not isinstance(event.get("detail"), Mapping):
        raise UnknownEvent("The event is not one of EventBridge: it has no detail")
    if (event.get("source"), event.get("detail-type")) != ("aws.ecr", "AWS API Call via CloudTrail"):
        raise UnknownEvent(f'An event "{event.get("detail-type")}" of {event.get("source")} is no call of ECR')
    try:
        record = parse_record(msgspec.json.encode(event["detail"]))
        parse_rfc3339(record.event_time)
    except (BadInput, Malformed, TypeError) as error:
        raise UnknownEvent(f"A call of ECR of a shape that is not known here: {error}") from error
    if (record.event_source, record.event_name) != (EVENT_SOURCE, EVENT):
        raise UnknownEvent(f"{record.event_name} of {record.event_source} says nothing that is known here of pulls")
    return record


def _misses(record: Record, ignored: Counter[str]) -> Iterator[_Miss]:
    """The archived images that a record names, each once; why the others are none of it is counted in `ignored`."""
    seen: set[str] = set()
    for reference in _named(record, ignored):
        image = _now(reference)
        if image is None:
            ignored["there is no such image"] += 1
        elif image.status == Status.ACTIVE:
            ignored["it is not archived"] += 1
        elif image.archived_at is not None and parse_rfc3339(record.event_time) < image.archived_at - _JUST_BEFORE:
            ignored["it was archived more than a day later"] += 1
        elif image.digest not in seen:
            seen.add(image.digest)
            origin = (
                ", ".join(dict.fromkeys(filter(None, (record.source_ip_address, record.user_agent)))) or "nowhere told"
            )
            yield _Miss(
                reference.repository, image, _word(record.user_identity.principal), _word(origin),
                parse_rfc3339(record.event_time),
            )  # fmt: skip


def _named(record: Record, ignored: Counter[str]) -> Iterator[EcrReference]:
    """The images that a pull asked for, where somebody may want to run them. Raises `UnknownEvent`."""
    nobody = runs_nothing(record)
    if nobody is not None:
        ignored[nobody] += 1
        return
    asked = record.request_parameters
    if asked is None or not asked.repository_name or not asked.image_ids:
        if not record.error_code:
            raise UnknownEvent("A pull that does not say which image")
        ignored["it was refused without saying for which image"] += 1
        return
    if record.owner != _world().account:
        ignored["it is in the registry of another account"] += 1
        return
    repository = Repository(Registry(_world().account, record.aws_region), asked.repository_name)
    for wanted in asked.image_ids:
        if not (wanted.image_tag or wanted.image_digest):
            raise UnknownEvent("A pull with neither tag nor digest")
        ending = f"@{wanted.image_digest}" if wanted.image_digest else f":{wanted.image_tag}"
        reference = parse_reference(repository.uri + ending)
        if isinstance(reference, EcrReference):
            yield reference
        else:
            ignored["it is no name of an image"] += 1


def _now(reference: EcrReference) -> Image | None:
    """An image as it is now, whatever its state. Raises `AwsFailure`."""
    store = _world().image_store(reference.repository.registry)
    name = reference.repository.name
    if reference.digest is None:
        return store.tagged(name, str(reference.tag))
    return store.describe(name, [reference.digest]).get(reference.digest)


def _bring_back(miss: _Miss, event: Mapping[str, Any]) -> None:
    """Restore first, then hold, then tell. Raises `NotRestored`, and `EcrsweepError`."""
    world = _world()
    state = open_store(_home(), location_of(os.environ))
    unread = _recall_edges(world, state)
    restoring = Restoring(
        world, [Wish(repository=miss.repository, archived=(miss.image.digest,), whole=True)], log.info
    )
    restoring.look()
    restoring.work(lambda: False)
    result = restoring.result()
    holds = HoldBook(state, world.account)
    is_new = holds.add(miss.name, miss.hold)
    text = miss.told(result, holds.location)
    log.warning("%s", text)
    marker = f"missed/{world.account}/{miss.name}.json"
    if is_new or miss.image.status == Status.ARCHIVED or next(state.read([marker])) is None:
        _raise_alarm(text)
        state.add(marker, msgspec.json.encode(_marker(miss, event)))
    if unread is not None:
        raise unread
    if any(_left(result)):
        raise NotRestored(text)


def _left(result: RestoreResult) -> Iterator[Any]:
    return result.only(Outcome.REFUSED, Outcome.UNKNOWN, Outcome.NOT_TRIED)


def _recall_edges(world: AwsWorld, state: StateStore) -> EcrsweepError | None:
    """Learn what archived indexes contain. A failure is handed back: what is known is restored first."""
    try:
        bucket = os.environ.get(BUCKET_VARIABLE)
        if bucket:
            LastingCache(Bucket(_home(), bucket), world.cache).fetch()
        world.cache.remember(EdgeBook(state, world.account).recall().items())
    except EcrsweepError as failure:
        return failure
    return None


def _raise_alarm(text: str) -> None:
    """Tell the topic, where there is one. Raises `AwsFailure`."""
    topic = os.environ.get(TOPIC_VARIABLE)
    if topic:
        region = topic.split(":")[3] if topic.count(":") >= 5 else _home().region  # noqa: PLR2004 - the parts of an ARN
        _home().at(region).call("sns", "publish", TopicArn=topic, Subject=SUBJECT, Message=text)


def _marker(miss: _Miss, event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": MISSED_FORMAT, "image": miss.hold.image, "who": miss.who, "origin": miss.origin, "at": rfc3339(miss.at),
        "event": str(event.get("id", "")), "told_at": rfc3339(time.time()),
    }  # fmt: skip


def _word(text: str) -> str:
    """What others wrote of themselves, safe for a log and not too long for it."""
    shown = printable(text)
    return shown if len(shown) <= _LONGEST_WORD else f"{shown[:_LONGEST_WORD]}..."


def _home() -> AwsPlace:
    """Where the function is."""
    return AwsPlace(_session(), os.environ.get("AWS_REGION") or _session().home_region)


@lru_cache(maxsize=1)
def _session() -> AwsSession:
    """One session for the life of the function."""
    return AwsSession(environ=os.environ)


@lru_cache(maxsize=1)
def _world() -> AwsWorld:
    """What it reaches, with what it learns of indexes in memory alone."""
    return AwsWorld(_session(), ManifestCache(None))
