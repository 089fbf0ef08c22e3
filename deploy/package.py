"""Builds the zip of the Lambda function: `make package`. Needs pip and hatchling; no compiler, no docker, no AWS.

What goes in is locked in requirements/lambda.txt, hashes included, and taken as wheels, so that any machine can build for
Lambda's processors. boto3 is among it: the copy that Lambda brings may be older than what the code reads
(docs/adr/0005-lambda-as-a-zip.md). The same inputs and the same zlib give the same bytes.
"""

import argparse
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "requirements" / "lambda.txt"
PYTHON: Final = "3.14"
"""The runtime of the function: deploy/sam/template.yaml and docs/deploy.md say the same."""
PLATFORMS: Final = ("manylinux2014_aarch64", "manylinux_2_28_aarch64")
"""What runs on Amazon Linux 2023 on arm64."""
DIRECT_UPLOAD: Final = 50 * 1000 * 1000
"""The largest zip that Lambda takes without a bucket."""

_BEGINNING_OF_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say."""
_NOT_CODE: Final = (".data/scripts/", ".data/headers/", ".data/data/")


class Unbuildable(Exception):
    """The zip cannot be made; the text says why."""


def build(arch: str, target: Path) -> Path:
    """Write the zip for "arm64", or for the "host" and the Python that runs this. Raises `Unbuildable`."""
    with tempfile.TemporaryDirectory(prefix="ecrsweep-package-") as folder:
        wheels = Path(folder)
        _fetch(arch, wheels)
        _run([sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)])
        content = {"main.py": (ROOT / "main.py").read_bytes()}
        for wheel in sorted(wheels.glob("*.whl")):
            _merge(content, dict(_files(wheel)), wheel.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    _write(target, content)
    size = target.stat().st_size
    if size > DIRECT_UPLOAD:
        raise Unbuildable(f"{target.name} has {size} bytes: Lambda takes at most {DIRECT_UPLOAD} without a bucket")
    return target


def _fetch(arch: str, folder: Path) -> None:
    """The wheels of the lock. Only wheels: an sdist would be built for, and by, this machine."""
    elsewhere = ["--implementation", "cp", "--python-version", PYTHON]
    elsewhere += [word for platform in PLATFORMS for word in ("--platform", platform)]
    _run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--require-hashes", "--only-binary", ":all:", "--requirement", str(LOCK), "--dest", str(folder),
            *(elsewhere if arch == "arm64" else []),
        ]
    )  # fmt: skip


def _run(command: Sequence[str]) -> None:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if ended.returncode:
        raise Unbuildable(f"{' '.join(command[1:4])} failed:\n{ended.stdout}{ended.stderr}")


def _files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a wheel where an installation would put them; what only a command line needs is left out."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith("/") or any(part in name for part in _NOT_CODE):
                continue
            inside = name.partition(".data/purelib/")[2] or name.partition(".data/platlib/")[2]
            yield inside or name, archive.read(name)


def _merge(content: dict[str, bytes], more: dict[str, bytes], where: str) -> None:
    twice = sorted(content.keys() & more.keys())
    if twice:
        raise Unbuildable(f"{where} has {', '.join(twice)}, which another part of the package has too")
    content.update(more)


def _write(target: Path, content: dict[str, bytes]) -> None:
    """Sorted, with one time and one mode for all: nothing of the machine or the hour gets in."""
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, _BEGINNING_OF_TIME)
            entry.create_system = 3  # Unix, so that the mode counts
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content[name], zipfile.ZIP_DEFLATED, 9)


def main() -> int:
    """Build what the command line says."""
    parser = argparse.ArgumentParser(description="Builds the zip of the Lambda function.")
    parser.add_argument("--arch", choices=["arm64", "host"], default="arm64")
    parser.add_argument("--output", type=Path, help="default: dist/ecrsweep-lambda-ARCH.zip")
    asked = parser.parse_args()
    target = asked.output or ROOT / "dist" / f"ecrsweep-lambda-{asked.arch}.zip"
    try:
        build(asked.arch, target)
    except Unbuildable as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
