"""One set of credentials: its account, its regions, and clients for any service in any of them.

Profiles, SSO, `AWS_*` variables and endpoints are botocore's business and work as everywhere. Clients are shared by threads,
and by accounts that are reached by roles.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeVar

from botocore.credentials import Credentials

from ecrsweep.aws.clients import Clients, action_of
from ecrsweep.aws.errors import translated
from ecrsweep.aws.pace import Pace
from ecrsweep.aws.partitions import main_region, suggestion
from ecrsweep.aws.pool import ordered_map
from ecrsweep.core.errors import AwsFailure, BadInput, CredentialsFailure, Interrupted, Malformed, WrongAccount
from ecrsweep.core.journal import run_name

T = TypeVar("T")
R = TypeVar("R")

ACTIONS: Final = ("ec2:DescribeRegions", "sts:GetCallerIdentity")
"""What finding out account and regions needs of IAM."""

_INSIDE_A_PLACE: Final = 4


class AwsSession:
    """Credentials and configuration as the AWS CLI would find them."""

    def __init__(
        self,
        *,
        profile: str | None = None,
        endpoint_url: str | None = None,
        region: str | None = None,
        environ: Mapping[str, str],
        run: str | None = None,
        pace: Pace | None = None,
        account: str | None = None,
        clients: Clients | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """`region` is the one to begin with, None for the configured one; `run` names the run in CloudTrail.

        `pace` is how fast it may ask; None waits in real time, and no longer than until `close`. `account` is the one that
        the credentials must be of, None for any. `clients` are those of another session that are to be shared, `credentials` what
        signs where it is not what AWS tools would find.

        Raises `CredentialsFailure` for an unknown profile.
        """
        self.run = run or run_name(time.time(), uuid.uuid4().hex[:8])
        """The word for this run in the user agent of every call, and in its journal."""
        self._clients = clients or Clients(profile=profile, endpoint_url=endpoint_url, environ=environ, run=self.run)
        self.configured_region = self._clients.configured_region
        self._environ = environ
        self._credentials = credentials
        self._profile, self._endpoint_url, self._expected = profile, endpoint_url, account
        self._others: list[AwsSession] = []
        self._lock = threading.Lock()
        self.allowed_actions: set[str] = set()
        self._ended = threading.Event()
        self.pace = pace or Pace(sleep=self._ended.wait)
        self._first_region = region or self.configured_region or "us-east-1"

    def another(
        self, account: str, *, profile: str | None = None, credentials: Credentials | None = None
    ) -> "AwsSession":
        """A session of the same run in another account, by a profile or with these credentials. It ends with this one.

        Raises `CredentialsFailure` for an unknown profile.
        """
        session = AwsSession(
            profile=profile or self._profile, endpoint_url=self._endpoint_url, environ=self._environ, run=self.run,
            region=None if profile else self._first_region, account=account, credentials=credentials,
            clients=None if profile else self._clients,
        )  # fmt: skip
        with self._lock:
            self._others.append(session)
        return session

    @property
    def profiles(self) -> Sequence[str]:
        """The profiles of the AWS configuration."""
        return self._clients.profiles

    @property
    def partition(self) -> str:
        """The partition in which it begins, which its credentials are of."""
        return self.partition_of(self._first_region)

    @property
    def source_credentials(self) -> Any:  # noqa: ANN401 - botocore has no types
        """The credentials as botocore holds them, None where there are none."""
        return self._credentials or self._clients.credentials

    @cached_property
    def _identity(self) -> tuple[Mapping[str, str], str]:
        """Who we are, and the region that told it. Raises `WrongAccount` where we are to be somebody else."""
        identity, region = self._told_identity()
        if self._expected not in {None, identity["Account"]}:
            named = "" if self._profile is None else f" of profile {self._profile}"
            raise WrongAccount(
                f"Account {self._expected} was to be asked, but the credentials{named} are of account {identity['Account']}"
                f" ({identity['Arn']}). Nothing was asked or changed with them. Name a profile or role of {self._expected}",
                action="sts:GetCallerIdentity",
            )
        return identity, region

    def _told_identity(self) -> tuple[Mapping[str, str], str]:
        """The first region named tells who we are or, where that does not answer, the main one."""
        main = main_region(self.partition_of(self._first_region))
        first = self._first_region if self._first_region in self.known_regions("sts") else main
        try:
            return self._asked_identity(first), first
        except AwsFailure:
            if first == main:
                raise
            # A region that is not switched on refuses every credential.
            return self._asked_identity(main), main

    def _asked_identity(self, region: str) -> Mapping[str, str]:
        with translated("sts:GetCallerIdentity", region):
            answer = self.client("sts", region).get_caller_identity()
            return {"Account": str(answer["Account"]), "Arn": str(answer.get("Arn", ""))}

    @property
    def account(self) -> str:
        """The account of the credentials: the one that they must be of, else what GetCallerIdentity says. Raises `AwsFailure`."""
        return self._expected or self._identity[0]["Account"]

    def require_account(self) -> None:
        """Raise `AwsFailure` where there is no way to the account that the credentials must be of, or they are of another."""
        if self._expected is not None:
            _ = self._identity

    @property
    def arn(self) -> str:
        """The user, or the session of a role, that the credentials are of (GetCallerIdentity). Raises `AwsFailure`."""
        return self._identity[0]["Arn"]

    @property
    def credentials(self) -> tuple[str, float | None]:
        """Where the credentials came from, in botocore's word, and until when they are valid, where they say so."""
        found = self.source_credentials
        until = getattr(found, "_expiry_time", None)  # botocore keeps it to itself
        return str(getattr(found, "method", "")), None if until is None else until.timestamp()

    @property
    def home_region(self) -> str:
        """A region that answers what holds for all regions. Raises `AwsFailure`."""
        return self._identity[1]

    def partition_of(self, region: str) -> str:
        """The partition of a region, known or not."""
        return self._clients.partition_of(region)

    @cached_property
    def _region_states(self) -> dict[str, str]:
        region = self.home_region
        with translated("ec2:DescribeRegions", region):
            answer = self.client("ec2", region).describe_regions(AllRegions=True)
            return {found["RegionName"]: found.get("OptInStatus", "") for found in answer["Regions"]}

    def enabled_regions(self) -> list[str]:
        """The regions that the account has switched on (DescribeRegions), sorted. Raises `AwsFailure`."""
        enabled = sorted(name for name, state in self._region_states.items() if state != "not-opted-in")
        if not enabled:
            raise Malformed("ec2:DescribeRegions named no region at all", action="ec2:DescribeRegions")
        return enabled

    def disabled_regions(self) -> list[str]:
        """The regions that the account has not switched on (DescribeRegions), sorted. Raises `AwsFailure`."""
        return sorted(name for name, state in self._region_states.items() if state == "not-opted-in")

    def known_regions(self, service: str) -> list[str]:
        """The regions of this partition that botocore knows to offer a service, sorted."""
        return sorted(self._clients.regions_of(service, self.partition_of(self._first_region)))

    def offers(self, service: str, region: str) -> bool:
        """Whether a service may answer in a region. False only where botocore's table and the name service agree on no."""
        return self._clients.offers(service, region)

    def require_region(self, region: str) -> None:
        """Raise `BadInput` for a region that does not exist or is not switched on, where that can be known."""
        try:
            states = self._region_states
        except CredentialsFailure:
            raise
        except AwsFailure:
            states = dict.fromkeys(self.known_regions("ecr"), "")
        if region not in states:
            raise BadInput(f"There is no region {region}. {suggestion(region, states)}")
        if states[region] == "not-opted-in":
            raise BadInput(f"The region {region} is not switched on in this account.")

    def client(self, service: str, region: str) -> Any:  # noqa: ANN401 - botocore builds clients at run time
        """The boto3 client of a service in a region. Answers that are not JSON raise instead of reading as empty."""
        return self._clients.client(service, region, self)

    def close(self) -> None:
        """Send nothing any more, retries included: every call from now on, also of the `another`s, raises `Interrupted`."""
        self.pace.close()
        self._ended.set()
        with self._lock:
            others = list(self._others)
        for session in others:
            session.close()

    def refuse_when_closed(self) -> None:
        """Raise `Interrupted` where nothing more is to be sent."""
        if self._ended.is_set():
            raise Interrupted("This run has ended: nothing more is sent to AWS")


class AwsPlace:
    """One account and region, as sources read it (`ports.Place`)."""

    def __init__(self, session: AwsSession, region: str) -> None:
        """The place of these credentials in this region."""
        self._session = session
        self.region = region

    @property
    def account(self) -> str:
        """The account's number. Raises `AwsFailure` where that is not known."""
        return self._session.account

    def at(self, region: str) -> "AwsPlace":
        """Another region of the same account."""
        return AwsPlace(self._session, region)

    def client(self, service: str) -> Any:  # noqa: ANN401 - botocore builds clients at run time
        """The boto3 client of a service here. Raises `AwsFailure` where there is no way to the account."""
        self._session.require_account()
        return self._session.client(service, self.region)

    def call(self, service: str, operation: str, /, **parameters: object) -> dict[str, Any]:
        """One call by its Python name, errors translated."""
        client = self.client(service)
        action = action_of(client, operation)
        with translated(action, self.region):
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
            self._session.allowed_actions.add(action)
            return answer

    def pages(
        self, service: str, operation: str, key: str, /, *, absent_is_empty: bool = False, **parameters: object
    ) -> Iterator[Any]:
        """The items under `key` of all pages. A page without that key is `Malformed`: silence is not "none"."""
        found = self.page_by_page(service, operation, key, lambda: None, absent_is_empty=absent_is_empty, **parameters)
        return (item for page in found for item in page)

    def page_by_page(
        self, service: str, operation: str, key: str, before: Callable[[], object], /, *,
        absent_is_empty: bool = False, **parameters: object,
    ) -> Iterator[Sequence[Any]]:  # fmt: skip
        """The same, a page at a time; `before` is called before each is asked for."""
        client = self.client(service)
        action = action_of(client, operation)
        asks, tells = _tokens(service, operation, client)
        seen: set[str] = set()
        while True:
            before()
            page = self.call(service, operation, **parameters)
            if key not in page and not absent_is_empty:
                raise Malformed(f"{action} in {self.region} answered a page without {key}", action=action)
            yield page.get(key) or ()
            token = page.get(tells)
            if not token:
                return
            if token in seen:
                raise Malformed(f"{action} in {self.region} answered the same page twice", action=action)
            seen.add(token)
            parameters[asks] = token

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`work` of each item, a few at a time, answers in order."""
        return ordered_map(work, items, _INSIDE_A_PLACE)

    def in_region(self, region: str) -> "AwsPlace":
        """The same account in another region."""
        return self if region == self.region else AwsPlace(self._session, region)


_TOKENS: Final[dict[tuple[str, str], tuple[str, str]]] = {}


def _tokens(service: str, operation: str, client: Any) -> tuple[str, str]:  # noqa: ANN401 - botocore builds clients at run time
    """The members in which a paginated call takes and gives its token, looked up once: to do so for each listing costs as much as signing."""
    if (service, operation) not in _TOKENS:
        _TOKENS[service, operation] = _looked_up(client, operation)
    return _TOKENS[service, operation]


def _looked_up(client: Any, operation: str) -> tuple[str, str]:  # noqa: ANN401 - likewise
    """By botocore's table, else by what its model has."""
    if client.can_paginate(operation):
        table = client.get_paginator(operation)._pagination_cfg  # noqa: SLF001 - botocore keeps the table there
        if isinstance(table["input_token"], str) and isinstance(table["output_token"], str):
            return table["input_token"], table["output_token"]
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    asks, tells = shape.input_shape.members, shape.output_shape.members
    for token in ("nextToken", "NextToken", "nextPageToken"):
        if token in asks and token in tells:
            return token, token
    return "nextToken", "nextToken"
