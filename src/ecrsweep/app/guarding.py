"""The story of the guard: the AWS lifecycle policies in place, held against what is in use."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ecrsweep.app.reading import Reading
from ecrsweep.app.request import Request, accepted, gaps_of, unread
from ecrsweep.core.errors import AwsFailure, Missing
from ecrsweep.core.lifecycle import BadLifecyclePolicy, Finding, find_endangered, parse_lifecycle_policy
from ecrsweep.core.names import Repository
from ecrsweep.core.uses import Census, Coverage, UseIndex
from ecrsweep.ports import ImageStore, World


class GuardRun:
    """The lifecycle policies in place, held against what is in use: iterate over the findings, then ask for the coverage."""

    def __init__(self, world: World, request: Request, census: Census, now: float, *, preview: bool = False) -> None:
        """`now` in seconds since the epoch. `preview` also asks AWS, and tells where the two differ."""
        self.index = UseIndex(census.uses, request.scope.aliases)
        self._request, self._census, self._now = request, census, now
        self._preview = preview
        self._reading = Reading(world, request.scope)
        self._failures: list[Coverage] = []
        self.differences: list[str] = []
        self.policies = 0

    def findings(self) -> Iterator[Finding]:
        """Everything that AWS will take, repository by repository, whether something uses it or not."""
        for look in self._reading.each(self._look):
            self.policies += look.has_policy
            self.differences += look.differences
            self._failures += look.failures
            yield from look.findings

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """What was asked, and what could not be read."""
        failures = (*self._reading.failures, *self._failures)
        return self._census.coverage + tuple(accepted(entry, self._request.scope) for entry in failures)

    def _look(self, store: ImageStore, name: str) -> "_Look":
        """A repository whose policy or images cannot be read is a failure, told in the coverage."""
        try:
            text = store.lifecycle_policy(name)
            if text is None:
                return _Look()
            rules = parse_lifecycle_policy(text)
            inventory = store.inventory(name)
            previewed = store.previewed(name) if self._preview else None
        except Missing:
            return _Look()
        except (AwsFailure, BadLifecyclePolicy) as failure:
            return _Look(failures=(unread(store.registry, failure, repository=name),))
        matched = self.index.match(inventory.repository, inventory.images)
        found = find_endangered(inventory, matched.reasons, rules, self._now)
        differences = () if previewed is None else _differences(inventory.repository, found, previewed)
        return _Look(tuple(found), tuple(gaps_of(inventory)), tuple(differences), has_policy=True)


class _Look(msgspec.Struct, frozen=True):
    """What was found in one repository with a lifecycle policy."""

    findings: tuple[Finding, ...] = ()
    failures: tuple[Coverage, ...] = ()
    differences: tuple[str, ...] = ()
    has_policy: bool = False


def _differences(repository: Repository, found: Sequence[Finding], previewed: Mapping[str, int]) -> Iterator[str]:
    """In words, where AWS's preview and our reading of the policy part. A preview tells of expiry alone."""
    ours = {entry.image.digest: entry.taken.rule for entry in found if entry.taken.action == "expire"}
    for digest in sorted(ours.keys() | previewed.keys()):
        if ours.get(digest) != previewed.get(digest):
            here, there = (f"rule {rule[digest]}" if digest in rule else "no rule" for rule in (ours, previewed))
            yield f"{repository.uri}@{digest}: {here} by our reading, {there} by the preview of AWS"
