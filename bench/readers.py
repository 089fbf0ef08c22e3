"""Readers of the same pages, each in a process of its own: boto3 as it comes, ecrsweep's reading, and the floor.

    python -m bench.readers boto3|ecrsweep|floor

Each lists every image of every repository at `AWS_ENDPOINT_URL`, holds what it knows of one repository at a time, and
prints how many images it saw. The floor signs nothing, parses no header that it does not need, and decodes the fields
that a plan needs with msgspec: less cannot be done from Python.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

from bench.world import REGION


def boto3_as_it_comes() -> int:
    """The paginator that everybody uses, one repository after the other: threads make it slower."""
    import boto3  # noqa: PLC0415 - a reader pays for its own imports alone

    client = boto3.client("ecr", region_name=REGION)
    names = [
        repository["repositoryName"]
        for page in client.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 1000})
        for repository in page["repositories"]
    ]
    count = 0
    for name in names:
        pages = client.get_paginator("describe_images").paginate(
            repositoryName=name, PaginationConfig={"PageSize": 1000}
        )
        count += len({image["imageDigest"]: image for page in pages for image in page["imageDetails"]})
    return count


def ecrsweep() -> int:
    """What a plan reads, in the way in which it reads it, and nothing else of a plan."""
    from ecrsweep.aws.cache import ManifestCache  # noqa: PLC0415 - a reader pays for its own imports alone
    from ecrsweep.aws.session import AwsSession  # noqa: PLC0415 - likewise
    from ecrsweep.aws.world import AwsWorld  # noqa: PLC0415 - likewise
    from ecrsweep.core.names import Registry  # noqa: PLC0415 - likewise

    world = AwsWorld(AwsSession(region=REGION, environ=os.environ), ManifestCache(None))
    store = world.image_store(Registry(world.account, REGION))
    return sum(len(inventory.images) for inventory in world.each(store.inventory, store.repository_names()))


def floor() -> int:
    """A raw socket and msgspec, unsigned."""
    import msgspec  # noqa: PLC0415 - a reader pays for its own imports alone

    class Image(msgspec.Struct, gc=False):
        imageDigest: str  # noqa: N815 - as AWS writes it
        imageTags: tuple[str, ...] = ()  # noqa: N815 - likewise
        imagePushedAt: float | None = None  # noqa: N815 - likewise
        lastRecordedPullTime: float | None = None  # noqa: N815 - likewise
        imageSizeInBytes: int = 0  # noqa: N815 - likewise
        imageManifestMediaType: str | None = None  # noqa: N815 - likewise

    class Page(msgspec.Struct):
        imageDetails: list[Image]  # noqa: N815 - likewise
        nextToken: str | None = None  # noqa: N815 - likewise

    decode = msgspec.json.Decoder(Page).decode
    ask = _plain_asker(os.environ["AWS_ENDPOINT_URL"])
    names = [
        r["repositoryName"]
        for r in json.loads(bytes(ask("DescribeRepositories", {"maxResults": 1000})))["repositories"]
    ]
    count = 0
    for name in names:
        images: dict[str, Image] = {}
        asked: dict[str, object] = {"repositoryName": name, "maxResults": 1000}
        while True:
            page = decode(ask("DescribeImages", asked))
            images |= {image.imageDigest: image for image in page.imageDetails}
            if page.nextToken is None:
                break
            asked["nextToken"] = page.nextToken
        count += len(images)
    return count


def _plain_asker(url: str) -> Callable[[str, dict[str, object]], memoryview]:
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray(1 << 21)
    view = memoryview(buffer)

    def ask(operation: str, asked: dict[str, object]) -> memoryview:
        body = json.dumps(asked).encode()
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: bench\r\nX-Amz-Target: A.%s\r\nContent-Length: %d\r\n\r\n%s"
            % (operation.encode(), len(body), body)
        )
        filled, whole, start = 0, -1, 0
        while whole < 0 or filled < whole:
            filled += connection.recv_into(view[filled:])
            if whole < 0 and (start := buffer.find(b"\r\n\r\n", 0, filled) + 4) > 3:  # noqa: PLR2004 - it was found
                at = buffer.index(b"Content-Length: ", 0, start) + 16
                whole = start + int(buffer[at : buffer.index(b"\r", at)])
        return view[start:whole]

    return ask


READERS: dict[str, Callable[[], int]] = {"boto3": boto3_as_it_comes, "ecrsweep": ecrsweep, "floor": floor}

if __name__ == "__main__":
    print(READERS[sys.argv[1]]())
