"""Carrying a plan out: check again, parents before children, batch by batch, and say what really happened.

A plan only permits. What is done is what the plan says, what the evidence of now says too, and what has not changed in
between: tags, push and pull times, what contains it. Every changing call is written down before and after.
"""

from ecrsweep.apply.carry import Carrying
from ecrsweep.apply.record import Record
from ecrsweep.apply.resuming import done_before
from ecrsweep.apply.tally import Before

__all__ = ["Before", "Carrying", "Record", "done_before"]
