"""`ecrsweep iam-policy`: from flags to what an identity shall be able to do, and the policy document on stdout."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

from ecrsweep.aws.bucket import check_name
from ecrsweep.aws.partitions import known_regions, partition_of_all, suggestion, unfamiliar
from ecrsweep.config import Configuration, Listed, check_account_number, check_role
from ecrsweep.core.errors import BadInput
from ecrsweep.sources import chosen_sources
from ecrsweep.wiring.accounts import ALL_REGIONS
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.policies import (
    BY_PROXY,
    MANAGED_POLICY_LIMIT,
    OF_MEMBERS,
    ROLE,
    MemberRole,
    Wanted,
    policy_document,
)
from ecrsweep.wiring.prepare import check_skipped

_ANY: Final = "*"
_ROLE_ARN: Final = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):role/(.+)")
_PARTITION: Final = re.compile(r"aws(-[a-z0-9]+)*")


def run_iam_policy(flags: dict[str, Any]) -> int:
    """Print the least policy for these flags; what may be wrong with it is told on stderr."""
    wanted = _wanted(flags)
    document = policy_document(wanted)
    print(json.dumps(document, indent=2))
    for warning in (*_about_regions(wanted), *_about_size(document)):
        print(f"Warning: {warning}", file=sys.stderr)
    return Exit.DONE


def _wanted(flags: dict[str, Any]) -> Wanted:
    """Raises `BadInput`."""
    check_skipped(flags["skip_sources"])
    purpose, configuration = flags["purpose"], flags["config"]
    if flags["role_name"] is not None and purpose not in BY_PROXY:
        raise BadInput("--role-name goes with --for caller: it names the role that is assumed")
    sources = chosen_sources(flags["with_sources"], ())
    regions, consumers = _regions(flags["regions"]), _regions(flags["consumer_regions"])
    accounts = tuple(check_account_number(account) for account in flags["accounts"])
    listed = [*(Listed(account) for account in accounts), *_listed(configuration)]
    return Wanted(
        purpose=purpose,
        sources=tuple(source for source in sources if source.name not in flags["skip_sources"]),
        regions=regions,
        consumer_regions=consumers,
        repositories=flags["repositories"] or (_ANY,),
        account=_ANY if purpose in BY_PROXY else _account(accounts, configuration),
        partition=_partition(flags["partition"], (*(regions or ()), *(consumers or ()))),
        bucket=_bucket(flags["bucket"], purpose),
        roles=_roles(listed, flags["role_name"]),
        discovers=not listed or any(entry.organization is not None for entry in listed),
    )


def _regions(named: Sequence[str]) -> tuple[str, ...] | None:
    return None if not named or ALL_REGIONS in named else tuple(sorted(set(named)))


def _account(named: Sequence[str], configuration: Configuration | None) -> str:
    """The one whose identity gets the policy: the one named, that of the configuration, or any."""
    if len(named) > 1:
        raise BadInput(
            "--account: an identity is of one account. Several are for --for caller, which assumes their roles"
        )
    said = {} if configuration is None else configuration.settings
    return named[0] if named else said.get("account") or _ANY


def _listed(configuration: Configuration | None) -> list[Listed]:
    said = {} if configuration is None else configuration.settings
    return [*(said.get("registries") or ()), *(said.get("consumers") or ())]


def _roles(listed: Sequence[Listed], named: str | None) -> tuple[MemberRole, ...]:
    """The roles of the accounts listed, of any account where none is; a profile takes none. Raises `BadInput`."""
    default = ROLE if named is None else check_role(named)
    roles = [(entry.account or _ANY, entry.role or default) for entry in listed if entry.profile is None]
    if not listed:
        roles = [(_ANY, default)]
    return tuple(sorted({_by_arn(role) or MemberRole(account, role) for account, role in roles}))


def _by_arn(role: str) -> MemberRole | None:
    found = _ROLE_ARN.fullmatch(role)
    return None if found is None else MemberRole(found[1], found[2])


def _bucket(named: str | None, purpose: str) -> str | None:
    if named is not None and purpose in OF_MEMBERS:
        raise BadInput(f"--bucket does not go with --for {purpose}: the caller keeps its plans there, so --for caller")
    return None if named is None else check_name(named)


def _partition(named: str | None, regions: Sequence[str]) -> str:
    if named is not None and not _PARTITION.fullmatch(named):
        raise BadInput(f'--partition "{named}": accepted are names such as aws, aws-cn and aws-us-gov')
    if not regions:
        return named or _ANY
    found = partition_of_all(regions)
    if named is not None and named != found:
        raise BadInput(f"--partition {named}: the regions {', '.join(regions)} are in {found}")
    return found


def _about_regions(wanted: Wanted) -> list[str]:
    """A region misspelt would go unnoticed until the policy is used."""
    return [
        f"this version does not know the region {region}. {suggestion(region, known_regions(wanted.partition))}"
        for region in unfamiliar((*(wanted.regions or ()), *(wanted.consumer_regions or ())))
    ]


def _about_size(document: dict[str, Any]) -> list[str]:
    size = len(json.dumps(document, separators=(",", ":")))
    if size <= MANAGED_POLICY_LIMIT:
        return []
    told = f"the policy has {size:,} characters without white space, and a managed policy may have {MANAGED_POLICY_LIMIT:,}"
    return [f"{told}. Name fewer regions or patterns, or give its statements to several policies."]
