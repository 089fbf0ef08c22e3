"""Several regions: registries of some, evidence of all, and what a region does that is closed, far or unknown."""

from ecrsweep.emulator import Emulator, Fault
from tests.support import ACCOUNT, REGIONAL_SOURCES, Cli, ago


def old_image(aws: Emulator, region: str, name: str = "team/app") -> str:
    return aws.ecr.repository(name, region=region).push_image(tags=("v1",), pushed_at=ago(days=90))


def test_all_means_every_enabled_region(aws: Emulator, cli: Cli) -> None:
    digests = [old_image(aws, region) for region in aws.regions]
    plan = cli.plan("--region", "all", "--keep-newest", "0")
    assert plan.status == 0
    assert [plan.action(digest) for digest in digests] == ["delete"] * 3
    assert plan.json["scope"]["regions"] == sorted(aws.regions)


def test_without_a_region_the_configured_one_is_meant(aws: Emulator, cli: Cli) -> None:
    home, abroad = old_image(aws, "us-east-1"), old_image(aws, "eu-west-1")
    assert set(cli.plan().decisions) == {home}
    assert set(cli("plan", "--output", "json", AWS_REGION="eu-west-1").decisions) == {abroad}


def test_a_region_that_cannot_be_reached_is_a_gap_and_holds_the_others(aws: Emulator, cli: Cli) -> None:
    home, abroad = old_image(aws, "us-east-1"), old_image(aws, "eu-west-1")
    aws.faults.add(Fault.unreachable("eu-west-1"))
    plan = cli(
        "plan",
        "--output",
        "json",
        "--region",
        "all",
        "--keep-newest",
        "0",
        "--pulled-within",
        "0d",
        AWS_MAX_ATTEMPTS="2",
    )
    assert plan.status == 5, plan.err
    assert plan.action(home) == "hold"
    assert abroad not in plan.decisions
    failed = {(entry["source"], entry["region"]) for entry in plan.json["coverage"] if entry["status"] == "failed"}
    assert failed == {(source, "eu-west-1") for source in ("ecr", *REGIONAL_SOURCES)}


def test_a_region_closed_by_a_service_control_policy_is_shown_and_no_gap(aws: Emulator, cli: Cli) -> None:
    home = old_image(aws, "us-east-1")
    aws.faults.add(Fault.closed("eu-west-1"))
    plan = cli.plan("--keep-newest", "0")
    assert plan.status == 0
    assert plan.action(home) == "delete"
    shown = [entry for entry in plan.json["coverage"] if entry["region"] == "eu-west-1"]
    assert {entry["source"]: entry["status"] for entry in shown} == dict.fromkeys(REGIONAL_SOURCES, "skipped")
    assert all("service control policy" in entry["error"] for entry in shown)


def test_a_region_in_which_only_some_calls_are_closed_is_a_gap(aws: Emulator, cli: Cli) -> None:
    home = old_image(aws, "us-east-1")
    aws.faults.add(Fault.closed("eu-west-1", "ecs", "ListClusters"))
    plan = cli.plan("--keep-newest", "0")
    assert (plan.status, plan.action(home)) == (5, "hold")


def test_a_region_in_which_ecs_is_closed_and_ecr_is_not_is_a_gap(aws: Emulator, cli: Cli) -> None:
    home = old_image(aws, "us-east-1")
    aws.faults.add(Fault.closed("eu-west-1", "ecs"))
    plan = cli.plan("--keep-newest", "0")
    assert (plan.status, plan.action(home)) == (5, "hold")


def test_consumer_regions_can_be_narrowed_and_the_rest_is_shown_as_skipped(aws: Emulator, cli: Cli) -> None:
    home = old_image(aws, "us-east-1")
    aws.faults.add(Fault.denied("ecs", "*", region="eu-west-1"))
    plan = cli.plan("--keep-newest", "0", "--consumer-region", "us-east-1")
    assert (plan.status, plan.action(home)) == (0, "delete")
    states = {entry["region"]: entry["status"] for entry in plan.json["coverage"] if entry["source"] == "ecs"}
    assert states == {"us-east-1": "complete", "eu-west-1": "skipped", "us-west-2": "skipped"}


def test_where_the_regions_may_not_be_listed_the_run_is_held_and_says_so(aws: Emulator, cli: Cli) -> None:
    home = old_image(aws, "us-east-1")
    aws.faults.add(Fault.denied("ec2", "DescribeRegions"))
    plan = cli.plan("--keep-newest", "0")
    assert (plan.status, plan.action(home)) == (5, "hold")
    assert [entry["source"] for entry in plan.json["coverage"] if entry["status"] == "failed"] == ["regions"]
    named = cli.plan("--keep-newest", "0", "--consumer-region", "us-east-1")
    assert (named.status, named.action(home)) == (0, "delete")


def test_a_repository_whose_listing_fails_does_not_hold_its_neighbours(aws: Emulator, cli: Cli) -> None:
    sound = old_image(aws, "us-east-1", "team/sound")
    old_image(aws, "us-east-1", "team/broken")
    broken = Fault.denied("ecr", "DescribeImages", when=lambda asked: asked["repositoryName"] == "team/broken")
    aws.faults.add(broken)
    plan = cli.plan("--keep-newest", "0")
    assert plan.status == 5
    assert plan.action(sound) == "delete"


def test_registries_of_other_partitions_are_recognised(aws: Emulator, cli: Cli) -> None:
    chinese = Emulator(account=ACCOUNT, regions=("cn-north-1",), disabled_regions=(), region="cn-north-1")
    with chinese:
        repo = chinese.ecr.repository("team/app")
        used = repo.push_image(tags=("v1",), pushed_at=ago(days=90))
        other = repo.push_image(tags=("v2",), pushed_at=ago(days=90))
        assert repo.uri.startswith(f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn/")
        chinese.ecs.register("web", {"web": f"{repo.uri}:v1"})
        plan = Cli(chinese.environ(), cli.home).plan("--keep-newest", "0")
    assert plan.status == 0, plan.err
    assert (plan.action(used), plan.action(other)) == ("keep", "delete")
