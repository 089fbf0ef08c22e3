"""The zip of the function: for Lambda's processor whatever the machine, the same each time, and no more than it needs."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from deploy.package import DIRECT_UPLOAD, PYTHON, Unbuildable, _merge, build
from ecrsweep._version import __version__
from ecrsweep.sources import OWN
from tests.deploy.template import Resolved
from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements" / "lambda.txt").read_text()


@pytest.fixture(scope="module")
def content(arm64_zip: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(arm64_zip) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_two_builds_give_the_same_bytes(arm64_zip: Path, tmp_path: Path) -> None:
    assert build("arm64", tmp_path / "again.zip").read_bytes() == arm64_zip.read_bytes()


def test_the_handler_is_where_it_was(content: dict[str, bytes]) -> None:
    assert content["main.py"] == (ROOT / "main.py").read_bytes()
    assert Resolved().properties("Function")["Handler"] == "main.handler"


def test_it_is_small_enough_to_be_uploaded_directly(arm64_zip: Path) -> None:
    assert arm64_zip.stat().st_size < 20e6 < DIRECT_UPLOAD


def test_everything_compiled_is_for_arm64_and_the_python_of_the_template(content: dict[str, bytes]) -> None:
    tag = f"cp{PYTHON.replace('.', '')}"
    assert Resolved().properties("Function")["Runtime"] == f"python{PYTHON}"
    compiled = {name: body for name, body in content.items() if body[:4] == b"\x7fELF"}
    assert any(name.startswith("msgspec/") for name in compiled)
    for name, body in compiled.items():
        assert int.from_bytes(body[18:20], "little") == 183, f"{name} is not for AArch64"
        assert f"cpython-{tag[2:]}-aarch64" in name
    assert not any(name.endswith((".so", ".pyd", ".dylib")) for name in content.keys() - compiled.keys())
    for name, body in content.items():
        if name.endswith(".dist-info/WHEEL"):
            for found in Parser().parsestr(body.decode()).get_all("Tag") or ():
                assert re.fullmatch(rf"(py2-none-any|py3-none-any|{tag}-{tag}-manylinux\w*_aarch64)", found), found


def test_it_has_what_is_locked_and_nothing_else(content: dict[str, bytes]) -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", LOCK, re.MULTILINE))
    found = {
        re.fullmatch(r"(.+)-([^-]+)", name.partition(".dist-info/")[0]) for name in content if ".dist-info/" in name
    }
    inside = {(match[1].replace("_", "-"), match[2]) for match in found if match}
    assert inside == locked | {("ecrsweep", __version__)}
    tops = {name.split("/")[0] for name in content if ".dist-info/" not in name}
    assert tops == {
        "boto3", "botocore", "dateutil", "ecrsweep", "jmespath", "main.py", "msgspec", "s3transfer", "six.py", "urllib3",
        "yaml", "_yaml",
    }  # fmt: skip


def test_nothing_of_the_build_gets_in(content: dict[str, bytes]) -> None:
    for name, body in content.items():
        assert not re.search(r"(^|/)(tests?|__pycache__)/|\.pyc$|direct_url", name), name
        assert str(ROOT).encode() not in body, name


def test_times_and_modes_are_those_of_nobody(arm64_zip: Path) -> None:
    with zipfile.ZipFile(arm64_zip) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {(entry.date_time, entry.external_attr >> 16, entry.create_system) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644, 3)
    }


def test_the_lock_is_what_the_handler_needs_of_the_project(tmp_path: Path) -> None:
    wanted = PROJECT["dependency-groups"]["lambda"]
    assert set(wanted) <= set(PROJECT["project"]["dependencies"])
    assert all(re.search(rf"^{re.split('[>=]', name)[0]}==", LOCK, re.MULTILINE | re.IGNORECASE) for name in wanted)
    assert "--hash=sha256:" in LOCK
    dev = (ROOT / "requirements" / "dev.txt").read_text().splitlines()
    for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", LOCK, re.MULTILINE):
        assert any(line.split(" ;")[0] == f"{name}=={version}" for line in dev), f"tested is another {name}"


def test_unpacked_it_imports_nothing_from_elsewhere(code: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(code)!r})\n"
        "import json, main, boto3, ecrsweep.sources as sources, importlib.metadata as metadata\n"
        "files = {name: getattr(module, '__file__', None) for name, module in sys.modules.items()}\n"
        "points = [point.name for point in metadata.entry_points(group=sources.GROUP)]\n"
        "print(json.dumps([files, points, [source.name for source in sources.installed_sources()]]))"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False, cwd=code
    )
    assert ended.returncode == 0, ended.stderr
    files, points, sources = json.loads(ended.stdout)
    assert files["main"] == str(code / "main.py")
    assert files["ecrsweep"] == str(code / "ecrsweep" / "__init__.py")
    assert files["boto3"] == str(code / "boto3" / "__init__.py")
    assert not {"click", "rich", "moto", "ecrsweep.cli.commands"} & files.keys()
    strangers = [name for name, file in files.items() if file and "site-packages" in file]
    assert not strangers
    assert str(ROOT / "src") not in ended.stdout
    assert points == sources == sorted(OWN)


def test_two_parts_with_the_same_file_are_refused() -> None:
    with pytest.raises(Unbuildable, match=r"has six\.py"):
        _merge({"six.py": b"1"}, {"six.py": b"2"}, "six.whl")
