"""Where a service is offered: what botocore's table, the name service and another endpoint have to say."""

import socket
from typing import Any

import pytest

from ecrsweep.aws.session import AwsSession


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that the name service is asked for; it knows none of them."""
    names: list[str] = []

    def ask(name: str, *_: Any, **__: Any) -> None:
        names.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr(socket, "getaddrinfo", ask)
    return names


def test_a_region_that_the_table_does_not_have_is_looked_up_under_the_host_name_of_the_service(
    asked: list[str],
) -> None:
    session = AwsSession(region="us-east-1", environ={})
    assert session.offers("sagemaker", "us-east-1")
    assert not session.offers("sagemaker", "eu-new-9")
    assert not session.offers("imagebuilder", "eu-new-9")
    assert asked == ["api.sagemaker.eu-new-9.amazonaws.com", "imagebuilder.eu-new-9.amazonaws.com"]


def test_behind_another_endpoint_a_table_without_any_region_is_no_reason_not_to_ask(asked: list[str]) -> None:
    session = AwsSession(region="us-east-1", environ={"AWS_ENDPOINT_URL": "http://localhost:1"})
    assert session.offers("imagebuilder", "us-east-1")
    assert session.offers("bedrock-agentcore-control", "us-east-1")
    assert not session.offers("lightsail", "me-south-1")
    assert asked == []
