"""Plans, applies and uses, written for people and for programs. Nothing here decides anything."""

from typing import Protocol

from ecrsweep.core.document import Footer, Header
from ecrsweep.core.plan import RepositoryPlan


class PlanReport(Protocol):
    """Whatever shows or keeps a plan: told the beginning, each repository as it comes, and the end."""

    def begin(self, header: Header) -> None:
        """When, under which rules, about what."""

    def add(self, plan: RepositoryPlan) -> None:
        """One repository."""

    def end(self, footer: Footer) -> None:
        """What is known when all have come."""
