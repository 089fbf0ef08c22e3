"""Which permissions a run lacked, as the policy statement that grants them."""

import json
from collections.abc import Iterable, Sequence
from typing import Final

from ecrsweep.app import REGIONS_SOURCE, REGISTRY_SOURCE
from ecrsweep.aws.ecr import DELETE_ACTIONS, READ_ACTIONS
from ecrsweep.core.outcomes import ApplyResult
from ecrsweep.core.uses import Coverage
from ecrsweep.ports import Source

_DENIED: Final = "was denied"
REGIONS_ACTION: Final = "ec2:DescribeRegions"


def lacking(
    coverage: Iterable[Coverage], sources: Sequence[Source], allowed: frozenset[str], result: ApplyResult | None = None
) -> list[str]:
    """The IAM actions that the denied parts of a run need and that no call of this run has shown to be granted."""
    by_name = {source.name: source.actions for source in sources} | {
        REGISTRY_SOURCE: READ_ACTIONS,
        REGIONS_SOURCE: (REGIONS_ACTION,),
    }
    needed: set[str] = set()
    for entry in coverage:
        if entry.is_gap and entry.action and _DENIED in (entry.error or ""):
            needed |= {*by_name.get(entry.source, ()), entry.action}
    if result is not None and any(entry.code == "Denied" for entry in result.results):
        needed |= set(DELETE_ACTIONS)
    return sorted(needed - allowed)


def statement(actions: Sequence[str]) -> str:
    """The policy statement that grants these actions."""
    return json.dumps({"Effect": "Allow", "Action": list(actions), "Resource": "*"}, indent=2)
