"""What archived indexes contain, over a state store: a file a run. Nobody can read an archived manifest.

Lost edges let nothing go: the repository is held until its index is restored. What is read here is checked like everything
that comes from outside; what is damaged counts as absent.
"""

import uuid
from collections.abc import Mapping
from typing import Final

import msgspec

from ecrsweep.core.manifests import Contents
from ecrsweep.ports import StateStore

EDGES_FORMAT: Final = "ecrsweep.edges/1"


class _Edges(msgspec.Struct):
    """A line, as it is written."""

    format: str
    digest: str
    media_type: str
    children: tuple[str, ...]


class EdgeBook:
    """The edges that the runs of one account kept (`ports.EdgeStore`)."""

    def __init__(self, store: StateStore, account: str) -> None:
        """Nothing is read yet."""
        self._store = store
        self._folder = f"edges/{account}/"

    def add(self, contents: Mapping[str, Contents]) -> None:
        """Keep what these manifests contain, by digest. Raises `StateFailure`."""
        lines = (
            msgspec.json.encode(_Edges(EDGES_FORMAT, digest, found.media_type, found.children)) + b"\n"
            for digest, found in sorted(contents.items())
        )
        self._store.add(f"{self._folder}{uuid.uuid4().hex}.jsonl", b"".join(lines))

    def recall(self) -> dict[str, Contents]:
        """Everything that was kept. Raises `StateFailure`."""
        found: dict[str, Contents] = {}
        for kept in self._store.read(self._store.names(self._folder)):
            for line in [] if kept is None else kept.content.splitlines():
                try:
                    edges = msgspec.json.decode(line, type=_Edges)
                except msgspec.MsgspecError:
                    continue
                if edges.format == EDGES_FORMAT:
                    found[edges.digest] = Contents(edges.media_type, edges.children)
        return found
