"""`ecrsweep iam-policy`, and that it is the truth: the calls that each command makes are those it allows, and no others."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from ecrsweep.aws.ecr import SHARING_ACTIONS
from ecrsweep.emulator import AwsError, Emulator, Request
from ecrsweep.sources import OWN, chosen_sources, named_sources
from ecrsweep.wiring.policies import BESIDES_READING, OF_MEMBERS, WITHOUT_PERMISSION
from tests.everything import FURNISHED, IN_USE, REPOSITORY, fill_ledger, furnish
from tests.sources.test_cloudtrail import delivered
from tests.support import ACCOUNT, ROOT, Cli, ago

BUCKET = "ecrsweep-of-the-tests"
EVERY_SOURCE = [
    flag for name in FURNISHED if not OWN[name]().about.by_default for flag in ("--with-source", name)
]  # fmt: skip
"""Those that are not asked by default, if they ask AWS."""
_OBJECT = re.compile(r"/[^/?]+/[^?]+")
_S3_ACTIONS = {
    ("DELETE", True): "s3:DeleteObject", ("GET", True): "s3:GetObject", ("PUT", True): "s3:PutObject",
    ("GET", False): "s3:ListBucket",
}  # fmt: skip
"""By method, and whether an object is meant: S3 is asked by address, and the log of calls has no word for that."""


class Witness:
    """A gate that lets everybody pass and notes what is asked of S3."""

    def __init__(self, aws: Emulator) -> None:
        self._aws = aws
        self._s3: set[str] = set()
        aws.gate = self

    def __call__(self, request: Request) -> AwsError | None:
        if "/s3/aws4_request" in request.headers.get("authorization", ""):
            key = (request.method, _OBJECT.fullmatch(request.path) is not None)
            self._s3.add(_S3_ACTIONS.get(key, f"s3:{request.method} {request.path}"))
        return None

    def forget(self) -> None:
        """What was called so far, to build the world."""
        self._s3.clear()
        self._aws.calls.reset()

    @property
    def actions(self) -> set[str]:
        """The IAM actions of all calls so far that need a permission."""
        called = {
            f"{call.wire.signing_name if call.wire else {'tagging': 'tag'}.get(call.service, call.service)}:{call.operation}"
            for call in self._aws.calls.log
            if call.service != "s3"
        }
        return (called | self._s3) - WITHOUT_PERMISSION


@pytest.fixture
def witness(aws: Emulator) -> Witness:
    furnish(aws)
    aws.client("s3").create_bucket(Bucket=BUCKET)
    aws.calls.reset()
    return Witness(aws)


def allowed(cli: Cli, *flags: str) -> set[str]:
    """The actions of the policy that the command prints."""
    document = cli("iam-policy", *flags).json
    return {action for statement in document["Statement"] for action in statement["Action"]}


def elsewhere(cli: Cli) -> Cli:
    """The same user on another machine: what indexes contain is not known there."""
    return Cli(cli.environ, cli.home / "elsewhere")


def test_every_source_of_this_package_that_asks_aws_has_its_part_in_the_world_of_these_tests() -> None:
    asking = {name for name, make in OWN.items() if make().actions}
    assert FURNISHED.keys() == asking, "tests/everything.py lacks a source"


def test_plan_makes_the_calls_of_its_policy_and_no_others(cli: Cli, witness: Witness) -> None:
    assert cli.plan("--keep-newest", "0", *EVERY_SOURCE).status == 0
    assert witness.actions == allowed(cli, "--for", "plan", *EVERY_SOURCE)


@pytest.mark.parametrize("command", [("uses",), ("explain", f"{REPOSITORY}:multi")])
def test_uses_and_explain_need_no_more_than_plan(cli: Cli, witness: Witness, command: Sequence[str]) -> None:
    assert cli(*command, *EVERY_SOURCE).status == 0
    assert witness.actions <= allowed(cli, "--for", "plan", *EVERY_SOURCE)


def test_apply_makes_the_calls_of_its_policy_and_no_others(cli: Cli, witness: Witness) -> None:
    rules = ("--keep-newest", "0", "--pulled-within", "0d", *EVERY_SOURCE)
    assert cli("apply", "--yes", *rules).status == 0
    assert witness.actions == allowed(cli, "--for", "apply", *EVERY_SOURCE)


@pytest.mark.parametrize(("purpose", "flags"), [("guard", ()), ("guard-preview", ("--preview",))])
def test_guard_makes_the_calls_of_its_policy_and_no_others(
    cli: Cli, witness: Witness, purpose: str, flags: Sequence[str]
) -> None:
    assert cli("guard", *flags, *EVERY_SOURCE).status == 0
    assert witness.actions == allowed(cli, "--for", purpose, *EVERY_SOURCE)


def test_restore_makes_the_calls_of_its_policy_and_no_others(aws: Emulator, cli: Cli, witness: Witness) -> None:
    repo = aws.ecr.repository(REPOSITORY)
    archived = repo.push_image(tags=("cold",), pushed_at=ago(days=90))
    journal = str(cli.home / "journal.jsonl")
    rules = ("--keep-newest", "0", "--pulled-within", "0d", "--repository", REPOSITORY, "--journal", journal)
    assert cli("apply", "--yes", "--keep-tag", "cold", *rules).status == 0
    repo.archive(archived)
    witness.forget()
    unknowing = {"XDG_CACHE_HOME": str(cli.home / "elsewhere"), "XDG_STATE_HOME": str(cli.home / "elsewhere")}
    assert cli("restore", "--yes", "--journal", journal, **unknowing).status == 0
    assert cli("restore", "--yes", "--no-wait", f"{REPOSITORY}:cold", **unknowing).status == 0
    assert witness.actions == allowed(cli, "--for", "restore")


@pytest.mark.parametrize("log", ["bucket", "lake"])
def test_where_options_change_what_a_source_asks_it_declares_what_it_asks_then(
    aws: Emulator, cli: Cli, witness: Witness, log: str, tmp_path: Path
) -> None:
    for day in range(31):
        aws.trail.pull(aws.ecr.repository(REPOSITORY), tag=IN_USE, at=ago(days=day, minutes=1))
    option = delivered(aws, log, tmp_path)
    witness.forget()
    (source,) = (source for source in chosen_sources((), [option]) if source.name == "cloudtrail")
    ended = cli.plan("--source-option", option, "--consumer-region", "us-east-1")
    assert ended.status == 0, ended.out
    # Nothing goes, so nobody is looked for who would miss it.
    assert witness.actions == allowed(cli) - {*SHARING_ACTIONS} | {*source.actions}


def test_a_file_in_a_bucket_is_read_with_what_its_source_declares(aws: Emulator, cli: Cli, witness: Witness) -> None:
    aws.client("s3").put_object(Bucket=BUCKET, Key="uses.json", Body=b"[]")
    witness.forget()
    file = f"s3://{BUCKET}/uses.json"
    (source,) = named_sources([file], (), (), allowed=())
    assert cli.plan("--uses-file", file).status == 0
    assert witness.actions == allowed(cli) - {*SHARING_ACTIONS} | {*source.actions}


def test_applying_a_saved_plan_makes_the_calls_of_the_policy_and_no_others(
    aws: Emulator, cli: Cli, witness: Witness
) -> None:
    file = str(cli.home / "plan.jsonl")
    assert cli.plan("--keep-newest", "0", "--save", file, *EVERY_SOURCE).status == 0
    aws.calls.reset()
    other = elsewhere(cli)
    other.home.mkdir()
    ended = other("apply", file, "--yes")
    assert ended.status == 0, ended.out + ended.err
    # The plan names the repositories, so that they need not be listed again, and says who else may pull.
    assert witness.actions | {"ecr:DescribeRepositories", *SHARING_ACTIONS} == allowed(
        cli, "--for", "apply", *EVERY_SOURCE
    )


def test_the_original_makes_the_calls_of_the_policy_and_no_others(cli: Cli, witness: Witness) -> None:
    assert cli.original("-dryrun", "False", "-imagestokeep", "0").status == 0
    assert witness.actions == allowed(cli, "--for", "apply")


def test_the_handler_makes_the_calls_of_the_policy_with_its_bucket_and_no_others(
    aws: Emulator, cli: Cli, witness: Witness
) -> None:
    fill_ledger(aws, BUCKET)
    witness.forget()
    rules = {"keep_newest": 0, "pulled_within": "0d", "with_sources": EVERY_SOURCE[1::2]}
    planned = cli.handler({"command": "plan"} | rules, ECRSWEEP_BUCKET=BUCKET)
    assert planned.status == 0, planned.err
    assert cli.handler({"command": "apply", "plan": planned.json["plan"]}, ECRSWEEP_BUCKET=BUCKET).status == 0
    # Nothing lists the bucket. S3 wants that permission of whoever may be told that an object does not exist.
    assert witness.actions | {"s3:ListBucket"} == allowed(cli, "--for", "apply", "--bucket", BUCKET, *EVERY_SOURCE)


def test_it_asks_aws_nothing_and_needs_neither_credentials_nor_configuration(aws: Emulator, tmp_path: Path) -> None:
    stranger = Cli({"AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL": aws.url, "AWS_REGION": "sa-east-1"}, tmp_path)
    ended = stranger("iam-policy")
    assert (ended.status, ended.err) == (0, "")
    assert ended.json["Version"] == "2012-10-17"
    assert "sa-east-1" not in ended.out, "it is made of the flags alone"
    assert not aws.calls.log


def test_the_partition_is_that_of_the_regions(cli: Cli) -> None:
    for region, partition in (("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")):
        found = cli("iam-policy", "--region", region, "--account", ACCOUNT).json["Statement"]
        read = next(statement for statement in found if statement["Sid"] == "ReadImages")
        assert read["Resource"] == [f"arn:{partition}:ecr:{region}:{ACCOUNT}:repository/*"]


def test_where_no_region_is_named_or_all_of_them_any_is_allowed_of_any_account(cli: Cli) -> None:
    ended = cli("iam-policy")
    assert '"arn:*:ecr:*:*:repository/*"' in ended.out
    assert cli("iam-policy", "--region", "all", "--consumer-region", "all").out == ended.out
    assert '"arn:aws-cn:ecr:*:*:repository/*"' in cli("iam-policy", "--partition", "aws-cn").out


def test_the_policy_of_a_caller_names_the_role_of_each_account(cli: Cli) -> None:
    accounts = ("--account", "444455556666", "--account", "111122223333")
    printed = cli("iam-policy", "--for", "caller", "--role-name", "ops/sweeper", "--region", "cn-north-1", *accounts)
    assert printed.json["Statement"][0]["Resource"] == [
        "arn:aws-cn:iam::111122223333:role/ops/sweeper",
        "arn:aws-cn:iam::444455556666:role/ops/sweeper",
    ]


def test_a_source_that_is_skipped_is_left_out(cli: Cli) -> None:
    assert "lambda:" in cli("iam-policy").out
    assert "lambda:" not in cli("iam-policy", "--skip-source", "lambda").out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--account", "12345"), "12 digits"),
        (("--partition", "amazon"), "aws-us-gov"),
        (("--bucket", "My_Bucket"), "3 to 63"),
        (("--region", "mars"), "There is no region mars"),
        (("--region", "eu-west-1", "--consumer-region", "cn-north-1"), "different partitions"),
        (("--region", "eu-west-1", "--partition", "aws-cn"), "are in aws"),
        (("--skip-source", "nothing"), "there is no such source"),
        (("--with-source", "nothing"), "There is no source nothing"),
        (("--for", "fun"), "'fun' is not one of"),
        (("--account", "111122223333", "--account", "444455556666"), "Several are for --for caller"),
        (("--role-name", "sweeper"), "goes with --for caller"),
        (("--for", "caller", "--role-name", "arn:aws:iam::111122223333:user/x"), "or its ARN"),
        (("--for", "member", "--bucket", "plans"), "the caller keeps its plans there"),
    ],
)
def test_what_cannot_be_meant_is_refused(cli: Cli, flags: Sequence[str], told: str) -> None:
    ended = cli("iam-policy", *flags)
    assert (ended.status, ended.out) == (2, "")
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_a_region_that_may_be_misspelt_is_taken_with_a_warning(cli: Cli) -> None:
    ended = cli("iam-policy", "--region", "us-eats-1")
    assert ended.status == 0
    assert "Did you mean us-east-1?" in ended.err
    assert '"arn:aws:ecr:us-eats-1:*:repository/*"' in ended.out


def test_a_policy_longer_than_iam_takes_is_printed_with_a_warning(cli: Cli) -> None:
    patterns = [flag for number in range(60) for flag in ("--repository", f"a-rather-long-name-of-a-team-{number}/*")]
    ended = cli("iam-policy", "--for", "apply", "--region", "eu-west-1", *patterns)
    assert ended.status == 0
    assert "a managed policy may have 6,144" in ended.err
    assert len(json.dumps(ended.json, separators=(",", ":"))) > 6_144


def test_the_statements_in_the_documentation_are_those_that_the_command_prints(cli: Cli) -> None:
    documentation = (ROOT / "docs" / "iam.md").read_text()
    command = re.search(r"From `ecrsweep (iam-policy [^`]*)`", documentation)
    shown = re.search(r"```json\n(.*?)```", documentation, re.DOTALL)
    assert command is not None
    assert shown is not None
    printed = {statement["Sid"]: statement for statement in cli(*shlex.split(command[1])).json["Statement"]}
    for statement in json.loads(shown[1]):
        assert statement == printed[statement["Sid"]]


def test_the_documentation_has_every_statement_and_every_flag(cli: Cli) -> None:
    documentation = (ROOT / "docs" / "iam.md").read_text()
    printed = [
        statement
        for purpose in BESIDES_READING
        for bucket in (() if purpose in OF_MEMBERS else ("--bucket", "plans"),)
        for statement in cli("iam-policy", "--for", purpose, *bucket, *EVERY_SOURCE).json["Statement"]
    ]
    for statement in printed:
        name = re.sub(r"^UsesOnce.*", "UsesOnce...", statement["Sid"])
        assert f"`{name}`" in documentation, name
    for flag in re.findall(r"^  (--[a-z-]+)", cli("iam-policy", "--help").out, re.MULTILINE):
        assert flag in documentation, flag
