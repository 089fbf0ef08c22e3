"""S3 behind the emulator, as far as its clients depend on how HTTP is spoken."""

import socket
from urllib.parse import urlsplit

import pytest

from ecrsweep.emulator import Emulator


def test_a_client_that_asks_whether_to_go_on_is_told_before_it_sends_a_body(aws: Emulator) -> None:
    address = urlsplit(aws.url)
    with socket.create_connection((str(address.hostname), address.port or 80), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: s3\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")


def test_an_object_that_is_put_has_its_tag(aws: Emulator) -> None:
    pytest.importorskip("moto")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="ecrsweep-tags")
    assert s3.put_object(Bucket="ecrsweep-tags", Key="a", Body=b"1")["ETag"]
    assert s3.get_object(Bucket="ecrsweep-tags", Key="a")["Body"].read() == b"1"
