"""The text of a YAML file as values that know where they stand, and every problem of the file, like a compiler's.

YAML by PyYAML's composer (https://pyyaml.org/wiki/PyYAMLDocumentation); JSON is read too, as YAML contains it. What YAML 1.1
and YAML 1.2 (https://yaml.org/spec/1.2.2/) read differently, such as `no`, `012` and `1:30`, is never guessed: it is a
kind of its own, which every reader refuses.
"""

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Final

import msgspec
import yaml

from ecrsweep.core.errors import BadInput

LARGEST: Final = 1024 * 1024
"""No file of ours is larger: what is, is something else."""
DEEPEST: Final = 12

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
_BOOLEAN: Final = frozenset({"true", "false"})
_NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})
# What YAML 1.2 reads as a number and YAML 1.1 as a word: the resolver of PyYAML knows only the latter.
_NUMBER_OF_1_2: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_OWN_TAGS: Final = re.compile(r"tag:yaml\.org,2002:(str|int|float|bool|null|timestamp|value|merge|seq|map)")


class Form(Enum):
    """What a scalar is, by its looks."""

    TEXT = "a text"
    INTEGER = "a whole number"
    DECIMAL = "a number"
    BOOLEAN = "true or false"
    NOTHING = "nothing"
    AMBIGUOUS = "read differently by different readers of YAML"


class Place(msgspec.Struct, frozen=True, order=True):
    """Where something stands in a file; lines and columns are counted from 1."""

    line: int
    column: int


class Scalar(msgspec.Struct, frozen=True):
    """One value. `path` are the keys that lead to it, as in every node: `policies[0].newest`."""

    place: Place
    path: str
    text: str
    form: Form

    def __str__(self) -> str:
        """As it is quoted in a sentence."""
        if self.form is Form.NOTHING:
            return "nothing"
        return f'"{self.text}"' if len(self.text) <= _QUOTED else f'"{self.text[:_QUOTED]}..."'


_QUOTED: Final = 60


class Items(msgspec.Struct, frozen=True):
    """A list."""

    place: Place
    path: str
    values: tuple["Node", ...]

    def __str__(self) -> str:
        """As it is quoted in a sentence."""
        return "a list"


class Entries(msgspec.Struct, frozen=True):
    """A mapping, in the order of the file."""

    place: Place
    path: str
    values: tuple[tuple[Scalar, "Node"], ...]

    def __str__(self) -> str:
        """As it is quoted in a sentence."""
        return "keys with values"


class Refused(msgspec.Struct, frozen=True):
    """Something of which a problem was told already."""

    place: Place
    path: str = ""


Node = Scalar | Items | Entries | Refused


class Problem(msgspec.Struct, frozen=True, order=True):
    """What is wrong at one place: where, under which key, and in words what was found and what is accepted."""

    place: Place
    path: str
    text: str

    def line(self, file: str) -> str:
        """As a compiler prints it."""
        where = f"{file}:{self.place.line}:{self.place.column}"
        return f"{where}: {self.path}: {self.text}" if self.path else f"{where}: {self.text}"


class BadFile(BadInput):
    """A file of the user's with all its problems."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        number = len(self.problems)
        head = f"{number} problem{'' if number == 1 else 's'} in {file}, so nothing was done"
        super().__init__("\n".join([f"{head}:", *(problem.line(file) for problem in self.problems)]))


class Told:
    """The problems and warnings of a file, as they are met."""

    def __init__(self) -> None:
        """Nothing is wrong yet."""
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def problem(self, node: Node, text: str) -> None:
        """Something is wrong at this node."""
        self.problems.append(Problem(node.place, node.path, text))

    def warning(self, node: Node, text: str) -> None:
        """Something at this node is likely not meant."""
        self.warnings.append(Problem(node.place, node.path, text))


def read_nodes(raw: bytes, told: Told) -> Node | None:
    """The value that the file holds; None where it cannot be read, and the problem is told."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _unreadable(told, Place(raw[: error.start].count(b"\n") + 1, 1), "not text in UTF-8")
    if len(raw) > LARGEST:
        return _unreadable(told, Place(1, 1), f"larger than {LARGEST // 1024} KiB")
    try:
        loader = _Loader(text, told)
        found = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        place = Place(text[: error.position].count("\n") + 1, error.position - text.rfind("\n", 0, error.position))
        return _unreadable(told, place, f"the character U+{error.character:04X} has no place in YAML")
    except yaml.MarkedYAMLError as error:
        return _unreadable(told, _place(error.problem_mark or error.context_mark), _words(error, text))
    if found is None:
        return _unreadable(told, Place(1, 1), "the file is empty")
    return _node(found, told, "")


def _unreadable(told: Told, place: Place, why: str) -> Node | None:
    told.problem(Refused(place), why)
    return None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """The composer of PyYAML, without what makes a small file large: aliases, and depth without end."""

    def __init__(self, text: str, told: Told) -> None:
        super().__init__(text)
        self._told = told
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - PyYAML's
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()
            here = Refused(_place(event.start_mark))
            self._told.problem(here, f"the alias *{event.anchor} is not accepted: write out what it stands for")
            return yaml.ScalarNode(_REFUSED, "", event.start_mark, event.end_mark)
        self._depth += 1
        if self._depth > DEEPEST:
            event = self.peek_event()
            raise yaml.MarkedYAMLError(None, None, f"nested deeper than {DEEPEST} levels", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_REFUSED: Final = "refused"


def _words(error: yaml.MarkedYAMLError, text: str) -> str:
    problem = str(error.problem or "")
    if "\\t" in problem or _tab_at(error.problem_mark, text):
        return "a tab: YAML is indented with spaces"
    if isinstance(error, yaml.composer.ComposerError):
        return "a second document begins here: one file holds one"
    return f"not YAML: {' '.join(filter(None, [error.context, problem]))}"


def _tab_at(mark: Any, text: str) -> bool:  # noqa: ANN401 - PyYAML's
    line = text.splitlines()[mark.line] if mark is not None and mark.line < len(text.splitlines()) else ""
    return "\t" in line[: len(line) - len(line.lstrip())]


def _place(mark: Any) -> Place:  # noqa: ANN401 - PyYAML's
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _node(found: Any, told: Told, path: str) -> Node:  # noqa: ANN401 - PyYAML's
    place = _place(found.start_mark)
    if found.tag == _REFUSED:
        return Refused(place, path)
    if not _OWN_TAGS.fullmatch(found.tag):
        told.problem(Refused(place, path), f"the type {found.tag} is not accepted")
        return Refused(place, path)
    if isinstance(found, yaml.ScalarNode):
        return Scalar(place, path, found.value, _form(found))
    if isinstance(found, yaml.SequenceNode):
        items = enumerate(found.value)
        return Items(place, path, tuple(_node(value, told, f"{path}[{number}]") for number, value in items))
    return Entries(place, path, tuple(_entries(found, told, path)))


def _entries(found: Any, told: Told, path: str) -> Iterator[tuple[Scalar, Node]]:  # noqa: ANN401 - PyYAML's
    seen: dict[str, Place] = {}
    for key_node, value_node in found.value:
        if not isinstance(key_node, yaml.ScalarNode):
            told.problem(Refused(_place(key_node.start_mark), path), "a key is a word, not a list or more keys")
            continue
        below = f"{path}.{key_node.value}" if path else key_node.value
        key = _node(key_node, told, below)
        value = _node(value_node, told, below)
        if not isinstance(key, Scalar):
            continue
        if key.text in seen:
            told.problem(key, f"the key stands twice: first on line {seen[key.text].line}")
        else:
            seen[key.text] = key.place
            yield key, value


def _form(found: Any) -> Form:  # noqa: ANN401 - PyYAML's
    """By its looks where it is plain; in quotes, or in a block, it is text."""
    text = found.value
    if found.style is not None:
        return Form.TEXT
    if text in _NOTHING:
        return Form.NOTHING
    if text in _BOOLEAN:
        return Form.BOOLEAN
    if _INTEGER.fullmatch(text):
        return Form.INTEGER
    if _DECIMAL.fullmatch(text):
        return Form.DECIMAL
    if found.tag != _TEXT_TAG or _NUMBER_OF_1_2.fullmatch(text):
        return Form.AMBIGUOUS
    return Form.TEXT
