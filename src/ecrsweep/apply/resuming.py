"""Taking up a run again: what its journal says was done, and what it asked for without reading the answer."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from ecrsweep.apply.tally import Before
from ecrsweep.core.decisions import Action
from ecrsweep.core.journal import History
from ecrsweep.core.names import Repository
from ecrsweep.core.outcomes import Outcome

_DONE: Final = {Action.DELETE: Outcome.DELETED, Action.ARCHIVE: Outcome.ARCHIVED}


def done_before(history: History) -> Mapping[Repository, Before]:
    """What the run of a journal has done in each repository.

    Tags are not counted one by one: an image that should lose some is looked at again.
    """
    done: dict[Repository, dict[str, Outcome]] = defaultdict(dict)
    asked: dict[Repository, set[str]] = defaultdict(set)
    for call in history.calls:
        if call.answers is None or call.action not in _DONE:
            asked[call.repository] |= {touched.digest for touched in call.asked}
        else:
            done[call.repository] |= {touched.digest: _DONE[call.action] for touched in call.done}
    return {
        repository: Before(done[repository], frozenset(asked[repository] - done[repository].keys()))
        for repository in {*done, *asked}
    }
