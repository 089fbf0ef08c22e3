"""`ecrsweep init`: look at what the account holds, and write a first configuration to a file."""

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ecrsweep.app import take_stock
from ecrsweep.cli.running import settings_of
from ecrsweep.cli.voice import Voice
from ecrsweep.config import read_configuration
from ecrsweep.config.starter import starter
from ecrsweep.core.errors import BadInput
from ecrsweep.core.names import Registry
from ecrsweep.core.stock import Group, grouped
from ecrsweep.reports.words import counted, printable, size
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.files import written_whole
from ecrsweep.wiring.given import source_names
from ecrsweep.wiring.prepare import open_session, open_world, registry_regions

_STDOUT: Final = "-"


def run_init(flags: dict[str, Any]) -> int:
    """`ecrsweep init`. Raises `BadInput` where the file is there already, before anything is asked of AWS."""
    voice = Voice(flags | {"output": "table"})
    target: str = flags["output_file"]
    if target != _STDOUT and Path(target).exists() and not flags["force"]:
        raise BadInput(f"{target} is there already, and was left as it is: name another --output-file, or add --force")
    settings = settings_of(flags)
    session = open_session(settings, dict(os.environ))
    regions = registry_regions(session, settings.regions)
    registries = [Registry(session.account, region) for region in regions]
    now = time.time()
    with voice.working("Looking at what the registries hold"):
        stocks, failures = take_stock(open_world(session), registries, now, voice.say)
    groups = grouped(stocks)
    unread = [f"{entry.region}: {entry.error}" for entry in failures]
    day = datetime.fromtimestamp(now, UTC).date().isoformat()
    name = "ecrsweep.yaml" if target == _STDOUT else target
    text = starter(session.account, regions, groups, unread, day=day, name=name)
    read_configuration(text.encode(), name, source_names(), str)
    _write(target, text)
    for line in unread:
        voice.warn(printable(f"Not read: {line}"))
    _tell(target, groups, session.account, regions, quiet=flags["quiet"])
    return Exit.HELD if failures else Exit.DONE


def _write(target: str, text: str) -> None:
    if target == _STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    with written_whole(target) as file:
        file.write(text.encode())


def _tell(target: str, groups: Sequence[Group], account: str, regions: tuple[str, ...], *, quiet: bool) -> None:
    """What was written, and what to do next."""
    if quiet:
        return
    repositories = sum(len(group.stocks) for group in groups)
    held = f"{counted(repositories, 'repository')}, {counted(sum(group.images for group in groups), 'image')}"
    where = f"account {account} in {', '.join(regions)}"
    print(f"Looked at {held}, up to {size(sum(group.size_bytes for group in groups))}, of {where}.", file=sys.stderr)
    if target != _STDOUT:
        print(
            f"Wrote {target} with {counted(len(groups), 'policy')}: read it, change it, then look at what it means:",
            file=sys.stderr,
        )
        print(f"\n  ecrsweep plan --config {target}\n", file=sys.stderr)
