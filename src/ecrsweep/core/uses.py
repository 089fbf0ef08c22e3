"""Uses, what could not be read of them, and which images of a repository they mean.

A use is evidence: it only ever protects. A name that can mean several images protects all of them.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cached_property

import msgspec

from ecrsweep.core.decisions import Code, Reason
from ecrsweep.core.holds import Hold
from ecrsweep.core.images import Image
from ecrsweep.core.names import (
    AliasReference,
    EcrReference,
    ForeignReference,
    Registry,
    Repository,
    UnreadableReference,
    parse_reference,
)


class Pulls(msgspec.Struct, frozen=True, gc=False):
    """How often, when and from where one principal pulled one image, as a log of calls tells it.

    `first` and `last` in seconds since the epoch; `address` and `agent` are those of the last. `error` is the code by which AWS
    refused, None for pulls that succeeded.
    """

    times: int
    first: float
    last: float
    address: str = ""
    agent: str = ""
    error: str | None = None


class Use(msgspec.Struct, frozen=True, gc=False):
    """The fact that one workload refers to one image name.

    `digest` is what a running container reports of itself. `resolved_from` and `resolved_until` bound
    the moment at which a workload that is known by a tag alone had its tag resolved: None, None for a
    workload that resolves its name when it starts, such as a task definition. `ended` marks a
    workload that will not pull again. `anywhere` tells that `digest` counts in every repository of `region`, because the
    workload does not say in which it is. `pulls` stands where the use is known by nothing but these.
    """

    image: str
    workload: str
    source: str
    account: str = ""
    region: str = ""
    where: str = ""
    digest: str | None = None
    resolved_from: float | None = None
    resolved_until: float | None = None
    ended: bool = False
    anywhere: bool = False
    pulls: Pulls | None = None

    @property
    def described(self) -> str:
        """Workload and place in it, for a reason's detail."""
        return f"{self.workload} {self.where}".rstrip()


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """A use that some run saw, as the ledger remembers it: which image, by whom, first and last when.

    `image` is a name with its digest; a name with a tag where nobody could tell the digest; or "" where `digest` counts
    in every repository of `region`. Times are seconds since the epoch.
    """

    image: str
    workload: str
    source: str
    first_seen: float
    last_seen: float
    digest: str | None = None
    region: str = ""
    possible: bool = False
    """True where the use may have meant another image."""

    def as_use(self) -> Use:
        """The use that this remembers: a name with a tag meant what the tag named when it was seen."""
        return Use(
            self.image, self.workload, self.source, region=self.region, digest=self.digest,
            resolved_from=self.first_seen, resolved_until=self.last_seen, anywhere=not self.image,
        )  # fmt: skip


class Note(msgspec.Struct, frozen=True):
    """Something that a source cannot know or wants to be looked at, in a sentence: a warning, never a permission."""

    text: str
    workload: str = ""


class CoverageStatus(StrEnum):
    """How the reading of a source ended."""

    COMPLETE = "complete"
    FAILED = "failed"
    SKIPPED = "skipped"


class Covered(msgspec.Struct, frozen=True):
    """The accounts that a source tells of which is asked once for all: a registry of which it cannot tell is a gap.

    `lacking` says of each account that it has anything of what is missing there, "" where nothing is; `of_others` of all the rest.
    """

    lacking: dict[str, str]
    of_others: str

    def trouble_of(self, account: str) -> str:
        """Why it is not known who used the images of this account, in a sentence; "" where nothing is missing."""
        return self.lacking.get(account, self.of_others)


class Coverage(msgspec.Struct, frozen=True):
    """How the reading of one source in one account and region ended.

    `error` is a sentence: why it failed, or by whom it was skipped. `accepted` is True where the user
    named this gap as acceptable. `action` is the IAM action that was refused, where one was. `notes` are what the
    source could not know although it was read. `images` counts the distinct names in `uses`, but for those known by pulls
    alone. `drop` is a sentence where a source that was read told suspiciously little.
    """

    account: str
    region: str
    source: str
    status: CoverageStatus
    uses: int = 0
    error: str | None = None
    accepted: bool = False
    action: str | None = None
    notes: tuple[str, ...] = ()
    images: int = 0
    drop: str | None = None

    @property
    def is_gap(self) -> bool:
        """True where uses may exist that nobody saw, and nobody has accepted that."""
        return (self.status is CoverageStatus.FAILED or self.drop is not None) and not self.accepted

    @property
    def trouble(self) -> str | None:
        """Why it is a gap, in words; None where nothing is wrong."""
        return self.drop or (self.error if self.status is CoverageStatus.FAILED else None)

    @property
    def place(self) -> str:
        """Source, account and region as one word."""
        return f"{self.source}@{self.account}/{self.region}"


class Census(msgspec.Struct, frozen=True):
    """All uses that were found, what was asked, and what earlier runs saw and held."""

    uses: tuple[Use, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    remembered: tuple[Sighting, ...] = ()
    holds: tuple[Hold, ...] = ()

    @property
    def gaps(self) -> tuple[Coverage, ...]:
        """The sources that failed, or told suspiciously little, without anybody having accepted it."""
        return tuple(entry for entry in self.coverage if entry.is_gap)


class Match(msgspec.Struct, frozen=True, gc=False):
    """One use that means an image. `how` tells what is not plain about that; `others` do as this one does."""

    use: Use
    how: str = ""
    possible: bool = False
    others: int = 0

    @property
    def reason(self) -> Reason:
        """What it says for the image."""
        more = f" and {self.others} more" if self.others else ""
        words = ("possible: " if self.possible else "") + self.how
        return Reason(Code.IN_USE, f"{self.use.described}{more} ({words})" if words else f"{self.use.described}{more}")


class Matched(msgspec.Struct, frozen=True):
    """The uses that mean images of one repository, by digest, the uses that find no image, and the tags that uses name."""

    found: dict[str, list[Match]]
    unresolved: list[Use]
    named: set[str] = msgspec.field(default_factory=set)

    @property
    def reasons(self) -> dict[str, list[Reason]]:
        """What they say for each image."""
        return {
            digest: list(dict.fromkeys(match.reason for match in matches)) for digest, matches in self.found.items()
        }


class _Name(msgspec.Struct):
    """One distinct name with all workloads that use it: each name is parsed and looked up once."""

    tag: str | None
    digests: tuple[str, ...]
    named_digest: bool
    alias_host: str | None
    uses: list[Use]


class UseIndex:
    """The uses of a census, arranged so that those of one repository are found without a scan."""

    def __init__(self, uses: Iterable[Use], aliases: Mapping[str, Registry] | None = None) -> None:
        """Parse every distinct name once. Linear in the number of uses.

        `aliases` are host names that the user says are registries: a name under one is a name in that registry.
        """
        self._aliases = aliases or {}
        self._by_repository: dict[Repository, list[_Name]] = defaultdict(list)
        self._by_alias_path: dict[str, list[_Name]] = defaultdict(list)
        self._by_ending: dict[Repository, list[_Name]] = defaultdict(list)
        self._under_alias: dict[str, list[Use]] = defaultdict(list)
        self._anywhere: dict[str, list[Use]] = defaultdict(list)
        self._in_region: dict[str, dict[str, list[Use]]] = defaultdict(lambda: defaultdict(list))
        self.unreadable: list[Use] = []
        self.foreign = 0
        grouped: dict[tuple[str, str | None], list[Use]] = defaultdict(list)
        for use in uses:
            if use.anywhere and use.digest:
                self._in_region[use.region][use.digest].append(use)
            if use.image or not use.anywhere:
                grouped[use.image, use.digest].append(use)
        for (text, observed), group in grouped.items():
            self._file(text, observed, group)

    def _file(self, text: str, observed: str | None, group: list[Use]) -> None:
        reference = parse_reference(text)
        match reference:
            case EcrReference():
                self._by_repository[reference.repository].append(_name(reference, observed, None, group))
            case AliasReference() if reference.host in self._aliases:
                self._file_declared(reference, self._aliases[reference.host], observed, group)
            case AliasReference():
                name = _name(reference, observed, reference.host, group)
                for path in _endings(reference.path):
                    self._by_alias_path[path].append(name)
                for digest in name.digests:
                    self._anywhere[digest] += group
            case UnreadableReference():
                self.unreadable += group
                for digest in reference.digests:
                    self._anywhere[digest] += group
            case ForeignReference():
                self.foreign += len(group)

    def _file_declared(
        self, reference: AliasReference, registry: Registry, observed: str | None, group: list[Use]
    ) -> None:
        """A proxy may put a prefix before the name: the endings of a path still count in its registry, as possible uses.

        It may also change names: a digest is the same image wherever it is.
        """
        whole, *endings = _endings(reference.path)
        name = _name(reference, observed, None, group)
        self._by_repository[Repository(registry, whole)].append(name)
        for path in endings:
            self._by_ending[Repository(registry, path)].append(_name(reference, observed, reference.host, group))
        for digest in name.digests:
            self._under_alias[digest] += group

    def match(self, repository: Repository, images: Iterable[Image]) -> Matched:
        """The uses that mean images of this repository. Linear in images plus names that name the repository."""
        names, of_region = self._names_of(repository), self._in_region.get(repository.registry.region, {})
        if not (names or self._anywhere or self._under_alias or of_region):
            return Matched({}, [])
        held = {image.digest: image for image in images}
        tags = {tag: image for image in held.values() for tag in image.tags}
        matched = Matched(defaultdict(list), [])
        moved: list[Use] = []
        for name in names:
            _match_name(name, held, tags, matched)
            if name.tag:
                matched.named.add(name.tag)
            moved += _moved(name, tags)
        for digest in self._anywhere.keys() & held.keys():
            matched.found[digest] += [_possible(use, "its host may be an alias") for use in self._anywhere[digest]]
        for digest in self._under_alias.keys() & held.keys():
            known = {match.use for match in matched.found.get(digest, ())}
            others = (use for use in self._under_alias[digest] if use not in known)
            matched.found[digest] += [_possible(use, "its alias may have other names") for use in others]
        for digest in of_region.keys() & held.keys():
            matched.found[digest] += [Match(use, "by digest, whatever its name") for use in of_region[digest]]
        if moved:
            _protect_earlier(moved, held.values(), matched)
        return Matched(dict(matched.found), matched.unresolved, matched.named)

    def missing(self, registry: Registry, found: Container[str], *, asked: Iterable[str]) -> Iterator[Use]:
        """The uses of repositories in `asked` of a registry that does not hold them."""
        for name in asked:
            if name not in found:
                for entry in self._by_repository.get(Repository(registry, name), ()):
                    yield from (use for use in entry.uses if not use.ended)

    def repositories_named_in(self, registry: Registry) -> list[str]:
        """The repository names of a registry that some use names, sorted."""
        return self._named_in.get(registry, [])

    @cached_property
    def _named_in(self) -> Mapping[Registry, list[str]]:
        found: dict[Registry, list[str]] = {}
        for repository in sorted(self._by_repository):
            found.setdefault(repository.registry, []).append(repository.name)
        return found

    def _names_of(self, repository: Repository) -> list[_Name]:
        return [
            *self._by_repository.get(repository, ()),
            *self._by_alias_path.get(repository.name, ()),
            *self._by_ending.get(repository, ()),
        ]


def _name(
    reference: EcrReference | AliasReference, observed: str | None, alias_host: str | None, uses: list[Use]
) -> _Name:
    digests = tuple(dict.fromkeys(digest for digest in (reference.digest, observed) if digest))
    return _Name(reference.tag, digests, reference.digest is not None, alias_host, uses)


def _endings(path: str) -> Iterator[str]:
    """The path itself and every ending of it behind a slash."""
    yield path
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def _match_name(name: _Name, held: Mapping[str, Image], tags: Mapping[str, Image], matched: Matched) -> None:
    named = tags.get(name.tag) if name.tag else None
    found = {digest for digest in name.digests if digest in held} | ({named.digest} if named else set())
    matches = [_in_use(use, name.alias_host) for use in name.uses] if found else []
    for digest in found:
        matched.found[digest] += matches
    if name.alias_host is None and not _pullable(name, held, named):
        matched.unresolved.extend(use for use in name.uses if not use.ended)


def _pullable(name: _Name, held: Mapping[str, Image], named: Image | None) -> bool:
    """A name with a digest is pulled by that; else what runs is started again by its digest, or its tag is resolved anew."""
    if name.named_digest:
        return name.digests[0] in held
    return any(digest in held for digest in name.digests) or (not name.digests and named is not None)


def _moved(name: _Name, tags: Mapping[str, Image]) -> Iterator[Use]:
    """The workloads known by a tag alone, whose tag does not (any more) name what it named when they started."""
    if name.digests or not name.tag:
        return
    named = tags.get(name.tag)
    pushed = None if named is None else named.pushed_at
    for use in name.uses:
        if use.resolved_from is not None and (pushed is None or pushed > use.resolved_from):
            yield use


def _protect_earlier(moved: list[Use], images: Iterable[Image], matched: Matched) -> None:
    """Keep the untagged images that were there when these workloads started: one of them is what runs."""
    last = max(moved, key=lambda use: (_resolved_until(use), use.described))
    until = _resolved_until(last)
    how = "started before its tag moved, and reports no digest"
    match = Match(last, how, possible=True, others=len(moved) - 1)
    for image in images:
        if not image.tags and not image.subjects and (image.pushed_at is None or image.pushed_at < until):
            matched.found[image.digest].append(match)


def _resolved_until(use: Use) -> float:
    return float("inf") if use.resolved_until is None else use.resolved_until


def _in_use(use: Use, alias_host: str | None) -> Match:
    return Match(use) if alias_host is None else _possible(use, f"{alias_host} may be an alias")


def _possible(use: Use, why: str) -> Match:
    return Match(use, why, possible=True)
