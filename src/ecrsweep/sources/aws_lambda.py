"""AWS Lambda as witness: every version of every function that is a container image.

Lambda resolves a tag when a function is created or updated, runs the digest from then on, and fetches it again whenever it
likes, years later too: neither tags nor pull times tell what it needs, and an image that is gone turns the function off.
https://docs.aws.amazon.com/lambda/latest/dg/images-create.html
Environment variables and addresses of code, which these calls answer too, are dropped where they come in.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure, Malformed, Missing
from ecrsweep.core.names import EcrReference, Repository, parse_reference
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Reading

NAME: Final = "lambda"

_PAGE: Final = 50
_UNPUBLISHED: Final = "$LATEST"
_PUBLISHED: Final = "$LATEST.PUBLISHED"
_UNSETTLED: Final[Mapping[str, str]] = {"InProgress": "is under way", "Failed": "failed"}
"""In which states of its last update a function still runs what it ran before."""
_SHA256_BYTES: Final = 32
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{64}")

_Json = Mapping[str, Any]
_Using = Callable[..., Use]
"""Makes a use of one version, given the image and what is known of it."""


class LambdaSource:
    """Every image that a function of one account and region runs or can run (`ports.Source`)."""

    name = NAME
    actions = ("lambda:GetFunction", "lambda:ListFunctions")
    about = About(
        system="AWS Lambda",
        calls="ListFunctions with all versions; GetFunction of the versions that are container images",
        keeps=(
            "every version of every function in whatever state, and so whatever an alias points at, weighted or not: the image "
            "as written, the digest that Lambda resolved it to, and that digest in every repository of the region"
        ),
        unknowable=(
            "the image that runs while an update is under way, or after one that failed, unless a version holds it: a note "
            "names such functions"
        ),
        service="lambda",
        bulk=False,
    )

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """The uses of every version. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "lambda")
        versions = list(reading.part(_listed(reading)))
        told: set[tuple[str, str]] = set()
        for found in reading.found(partial(_uses_of, place), [*versions, *_unlisted(versions)]):
            if isinstance(found, Use):
                told.add((found.workload, found.where))
            yield found
        for version in versions:  # where asking came to an early end
            if (version.function, version.where) not in told:
                yield from _as_listed(place, version)
        reading.finish()


class _Version(msgspec.Struct, frozen=True):
    """A version of a function, as far as the listing tells it. `digest` is what its CodeSha256 means, if anything."""

    name: str
    function: str
    number: str
    digest: str | None
    is_managed: bool

    @property
    def where(self) -> str:
        return f"version {self.number}"


def _listed(reading: Reading) -> Iterator[_Version]:
    """The versions that may be images. Functions replicated by Lambda@Edge are not asked for: they cannot be images."""
    nameless = 0
    for found in reading.listed("list_functions", "Functions", FunctionVersion="ALL", MaxItems=_PAGE):
        name, arn, number = found.get("FunctionName"), found.get("FunctionArn"), found.get("Version")
        if found.get("PackageType") == "Zip":
            continue
        if not (name and arn and number):
            nameless += 1
            continue
        yield _Version(
            name,
            arn.removesuffix(f":{number}"),
            number,
            _digest_meant(found.get("CodeSha256", "")),
            is_managed="CapacityProviderConfig" in found,
        )
    if nameless:
        raise Malformed(
            f"lambda:ListFunctions in {reading.place.region} listed {nameless} functions without a name or version",
            action="lambda:ListFunctions",
        )


def _unlisted(versions: list[_Version]) -> Iterator[_Version]:
    """The version that a function on managed instances runs when none is named, unless it was listed. Not each has it."""
    listed = {(version.name, version.number) for version in versions}
    for version in versions:
        if version.is_managed and version.number == _UNPUBLISHED and (version.name, _PUBLISHED) not in listed:
            yield msgspec.structs.replace(version, number=_PUBLISHED, digest=None)


def _uses_of(place: Place, version: _Version) -> Iterator[Use | Note]:
    """What a version runs; where that cannot be read, or the version was deleted in between, what the listing told of it."""
    listed = _as_listed(place, version)
    try:
        told = list(_described(place, version, _using(place, version)))
    except AwsFailure:
        yield from listed
        raise
    yield from told
    digests = {each.digest for each in told if isinstance(each, Use)}
    yield from (each for each in listed if each.digest not in digests)


def _as_listed(place: Place, version: _Version) -> list[Use]:
    """What the listing tells of a version: the digest that it runs, wherever that is."""
    return [_using(place, version)(image="", digest=version.digest, anywhere=True)] if version.digest else []


def _using(place: Place, version: _Version) -> _Using:
    return partial(
        Use, workload=version.function, source=NAME, account=place.account, region=place.region, where=version.where
    )


def _described(place: Place, version: _Version, use: _Using) -> Iterator[Use | Note]:
    try:
        answer = place.call("lambda", "get_function", FunctionName=version.name, Qualifier=version.number)
    except Missing as failure:
        if code_of(failure) != "ResourceNotFoundException":
            raise
        return
    code, configuration = answer.get("Code", {}), answer.get("Configuration", {})
    written, resolved = code.get("ImageUri", ""), code.get("ResolvedImageUri", "")
    if not (written or resolved):
        if code.get("RepositoryType") == "S3":  # the listing did not say that it is a zip file
            return
        raise _without_image(place, version, code)
    digest = _digest_in(resolved) or _digest_in(written)
    for image in _names(written, resolved):
        yield use(image=image, digest=digest or None, anywhere=digest == version.digest)
    unsettled = _UNSETTLED.get(configuration.get("LastUpdateStatus", ""))
    if written and not _digest_in(written) and (unsettled or not digest):
        # What runs may be an image that had this tag before the update; the tag itself is pulled only if no digest is known.
        until = _seconds(configuration.get("LastModified", ""))
        yield use(image=written, resolved_from=0.0, resolved_until=until, ended=bool(digest))
    if unsettled:
        text = f"its last update {unsettled}, and Lambda does not tell which image runs meanwhile"
        yield Note(text, f"{version.function} {version.where}")


def _names(written: str, resolved: str) -> Iterator[str]:
    """The name as written, and the one that Lambda resolved it to where that is of another repository."""
    if written:
        yield written
    if resolved and _repository(resolved) != _repository(written):
        yield resolved


def _repository(image: str) -> Repository | str:
    reference = parse_reference(image)
    return reference.repository if isinstance(reference, EcrReference) else image


def _without_image(place: Place, version: _Version, code: _Json) -> Malformed:
    why = code.get("Error", {}).get("ErrorCode", "")
    text = f"lambda:GetFunction in {place.region} named no image of {version.function} {version.where} {why}".rstrip()
    return Malformed(text, action="lambda:GetFunction")


def _digest_meant(code_sha256: str) -> str | None:
    """The image digest that a CodeSha256 means: its 64 digits, or its bytes in base64; None where it is neither.

    https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html does not say which.
    """
    digits = code_sha256.removeprefix("sha256:").lower()
    if _HEXADECIMAL.fullmatch(digits):
        return f"sha256:{digits}"
    try:
        raw = base64.b64decode(code_sha256, validate=True)
    except ValueError:
        return None
    return f"sha256:{raw.hex()}" if len(raw) == _SHA256_BYTES else None


def _digest_in(image: str) -> str:
    return image.partition("@")[2]


def _seconds(moment: str) -> float | None:
    """Seconds since the epoch of a time as Lambda writes it, 2026-01-31T12:00:00.000+0000; None where it is none."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return None
