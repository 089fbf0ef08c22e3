"""The `aws` of a document's commands: each word is looked up in botocore's service models, and the call is really made.

The AWS CLI makes its flags of these models, so a flag, a member or an operation that does not exist fails here as it does
there. What the CLI adds by hand is refused, but for the few things in `_COPIED`, `lambda invoke`, and output to a file.
"""

import contextlib
import json
import re
import shlex
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import jmespath
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from ecrsweep.emulator import Emulator

_SERVICES: Final = {"s3api": "s3"}
_GLOBAL: Final = {
    "query": 1,
    "output": 1,
    "region": 1,
    "cli-binary-format": 1,
    "cli-read-timeout": 1,
    "no-cli-pager": 0,
}
_COPIED: Final = {("lambda", "create-function", "zip-file"): ("Code", "ZipFile")}
"""Flags that the CLI has apart from the model: where their value goes."""
_RENAMED: Final = {("sns", "subscribe", "notification-endpoint"): "endpoint"}
"""Flags that the CLI calls otherwise, because `--endpoint` and the like are taken."""
_TO_A_FILE: Final = {("lambda", "invoke"): "Payload", ("s3", "get-object"): "Body"}
_SHIM: Final = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    server.sendall(json.dumps([os.getcwd(), sys.argv[1:]]).encode() + b"\\n")
    answer = json.loads(server.makefile("rb").read())
sys.stdout.write(answer[1])
sys.stderr.write(answer[2])
sys.exit(answer[0])
"""

Invoke = Callable[[Mapping[str, Any]], bytes]


class Wrong(Exception):
    """A command that the AWS CLI would refuse."""


class AwsCommand:
    """Answers `aws` for as long as it is open. A context manager."""

    def __init__(self, aws: Emulator, folder: Path, python: str, invoke: Invoke) -> None:
        """Put an `aws` into `folder`. `invoke` answers `lambda invoke`, because there is no Lambda behind this AWS."""
        self._aws = aws
        self._invoke = invoke
        self.commands: list[str] = []
        address = str(folder / "aws.socket")
        shim = folder / "aws"
        shim.write_text(_SHIM.format(python=python, address=address))
        shim.chmod(0o755)
        self._server = _server(address, self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, folder: Path, words: Sequence[str]) -> tuple[int, str, str]:
        """Exit status, output and errors of one command."""
        self.commands.append(shlex.join(words))
        try:
            return 0, self._run(folder, list(words)), ""
        except (Wrong, BotoCoreError, ClientError, OSError, json.JSONDecodeError) as error:
            return 255, "", f"aws {shlex.join(words)}\n{error}\n"

    def _run(self, folder: Path, words: list[str]) -> str:
        if len(words) < 2:
            raise Wrong("a service and an operation are missing")
        name, operation, *rest = words
        service = _SERVICES.get(name, name)
        with contextlib.suppress(ValueError):
            region = rest[rest.index("--region") + 1]
            return self._called(folder, self._aws.client(service, region), service, operation, rest)
        return self._called(folder, self._aws.client(service), service, operation, rest)

    def _called(self, folder: Path, client: Any, service: str, operation: str, rest: list[str]) -> str:
        if operation == "wait":
            name, *rest = rest
            waiter = client.get_waiter(_named(client.waiter_names, name))
            api_name = waiter.config.operation
            parameters, _, _ = parsed(client, service, xform_name(api_name, "-"), rest, folder)
            waiter.wait(**parameters)
            return ""
        method = _named(client.meta.method_to_api_mapping, operation)
        parameters, said, files = parsed(client, service, operation, rest, folder)
        if (service, operation) == ("lambda", "invoke"):
            answer: dict[str, Any] = {"StatusCode": 200, "Payload": self._invoke(_checked(client, parameters))}
        else:
            answer = getattr(client, method)(**parameters)
        answer.pop("ResponseMetadata", None)
        member = _TO_A_FILE.get((service, operation))
        if member is not None:
            if len(files) != 1:
                raise Wrong(f"{operation} takes one file for its output")
            content = answer.pop(member)
            (folder / files[0]).write_bytes(content if isinstance(content, bytes) else content.read())
        elif files:
            raise Wrong(f"unknown words: {' '.join(files)}")
        return _shown(answer, said)


def _checked(client: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the service would check: the members, and that there is such a function."""
    client.get_function(FunctionName=parameters["FunctionName"])
    return parameters


def _named(names: Any, word: str) -> str:
    found = {name.replace("_", "-"): name for name in names}
    if word not in found:
        raise Wrong(f"there is no {word}: there are {', '.join(sorted(found))}")
    return str(found[word])


def parsed(
    client: Any, service: str, operation: str, words: Sequence[str], folder: Path
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Parameters of the call, as the service model has them, global flags, and words that belong to no flag."""
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation.replace("-", "_")])
    members = model.input_shape.members if model.input_shape else {}
    flags = {xform_name(name, "-"): name for name in members}
    taken = {name for (where, what, _), name in _RENAMED.items() if (where, what) == (service, operation)}
    parameters: dict[str, Any] = {}
    said: dict[str, str] = {}
    alone: list[str] = []
    for written, values in _flags(words):
        flag = _RENAMED.get((service, operation, written), written)
        if written in taken:
            raise Wrong(f"{operation} calls --{written} otherwise")
        if not flag:
            alone += values
        elif flag in _GLOBAL:
            said[flag] = values[0] if values else ""
            alone += values[_GLOBAL[flag] :]
        elif (service, operation, flag) in _COPIED:
            structure, member = _COPIED[service, operation, flag]
            parameters.setdefault(structure, {})[member] = _blob(values[0], folder)
            alone += values[1:]
        elif flag.removeprefix("no-") in flags and members[flags[flag.removeprefix("no-")]].type_name == "boolean":
            parameters[flags[flag.removeprefix("no-")]] = not flag.startswith("no-")
            alone += values
        elif flag in flags:
            shape = members[flags[flag]]
            used = len(values) if shape.type_name in {"list", "map", "structure"} else 1
            parameters[flags[flag]] = _value(shape, values[:used], folder)
            alone += values[used:]
        else:
            raise Wrong(f"{operation} has no --{flag}: it has {', '.join('--' + name for name in sorted(flags))}")
    return parameters, said, alone


def _flags(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each flag with the words up to the next one; "" for words before the first."""
    flag = ""
    values: list[str] = []
    for word in words:
        if word.startswith("--"):
            yield flag, values
            flag, values = word[2:], []
        else:
            values.append(word)
    yield flag, values


def _value(shape: Any, words: Sequence[str], folder: Path) -> Any:
    if not words:
        raise Wrong(f"a value is missing for {shape.name}")
    first = words[0]
    if shape.type_name == "blob":
        return _blob(first, folder)
    if first.startswith("file://"):
        first = (folder / first.removeprefix("file://")).read_text()
        words = [first, *words[1:]]
    match shape.type_name:
        case "list" if first.lstrip().startswith("["):
            return json.loads(first)
        case "list":
            return [_value(shape.member, [word], folder) for word in words]
        case "structure" | "map":
            return json.loads(first) if first.lstrip().startswith("{") else _shorthand(shape, " ".join(words))
    return _scalar(shape, first)


def _blob(word: str, folder: Path) -> bytes:
    if word.startswith("fileb://"):
        return (folder / word.removeprefix("fileb://")).read_bytes()
    return word.encode()  # as with --cli-binary-format raw-in-base64-out


def _scalar(shape: Any, text: str) -> Any:
    match shape.type_name:
        case "integer" | "long":
            return int(text)
        case "float" | "double":
            return float(text)
        case "boolean":
            return {"true": True, "false": False}[text.lower()]
    return text


def _shorthand(shape: Any, text: str) -> Any:
    """`Name=value,Other={Inner=value}`: https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-shorthand.html."""
    found: dict[str, Any] = {}
    name = ""
    for part in _parts(text):
        before, equals, value = part.partition("=")
        if not equals and isinstance(found.get(name), list):
            found[name].append(part)
            continue
        name = before
        if not equals:
            raise Wrong(f'"{text}" is no shorthand: accepted is Name=value,Name=value')
        if shape.type_name == "structure" and name not in shape.members:
            raise Wrong(f"{shape.name} has no {name}: it has {', '.join(shape.members)}")
        inner = shape.value if shape.type_name == "map" else shape.members[name]
        if inner.type_name in {"structure", "map"}:
            found[name] = _shorthand(inner, re.sub(r"^\{(.*)\}$", r"\1", value))
        elif inner.type_name == "list":
            found[name] = [_scalar(inner.member, value)]
        else:
            found[name] = _scalar(inner, value)
    return found


def _parts(text: str) -> Iterator[str]:
    """Split at the commas that no brace encloses."""
    depth, begin = 0, 0
    for position, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and not depth:
            yield text[begin:position]
            begin = position + 1
    yield text[begin:]


def _shown(answer: Any, said: Mapping[str, str]) -> str:
    found = jmespath.search(said["query"], answer) if "query" in said else answer
    if said.get("output") == "text":
        return f"{found if not isinstance(found, list) else chr(9).join(map(str, found))}\n"
    return json.dumps(found, indent=4, default=str) + "\n" if found else ""


def _server(address: str, command: AwsCommand) -> socketserver.ThreadingUnixStreamServer:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            folder, words = json.loads(self.rfile.readline())
            self.wfile.write(json.dumps(command.answer(Path(folder), words)).encode())

    return socketserver.ThreadingUnixStreamServer(address, Handler)
