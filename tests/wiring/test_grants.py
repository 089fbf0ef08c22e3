"""Which permissions a run is said to lack: what was denied, always; what else the same part needs, unless it was granted."""

import json
from typing import Any

from ecrsweep.core.uses import Coverage, CoverageStatus
from ecrsweep.sources import installed_sources
from ecrsweep.wiring.grants import advice, lacking
from tests.support import ACCOUNT

SOURCES = installed_sources()
ECS = next(source for source in SOURCES if source.name == "ecs")


def denied(source: str, action: str, region: str = "us-east-1", **more: Any) -> Coverage:
    error = f"{action} was denied in {region}: AccessDeniedException"
    return Coverage(ACCOUNT, region, source, CoverageStatus.FAILED, error=error, action=action, **more)


def test_what_a_denied_source_needs_is_lacking_as_far_as_no_call_has_shown_it_to_be_granted() -> None:
    allowed = frozenset(ECS.actions) - {"ecs:DescribeTasks", "ecs:ListTasks"}
    assert lacking([denied("ecs", "ecs:ListTasks")], SOURCES, allowed) == ["ecs:DescribeTasks", "ecs:ListTasks"]


def test_what_was_denied_is_lacking_even_where_another_region_or_repository_has_it_granted() -> None:
    everything = frozenset(ECS.actions) | {"ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeRepositories"}
    coverage = [denied("ecs", "ecs:ListTasks", "eu-west-1"), denied("ecr", "ecr:BatchGetImage")]
    assert lacking(coverage, SOURCES, everything) == ["ecr:BatchGetImage", "ecs:ListTasks"]


def test_regions_that_may_not_be_listed_lack_that_action_alone() -> None:
    assert lacking([denied("regions", "ec2:DescribeRegions")], SOURCES, frozenset()) == ["ec2:DescribeRegions"]


def test_nothing_is_lacking_where_the_failure_was_another_or_the_user_accepted_it() -> None:
    unreachable = Coverage(ACCOUNT, "us-east-1", "ecs", CoverageStatus.FAILED, error="no connection")
    accepted = denied("ecs", "ecs:ListTasks", accepted=True)
    assert lacking([unreachable, accepted], SOURCES, frozenset()) == []


def test_the_advice_ends_with_the_command_that_prints_the_whole_policy() -> None:
    told = advice(["ecs:ListTasks"])
    assert json.loads(told[told.index("{") : told.rindex("}") + 1])["Action"] == ["ecs:ListTasks"]
    assert told.endswith("ecrsweep iam-policy --for plan")
    assert advice(["ecr:BatchDeleteImage"]).endswith("ecrsweep iam-policy --for apply")
