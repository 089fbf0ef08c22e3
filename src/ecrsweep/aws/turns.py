"""Where a botocore client waits for its turn, and tells the pace what came of it.

A call waits before it is signed, repeats included, so that no signature grows old in a queue. A throttled call is
repeated at its next turn, a set number of times: after that it is an error, which its caller has to tell.
"""

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from ecrsweep.aws.errors import is_throttle
from ecrsweep.aws.pace import Pace

ATTEMPTS: Final = 8
"""How often a call is sent that is throttled each time."""

_SENT: Final = "ecrsweep_sent"
_MILLISECONDS: Final = 1000


class Turns:
    """The turns of one client."""

    def __init__(
        self,
        pace_of: Callable[[], Pace],
        client: Any,  # noqa: ANN401 - botocore builds clients at run time
        action_of: Callable[[str], str],
        *,
        repeats: bool,
    ) -> None:
        """`pace_of` tells the pace of the thread that calls, `action_of` the IAM action of an operation.

        Without `repeats` botocore decides which throttles are repeated.
        """
        self._pace_of, self._action_of, self._repeats = pace_of, action_of, repeats
        self._region: str = client.meta.region_name
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register_first(f"request-created.{service}", self._wait)
        client.meta.events.register_first(f"needs-retry.{service}", self._judge)

    def _wait(self, request: Any, operation_name: str, **_: object) -> None:  # noqa: ANN401 - botocore's own kind
        request.context[_SENT] = self._pace_of().wait(self._action_of(operation_name), self._region)

    def _judge(
        self, response: tuple[Any, Mapping[str, Any]] | None, attempts: int, request_dict: Mapping[str, Any],
        operation: Any, **_: object,  # noqa: ANN401 - botocore's own kind
    ) -> float | bool | None:  # fmt: skip
        """None where botocore decides; for a throttle whether to repeat it, without a wait but that for its turn."""
        if response is None:
            return None
        action = self._action_of(operation.name)
        if not is_throttle(response[1]):
            self._pace_of().served(action, self._region)
            return None
        pause = retry_after(response[0].headers)
        self._pace_of().refused(action, self._region, request_dict["context"][_SENT], pause)
        if not self._repeats:
            return None
        return 0.0 if attempts < ATTEMPTS else False


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that an answer asks to wait; 0 where it does not ask, or not in a way that is documented.

    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after and AWS's own header in milliseconds.
    """
    milliseconds, asked = headers.get("x-amz-retry-after", ""), headers.get("retry-after", "")
    if milliseconds.isdecimal():
        return int(milliseconds) / _MILLISECONDS
    if asked.isdecimal():
        return float(asked)
    try:
        until, now = (parsedate_to_datetime(text) for text in (asked, headers.get("date", "")))
    except ValueError:
        return 0.0
    return max(0.0, (until - now).total_seconds())
