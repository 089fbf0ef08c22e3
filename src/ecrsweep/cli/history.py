"""`ecrsweep uses --history`: what earlier runs saw of one image."""

import os
import sys
from collections.abc import Sequence

from ecrsweep.cli.images import asked_image, digest_of, held_now, require_ours
from ecrsweep.cli.running import (
    Flags,
    memory_of,
    prepared,
    settings_of,
)
from ecrsweep.cli.voice import Voice
from ecrsweep.core.document import (
    coverage_document,
)
from ecrsweep.core.errors import BadInput, NotFound
from ecrsweep.core.images import Image
from ecrsweep.core.ledger import history
from ecrsweep.core.names import EcrReference
from ecrsweep.core.uses import Sighting
from ecrsweep.reports.json import (
    HISTORY_FORMAT,
    history_document,
    write_document,
    write_lines,
)
from ecrsweep.reports.table import (
    console,
    show_history,
)
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.prepare import open_session


def run_history(image: str, flags: Flags) -> int:
    """`ecrsweep uses --history IMAGE`."""
    if flags["save"] or flags["unexplained"]:
        raise BadInput(
            "--history shows what is remembered of one image: --save and --unexplained have no place beside it"
        )
    voice = Voice(flags)
    session = open_session(settings_of(flags), dict(os.environ))
    asked = asked_image(image, session, flags)
    world, request = prepared(flags | {"regions": (asked.repository.registry.region,)}, session)
    require_ours(asked, session, request.scope.members)
    with voice.working("Reading the ledger"):
        recalled = memory_of(world, request).recall()
        digest, life = _life(asked, held_now(world, asked), recalled.sightings)
    if digest is None:
        raise NotFound(f"There is no image {asked}, and none is remembered")
    if flags["output"] == "table":
        show_history(console(sys.stdout, flags["color"]), f"{asked.repository.uri}@{digest}", life, recalled.coverage)
    else:
        rows = [history_document(one) for one in life]
        document = {"format": HISTORY_FORMAT, "image": f"{asked.repository.uri}@{digest}", "history": rows}
        if flags["output"] == "json":
            write_document(sys.stdout.buffer, document | {"coverage": [coverage_document(recalled.coverage)]})
        else:
            write_lines(sys.stdout.buffer, rows)
    return Exit.DONE


def _life(
    asked: EcrReference, images: Sequence[Image], sightings: Sequence[Sighting]
) -> tuple[str | None, tuple[Sighting, ...]]:
    """The digest that is meant, and all that is remembered of it: of an image that is gone too, if its digest is given."""
    digest = digest_of(asked, images)
    if digest is None and asked.digest:
        own = f"{asked.repository.uri}@"
        known = {one.image.removeprefix(own) for one in sightings if one.image.startswith(own)}
        digest = digest_of(asked, [Image(gone) for gone in sorted(known)])
    return digest, () if digest is None else history(sightings, asked.repository, images, digest)
