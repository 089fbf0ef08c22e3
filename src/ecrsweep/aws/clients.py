"""The clients of a run: one a service and region, shared by all accounts that are reached through the same profile.

To make a botocore client takes milliseconds and a third of a megabyte, and it keeps its connections: two hundred accounts in
seventeen regions would need sixty thousand of them. So the accounts of roles share them. Who signs is settled call by call:
botocore asks its credentials for keys in the thread that calls, and what it holds here passes that on to the caller.
"""

import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property, lru_cache, partial
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import boto3
import msgspec
from botocore import exceptions as boto
from botocore.client import BaseClient
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.signers import RequestSigner

from ecrsweep._version import __version__
from ecrsweep.aws import decoding
from ecrsweep.aws.pace import Pace
from ecrsweep.aws.renewal import Renewal
from ecrsweep.aws.turns import Turns
from ecrsweep.core.errors import BadInput, CredentialsFailure

# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_GRANTED_AS: Final = {"s3:ListObjectsV2": "s3:ListBucket", "tagging:GetResources": "tag:GetResources"}
_SIDE_BY_SIDE: Final = 64
_ATTEMPTS: Final = 5
_SOCKETS: Final = 256
"""Connections that are kept for further calls, over all clients: many systems allow a process a thousand files."""


_NOT_LOOKED_FOR: Final = object()


class Caller(Protocol):
    """Whose calls they are."""

    pace: Pace

    @property
    def source_credentials(self) -> Credentials | None:
        """What signs them; None where there is nothing."""

    def refuse_when_closed(self) -> None:
        """Raise `Interrupted` where nothing more is to be sent."""


_BASE: Final[Any] = BaseClient  # its own types want one that botocore has made
_SIGNING: Final = frozenset({"generate_presigned_url", "generate_presigned_post"})
"""What signs without a call."""

_CALLER: Final[ContextVar[Caller]] = ContextVar("caller")


class _OfTheCaller(Credentials):
    """The credentials of whoever calls. Where nobody does there are none, rather than those of somebody else."""

    METHOD: Final = "ecrsweep-caller"

    def __init__(self) -> None:
        super().__init__("", "", method=self.METHOD)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """What botocore asks for each time it signs."""
        found: ReadOnlyCredentials = self._found().get_frozen_credentials()
        return found

    def get_deferred_property(self, property_name: str) -> Callable[[], Any]:
        """What botocore asks for each time it makes up an address that has the account in it."""

        def found() -> Any:  # noqa: ANN401 - whatever property it is
            return self._found().get_deferred_property(property_name)()

        return found

    def _found(self) -> Any:  # noqa: ANN401 - the stubs lack a method
        caller = _CALLER.get(None)
        found = None if caller is None else caller.source_credentials
        if found is None:
            raise boto.NoCredentialsError
        return found


class _Provider(CredentialProvider):
    """Where a botocore session finds them."""

    METHOD = _OfTheCaller.METHOD

    def load(self) -> Credentials:
        """Always the same."""
        return _OfTheCaller()


class _Kept:
    """A client that is there for further calls, and how many use it now and used it at once."""

    __slots__ = ("at_once", "client", "in_use", "key")

    def __init__(self, key: tuple[str, str], client: Any) -> None:  # noqa: ANN401 - botocore builds clients at run time
        self.key, self.client = key, client
        self.in_use = self.at_once = 0


class Client:
    """A boto3 client as one caller has it: its calls are signed by the caller, and wait for the caller's turn."""

    def __init__(self, clients: "Clients", kept: _Kept, caller: Caller) -> None:
        """`kept` is one of `clients`."""
        self._clients, self._kept, self._caller = clients, kept, caller

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever botocore's client has
        """An operation by its Python name, and all else that botocore's client has."""
        found = getattr(self._kept.client, name)
        signs = name in self._kept.client.meta.method_to_api_mapping or name in _SIGNING
        return partial(self._calling, found) if signs else found

    def get_paginator(self, operation_name: str) -> Any:  # noqa: ANN401 - botocore makes its classes at run time
        """Botocore's paginator, whose pages are asked for as this caller's."""
        return _BASE.get_paginator(self, operation_name)

    def get_waiter(self, waiter_name: str) -> Any:  # noqa: ANN401 - likewise
        """Botocore's waiter, which asks as this caller."""
        return _BASE.get_waiter(self, waiter_name)

    @property
    def _request_signer(self) -> RequestSigner:
        """What signs that is not sent by the client."""
        meta = self._kept.client.meta
        model, credentials = meta.service_model, self._caller.source_credentials
        if credentials is None:
            raise boto.NoCredentialsError
        return RequestSigner(
            model.service_id, meta.region_name, model.signing_name, model.signature_version, credentials, meta.events
        )

    def _calling(self, call: Callable[..., Any], *named: object, **parameters: object) -> Any:  # noqa: ANN401 - whatever AWS answers
        caller = _CALLER.set(self._caller)
        try:
            with self._clients.lent(self._kept):
                return call(*named, **parameters)
        finally:
            _CALLER.reset(caller)


class Clients:
    """What a profile makes of botocore: its credentials, its clients, and what botocore knows of services and regions."""

    def __init__(self, *, profile: str | None, endpoint_url: str | None, environ: Mapping[str, str], run: str) -> None:
        """`run` names the run in CloudTrail. Raises `CredentialsFailure` for an unknown profile, and `BadInput`."""
        self._endpoint_url, self._environ = endpoint_url, environ
        try:
            self._boto: Any = boto3.Session(profile_name=profile)  # its stubs want each service by its literal name
            core = self._boto._session  # noqa: SLF001 - boto3 has no other way to it
            # What the one global endpoint gives is not valid in regions that had to be switched on.
            core.set_config_variable("sts_regional_endpoints", "regional")
            core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
            self._own: Any = core.get_component("credential_provider")
            core.register_component("credential_provider", CredentialResolver([_Provider()]))
            self.configured_region: str | None = environ.get("AWS_REGION") or self._boto.region_name or None
            self._config = self._made_config(run)
        except boto.ProfileNotFound as error:
            raise CredentialsFailure(f"{error}. The profiles are in ~/.aws/config.") from error
        except boto.ConfigParseError as error:
            raise BadInput(f"The AWS configuration cannot be read: {error}") from error
        self._open: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._sockets = 0
        self._counting, self._making, self._loading = threading.Lock(), threading.Lock(), threading.Lock()
        self._found: Any = _NOT_LOOKED_FOR
        self.partition_of = lru_cache(maxsize=None)(self._partition_of)
        self.regions_of = lru_cache(maxsize=None)(self._regions_of)
        self._has_endpoint = lru_cache(maxsize=None)(self._found_endpoint)

    @property
    def credentials(self) -> Credentials | None:
        """Those that AWS tools would find with this profile; None where there are none. Looked for once: it may ask the user."""
        with self._loading:
            if self._found is _NOT_LOOKED_FOR:
                self._found = self._own.load_credentials()
            found: Credentials | None = self._found
            return found

    @property
    def profiles(self) -> Sequence[str]:
        """The profiles of the AWS configuration."""
        return list(self._boto.available_profiles)

    def client(self, service: str, region: str, caller: Caller) -> Client:
        """The client of a service in a region, for somebody's calls. Raises `BadInput` where there can be none."""
        key = (service, region)
        with self._making:
            with self._counting:
                kept = self._open.get(key)
                if kept is not None:
                    self._open.move_to_end(key)
            if kept is None:
                kept = _Kept(key, self._made(service, region))
                with self._counting:
                    self._open[key] = kept
        return Client(self, kept, caller)

    @contextmanager
    def lent(self, kept: _Kept) -> Iterator[None]:
        """While it is used a client stays. Those that were not used for longest go, with their connections."""
        with self._counting:
            self._open.setdefault(kept.key, kept)
            kept.in_use += 1
            if kept.in_use > kept.at_once:
                kept.at_once += 1
                self._sockets += 1
            idle = list(self._too_many()) if self._sockets > _SOCKETS else []
        for one in idle:
            one.client.close()
        try:
            yield
        finally:
            with self._counting:
                kept.in_use -= 1

    def _too_many(self) -> Iterator[_Kept]:
        """Clients to be closed: each keeps as many connections as it was used at once."""
        for key in list(self._open):
            if self._sockets <= _SOCKETS:
                return
            if not self._open[key].in_use:
                kept = self._open.pop(key)
                self._sockets -= kept.at_once
                kept.at_once = 0
                yield kept

    def offers(self, service: str, region: str) -> bool:
        """Whether a service may answer in a region. False only where botocore's table and the name service agree on no."""
        return region in self.regions_of(service, self.partition_of(region)) or self._has_endpoint(service, region)

    def _found_endpoint(self, service: str, region: str) -> bool:
        """Whether a service's host name in a region exists. Only "there is no such name" is a no; no answer is none.

        Where everything is asked elsewhere than at AWS, the name service has no say; and a table without any region for a
        service, as botocore has for some, says nothing either. Who has an endpoint for the very service has it to ask.
        """
        if f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}" in self._environ:
            return True
        if self._endpoint_url or "AWS_ENDPOINT_URL" in self._environ:
            return not self.regions_of(service, self.partition_of(region))
        try:
            socket.getaddrinfo(urlsplit(self._made(service, region).meta.endpoint_url).hostname, 443)
        except socket.gaierror as error:
            return error.errno != socket.EAI_NONAME
        return True

    def _partition_of(self, region: str) -> str:
        """The partition of a region, known or not."""
        try:
            return str(self._boto.get_partition_for_region(region))
        except boto.UnknownRegionError:  # newer than botocore, or misspelt
            return "aws"

    def _regions_of(self, service: str, partition: str) -> frozenset[str]:
        """The regions of a partition that botocore knows to offer a service."""
        return frozenset(self._boto.get_available_regions(service, partition))

    def _made(self, service: str, region: str) -> Any:  # noqa: ANN401 - botocore builds clients at run time
        """A client whose answers that are not JSON raise instead of reading as empty."""
        try:
            client = self._boto.client(
                service, region_name=region, endpoint_url=self._endpoint_url, config=self._config
            )
        except ValueError as error:
            raise BadInput(f"The endpoint or region cannot be used: {error}") from error
        Turns(lambda: _CALLER.get().pace, client, partial(granted_as, client), repeats=not self._asked_retries)
        Renewal(client, lambda: _CALLER.get().source_credentials)
        client.meta.events.register("before-send", _refuse_when_closed)
        for event, decode in decoding.HANDLERS.items():
            client.meta.events.register(event, decode)
        if client.meta.service_model.resolved_protocol in {"json", "rest-json"}:
            client.meta.events.register("before-parse", _refuse_what_is_not_json)
        return client

    @cached_property
    def _asked_retries(self) -> bool:
        """Whether the user has asked for other retries than ours, where AWS tools look for that."""
        profile = self._boto._session.get_scoped_config()  # noqa: SLF001 - boto3 has no other way to it
        return bool(
            {"AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"} & self._environ.keys()
            or {"retry_mode", "max_attempts"} & profile.keys()
        )

    def _made_config(self, run: str) -> Config:
        options: dict[str, Any] = {
            "connect_timeout": 5,
            "read_timeout": 60,
            "max_pool_connections": 2 * _SIDE_BY_SIDE,
            "user_agent_extra": f"ecrsweep/{__version__} run/{run}",
        }
        if not self._asked_retries:
            options["retries"] = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
        return Config(**options)


@lru_cache
def _loader(data_path: str | None) -> Loader:
    """The models of the services, which all profiles read from: one of its own costs each half a second and 40 MB."""
    return create_loader(data_path)


def action_of(client: Any, operation: str) -> str:  # noqa: ANN401 - botocore builds clients at run time
    """The IAM action of a call by its Python name: `ecs:ListTasks` for `list_tasks`."""
    return granted_as(client, client.meta.method_to_api_mapping[operation])


def granted_as(client: Any, operation: str) -> str:  # noqa: ANN401 - botocore builds clients at run time
    """The IAM action of a call by its name in the API: `ecs:ListTasks` for `ListTasks`."""
    action = f"{client.meta.service_model.signing_name}:{operation}"
    return _GRANTED_AS.get(action, action)


def _refuse_when_closed(**_: object) -> None:
    _CALLER.get().refuse_when_closed()


def _refuse_what_is_not_json(response_dict: Mapping[str, Any], **_: object) -> None:
    """Botocore reads a body that is not JSON as an answer without members, which would look like "nothing there"."""
    if response_dict["status_code"] >= 300:  # noqa: PLR2004 - errors have texts of their own
        return
    try:
        msgspec.json.decode(response_dict["body"] or b"{}", type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise ResponseParserError(f"the body is not a JSON object ({error})") from error
