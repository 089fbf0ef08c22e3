"""The journal of a run as it is written: a line before every changing call, and one after it with what AWS answered.

Where there is no journal, nothing is written and everything else is the same. What cannot be written stops the run before
the call: a change that nobody can look up later is not made.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ecrsweep.core import journal
from ecrsweep.core.decisions import Action
from ecrsweep.core.document import SavedPlan
from ecrsweep.core.errors import AwsFailure
from ecrsweep.core.images import Image
from ecrsweep.core.journal import KeptManifest, Touched
from ecrsweep.core.manifests import Contents
from ecrsweep.core.names import Repository
from ecrsweep.ports import Deletion, EdgeStore, ImageStore, Journal

MOST_MANIFEST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of manifests that one journal takes: an index has a few kilobytes, so this is some twenty thousand of them."""

Clock = Callable[[], float]


class Record:
    """What a run writes down, and where."""

    def __init__(
        self,
        clock: Clock,
        to: Journal | None = None,
        edges: EdgeStore | None = None,
        *,
        manifests: bool = True,
        still_ours: Callable[[], None] = lambda: None,
    ) -> None:
        """`clock` tells seconds since the epoch. `manifests` False: what is deleted cannot be pushed back from the journal.

        `still_ours` is asked before every call: it raises `Busy` where another run has taken over.
        """
        self._clock = clock
        self._to = to
        self._edges = edges
        self._manifests = manifests
        self._still_ours = still_ours
        self._calls = 0
        self._room = MOST_MANIFEST_BYTES

    @property
    def location(self) -> str | None:
        """Where the journal is; None where none is written."""
        return None if self._to is None else self._to.location

    def begin(self, run: str, account: str, tool_version: str, plan: SavedPlan, *, override_limits: bool) -> None:
        """The first lines. Raises `StateFailure`."""
        now = self._clock()
        self._write(*journal.begun(run, account, tool_version, now, plan, override_limits=override_limits))

    def resume(self, run: str, calls: int, *, override_limits: bool) -> None:
        """Go on behind what stands in the journal, which tells of this many calls. Raises `StateFailure`."""
        self._calls = calls
        self._write(journal.resumed(run, self._clock(), override_limits=override_limits))

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def calling(
        self,
        action: Action,
        repository: Repository,
        asked: Sequence[Touched],
        checked_at: float,
        call: Callable[[], Sequence[Deletion]],
    ) -> Sequence[Deletion]:
        """The answers of a changing call, with a line before and after it; `checked_at` is when its images were looked at last.

        Raises what `call` raises, `Busy` and `StateFailure`.
        """
        self._still_ours()
        self._calls += 1
        number = self._calls
        now = self._clock()
        self._write(journal.asking(number, action, repository, asked, now, window=now - checked_at))
        try:
            answers = call()
        except AwsFailure as failure:
            self._write(journal.failed(number, str(failure), self._clock()))
            raise
        touched = (Touched(answer.digest, answer.tag, answer.failure, answer.message) for answer in answers)
        request = next((answer.request for answer in answers if answer.request), None)
        self._write(journal.answered(number, touched, request, self._clock()))
        return answers

    def keep_manifests(self, store: ImageStore, repository: Repository, images: Sequence[Image]) -> None:
        """Write the manifests of images down that are about to go, as far as there is room. Raises `AwsFailure`, `StateFailure`."""
        if self._to is None or not self._manifests or self._room <= 0:
            return
        tags = {image.digest: image.tags for image in images}
        kept = []
        for found in store.manifests(repository.name, images):
            self._room -= len(found.content)
            if self._room > 0:
                kept.append(KeptManifest(found.digest, found.media_type, tags[found.digest], found.content))
        if kept:
            self._write(journal.manifests_kept(repository, kept, self._clock()))

    def keep_edges(self, edges: Mapping[str, Contents]) -> None:
        """Keep what indexes contain where it lasts: nobody can read one that is archived. Raises `StateFailure`."""
        if self._edges is not None and edges:
            self._edges.add(edges)

    def came_to(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """What became of images for which no call was made. Raises `StateFailure`."""
        told = list(documents)
        if told:
            self._write(journal.came_to(told, self._clock()))

    def end(self, summary: Mapping[str, Any], *, interrupted: bool) -> None:
        """The last line. Raises `StateFailure`."""
        self._write(journal.ended(summary, self._clock(), interrupted=interrupted))

    def _write(self, *events: Mapping[str, Any]) -> None:
        if self._to is not None:
            self._to.write(*events)
