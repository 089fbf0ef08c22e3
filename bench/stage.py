"""The plan stage alone, over images that are in memory: microseconds of CPU an image, as JSON.

python -m bench.stage 1M
"""

import json
import sys
import time

import msgspec

from bench import world as worlds
from ecrsweep.core.images import Image, Inventory
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.plan import plan_repository
from ecrsweep.core.policy import Limits, Policy
from ecrsweep.core.uses import UseIndex


class _Page(msgspec.Struct):
    imageDetails: list[Image]  # noqa: N815 - as AWS writes it


def main() -> None:
    """Decode a repository at a time, which is not counted, and decide."""
    world = worlds.WORLDS[sys.argv[1]]
    pages, index, spent = worlds.pages(world), UseIndex([]), 0.0
    decode = msgspec.json.Decoder(_Page).decode
    for name in world.names:
        repository = Repository(Registry(worlds.ACCOUNT, worlds.REGION), name)
        images = tuple(image for page in pages for image in decode(page).imageDetails)
        began = time.process_time()
        matched = index.match(repository, images)
        plan_repository(Inventory(repository, images, {}), matched, Policy(), worlds.NOW, limits=Limits())
        spent += time.process_time() - began
    print(json.dumps({"images": world.total, "cpu_us_an_image": spent / world.total * 1e6}))


if __name__ == "__main__":
    main()
