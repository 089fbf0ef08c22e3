"""The guard: which images in use the AWS lifecycle policies in place are about to take, by which rule, from whom."""

import json
import random
from datetime import timedelta
from typing import Any

import pytest

from ecrsweep.core.images import Image
from ecrsweep.core.lifecycle import evaluate_lifecycle, parse_lifecycle_policy
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.lifecycle import preview
from ecrsweep.emulator.registry import Repository
from tests.support import Cli, ago


@pytest.fixture
def cli(cli_asking_ecs: Cli) -> Cli:
    return cli_asking_ecs


def policy(repo: Repository, *rules: dict[str, Any]) -> None:
    repo.policies["lifecycle"] = json.dumps({"rules": list(rules)})


def untagged_after(days: int, priority: int = 1) -> dict[str, Any]:
    selection = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days}
    return {"rulePriority": priority, "selection": selection, "action": {"type": "expire"}}


def newest(number: int, priority: int = 9) -> dict[str, Any]:
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": number}
    return {"rulePriority": priority, "selection": selection, "action": {"type": "expire"}}


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Five old images, v1 the oldest."""
    made = aws.ecr.repository("team/app")
    for version in range(1, 6):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=100 - version))
    return made


def guarded(cli: Cli, *arguments: str) -> Any:
    return cli("guard", "--output", "json", "--exit-code", *arguments)


def test_an_image_in_use_that_a_rule_of_count_takes_is_found(aws: Emulator, cli: Cli, repo: Repository) -> None:
    policy(repo, newest(2))
    service = aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}))
    ended = guarded(cli)
    assert ended.status == 3, ended.err
    assert ended.json["format"] == "ecrsweep.guard/1"
    (finding,) = ended.json["findings"]
    assert finding["digest"] == repo.digest_of("v1")
    assert (finding["rule"], finding["action"], finding["tags"]) == (9, "expire", ["v1"])
    assert (finding["account"], finding["region"], finding["repository"]) == (aws.account, "us-east-1", "team/app")
    assert any(service in user for user in finding["used_by"])
    shown = cli("guard")
    assert shown.status == 0
    assert "rule 9 expires" in shown.out
    assert "1 image in use will be taken" in shown.out


def test_the_untagged_digest_that_a_service_runs_is_found(aws: Emulator, cli: Cli, repo: Repository) -> None:
    policy(repo, untagged_after(1))
    pinned = repo.digest_of("v1")
    aws.ecs.service("web", aws.ecs.register("web", {"web": f"{repo.uri}:v1"}))
    repo.tag("v1", repo.digest_of("v5"))
    assert [finding["digest"] for finding in guarded(cli).json["findings"]] == [pinned]


def test_children_of_an_index_in_use_are_in_use(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/multi")
    children = [repo.push_image(pushed_at=ago(days=90)) for _ in range(2)]
    index = repo.push_index(children, ("v1",), pushed_at=ago(days=90))
    repo.push_image(("v2",), pushed_at=ago(days=1))
    policy(repo, newest(1))
    aws.ecs.register("web", {"web": f"{repo.uri}:v1"})
    assert {finding["digest"] for finding in guarded(cli).json["findings"]} == {index, *children}


def test_all_also_shows_what_nothing_uses_and_that_alone_is_no_finding(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    policy(repo, newest(2))
    assert guarded(cli).json["findings"] == []
    everything = guarded(cli, "--all")
    assert everything.status == 0
    assert [(finding["tags"], finding["used_by"]) for finding in everything.json["findings"]] == [
        (["v3"], []), (["v2"], []), (["v1"], []),
    ]  # fmt: skip


def test_a_transition_to_the_archive_is_told_as_such(aws: Emulator, cli: Cli, repo: Repository) -> None:
    selection = {"tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 30}
    action = {"type": "transition", "targetStorageClass": "archive"}
    policy(repo, {"rulePriority": 1, "selection": selection, "action": action})
    aws.ecs.register("web", {"web": f"{repo.uri}:v1"})
    (finding,) = guarded(cli).json["findings"]
    assert finding["action"] == "transition"


def test_a_repository_without_a_policy_is_in_no_danger(aws: Emulator, cli: Cli, repo: Repository) -> None:
    aws.ecs.register("web", {"web": f"{repo.uri}:v1"})
    assert guarded(cli).status == 0
    assert "No repository here has a lifecycle policy" in cli("guard").out


@pytest.mark.parametrize(
    "trouble",
    [
        Fault.denied("ecs", "ListClusters"),
        Fault.denied("ecr", "GetLifecyclePolicy"),
        Fault.denied("ecr", "DescribeImages"),
        Fault.denied("ecr", "DescribeRepositories"),
    ],
)
def test_what_cannot_be_read_is_a_gap_of_the_guard_too(
    aws: Emulator, cli: Cli, repo: Repository, trouble: Fault
) -> None:
    policy(repo, newest(2))
    aws.faults.add(trouble)
    ended = guarded(cli)
    assert ended.status == 5
    assert any(entry["status"] == "failed" for entry in ended.json["coverage"])


def test_a_policy_that_nobody_here_understands_is_a_gap(aws: Emulator, cli: Cli, repo: Repository) -> None:
    policy(repo, newest(2) | {"novelty": 1})
    ended = guarded(cli)
    assert ended.status == 5
    assert "not understood" in cli("guard").out


def test_it_changes_nothing(aws: Emulator, cli: Cli, repo: Repository) -> None:
    policy(repo, newest(2))
    aws.calls.reset()
    guarded(cli)
    assert all(call.operation.startswith(("Describe", "List", "Get", "BatchGet")) for call in aws.calls.log)


def test_the_preview_of_aws_agrees_and_where_it_does_not_it_is_told(aws: Emulator, cli: Cli, repo: Repository) -> None:
    policy(repo, newest(2))
    assert guarded(cli, "--preview").json["differences"] == []
    late = Fault("before", "ecr", "GetLifecyclePolicyPreview", run=lambda _: policy_preview(repo, newest(1)))
    aws.faults.add(late)
    (difference,) = guarded(cli, "--preview").json["differences"]
    assert repo.digest_of("v4") in difference
    assert "no rule by our reading, rule 9 by the preview of AWS" in difference


def policy_preview(repo: Repository, *rules: dict[str, Any]) -> None:
    repo.policies["preview"] = json.dumps({"rules": list(rules)})


def test_both_readings_of_the_rules_agree_on_a_thousand_random_repositories(aws: Emulator) -> None:
    chance = random.Random(20260101)  # noqa: S311 - worlds, not secrets
    for number in range(1000):
        repo = Repository(f"r{number}", aws.account, aws.region, aws.clock)
        for _ in range(chance.randint(0, 9)):
            held = [image.digest for image in repo.images()]
            tags = chance.sample(["a1", "a2", "b1", "ab"], chance.randint(0, 2))
            pushed = aws.clock.now - timedelta(days=chance.choice([0.5, 1.5, 3, 10]))
            if held and chance.random() < 0.3:
                repo.push_index(chance.sample(held, 1), tags, pushed_at=pushed, note=str(chance.random()))
            else:
                repo.push_image(tags, pushed_at=pushed)
        rules = chance.sample(
            [_tagged(chance, 1, "a"), _tagged(chance, 2, "b"), untagged_after(1, 3)], chance.randint(0, 3)
        )
        text = json.dumps({"rules": [*rules, newest(chance.randint(1, 4))]})
        ours = evaluate_lifecycle(
            parse_lifecycle_policy(text),
            [Image(i.digest, tuple(i.tags), i.media_type, pushed_at=i.pushed_at) for i in repo.images()],
            {image.digest: image.children for image in repo.images()},
            aws.clock.seconds,
        )
        theirs = preview(text, repo.images(), aws.clock.seconds)
        assert {digest: taken.rule for digest, taken in ours.items()} == {image.digest: rule for image, rule in theirs}


def _tagged(chance: random.Random, priority: int, prefix: str) -> dict[str, Any]:
    selection: dict[str, Any] = {"tagStatus": "tagged", "tagPrefixList": [prefix]}
    selection |= chance.choice(
        [
            {"countType": "imageCountMoreThan", "countNumber": chance.randint(1, 3)},
            {"countType": "sinceImagePushed", "countUnit": "days", "countNumber": chance.randint(1, 4)},
        ]
    )
    return {"rulePriority": priority, "selection": selection, "action": {"type": "expire"}}
