"""From an HTTP request to an operation and its parameters, and back, for any service that speaks JSON.

It reads botocore's service models, so that a scripted service is asked and answers as the real one:
awsJson by its target header, restJson by method and path.
https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

_JSON_PROTOCOLS: Final = frozenset({"json", "rest-json"})


@dataclass(frozen=True)
class _Route:
    operation: str
    method: str
    path: re.Pattern[str]
    query: Mapping[str, str]
    labels: Mapping[str, str]


class Wire:
    """How one service is spoken to."""

    def __init__(self, service: str) -> None:
        """`service` is botocore's name. Raises `ValueError` for one that does not speak JSON."""
        import botocore.session  # noqa: PLC0415 - only tests and the demo want one

        self.service = service
        self.model = botocore.session.get_session().get_service_model(service)
        self.signing_name: str = self.model.signing_name
        protocols = {self.model.protocol, *self.model.metadata.get("protocols", ())}
        if not protocols & _JSON_PROTOCOLS:
            raise ValueError(f"{service} speaks {', '.join(sorted(protocols))}, not JSON")
        self._rest = "rest-json" in protocols
        self._routes = [self._route(name) for name in self.model.operation_names] if self._rest else []
        # The most specific path first: /a/b before /a/{name}.
        self._routes.sort(key=lambda route: (len(route.labels), -len(route.path.pattern)))

    def operation_of(self, method: str, address: str, target: str) -> str | None:
        """The operation that a request means; None where it means none of this service."""
        if not self._rest:
            prefix, _, name = target.rpartition(".")  # the prefix itself may have dots
            return name if prefix == self.model.metadata.get("targetPrefix") else None
        found = self._matched(method, address)
        return None if found is None else found[0].operation

    def lists_everything(self, operation: str) -> bool:
        """Whether an operation lists things of a kind without being told which: of what nobody built, there are none."""
        model = self.model.operation_model(operation)
        asks = model.input_shape.required_members if model.input_shape else ()
        tells = model.output_shape.members if model.output_shape else {}
        is_reading = operation.startswith(("List", "Describe"))
        return is_reading and not asks and any(member.type_name == "list" for member in tells.values())

    def parameters(self, method: str, address: str, body: bytes) -> dict[str, Any]:
        """The parameters of a request under their names in the API."""
        sent: dict[str, Any] = json.loads(body) if body.strip() else {}
        found = self._matched(method, address) if self._rest else None
        if found is None:
            return sent
        route, match = found
        named = {member: unquote(match[group]) for group, member in route.labels.items()}
        return sent | named | self._query(route.operation, address)

    def _query(self, operation: str, address: str) -> dict[str, Any]:
        asked = parse_qsl(urlsplit(address).query, keep_blank_values=True)
        shape = self.model.operation_model(operation).input_shape
        found: dict[str, Any] = {}
        for member, kind in (shape.members if shape else {}).items():
            if kind.serialization.get("location") != "querystring":
                continue
            values = [value for name, value in asked if name == kind.serialization.get("name", member)]
            if values:
                found[member] = values if kind.type_name == "list" else _typed(values[0], kind.type_name)
        return found

    def _matched(self, method: str, address: str) -> tuple[_Route, re.Match[str]] | None:
        parts = urlsplit(address)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        for route in self._routes:
            match = route.path.fullmatch(parts.path)
            if match and route.method == method and route.query.items() <= query.items():
                return route, match
        return None

    def _route(self, operation: str) -> _Route:
        model = self.model.operation_model(operation)
        path, _, query = model.http["requestUri"].partition("?")
        members = model.input_shape.members if model.input_shape else {}
        by_location = {
            shape.serialization.get("name", member): member
            for member, shape in members.items()
            if shape.serialization.get("location") == "uri"
        }
        labels: dict[str, str] = {}
        pattern = ""
        for part in re.split(r"(\{[^}]+\})", path):
            if part.startswith("{"):
                name = part.strip("{}")
                group = f"label{len(labels)}"
                labels[group] = by_location.get(name.rstrip("+"), name.rstrip("+"))
                pattern += f"(?P<{group}>{'.+' if name.endswith('+') else '[^/]+'})"
            else:
                pattern += re.escape(part)
        return _Route(
            operation, model.http["method"], re.compile(pattern), dict(parse_qsl(query, keep_blank_values=True)), labels
        )


_SERVICES: Final[Mapping[str, str]] = {"states": "stepfunctions"}
"""botocore's name of a service where it signs by another."""


@lru_cache
def wire_signed(signing_name: str) -> Wire | None:
    """The wire of the service that signs by this name; None where it does not speak JSON, or is not known."""
    from botocore.exceptions import UnknownServiceError  # noqa: PLC0415 - only tests and the demo want it

    try:
        return wire_of(_SERVICES.get(signing_name, signing_name))
    except (UnknownServiceError, ValueError):
        return None


@lru_cache
def wire_of(service: str) -> Wire:
    """The wire of a service, made once."""
    return Wire(service)


def _typed(text: str, kind: str) -> Any:
    match kind:
        case "integer" | "long":
            return int(text)
        case "boolean":
            return text == "true"
        case _:
            return text
