"""Random worlds: repositories with indexes, nested indexes, shared children, referrers and odd kinds, and uses of all forms.

A digest here is as long as a real one and as readable as a test needs: the hash of a small number.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st
from msgspec.structs import replace

from ecrsweep.core.images import DOCKER_LIST, INDEX_TYPES, OCI_INDEX, Image, Inventory, Status
from ecrsweep.core.manifests import read_manifest
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.policy import DAY, HOUR, NewestPer, Order, Otherwise, Policy
from ecrsweep.core.uses import Sighting, Use

NOW: Final = 1_800_000_000.0
ACCOUNTS: Final = ("123456789012", "210987654321")
REGIONS: Final = ("us-east-1", "eu-west-1", "cn-north-1", "eusc-de-east-1", "us-gov-west-1")
ISOLATED: Final = {
    "us-iso-east-1": "c2s.ic.gov",
    "us-isob-east-1": "sc2s.sgov.gov",
    "eu-isoe-west-1": "cloud.adc-e.uk",
    "us-isof-south-1": "csp.hci.ic.gov",
}
NAMES: Final = ("app", "team/app", "team/app-prod", "other")
TAGS: Final = ("latest", "v1", "v2", "release-1", "prod", "v1.2.0", "v1.10.0-rc.1", "1.10.0", "main-7", "main-8")
PLAIN: Final = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.oci.artifact.manifest.v1+json",
)
UNKNOWN: Final = ("application/vnd.example+json", None)

# Around every border that a rule has, and on it.
AGES: Final = st.sampled_from(
    [0.0, HOUR, DAY, DAY + 1, 10 * DAY, 14 * DAY, 14 * DAY + 1, 20 * DAY, 30 * DAY, 30 * DAY + 1, 100 * DAY, 400 * DAY]
)


def digest(number: int) -> str:
    """The digest of a small number."""
    return "sha256:" + hashlib.sha256(str(number).encode()).hexdigest()


@dataclass
class World:
    """One repository, the uses there are, and the policy."""

    inventory: Inventory
    uses: list[Use] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)


@st.composite
def inventories(draw: st.DrawFn, repository: Repository | None = None, most: int = 12) -> Inventory:
    """A repository in which each manifest may contain, or refer to, any that came before it: no circles, as in real life."""
    images: list[Image] = []
    edges: dict[str, tuple[str, ...]] = {}
    free_tags = list(TAGS)
    for number in range(draw(st.integers(0, most))):
        earlier = [image.digest for image in images] + [digest(900 + number)]
        shape = draw(
            st.sampled_from(["plain", "plain", "plain", "index", "index", "referrer", "referrer tag", "unknown"])
        )
        media = {"index": (OCI_INDEX, DOCKER_LIST), "unknown": UNKNOWN}.get(shape, PLAIN)
        tags = _some_tags(draw, free_tags, usual=shape == "plain")
        if shape == "referrer tag":
            suffix = draw(st.sampled_from(["", ".sig", ".att", ".sbom"]))
            tags = [
                *(tags if draw(st.integers(0, 5)) == 0 else []),
                draw(st.sampled_from(earlier)).replace(":", "-") + suffix,
            ]
            tags = [tag for tag in tags if all(tag not in image.tags for image in images)]
        is_referrer = shape == "referrer" or (shape in {"index", "unknown"} and draw(st.integers(0, 7)) == 0)
        image = Image(
            digest=digest(number),
            tags=tuple(tags),
            media_type=draw(st.sampled_from(media)),
            subject=draw(st.sampled_from(earlier)) if is_referrer else None,
            **draw(lives()),
        )
        images.append(image)
        if shape in {"index", "unknown"}:
            edges[image.digest] = tuple(draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)))
    shuffled = draw(st.permutations(images))
    return Inventory(repository or Repository(Registry(ACCOUNTS[0], "us-east-1"), "team/app"), tuple(shuffled), edges)


@st.composite
def lives(draw: st.DrawFn) -> dict[str, Any]:
    """When an image was pushed and pulled, how large it is, and whether it is archived."""
    status = draw(st.sampled_from([Status.ACTIVE] * 9 + [Status.ARCHIVED] * 4 + [Status.ACTIVATING]))
    return {
        "pushed_at": None if draw(st.integers(0, 30)) == 0 else NOW - draw(AGES),
        "pulled_at": draw(st.none() | st.none() | AGES.map(lambda age: NOW - age)),
        "size_bytes": draw(st.integers(0, 10)),
        "status": status,
        "archived_at": None if status is Status.ACTIVE else draw(st.none() | AGES.map(lambda age: NOW - age)),
        "activated_at": NOW - draw(AGES) if draw(st.integers(0, 11)) == 0 else None,
    }


@st.composite
def nested(draw: st.DrawFn, *, usual: bool = False) -> Inventory:
    """Indexes over indexes, up to six deep, with referrers on every level and chains of them: all of it read from texts.

    Each level contains something of the level below, and by chance anything lower; so children are shared, also across levels.
    Some of what contains is of a kind that nobody knows, and has its digests anywhere in its text; some referrers contain
    something themselves. `usual`: neither of these, and nothing is archived, as nearly everywhere.
    """
    texts: list[tuple[Image, str]] = []
    free_tags = list(TAGS)

    def add(media_type: str | None, named: Sequence[str], subject: str | None = None, tag: str | None = None) -> str:
        tags = [tag] if tag else _some_tags(draw, free_tags, usual=False)
        life = draw(lives()) | ({"status": Status.ACTIVE} if usual else {})
        image = Image(digest(len(texts)), tuple(tags), media_type, subject=subject, **life)
        listed = {"manifests": [{"digest": name} for name in named]}
        strewn = f"{named} and {subject} again" if named else "nothing that anybody could read"
        texts.append((image, json.dumps(listed) if media_type in INDEX_TYPES else strewn))
        return image.digest

    levels = [[add(draw(st.sampled_from(PLAIN)), ()) for _ in range(draw(st.integers(1, 3)))]]
    for _ in range(draw(st.integers(0, 5))):
        lower = [name for level in levels for name in level] + [digest(900)]
        levels.append([])
        for _ in range(draw(st.integers(1, 2))):
            more = draw(st.lists(st.sampled_from(lower), max_size=2))
            media = draw(st.sampled_from([OCI_INDEX, OCI_INDEX, DOCKER_LIST] + [UNKNOWN[0]] * (not usual)))
            levels[-1].append(add(media, [draw(st.sampled_from(levels[-2])), *more]))
    for _ in range(draw(st.integers(0, 5))):
        names = [image.digest for image, _ in texts]
        subject = draw(st.sampled_from([*names, digest(900)]))
        suffix = draw(st.sampled_from([".sig", ".att", ".sbom", ""]))
        tag = subject.replace(":", "-") + suffix
        match draw(st.sampled_from(["field", "field", "tag"] + ["index"] * (not usual))):
            case "tag" if all(tag not in image.tags for image, _ in texts):
                add(draw(st.sampled_from(PLAIN)), (), tag=tag)
            case "index":
                add(OCI_INDEX, draw(st.lists(st.sampled_from(names), max_size=2)), subject)
            case _:
                add(draw(st.sampled_from(PLAIN)), (), subject)
    edges = {image.digest: read_manifest(text, image.media_type).children for image, text in texts}
    shuffled = draw(st.permutations([image for image, _ in texts]))
    return Inventory(Repository(Registry(ACCOUNTS[0], "us-east-1"), "team/app"), tuple(shuffled), edges)


def _some_tags(draw: st.DrawFn, free: list[str], *, usual: bool) -> list[str]:
    number = draw(st.sampled_from([1, 1, 2, 0] if usual else [0, 0, 1]))
    return [free.pop(draw(st.integers(0, len(free) - 1))) for _ in range(min(number, len(free)))]


def hosts(registry: Registry) -> list[str]:
    """Every host name under which a registry can be reached."""
    account, region = registry.account, registry.region
    if region.startswith("cn-"):
        return [
            f"{account}.dkr.ecr.{region}.amazonaws.com.cn",
            f"{account}.dkr-ecr.{region}.on.amazonwebservices.com.cn",
        ]
    if region.startswith("eusc-"):
        return [f"{account}.dkr.ecr.{region}.amazonaws.eu"]
    if region in ISOLATED:
        return [f"{account}.dkr.ecr.{region}.{ISOLATED[region]}"]
    return [
        f"{account}.dkr.ecr.{region}.amazonaws.com", f"{account}.dkr.ecr-fips.{region}.amazonaws.com",
        f"{account}.dkr-ecr.{region}.on.aws", f"{account}.dkr-ecr-fips.{region}.on.aws",
    ]  # fmt: skip


@st.composite
def certain_uses(draw: st.DrawFn, inventory: Inventory) -> tuple[Use, str]:
    """A use that certainly means one image of the inventory, in any form of name, and that image's digest."""
    image = draw(st.sampled_from(inventory.images))
    repository = inventory.repository
    forms = ["digest", "observed", "alias digest"]
    if image.tags:
        forms += ["tag", "both", "alias tag"]
    if "latest" in image.tags:
        forms.append("neither")
    form = draw(st.sampled_from(forms))
    host = draw(st.sampled_from(hosts(repository.registry)))
    name = f"{host}/{repository.name}"
    if form.startswith("alias"):
        prefix = draw(st.sampled_from(["", "proxy/", "a/b/"]))
        name = f"{draw(st.sampled_from(['registry.corp.example', 'localhost:5000']))}/{prefix}{repository.name}"
    tag = draw(st.sampled_from(image.tags)) if image.tags else ""
    ending = {
        "digest": f"@{image.digest}", "alias digest": f"@{image.digest}", "tag": f":{tag}", "alias tag": f":{tag}",
        "both": f":{tag}@{image.digest}", "neither": "", "observed": f":{draw(st.sampled_from(TAGS))}",
    }[form]  # fmt: skip
    scheme = draw(st.sampled_from(["", "", "https://", "docker://", "docker-pullable://"]))
    return (
        Use(
            image=scheme + name + ending,
            workload=f"workload-{draw(st.integers(0, 3))}",
            source="test",
            account=draw(st.sampled_from(ACCOUNTS)),
            region=draw(st.sampled_from(REGIONS)),
            digest=image.digest if form == "observed" else None,
        ),
        image.digest,
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any policy that governs the repository."""
    otherwise = draw(st.sampled_from(Otherwise))
    groups = st.builds(
        NewestPer, st.sampled_from([r"^(?P<branch>main|release)-", r"^v?(?P<major>\d+)\."]), st.integers(0, 2)
    )
    return Policy(
        newest_per=tuple(draw(st.lists(groups, max_size=2))),
        order=draw(st.sampled_from(Order)),
        otherwise=otherwise,
        trial_for=draw(st.sampled_from([10 * DAY, 30 * DAY])),
        delete_after_archived=None
        if otherwise is Otherwise.TRIAL
        else draw(st.none() | st.sampled_from([10 * DAY, 90 * DAY])),
        untag=tuple(draw(st.lists(st.sampled_from(["v*", "main-*", "*"]), max_size=2, unique=True))),
        newest=draw(st.integers(0, 4)),
        protected_tags=tuple(draw(st.lists(st.sampled_from(["latest", "v*", "release-*"]), max_size=2, unique=True))),
        pushed_within=draw(st.none() | st.sampled_from([5 * DAY, 20 * DAY])),
        pulled_within=draw(st.none() | st.sampled_from([15 * DAY, 30 * DAY])),
        used_within=draw(st.none() | st.sampled_from([15 * DAY, 30 * DAY])),
        untagged_for=draw(st.sampled_from([0.0, 14 * DAY])),
        grace=draw(st.sampled_from([0.0, DAY])),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A repository, uses that mean images of it, uses that mean nothing, and a policy."""
    inventory = draw(inventories(repository=draw(repositories())))
    uses: list[Use] = []
    if inventory.images:
        uses += [use for use, _ in draw(st.lists(certain_uses(inventory), max_size=2))]
    uses += draw(st.lists(stray_uses(inventory.repository), max_size=2))
    return World(inventory, uses, draw(policies()))


def repositories() -> st.SearchStrategy[Repository]:
    """A repository of any account, region and name."""
    registries = st.builds(Registry, st.sampled_from(ACCOUNTS), st.sampled_from((*REGIONS, *ISOLATED)))
    return st.builds(Repository, registries, st.sampled_from(NAMES))


@st.composite
def stray_uses(draw: st.DrawFn, repository: Repository) -> Use:
    """A use of another repository, of something public, of a tag that may be gone, or of nothing that can be read."""
    elsewhere = Repository(Registry(ACCOUNTS[1], "eu-west-1"), "elsewhere/app")
    text = draw(
        st.sampled_from(
            [
                "nginx", "public.ecr.aws/nginx/nginx:1", f"{elsewhere.uri}:v1", f"{elsewhere.uri}@{digest(1)}",
                f"{repository.uri}:nosuch", f"{repository.uri}@{digest(999)}", "what ${EVER}", digest(2), "",
            ]
        )
    )  # fmt: skip
    resolved = draw(st.none() | AGES.map(lambda age: NOW - age))
    return Use(text, "stray", "test", resolved_from=resolved, resolved_until=resolved)


@dataclass(frozen=True)
class Mention:
    """A use together with what its name means. The name was made from the meaning, so nobody needs to parse it to know.

    `repository`: of a private registry. `path`: under a host that may be an alias. `loose`: digests in a name that
    nobody can read. All empty: foreign.
    """

    use: Use
    repository: Repository | None = None
    path: str | None = None
    tag: str | None = None
    digest: str | None = None
    loose: tuple[str, ...] = ()


@dataclass(frozen=True)
class Memory:
    """A sighting of the ledger together with what it means, made the same way. `region`: a digest in any repository there."""

    sighting: Sighting
    mention: Mention | None = None
    region: str | None = None


@dataclass
class Estate:
    """Repositories of several registries, what mentions images in them, one policy, and what earlier runs left."""

    inventories: list[Inventory]
    mentions: list[Mention] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    memories: list[Memory] = field(default_factory=list)

    @property
    def uses(self) -> list[Use]:
        """The uses as a source would tell them."""
        return [mention.use for mention in self.mentions]


@st.composite
def estates(draw: st.DrawFn) -> Estate:
    """One to three repositories. Digests are of small numbers, so the same image may be in several, as replication does."""
    places = draw(st.lists(repositories(), min_size=1, max_size=3, unique=True))
    inventories_ = [draw(inventories(repository=place, most=8)) for place in places]
    return Estate(
        inventories_,
        draw(st.lists(mentions(places), max_size=4)),
        draw(policies()),
        draw(st.lists(memories(places), max_size=3)),
    )


@st.composite
def memories(draw: st.DrawFn, places: list[Repository]) -> Memory:
    """What an earlier run, or one whose clock was ahead, wrote down: by digest, by tag and time, or a digest alone."""
    repository, named = draw(st.sampled_from(places)), draw(st.integers(0, 9).map(digest))
    last = NOW - draw(AGES | AGES.map(lambda age: -age))
    first = last - draw(st.sampled_from([0.0, DAY, 30 * DAY]))
    who = (f"workload-{draw(st.integers(0, 3))}", draw(st.sampled_from(["ecs", "batch"])), first, last)
    match draw(st.sampled_from(["digest", "digest", "tag", "alias", "anywhere"])):
        case "digest":
            sighting = Sighting(f"{repository.uri}@{named}", *who)
            return Memory(sighting, Mention(sighting.as_use(), repository=repository, digest=named))
        case "tag":
            tag = draw(st.sampled_from((*TAGS, "gone")))
            sighting = Sighting(f"{repository.uri}:{tag}", *who)
            use = Use("", "", "", resolved_from=first, resolved_until=last)
            return Memory(sighting, Mention(use, repository=repository, tag=tag))
        case "alias":
            sighting = Sighting(f"registry.corp.example/any/thing@{named}", *who)
            return Memory(sighting, Mention(sighting.as_use(), path="any/thing", digest=named))
        case _:
            region = draw(st.sampled_from(REGIONS))
            return Memory(Sighting("", *who, digest=named, region=region), region=region)


@st.composite
def mentions(draw: st.DrawFn, places: list[Repository]) -> Mention:
    """A use in any form of name; by chance of these repositories, of others, or of none."""
    digests = st.integers(0, 9).map(digest)
    repository = draw(st.sampled_from(places))
    tag, named = draw(st.none() | st.sampled_from((*TAGS, "gone"))), draw(st.none() | st.none() | digests)
    ending = (f":{tag}" if tag else "") + (f"@{named}" if named else "")
    meant = tag if tag or named else "latest"
    shape = draw(st.sampled_from(["ecr", "ecr", "ecr", "alias", "alias", "foreign", "unreadable"]))
    match shape:
        case "ecr":
            name = f"{draw(st.sampled_from(hosts(repository.registry)))}/{repository.name}{ending}"
            return Mention(draw(told(name)), repository=repository, tag=meant, digest=named)
        case "alias":
            host = draw(st.sampled_from(["registry.corp.example", "localhost:5000", "localhost", "10.0.0.7:5000"]))
            path = draw(st.sampled_from(["", "proxy/", "a/b/", "not-"])) + repository.name
            return Mention(draw(told(f"{host}/{path}{ending}")), path=path, tag=meant, digest=named)
        case "foreign":
            host = draw(st.sampled_from(["", "public.ecr.aws/", "docker.io/", "ghcr.io/"]))
            return Mention(draw(told(f"{host}{repository.name}{ending}")))
        case _:
            loose = (named,) if named else ()
            return Mention(draw(told(f"{repository.uri}/${{WHICH}}{f'@{named}' if named else ''}")), loose=loose)


@st.composite
def told(draw: st.DrawFn, name: str) -> Use:
    """How a source tells of a workload that uses this name: from where, what digest it observed, since when it runs."""
    start = draw(st.none() | st.sampled_from([NOW - HOUR, NOW - 14 * DAY, NOW - 100 * DAY]))
    lasted = draw(st.none() | st.sampled_from([0.0, 30 * DAY]))
    return Use(
        image=draw(st.sampled_from(["", "", "https://", "docker://", "docker-pullable://"])) + name,
        workload=f"workload-{draw(st.integers(0, 3))}",
        source=draw(st.sampled_from(["ecs", "file"])),
        account=draw(st.sampled_from(ACCOUNTS)),
        region=draw(st.sampled_from(REGIONS)),
        digest=draw(st.none() | st.none() | st.integers(0, 9).map(digest)),
        resolved_from=start,
        resolved_until=None if start is None or lasted is None else start + lasted,
        ended=draw(st.booleans()),
    )


@st.composite
def tangled(draw: st.DrawFn) -> Inventory:
    """What no honest registry can hold: any manifest may contain, or refer to, any other, in circles too."""
    straight = draw(inventories(most=8))
    digests = [image.digest for image in straight.images]
    if not digests:
        return straight
    some = st.lists(st.sampled_from(digests), max_size=2, unique=True)
    edges = {image.digest: tuple(draw(some)) for image in straight.images if image.media_type in INDEX_TYPES}
    images = [
        replace(image, subject=draw(st.none() | st.none() | st.sampled_from(digests))) for image in straight.images
    ]
    return Inventory(straight.repository, tuple(images), edges)
