"""The story of an apply: everything is asked again, then each repository is checked and emptied of what still may go."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ecrsweep.core.decisions import Action, Decision
from ecrsweep.core.document import PlannedImage, SavedPlan, planned
from ecrsweep.core.errors import AwsFailure, CredentialsFailure, Denied, Missing
from ecrsweep.core.graph import Graph, build_graph, levels, reached
from ecrsweep.core.images import Image, Inventory
from ecrsweep.core.names import Repository
from ecrsweep.core.outcomes import ApplyResult, Outcome, Result
from ecrsweep.core.plan import RepositoryPlan
from ecrsweep.core.uses import Coverage
from ecrsweep.ports import ImageStore, World

BATCH: Final = 100
"""Images of one BatchDeleteImage: the most that the API takes."""

_OUT_OF_THE_WAY: Final = frozenset({Outcome.DELETED, Outcome.ALREADY_GONE, Outcome.SPARED})

Stop = Callable[[], bool]
Progress = Callable[[str], None]
Decide = Callable[[Inventory], RepositoryPlan]


class Carrying:
    """A plan being carried out. What became of each image can be asked at any moment, from another thread too."""

    def __init__(
        self, world: World, saved: SavedPlan, decide: Decide, coverage: tuple[Coverage, ...], *, say: Progress
    ) -> None:
        """`decide` is the judgement of now: it rests on a census taken anew, whose `coverage` goes into the result.

        Where that has gaps, `decide` holds everything.
        """
        chosen: dict[Repository, list[PlannedImage]] = defaultdict(list)
        for image in saved.going:
            chosen[image.place].append(image)
        self._sweeps = [
            _Sweep(world.image_store(repository.registry.region), decide, repository, images)
            for repository, images in chosen.items()
        ]
        self._held_before = saved.summary.hold > 0
        self._coverage = coverage
        self._say = say
        self._failed: str | None = None
        self._interrupted = False

    def work(self, stop: Stop) -> None:
        """Delete what the plan lets go, as far as the judgement of now lets it go too.

        `stop` is asked before every batch: True ends the work. Never raises `AwsFailure`: what fails is in the result.
        """
        for sweep in self._sweeps:
            if stop():
                break
            self._say(sweep.described)
            try:
                sweep.work(stop)
            except CredentialsFailure as failure:
                self._failed = str(failure)
                break
        self._interrupted = stop()

    def result(self) -> ApplyResult:
        """What became of every image of the plan so far, in the order of the plan."""
        results = tuple(result for sweep in self._sweeps for result in sweep.results(self._failed))
        held = self._held_before or any(result.outcome is Outcome.HELD for result in results)
        return ApplyResult(results, self._coverage, held, self._interrupted, self._failed)


class _Sweep:
    """One repository: what was planned, what became of each image so far, and what is still to go."""

    def __init__(
        self, store: ImageStore, decide: Decide, repository: Repository, images: Sequence[PlannedImage]
    ) -> None:
        self._store = store
        self._decide = decide
        self._repository = repository
        self._planned = {image.digest: image for image in images}
        self._done: dict[str, Result] = {}
        self._in_flight: frozenset[str] = frozenset()

    @property
    def described(self) -> str:
        """In words, what is about to be done."""
        return f"Checking {self._repository.name} again: {len(self._planned)} images planned"

    def results(self, why_not: str | None) -> list[Result]:
        """One result for each planned image, in the order of the plan; `why_not` tells why some were not tried."""
        return [self._done.get(digest) or self._unfinished(image, why_not) for digest, image in self._planned.items()]

    def _unfinished(self, image: PlannedImage, why_not: str | None) -> Result:
        if image.digest in self._in_flight:
            return Result(image, Outcome.UNKNOWN, message="the call was under way: AWS may have deleted it")
        return Result(image, Outcome.NOT_TRIED, message=why_not)

    def work(self, stop: Stop) -> None:
        """Check, then delete wave by wave. Raises `CredentialsFailure` where nothing further can succeed."""
        try:
            inventory = self._store.inventory(self._repository.name)
        except Missing:
            self._mark(self._planned, Outcome.ALREADY_GONE, message="the repository is gone")
            return
        except CredentialsFailure:
            raise
        except AwsFailure as failure:
            self._mark(self._planned, Outcome.HELD, "coverage_gap", str(failure))
            return
        graph = build_graph(inventory.images, inventory.edges)
        self._compare({decision.image.digest: decision for decision in self._decide(inventory).decisions})
        self._spare_neighbours(graph)
        # ECR refuses a child while its index is there; that a referrer goes after its subject is for tidiness.
        for wave in levels(self._open(), lambda d: (*graph.parents_of(d), *graph.subjects_of(d)), graph.parents_of):
            for start in range(0, len(wave), BATCH):
                if stop():
                    return
                self._batch(graph, wave[start : start + BATCH])

    def _open(self) -> list[str]:
        return [digest for digest in self._planned if digest not in self._done]

    def _compare(self, now: Mapping[str, Decision]) -> None:
        """Spare what the evidence of now keeps or holds, and what is not as it was planned."""
        for digest, image in self._planned.items():
            decision = now.get(digest)
            if decision is None:
                self._mark([digest], Outcome.ALREADY_GONE)
            elif decision.action is Action.KEEP:
                why = "; ".join(f"{reason.code.value} {reason.detail}".strip() for reason in decision.reasons[:3])
                self._mark([digest], Outcome.SPARED, "changed", f"kept now: {why}")
            elif decision.action is Action.HOLD:
                reason = decision.reasons[0]
                self._mark([digest], Outcome.HELD, reason.code.value, reason.detail)
            else:
                self._spare_if_changed(image, decision.image)

    def _spare_if_changed(self, image: PlannedImage, found: Image) -> bool:
        change = _change(image, planned(self._repository, Decision(found, Action.DELETE, ())))
        if change is not None:
            self._mark([image.digest], Outcome.SPARED, "changed", change)
        return change is not None

    def _spare_neighbours(self, graph: Graph) -> None:
        """An artifact is one unit: where a member is spared, what contains it and all under that stay too."""
        spared = [digest for digest, result in self._done.items() if result.outcome is Outcome.SPARED]
        whole = reached(spared, lambda digest: (*graph.parents_of(digest), *graph.subjects_of(digest)))
        for digest in reached(whole, graph.under):
            if digest in self._planned and digest not in self._done:
                self._mark([digest], Outcome.SPARED, "changed", "it belongs to an artifact that changed")

    def _batch(self, graph: Graph, digests: Sequence[str]) -> None:
        """Look once more, delete, and note what AWS answered for each image."""
        ready = self._still_as_planned(graph, [digest for digest in digests if digest not in self._done])
        if not ready:
            return
        self._in_flight = frozenset(ready)
        try:
            answers = self._store.delete(self._repository.name, ready)
        except AwsFailure as failure:
            self._find_out(ready, failure)
            self._keep_under(graph, ready)
            if isinstance(failure, CredentialsFailure):
                raise
            return
        for answer in answers:
            if answer.failure is None:
                self._mark([answer.digest], Outcome.DELETED)
            else:
                self._mark([answer.digest], Outcome.REFUSED, answer.failure, answer.message)
        self._keep_under(graph, ready)

    def _still_as_planned(self, graph: Graph, digests: Sequence[str]) -> list[str]:
        if not digests:
            return []
        try:
            found = self._store.describe(self._repository.name, digests)
        except AwsFailure as failure:
            self._mark(digests, Outcome.NOT_TRIED, message=f"it could not be checked again: {failure}")
            self._keep_under(graph, digests)
            return []
        for digest in digests:
            if digest not in found:
                self._mark([digest], Outcome.ALREADY_GONE)
            else:
                self._spare_if_changed(self._planned[digest], found[digest])
        self._keep_under(graph, digests)
        return [digest for digest in digests if digest not in self._done]

    def _keep_under(self, graph: Graph, digests: Iterable[str]) -> None:
        """What belongs to an image that is still there stays: its children could not run, or go, without it."""
        here = [digest for digest in digests if digest in self._done]
        spared = [digest for digest in here if self._done[digest].outcome is Outcome.SPARED]
        for digest in reached(spared, graph.under):
            if digest in self._planned and digest not in self._done:
                self._mark([digest], Outcome.SPARED, "changed", "it belongs to an artifact that changed")
        refused = [digest for digest in here if self._done[digest].outcome not in _OUT_OF_THE_WAY]
        for digest in reached(refused, graph.under):
            if digest in self._planned and digest not in self._done:
                self._mark([digest], Outcome.KEPT_WITH_PARENT, message="what it belongs to is still there")

    def _find_out(self, digests: Sequence[str], failure: AwsFailure) -> None:
        """A call that failed may have gone through: ask the registry what is still there."""
        code = type(failure).__name__
        try:
            left = self._store.describe(self._repository.name, digests)
        except AwsFailure:
            refused = isinstance(failure, Denied)
            self._mark(digests, Outcome.REFUSED if refused else Outcome.UNKNOWN, code, str(failure))
            return
        for digest in digests:
            if digest in left:
                self._mark([digest], Outcome.REFUSED, code, str(failure))
            else:
                self._mark([digest], Outcome.DELETED, message="the answer was lost; the image is gone")

    def _mark(
        self, digests: Iterable[str], outcome: Outcome, code: str | None = None, message: str | None = None
    ) -> None:
        for digest in digests:
            self._done[digest] = Result(self._planned[digest], outcome, code, message)


def _change(then: PlannedImage, now: PlannedImage) -> str | None:
    """In words, how an image differs from what was planned; None where it does not."""
    if then.tags != now.tags:
        return f"its tags were {_listed(then.tags)} and are {_listed(now.tags)}"
    if then.pushed_at != now.pushed_at:
        return f"it was pushed again at {now.pushed_at}"
    if then.pulled_at != now.pulled_at:
        return f"it was pulled at {now.pulled_at}"
    return None


def _listed(tags: Sequence[str]) -> str:
    return ", ".join(tags) if tags else "none"
