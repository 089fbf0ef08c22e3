"""JSON Schemas: of the configuration and of hold files, made of the tables that read them, and of the formats of plan and uses.

https://json-schema.org/draft/2020-12/schema. Editors take the first by the comment `# yaml-language-server: $schema=FILE`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ecrsweep.config.file import document
from ecrsweep.config.holds import HOLDS
from ecrsweep.core.document import PLAN_FORMAT, PlannedImage, Scope
from ecrsweep.core.plan import Summary
from ecrsweep.core.policy import DURATIONS, Policy
from ecrsweep.core.uses import Coverage, CoverageStatus, Use
from ecrsweep.core.uses_file import USES_FORMAT

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_MOMENT: Final = {"type": "string", "format": "date-time"}


def schema_of(what: str, sources: Sequence[str]) -> dict[str, Any]:
    """The schema of `config`, `holds`, `plan` or `uses`. `sources` are the names of all there are."""
    made = {"config": lambda: _configuration(sources), "holds": HOLDS.schema, "plan": _plan, "uses": _uses}
    return {"$schema": DRAFT, "title": f"ecrsweep {what}"} | made[what]()


SCHEMAS: Final = ("config", "holds", "plan", "uses")


def _configuration(sources: Sequence[str]) -> dict[str, Any]:
    found = document(sources).schema()
    names = found["properties"]["sources"]["properties"]
    names["with"]["items"] = names["options"]["propertyNames"] = {"enum": list(sources)}
    # One of several files or commands may be named besides a source: `file:hosts.txt`.
    names["skip"]["items"] = {"type": "string", "pattern": f"^({'|'.join(map(re.escape, sources))})(:.+)?$"}
    return found | {"minProperties": 1}


def _plan() -> dict[str, Any]:
    """The document of `plan --output json`; readers ignore what they do not know, so members may come."""
    schemas, parts = msgspec.json.schema_components(
        (Scope, PlannedImage, Summary, Policy, Coverage), ref_template="#/$defs/{name}"
    )
    scope, image, summary, policy, _ = schemas
    parts = {name: _open(part) for name, part in parts.items()}
    durations = {name: {"type": ["string", "null"]} for name in DURATIONS}
    parts["Policy"]["properties"] |= durations
    del parts["Code"]  # a later version may know more
    parts["Reason"] = _object({"code": {"type": "string"}, "detail": {"type": "string"}}, ("code", "detail"))
    parts["Coverage"] = _coverage()
    unresolved = _object({name: {"type": "string"} for name in ("reference", "workload", "source")})
    verdict = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Reason"}]}
    members = {
        "format": {"const": PLAN_FORMAT},
        "created_at": _MOMENT,
        "expires_at": _MOMENT,
        "tool_version": {"type": "string"},
        "policy": {"type": "array", "items": policy},
        "scope": scope,
        "coverage": {"type": "array", "items": {"$ref": "#/$defs/Coverage"}},
        "unresolved": {"type": "array", "items": unresolved},
        "decisions": {"type": "array", "items": image},
        "summary": summary,
        "verdict": verdict,
        "foreign_uses": {"type": "integer"},
        "indexes_last_read_by_ourselves": {"type": "integer"},
    }
    where = {name: {"type": "string"} for name in ("account", "region", "code", "detail")}
    optional = {"held_registries": {"type": "array", "items": _object(where)}}
    return _object(members | optional, tuple(members)) | {"$defs": parts}


def _uses() -> dict[str, Any]:
    """A uses file, or a bare array of image names."""
    _, parts = msgspec.json.schema_components((Use, Coverage), ref_template="#/$defs/{name}")
    parts = {name: _open(part) for name, part in parts.items()}
    members = {
        "format": {"const": USES_FORMAT},
        "account": {"type": "string"},
        "created_at": _MOMENT,
        "uses": {"type": "array", "items": {"$ref": "#/$defs/Use"}},
        "coverage": {"type": "array", "items": {"$ref": "#/$defs/Coverage"}},
        "foreign_uses": {"type": "integer"},
    }
    names = {"type": "array", "items": {"type": "string"}}
    return {"anyOf": [names, _object(members, ("format", "uses"))], "$defs": parts}


def _coverage() -> dict[str, Any]:
    """As it stands in a plan, where what says nothing is left out."""
    members: dict[str, Any] = {name: {"type": "string"} for name in ("account", "region", "source")}
    members |= {"status": {"enum": [status.value for status in CoverageStatus]}, "uses": {"type": "integer"}}
    members |= {"error": {"type": ["string", "null"]}, "accepted": {"type": "boolean"}, "drop": {"type": "string"}}
    members["notes"] = {"type": "array", "items": {"type": "string"}}
    return _object(members, ("account", "region", "source", "status", "uses", "error"))


def _object(members: Mapping[str, Any], required: Sequence[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": dict(members), "required": list(members if required is None else required)}


def _open(part: Mapping[str, Any]) -> dict[str, Any]:
    """A struct's schema without what it refuses to read: programs of later versions may add members."""
    return {name: value for name, value in part.items() if name != "additionalProperties"}
