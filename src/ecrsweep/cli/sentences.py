"""Around every command: errors become sentences on stderr and an exit status, whatever they are.

A full disk, a closed pipe and Ctrl-C are things that users meet; a bug of ours is said to be one.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from ecrsweep.core.errors import (
    BadInput,
    BadName,
    Busy,
    CredentialsFailure,
    Denied,
    EcrsweepError,
    PlanExpired,
    RoleForbidden,
    RoleRefused,
    RoleRegionDisabled,
)
from ecrsweep.wiring.exits import Exit


def guarded(command: Callable[[], Any]) -> int:
    """Run a command; its exit status, with every error told on stderr."""
    import click  # noqa: PLC0415 - main.py comes here without click's help

    try:
        status = command()
        sys.stdout.flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        return _leave_now()
    except BrokenPipeError:
        return _pipe_closed()
    except EcrsweepError as error:
        return _tell(error)
    except OSError as error:
        return _system(error)
    except Exception:  # noqa: BLE001 - the last net: a bug of ours, told as such
        traceback.print_exc()
        print("This is a fault in ecrsweep itself. Please report it with the lines above.", file=sys.stderr)
        return Exit.ERROR
    return status if isinstance(status, int) else Exit.DONE


def hint(error: EcrsweepError) -> str:
    """What to do next, where there is something general to say."""
    if isinstance(error, CredentialsFailure):
        return "Check with: aws sts get-caller-identity. Log in again, or choose a --profile. Nothing was changed."
    if isinstance(error, RoleForbidden | RoleRefused | RoleRegionDisabled):
        return ""  # it says itself what would help
    if isinstance(error, Denied) and error.action:
        return f"Grant {error.action} to this identity, or use another. Nothing was changed."
    return ""


def _tell(error: EcrsweepError) -> int:
    text = str(error) if str(error).endswith((".", "?")) or "\n" in str(error) else f"{error}."
    print(f"Error: {text} {hint(error)}".rstrip(), file=sys.stderr)
    if isinstance(error, PlanExpired | Busy):
        return Exit.HELD
    return Exit.USAGE if isinstance(error, BadInput | BadName) else Exit.ERROR


def _system(error: OSError) -> int:
    what = f"{error.filename}: " if error.filename else ""
    tail = " The output is not complete." if error.errno == errno.ENOSPC else ""
    print(f"Error: {what}{error.strerror or error}.{tail}", file=sys.stderr)
    _forget_stdout()
    return Exit.ERROR


def _pipe_closed() -> int:
    """Who read our output has gone: nobody is left to tell, and nothing more is to be done."""
    _forget_stdout()
    return Exit.ERROR


def _leave_now() -> int:
    """Threads may wait for AWS for a minute: what they read is not needed any more."""
    commands = sys.modules.get("ecrsweep.sources.command")
    if commands is not None:
        commands.kill_running()
    print("Interrupted. Nothing was deleted.", file=sys.stderr)
    sys.stderr.flush()
    os._exit(Exit.INTERRUPTED)


def _forget_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes at the end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
