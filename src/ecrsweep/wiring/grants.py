"""Which permissions a run lacked, as the policy statement that grants them.

It knows the run by its coverage and results; which actions there are, it has from `policies` and the sources.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final

from ecrsweep.app import OWNERS_SOURCE, REGIONS_SOURCE, REGISTRY_SOURCE
from ecrsweep.aws.ecr import DELETE_ACTIONS, OWNERS_ACTIONS, READ_ACTIONS, SHARING_ACTIONS
from ecrsweep.aws.roles import ASSUME_ACTIONS
from ecrsweep.core.outcomes import ApplyResult
from ecrsweep.core.sharing import CONSUMERS_SOURCE
from ecrsweep.core.uses import Coverage
from ecrsweep.ports import Source
from ecrsweep.wiring.policies import REGIONS_ACTIONS, Purpose

_DENIED: Final = "was denied"
_FROM_ABOVE: Final = "control policy"
"""A service or resource control policy of the organisation: no policy of an identity changes what that refuses."""


def lacking(
    coverage: Iterable[Coverage], sources: Sequence[Source], allowed: frozenset[str], result: ApplyResult | None = None
) -> list[str]:
    """The IAM actions that were denied, and those that the same parts of a run need and no call has shown to be granted.

    What was denied is lacking even where it was granted for another region or repository.
    """
    by_name = {source.name: source.actions for source in sources} | {
        REGISTRY_SOURCE: READ_ACTIONS,
        OWNERS_SOURCE: OWNERS_ACTIONS,
        REGIONS_SOURCE: REGIONS_ACTIONS,
        CONSUMERS_SOURCE: SHARING_ACTIONS,
    }
    denied: set[str] = set()
    needed: set[str] = set()
    for entry in coverage:
        error = entry.error or ""
        # An account that lets nobody in says so itself: none of our permissions would change it.
        if not entry.is_gap or entry.action in ASSUME_ACTIONS or _FROM_ABOVE in error:
            continue
        if entry.action and _DENIED in error:
            needed |= set(by_name.get(entry.source, ()))
            denied.add(entry.action)
    if result is not None and any(entry.code == "Denied" for entry in result.results):
        denied |= set(DELETE_ACTIONS)
    return sorted(denied | (needed - allowed))


def statement(actions: Sequence[str]) -> str:
    """The policy statement that grants these actions."""
    return json.dumps({"Effect": "Allow", "Action": list(actions), "Resource": "*"}, indent=2)


def advice(actions: Sequence[str], purpose: Purpose | None = None) -> str:
    """What to tell whoever lacks these actions: the statement, and where to get all of the policy, for this purpose or what they show."""
    purpose = purpose or ("apply" if set(actions) & set(DELETE_ACTIONS) else "plan")
    return (
        f"The policy of this identity lacks this statement:\n{statement(actions)}\n"
        f"The whole policy, limited to what a run needs: ecrsweep iam-policy --for {purpose}"
    )
