"""Progress, warnings and prompts on stderr: a status line on a terminal, log lines where they are asked for."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any


class Voice:
    """What a run says besides its results. Nothing of it goes to stdout."""

    def __init__(self, flags: dict[str, Any]) -> None:
        """Set logging up as the flags ask: `--quiet`, `--verbose`, `--log-format`."""
        self._quiet = bool(flags.get("quiet"))
        self._lines = bool(flags.get("verbose")) or flags.get("log_format") == "json"
        self._spins = not (self._quiet or self._lines) and flags.get("output") == "table" and sys.stderr.isatty()
        self._status: Any = None
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonLines() if flags.get("log_format") == "json" else logging.Formatter("%(message)s"))
        self._log = logging.getLogger("ecrsweep")
        self._log.handlers = [handler]
        self._log.propagate = False
        self._log.setLevel(logging.INFO if self._lines and not self._quiet else logging.WARNING)

    def say(self, text: str) -> None:
        """Progress: the latest of it on a terminal, each line where logs are asked for."""
        self._log.info("%s", text)
        if self._status is not None:
            self._status.update(text)

    def warn(self, text: str) -> None:
        """Something that the user should know, whatever else is shown."""
        self._log.warning("%s", text)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show on a terminal that work goes on."""
        if not self._spins:
            self.say(text)
            yield
            return
        from rich.console import Console  # noqa: PLC0415 - only when drawing

        with Console(stderr=True, markup=False, highlight=False).status(text) as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat()
        return json.dumps({"time": moment, "level": record.levelname.lower(), "message": record.getMessage()})
