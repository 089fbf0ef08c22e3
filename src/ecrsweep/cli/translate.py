"""`ecrsweep policy to-lifecycle`: the nearest AWS lifecycle policy on stdout, what it cannot say on stderr."""

import json
import sys
import textwrap
from typing import Any

from ecrsweep.config import Configuration
from ecrsweep.core.errors import BadInput, NotFound
from ecrsweep.core.lifecycle import parse_lifecycle_policy
from ecrsweep.core.policy import Policy, governing
from ecrsweep.core.translation import IGNORABLE, Translation, translate
from ecrsweep.wiring.exits import Exit


def run_to_lifecycle(flags: dict[str, Any]) -> int:
    """`ecrsweep policy to-lifecycle`. Raises `BadInput` and `NotFound`."""
    policy = _chosen(flags)
    found = translate(policy, flags["ignored"])
    _say(policy, found)
    if not found.rules:
        print(
            f'Error: nothing of "{policy.name}" can be said as a lifecycle policy. Nothing was written.',
            file=sys.stderr,
        )
        return Exit.ERROR
    text = json.dumps(found.document, indent=2)
    parse_lifecycle_policy(text)
    print(text)
    return Exit.DONE


def _chosen(flags: dict[str, Any]) -> Policy:
    configuration: Configuration | None = flags["config"]
    if configuration is None or configuration.policies is None:
        raise BadInput("Which policy? Name a configuration that has policies: --config FILE")
    name, repository = flags["name"], flags["repository"]
    if name is not None and repository is not None:
        raise BadInput("--policy and --repository both choose a policy: give one of them")
    names = ", ".join(policy.name for policy in configuration.policies)
    if repository is not None:
        found = governing(configuration.policies, repository)
        if found is None:
            raise NotFound(f"No policy of {configuration.name} governs {repository}")
        return found
    if name is None and len(configuration.policies) > 1:
        raise BadInput(
            f"A repository has one lifecycle policy: choose with --policy NAME or --repository NAME. There are: {names}"
        )
    chosen = [policy for policy in configuration.policies if name in {None, policy.name}]
    if not chosen:
        raise NotFound(f'{configuration.name} has no policy "{name}". There are: {names}')
    return chosen[0]


def _say(policy: Policy, found: Translation) -> None:
    """What AWS cannot know or do, the gravest first; stdout has the policy alone."""
    print(f"WARNING: {found.lost[0]}.", file=sys.stderr)
    for name, reasons in found.left_alone:
        print(f"\nNo rule for {name}, so AWS leaves them alone:", file=sys.stderr)
        _list(reasons)
    ways = [name for name in IGNORABLE if any(name in reason for _, reasons in found.left_alone for reason in reasons)]
    if ways:
        flags = " ".join(f"--ignore {name}" for name in ways)
        print(f"To give these criteria up, so that AWS takes what they keep: {flags}", file=sys.stderr)
    print(f'\nLost of "{policy.name}":', file=sys.stderr)
    _list(found.lost[1:])


def _list(lines: tuple[str, ...]) -> None:
    for line in lines:
        print(textwrap.fill(line, 100, initial_indent="  - ", subsequent_indent="    "), file=sys.stderr)
