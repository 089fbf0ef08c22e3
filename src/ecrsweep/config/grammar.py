"""What may stand in a file: kinds of values, each of which reads a node and tells its JSON Schema.

The reader and the schema are made of the same tables, so they cannot part. A kind never raises for what stands in the
file: it tells the problem and gives `UNSET`, so that one reading finds all of them.
JSON Schema: https://json-schema.org/draft/2020-12/json-schema-validation
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Protocol

from msgspec import UNSET, Struct, UnsetType

from ecrsweep.config.nodes import Entries, Form, Items, Node, Refused, Scalar, Told
from ecrsweep.core.errors import BadInput, BadName
from ecrsweep.core.policy import LONGEST_DURATION, UNITS, parse_duration

OFF: Final = "off"
LARGEST_COUNT: Final = 2**53 - 1
"""The largest whole number that every reader of JSON keeps exactly."""


class Kind(Protocol):
    """A kind of value."""

    def read(self, node: Node, told: Told) -> Any:  # noqa: ANN401 - each kind gives its own; UNSET where it cannot
        """The value of a node; `UNSET` where there is none, and the problem is told."""

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""


class Text(Struct, frozen=True):
    """A text. `check` gives what is meant by it, and raises `BadInput` or `BadName`; `pattern` is for the schema."""

    accepts: str
    pattern: str | None = None
    check: Callable[[str], Any] = str

    def read(self, node: Node, told: Told) -> Any:  # noqa: ANN401 - what `check` gives
        """The text, checked."""
        if not isinstance(node, Scalar) or node.form is Form.NOTHING:
            return _refuse(node, told, self.accepts)
        if node.form is not Form.TEXT:
            told.problem(node, f'found {node.text} without quotes, which is not a text: write "{node.text}"')
            return UNSET
        if not node.text.strip() or (self.pattern and not re.search(self.pattern, node.text)):
            return _refuse(node, told, self.accepts)
        try:
            return self.check(node.text)
        except (BadInput, BadName) as error:
            told.problem(node, str(error))
            return UNSET

    def schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "pattern": self.pattern or r"\S"}


class Count(Struct, frozen=True):
    """A whole number."""

    least: int = 0

    def read(self, node: Node, told: Told) -> int | UnsetType:
        """The number."""
        if not isinstance(node, Scalar) or node.form is not Form.INTEGER or node.text.startswith("-"):
            return _refuse(node, told, f"a whole number from {self.least} on")
        if len(node.text) > len(str(LARGEST_COUNT)) or not self.least <= int(node.text) <= LARGEST_COUNT:
            return _refuse(node, told, f"a whole number from {self.least} to {LARGEST_COUNT}")
        return int(node.text)

    def schema(self) -> dict[str, Any]:
        """An integer."""
        return {"type": "integer", "minimum": self.least, "maximum": LARGEST_COUNT}


class Flag(Struct, frozen=True):
    """Yes or no."""

    def read(self, node: Node, told: Told) -> bool | UnsetType:
        """Whether it is so."""
        if isinstance(node, Scalar) and node.form is Form.BOOLEAN:
            return node.text == "true"
        return _refuse(node, told, "true or false")

    def schema(self) -> dict[str, Any]:
        """A boolean."""
        return {"type": "boolean"}


class Fraction(Struct, frozen=True):
    """A number from 0 to 1."""

    def read(self, node: Node, told: Told) -> float | UnsetType:
        """The number."""
        if isinstance(node, Scalar) and node.form in {Form.INTEGER, Form.DECIMAL} and 0 <= float(node.text) <= 1:
            return float(node.text)
        return _refuse(node, told, "a number from 0 to 1, such as 0.5")

    def schema(self) -> dict[str, Any]:
        """A number."""
        return {"type": "number", "minimum": 0, "maximum": 1}


class Duration(Struct, frozen=True):
    """A time as people write it, in seconds; `off`, where it may be switched off, is None."""

    may_be_off: bool = False

    def read(self, node: Node, told: Told) -> float | UnsetType | None:
        """The seconds."""
        accepts = "a whole number and a unit, such as 30d, 12h or 2w" + (", or off" if self.may_be_off else "")
        if not isinstance(node, Scalar):
            return _refuse(node, told, accepts)
        if self.may_be_off and node.text == OFF:
            return None
        if node.form is not Form.TEXT or not re.fullmatch(r"[0-9]+[smhdw]", node.text):
            return _refuse(node, told, accepts)
        try:
            return parse_duration(node.text)
        except BadInput as error:
            told.problem(node, str(error))
            return UNSET

    def schema(self) -> dict[str, Any]:
        """A string that no longer time fits into."""
        units = "|".join(f"({_up_to(int(LONGEST_DURATION // length))}){unit}" for unit, length in UNITS.items())
        return {"type": "string", "pattern": f"^(0*({units}){f'|{OFF}' if self.may_be_off else ''})$"}


class Moment(Struct, frozen=True):
    """A day, to its end, or a moment with its time zone: seconds since the epoch."""

    def read(self, node: Node, told: Told) -> float | UnsetType:
        """The seconds. A date without quotes is what it looks like, in every reader of YAML."""
        accepts = "a day such as 2027-01-31, to its end in UTC, or a moment such as 2027-01-31T12:00:00Z"
        if not isinstance(node, Scalar) or not re.fullmatch(_DAY + _TIME, node.text):
            return _refuse(node, told, accepts)
        try:
            if re.fullmatch(_DAY, node.text):
                return (datetime.combine(date.fromisoformat(node.text), time.min, UTC) + timedelta(days=1)).timestamp()
            return datetime.fromisoformat(node.text).timestamp()
        except (ValueError, OverflowError):
            return _refuse(node, told, accepts)

    def schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "pattern": f"^{_DAY}{_TIME}$"}


_DAY: Final = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME: Final = r"(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?(Z|[+-][0-9]{2}:[0-9]{2}))?"


class Choice(Struct, frozen=True):
    """One of some words."""

    words: tuple[str, ...]

    def read(self, node: Node, told: Told) -> str | UnsetType:
        """The word."""
        if isinstance(node, Scalar) and node.text in self.words:
            return node.text
        guess = suggestion(node.text, self.words) if isinstance(node, Scalar) else ""
        return _refuse(node, told, _listed(self.words), guess)

    def schema(self) -> dict[str, Any]:
        """An enumeration."""
        return {"enum": list(self.words)}


class ListOf(Struct, frozen=True):
    """A list of one kind."""

    kind: Kind
    least: int = 0

    def read(self, node: Node, told: Told) -> tuple[Any, ...] | UnsetType:
        """The values that could be read."""
        if not isinstance(node, Items):
            hint = f", such as [{node.text}]" if isinstance(node, Scalar) and node.form is not Form.NOTHING else ""
            return _refuse(node, told, f"a list{hint}")
        if len(node.values) < self.least:
            return _refuse(node, told, f"a list of at least {self.least}")
        values = [self.kind.read(value, told) for value in node.values]
        return tuple(value for value in values if value is not UNSET)

    def schema(self) -> dict[str, Any]:
        """An array."""
        return {"type": "array", "items": self.kind.schema()} | ({"minItems": self.least} if self.least else {})


class MapOf(Struct, frozen=True):
    """Keys of one kind with values of one kind."""

    key: Text
    value: Kind
    accepts: str

    def read(self, node: Node, told: Told) -> dict[str, Any] | UnsetType:
        """The values that could be read, by key."""
        if not isinstance(node, Entries):
            return _refuse(node, told, self.accepts)
        pairs = [(self.key.read(key, told), self.value.read(value, told)) for key, value in node.values]
        return {key: value for key, value in pairs if key is not UNSET and value is not UNSET}

    def schema(self) -> dict[str, Any]:
        """An object."""
        names = self.key.schema()
        return {"type": "object", "propertyNames": names, "additionalProperties": self.value.schema()}


class Scalars(Struct, frozen=True):
    """A text, a whole number or a word, as text: what a source makes of its options is its own business."""

    def read(self, node: Node, told: Told) -> str | UnsetType:
        """The text as it stands in the file."""
        plain = {Form.TEXT, Form.INTEGER, Form.BOOLEAN}
        if isinstance(node, Scalar) and node.form in plain and node.text.strip():
            return node.text
        return _refuse(node, told, "a text in quotes, or a whole number")

    def schema(self) -> dict[str, Any]:
        """What it says."""
        return {"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "integer"}, {"type": "boolean"}]}


class Member(Struct, frozen=True):
    """One key of a table. `about` tells people what it says, `default` what holds without it, as they would write it."""

    kind: Kind
    about: str
    default: str | None = None
    required: bool = False


class Table(Struct, frozen=True):
    """Keys that are known, each with its kind. `make` gives what is meant by them, and raises `BadInput`."""

    members: Mapping[str, Member]
    make: Callable[[dict[str, Any]], Any] = dict

    def read(self, node: Node, told: Told) -> Any:  # noqa: ANN401 - what `make` gives
        """What was said under each key; keys with problems are left out."""
        if not isinstance(node, Entries):
            return _refuse(node, told, f"the keys {_listed(tuple(self.members))}")
        problems = len(told.problems)
        found: dict[str, Any] = {}
        for key, value in node.values:
            member = self.members.get(key.text)
            if member is None:
                told.problem(key, _no_such_key(key.text, tuple(self.members)))
            elif (said := member.kind.read(value, told)) is not UNSET:
                found[key.text] = said
        said_keys = {key.text for key, _ in node.values}
        for name, member in self.members.items():
            if member.required and name not in said_keys:
                told.problem(node, f"{name} is missing")
        if len(told.problems) > problems:
            return UNSET
        try:
            return self.make(found)
        except BadInput as error:
            told.problem(node, str(error))
            return UNSET

    def schema(self) -> dict[str, Any]:
        """An object that has no other keys."""
        required = [name for name, member in self.members.items() if member.required]
        properties = {name: _property(member) for name, member in self.members.items()}
        found = {"type": "object", "properties": properties, "additionalProperties": False}
        return found | ({"required": required} if required else {})


def suggestion(word: str, words: Sequence[str]) -> str:
    """`; did you mean ...?` where one of the words is near."""
    near = difflib.get_close_matches(word.lower().replace("-", "_"), words, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _property(member: Member) -> dict[str, Any]:
    told = member.about if member.default is None else f"{member.about} Default: {member.default}."
    return {"description": told.replace("`", "")} | member.kind.schema()


def _no_such_key(key: str, known: Sequence[str]) -> str:
    guess = suggestion(key, known)
    return f"there is no such key{guess or ';'} accepted {'are' if len(known) > 1 else 'is'} {_listed(known)}"


def _refuse(node: Node, told: Told, accepts: str, guess: str = "") -> UnsetType:
    """Tell what was found and what is accepted."""
    if not isinstance(node, Refused):
        unclear = isinstance(node, Scalar) and node.form is Form.AMBIGUOUS
        how = " (readers of YAML differ on what that is)" if unclear else ""
        told.problem(node, f"found {node}{how}; accepted {'are' if ' and ' in accepts else 'is'} {accepts}{guess}")
    return UNSET


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _up_to(most: int) -> str:
    """A regular expression of the whole numbers from 0 to `most`, without leading zeros."""
    digits = str(most)
    found = [f"[0-9]{{1,{len(digits) - 1}}}"] if len(digits) > 1 else []
    for place, digit in enumerate(digits):
        rest = len(digits) - place - 1
        if digit != "0":
            found.append(digits[:place] + f"[0-{int(digit) - 1}]" + (f"[0-9]{{{rest}}}" if rest else ""))
    return "|".join([*found, digits])
