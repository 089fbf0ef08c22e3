"""The pulls that nothing else explains: who pulls what no source knows of."""

from ecrsweep.app.request import unread
from ecrsweep.core.document import Scope
from ecrsweep.core.errors import AwsFailure, Missing
from ecrsweep.core.images import Inventory
from ecrsweep.core.names import Repository
from ecrsweep.core.unexplained import repositories_pulled, unexplained
from ecrsweep.core.uses import Census, Coverage, Use
from ecrsweep.ports import World


def unexplained_pulls(world: World, census: Census, scope: Scope) -> tuple[list[Use], list[Coverage]]:
    """The pulls that no other use explains, and which repositories could not be looked into to tell.

    Repositories of accounts that are not part of the run are told by name alone.
    """
    ours = {registry.account for registry in scope.registries}
    pulled = [found for found in repositories_pulled(census.uses) if found.registry.account in ours]
    inventories: list[Inventory] = []
    failures: list[Coverage] = []
    for answer in world.each(lambda repository: _looked_into(world, repository), pulled):
        match answer:
            case Coverage():
                failures.append(answer)
            case Inventory():
                inventories.append(answer)
                registry = answer.repository.registry
                failures += (unread(registry, AwsFailure(gap.error, action=gap.action)) for gap in answer.gaps)
    return unexplained(census.uses, inventories, scope.aliases), failures


def _looked_into(world: World, repository: Repository) -> Inventory | Coverage | None:
    try:
        return world.image_store(repository.registry).inventory(repository.name)
    except Missing:
        return None
    except AwsFailure as failure:
        return unread(repository.registry, failure, repository=repository.name)
