"""What holds for every source: third parties can add one, options are checked, notes are shown, digests count anywhere."""

import textwrap
from pathlib import Path

import pytest

from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from tests.support import REGIONAL_SOURCES, Cli, ago

PACKAGE = """
from ecrsweep.core.uses import Note, Use
from ecrsweep.core.errors import BadInput
from ecrsweep.ports import About


class Nomad:
    name = "nomad"
    actions = ()
    about = About(system="Nomad", calls="none", keeps="jobs", unknowable="nothing", once=True, by_default={default})

    def __init__(self, job="web"):
        self.job = job

    def with_options(self, options):
        if set(options) != {{"job"}}:
            raise BadInput("nomad has the option job, and no other")
        return Nomad(options["job"])

    def uses(self, place):
        yield Note("one allocation did not say what it runs", self.job)
        yield Use("{image}", self.job, "nomad", account=place.account, region=place.region)
        {then}
"""


@pytest.fixture
def repo(aws: Emulator) -> Repository:
    """Three old images; no rule keeps any."""
    made = aws.ecr.repository("team/app")
    for version in range(1, 4):
        made.push_image(tags=(f"v{version}",), pushed_at=ago(days=90))
    return made


def installed(cli: Cli, image: str, *, default: bool = True, then: str = "return") -> None:
    """Install a package of a third party, with its entry point, as pip would lay it down."""
    site = cli.home / "site"
    info = site / "ecrsweep_nomad-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "ecrsweep_nomad.py").write_text(PACKAGE.format(image=image, default=default, then=then))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ecrsweep-nomad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ecrsweep.sources]\nnomad = ecrsweep_nomad:Nomad\n")
    cli.environ["PYTHONPATH"] = str(site)


def test_a_source_of_a_third_party_is_asked_once_an_account(aws: Emulator, cli: Cli, repo: Repository) -> None:
    installed(cli, f"{repo.uri}:v1")
    found = cli.plan("--keep-newest", "0")
    assert found.status == 0, found.err
    assert found.action(repo.digest_of("v1")) == "keep"
    assert found.action(repo.digest_of("v2")) == "delete"
    (entry,) = (entry for entry in found.json["coverage"] if entry["source"] == "nomad")
    assert (entry["region"], entry["status"], entry["uses"]) == ("all", "complete", 1)
    assert entry["notes"] == ["web: one allocation did not say what it runs"]
    assert "Note: nomad" in cli("plan", "--keep-newest", "0").out


def test_an_account_that_uses_nothing_reads_as_complete_without_a_use(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    found = cli.plan("--keep-newest", "0")
    assert found.status == 0, found.err
    assert {found.action(image.digest) for image in repo.images()} == {"delete"}
    entries = [entry for entry in found.json["coverage"] if entry["source"] in REGIONAL_SOURCES]
    assert {entry["source"] for entry in entries} == REGIONAL_SOURCES
    assert {(entry["status"], entry["uses"], "notes" in entry) for entry in entries} == {("complete", 0, False)}


def test_one_that_is_off_by_default_is_asked_when_it_is_named(aws: Emulator, cli: Cli, repo: Repository) -> None:
    installed(cli, f"{repo.uri}:v1", default=False)
    assert cli.plan("--keep-newest", "0").action(repo.digest_of("v1")) == "delete"
    assert cli.plan("--keep-newest", "0", "--with-source", "nomad").action(repo.digest_of("v1")) == "keep"


def test_options_reach_the_source_and_nonsense_is_refused(aws: Emulator, cli: Cli, repo: Repository) -> None:
    installed(cli, f"{repo.uri}:v1")
    found = cli.plan("--keep-newest", "0", "--source-option", "nomad.job=batch")
    assert "batch" in found.details(repo.digest_of("v1"))
    for wrong in ("nomad.nosuch=1", "nosuch.job=1", "ecs.job=1", "nomad.job", "=1"):
        assert cli.plan("--source-option", wrong).status == 2


def test_a_saved_plan_asks_the_same_sources_again(aws: Emulator, cli: Cli, repo: Repository) -> None:
    installed(cli, f"{repo.uri}:v1", default=False)
    path = str(cli.home / "plan.jsonl")
    rules = ("--keep-newest", "0", "--pulled-within", "0d")
    assert cli("plan", *rules, "--save", path, "--skip-source", "nomad").status == 0
    assert cli("plan", *rules, "--save", path, "--with-source", "nomad").status == 0
    ended = cli("apply", path, "--yes", "--output", "json")
    assert ended.status == 0, ended.err
    assert {entry["source"] for entry in ended.json["coverage"]} >= {"ecs", "nomad"}
    assert list(repo.by_tag) == ["v1"]


def test_a_source_that_breaks_is_a_gap_and_what_it_found_before_still_protects(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    installed(cli, f"{repo.uri}:v1", then="raise RuntimeError('broken')")
    found = cli.plan("--keep-newest", "0")
    assert found.status == 5
    assert found.action(repo.digest_of("v1")) == "keep"
    assert found.action(repo.digest_of("v2")) == "hold"


def test_a_source_that_cannot_be_loaded_is_an_error_not_a_silent_gap(aws: Emulator, cli: Cli) -> None:
    installed(cli, "x")
    (cli.home / "site" / "ecrsweep_nomad.py").write_text("raise ImportError('no such thing')")
    ended = cli("plan")
    assert ended.status == 2
    assert "nomad" in ended.err
    assert "Traceback" not in ended.err


def test_a_digest_without_a_name_counts_in_every_repository_of_its_region(
    aws: Emulator, cli: Cli, repo: Repository
) -> None:
    site = Path(cli.home / "site")
    digest = repo.digest_of("v1")
    installed(cli, "unused")
    (site / "ecrsweep_nomad.py").write_text(
        textwrap.dedent(f"""
        from ecrsweep.core.uses import Use
        from ecrsweep.ports import About


        class Nomad:
            name, actions = "nomad", ()
            about = About(system="Nomad", calls="none", keeps="jobs", unknowable="nothing")

            def uses(self, place):
                yield Use("", "function f", "nomad", place.account, place.region, digest="{digest}", anywhere=True)
        """)
    )
    elsewhere = aws.ecr.repository("team/app", region="eu-west-1")
    elsewhere.push(repo.by_digest[digest].manifest, ("v1",), pushed_at=ago(days=90))
    found = cli.plan("--keep-newest", "0", "--region", "us-east-1")
    assert found.action(digest) == "keep"
    assert "by digest" in found.details(digest)
