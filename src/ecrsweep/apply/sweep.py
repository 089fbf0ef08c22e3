"""One repository of an apply: checked as a whole, then tags off, into the archive, and away, wave by wave.

Parents come before children, because ECR refuses a child whose index is there, and an index that is half there can neither
run nor come back. Right before each batch its images are described once more: what differs is spared.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from ecrsweep.apply.record import Record
from ecrsweep.apply.tally import Before, Tally
from ecrsweep.core.decisions import GOING, Action, Decision, Reason
from ecrsweep.core.document import PlannedImage, planned
from ecrsweep.core.errors import AwsFailure, CredentialsFailure, Denied, Missing, Unreachable
from ecrsweep.core.graph import Graph, build_graph, levels, reached
from ecrsweep.core.images import Image, Inventory, Status
from ecrsweep.core.journal import Touched
from ecrsweep.core.manifests import Contents
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.outcomes import Outcome, Result
from ecrsweep.core.plan import RepositoryPlan
from ecrsweep.ports import Deletion, ImageStore

BATCH: Final = 100
"""Images of one BatchDeleteImage: the most that the API takes."""

ARCHIVED_AT_ONCE: Final = 20
"""Images archived between two lines of the journal: each takes a call of its own."""

FRESH: Final = 30.0
"""Seconds for which a look at the whole repository counts: then it is looked at again, for new indexes and referrers."""

_OUT_OF_THE_WAY: Final = frozenset({Outcome.DELETED, Outcome.ARCHIVED, Outcome.ALREADY_GONE, Outcome.SPARED})
_TOLD_BY_CALLS: Final = frozenset({Outcome.DELETED, Outcome.ARCHIVED, Outcome.UNTAGGED, Outcome.REFUSED})

Stop = Callable[[], bool]
Decide = Callable[[Inventory], RepositoryPlan]


class Sweep:
    """What was planned of a repository, and the way to carry it out."""

    def __init__(
        self,
        store: ImageStore,
        decide: Decide,
        repository: Repository,
        images: Sequence[PlannedImage],
        *,
        record: Record,
        before: Before,
        changed: set[Registry],
    ) -> None:
        """`decide` is the judgement of now; `before` is what an earlier part of the run has done here.

        `changed` are the registries in which this part has changed something, or may have: it is read and added to.
        """
        self._store = store
        self._decide = decide
        self._repository = repository
        self._record = record
        self._changed = changed
        self._tally = Tally(images, before)
        self._looked_at = self._checked_at = 0.0
        self._edges_kept: set[str] = set()

    @property
    def registry(self) -> Registry:
        """Where the repository is."""
        return self._repository.registry

    @property
    def described(self) -> str:
        """In words, what is about to be done."""
        return f"Checking {self._repository.name} again: {len(self._tally.planned)} images planned"

    def results(self, why_not: str | None) -> list[Result]:
        """One result for each planned image, in the order of the plan; `why_not` tells why some were not tried."""
        return self._tally.results(why_not)

    def quiet_results(self) -> Iterator[Result]:
        """The results that no answer of AWS tells."""
        return (result for result in self._tally.done.values() if result.outcome not in _TOLD_BY_CALLS)

    def hold(self, reason: Reason) -> None:
        """What has no result is held: the plan holds the whole registry."""
        why = f"the whole registry is held: {reason.detail}"
        self._tally.mark(self._tally.open(), Outcome.HELD, reason.code.value, why)

    def leave(self, why: str) -> None:
        """What has no result is left undone, for this reason."""
        self._tally.mark(self._tally.open(), Outcome.NOT_TRIED, message=why)

    def work(self, stop: Stop) -> None:
        """Check, then change. Raises `CredentialsFailure` and `Busy` where nothing further may be tried, and `StateFailure`.

        Raises `Unreachable` where the registry has gone away: something in it was changed, and now it cannot be asked.
        """
        graph = self._look()
        if graph is None:
            return
        self._untag(stop)
        for action, size in ((Action.ARCHIVE, ARCHIVED_AT_ONCE), (Action.DELETE, BATCH)):
            for wave in levels(self._open(action), graph.above, graph.parents_of):
                for start in range(0, len(wave), size):
                    if stop():
                        return
                    if self._record.now() - self._looked_at > FRESH:
                        graph = self._look()
                    if graph is None:
                        return
                    self._batch(graph, action, wave[start : start + size])

    def _look(self) -> Graph | None:
        """The repository as it is now, and what of the plan is spared for that; None where it cannot be looked at.

        A manifest has no way to tell what contains it or refers to it: that takes a look at all of them.
        """
        self._looked_at = self._record.now()
        try:
            inventory = self._store.inventory(self._repository.name)
        except Missing:
            self._tally.mark(self._tally.open(), Outcome.ALREADY_GONE, message="the repository is gone")
            return None
        except AwsFailure as failure:
            self._raise_if_hopeless(failure)
            self._tally.mark(self._tally.open(), Outcome.HELD, "coverage_gap", str(failure))
            return None
        graph = build_graph(inventory.images, inventory.edges)
        now = {decision.image.digest: decision for decision in self._decide(inventory).decisions}
        self._compare(now)
        self._spare_what_is_taken_up(graph, now)
        self._spare_neighbours(graph)
        self._keep_edges(inventory)
        return graph

    def _raise_if_hopeless(self, failure: AwsFailure) -> None:
        """Raise it where nothing further can succeed: a look that fails is a gap, but not in the midst of changing."""
        gone = isinstance(failure, Unreachable) and self.registry in self._changed
        if gone or isinstance(failure, CredentialsFailure):
            raise failure

    def _open(self, *actions: Action) -> list[str]:
        return [digest for digest in self._tally.open() if self._tally.planned[digest].action in actions]

    def _compare(self, now: Mapping[str, Decision]) -> None:
        """Spare what the evidence of now keeps or holds, and what is not as it was planned."""
        for digest in self._tally.open():
            image, decision = self._tally.planned[digest], now.get(digest)
            if digest in self._tally.asked:
                done = _done(image.action, image, None if decision is None else decision.image)
                if done is not None:
                    self._tally.mark([digest], done, message="the answer was lost; it was carried out")
                    continue
            if decision is None:
                self._tally.mark([digest], Outcome.ALREADY_GONE)
            elif decision.action is Action.HOLD:
                reason = decision.reasons[0]
                self._tally.mark([digest], Outcome.HELD, reason.code.value, reason.detail)
            elif decision.action is image.action:
                self._compare_images(image, decision.image, set(decision.untag))
            elif image.action is Action.ARCHIVE and decision.image.status == Status.ARCHIVED:
                self._tally.mark([digest], Outcome.ARCHIVED, message="it was archived already")
            elif decision.stays:
                why = "; ".join(f"{reason.code.value} {reason.detail}".strip() for reason in decision.reasons[:3])
                self._spare(digest, f"kept now: {why}")
            else:
                self._spare(digest, f"what becomes of it now would be another thing: {decision.action.value}")

    def _compare_images(self, then: PlannedImage, now: Image, tags_to_go: set[str]) -> None:
        """For tags alone it does not matter what else changed, as long as the judgement of now lets them go too."""
        if then.action is not Action.UNTAG:
            self._spare_if_changed(then, now)
        elif not set(then.untag) & set(now.tags):
            self._tally.mark([then.digest], Outcome.ALREADY_GONE, message="its tags are gone already")
        elif not set(then.untag) <= tags_to_go | (set(then.untag) - set(now.tags)):
            self._spare(
                then.digest, f"tags stay now: {', '.join(sorted(set(then.untag) & set(now.tags) - tags_to_go))}"
            )

    def _spare(self, digest: str, why: str) -> None:
        self._tally.mark([digest], Outcome.SPARED, "changed", why)

    def _spare_if_changed(self, image: PlannedImage, found: Image) -> None:
        change = _change(image, planned(self._repository, Decision(found, Action.DELETE, ())))
        if change is not None:
            self._spare(image.digest, change)

    def _spare_what_is_taken_up(self, graph: Graph, now: Mapping[str, Decision]) -> None:
        """What would go now and is not in the plan came after it: it speaks for what it contains or refers to."""
        for digest, decision in now.items():
            if decision.action in GOING and digest not in self._tally.planned:
                for under in (*graph.children_of(digest), *graph.subjects_of(digest)):
                    if self._goes(under) and under not in self._tally.done:
                        self._spare(under, f"{digest} is over it, which the plan does not name")

    def _spare_neighbours(self, graph: Graph) -> None:
        """An artifact is one unit: where a member is spared, what contains it and all under that stay too."""
        spared = [
            digest for digest in self._tally.only(list(self._tally.planned), Outcome.SPARED) if self._goes(digest)
        ]
        self._spare_open(reached(reached(spared, *graph.up), *graph.down))

    def _spare_open(self, digests: Iterable[str]) -> None:
        going = [digest for digest in digests if self._goes(digest)]
        self._tally.mark_open(going, Outcome.SPARED, "changed", "it belongs to an artifact that changed")

    def _goes(self, digest: str) -> bool:
        return digest in self._tally.planned and self._tally.planned[digest].action in GOING

    def _keep_edges(self, inventory: Inventory) -> None:
        """What is archived cannot be read: what it contains is kept first."""
        going = set(self._open(Action.ARCHIVE)) - self._edges_kept
        self._edges_kept |= going
        self._record.keep_edges(
            {
                image.digest: Contents(image.media_type or "", inventory.edges.get(image.digest, ()))
                for image in inventory.images
                if image.digest in going and image.needs_reading
            }
        )

    def _untag(self, stop: Stop) -> None:
        """Take tags off, at most a hundred a call; of each image all in one call, so that one is surely left."""
        batch: list[PlannedImage] = []
        for digest in self._open(Action.UNTAG):
            image = self._tally.planned[digest]
            if sum(len(one.untag) for one in (*batch, image)) > BATCH and batch:
                if stop():
                    return
                self._untag_batch(batch)
                batch = []
            batch.append(image)
        if batch and not stop():
            self._untag_batch(batch)

    def _untag_batch(self, images: Sequence[PlannedImage]) -> None:
        """Describe once more; take off what is there, of images that keep another tag."""
        found = self._described([image.digest for image in images])
        pairs = []
        for image in images:
            now = set(found[image.digest].tags) if image.digest in found else set()
            if image.digest in self._tally.done:
                continue
            if not now - set(image.untag):
                self._spare(image.digest, "it would lose its last tag, and go with it")
                continue
            pairs += [(tag, image.digest) for tag in image.untag if tag in now]
        answers: list[Deletion] = []
        for start in range(0, len(pairs), BATCH):
            answers += self._untag_call(pairs[start : start + BATCH])
        for digest in dict.fromkeys(digest for _, digest in pairs if digest not in self._tally.done):
            refused = [answer for answer in answers if answer.digest == digest and answer.failure]
            if refused:
                what = ", ".join(f"{answer.tag}: {answer.message or answer.failure}" for answer in refused)
                self._tally.mark([digest], Outcome.REFUSED, refused[0].failure, what)
            else:
                self._mark_changed(digest, Outcome.UNTAGGED)

    def _untag_call(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Deletion]:
        asked = [Touched(digest, tag) for tag, digest in pairs]
        digests = list(dict.fromkeys(digest for _, digest in pairs))
        call = partial(self._store.untag, self._repository.name, pairs)
        return self._call(Action.UNTAG, asked, digests, call) or ()

    def _batch(self, graph: Graph, action: Action, digests: Sequence[str]) -> None:
        """Look once more, act, and note what AWS answered for each image."""
        ready = self._still_as_planned(graph, [digest for digest in digests if digest not in self._tally.done])
        if not ready:
            return
        images = list(ready.values())
        if action is Action.DELETE and not self._kept_manifests(graph, images):
            return
        act = self._delete if action is Action.DELETE else self._archive
        answers = self._call(action, [Touched(digest) for digest in ready], list(ready), lambda: act(list(ready)))
        done = Outcome.DELETED if action is Action.DELETE else Outcome.ARCHIVED
        for answer in answers or ():
            if answer.failure is None:
                self._mark_changed(answer.digest, done)
            else:
                self._tally.mark([answer.digest], Outcome.REFUSED, answer.failure, answer.message)
        self._keep_under(graph, list(ready))

    def _mark_changed(self, digest: str, outcome: Outcome, message: str | None = None) -> None:
        self._changed.add(self.registry)
        self._tally.mark([digest], outcome, message=message)

    def _delete(self, digests: Sequence[str]) -> Sequence[Deletion]:
        return self._store.delete(self._repository.name, digests)

    def _archive(self, digests: Sequence[str]) -> Sequence[Deletion]:
        """One call an image. What fails for one is its answer, where it can be asked what became of it."""
        answers = []
        for digest in digests:
            try:
                answers.append(self._store.archive(self._repository.name, digest))
            except CredentialsFailure:
                raise
            except AwsFailure as failure:
                answers.append(self._archived_after(digest, failure))
        return answers

    def _archived_after(self, digest: str, failure: AwsFailure) -> Deletion:
        """A call that failed may have gone through, or somebody else was faster: ask in which state the image is.

        Raises `AwsFailure` where that cannot be asked: then the whole batch is in doubt.
        """
        found = self._store.describe(self._repository.name, [digest])
        if digest in found and found[digest].status == Status.ARCHIVED:
            return Deletion(digest)
        return Deletion(digest, type(failure).__name__, str(failure))

    def _kept_manifests(self, graph: Graph, images: Sequence[Image]) -> bool:
        """Write down what could be pushed back later. Without that nothing of the batch is deleted."""
        try:
            self._record.keep_manifests(self._store, self._repository, images)
        except AwsFailure as failure:
            self._raise_if_hopeless(failure)
            digests = [image.digest for image in images]
            why = f"its manifest could not be kept for the journal (--no-manifests goes on without): {failure}"
            self._tally.mark(digests, Outcome.NOT_TRIED, message=why)
            self._keep_under(graph, digests)
            return False
        return True

    def _call(
        self, action: Action, asked: Sequence[Touched], digests: Sequence[str], call: Callable[[], Sequence[Deletion]]
    ) -> Sequence[Deletion] | None:
        """The answers of a changing call; None where it failed as a whole, and what became of its images is found out."""

        def send() -> Sequence[Deletion]:
            self._tally.in_flight = frozenset(digests)
            return call()

        try:
            return self._record.calling(action, self._repository, asked, self._checked_at, send)
        except AwsFailure as failure:
            self._find_out(action, digests, failure)
            if isinstance(failure, CredentialsFailure):
                raise
            return None

    def _described(self, digests: Sequence[str]) -> dict[str, Image]:
        """These images as they are now; those that cannot be looked at, or are gone, have a result then."""
        self._checked_at = self._record.now()
        try:
            found = self._store.describe(self._repository.name, digests)
        except AwsFailure as failure:
            self._raise_if_hopeless(failure)
            self._tally.mark(digests, Outcome.NOT_TRIED, message=f"it could not be checked again: {failure}")
            return {}
        self._tally.mark([digest for digest in digests if digest not in found], Outcome.ALREADY_GONE)
        return found

    def _still_as_planned(self, graph: Graph, digests: Sequence[str]) -> dict[str, Image]:
        if not digests:
            return {}
        found = self._described(digests)
        for digest, image in found.items():
            self._spare_if_changed(self._tally.planned[digest], image)
        self._keep_under(graph, digests)
        return {digest: found[digest] for digest in digests if digest not in self._tally.done}

    def _keep_under(self, graph: Graph, digests: Iterable[str]) -> None:
        """What belongs to an image that is still there stays: its children could not run, or go, without it."""
        here = [digest for digest in digests if digest in self._tally.done]
        spared = self._tally.only(here, Outcome.SPARED)
        self._spare_open(reached(spared, *graph.down))
        refused = [digest for digest in here if self._tally.done[digest].outcome not in _OUT_OF_THE_WAY]
        under = [digest for digest in reached(refused, *graph.down) if self._goes(digest)]
        self._tally.mark_open(under, Outcome.KEPT_WITH_PARENT, None, "what it belongs to is still there")

    def _find_out(self, action: Action, digests: Sequence[str], failure: AwsFailure) -> None:
        """A call that failed may have gone through: ask the registry how things are."""
        code = type(failure).__name__
        try:
            left = self._store.describe(self._repository.name, digests)
        except AwsFailure as silence:
            if isinstance(failure, Denied) and action is not Action.ARCHIVE:  # that is many calls
                self._tally.mark(digests, Outcome.REFUSED, code, str(failure))
            else:
                self._changed.add(self.registry)
                self._tally.mark(digests, Outcome.UNKNOWN, code, str(failure))
            self._raise_if_hopeless(silence)
            return
        for digest in digests:
            done = _done(action, self._tally.planned[digest], left.get(digest))
            if done is None:
                self._tally.mark([digest], Outcome.REFUSED, code, str(failure))
            else:
                self._mark_changed(digest, done, "the answer was lost; it was carried out")


def _done(action: Action, planned_image: PlannedImage, now: Image | None) -> Outcome | None:
    """What a call has come to whose answer is not known, by how the image is now; None where it has come to nothing."""
    match action:
        case Action.DELETE:
            return Outcome.DELETED if now is None else None
        case Action.ARCHIVE:
            return Outcome.ARCHIVED if now is not None and now.status == Status.ARCHIVED else None
        case _:
            return Outcome.UNTAGGED if now is not None and not set(planned_image.untag) & set(now.tags) else None


def _change(then: PlannedImage, now: PlannedImage) -> str | None:
    """In words, how an image differs from what was planned; None where it does not."""
    if then.tags != now.tags:
        return f"its tags were {_listed(then.tags)} and are {_listed(now.tags)}"
    if then.pushed_at != now.pushed_at:
        return f"it was pushed again at {now.pushed_at}"
    if then.pulled_at != now.pulled_at:
        return f"it was pulled at {now.pulled_at}"
    if then.state != now.state:
        return f"its state was {then.state} and is {now.state}"
    return None


def _listed(tags: Sequence[str]) -> str:
    return ", ".join(tags) if tags else "none"
