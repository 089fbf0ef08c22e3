"""What stands written out in a JSON document or a text: definitions that it starts, and names of images.

Targets of rules and schedules, pipes and state machines are such documents. What they compute when they run cannot be
read off them: it is told as computed, never guessed. Languages:
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html (JSONPath and JSONata),
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html (`<variable>`)
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from ecrsweep.core.names import AliasReference, EcrReference, parse_reference


class Kind(StrEnum):
    """What is named."""

    TASK = "task definition"
    JOB = "job definition"
    IMAGE = "image"


class Written(msgspec.Struct, frozen=True):
    """Something that stands in a document: what it names, as written, and the keys on the way to it.

    `computed` tells that it is known only when the document is carried out; `text` is then how it is computed.
    """

    kind: Kind
    text: str
    path: tuple[str, ...] = ()
    computed: bool = False

    @property
    def spot(self) -> str:
        """The way to it, without the numbers of lists."""
        return ".".join(key for key in self.path if not key.isdigit())


# Keys under which a name stands in the requests of AWS, in lower case: services disagree about capitals.
_KINDS: Final[Mapping[str, Kind]] = {
    "taskdefinition": Kind.TASK,
    "taskdefinitionarn": Kind.TASK,
    "jobdefinition": Kind.JOB,
    "jobdefinitionarn": Kind.JOB,
    "image": Kind.IMAGE,
    "imageuri": Kind.IMAGE,
    "imageidentifier": Kind.IMAGE,
    "imageoverride": Kind.IMAGE,
    "trainingimage": Kind.IMAGE,
    "containerimage": Kind.IMAGE,
    "containeruri": Kind.IMAGE,
}

_IMAGE: Final = re.compile(
    r"(?<![\w.-])\d{12}\.dkr[.-]ecr(?:-fips)?\.[a-z0-9-]+\.[a-z0-9.-]+(?::443)?"
    r"/[\w./-]*\w(?::\w[\w.-]*)?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII | re.IGNORECASE,
)
_DEFINITION: Final = re.compile(
    r"arn:aws[a-z-]*:(?P<service>ecs|batch):[a-z0-9-]+:\d{12}:(?:task|job)-definition/[\w-]+(?::\d+)?", re.ASCII
)
_KEYED: Final = re.compile(
    r'"(?P<key>' + "|".join(_KINDS) + r')"\s*:\s*(?:"(?P<text>(?:[^"\\]|\\.)*)"|(?P<variable><[^<>]+>))', re.IGNORECASE
)
# What follows a name that is only the beginning of one: a placeholder, or a string that is put together.
_GOES_ON: Final = re.compile(r"[:@/<{$]|['\"]\s*&")
_LITERAL_JSONATA: Final = re.compile(r"\{%\s*(?P<quote>['\"])(?P<text>[^'\"]*)(?P=quote)\s*%\}")
_VARIABLE: Final = re.compile(r"<[^<>]+>")


def written(document: Any, path: tuple[str, ...] = ()) -> Iterator[Written]:  # noqa: ANN401 - JSON is Any
    """All that a document names, each once a place; strings that hold JSON are documents too."""
    computed: set[tuple[Kind, tuple[str, ...]]] = set()
    for found in dict.fromkeys(_walked(document, path)):
        spot = (found.kind, found.path)
        if found.computed and spot in computed:
            continue
        if found.computed:
            computed.add(spot)
        yield found


def _walked(value: Any, path: tuple[str, ...]) -> Iterator[Written]:  # noqa: ANN401 - JSON is Any
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, str):
                yield from _under(key, inner, (*path, key))
            yield from _walked(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walked(inner, (*path, str(number)))
    elif isinstance(value, str):
        yield from _in_text(value, path)


def _under(key: str, text: str, path: tuple[str, ...]) -> Iterator[Written]:
    """What a key says that a string is."""
    kind = _KINDS.get(key.removesuffix(".$").lower())
    if kind is None or not text.strip():
        return
    literal = None if key.endswith(".$") else _literal(text.strip())
    if literal is None:
        yield Written(kind, text.strip(), path, computed=True)
    elif kind is not Kind.IMAGE or isinstance(parse_reference(literal), EcrReference | AliasReference):
        # Under "image" there are pictures, too: what cannot be in a private registry is none of ours.
        yield Written(kind, literal, path)


def _literal(text: str) -> str | None:
    """The string as it will be when the document is carried out; None where that is computed."""
    fixed = _LITERAL_JSONATA.fullmatch(text)
    if fixed:
        return fixed["text"]
    return None if text.startswith(("{%", "$")) or _VARIABLE.search(text) else text


def _in_text(text: str, path: tuple[str, ...]) -> Iterator[Written]:
    """Names that are known by their form alone, wherever they stand."""
    inner = _json(text)
    if inner is not None:
        yield from _walked(inner, path)
        return
    for match in _IMAGE.finditer(text):
        yield from _matched(Kind.IMAGE, match, text, path)
    for match in _DEFINITION.finditer(text):
        yield from _matched(Kind.TASK if match["service"] == "ecs" else Kind.JOB, match, text, path)
    for match in _KEYED.finditer(text):
        yield from _under(match["key"], match["variable"] or match["text"], path)


def _matched(kind: Kind, match: re.Match[str], text: str, path: tuple[str, ...]) -> Iterator[Written]:
    if _GOES_ON.match(text, match.end()):
        yield Written(kind, f"{match[0]}...", path, computed=True)
    else:
        # A full stop behind a name ends the sentence, unless there is nothing but the name.
        yield Written(kind, match[0] if match[0] == text.strip() else match[0].rstrip("."), path)


def _json(text: str) -> Any:  # noqa: ANN401 - JSON is Any
    """The document in a string; None where it holds none. A string in a string counts, and what is inside."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return None
