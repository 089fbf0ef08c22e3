"""What the server serves: pages rendered once, as ECR and ECS would render them.

All repositories of a world hold the same images, because a digest need only be unique in its repository: a million images
cost the server a few pages, and the client nothing is spared, which has to read every byte of every page anew.
"""

import hashlib
import json
from dataclasses import dataclass

PAGE = 1000
ACCOUNT = "123456789012"
REGION = "us-east-1"
NOW = 1_764_000_000.0
DAY = 86_400.0
TASKS = 10_000
TASK_DEFINITIONS = 500
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


@dataclass(frozen=True)
class World:
    """So many repositories of so many images each."""

    repositories: int
    images: int

    @property
    def total(self) -> int:
        """All images."""
        return self.repositories * self.images

    @property
    def pages(self) -> int:
        """How many calls of DescribeImages list them all."""
        return self.repositories * -(-self.images // PAGE)

    @property
    def names(self) -> list[str]:
        """The names of the repositories."""
        return [f"team-{number % 10}/app-{number:04}" for number in range(self.repositories)]


WORLDS = {
    "start": World(1, 10),
    "1k": World(10, 100),
    "10k": World(10, 1_000),
    "100k": World(100, 1_000),
    "1M": World(1_000, 1_000),
    "1M-deep": World(10, 100_000),
    "100k-one": World(1, 100_000),
}


def digest(number: int) -> str:
    """The digest of an image of any repository."""
    return "sha256:" + hashlib.sha256(b"%d" % number).hexdigest()


def tag(number: int) -> str:
    """The tag of an image."""
    return f"build-{number}-{digest(number)[7:14]}"


def pages(world: World) -> list[bytes]:
    """The bodies of one repository's pages of DescribeImages, in order."""
    count = -(-world.images // PAGE)
    return [_page(world, number, last=number == count - 1) for number in range(count)]


def _page(world: World, number: int, *, last: bool) -> bytes:
    first = number * PAGE
    body: dict[str, object] = {
        "imageDetails": [_detail(image) for image in range(first, min(first + PAGE, world.images))]
    }
    if not last:
        body["nextToken"] = str(number + 1)
    return json.dumps(body, separators=(",", ":")).encode()


def _detail(number: int) -> dict[str, object]:
    """One image in ten has no tag, every second one was pulled some time."""
    detail: dict[str, object] = {
        "registryId": ACCOUNT,
        "repositoryName": "team-0/app-0000",
        "imageDigest": digest(number),
        "imageSizeInBytes": 50_000_000 + number * 997 % 90_000_000,
        "imagePushedAt": round(NOW - 400 * DAY - number * 61.7, 3),
        "imageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "artifactMediaType": "application/vnd.docker.container.image.v1+json",
        "imageStatus": "ACTIVE",
    }
    if number % 10:
        detail["imageTags"] = [tag(number)]
    if number % 2:
        detail["lastRecordedPullTime"] = round(NOW - 40 * DAY - number * 59.3, 3)
    return detail


def repositories(world: World) -> bytes:
    """The body of DescribeRepositories: a thousand fit on one page."""
    listed = [
        {
            "repositoryName": name,
            "registryId": ACCOUNT,
            "repositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}",
            "repositoryUri": f"{REGISTRY}/{name}",
            "createdAt": NOW - 900 * DAY,
        }
        for name in world.names
    ]
    return json.dumps({"repositories": listed}).encode()
