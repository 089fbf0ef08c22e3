"""The zips, built once for all workers, and the function as it is unpacked in Lambda."""

import fcntl
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.package import Unbuildable, build
from tests.deploy.runtime import runtime_folder


def built_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """What the first worker that comes here makes, and the others wait for."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    target = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            make(target)
    return target


def packaged(arch: str, target: Path) -> None:
    """Build a zip. Without a way to the packages there is nothing to test: told here, and an error in CI."""
    try:
        build(arch, target)
    except Unbuildable as error:
        if "CI" in os.environ or "No matching distribution" not in str(error):
            raise
        pytest.skip(f"the packages of the function cannot be fetched here: {error}")


@pytest.fixture(scope="session")
def arm64_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make package` builds."""
    return built_once(tmp_path_factory, "arm64.zip", lambda target: packaged("arm64", target))


@pytest.fixture(scope="session")
def host_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make package ARCH=host` builds: the same, for this machine."""
    return built_once(tmp_path_factory, "host.zip", lambda target: packaged("host", target))


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory, host_zip: Path) -> Path:
    """The zip of this machine, unpacked."""

    def unpack(target: Path) -> None:
        with zipfile.ZipFile(host_zip) as archive:
            archive.extractall(target)

    return built_once(tmp_path_factory, "code", unpack)


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AWS's runtime client, by itself."""
    if sys.platform != "linux":
        pytest.skip("AWS's runtime client is for Linux")
    return built_once(tmp_path_factory, "runtime", runtime_folder)
