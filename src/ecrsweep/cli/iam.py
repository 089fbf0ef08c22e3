"""`ecrsweep iam-policy`: from flags to what an identity shall be able to do, and the policy document on stdout."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

from ecrsweep.aws.bucket import check_name
from ecrsweep.aws.partitions import known_regions, partition_of_all, suggestion, unfamiliar
from ecrsweep.core.errors import BadInput
from ecrsweep.sources import chosen_sources
from ecrsweep.wiring.accounts import ALL_REGIONS
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.policies import MANAGED_POLICY_LIMIT, Wanted, policy_document
from ecrsweep.wiring.prepare import check_skipped

_ANY: Final = "*"
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
    sources = chosen_sources(flags["with_sources"], ())
    regions, consumers = _regions(flags["regions"]), _regions(flags["consumer_regions"])
    return Wanted(
        purpose=flags["purpose"],
        sources=tuple(source for source in sources if source.name not in flags["skip_sources"]),
        regions=regions,
        consumer_regions=consumers,
        repositories=flags["repositories"] or (_ANY,),
        account=_account(flags["account"]),
        partition=_partition(flags["partition"], (*(regions or ()), *(consumers or ()))),
        bucket=None if flags["bucket"] is None else check_name(flags["bucket"]),
    )


def _regions(named: Sequence[str]) -> tuple[str, ...] | None:
    return None if not named or ALL_REGIONS in named else tuple(sorted(set(named)))


def _account(named: str | None) -> str:
    if named is not None and not re.fullmatch(r"[0-9]{12}", named):
        raise BadInput(f'--account "{named}": an account has 12 digits')
    return named or _ANY


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
