"""The one door for botocore's errors: what comes in is botocore's, what goes out is `core.errors`.

Each error says what failed, where, and what AWS answered. Codes: the "Common Errors" page of the services,
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from ecrsweep.core.errors import (
    AwsFailure,
    ClosedByOrganization,
    CredentialsFailure,
    Denied,
    Malformed,
    Missing,
    Throttled,
    Unreachable,
)

_BAD_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
        "InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure", "IncompleteSignature",
        "MissingAuthenticationToken", "RequestExpired", "InvalidAccessKeyId",
    }
)  # fmt: skip
_DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException", "OptInRequired"}
)
_THROTTLED: Final = frozenset(
    {
        "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottledException", "RequestThrottled",
        "TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded", "LimitExceededException",
        "SlowDown", "PriorRequestNotComplete", "TransactionInProgressException", "EC2ThrottledException",
    }
)  # fmt: skip
_STILL_EXPIRED: Final = "refreshed credentials are still expired"
"""What botocore says where it was handed credentials that have ended; it has no error of its own for that."""

_TOO_MANY: Final = 429
_FORBIDDEN: Final = 403
_SERVER_ERRORS: Final = range(500, 600)


@contextmanager
def translated(action: str, region: str) -> Iterator[None]:
    """Turn botocore's errors into `AwsFailure` and its kinds. `action` as IAM writes it, `ecs:ListTasks`."""
    try:
        yield
    except boto.ClientError as error:
        raise _answered(error, action, region) from error
    except (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.SSOError,
        boto.TokenRetrievalError,
        boto.NoAuthTokenError,
        boto.LoginError,
    ) as error:
        raise no_credentials(error, action) from error
    except (boto.HTTPClientError, boto.ConnectionError) as error:
        raise Unreachable(f"{action} could not be asked in {region}: {_one_line(error)}", action=action) from error
    except RuntimeError as error:
        if _STILL_EXPIRED in str(error):
            raise no_credentials(error, action) from error
        raise _malformed(error, action, region) from error
    except (
        ResponseParserError,
        AttributeError,
        ValueError,
        KeyError,
        TypeError,
        ArithmeticError,
    ) as error:
        raise _malformed(error, action, region) from error
    except boto.BotoCoreError as error:
        raise AwsFailure(f"{action} failed in {region}: {_one_line(error)}", action=action) from error


def _malformed(error: Exception, action: str, region: str) -> Malformed:
    """What botocore raises for an answer that it cannot read: a RuntimeError for a time that no calendar has."""
    text = f"{action} in {region} was not answered as its service documents: {type(error).__name__}: {_one_line(error)}"
    return Malformed(text, action=action)


def no_credentials(error: Exception, action: str | None = None) -> CredentialsFailure:
    """What to raise where credentials could not be had, or not be renewed, for this reason."""
    return CredentialsFailure(f"There are no usable AWS credentials: {_one_line(error)}", action=action)


def is_throttle(answer: Mapping[str, Any]) -> bool:
    """Whether an answer, as botocore parsed it, refuses a call for its rate."""
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == _TOO_MANY or answer.get("Error", {}).get("Code") in _THROTTLED


def code_of(failure: AwsFailure) -> str:
    """The error code that AWS answered, "" where it did not answer."""
    cause = failure.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, boto.ClientError) else ""


def _answered(error: boto.ClientError, action: str, region: str) -> AwsFailure:
    answer = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{code}: {message}".strip(": ") if message else code
    if code in _THROTTLED:
        return Throttled(f"{action} was throttled in {region}, retries included: {said}", action=action)
    if code in _BAD_CREDENTIALS:
        return CredentialsFailure(f"{action} was refused in {region} for the credentials: {said}", action=action)
    if "service control policy" in message:
        return ClosedByOrganization(f"{action} was denied in {region}: {said}", action=action)
    if code in _DENIED or status == _FORBIDDEN:
        return Denied(f"{action} was denied in {region}: {said}", action=action)
    if "NotFound" in code or code == "NoSuchEntity":
        return Missing(f"{action} in {region}: {said}", action=action)
    if status in _SERVER_ERRORS:
        return Unreachable(f"{action} failed in {region}: AWS answered {status} {_short(said)}", action=action)
    return AwsFailure(f"{action} failed in {region}: {_short(said)}", action=action)


def _short(text: str) -> str:
    """An answer may be a whole page of HTML: the first line of it is enough."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:300] + "..."  # noqa: PLR2004 - about four lines of a terminal


def _one_line(error: Exception) -> str:
    return _short(str(error))
