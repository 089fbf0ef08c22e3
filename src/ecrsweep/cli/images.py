"""The one image that a user names on the command line."""

from collections.abc import Mapping, Sequence
from typing import Any

from ecrsweep.aws.session import AwsSession
from ecrsweep.aws.world import AwsWorld
from ecrsweep.core.accounts import Member
from ecrsweep.core.errors import BadInput, Missing
from ecrsweep.core.images import Image
from ecrsweep.core.names import EcrReference, Registry, parse_own_reference
from ecrsweep.wiring.accounts import ALL_REGIONS


def asked_image(image: str, session: AwsSession, flags: Mapping[str, Any]) -> EcrReference:
    """The image that the user names; a name without a host is one of the account named by `--account`, else of the credentials."""
    named = flags["accounts"]
    account = named[0] if len(named) == 1 else session.account
    return parse_own_reference(image, Registry(account, _single_region(session, flags, image)))


def require_ours(asked: EcrReference, session: AwsSession, members: Sequence[Member]) -> None:
    """Raise `BadInput` for an image of an account that is not part of the run."""
    account = asked.repository.registry.account
    if not members and account != session.account:
        raise BadInput(
            f"{asked} is of account {account}, the credentials are of {session.account}: name it with --account and --role-name"
        )
    if members and account not in {member.account for member in members}:
        raise BadInput(f"{asked} is of account {account}, which is none of those that are listed")


def _single_region(session: AwsSession, flags: Mapping[str, Any], image: str) -> str:
    """The region in which a name without a host is looked up; any will do for a name with one."""
    if len(flags["regions"]) == 1 and flags["regions"][0] != ALL_REGIONS:
        return str(flags["regions"][0])
    if not flags["regions"] and session.configured_region:
        return session.configured_region
    if ".dkr" in image.partition("/")[0]:
        return session.home_region
    raise BadInput("Name the one --region of the image, or give its full name")


def held_now(world: AwsWorld, asked: EcrReference) -> tuple[Image, ...]:
    """What the repository of an image holds; nothing, if it is gone."""
    try:
        return world.image_store(asked.repository.registry).inventory(asked.repository.name).images
    except Missing:
        return ()


def digest_of(asked: EcrReference, images: Sequence[Any]) -> str | None:
    """The digest that a reference means among these images. A digest cut short is taken where only one begins so."""
    if asked.digest:
        matching = [image.digest for image in images if image.digest.startswith(asked.digest)]
        if len(matching) > 1:
            raise BadInput(f"{asked} is not unique: {len(matching)} digests begin so")
        return matching[0] if matching else None
    return next((image.digest for image in images if asked.tag in image.tags), None)
