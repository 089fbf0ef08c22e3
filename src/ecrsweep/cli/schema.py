"""`ecrsweep schema`: the JSON Schema of what users and programs write and read."""

import json

from ecrsweep.config.schema import schema_of
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.given import source_names


def run_schema(what: str) -> int:
    """`ecrsweep schema WHAT`."""
    print(json.dumps(schema_of(what, source_names()), indent=2))
    return Exit.DONE
