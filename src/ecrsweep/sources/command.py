"""Commands as witness: a program that knows what runs where no API of AWS is asked. One source a command (`--uses-command`).

It runs without a shell, with the environment of this process, in a process group of its own; its standard output is a list
of uses in any form of docs/formats.md. A plan comes from others: a command that stands only in a plan is never run.
"""

import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from ecrsweep.core.errors import BadInput
from ecrsweep.core.policy import format_duration, parse_duration
from ecrsweep.core.uses import Coverage, Note, Use
from ecrsweep.core.uses_file import LARGEST, parse_uses
from ecrsweep.ports import About, Place
from ecrsweep.sources.listed import coverage_name, told

NAME: Final = "command"
TIMEOUT: Final = 60.0
_CHUNK: Final = 65536
_LAST_WORDS: Final = 4096
_LINE: Final = 300

_running: set[int] = set()
_running_lock: Final = threading.Lock()


class CommandSource:
    """The uses that one command prints (`ports.Source`); without a command, the pattern that those with one are made after."""

    actions: tuple[str, ...] = ()
    about = About(
        system="the output of a command",
        calls="none of its own",
        keeps="every image that the command prints; failed readings in a uses file that it prints are gaps",
        unknowable=(
            "whether the command sees everything. Exit status, time (the option `timeout`, 60s) and output are checked. "
            "`apply` runs a command of a saved plan only if it is given again"
        ),
        by_default=False,
        flag="--uses-command",
        once=True,
        once_a_run=True,
    )

    def __init__(self, command: str = "", timeout: float = TIMEOUT, *, allowed: bool = True) -> None:
        """`command` as typed; not `allowed` where only a plan says so."""
        self._command = command
        self._timeout = timeout
        self._allowed = allowed

    @property
    def name(self) -> str:
        """`command:` and the name of the program."""
        return coverage_name(NAME, PurePath(words_of(self._command)[0]).name) if self._command else NAME

    def with_options(self, options: Mapping[str, str]) -> "CommandSource":
        """The same command with the option `timeout`, a duration. Raises `BadInput`."""
        strangers = options.keys() - {"timeout"}
        if strangers:
            raise BadInput(f"The source command has the option timeout, and no {', '.join(sorted(strangers))}")
        timeout = parse_duration(options["timeout"])
        if not timeout:
            raise BadInput("The option timeout of the source command is longer than nothing")
        return CommandSource(self._command, timeout, allowed=self._allowed)

    def of(self, command: str, *, allowed: bool) -> "CommandSource":
        """The source of this command, with the same options. Raises `BadInput` for one that is not made of words."""
        words_of(command)
        return CommandSource(command, self._timeout, allowed=allowed)

    def uses(self, place: Place) -> Iterator[Use | Note | Coverage]:  # noqa: ARG002 - it does not depend on the place
        """What the command prints. Raises `BadInput` for whatever is not a whole and sensible output."""
        if not self._allowed:
            raise BadInput(
                f"the plan was made with the command {self._command}, and a plan may come from others, so it was not run. "
                f"To run it: --uses-command {shlex.quote(self._command)}"
            )
        try:
            output = _output_of(words_of(self._command), self._timeout)
            yield from told(
                parse_uses(output, self._command, NAME), self.name, time.time(), modified=None, max_age=None
            )
        except BadInput as error:
            raise BadInput(f"{self._command}: {error}") from error


def words_of(command: str) -> list[str]:
    """The words of a command, as a shell would split them. Raises `BadInput`."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BadInput(f"--uses-command {command}: {error}") from error
    if not words:
        raise BadInput("--uses-command is empty")
    return words


def kill_running() -> None:
    """Kill every command that runs now, with all that it has started: for whoever ends this process at once."""
    with _running_lock:
        for group in _running:
            _kill(group)


def _output_of(words: Sequence[str], timeout: float) -> bytes:
    """What a command prints. Raises `BadInput` where it cannot be started, fails, takes too long, or prints too much."""
    try:
        with _running_lock:
            process = subprocess.Popen(  # noqa: S603 - the user typed it, and no shell reads it
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
            _running.add(process.pid)
    except (OSError, ValueError) as error:
        raise BadInput(f"it cannot be started: {getattr(error, 'strerror', None) or error}") from error
    output, errors = bytearray(), bytearray()
    ended = False
    try:
        _collect(process, output, errors, timeout)
        ended = True
    finally:
        with _running_lock:
            if not ended:
                _kill(process.pid)
            _running.discard(process.pid)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        status = process.wait()
    if status:
        how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        raise BadInput(f"{how}{_last_line(errors)}")
    return bytes(output)


def _collect(process: "subprocess.Popen[bytes]", output: bytearray, errors: bytearray, timeout: float) -> None:
    """Read both pipes to their ends and wait for the process. Raises `BadInput` past the time or size that is allowed."""
    until = time.monotonic() + timeout
    with selectors.DefaultSelector() as waiting:
        for pipe, kept in ((process.stdout, output), (process.stderr, errors)):
            if pipe is not None:
                waiting.register(pipe, selectors.EVENT_READ, kept)
        while waiting.get_map():
            left = until - time.monotonic()
            ready = waiting.select(left) if left > 0 else []
            if not ready:
                raise BadInput(f"not done after {format_duration(timeout)}{_last_line(errors)}")
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    waiting.unregister(key.fileobj)
                key.data.extend(chunk)
            if len(output) > LARGEST:
                raise BadInput(f"it prints more than {LARGEST // 1024**2} MiB")
            del errors[:-_LAST_WORDS]
    try:
        process.wait(max(until - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"not done after {format_duration(timeout)}{_last_line(errors)}") from error


def _last_line(errors: bytes | bytearray) -> str:
    lines = bytes(errors).decode(errors="replace").strip().splitlines()
    return f": {lines[-1].strip()[:_LINE]}" if lines else ""


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # all of it has ended, as this or another system says it
        return
