"""What outlives a run: the ledger of uses, the accepted counts, holds, edges and journals, over any place that can keep them.

It knows the core and ports. What memory means for an image is decided in the core; where it lies is wired elsewhere.
"""

from ecrsweep.memory.edges import EdgeBook
from ecrsweep.memory.folder import Folder
from ecrsweep.memory.holds import HoldBook
from ecrsweep.memory.journal import FileJournal, StoredJournal, stored_lines
from ecrsweep.memory.lease import Leases
from ecrsweep.memory.ledger import Ledger

__all__ = ["EdgeBook", "FileJournal", "Folder", "HoldBook", "Leases", "Ledger", "StoredJournal", "stored_lines"]
