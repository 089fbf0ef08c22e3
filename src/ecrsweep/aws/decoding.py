"""The big lists, read straight from bytes: most of what reading costs is botocore's walk over shapes, dicts and times.

Stands in botocore's `before-parse` event, so that signing, endpoints, retries and errors stay its own; of an answer it
takes what it understands in full, and leaves any other to botocore's parser, which then has to say what is wrong.
Pages of DescribeImages become images; jobs and job definitions of Batch stay dicts, because any source may read any member of them.
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
https://docs.aws.amazon.com/batch/latest/APIReference/API_DescribeJobs.html
"""

from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, Final

import msgspec

from ecrsweep.core.errors import Malformed
from ecrsweep.core.images import Image

_OK: Final = 200
_ACTION: Final = "ecr:DescribeImages"


class _Page(msgspec.Struct, omit_defaults=True):
    imageDetails: list[Image] | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - as AWS writes it
    nextToken: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - likewise


_decode: Final = msgspec.json.Decoder(_Page).decode
_decode_members: Final = msgspec.json.Decoder(dict[str, Any]).decode
_NULL: Final = b"null"


def decode_page(
    response_dict: MutableMapping[str, Any], customized_response_dict: MutableMapping[str, Any], **_: object
) -> None:
    """Put the images of a page, and the token of the next one, where botocore would put what it parsed."""
    if response_dict["status_code"] != _OK:
        return
    try:
        page = _decode(response_dict["body"])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    told = {"imageDetails": page.imageDetails, "nextToken": page.nextToken}
    customized_response_dict.update((key, value) for key, value in told.items() if value is not msgspec.UNSET)
    response_dict["body"] = b"{}"


def decode_plain(
    response_dict: MutableMapping[str, Any], customized_response_dict: MutableMapping[str, Any], **_: object
) -> None:
    """Put an answer of which every member is plain JSON where botocore would put the same; it would leave out members that are null."""
    body = response_dict["body"]
    if response_dict["status_code"] != _OK or _NULL in body:
        return
    try:
        customized_response_dict.update(_decode_members(body))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    response_dict["body"] = b"{}"


HANDLERS: Final[dict[str, Callable[..., None]]] = {
    "before-parse.ecr.DescribeImages": decode_page,
    "before-parse.batch.DescribeJobDefinitions": decode_plain,
    "before-parse.batch.DescribeJobs": decode_plain,
}
"""Where each is registered; should botocore name no such event, then its parser does the work."""


def image_of(detail: Image | Mapping[str, Any]) -> Image:
    """The image of an entry, whoever parsed it. Raises `Malformed`."""
    if isinstance(detail, Image):
        return detail
    try:
        plain = {key: _plain(value) for key, value in detail.items()}
        return msgspec.convert(plain, Image)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise Malformed(
            f"{_ACTION} described an image in a way that is not known here: {error}", action=_ACTION
        ) from error


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever botocore parses
    """Times as seconds since the epoch."""
    return value.timestamp() if isinstance(value, datetime) else value
