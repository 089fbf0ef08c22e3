"""What outlives a run: the ledger of uses and the accepted counts, over any place that can keep them.

It knows the core and ports. What memory means for an image is decided in the core; where it lies is wired elsewhere.
"""

from ecrsweep.memory.folder import Folder
from ecrsweep.memory.holds import HoldBook
from ecrsweep.memory.ledger import Ledger

__all__ = ["Folder", "HoldBook", "Ledger"]
