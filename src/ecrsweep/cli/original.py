"""The command line of the AWS post of 2016: `python main.py -dryrun False -imagestokeep 20`."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from ecrsweep.cli.interrupts import stopping
from ecrsweep.cli.sentences import guarded
from ecrsweep.wiring.exits import Exit
from ecrsweep.wiring.original import DEFAULTS, OriginalRun, settings_of

_DASHES: Final = "-\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"


def main(arguments: Sequence[str]) -> int:
    """Run it; its exit status."""

    def run() -> Exit:
        return OriginalRun(settings_of(_parsed(arguments))).work(_interrupts)

    return guarded(run)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    with stopping() as stopped:
        yield stopped.is_set


def _parsed(arguments: Sequence[str]) -> Mapping[str, str]:
    """The flags, also with the long dashes that the original's page shows: pasted from there, they work."""
    parser = argparse.ArgumentParser(prog="main.py", description="Deletes stale ECR images")
    told = {
        "dryrun": "print what would be deleted and delete nothing: True (default) or False",
        "imagestokeep": "number of tagged images to keep in each repository (default 100)",
        "region": "region of the registry, or several with commas between (default: all regions)",
        "ignoretagsregex": "images with a tag in which this regular expression is found stay (default ^$)",
    }
    for name, text in told.items():
        parser.add_argument(f"-{name}", f"--{name}", default=DEFAULTS[name], help=text)
    return vars(parser.parse_args([_with_plain_dash(argument) for argument in arguments]))


def _with_plain_dash(argument: str) -> str:
    name = argument.lstrip(_DASHES)
    dashed = argument[:1] in set(_DASHES) and name.partition("=")[0] in DEFAULTS
    return f"-{name}" if dashed else argument
