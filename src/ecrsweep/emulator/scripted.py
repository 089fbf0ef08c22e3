"""Services whose answers a test or the demo writes down: real requests, real pages, no rules of their own.

For the systems that are only listed and described. An answer is checked against botocore's model of the service, so
that a script cannot say what the service never would.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ecrsweep.emulator.errors import AwsError, invalid
from ecrsweep.emulator.wire import Wire, wire_of, wire_signed

Answer = Callable[[dict[str, Any]], Mapping[str, Any]]
_Key = tuple[str, str, str, str]

_NOT_IN_MOTO: Final = frozenset(
    {
        ("codebuild", "BatchGetBuildBatches"),
        ("codebuild", "ListBuildBatches"),
        ("stepfunctions", "ListStateMachineVersions"),
    }
)
"""Operations that moto lacks, of services that it has: without a script, there is nothing."""
_READS: Final = ("BatchGet", "Describe", "Get", "List", "Search")
"""How operations begin that read. In a service in which nothing was made they find nothing, and moto, which lacks some
services and takes seconds to load, need not be asked."""
_TOKENS: Final = ("nextToken", "NextToken", "nextPageToken", "Marker")
_LIMITS: Final = ("maxResults", "MaxResults", "Limit", "limit", "pageSize")


class Scripts:
    """The answers by service, operation, account and region."""

    def __init__(self, account: str, region: str) -> None:
        """`account` and `region` are meant where none is given."""
        self._account, self._region = account, region
        self._lock = threading.Lock()
        self._answers: dict[_Key, Answer] = {}
        self._wires: dict[str, list[Wire]] = {}
        self._made: set[str] = set()

    def answer(
        self,
        service: str,
        operation: str,
        answer: Answer | Mapping[str, Any],
        *,
        account: str | None = None,
        region: str | None = None,
    ) -> None:
        """Let an operation (`ListServices`) answer this, or what a function makes of its parameters."""  # fmt: skip
        wire = wire_of(service)
        if operation not in wire.model.operation_names:
            raise ValueError(f"{service} has no operation {operation}")
        fixed = answer if callable(answer) else lambda _, told=answer: told
        with self._lock:
            self._answers[service, operation, account or self._account, region or self._region] = fixed
            wires = self._wires.setdefault(wire.signing_name, [])
            if wire not in wires:
                wires.append(wire)

    def listed(
        self, service: str, operation: str, key: str, items: Sequence[Any], *, page: int, **where: str | None
    ) -> None:
        """Let a list operation answer these items under `key`, at most `page` at a time, with the tokens of the service."""

        def pages(asked: dict[str, Any]) -> dict[str, Any]:
            token = next((asked[name] for name in _TOKENS if asked.get(name)), "0")
            if not str(token).isdigit():
                raise invalid("The token is not valid.")
            size = min([page, *(int(asked[name]) for name in _LIMITS if asked.get(name))])
            start = int(token)
            told: dict[str, Any] = {key: list(items[start : start + size])}
            if start + size < len(items):
                told[_token_of(service, operation)] = str(start + size)
            return told

        self.answer(service, operation, pages, **where)

    def described(
        self,
        service: str,
        operation: str,
        member: str,
        items: Mapping[str, Mapping[str, Any]],
        missing: str,
        **where: str | None,
    ) -> None:
        """Let a describe operation answer the item whose name or ARN is in `member`, else the error code `missing`."""

        def find(asked: dict[str, Any]) -> Mapping[str, Any]:
            found = items.get(str(asked.get(member)))
            if found is None:
                raise AwsError(missing, f"{asked.get(member)} does not exist", 404)
            return found

        self.answer(service, operation, find, **where)

    def wires(self, signing_name: str) -> list[Wire]:
        """How the services are spoken to that sign by this name: those with scripts, and the one that is called so."""
        called = wire_signed(signing_name)
        return list(dict.fromkeys([*self._wires.get(signing_name, ()), *([called] if called else ())]))

    def tells(self, wire: Wire, operation: str) -> bool:
        """Whether an operation is answered here: by a script, or because nothing was made in its service. Else moto answers."""
        if (wire.service, operation) in _NOT_IN_MOTO or any(
            key[:2] == (wire.service, operation) for key in self._answers
        ):
            return True
        return wire.service not in self._made and operation.startswith(_READS)

    def leave_to_moto(self, service: str) -> None:
        """From now on moto answers what no script does: something is being made in this service there."""
        self._made.add(service)

    def told(self, wire: Wire, operation: str, account: str, region: str, asked: dict[str, Any]) -> Mapping[str, Any]:
        """What the script says; an empty answer in an account or region for which nothing is written down.

        Raises `AwsError` where the script does, and `ValueError` for an answer that the service would never give.
        """
        answer = self._answers.get((wire.service, operation, account, region))
        if answer is None:
            return _empty(wire, operation)
        told = answer(asked)
        _check(wire, operation, told)
        return told


def _token_of(service: str, operation: str) -> str:
    shape = wire_of(service).model.operation_model(operation).output_shape
    members = shape.members if shape else {}
    for name in ("NextMarker", *_TOKENS):
        if name in members:
            return name
    raise ValueError(f"{service} {operation} has no pages")


def _empty(wire: Wire, operation: str) -> dict[str, Any]:
    """An answer with every list in it, and nothing in the lists. Raises `AwsError` for what describes one thing."""
    if wire.service == "organizations":
        # There is no empty organisation: the account that made it is its first member.
        raise AwsError("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
    shape = wire.model.operation_model(operation).output_shape
    members = shape.members if shape else {}
    lists: dict[str, Any] = {name: [] for name, member in members.items() if member.type_name == "list"}
    if not lists:
        raise AwsError("ResourceNotFoundException", "There is no such resource here.", 404)
    return lists


def _check(wire: Wire, operation: str, told: Mapping[str, Any]) -> None:
    """Refuse what the service's model does not have, and the lack of what it always has."""
    from botocore.validate import ParamValidator  # noqa: PLC0415 - only tests and the demo want it

    shape: Any = wire.model.operation_model(operation).output_shape
    # CodeBuild's model has lists of at least one, and the service answers empty ones: github.com/aws/aws-sdk/issues/343
    filled = {name: value for name, value in told.items() if value != [] or name in shape.required_members}
    report = ParamValidator().validate(filled, shape)
    if report.has_errors():
        raise ValueError(f"{wire.service} {operation} would never answer that: {report.generate_report()}")
