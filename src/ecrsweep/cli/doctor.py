"""`ecrsweep doctor`: examine, show, and say what is missing."""

import os
import sys
from typing import Any

from ecrsweep.cli.running import settings_of
from ecrsweep.cli.voice import Voice
from ecrsweep.reports.doctor import show_diagnosis
from ecrsweep.reports.doctor_accounts import show_accounts
from ecrsweep.reports.json import write_document
from ecrsweep.reports.table import console
from ecrsweep.wiring.doctor import examine
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.grants import statement
from ecrsweep.wiring.memory import open_memory
from ecrsweep.wiring.prepare import open_session, prepare


def run_doctor(flags: dict[str, Any]) -> int:
    """`ecrsweep doctor`. Raises `CredentialsFailure` where there are no credentials: then there is nothing to examine."""
    voice = Voice(flags)
    settings = settings_of(flags)
    session = open_session(settings, os.environ)
    world, request = prepare(settings, os.environ, session)
    with voice.working("Examining"):
        found = examine(session, world, request, open_memory(world, request.scope.state, os.environ), voice.say)
    if flags["output"] == "json":
        write_document(sys.stdout.buffer, found.document())
    elif found.several:
        show_accounts(console(sys.stdout, flags["color"]), found, verbose=flags["verbose"])
    else:
        show_diagnosis(console(sys.stdout, flags["color"]), found)
    sys.stdout.flush()
    if found.missing and not found.several:
        voice.warn(f"The policy of this identity lacks this statement:\n{statement(found.missing)}")
    return Exit.HELD if found.gaps else Exit.DONE
