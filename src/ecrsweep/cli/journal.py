"""`ecrsweep journal show`: what a run did, from its journal alone."""

import os
import sys
from typing import Any

from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.reports.journal import journal_document, show_journal
from ecrsweep.reports.json import write_document
from ecrsweep.reports.table import console
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.journals import read_history


def run_journal_show(location: str, flags: dict[str, Any]) -> int:
    """Show a journal; 4 where its run left something undone."""
    place = None
    if location.startswith("s3://"):
        session = AwsSession(profile=flags["profile"], endpoint_url=flags["endpoint_url"], environ=os.environ)
        place = AwsPlace(session, session.home_region)
    history = read_history(place, location)
    if flags["output"] == "json":
        write_document(sys.stdout.buffer, journal_document(history))
    else:
        show_journal(console(sys.stdout, flags["color"]), history, location)
    return Exit.DONE if history.whole else Exit.LEFT_UNDONE
