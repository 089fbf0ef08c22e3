"""Carrying a plan out: check again, parents before children, batch by batch, and say what really happened.

A plan only permits. What goes is what the plan let go, what the evidence of now lets go too, and what has
not changed in between: tags, push and pull times, what contains it.
"""

from ecrsweep.apply.carry import Carrying

__all__ = ["Carrying"]
