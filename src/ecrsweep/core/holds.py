"""What owners say of their images: holds by name or digest, and the tags of a repository.

A hold keeps, whatever a policy says, until its day has come. A repository tagged `ecrsweep=never` is left alone; a policy
can ask for a tag that a repository must have. What is held is never what is guessed: a name that cannot be read is refused.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from ecrsweep.core.decisions import Code, Reason
from ecrsweep.core.errors import BadInput, BadName
from ecrsweep.core.images import Image
from ecrsweep.core.names import EcrReference, Registry, Repository, is_digest, parse_own_reference
from ecrsweep.core.policy import Policy
from ecrsweep.core.times import last_day, rfc3339

OWNERS_TAG: Final = "ecrsweep"
"""The key of the tag by which the owner of a repository speaks."""

LEAVE_ALONE: Final = "never"
"""Its value where nothing of the repository is to be touched."""

HOLDS_SOURCE: Final = "holds"
"""The word in coverage for the holds of earlier runs, where these could not be read."""

_ANY_REGISTRY: Final = Registry("", "")


class Hold(msgspec.Struct, frozen=True):
    """A word for one image, or for all of a repository: who says it, why, and until when (seconds since the epoch).

    `image` is a full name, `repository:tag`, `repository@sha256:...`, a repository's name, or `sha256:...` alone, which holds in
    every repository; without a host it is of any registry. `until` None: for good.
    """

    image: str
    who: str = ""
    why: str = ""
    until: float | None = None

    @property
    def described(self) -> str:
        """Who and why and until when, for a reason's detail."""
        until = "" if self.until is None else f"until {last_day(self.until)}"
        return ", ".join(filter(None, (self.why, f"by {self.who}" if self.who else "", until))) or "held"

    def document(self) -> dict[str, str | None]:
        """JSON-able, as a hold file has it."""
        until = None if self.until is None else rfc3339(self.until)
        return {"image": self.image, "who": self.who, "why": self.why, "until": until}


class _Place(msgspec.Struct, frozen=True):
    """What of a repository a hold means: a tag, a digest, or all."""

    tag: str | None
    digest: str | None
    hold: Hold


class Holds:
    """Holds, arranged so that those of one repository are found without a scan."""

    def __init__(self, holds: Iterable[Hold], now: float) -> None:
        """Those whose day has come are in `expired` and hold nothing. Raises `BadInput` for a name that cannot be read."""
        self.current: list[Hold] = []
        self.expired: list[Hold] = []
        self._anywhere: dict[str, list[Hold]] = defaultdict(list)
        self._in_repository: dict[Repository, list[_Place]] = defaultdict(list)
        for hold in holds:
            over = hold.until is not None and hold.until < now
            (self.expired if over else self.current).append(hold)
            repository, place = _read(hold)
            if over:
                continue
            if repository is None:
                self._anywhere[hold.image].append(hold)
            else:
                self._in_repository[repository].append(place)

    def on(self, repository: Repository, images: Iterable[Image]) -> dict[str, list[Reason]]:
        """The reasons that holds give images of a repository, by digest. Linear in images and tags, and holds of it."""
        places = self._in_repository.get(repository, []) + self._in_repository.get(
            Repository(_ANY_REGISTRY, repository.name), []
        )
        if not (places or self._anywhere):
            return {}
        of_all = [place.hold for place in places if place.tag is None and place.digest is None]
        by_word: dict[str, list[Hold]] = defaultdict(list)
        for place in places:
            for word in filter(None, (place.tag, place.digest)):
                by_word[word].append(place.hold)
        found: dict[str, list[Reason]] = {}
        for image in images:
            words = (image.digest, *image.tags)
            holds = [
                *of_all,
                *self._anywhere.get(image.digest, ()),
                *(h for word in words for h in by_word.get(word, ())),
            ]
            if holds:
                found[image.digest] = [
                    Reason(Code.HELD_BY_OWNER, text) for text in dict.fromkeys(h.described for h in holds)
                ]
        return found


def word_of_owner(tags: Mapping[str, str], policy: Policy | None) -> Reason | None:
    """Why nothing of a repository with these tags is to be touched; None where its owner says nothing of the kind."""
    if tags.get(OWNERS_TAG) == LEAVE_ALONE:
        return Reason(Code.HELD_BY_OWNER, f"the repository is tagged {OWNERS_TAG}={LEAVE_ALONE}")
    if policy is None or policy.opt_in_tag is None:
        return None
    key, equals, value = policy.opt_in_tag.partition("=")
    if key in tags and (not equals or tags[key] == value):
        return None
    return Reason(Code.NOT_GOVERNED, f'policy "{policy.name}" asks for the repository tag {policy.opt_in_tag}')


def owners_keys(policies: Sequence[Policy]) -> tuple[str, ...]:
    """The keys of repository tags that count."""
    asked = (policy.opt_in_tag.partition("=")[0] for policy in policies if policy.opt_in_tag)
    return tuple(dict.fromkeys((OWNERS_TAG, *asked)))


def _read(hold: Hold) -> tuple[Repository | None, _Place]:
    """The repository that a hold means, None where it means any, and what in it."""
    if is_digest(hold.image):
        return None, _Place(None, hold.image, hold)
    try:
        named: EcrReference = parse_own_reference(hold.image, _ANY_REGISTRY)
    except BadName as error:
        raise BadInput(f"hold of {hold.image!r}: {error}") from error
    last = hold.image.rpartition("/")[2]
    tag = named.tag if ":" in last or "@" in last else None
    return named.repository, _Place(tag, named.digest, hold)
