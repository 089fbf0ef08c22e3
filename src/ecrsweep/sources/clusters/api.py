"""The light reader of a Kubernetes API: GET, pages, a few retries, and errors as `core.errors` has them.

It stands on urllib3, which botocore brings; docs/adr/0006-kubernetes-client.md says why it is not the official client.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import re
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec
import urllib3

from ecrsweep._version import __version__
from ecrsweep.core.errors import AwsFailure, CredentialsFailure, Denied, Malformed, Missing, Throttled, Unreachable

T = TypeVar("T")

PAGE: Final = 500
"""Objects a page: what kubectl asks for."""

_TRIES: Final = 3
_LONGEST_PAUSE: Final = 10.0
_CONNECT_SECONDS: Final = 5.0
_READ_SECONDS: Final = 60.0
_CONNECTIONS: Final = 4
_OK, _UNKNOWN, _FORBIDDEN, _MISSING, _GONE, _TOO_MANY = 200, 401, 403, 404, 410, 429
_REDIRECTS: Final = range(300, 400)
_SERVER_ERRORS: Final = range(500, 600)
_LONGEST_TEXT: Final = 300
_OBJECT: Final = re.compile(r"^(<[^>]*>|HTTPS?Connection\w*\([^)]*\)): ")

Headers = Callable[[bool], Sequence[tuple[str, str]]]
"""The headers that say who asks. True: those given before were refused, so make them anew."""


class Door(msgspec.Struct, frozen=True):
    """How one cluster is reached, and as whom. `tls` None only where plain HTTP was allowed by name."""

    name: str
    """The cluster in a sentence: `cluster prod (arn:...)`."""
    server: str
    headers: Headers
    tls: ssl.SSLContext | None
    server_name: str | None = None
    """The name that its certificate must have, where that is not the host of `server`."""
    proxy: str | None = None
    """The proxy on the way; None for what `HTTPS_PROXY` and `NO_PROXY` say."""

    @property
    def is_safe(self) -> bool:
        """Whether it is certain who answers."""
        return self.tls is not None and self.tls.verify_mode is ssl.CERT_REQUIRED


def verifying(authorities: str | None) -> ssl.SSLContext:
    """A context that trusts these authorities (PEM) and no others; None for those of the system. Raises `ssl.SSLError`.

    Python 3.13 began to demand a key identifier of every certificate, and the authorities that EKS makes have none:
    https://github.com/kubernetes-client/python/issues/2394. Chain, dates and host name are verified all the same.
    """
    context = ssl.create_default_context(cadata=authorities)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class _ListMeta(msgspec.Struct, gc=False):
    next_token: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct, Generic[T]):
    """One page of a list. `items` must be there: silence is not "none". Null is what Go writes for an empty list."""

    metadata: _ListMeta
    items: list[T] | None


class _Status(msgspec.Struct):
    message: str = ""


class _Expired(AwsFailure):
    """The token of the next page is too old: the list begins again. Never leaves this module."""


class ClusterApi:
    """One cluster's API, as far as it can be read. Threads may share it."""

    def __init__(self, door: Door, sleep: Callable[[float], None] = time.sleep) -> None:
        """Nothing is asked yet. `sleep` waits for seconds. Raises `AwsFailure` for a server or proxy that is no address."""
        self._door = door
        self._sleep = sleep
        self._lost: Unreachable | None = None
        self._base = urlsplit(door.server).path.rstrip("/")
        self._pool = _pool(door)

    def listed(self, path: str, page: type[Page[T]]) -> Iterator[T]:
        """Every object under `path`, page by page. Raises `AwsFailure`.

        Where a token expires in between, the list begins again, once in pages and then as a whole, as client-go does
        it. So an object may come twice, and none is left out.
        """
        decoder = msgspec.json.Decoder(page)
        expired = None
        for limit in (PAGE, PAGE, None):
            try:
                yield from self._pages(path, decoder, limit)
            except _Expired as failure:
                expired = failure
            else:
                return
        raise Malformed(f"{expired}, even where the whole list was asked for at once") from expired

    def read(self, path: str, accept: str = "application/json", **query: str) -> bytes:
        """The body of a GET, after a few tries. Raises `AwsFailure`: `CredentialsFailure` for 401, `Denied` for 403.

        After one failure to reach the cluster nothing more is tried: every further call fails at once.
        """
        if self._lost is not None:
            raise Unreachable(str(self._lost)) from self._lost
        target = f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")
        renew = False
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            try:
                response = self._sent(target, accept, renew=renew)
            except urllib3.exceptions.HTTPError as error:
                if last or _distrusted(error):
                    self._lost = Unreachable(f"{self._door.name} at {self._door.server}{self._way()}: {_why(error)}")
                    raise self._lost from error
                self._sleep(0.5 * 2**attempt)
                continue
            if response.status == _OK:
                return response.data
            renew = response.status == _UNKNOWN and not renew
            if last or not (renew or _passes(response.status)):
                raise self._refused(path, response)
            self._sleep(0.0 if renew else _pause(response.headers.get("Retry-After"), attempt))
        raise AssertionError("the last try returns or raises")  # pragma: no cover

    @property
    def is_lost(self) -> bool:
        """Whether the cluster could not be reached, so that nothing more is asked of it."""
        return self._lost is not None

    def close(self) -> None:
        """Let the connections go."""
        self._pool.close()

    def _pages(self, path: str, decoder: "msgspec.json.Decoder[Page[T]]", limit: int | None) -> Iterator[T]:
        query = {} if limit is None else {"limit": str(limit)}
        seen: set[str] = set()
        while True:
            body = self.read(path, **query)
            try:
                page = decoder.decode(body)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise Malformed(
                    f"{self._door.name}: GET {path} was not answered with a list: {_short(error)}"
                ) from error
            yield from page.items or ()
            token = page.metadata.next_token
            if not token:
                return
            if token in seen:
                raise Malformed(f"{self._door.name}: GET {path} answered the same page twice")
            seen.add(token)
            query["continue"] = token

    def _sent(self, target: str, accept: str, *, renew: bool) -> urllib3.BaseHTTPResponse:
        """The one place from which a request goes out. Redirects are not followed: who asks is told to this server only."""
        headers = urllib3.HTTPHeaderDict({"User-Agent": f"ecrsweep/{__version__}", "Accept": accept})
        headers["Accept-Encoding"] = "gzip"
        for name, value in self._door.headers(renew):
            if not (value.isascii() and value.isprintable()):  # what it is, nobody else may read
                raise CredentialsFailure(f"{self._door.name}: the credential has characters that no header may have")
            headers.add(name, value)
        return self._pool.urlopen("GET", target, headers=headers, redirect=False, retries=False)

    def _way(self) -> str:
        """The proxy in between, if there is one; what it is logged in to with is nobody's business."""
        proxy = self._pool.proxy
        return f" through the proxy {proxy.host}:{proxy.port}" if proxy is not None else ""

    def _refused(self, path: str, response: urllib3.BaseHTTPResponse) -> AwsFailure:
        status, asked = response.status, f"{self._door.name}: GET {path}"
        said = f"{status} {_said(response.data)}".strip()
        match status:
            case 401:
                return CredentialsFailure(f"{asked}: the cluster does not know this identity ({said})")
            case 403:
                return Denied(f"{asked} is forbidden ({said})")
            case 404:
                return Missing(f"{asked}: there is no such thing ({said})")
            case 410:
                return _Expired(f"{asked}: the list has expired ({said})")
            case 429:
                return Throttled(f"{asked} was throttled, retries included ({said})")
        if status in _SERVER_ERRORS:
            return Unreachable(f"{asked} failed, retries included ({said})")
        if status in _REDIRECTS:
            where = _short(response.headers.get("Location", "elsewhere"))
            return Malformed(f"{asked} was answered with a redirect to {where}, which is not followed")
        return AwsFailure(f"{asked} failed ({said})")


def _pool(door: Door) -> urllib3.HTTPConnectionPool:
    parts = urlsplit(door.server)
    timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
    options: dict[str, Any] = {"maxsize": _CONNECTIONS, "block": True, "timeout": timeout}
    try:
        host, port = parts.hostname or "", parts.port
        if parts.scheme != ("https" if door.tls else "http") or not host:
            raise ValueError("it is not the address of a server")
        if door.tls is not None:
            options |= {"ssl_context": door.tls, "cert_reqs": door.tls.verify_mode, "server_hostname": door.server_name}
        proxy = door.proxy or _proxy_of(parts.scheme, host, parts.netloc)
        manager = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        return manager.connection_from_host(host, port, parts.scheme)
    except (ValueError, urllib3.exceptions.HTTPError) as error:
        raise Unreachable(f"{door.name} cannot be asked at {door.server}: {error}") from error


def _proxy_of(scheme: str, host: str, address: str) -> str | None:
    """What the environment says about a proxy. This machine is never asked through one, as with kubectl."""
    if host == "localhost" or host.startswith("127.") or host == "::1" or proxy_bypass(address):
        return None
    return getproxies().get(scheme)


def _passes(status: int) -> bool:
    """Whether it may be different in a moment."""
    return status == _TOO_MANY or status in _SERVER_ERRORS


def _pause(asked: str | None, attempt: int) -> float:
    wanted: float = 0.5 * 2**attempt
    with suppress(ValueError):
        wanted = max(wanted, float(asked or 0))
    return min(wanted, _LONGEST_PAUSE)


def _said(body: bytes) -> str:
    """The message of a Status, or the beginning of whatever was answered instead."""
    try:
        text = msgspec.json.decode(body, type=_Status).message
    except (msgspec.MsgspecError, UnicodeDecodeError):
        text = body.decode(errors="replace")
    return _short(text)


def _distrusted(error: Exception) -> bool:
    """Whether the server showed a certificate that proves nothing: to try again would not help."""
    return isinstance(error, urllib3.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _why(error: Exception) -> str:
    """The reason alone: urllib3 puts its own objects before it."""
    text = _OBJECT.sub("", _short(error.args[-1] if error.args else error))
    if _distrusted(error):
        return f"its certificate was not accepted, so nothing was asked: {text}"
    return f"it could not be reached: {text}"


def _short(said: object) -> str:
    line = " ".join(str(said).split())
    return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "..."
