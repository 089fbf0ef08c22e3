"""One set of credentials: its account, its regions, and clients for any service in any of them.

Profiles, SSO, `AWS_*` variables and endpoints are botocore's business and work as everywhere. Clients are
made once a service and region, and shared by threads.
"""

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import boto3
import msgspec
from botocore import exceptions as boto
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError

from ecrsweep._version import __version__
from ecrsweep.aws import decoding
from ecrsweep.aws.errors import translated
from ecrsweep.aws.pace import Pace
from ecrsweep.aws.partitions import main_region, suggestion
from ecrsweep.aws.pool import ordered_map
from ecrsweep.aws.renewal import Renewal
from ecrsweep.aws.turns import Turns
from ecrsweep.core.errors import AwsFailure, BadInput, CredentialsFailure, Interrupted, Malformed, WrongAccount
from ecrsweep.core.journal import run_name

T = TypeVar("T")
R = TypeVar("R")

ACTIONS: Final = ("ec2:DescribeRegions", "sts:GetCallerIdentity")
"""What finding out account and regions needs of IAM."""

# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_GRANTED_AS: Final = {"s3:ListObjectsV2": "s3:ListBucket", "tagging:GetResources": "tag:GetResources"}
_SIDE_BY_SIDE: Final = 64
_INSIDE_A_PLACE: Final = 4
_ATTEMPTS: Final = 5


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
        provider: CredentialProvider | None = None,
    ) -> None:
        """`region` is the one to begin with, None for the configured one; `run` names the run in CloudTrail.

        `pace` is how fast it may ask; None waits in real time, and no longer than until `close`. `account` is the one that
        the credentials must be of, None for any; `provider` has them where they are not those that AWS tools would find.

        Raises `CredentialsFailure` for an unknown profile.
        """
        self.run = run or run_name(time.time(), uuid.uuid4().hex[:8])
        """The word for this run in the user agent of every call, and in its journal."""
        try:
            self._boto: Any = boto3.Session(profile_name=profile)  # its stubs want each service by its literal name
            core = self._boto._session  # noqa: SLF001 - boto3 has no other way to it
            # What the one global endpoint gives is not valid in regions that had to be switched on.
            core.set_config_variable("sts_regional_endpoints", "regional")
            core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
            if provider is not None:
                core.register_component("credential_provider", CredentialResolver([provider]))
            self.configured_region = environ.get("AWS_REGION") or self._boto.region_name or None
            self._environ = environ
            self._config = self._made_config()
        except boto.ProfileNotFound as error:
            raise CredentialsFailure(f"{error}. The profiles are in ~/.aws/config.") from error
        except boto.ConfigParseError as error:
            raise BadInput(f"The AWS configuration cannot be read: {error}") from error
        self._profile, self._endpoint_url, self._expected = profile, endpoint_url, account
        self._others: list[AwsSession] = []
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self.allowed_actions: set[str] = set()
        self._offered: dict[tuple[str, str], bool] = {}
        self._ended = threading.Event()
        self.pace = pace or Pace(sleep=self._ended.wait)
        self._first_region = region or self.configured_region or "us-east-1"

    def another(
        self, account: str, *, profile: str | None = None, provider: CredentialProvider | None = None
    ) -> "AwsSession":
        """A session of the same run in another account, by a profile or by what `provider` has. It ends with this one.

        Raises `CredentialsFailure` for an unknown profile.
        """
        session = AwsSession(
            profile=profile or self._profile, endpoint_url=self._endpoint_url, environ=self._environ, run=self.run,
            region=None if profile else self._first_region, account=account, provider=provider,
        )  # fmt: skip
        with self._lock:
            self._others.append(session)
        return session

    @property
    def partition(self) -> str:
        """The partition in which it begins, which its credentials are of."""
        return self.partition_of(self._first_region)

    @property
    def source_credentials(self) -> Any:  # noqa: ANN401 - botocore has no types
        """The credentials as botocore holds them, None where there are none."""
        return self._boto.get_credentials()

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
        try:
            return str(self._boto.get_partition_for_region(region))
        except boto.UnknownRegionError:  # newer than botocore, or misspelt
            return "aws"

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
        return sorted(self._boto.get_available_regions(service, self.partition_of(self._first_region)))

    def offers(self, service: str, region: str) -> bool:
        """Whether a service may answer in a region. False only where botocore's table and the name service agree on no."""
        if region in self._boto.get_available_regions(service, self.partition_of(region)):
            return True
        with self._lock:
            known = self._offered.get((service, region))
        if known is None:
            known = self._has_endpoint(service, region)
            with self._lock:
                self._offered[service, region] = known
        return known

    def _has_endpoint(self, service: str, region: str) -> bool:
        """Whether a service's host name in a region exists. Only "there is no such name" is a no; no answer is none.

        Where everything is asked elsewhere than at AWS, the name service has no say; and a table without any region for a
        service, as botocore has for some, says nothing either. Who has an endpoint for the very service has it to ask.
        """
        if f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}" in self._environ:
            return True
        if self._endpoint_url or "AWS_ENDPOINT_URL" in self._environ:
            return not self._boto.get_available_regions(service, self.partition_of(region))
        try:
            socket.getaddrinfo(urlsplit(self.client(service, region).meta.endpoint_url).hostname, 443)
        except socket.gaierror as error:
            return error.errno != socket.EAI_NONAME
        return True

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
        with self._lock:
            key = (service, region)
            if key not in self._clients:
                try:
                    client = self._boto.client(
                        service, region_name=region, endpoint_url=self._endpoint_url, config=self._config
                    )
                except ValueError as error:
                    raise BadInput(f"The endpoint or region cannot be used: {error}") from error
                Turns(self.pace, client, partial(_granted_as, client), repeats=not self._asked_retries)
                Renewal(client, self.source_credentials)
                client.meta.events.register("before-send", self._refuse_when_closed)
                client.meta.events.register(decoding.EVENT, decoding.decode_page)
                if client.meta.service_model.resolved_protocol in {"json", "rest-json"}:
                    client.meta.events.register("before-parse", _refuse_what_is_not_json)
                self._clients[key] = client
            return self._clients[key]

    def close(self) -> None:
        """Send nothing any more, retries included: every call from now on, also of the `another`s, raises `Interrupted`."""
        self.pace.close()
        self._ended.set()
        with self._lock:
            others = list(self._others)
        for session in others:
            session.close()

    def _refuse_when_closed(self, **_: object) -> None:
        if self._ended.is_set():
            raise Interrupted("This run has ended: nothing more is sent to AWS")

    @cached_property
    def _asked_retries(self) -> bool:
        """Whether the user has asked for other retries than ours, where AWS tools look for that."""
        profile = self._boto._session.get_scoped_config()  # noqa: SLF001 - boto3 has no other way to it
        return bool(
            {"AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"} & self._environ.keys()
            or {"retry_mode", "max_attempts"} & profile.keys()
        )

    def _made_config(self) -> Config:
        options: dict[str, Any] = {
            "connect_timeout": 5,
            "read_timeout": 60,
            "max_pool_connections": 2 * _SIDE_BY_SIDE,
            "user_agent_extra": f"ecrsweep/{__version__} run/{self.run}",
        }
        if not self._asked_retries:
            options["retries"] = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
        return Config(**options)


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
        asks, tells = _tokens(client, operation)
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


@lru_cache
def _loader(data_path: str | None) -> Loader:
    """The models of the services, which all sessions read from: one of its own costs each session half a second and 40 MB."""
    return create_loader(data_path)


def action_of(client: Any, operation: str) -> str:  # noqa: ANN401 - botocore builds clients at run time
    """The IAM action of a call by its Python name: `ecs:ListTasks` for `list_tasks`."""
    return _granted_as(client, client.meta.method_to_api_mapping[operation])


def _granted_as(client: Any, operation: str) -> str:  # noqa: ANN401 - botocore builds clients at run time
    """The IAM action of a call by its name in the API: `ecs:ListTasks` for `ListTasks`."""
    action = f"{client.meta.service_model.signing_name}:{operation}"
    return _GRANTED_AS.get(action, action)


def _tokens(client: Any, operation: str) -> tuple[str, str]:  # noqa: ANN401 - botocore builds clients at run time
    """The members in which a paginated call takes and gives its token: by botocore's table, else by what its model has."""
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


def _refuse_what_is_not_json(response_dict: Mapping[str, Any], **_: object) -> None:
    """Botocore reads a body that is not JSON as an answer without members, which would look like "nothing there"."""
    if response_dict["status_code"] >= 300:  # noqa: PLR2004 - errors have texts of their own
        return
    try:
        msgspec.json.decode(response_dict["body"] or b"{}", type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise ResponseParserError(f"the body is not a JSON object ({error})") from error
