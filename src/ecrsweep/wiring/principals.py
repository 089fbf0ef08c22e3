"""What IAM and ECR know of an identity: who is behind the ARN of its session, what it may do, whether its reads move pull times.

Nobody needs this to plan or apply (docs/iam.md): where it may not be asked, that is what is told. Whether deleting is allowed
cannot be tried without deleting; IAM is asked to simulate that.
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

import re
from collections.abc import Sequence
from typing import Final

from ecrsweep.aws.session import AwsPlace
from ecrsweep.core.diagnosis import Exclusion
from ecrsweep.core.errors import AwsFailure

_ASSUMED: Final = re.compile(r"arn:(?P<partition>[a-z-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+")
_USER: Final = re.compile(r"arn:[a-z-]+:iam::\d{12}:user/.+")


def principal_of(arn: str, place: AwsPlace) -> tuple[str, str | None]:
    """Who IAM knows behind an ARN of the token service, and why that is not certain.

    It is the user, or the role with its path (GetRole), else as far as that is known; "" for others.
    """
    assumed = _ASSUMED.fullmatch(arn)
    if assumed is None:
        return (arn if _USER.fullmatch(arn) else ""), None
    try:
        answer = place.call("iam", "get_role", RoleName=assumed["role"])
        return str(answer["Role"]["Arn"]), None
    except (AwsFailure, KeyError) as failure:
        return f"arn:{assumed['partition']}:iam::{assumed['account']}:role/{assumed['role']}", str(failure)


def simulated(place: AwsPlace, principal: str, actions: Sequence[str], resource: str) -> dict[str, str]:
    """What IAM says of actions of a principal on a resource, by action. Raises `AwsFailure`, and `KeyError` for an odd answer."""
    results = place.pages(
        "iam", "simulate_principal_policy", "EvaluationResults",
        PolicySourceArn=principal, ActionNames=list(actions), ResourceArns=[resource],
    )  # fmt: skip
    return {result["EvalActionName"]: result["EvalDecision"] for result in results}


def exclusion(place: AwsPlace, principal: str) -> Exclusion:
    """Whether the principal is registered (ListPullTimeUpdateExclusions). A role counts by its name where its path is not known."""
    try:
        held = set(place.pages("ecr", "list_pull_time_update_exclusions", "pullTimeUpdateExclusions"))
    except AwsFailure as failure:
        return Exclusion(place.account, principal, place.region, None, str(failure))
    if not principal:
        return Exclusion(place.account, principal, place.region, None, "only roles and users can be registered")
    kind, _, name = principal.rpartition(":")[2].partition("/")
    role = name.rpartition("/")[2]
    registered = any(_is(excluded, principal, kind, role) for excluded in held)
    return Exclusion(place.account, principal, place.region, registered)


def _is(excluded: str, principal: str, kind: str, name: str) -> bool:
    same_account = excluded.rpartition(":")[0] == principal.rpartition(":")[0]
    return same_account and excluded.rpartition(":")[2].startswith(f"{kind}/") and excluded.rpartition("/")[2] == name
