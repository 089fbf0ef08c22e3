"""The company of the demo: four teams, two regions, two years of builds, and the troubles that every company has.

Deterministic but for the clock: everything happened some days before now. Each trouble is commented where it is made.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from ecrsweep.emulator.registry import Repository
from ecrsweep.emulator.server import Emulator

HOME: Final = "us-east-1"
ABROAD: Final = "eu-west-1"
REGIONS: Final = (ABROAD, HOME, "us-west-2")
"""What the company has switched on: every source is asked in each."""
YEARS: Final = 2 * 365

_MB: Final = 1_000_000
_DEBIAN: Final = {"debian": 30 * _MB}
"""What nearly all images stand on: ECR stores it once in each repository."""
_SHORT: Final = len("sha256:") + 12


def build(emulator: Emulator) -> tuple[tuple[str, str], ...]:
    """Fill an empty AWS with the company. Images that stay only because something uses them, with the story of each."""
    now = emulator.clock.now
    api, worker = _payments(emulator, now)
    storefront, edge = _web(emulator, now)
    etl = _data(emulator, now)
    base = _platform(emulator, now)
    pinned = worker.images()[20].digest
    _services(emulator, now, api, worker, storefront, edge, etl, base)
    return (
        ("payments/api:1.12.0", "a rollout is under way, and the old deployment still serves"),
        (f"payments/worker@{pinned[:_SHORT]}", "a service runs it by digest; its tag has moved on, so it has none"),
        ("data/etl:0.1", "a service at zero is used once a year"),
        ("web/storefront:release-1", "another region pulls from the registry at home"),
        ("web/cdn-edge:v3", "blue and green are task sets of an external controller"),
    )


def _payments(emulator: Emulator, now: datetime) -> tuple[Repository, Repository]:
    """Multi-platform builds, signed; the busiest repository of the company."""
    api = emulator.ecr.repository("payments/api")
    for build, pushed in _builds(now, 130, YEARS):
        children = [api.push_image(pushed_at=pushed, size=(58 + build % 9) * _MB, shared=_DEBIAN) for _ in range(2)]
        attestation = api.push_image(pushed_at=pushed, size=20_000, artifact_type="application/vnd.in-toto+json")
        tags = (f"1.{build}.0", f"main-{_hex(f'api {build}')}")
        index = api.push_index(children, tags, attestations=[attestation], pushed_at=pushed)
        if build % 3 == 0:
            api.push_signature(index, "cosign-tag", pushed_at=pushed)
        if build % 5 == 0:
            api.push_image(subject=index, artifact_type="application/spdx+json", pushed_at=pushed, size=300_000)
    api.tag("latest", api.digest_of("1.129.0"))
    worker = emulator.ecr.repository("payments/worker")
    for build, pushed in _builds(now, 60, 500):
        # Only the branch tag: each push takes it from the image before, which stays behind untagged.
        worker.push_image(("main",), pushed_at=pushed, size=(72 + build % 5) * _MB, shared=_DEBIAN)
    return api, worker


def _web(emulator: Emulator, now: datetime) -> tuple[Repository, Repository]:
    storefront = emulator.ecr.repository("web/storefront")
    for build, pushed in _builds(now, 125, YEARS):
        storefront.push_image((f"release-{build}",), pushed_at=pushed, size=(140 + build % 30) * _MB, shared=_DEBIAN)
    for request, pushed in _builds(now, 25, 200):
        storefront.push_image((f"pr-{600 + request}",), pushed_at=pushed, size=150 * _MB, shared=_DEBIAN)
    edge = emulator.ecr.repository("web/cdn-edge")
    for build, pushed in _builds(now, 140, 600):
        edge.push_image((f"v{build}",), pushed_at=pushed, size=31 * _MB, shared={"nginx": 24 * _MB})
    abroad = emulator.ecr.repository("web/storefront", region=ABROAD)
    for build, pushed in _builds(now, 20, 60):
        abroad.push_image((f"release-{build}",), pushed_at=pushed, size=145 * _MB, shared=_DEBIAN)
    return storefront, edge


def _data(emulator: Emulator, now: datetime) -> Repository:
    etl = emulator.ecr.repository("data/etl")
    for build, pushed in _builds(now, 145, 700):
        etl.push_image((f"0.{build}",), pushed_at=pushed, size=900 * _MB, shared=_DEBIAN | {"science": 640 * _MB})
    notebooks = emulator.ecr.repository("data/notebooks")
    for build, pushed in _builds(now, 12, 400):
        digest = notebooks.push_image(
            (f"2025.{build}",), pushed_at=pushed, size=2_300 * _MB, shared={"cuda": 1_900 * _MB}
        )
        if build == 2:  # noqa: PLR2004 - any will do
            # Somebody still pulls it, and no inventory knows who: CloudTrail does.
            notebooks.pull(digest, at=now - timedelta(days=4))
            emulator.trail.pull(notebooks, tag=f"2025.{build}", by="user/dana", at=now - timedelta(days=4))
    return etl


def _platform(emulator: Emulator, now: datetime) -> Repository:
    base = emulator.ecr.repository("platform/base")
    for build, pushed in _builds(now, 18, 650):
        base.push_image((f"bookworm-{build}",), pushed_at=pushed, size=48 * _MB)
    runner = emulator.ecr.repository("platform/ci-runner")
    for build, pushed in _builds(now, 30, 365):
        # Rebuilt each week under one tag: what is left behind has none.
        runner.push_image(
            ("stable",), pushed_at=pushed, size=(410 + build) * _MB, shared=_DEBIAN | {"tools": 310 * _MB}
        )
    return base


def _services(
    emulator: Emulator, now: datetime, api: Repository, worker: Repository, storefront: Repository, edge: Repository,
    etl: Repository, base: Repository,
) -> None:  # fmt: skip
    ecs = emulator.ecs
    for region in (HOME, ABROAD):
        for cluster in ("prod", "staging"):
            ecs.cluster(cluster, region=region)
    collector = {"otel": "public.ecr.aws/aws-observability/aws-otel-collector:latest"}

    # A rollout under way: the old deployment still serves, with an image older than the newest 100.
    ecs.service("api", ecs.register("api", {"api": f"{api.uri}:1.12.0"} | collector), cluster="prod", count=3)
    ecs.deploy("api", ecs.register("api", {"api": f"{api.uri}:1.129.0"} | collector), cluster="prod")

    # Pinned to an untagged digest: the service started when `main` named an image that has lost the tag since.
    old, newest = worker.images()[20].digest, worker.digest_of("main")
    worker.tag("main", old)
    ecs.service("worker", ecs.register("worker", {"worker": f"{worker.uri}:main"}), cluster="prod", count=2)
    worker.tag("main", newest)

    # At risk: a service at zero, used once a year. Any rule of age or count takes its image.
    ecs.service("year-end", ecs.register("year-end", {"job": f"{etl.uri}:0.1"}), cluster="prod", count=0)
    ecs.run(ecs.register("nightly", {"etl": f"{etl.uri}:0.144"}), cluster="prod")

    # Blue and green, by task sets of an external controller.
    blue = ecs.service("edge", "", cluster="prod", controller="EXTERNAL")
    for version in ("v3", "v139"):
        ecs.task_set(blue, ecs.register("edge", {"edge": f"{edge.uri}:{version}"}))

    # Another region pulls from the registry at home.
    abroad = ecs.register("storefront", {"web": f"{storefront.uri}:release-1"}, region=ABROAD)
    ecs.service("storefront", abroad, cluster="prod", count=2, region=ABROAD)
    ecs.service("storefront", ecs.register("storefront", {"web": f"{storefront.uri}:pr-624"}), cluster="staging")

    # Broken already: nobody has noticed, because nothing has restarted it.
    ecs.register("backfill", {"job": f"{base.uri}:bullseye-7"})
    _forget_the_morning(emulator, now)


def _forget_the_morning(emulator: Emulator, now: datetime) -> None:
    """These tasks have been running for long: what they pulled, they pulled months ago."""
    for region in (HOME, ABROAD):
        for repository in emulator.ecr.registry(emulator.account, region).values():
            for image in repository.images():
                if image.pulled_at is not None and image.pulled_at >= now.timestamp():
                    image.pulled_at = max(image.pushed_at, (now - timedelta(days=90)).timestamp())


def _builds(now: datetime, number: int, days: int) -> Iterator[tuple[int, datetime]]:
    """Builds spread over the last days, the newest a day and a half ago."""
    for build in range(number):
        yield build, now - timedelta(days=1.5 + (days - 1.5) * (number - 1 - build) / number, minutes=build % 7)


def _hex(seed: str) -> str:
    return hashlib.sha256(seed.encode()).hexdigest()[:7]
