"""All accounts that a run reaches, each with a session of its own; what holds for the run as a whole is gathered here.

Sessions are made when they are needed first, and shared by threads. Whether there is a way to an account shows with the
first call.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from ecrsweep.aws.cache import ManifestCache
from ecrsweep.aws.ecr import EcrStore
from ecrsweep.aws.pool import ordered_map
from ecrsweep.aws.session import AwsPlace, AwsSession
from ecrsweep.core.accounts import Member
from ecrsweep.core.errors import AwsFailure, ClosedByOrganization
from ecrsweep.core.names import Registry

T = TypeVar("T")
R = TypeVar("R")

_SIDE_BY_SIDE: Final = 64

Connect = Callable[[AwsSession, Member], AwsSession]
"""Makes the session of an account out of that of the credentials in hand."""


class AwsAccount:
    """One account as a run reaches it (`ports.Account`)."""

    def __init__(self, session: AwsSession) -> None:
        """What this session reaches."""
        self._session = session

    def require(self) -> None:
        """Raise `AwsFailure` where there is no way to it (AssumeRole, GetCallerIdentity)."""
        _ = self._session.arn

    @property
    def home_region(self) -> str:
        """A region that answers what holds for all regions."""
        return self._session.home_region

    def enabled_regions(self) -> Sequence[str]:
        """The regions that the account has switched on, sorted."""
        return self._session.enabled_regions()

    def place(self, region: str) -> AwsPlace:
        """The place where sources read in a region."""
        return AwsPlace(self._session, region)

    def offers(self, service: str, region: str) -> bool:
        """False where AWS is sure not to offer a service in a region: botocore's table and the name service agree."""
        return self._session.offers(service, region)

    def is_closed(self, region: str) -> bool:
        """True where a service control policy refuses even to list repositories there."""
        try:
            self.place(region).call("ecr", "describe_repositories", maxResults=1)
        except ClosedByOrganization:
            return True
        except AwsFailure:
            return False
        return False


class AwsWorld:
    """All that a run reaches (`ports.World`)."""

    def __init__(
        self, session: AwsSession, cache: ManifestCache, members: Iterable[Member] = (), connect: Connect | None = None
    ) -> None:
        """What the credentials of `session` reach; `members` are the other accounts. `cache` knows what indexes contain."""
        self.home = session
        self.cache = cache
        self._members = {member.account: member for member in members}
        self._connect = connect
        self._sessions: dict[str, AwsSession] = {}
        self._lock = threading.Lock()

    @property
    def account(self) -> str:
        """The account of the credentials."""
        return self.home.account

    @property
    def home_region(self) -> str:
        """A region that answers what holds for all regions, in the account of the credentials."""
        return self.home.home_region

    def place(self, region: str) -> AwsPlace:
        """A region of the account of the credentials: buckets are spoken to from there."""
        return AwsPlace(self.home, region)

    @property
    def run(self) -> str:
        """The word for this run in the user agent of every call, in the names of its role sessions, and in its journal."""
        return self.home.run

    @property
    def allowed_actions(self) -> frozenset[str]:
        """The IAM actions of the calls that were answered so far, in every account."""
        return frozenset().union(*(session.allowed_actions for session in self._opened()))

    @property
    def throttled(self) -> Mapping[tuple[str, str, str], int]:
        """How often AWS refused calls for their rate so far, by account, region and IAM action."""
        return {
            (session.account, region, action): times
            for session in self._opened()
            for (action, region), times in session.pace.throttled.items()
        }

    def reach(self, account: str) -> AwsAccount:
        """One of the accounts. Raises `AwsFailure` for one that is none of the run's."""
        return AwsAccount(self.session_of(account))

    def image_store(self, registry: Registry) -> EcrStore:
        """A registry. Raises `AwsFailure` for one of an account that is none of the run's."""
        return EcrStore(AwsPlace(self.session_of(registry.account), registry.region), registry, self.cache)

    def session_of(self, account: str) -> AwsSession:
        """The session of one of the accounts. Raises `AwsFailure` for one that is none of the run's."""
        with self._lock:
            if account not in self._sessions:
                self._sessions[account] = self._opened_anew(account)
            return self._sessions[account]

    def close(self) -> None:
        """Send nothing any more, in any account, retries included: every call from now on raises `Interrupted`."""
        for session in self._opened():
            session.close()

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`work` of each item side by side, answers in order."""
        return ordered_map(work, items, _SIDE_BY_SIDE)

    def gather(self, work: Callable[[T], R], items: Iterable[T]) -> Sequence[R]:
        """The same all at once: one that takes long keeps none of the others waiting."""
        return list(ordered_map(work, items, _SIDE_BY_SIDE, at_once=True))

    def _opened(self) -> list[AwsSession]:
        with self._lock:
            return list({id(session): session for session in (self.home, *self._sessions.values())}.values())

    def _opened_anew(self, account: str) -> AwsSession:
        member = self._members.get(account)
        if member is not None and self._connect is not None:
            return self._connect(self.home, member)
        if account == self.home.account:
            return self.home
        raise AwsFailure(f"account {account} is none of those that this run reaches")
