"""Lambda as witness: the image of every version of every function stays, whatever its state, and names its function."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ecrsweep.aws.session import AwsPlace
from ecrsweep.core.errors import Throttled
from ecrsweep.emulator import Emulator, Fault
from ecrsweep.emulator.errors import AwsError
from ecrsweep.emulator.registry import Repository
from ecrsweep.sources.aws_lambda import LambdaSource
from tests.support import ACCOUNT, REGIONS, Cli, ago

SECRET = "hunter2"  # noqa: S105 - a word to look for in the output


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """A repository of old images, v1 to v6; no rule keeps any."""
    made = aws.ecr.repository("team/app")
    for version in range(1, 7):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=100 - version))
    return made


def arn(name: str, number: str) -> str:
    return f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}:{number}"


def version(
    name: str, number: str, image: str = "", digest: str = "", *, sha: str = "", code: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:  # fmt: skip
    """A version of a function, as GetFunction answers it: `image` as written, `digest` as Lambda resolved it."""
    resolved = {"ResolvedImageUri": f"{image.partition('@')[0].rpartition(':')[0]}@{digest}"} if digest else {}
    return {
        "Configuration": {
            "FunctionName": name, "FunctionArn": arn(name, number), "Version": number, "PackageType": "Image",
            "CodeSha256": sha, "Environment": {"Variables": {"PASSWORD": SECRET}},
        } | more,
        "Code": {"RepositoryType": "ECR", "ImageUri": image, "Location": f"https://{SECRET}"} | resolved if code is None else code,
    }  # fmt: skip


def tell(aws: Emulator, *versions: dict[str, Any], gone: tuple[str, ...] = (), region: str | None = None) -> None:
    """Let Lambda hold these versions; those of the functions in `gone` are deleted between listing and asking."""
    unlisted = {"State", "LastUpdateStatus"}
    listed = [{key: value for key, value in each["Configuration"].items() if key not in unlisted} for each in versions]
    held = {(each["Configuration"]["FunctionName"], each["Configuration"]["Version"]): each for each in versions}

    def get_function(asked: dict[str, Any]) -> dict[str, Any]:
        found = held.get((asked["FunctionName"], asked.get("Qualifier", "$LATEST")))
        if found is None or asked["FunctionName"] in gone:
            raise AwsError("ResourceNotFoundException", f"Function not found: {asked['FunctionName']}", 404)
        return found

    aws.scripts.listed("lambda", "ListFunctions", "Functions", listed, page=50, region=region)
    aws.scripts.answer("lambda", "GetFunction", get_function, region=region)


def plan(cli: Cli, *arguments: str, **environ: str) -> Any:
    return cli("plan", "--output", "json", "--keep-newest", "0", "--pulled-within", "0d", *arguments, **environ)


def lambda_entry(found: Any) -> dict[str, Any]:
    (entry,) = (
        entry for entry in found.json["coverage"] if (entry["source"], entry["region"]) == ("lambda", "us-east-1")
    )
    return dict(entry)


def test_every_version_in_whatever_state_keeps_its_image(aws: Emulator, cli: Cli, repo: Repository) -> None:
    digest = repo.digest_of("v1")
    copy = aws.ecr.repository("copy/app")
    copy.push(repo.by_digest[digest].manifest, ("v1",), pushed_at=ago(days=90))
    sha = digest.removeprefix("sha256:")
    tell(
        aws,
        version("web", "$LATEST", f"{repo.uri}:v1", digest, sha=sha, State="Active"),
        version("web", "1", f"{repo.uri}:v2", repo.digest_of("v2"), State="Inactive", StateReasonCode="Idle"),
        version("job", "$LATEST", f"{repo.uri}@{repo.digest_of('v3')}", State="Failed", StateReasonCode="ImageAccessDenied"),
        version("job", "7", f"{repo.uri}:v4", repo.digest_of("v4"), State="Pending"),
    )  # fmt: skip
    found = plan(cli)
    assert found.status == 0, found.err
    for tag, workload in (
        ("v1", "function:web version $LATEST"), ("v2", "function:web version 1"),
        ("v3", "function:job version $LATEST"), ("v4", "function:job version 7"),
    ):  # fmt: skip
        assert found.codes(repo.digest_of(tag)) == {"in_use"}
        assert workload in found.details(repo.digest_of(tag))
    assert {found.action(repo.digest_of(tag)) for tag in ("v5", "v6")} == {"delete"}
    assert {each["action"] for each in found.json["decisions"] if each["digest"] == digest} == {"keep"}, "by digest"
    assert found.json["unresolved"] == []
    assert SECRET not in found.out + found.err


def test_the_digest_that_a_version_runs_stays_after_its_tag_has_moved(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    runs = repo.digest_of("v1")
    repo.tag("v1", repo.digest_of("v6"))
    tell(aws, version("web", "3", f"{repo.uri}:v1", runs))
    found = plan(cli)
    assert found.action(runs) == "keep"
    assert found.action(repo.digest_of("v6")) == "keep", "it has the tag as written"
    assert found.action(repo.digest_of("v2")) == "delete"


@pytest.mark.parametrize("encoded", ["digits", "base64"])
def test_what_the_listing_tells_of_a_deleted_function_counts_in_every_repository_of_the_region(
    aws: Emulator, cli: Cli, repo: Repository, encoded: str
) -> None:
    digest = repo.digest_of("v1")
    copies = [aws.ecr.repository("copy/app"), aws.ecr.repository("team/app", region="eu-west-1")]
    for copy in copies:
        copy.push(repo.by_digest[digest].manifest, ("v1",), pushed_at=ago(days=90))
    digits = digest.removeprefix("sha256:")
    sha = digits if encoded == "digits" else base64.b64encode(bytes.fromhex(digits)).decode()
    zipped = version("zip", "$LATEST", sha=repo.digest_of("v2").removeprefix("sha256:"), PackageType="Zip")
    tell(aws, version("gone", "$LATEST", f"{repo.uri}:v6", sha=sha), zipped, gone=("gone",))
    found = plan(cli, "--region", "us-east-1", "--region", "eu-west-1")
    assert found.status == 0, found.err
    actions = {
        (decision["region"], decision["repository"]): decision["action"]
        for decision in found.json["decisions"]
        if decision["digest"] == digest
    }
    assert actions == {
        ("us-east-1", "team/app"): "keep", ("us-east-1", "copy/app"): "keep", ("eu-west-1", "team/app"): "delete",
    }  # fmt: skip
    assert found.action(repo.digest_of("v2")) == "delete", "the hash of a zip file means no image"
    assert found.action(repo.digest_of("v6")) == "delete", "the function that named it is gone"
    shown = cli("uses")
    assert f"any name in its region (runs {digest})" in shown.out


def test_more_than_a_page_is_read_and_only_images_are_asked_for_in_full(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    zipped = [version(f"zip{n}", "$LATEST", PackageType="Zip", code={"RepositoryType": "S3"}) for n in range(119)]
    elsewhere = {"ImageUri": f"{repo.uri}-alias:v9", "ResolvedImageUri": f"{repo.uri}@{repo.digest_of('v2')}"}
    moved = version("moved", "$LATEST", code=elsewhere)
    tell(aws, *zipped, moved, version("last", "$LATEST", f"{repo.uri}:v1", repo.digest_of("v1")))
    found = plan(cli)
    assert [found.action(repo.digest_of(tag)) for tag in ("v1", "v2", "v3")] == ["keep", "keep", "delete"]
    assert aws.calls.count("lambda", "ListFunctions", region="us-east-1") == 3
    assert aws.calls.count("lambda", "GetFunction") == 2
    asked = [call.parameters for call in aws.calls.log if call.operation == "ListFunctions"]
    assert {parameters["FunctionVersion"] for parameters in asked} == {"ALL"}


def test_what_a_function_on_managed_instances_runs_by_itself_is_asked_for(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    provider = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": "arn:aws:lambda:x"}}
    latest = version("web", "$LATEST", f"{repo.uri}:v2", repo.digest_of("v2"), CapacityProviderConfig=provider)
    published = version("web", "$LATEST.PUBLISHED", f"{repo.uri}:v1", repo.digest_of("v1"))
    other = version("new", "$LATEST", f"{repo.uri}:v3", repo.digest_of("v3"), CapacityProviderConfig=provider)
    tell(aws, latest, published, other)
    aws.scripts.listed(
        "lambda", "ListFunctions", "Functions", [latest["Configuration"], other["Configuration"]], page=50
    )
    found = plan(cli)
    assert found.status == 0, found.err
    assert "function:web version $LATEST.PUBLISHED" in found.details(repo.digest_of("v1"))
    assert [found.action(repo.digest_of(tag)) for tag in ("v2", "v3", "v4")] == ["keep", "keep", "delete"]


@pytest.mark.parametrize("status", ["InProgress", "Failed"])
def test_during_an_update_what_its_tag_named_before_stays_and_a_note_says_what_is_not_known(
    aws: Emulator, cli: Cli, repo: Repository, status: str
) -> None:
    before, now, later = (repo.push_image(pushed_at=ago(days=days)) for days in (50, 40, 20))
    modified = ago(days=30).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    tell(aws, version("web", "$LATEST", f"{repo.uri}:prod", now, LastUpdateStatus=status, LastModified=modified))
    found = plan(cli)
    assert found.status == 0, found.err
    assert [found.action(digest) for digest in (before, now, later)] == ["keep", "keep", "delete"]
    assert "possible" in found.details(before)
    assert found.json["unresolved"] == [], "what it runs is there, and it does not pull by the tag again"
    (note,) = lambda_entry(found)["notes"]
    assert "function:web version $LATEST: its last update" in note


def test_without_a_resolved_image_all_that_its_tag_may_have_named_stays(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    untagged = repo.push_image(pushed_at=ago(days=50))
    tell(aws, version("web", "$LATEST", f"{repo.uri}:v1"))
    found = plan(cli)
    assert found.status == 0, found.err
    assert found.action(repo.digest_of("v1")) == found.action(untagged) == "keep"
    assert found.action(repo.digest_of("v2")) == "delete"


def test_a_function_whose_image_is_gone_is_reported(aws: Emulator, cli: Cli, repo: Repository) -> None:
    missing = f"sha256:{7:064x}"
    tell(aws, version("web", "$LATEST", f"{repo.uri}:v1", missing, sha=missing.removeprefix("sha256:")))
    (lost,) = plan(cli).json["unresolved"]
    assert lost["workload"].endswith("function:web version $LATEST")


def all_hold(aws: Emulator, cli: Cli, repo: Repository, faults: list[Fault]) -> list[str]:
    """Let each fault befall a region of its own: every candidate is held. The error of each region."""
    for region, fault in zip(REGIONS, faults, strict=False):
        tell(aws, version("web", "$LATEST", f"{repo.uri}:v1", repo.digest_of("v1")), region=region)
        aws.faults.add(replace(fault, region=region))
    found = plan(cli, AWS_MAX_ATTEMPTS="1")
    assert found.status == 5
    assert {found.action(image.digest) for image in repo.images()} <= {"keep", "hold"}
    assert found.json["summary"]["hold"] >= 5
    failed = [entry for entry in found.json["coverage"] if entry["status"] == "failed"]
    assert [(entry["source"], entry["region"]) for entry in failed] == [
        ("lambda", region) for region in REGIONS[: len(faults)]
    ]
    return [entry["error"] for entry in failed]


@pytest.mark.parametrize("refusal", [Fault.denied, partial(Fault.closed, "")])
def test_each_call_that_is_refused_is_a_gap_and_holds_every_candidate(
    aws: Emulator, cli: Cli, repo: Repository, refusal: Any
) -> None:
    operations = ["ListFunctions", "GetFunction"]
    errors = all_hold(aws, cli, repo, [refusal("lambda", operation) for operation in operations])
    for operation, error in zip(operations, errors, strict=True):
        assert f"lambda:{operation}" in error


def test_a_region_in_which_the_organisation_leaves_the_listing_open_is_not_closed(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    tell(aws, version("web", "$LATEST", f"{repo.uri}:v1", repo.digest_of("v1")), region="eu-west-1")
    aws.faults.add(Fault.closed("eu-west-1", when=lambda asked: asked.get("FunctionVersion") != "ALL"))
    found = plan(cli)
    assert (found.status, found.action(repo.digest_of("v1"))) == (5, "hold")


def test_one_function_that_cannot_be_read_keeps_no_other_from_being_seen(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    first, last = repo.digest_of("v1"), repo.digest_of("v2")
    tell(aws, version("first", "$LATEST", f"{repo.uri}:v1", first), version("last", "$LATEST", f"{repo.uri}:v2", last))
    aws.faults.add(Fault.denied("lambda", "GetFunction", when=lambda asked: asked["FunctionName"] == "first"))
    found = plan(cli, "--accept-gap", "lambda")
    assert found.status == 0
    assert (found.action(first), found.action(last)) == ("delete", "keep")


def test_what_the_listing_tells_protects_even_where_asking_for_more_is_given_up(aws: Emulator, place: AwsPlace) -> None:
    digits = [f"{number:064x}" for number in range(1, 40)]
    tell(aws, *(version(f"f{number}", "$LATEST", sha=sha) for number, sha in enumerate(digits)))
    aws.faults.add(Fault.error("lambda", "GetFunction", "TooManyRequestsException", "Rate exceeded", 429))
    told: list[Any] = []
    with pytest.raises(Throttled):
        told.extend(LambdaSource().uses(place))
    assert [use.digest for use in told] == [f"sha256:{sha}" for sha in digits]
    assert aws.calls.count("lambda", "GetFunction") < len(digits)


@pytest.mark.parametrize(
    "faults",
    [
        [
            Fault("garbage", "lambda", "ListFunctions"),
            Fault("garbage", "lambda", "ListFunctions", body=b"{}"),
            Fault("garbage", "lambda", "ListFunctions", body=b'{"Functions": [{"PackageType": "Image"}]}'),
        ],
        [
            Fault("garbage", "lambda", "GetFunction", body=b'{"Configuration": {"PackageType": "Image"}}'),
            Fault("garbage", "lambda", "GetFunction", body=b'{"Code": {"Error": {"ErrorCode": "AccessDenied"}}}'),
        ],
        [
            Fault.error("lambda", "ListFunctions", "TooManyRequestsException", "Rate exceeded", 429),
            Fault.error("lambda", "GetFunction", "TooManyRequestsException", "Rate exceeded", 429),
            Fault.error("lambda", "GetFunction", "KMSNotFoundException", "The key is gone", 502),
        ],
    ],
    ids=["listing", "function", "errors"],
)
def test_an_answer_that_makes_no_sense_is_a_gap_not_an_absence(
    aws: Emulator, cli: Cli, repo: Repository, faults: list[Fault]
) -> None:
    all_hold(aws, cli, repo, faults)


def test_a_function_that_moto_holds_keeps_its_image(aws: Emulator, cli: Cli, repo: Repository) -> None:
    pytest.importorskip("moto")
    role = aws.client("iam").create_role(RoleName="runner", AssumeRolePolicyDocument="{}" + " " * 20)["Role"]["Arn"]
    client = aws.client("lambda")
    client.create_function(
        FunctionName="web", PackageType="Image", Role=role, Code={"ImageUri": f"{repo.uri}:v1"}, Publish=True
    )
    client.update_function_code(FunctionName="web", ImageUri=f"{repo.uri}:v2")
    found = plan(cli)
    assert found.status == 0, found.err
    assert "function:web version $LATEST" in found.details(repo.digest_of("v2"))
    assert found.action(repo.digest_of("v3")) == "delete"
