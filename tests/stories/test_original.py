"""The entry points of the post of 2016: the usage lines of its page, and its Lambda handler, do what its text promises."""

import json
import sys
from datetime import timedelta
from typing import Any

import pytest

from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.registry import Repository
from ecrsweep.sources import OWN
from tests.support import ACCOUNT, REGIONAL_SOURCES, ROOT, Cli, Finished, ago


@pytest.fixture
def repos(aws: Emulator) -> dict[str, Repository]:
    """130 tagged images in each of two regions; the oldest of us-west-2 runs there."""
    made = {}
    for region in ("us-east-1", "us-west-2"):
        repo = made[region] = aws.ecr.repository("team/app", region=region)
        for number in range(130):
            repo.push_image(tags=(f"v{number}",), pushed_at=ago(days=200 - number))
    repo = made["us-west-2"]
    aws.ecs.run(aws.ecs.register("web", {"web": f"{repo.uri}:v0"}, region="us-west-2"), region="us-west-2")
    return made


def left(repo: Repository) -> set[str]:
    return {tag for image in repo.images() for tag in image.tags}


def newest(number: int) -> set[str]:
    return {f"v{version}" for version in range(130 - number, 130)}


def test_by_default_it_prints_what_is_older_than_the_last_100_in_all_regions(
    cli: Cli, repos: dict[str, Repository]
) -> None:
    ended = cli.original()
    assert ended.status == 0, ended.err
    assert all(len(repo.images()) == 130 for repo in repos.values())
    for region, repo in repos.items():
        assert f"Discovering images in {region}" in ended.out
        assert f"- {repo.uri}:v1 - " in ended.out
        assert f"- {repo.uri}:v30 - " not in ended.out
    assert f"- {repos['us-east-1'].uri}:v0 - " in ended.out
    assert f"- {repos['us-west-2'].uri}:v0 - " not in ended.out
    assert "Images that are running:\n" + f"{repos['us-west-2'].uri}:v0" in ended.out
    assert "Dry run: nothing was deleted" in ended.out


def test_dryrun_false_deletes_in_all_regions(cli: Cli, repos: dict[str, Repository]) -> None:
    ended = cli.original("-dryrun", "False")
    assert ended.status == 0, ended.err
    assert left(repos["us-east-1"]) == newest(100)
    assert left(repos["us-west-2"]) == newest(100) | {"v0"}


def test_images_to_keep(cli: Cli, repos: dict[str, Repository]) -> None:
    assert cli.original("-dryrun", "false", "-imagestokeep", "20").status == 0
    assert left(repos["us-east-1"]) == newest(20)


def test_one_region_alone(cli: Cli, repos: dict[str, Repository]) -> None:
    assert cli.original("-dryrun", "False", "-imagestokeep", "20", "-region", "us-west-2").status == 0
    assert left(repos["us-east-1"]) == newest(130)
    assert left(repos["us-west-2"]) == newest(20) | {"v0"}


def test_tags_to_ignore_by_regular_expression(cli: Cli, repos: dict[str, Repository]) -> None:
    repo = repos["us-west-2"]
    for tag, version in (("release-1", "v3"), ("old-archive", "v4"), ("the-latest-one", "v5")):
        repo.tag(tag, repo.digest_of(version))
    ended = cli.original(
        "-dryrun", "False", "-imagestokeep", "20", "-region", "us-west-2", "-ignoretagsregex", "release|archive"
    )
    assert ended.status == 0
    kept = {"v0", "v3", "v4", "v5", "release-1", "old-archive", "the-latest-one"}
    assert left(repo) == newest(20) | kept, "one protected tag protects the image, with all its tags"


def test_the_long_dashes_of_the_page_can_be_pasted(cli: Cli, repos: dict[str, Repository]) -> None:
    assert cli.original("–dryrun", "False", "–imagestokeep", "20", "–region", "us-west-2").status == 0
    assert left(repos["us-west-2"]) == newest(20) | {"v0"}


def test_pull_times_play_no_part(cli: Cli, repos: dict[str, Repository]) -> None:
    repos["us-east-1"].pull("v1")
    assert cli.original("-dryrun", "False").status == 0
    assert "v1" not in left(repos["us-east-1"])


@pytest.mark.parametrize("value", ["maybe", "0", ""])
def test_a_dryrun_that_is_neither_true_nor_false_is_refused(cli: Cli, repos: dict[str, Repository], value: str) -> None:
    ended = cli.original("-dryrun", value)
    assert ended.status == 2
    assert "True and False" in ended.err
    assert len(repos["us-east-1"].images()) == 130


def invoked(cli: Cli, **environ: str) -> Finished:
    """Call the handler as Lambda would."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import json, main\n"
        "print('RESULT', json.dumps(main.handler({'None': 'None'}, None)))"
    )
    return cli.run([sys.executable, "-c", script], None, environ)


def test_the_handler_reads_its_environment(cli: Cli, repos: dict[str, Repository]) -> None:
    ended = invoked(cli, REGION="us-west-2", DRYRUN="False", IMAGES_TO_KEEP="20", IGNORE_TAGS_REGEX="^v7$")
    assert ended.status == 0, ended.err
    assert left(repos["us-west-2"]) == newest(20) | {"v0", "v7"}
    assert json.loads(ended.out.split("RESULT ")[1]) == {"status": 0}


def test_an_unset_dryrun_in_lambda_means_dry_run(cli: Cli, repos: dict[str, Repository]) -> None:
    assert invoked(cli, REGION="None").status == 0
    assert all(len(repo.images()) == 130 for repo in repos.values())


def test_untagged_images_stay_while_they_are_fresh_children_referrers_or_in_use(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    child = repo.push_image(pushed_at=ago(days=90))
    index = repo.push_index([child], tags=("v1",), pushed_at=ago(days=90))
    signature = repo.push_signature(index, pushed_at=ago(days=90))
    fresh = repo.push_image(pushed_at=ago(days=3))
    used = repo.push_image(pushed_at=ago(days=90))
    stale = repo.push_image(pushed_at=ago(days=90))
    aws.ecs.register("web", {"web": f"{repo.uri}@{used}"})
    assert cli.original("-dryrun", "False").status == 0
    assert {image.digest for image in repo.images()} == {child, index, signature, fresh, used}
    assert stale not in repo.by_digest


POLICY_OF_THE_POST = {
    "ecr": {"BatchDeleteImage", "DescribeRepositories", "DescribeImages"},
    "ecs": {
        "DescribeClusters",
        "DescribeTaskDefinition",
        "DescribeTasks",
        "ListClusters",
        "ListTaskDefinitions",
        "ListTasks",
    },
    "sts": {"GetCallerIdentity"},
}


def beyond_the_post() -> set[str]:
    """The IAM actions that everything that is asked needs, and the policy of the post does not allow."""
    needed = {"ec2:DescribeRegions", "ecr:BatchGetImage"}
    needed |= {action for name in REGIONAL_SOURCES for action in OWN[name]().actions}
    allowed = {f"{service}:{operation}" for service, all_of in POLICY_OF_THE_POST.items() for operation in all_of}
    return needed - allowed


def under_the_policy_of_the_post(aws: Emulator) -> None:
    """Deny whatever the policy of the post does not allow."""
    services = {"bedrock-agentcore": "bedrock-agentcore-control", "states": "stepfunctions"}  # IAM says it otherwise
    for action in beyond_the_post():
        prefix, _, operation = action.partition(":")
        aws.faults.add(Fault.denied(services.get(prefix, prefix), operation))


def test_under_the_policy_of_the_post_nothing_goes_and_the_missing_statement_is_printed(
    aws: Emulator, cli: Cli, repos: dict[str, Repository]
) -> None:
    repo = repos["us-west-2"]
    repo.push_index([repo.digest_of("v1")], tags=("multi",), pushed_at=ago(days=90))
    under_the_policy_of_the_post(aws)
    ended = cli.original("-dryrun", "False", "-region", "us-west-2")
    assert ended.status == 5, ended.err
    assert aws.calls.count("ecr", "BatchDeleteImage") == 0
    statement = json.loads(ended.out[ended.out.index("{\n") : ended.out.rindex("}") + 1])
    assert statement["Effect"] == "Allow"
    assert set(statement["Action"]) == beyond_the_post()
    documented = (ROOT / "docs" / "migrating.md").read_text()
    assert all(action in documented for action in statement["Action"])


def test_the_handler_fails_visibly_under_the_policy_of_the_post(aws: Emulator, cli: Cli, repos: dict[str, Any]) -> None:
    under_the_policy_of_the_post(aws)
    ended = invoked(cli, REGION="us-west-2", DRYRUN="False")
    assert ended.status == 1
    assert "Incomplete" in ended.err
    assert len(repos["us-west-2"].images()) == 130


def test_a_refused_deletion_is_named_and_exits_with_4(aws: Emulator, cli: Cli, repos: dict[str, Repository]) -> None:
    refused = repos["us-west-2"].digest_of("v1")
    aws.faults.add(Fault("failures", "ecr", "BatchDeleteImage", failures={refused: "KmsError"}))
    ended = cli.original("-dryrun", "False", "-region", "us-west-2")
    assert ended.status == 4
    assert f"{refused} KmsError" in ended.out


def test_a_fresh_image_stays_for_a_day_however_many_are_newer(aws: Emulator, cli: Cli) -> None:
    repo = aws.ecr.repository("team/app")
    for number in range(5):
        repo.push_image(tags=(f"v{number}",), pushed_at=aws.clock.now - timedelta(hours=number))
    assert cli.original("-dryrun", "False", "-imagestokeep", "1", "-region", "us-east-1").status == 0
    assert len(repo.images()) == 5
    assert f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/app" == repo.uri
