"""GetResources of the emulated tagging API, as far as it tells of repositories.

https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html
"""

from collections.abc import Callable
from typing import Any, Final

from ecrsweep.emulator.errors import AwsError
from ecrsweep.emulator.registry import EcrState, Repository

_Json = dict[str, Any]
_PAGE: Final = 100


class TaggingApi:
    """The tags of repositories, one registry at a time: the account and region of the request."""

    def __init__(self, state: EcrState) -> None:
        """Tell of these registries."""
        self._state = state

    def operation(self, name: str) -> Callable[[str, str, _Json], _Json] | None:
        """The method for an operation of the API; None for one that is not emulated."""
        return {"GetResources": self._get_resources}.get(name)

    def _get_resources(self, account: str, region: str, asked: _Json) -> _Json:
        """A page; the token is the number of the first that is not on it. An empty token says that there are no more."""
        most, token = asked.get("ResourcesPerPage", _PAGE), asked.get("PaginationToken") or "0"
        if not 1 <= most <= _PAGE or not token.isdigit():
            raise AwsError("InvalidParameterException", f"ResourcesPerPage {most}, PaginationToken {token}")
        kinds = asked.get("ResourceTypeFilters") or ["ecr"]
        wanted = any(kind in {"ecr", "ecr:repository"} for kind in kinds)
        held = self._state.registry(account, region).values() if wanted else ()
        found = sorted((one for one in held if _matches(one, asked)), key=lambda one: one.name)
        first = int(token)
        page = found[first : first + most]
        more = str(first + most) if first + most < len(found) else ""
        return {"PaginationToken": more, "ResourceTagMappingList": [_tagged(one) for one in page]}


def _matches(repository: Repository, asked: _Json) -> bool:
    """Every filter must match. A resource that never had a tag is not told of at all."""
    tags = repository.tags_of_resource
    filters = asked.get("TagFilters", ())
    return bool(tags) and all(
        wanted["Key"] in tags and (not wanted.get("Values") or tags[wanted["Key"]] in wanted["Values"])
        for wanted in filters
    )


def _tagged(repository: Repository) -> _Json:
    tags = [{"Key": key, "Value": value} for key, value in repository.tags_of_resource.items()]
    return {"ResourceARN": repository.arn, "Tags": tags}
