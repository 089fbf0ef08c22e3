"""The story of a restore: look what is there, bring back what is not, and wait until it can be pulled."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Final

import msgspec

from ecrsweep.app.request import Progress, Stop
from ecrsweep.core.errors import (
    AwsFailure,
    CredentialsFailure,
    Denied,
    LayersGone,
    Missing,
    PartsGone,
    TagTaken,
    Throttled,
    Unreachable,
)
from ecrsweep.core.images import Gap, Image, Status
from ecrsweep.core.journal import KeptManifest
from ecrsweep.core.restoring import Course, Outcome, RestoreResult, Result, Wish, chart, taken
from ecrsweep.ports import ImageStore, Manifest, World

PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
LONGEST_PAUSE: Final = 30.0
"""Seconds between two questions whether images are back: growing, because it takes about 20 minutes."""

Pause = Callable[[float], object]

_NOTES: Final = 3
_NO_REPOSITORY: Final = "its repository is gone: make it anew, and push the image again from its build"


class Restoring:
    """Wishes that come true. What became of each image can be asked at any moment."""

    def __init__(self, world: World, wishes: Sequence[Wish], say: Progress) -> None:
        """Nothing is asked yet."""
        self._returns = [_Return(world, wish) for wish in wishes]
        self._say = say
        self._failed: str | None = None
        self._interrupted = False
        self._timed_out = False

    def look(self) -> None:
        """Read what the repositories hold. Raises `CredentialsFailure`; what else fails is in the result."""
        for one in self._returns:
            self._say(f"Reading {one.name}")
            one.look()

    @property
    def to_fetch(self) -> Sequence[int]:
        """The sizes, in bytes, of the images that have to come out of the archive."""
        return [size for one in self._returns for size in one.course.sizes.values()]

    @property
    def to_push(self) -> int:
        """How many images have to be pushed."""
        return sum(len(one.course.push) for one in self._returns)

    @property
    def to_tag(self) -> int:
        """How many tags have to be put back."""
        return sum(len(one.course.tags) for one in self._returns)

    def work(self, stop: Stop) -> None:
        """Ask AWS for all that is not back. `stop` is asked before every call: True ends the work."""
        self._guarded(lambda one: one.work(stop), stop)

    def wait(self, stop: Stop, pause: Pause, over: Callable[[], bool]) -> None:
        """Ask until everything can be pulled again, `stop` says so, or the time is `over`.

        An index that nobody had read before it was archived tells only then what it contains; that is fetched too.
        """
        pauses = chain(PAUSES, repeat(LONGEST_PAUSE))
        while self._failed is None and not stop() and any(one.is_waiting for one in self._returns):
            if over():
                self._timed_out = True
                return
            self._say(self._progress())
            pause(next(pauses))
            self._guarded(lambda one: one.ask(stop), stop)
        self._interrupted = self._interrupted or stop()

    def result(self) -> RestoreResult:
        """What became of every image and tag so far."""
        results = tuple(result for one in self._returns for result in one.results(self._failed))
        notes = tuple(dict.fromkeys(note for one in self._returns for note in one.notes))
        return RestoreResult(results, notes, self._interrupted, self._timed_out, self._failed)

    @property
    def denied(self) -> Sequence[str]:
        """The IAM actions that were denied, sorted."""
        return sorted({action for one in self._returns for action in one.denied})

    def _guarded(self, step: "Callable[[_Return], None]", stop: Stop) -> None:
        """A step for each repository, until credentials give out or somebody stops."""
        for one in self._returns:
            if stop():
                break
            try:
                step(one)
            except CredentialsFailure as failure:
                self._failed = str(failure)
                break
        self._interrupted = stop()

    def _progress(self) -> str:
        results = self.result()
        back, coming = (sum(1 for _ in results.only(which)) for which in (Outcome.RESTORED, Outcome.ACTIVATING))
        return f"{back} of {back + coming} images are back; it takes about 20 minutes"


class _Return:
    """One repository: what is to be done, and what became of it so far."""

    def __init__(self, world: World, wish: Wish) -> None:
        self._world = world
        self._store: ImageStore = world.image_store(wish.repository.registry)
        self._wish = wish
        self._done: dict[tuple[str, str | None], Result] = {}
        self._images: dict[str, Image] = {}
        self._is_open = False
        """True where an index did not yet tell what it contains."""
        self.course = Course()
        self.notes: list[str] = []
        self.denied: set[str] = set()
        """The IAM actions that were denied."""

    @property
    def name(self) -> str:
        """Where it is, in words."""
        return f"{self._wish.repository.name} in {self._wish.repository.registry.region}"

    @property
    def is_waiting(self) -> bool:
        """True while an image is on its way."""
        return any(result.outcome is Outcome.ACTIVATING for result in self._done.values())

    def look(self) -> None:
        """Read what is there, and see what has to be done. Raises `CredentialsFailure`."""
        try:
            inventory = self._store.inventory(self._wish.repository.name)
        except CredentialsFailure:
            raise
        except Missing:
            self._give_up(Outcome.GONE, None, _NO_REPOSITORY)
            return
        except AwsFailure as failure:
            self._note_denial(failure)
            self._give_up(Outcome.UNKNOWN, type(failure).__name__, f"its repository could not be read: {failure}")
            return
        self._images = {image.digest: image for image in inventory.images}
        self._is_open = self._wish.whole and bool(inventory.gaps)
        self.notes = list(self._noted(inventory.gaps)) if self._wish.whole else []
        self._take(chart(self._wish, inventory))

    def _noted(self, gaps: Sequence[Gap]) -> Iterator[str]:
        """What could not be read, and may belong to what is wished: the first of it, and how much more."""
        yield from (gap.error for gap in gaps[:_NOTES])
        if len(gaps) > _NOTES:
            yield f"{self._wish.repository.name}: {len(gaps) - _NOTES} more manifests could not be read"

    def _give_up(self, outcome: Outcome, code: str | None, why: str) -> None:
        """The same for all that was wished; what has been seen to before stays as it is."""
        self.course, self._is_open = Course(), False
        for digest in (*self._wish.archived, *self._wish.deleted):
            self._done.setdefault((digest, None), self._result(digest, outcome, code, why))
        for digest, tag in self._wish.untagged:
            self._done.setdefault((digest, tag), self._result(digest, outcome, code, why, tag))

    def _take(self, course: Course) -> None:
        """The course, without what has been seen to before."""
        fetch = tuple(tuple(d for d in wave if (d, None) not in self._done) for wave in course.fetch)
        self.course = msgspec.structs.replace(course, fetch=fetch)
        for result in course.settled:
            self._done.setdefault((result.digest, result.tag), result)
        for digest in course.waiting:
            self._mark(digest, Outcome.ACTIVATING, message="it was on its way already")

    def work(self, stop: Stop) -> None:
        """Fetch wave by wave, push, tag. Raises `CredentialsFailure`."""
        for wave in self.course.fetch:
            self._fetch(wave, stop)
        for kept in self.course.push:
            if stop():
                return
            self._push(kept)
        for digest, tag in self.course.tags:
            if stop():
                return
            self._tag(digest, tag)

    def _fetch(self, wave: Sequence[str], stop: Stop) -> None:
        failure: CredentialsFailure | None = None
        for answer in self._world.each(lambda digest: self._fetched(digest, stop), wave):
            if isinstance(answer, CredentialsFailure):
                failure = answer
            elif answer is not None:
                self._done[answer.digest, None] = answer
        if failure is not None:
            raise failure

    def _fetched(self, digest: str, stop: Stop) -> Result | CredentialsFailure | None:
        """What came of asking for one image; None where somebody stopped before."""
        if stop():
            return None
        try:
            state = self._store.restore(self._wish.repository.name, digest)
        except CredentialsFailure as failure:
            return failure
        except AwsFailure as failure:
            self._note_denial(failure)
            return self._found_out(digest, failure)
        return self._result(digest, Outcome.RESTORED if state == Status.ACTIVE else Outcome.ACTIVATING)

    def _found_out(self, digest: str, failure: AwsFailure) -> Result:
        """A call that failed may have gone through, or somebody else was faster: ask what state the image is in."""
        code, why = type(failure).__name__, str(failure)
        try:
            image = self._store.describe(self._wish.repository.name, [digest]).get(digest)
        except AwsFailure:
            return self._result(digest, Outcome.REFUSED if isinstance(failure, Denied) else Outcome.UNKNOWN, code, why)
        if image is None:
            return self._result(digest, Outcome.GONE, code, "it went meanwhile")
        if image.status == Status.ACTIVATING:
            return self._result(digest, Outcome.ACTIVATING)
        if image.status == Status.ACTIVE:
            return self._result(digest, Outcome.RESTORED)
        return self._result(digest, Outcome.REFUSED, code, why)

    def ask(self, stop: Stop) -> None:
        """See which images are back by now. A question that cannot be asked is asked again. Raises `CredentialsFailure`."""
        waiting = [result.digest for result in self._done.values() if result.outcome is Outcome.ACTIVATING]
        try:
            found = self._store.describe(self._wish.repository.name, waiting)
        except (Throttled, Unreachable):
            return
        except CredentialsFailure:
            raise
        except AwsFailure as failure:
            for digest in waiting:
                self._mark(digest, Outcome.UNKNOWN, type(failure).__name__, f"its state cannot be asked: {failure}")
            return
        for digest in waiting:
            self._judge(digest, found)
        if waiting and self._is_open and not self.is_waiting:
            self.look()
            self.work(stop)

    def _judge(self, digest: str, found: Mapping[str, Image]) -> None:
        image = found.get(digest)
        if image is None:
            self._mark(digest, Outcome.GONE, message="it was deleted while it was on its way")
        elif image.status == Status.ACTIVE:
            self._mark(digest, Outcome.RESTORED)
        elif image.status != Status.ACTIVATING:
            self._mark(digest, Outcome.REFUSED, message=f"its state is {image.status} again")

    def _push(self, kept: KeptManifest) -> None:
        """Push without a tag: those are put back one by one."""
        try:
            self._store.push(self._wish.repository.name, Manifest(kept.digest, kept.media_type, kept.content), None)
        except AwsFailure as failure:
            self._note_denial(failure)
            self._mark(kept.digest, *_not_pushed(failure))
            if isinstance(failure, CredentialsFailure):
                raise
            return
        self._mark(kept.digest, Outcome.PUSHED_BACK)

    def _tag(self, digest: str, tag: str) -> None:
        """Look what the tag names at this very moment: it is never taken from another image."""
        failed = self._done.get((digest, None))
        if failed is not None and failed.outcome in {Outcome.LAYERS_GONE, Outcome.PARTS_GONE, Outcome.REFUSED}:
            self._mark_tag(digest, tag, failed.outcome, failed.code, "its image could not be pushed")
            return
        name = self._wish.repository.name
        try:
            holder = self._store.tagged(name, tag)
            if holder is not None and holder.digest != digest:
                named = Result(self._wish.repository, digest, Outcome.TAG_TAKEN, tag, (tag,))
                self._done[digest, tag] = taken(named, holder.digest)
                return
            manifest = self._manifest(digest)
            if manifest is None:
                why = "its manifest is not in the journal, and cannot be read while it is archived: once it is restored, run this again"
                self._mark_tag(digest, tag, Outcome.REFUSED, None, why)
                return
            self._store.push(name, manifest, tag)
        except AwsFailure as failure:
            self._note_denial(failure)
            self._mark_tag(digest, tag, *_not_pushed(failure))
            if isinstance(failure, CredentialsFailure):
                raise
            return
        self._mark_tag(digest, tag, Outcome.TAG_PUT_BACK, None, None)

    def _manifest(self, digest: str) -> Manifest | None:
        """The manifest of an image: as the journal has it, else as ECR does. Raises `AwsFailure`."""
        kept = self._wish.manifests.get(digest)
        if kept is not None:
            return Manifest(digest, kept.media_type, kept.content)
        name = self._wish.repository.name
        described = self._store.describe(name, [digest])
        return next(iter(self._store.manifests(name, list(described.values()))), None)

    def results(self, why_not: str | None) -> Iterator[Result]:
        """What became of every image and tag; `why_not` tells why some were not tried."""
        yield from self._done.values()
        left = [(digest, None) for wave in self.course.fetch for digest in wave]
        left += [(kept.digest, None) for kept in self.course.push]
        for digest, tag in (*left, *self.course.tags):
            if (digest, tag) not in self._done:
                yield self._result(digest, Outcome.NOT_TRIED, message=why_not, tag=tag)

    def _note_denial(self, failure: AwsFailure) -> None:
        if isinstance(failure, Denied) and failure.action:
            self.denied.add(failure.action)

    def _result(
        self, digest: str, outcome: Outcome, code: str | None = None, message: str | None = None, tag: str | None = None
    ) -> Result:
        image, kept = self._images.get(digest), self._wish.manifests.get(digest)
        tags = image.tags if image is not None else kept.tags if kept is not None else ()
        return Result(self._wish.repository, digest, outcome, tag, tags, code, message)

    def _mark(self, digest: str, outcome: Outcome, code: str | None = None, message: str | None = None) -> None:
        self._done[digest, None] = self._result(digest, outcome, code, message)

    def _mark_tag(self, digest: str, tag: str, outcome: Outcome, code: str | None, message: str | None) -> None:
        self._done[digest, tag] = self._result(digest, outcome, code, message, tag)


def _not_pushed(failure: AwsFailure) -> tuple[Outcome, str, str]:
    """Why an image or tag could not be pushed back: what became of it, and in words what to do."""
    code = type(failure).__name__
    match failure:
        case LayersGone():
            why = "its layers are gone from ECR: push it again from its build"
            return Outcome.LAYERS_GONE, code, why
        case PartsGone():
            return Outcome.PARTS_GONE, code, "an image that it contains is gone: push it again from its build"
        case TagTaken():
            return Outcome.TAG_TAKEN, code, "the tag names another image and is immutable: it was left there"
        case Missing():
            return Outcome.GONE, code, _NO_REPOSITORY
        case Throttled() | Unreachable():
            return Outcome.UNKNOWN, code, f"{failure}. Run this again: what is back by then stays as it is"
        case _:
            return Outcome.REFUSED, code, str(failure)
