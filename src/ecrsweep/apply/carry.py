"""The story of an apply: everything is asked again, then each repository is checked and changed as far as it still may be."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress

from ecrsweep.apply.record import Record
from ecrsweep.apply.sweep import Decide, Stop, Sweep
from ecrsweep.apply.tally import NOTHING, Before
from ecrsweep.core.document import PlannedImage, SavedPlan
from ecrsweep.core.errors import Busy, CredentialsFailure, StateFailure, Unreachable
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.outcomes import ApplyResult, Outcome
from ecrsweep.core.uses import Coverage
from ecrsweep.ports import World

Progress = Callable[[str], None]


class Carrying:
    """A plan being carried out. What became of each image can be asked at any moment, from another thread too."""

    def __init__(
        self,
        world: World,
        saved: SavedPlan,
        decide: Decide,
        coverage: tuple[Coverage, ...],
        *,
        say: Progress,
        record: Record,
        before: Mapping[Repository, Before] | None = None,
    ) -> None:
        """`decide` is the judgement of now: it rests on a census taken anew, whose `coverage` goes into the result.

        Where that has gaps, `decide` holds everything. `record` has been begun. `before` is what an earlier part of the run
        has done, where this one takes it up again.
        """
        chosen: dict[Repository, list[PlannedImage]] = defaultdict(list)
        for image in saved.going:
            chosen[image.place].append(image)
        changed: set[Registry] = set()
        self._sweeps = [
            Sweep(
                world.image_store(repository.registry),
                decide,
                repository,
                images,
                record=record,
                before=(before or {}).get(repository, NOTHING),
                changed=changed,
            )
            for repository, images in chosen.items()
        ]
        self._held_before = saved.summary.hold > 0
        self._held = {held.registry: held.reason for held in saved.held_registries}
        self._coverage = coverage
        self._say = say
        self._record = record
        self._failed: dict[str, str] = {}
        """Why nothing further can be done, by account."""
        self._broken: str | None = None
        self._interrupted = False

    def work(self, stop: Stop) -> None:
        """Do what the plan says, as far as the judgement of now says so too.

        `stop` is asked before every batch: True ends the work. Never raises `AwsFailure`, `Busy` or `StateFailure`: what
        fails is in the result.
        """
        gone: dict[Registry, str] = {}
        for sweep in self._sweeps:
            if stop():
                break
            if sweep.registry.account in self._failed:
                continue
            try:
                self._carry_out(sweep, stop, gone)
                self._record.came_to(result.document() for result in sweep.quiet_results())
            except CredentialsFailure as failure:
                self._failed[sweep.registry.account] = str(failure)
            except Busy as failure:
                self._broken = f"{failure}: nothing further was changed"
                break
            except StateFailure as failure:
                self._broken = f"the journal cannot be written, so nothing further was changed: {failure}"
                break
        self._interrupted = stop()
        with suppress(StateFailure):  # all that it would add is in the result
            self._record.end(self.result().summary(), interrupted=self._interrupted)

    def _carry_out(self, sweep: Sweep, stop: Stop, gone: dict[Registry, str]) -> None:
        """One repository, unless its registry is held, or has gone away: what is left there is left undone, and `gone` says why."""
        held = self._held.get(sweep.registry)
        if held is not None:
            sweep.hold(held)
            return
        if sweep.registry not in gone:
            self._say(sweep.described)
            try:
                sweep.work(stop)
            except Unreachable as failure:
                gone[sweep.registry] = (
                    f"the registry {sweep.registry} went away while this run was changing it: {str(failure).rstrip('.')}. "
                    "What is left there was not touched: run apply again when it answers"
                )
        if sweep.registry in gone:
            sweep.leave(gone[sweep.registry])

    def result(self) -> ApplyResult:
        """What became of every image of the plan so far, in the order of the plan."""
        results = tuple(result for sweep in self._sweeps for result in sweep.results(self._why_not(sweep)))
        held = self._held_before or any(result.outcome is Outcome.HELD for result in results)
        failed = "; ".join(filter(None, [self._broken, *self._failed.values()])) or None
        return ApplyResult(results, self._coverage, held, self._interrupted, failed, self._record.location)

    def _why_not(self, sweep: Sweep) -> str | None:
        return self._broken or self._failed.get(sweep.registry.account)
