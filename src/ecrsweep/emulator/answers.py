"""What goes back over HTTP."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A response: status, body and headers."""

    status: int
    body: bytes
    content_type: str = "application/x-amz-json-1.1"
    headers: tuple[tuple[str, str], ...] = ()
