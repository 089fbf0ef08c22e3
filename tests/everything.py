"""A world in which every call that ecrsweep can make is made: a registry, and a function for each source.

A new source of this package adds its function here. The tests of IAM policies run every command against this world.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from ecrsweep.emulator import Emulator
from ecrsweep.emulator.registry import Repository
from tests.support import ago

REPOSITORY: Final = "team/app"
_RULE: Final = {
    "rulePriority": 1, "action": {"type": "expire"},
    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 100},
}  # fmt: skip


def furnish(aws: Emulator) -> Repository:
    """Fill an empty AWS. The repository has an index, to be read, images that can go, and a lifecycle policy."""
    repository = aws.ecr.repository(REPOSITORY)
    child = repository.push_image(pushed_at=ago(days=90))
    repository.push_index([child], tags=("multi",), pushed_at=ago(days=90))
    for version in range(3):
        repository.push_image(tags=(f"v{version}",), pushed_at=ago(days=90 - version))
    repository.policies["lifecycle"] = json.dumps({"rules": [_RULE]})
    for add in FURNISHED.values():
        add(aws, repository)
    return repository


def _ecs(aws: Emulator, repository: Repository) -> None:
    """A task of its own, and a service with tasks, deployments and revisions."""
    definition = aws.ecs.register("web", {"web": f"{repository.uri}:v2"})
    aws.ecs.run(definition)
    aws.ecs.service("web", definition)


FURNISHED: Final[Mapping[str, Callable[[Emulator, Repository], None]]] = {"ecs": _ecs}
"""By the names of the sources of this package."""
