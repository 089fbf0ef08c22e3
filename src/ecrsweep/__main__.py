"""`python -m ecrsweep`."""

from ecrsweep.cli import main

main()
