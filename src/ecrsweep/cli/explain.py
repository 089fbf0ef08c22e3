"""`ecrsweep explain`: everything known about one image."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ecrsweep.app import explain
from ecrsweep.cli.images import asked_image, digest_of, require_ours
from ecrsweep.cli.running import (
    Flags,
    begin,
    memory_of,
    prepared,
    settings_of,
)
from ecrsweep.cli.voice import Voice
from ecrsweep.core.document import (
    coverage_document,
    planned,
)
from ecrsweep.core.errors import NotFound
from ecrsweep.core.plan import Explanation
from ecrsweep.core.uses import Census, Coverage
from ecrsweep.reports.json import (
    history_document,
    write_document,
)
from ecrsweep.reports.table import (
    console,
    show_explanation,
)
from ecrsweep.reports.words import coverage_lines, printable
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.prepare import open_session


def run_explain(image: str, flags: Flags) -> int:
    """`ecrsweep explain IMAGE`."""
    voice = Voice(flags)
    session = open_session(settings_of(flags), dict(os.environ))
    asked = asked_image(image, session, flags)
    repository = asked.repository
    world, request = prepared(flags | {"regions": (repository.registry.region,)}, session)
    require_ours(asked, session, request.scope.members)
    with voice.working("Reading what is in use"):
        run = begin(world, request, memory_of(world, request), voice)
        census = run.census
        store = world.image_store(repository.registry)
        digest = digest_of(asked, store.inventory(repository.name).images)
        found = explain(run, store, repository, digest) if digest else None
    if found is None:
        raise NotFound(f"There is no image {asked} in account {repository.registry.account}")
    _show_explanation(found, census, flags)
    return Exit.HELD if census.gaps else Exit.DONE


def _show_explanation(found: Explanation, census: Census, flags: Flags) -> None:
    if flags["output"] == "json":
        write_document(sys.stdout.buffer, _explanation_document(found, census.coverage))
        return
    out = console(sys.stdout, flags["color"])
    show_explanation(out, found)
    out.print()
    for line in coverage_lines(census.coverage, 0):
        out.print(printable(line))


def _explanation_document(found: Explanation, coverage: Sequence[Coverage]) -> Mapping[str, Any]:
    return {
        "decision": planned(found.repository, found.decision),
        "parents": found.parents,
        "children": found.children,
        "subjects": found.subjects,
        "referrers": found.referrers,
        "history": [history_document(one) for one in found.history],
        "coverage": [coverage_document(entry) for entry in coverage],
    }
