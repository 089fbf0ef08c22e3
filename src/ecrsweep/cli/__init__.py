"""The command line: translation between what people type and the stories in `app`, and nothing else.

This module is all that `ecrsweep --help` loads besides click, so that it answers at once.
"""

import sys

from ecrsweep._version import __version__


def main() -> None:
    """Run the command line and leave with its exit status. No traceback for what a user can meet."""
    if sys.argv[1:] == ["--version"]:
        print(f"ecrsweep, version {__version__}")  # as click says it, without the 30 ms of loading it
        sys.exit()
    from ecrsweep.cli.commands import root  # noqa: PLC0415 - keeps `import ecrsweep.cli` free
    from ecrsweep.cli.sentences import guarded  # noqa: PLC0415

    sys.exit(guarded(lambda: root.main(standalone_mode=False, prog_name="ecrsweep")))


__all__ = ["main"]
