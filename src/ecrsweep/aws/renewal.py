"""Credentials that AWS refuses as expired, although they say of themselves that they are valid: renewed once a call, by force.

botocore renews credentials before the end that they tell. AWS may see it earlier: a clock is wrong, or whoever handed them
out was. A call refused so was not carried out, so it is repeated as soon as others are at hand. The codes are those of
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html and, for EC2 and S3, of their own such pages.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from botocore import exceptions as boto
from botocore.credentials import CachedCredentialFetcher, Credentials, RefreshableCredentials

from ecrsweep.aws.errors import no_credentials

_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_SIGNED: Final = "ecrsweep_signed"
_RENEWED: Final = "ecrsweep_renewed"


class Renewal:
    """The renewal of the credentials with which one client is called. Those that cannot be renewed are left alone."""

    def __init__(self, client: Any, credentials_of: Callable[[], Credentials | None]) -> None:  # noqa: ANN401 - botocore builds clients at run time
        """`credentials_of` tells those of the thread that calls, None where there are none."""
        self._credentials_of = credentials_of
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register_last(f"request-created.{service}", self._note)
        client.meta.events.register_first(f"needs-retry.{service}", self._judge)

    def _note(self, request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's own kind
        """When a request has been signed: with what. To ask the credentials themselves could renew them once more."""
        request.context[_SIGNED] = (
            request.headers.get("Authorization", ""),
            request.headers.get("X-Amz-Security-Token"),
        )

    def _judge(
        self, response: tuple[Any, Mapping[str, Any]] | None, request_dict: Mapping[str, Any], **_: object
    ) -> float | None:
        """None where others decide; no wait where the call is worth repeating. Raises `CredentialsFailure`."""
        context = request_dict["context"]
        code = None if response is None else response[1].get("Error", {}).get("Code")
        held = self._credentials_of()
        if code not in _EXPIRED or _RENEWED in context or not isinstance(held, RefreshableCredentials):
            return None
        context[_RENEWED] = True
        return 0.0 if _renewed(held, *context[_SIGNED]) else None


def _renewed(held: Any, authorization: str, token: str | None) -> bool:  # noqa: ANN401 - botocore keeps to itself what it needs
    """Whether there are others than those that were refused. Of many threads the first fetches them."""

    def are_refused() -> bool:
        now = held._frozen_credentials  # noqa: SLF001 - botocore has no public way to renew what is valid by its own word
        return now.token == token and f"Credential={now.access_key}/" in authorization

    with held._refresh_lock:  # noqa: SLF001 - as above
        if are_refused():
            _forget_copy(held._refresh_using)  # noqa: SLF001 - as above
            try:
                held._protected_refresh(is_mandatory=True)  # noqa: SLF001 - as above
            except (boto.ClientError, boto.BotoCoreError, RuntimeError) as error:
                raise no_credentials(error) from error
        return not are_refused()


def _forget_copy(fetch: Any) -> None:  # noqa: ANN401 - any callable
    """Roles and SSO keep what they fetched until shortly before its end: that copy is what was refused."""
    fetcher: Any = getattr(fetch, "__self__", None)
    if isinstance(fetcher, CachedCredentialFetcher) and fetcher._cache_key in fetcher._cache:  # type: ignore[attr-defined] # noqa: SLF001 - there is no public way
        del fetcher._cache[fetcher._cache_key]  # type: ignore[attr-defined] # noqa: SLF001 - as above
