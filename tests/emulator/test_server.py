"""The HTTP front of the emulator: the gate before it, and uploads that do not wait."""

import socket

import pytest
from botocore.exceptions import ClientError

from ecrsweep.emulator import AwsError, Emulator, Request


def test_a_gate_sees_each_request_as_it_was_sent(aws: Emulator) -> None:
    seen: list[Request] = []
    aws.gate = seen.append
    aws.client("ecr").describe_repositories(maxResults=7)
    assert [(request.method, request.path, request.body) for request in seen] == [("POST", "/", b'{"maxResults": 7}')]
    assert "/us-east-1/ecr/aws4_request" in seen[0].headers["authorization"]
    assert seen[0].headers["host"] == aws.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("ecr", "describe_repositories"),
        ("ec2", "describe_regions"),
        ("s3", "list_buckets"),
        ("sts", "get_caller_identity"),
    ],
)
def test_whom_a_gate_refuses_gets_the_error_in_the_protocol_of_the_service(
    aws: Emulator, service: str, operation: str
) -> None:
    aws.gate = lambda request: AwsError("AccessDenied", "Not you.", 403)
    with pytest.raises(ClientError) as caught:
        getattr(aws.client(service), operation)()
    told = caught.value.response["Error"]
    assert (told["Code"], told["Message"]) == ("AccessDenied", "Not you.")
    assert aws.calls.count(service) == 1, "it was asked all the same"
    aws.reset()
    getattr(aws.client(service), operation)()


def test_an_upload_is_told_at_once_to_go_on(aws: Emulator) -> None:
    """Botocore waits a second for that word before it sends what it uploads."""
    host, port = aws.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"PUT /bucket/key HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
