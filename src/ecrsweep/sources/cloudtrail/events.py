"""What a record of CloudTrail says of a pull: who, what, when, from where; and which records are no pulls at all.

A pull is one BatchGetImage, made by the registry in the name of whoever pulls. So nearly every real pull says `invokedBy`, address and agent
"AWS Internal": these words tell nothing, and are no ground to leave one out.
https://docs.aws.amazon.com/AmazonECR/latest/userguide/logging-using-cloudtrail.html
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from ecrsweep.core.errors import BadInput, Malformed
from ecrsweep.core.names import Registry
from ecrsweep.core.times import parse_rfc3339, rfc3339
from ecrsweep.core.uses import Covered, Note, Pulls, Use

NAME: Final = "cloudtrail"
EVENT: Final = "BatchGetImage"
EVENT_SOURCE: Final = "ecr.amazonaws.com"

_OURS: Final = "ecrsweep/"
_SCANNER: Final = "inspector2.amazonaws.com"
_REPOSITORY_ARN: Final = re.compile(r"arn:[a-z-]+:ecr:[a-z0-9-]+:(\d{12}):repository/.+")
# Roles that only these services can take: Inspector scans what is there; ECR replicates and fills its caches.
_SERVICE_ROLE: Final = re.compile(
    r"arn:[a-z-]+:iam::\d{12}:role/aws-service-role/(inspector2|(?:[a-z]+\.)?ecr)\.amazonaws\.com/.+"
)
_SESSIONS_APART: Final = 10
"""More sessions of one role than that are told together: a build system has a new one for every pull."""


class _Issuer(msgspec.Struct):
    arn: str | None = None


class Session(msgspec.Struct, rename="camel"):
    """The session of an assumed role."""

    session_issuer: _Issuer | None = None


class Identity(msgspec.Struct, rename="camel"):
    """Who made a call. A service that acts for itself has neither an ARN nor a principal."""

    type: str | None = None
    principal_id: str | None = None
    arn: str | None = None
    account_id: str | None = None
    invoked_by: str | None = None
    session_context: Session | None = None

    @property
    def issuer(self) -> str | None:
        """The role of a session."""
        session = self.session_context
        return session.session_issuer.arn if session is not None and session.session_issuer is not None else None

    @property
    def principal(self) -> str:
        """The ARN, or else the best name there is."""
        if self.arn:
            return self.arn
        named = " ".join(part for part in (self.account_id, self.principal_id) if part)
        return (self.invoked_by if self.type == "AWSService" else None) or named or self.invoked_by or "nobody named"

    @property
    def is_a_service_itself(self) -> bool:
        """True where AWS acts in nobody's name."""
        return not self.arn and not self.principal_id


class ImageId(msgspec.Struct, rename="camel"):
    """An image as it was asked for."""

    image_tag: str | None = None
    image_digest: str | None = None


class Asked(msgspec.Struct, rename="camel"):
    """The parameters of the call."""

    registry_id: str | None = None
    repository_name: str | None = None
    image_ids: list[ImageId] | None = None


class _Image(msgspec.Struct, rename="camel"):
    image_id: ImageId | None = None


class _Answered(msgspec.Struct):
    images: list[_Image] | None = None


class Resource(msgspec.Struct, rename="camel"):
    """What was called upon."""

    arn: str | None = msgspec.field(default=None, name="ARN")
    account_id: str | None = None


class Record(msgspec.Struct, rename="camel"):
    """One record, as far as it is of interest here."""

    event_time: str
    event_source: str
    event_name: str
    aws_region: str
    user_identity: Identity
    source_ip_address: str | None = msgspec.field(default=None, name="sourceIPAddress")
    user_agent: str | None = None
    error_code: str | None = None
    request_parameters: Asked | None = None
    response_elements: _Answered | None = None
    resources: list[Resource] | None = None
    recipient_account_id: str | None = None

    @property
    def owner(self) -> str | None:
        """The account of the registry: as it was asked, else that of the repository, else by default that of the caller."""
        if self.request_parameters is not None and self.request_parameters.registry_id:
            return self.request_parameters.registry_id
        for resource in self.resources or ():
            found = _REPOSITORY_ARN.fullmatch(resource.arn or "")
            if found:
                return found[1]
        return self.user_identity.account_id or self.recipient_account_id


class _Key(msgspec.Struct, frozen=True, order=True):
    """What is told as one: an image, asked for by a role or another principal, with the same result."""

    image: str
    region: str
    who: str
    error: str
    account: str
    tag_alone: bool


_decode_record = msgspec.json.Decoder(Record).decode


def session_of(role: str | None) -> Session | None:
    """A session of this role."""
    return None if role is None else Session(_Issuer(role))


def parse_record(raw: str | bytes | msgspec.Raw) -> Record:
    """A record from its JSON. Raises `Malformed`."""
    try:
        return _decode_record(raw)
    except msgspec.MsgspecError as error:
        raise Malformed(f"CloudTrail has a record that is not as documented: {error}") from error


class Tally:
    """The pulls of many records, added up: by principal, image and result."""

    def __init__(self, ignored: Sequence[str]) -> None:
        """`ignored` are globs of principals and roles that do not count."""
        self._ignored = ignored
        self._pulls: dict[_Key, dict[str, Pulls]] = {}
        self._left_out: Counter[str] = Counter()
        self._nameless = 0
        self._notes: list[str] = []
        self.covered: Covered | None = None
        """Of which accounts the log tells, where it is of several."""
        self.failure: Malformed | None = None

    def add(self, record: Record, *, times: int = 1, first: float | None = None) -> None:
        """Count a record. One that cannot be understood becomes the failure, to be raised when all are counted.

        `times` and `first` stand for a record that speaks for several alike, the last of which it is.
        """
        if record.event_source != EVENT_SOURCE or record.event_name != EVENT:
            return
        reason = self._reason_to_leave_out(record)
        if reason is not None:
            self._left_out[reason] += times
            return
        try:
            last = parse_rfc3339(record.event_time)
            self._count(record, Pulls(
                times, last if first is None else first, last, record.source_ip_address or "", record.user_agent or "",
                record.error_code or None,
            ))  # fmt: skip
        except BadInput as error:
            self.failure = self.failure or Malformed(f"CloudTrail has a record with a time that is none: {error}")
        except Malformed as failure:
            self.failure = self.failure or failure

    def uses(self) -> Iterator[Use]:
        """A use for each principal, image and result, in order."""
        for key in sorted(self._pulls):
            for principal, pulls in sorted(self._pulls[key].items()):
                yield _use(key, principal, pulls)

    def note(self, text: str) -> None:
        """Keep something to be told beside the uses."""
        self._notes.append(text)

    def notes(self) -> Iterator[Note]:
        """What is to be told, what was left out, and what failed."""
        yield from map(Note, self._notes)
        if self._left_out:
            counted = ", ".join(f"{reason} {number:,}" for reason, number in sorted(self._left_out.items()))
            yield Note(f"left out, because nobody pulls so to run an image: {counted}")
        refused = sum(pulls.times for key, apart in self._pulls.items() if key.error for pulls in apart.values())
        if refused:
            yield Note(
                f"pulls that were refused: {refused:,}; the images that they name are kept as if they had come through"
            )
        if self._nameless:
            yield Note(f"calls that were refused without saying for which image: {self._nameless:,}")

    def _reason_to_leave_out(self, record: Record) -> str | None:
        nobody = runs_nothing(record)
        if nobody is not None:
            return nobody
        names = [name for name in (record.user_identity.principal, record.user_identity.issuer) if name]
        if any(fnmatchcase(name, pattern) for name in names for pattern in self._ignored):
            return "by cloudtrail.ignore"
        return None

    def _count(self, record: Record, pulls: Pulls) -> None:
        asked = record.request_parameters
        if asked is None or not asked.repository_name or not asked.image_ids:
            if not record.error_code:
                raise Malformed(f"CloudTrail has a pull at {record.event_time} that does not say which image")
            self._nameless += pulls.times
            return
        owner = record.owner
        if owner is None:
            raise Malformed(
                f"CloudTrail has a pull at {record.event_time} that does not say of which account's registry"
            )
        who = record.user_identity
        repository = f"{Registry(owner, record.aws_region).host}/{asked.repository_name}"
        digests = _answered_digests(record)
        for wanted in asked.image_ids:
            digest = wanted.image_digest or digests.get(wanted.image_tag or "")
            if not (wanted.image_tag or digest):
                raise Malformed(f"CloudTrail has a pull at {record.event_time} with neither tag nor digest")
            image = repository + (f":{wanted.image_tag}" if wanted.image_tag else "") + (f"@{digest}" if digest else "")
            key = _Key(
                image, record.aws_region, who.issuer or who.principal, pulls.error or "",
                who.account_id or record.recipient_account_id or "", tag_alone=not digest,
            )  # fmt: skip
            self._merge(key, who, pulls)

    def _merge(self, key: _Key, who: Identity, pulls: Pulls) -> None:
        apart = self._pulls.setdefault(key, {})
        if who.issuer in apart or (len(apart) >= _SESSIONS_APART and who.principal not in apart):
            together = pulls
            for other in apart.values():
                together = _added(together, other)
            self._pulls[key] = {key.who: together}
            return
        known = apart.get(who.principal)
        apart[who.principal] = pulls if known is None else _added(known, pulls)


def runs_nothing(record: Record) -> str | None:
    """Who it was, where it was one of those who never pull to run an image; None for everybody else."""
    who = record.user_identity
    if _OURS in (record.user_agent or ""):
        return "by ecrsweep itself"
    if who.invoked_by == _SCANNER or _is_role_of(who, "inspector2"):
        return "by Amazon Inspector"
    if (who.is_a_service_itself and who.invoked_by == EVENT_SOURCE) or _is_role_of(who, "ecr"):
        return "by Amazon ECR itself"
    return None


def _is_role_of(who: Identity, service: str) -> bool:
    found = _SERVICE_ROLE.fullmatch(who.issuer or "")
    return found is not None and found[1].endswith(service)


def _answered_digests(record: Record) -> dict[str, str]:
    """The digest by tag, where the answer stands in the record. As documented it does not."""
    images = record.response_elements.images or () if record.response_elements is not None else ()
    ids = [image.image_id for image in images if image.image_id is not None]
    return {found.image_tag: found.image_digest for found in ids if found.image_tag and found.image_digest}


def _added(one: Pulls, other: Pulls) -> Pulls:
    later = max(one, other, key=lambda pulls: pulls.last)
    return msgspec.structs.replace(later, times=one.times + other.times, first=min(one.first, other.first))


def _use(key: _Key, principal: str, pulls: Pulls) -> Use:
    """The use that these pulls prove.

    A tag that was resolved at some moment between the first and the last of them may name another image by now.
    """
    resolved = key.tag_alone and pulls.error is None
    return Use(
        image=key.image,
        workload=principal,
        source=NAME,
        account=key.account,
        region=key.region,
        where=_where(pulls),
        resolved_from=pulls.first if resolved else None,
        resolved_until=pulls.last if resolved else None,
        ended=pulls.error is None,  # it has its image; one that was refused will try again
        pulls=pulls,
    )


def _where(pulls: Pulls) -> str:
    times = f"{pulls.times:,} {'time' if pulls.times == 1 else 'times'}"
    done = f"pulled {times}" if pulls.error is None else f"was refused {times} ({pulls.error})"
    origin = ", ".join(dict.fromkeys(part for part in (pulls.address, pulls.agent) if part))
    return f"{done}, last {rfc3339(pulls.last)}" + (f", from {origin}" if origin else "")
