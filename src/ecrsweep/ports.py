"""The protocols between the core and the world. Whoever implements one knows nothing of the others.

`app` tells its stories in these terms; `aws` and `sources` implement them over AWS; `cli` wires them.
Every method may raise `core.errors.AwsFailure` and its kinds, those of `StateStore` `StateFailure`; nothing of botocore's
comes through.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from ecrsweep.core.images import Image, Inventory
from ecrsweep.core.manifests import Contents
from ecrsweep.core.names import Registry
from ecrsweep.core.sharing import Replica
from ecrsweep.core.uses import Coverage, Covered, Note, Use

T = TypeVar("T")
R = TypeVar("R")


class Deletion(msgspec.Struct, frozen=True):
    """What AWS answered for one image of a delete call: `failure` None where it is gone.

    `tag` is set where that tag alone was to go. `request` is AWS's word for the call.
    """

    digest: str
    failure: str | None = None
    message: str | None = None
    tag: str | None = None
    request: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """A manifest as it was pushed, byte for byte."""

    digest: str
    media_type: str | None
    content: str


class ImageStore(Protocol):
    """One private registry: the images in it, and the ways to change them."""

    @property
    def registry(self) -> Registry:
        """Which one it is."""

    def repository_names(self) -> Sequence[str]:
        """The names of all its repositories, sorted."""

    def inventory(self, name: str, *, with_layers: bool = False) -> Inventory:
        """All images of a repository, whatever their state, with what indexes contain. Raises `Missing` if it is gone.

        `with_layers` also reads what every manifest stores; what of that cannot be read is told there, and is no gap.
        """

    def lifecycle_policy(self, name: str) -> str | None:
        """The text of the AWS lifecycle policy that is in place on a repository; None where there is none."""

    def repository_policy(self, name: str) -> str | None:
        """The text of a repository's own policy, which says who else may pull from it; None where there is none."""

    def registry_policy(self) -> str | None:
        """The text of the policy of the registry, which may say so for many repositories; None where there is none."""

    def replication(self) -> Sequence[Replica]:
        """The registries that get a copy of what is pushed to some repositories, sorted."""

    def previewed(self, name: str) -> dict[str, int]:
        """What AWS itself says that policy would expire now: the rule, by digest. It changes nothing."""

    def describe(self, name: str, digests: Sequence[str]) -> dict[str, Image]:
        """These images as they are now, by digest; those that are gone are left out."""

    def tagged(self, name: str, tag: str) -> Image | None:
        """The image that a tag names now, whatever its state; None where it names none."""

    def delete(self, name: str, digests: Sequence[str]) -> Sequence[Deletion]:
        """Delete at most 100 images by digest, in one call. One answer an image, in the order given."""

    def untag(self, name: str, tags: Sequence[tuple[str, str]]) -> Sequence[Deletion]:
        """Take at most 100 tags, each with the digest that it must name, off images that have others, in one call."""

    def archive(self, name: str, digest: str) -> Deletion:
        """Move one image into the archive: nobody can pull it there."""

    def restore(self, name: str, digest: str) -> str:
        """Bring one image back from the archive, which takes about 20 minutes; the state that it is in then."""

    def manifests(self, name: str, images: Sequence[Image]) -> Sequence[Manifest]:
        """The manifests of at most 100 images, as just described; those that are archived or cannot be read are left out."""

    def push(self, name: str, manifest: Manifest, tag: str | None) -> None:
        """Push a manifest back, under a tag or none.

        Raises `LayersGone` or `PartsGone` where what it needs is not there, `TagTaken` where the tag must not move.
        """

    def owners_tags(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """The tags of those repositories that have one of these keys, by name."""


class Place(Protocol):
    """Where a source reads: one account and region, and the means to do so."""

    @property
    def account(self) -> str:
        """The account's number."""

    @property
    def region(self) -> str:
        """The region's name."""

    def at(self, region: str) -> "Place":
        """Another region of the same account, for what exists in one region and speaks for several."""

    def client(self, service: str) -> Any:  # noqa: ANN401 - botocore builds clients at run time; sources narrow the type
        """A boto3 client of this place. Its errors must pass through `calling`."""

    def pages(
        self, service: str, operation: str, key: str, /, *, absent_is_empty: bool = False, **parameters: object
    ) -> Iterator[Any]:
        """The items under `key` of all pages of a paginated call, errors translated.

        A page without `key` is `Malformed`, because silence is not "none"; `absent_is_empty` is for the few
        services that leave an empty list out.
        """

    def page_by_page(
        self, service: str, operation: str, key: str, before: Callable[[], object], /, *,
        absent_is_empty: bool = False, **parameters: object,
    ) -> Iterator[Sequence[Any]]:  # fmt: skip
        """The same, a page at a time; `before` is called before each is asked for."""

    def call(self, service: str, operation: str, /, **parameters: object) -> dict[str, Any]:
        """One call by its Python name (`describe_tasks`), errors translated."""

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`work` of each item, side by side, answers in the order of the items. The first error is raised."""

    def in_region(self, region: str) -> "Place":
        """The same account in another region: for what a workload here names there."""


class About(msgspec.Struct, frozen=True):
    """What people should know of a source; docs/sources.md is made of it."""

    system: str
    """Its name as AWS or its makers write it: "AWS Lambda"."""
    calls: str
    """Which calls it makes, in words."""
    keeps: str
    """Where in which resources an image stands."""
    unknowable: str
    """What no call can tell."""
    service: str = ""
    """botocore's name of the service, to find out where it is offered; "" where that is no question."""
    bulk: bool = True
    """False where there is a call an item: slower in large accounts."""
    by_default: bool = True
    """False where it is asked only with `flag`."""
    flag: str = "--with-source"
    """What makes it be asked where that is not the default."""
    once: bool = False
    """True where it is asked once an account, not in every region."""
    once_a_run: bool = False
    """True where it does not depend on the account either: asked once, by the credentials in hand."""


class Source(Protocol):
    """A reader of uses: one system. Registered under the entry point group `ecrsweep.sources`.

    A source yields as it finds: what it found before an error still protects. It raises `ClosedByOrganization` only
    where every call it tried was refused so. Whatever else it raises is a gap, never "no uses".
    """

    @property
    def name(self) -> str:
        """The word for it in coverage, reasons and `--skip-source`."""

    @property
    def actions(self) -> tuple[str, ...]:
        """The IAM actions that it needs, all of them read-only."""

    @property
    def about(self) -> About:
        """What people should know of it."""

    def uses(self, place: Place) -> Iterator[Use | Note | Coverage | Covered]:
        """Every use in this account and region, and notes of what cannot be known there.

        A coverage entry is what another run could not read, where its evidence is handed on; `Covered` says of which accounts
        a source can tell that is asked once for all.
        """


class Kept(msgspec.Struct, frozen=True):
    """What a state store holds under a name, and the version of it."""

    content: bytes
    version: str


class StateStore(Protocol):
    """Where things are kept that must outlive a run: a folder, or a part of a bucket. Safe for several writers.

    Names are relative, with slashes. What is written is there whole, or not at all.
    """

    @property
    def location(self) -> str:
        """Where it is, as the user would write it."""

    def names(self, under: str) -> Sequence[str]:
        """The names in this folder, which ends with a slash, sorted."""

    def read(self, names: Sequence[str]) -> Iterator[Kept | None]:
        """What is under each name, in their order, read in any; None where there is nothing (any more)."""

    def add(self, name: str, content: bytes) -> None:
        """Keep this under a name that nobody else uses."""

    def replace(self, name: str, content: bytes, version: str | None) -> bool:
        """Put this in the place of a version, None where nothing was there. False where another writer was faster."""

    def remove(self, names: Sequence[str]) -> None:
        """Forget these; what is not there is no error."""


class Journal(Protocol):
    """What a run really did, line by line: each line is kept for good before the call returns."""

    @property
    def location(self) -> str:
        """Where it is, as the user would write it."""

    def write(self, *events: Mapping[str, Any]) -> None:
        """Add these lines. Raises `StateFailure` where they cannot be kept."""


class EdgeStore(Protocol):
    """Where it is kept for good what indexes contain."""

    def add(self, contents: Mapping[str, Contents]) -> None:
        """Keep what these manifests contain, by digest. Raises `StateFailure`."""


class Account(Protocol):
    """One account as a run reaches it: its regions, and places to ask for uses."""

    def require(self) -> None:
        """Raise `AwsFailure` where there is no way to it."""

    @property
    def home_region(self) -> str:
        """A region that answers what holds for all regions."""

    def enabled_regions(self) -> Sequence[str]:
        """The regions that this account has switched on, sorted."""

    def place(self, region: str) -> Place:
        """The place where sources read in a region."""

    def offers(self, service: str, region: str) -> bool:
        """False where AWS is sure not to offer a service in a region: botocore's table and the name service agree."""

    def is_closed(self, region: str) -> bool:
        """True where a service control policy refuses even to list repositories there."""


class World(Protocol):
    """Everything that a run can reach: its accounts, and their registries."""

    def reach(self, account: str) -> Account:
        """One of the accounts. Whether there is a way to it shows with the first call."""

    def image_store(self, registry: Registry) -> ImageStore:
        """A registry. Whether there is a way to it shows with the first call."""

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`work` of each item, side by side, a bounded number ahead; answers in the order of the items."""

    def gather(self, work: Callable[[T], R], items: Iterable[T]) -> Sequence[R]:
        """The same all at once: one that takes long keeps none of the others waiting."""
