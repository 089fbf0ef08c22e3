"""An IAM that really decides: ministack as a gate before our emulator, and users whose keys it knows.

The gate hands each request on as it was signed. What ministack refuses is refused; what it would answer otherwise is of no
interest, because the emulator answers. docs/adr/0003 says why it is this one.
"""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import boto3
from botocore.exceptions import ClientError

from ecrsweep.emulator import AwsError, Request
from tests.support import ACCOUNT, ROOT

EMULATED_KEY: Final = "AKIAEMULATED"
_REFUSALS: Final = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure", "InvalidSignatureException",
        "SignatureDoesNotMatch", "UnrecognizedClientException", "InvalidClientTokenId", "AuthorizationHeaderMalformed",
    }
)  # fmt: skip
_ACTION: Final = re.compile(r"not authorized to perform: ([\w-]+:\w+)")
_ROOT_KEY: Final = "ministack-root"


class Judge:
    """The server, for as long as it runs. A context manager, and a gate for `Emulator.gate`."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes what the server writes."""
        self._folder = folder
        self._port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None
        self._secrets: dict[str, str] = {}
        self.refused: set[str] = set()
        """The actions that were refused to anybody."""

    def __enter__(self) -> Self:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environ |= {
            "AWS_ACCESS_KEY_ID": _ROOT_KEY, "AWS_SECRET_ACCESS_KEY": _ROOT_KEY,
            "AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self._port), "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "LOG_LEVEL": "WARNING", "TMPDIR": str(self._folder), "SFTP_ENABLED": "0", "IOT_MTLS_ENABLED": "0",
            "DOCKER_HOST": f"unix://{self._folder}/no-docker",
        }  # fmt: skip
        with (self._folder / "ministack.log").open("wb") as log:
            self._server = subprocess.Popen(
                [sys.executable, str(ROOT / "tests" / "ministack_server.py")], env=environ, cwd=self._folder, stdout=log,
                stderr=log,
            )  # fmt: skip
        self._await()
        self._iam = self._client("iam")
        return self

    def __exit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def user(self, policy: Mapping[str, Any]) -> dict[str, str]:
        """The environment of a new IAM user with this policy."""
        name = f"user{len(self._secrets) + 1}"
        self._iam.create_user(UserName=name)
        self._iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        self._secrets[key["AccessKeyId"]] = key["SecretAccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def bucket(self, name: str) -> None:
        """Let the judge have a bucket too: of one that it does not know it says so before it judges."""
        self._client("s3").create_bucket(Bucket=name)

    def __call__(self, request: Request) -> AwsError | None:
        """What the caller gets instead of an answer; None for whoever may, and for the owner of the emulator."""
        if EMULATED_KEY in request.headers.get("authorization", ""):
            return None
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders(request.body)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        if answer.status == 404 and _element("Code", text) == "NoSuchKey":
            return self._may_not_know(request)
        refusal = _refusal(answer.status, text)
        if refusal is not None:
            self.refused.update(_ACTION.findall(refusal.message))
        return refusal

    def _may_not_know(self, request: Request) -> AwsError | None:
        """S3 refuses to say that an object is not there to whoever may not list the bucket. ministack does not do that.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        key = next(key for key in self._secrets if key in request.headers["authorization"])
        try:
            self._client("s3", key, self._secrets[key]).list_objects_v2(Bucket=request.path.split("/")[1])
        except ClientError as error:
            return AwsError(error.response["Error"]["Code"], error.response["Error"]["Message"], 403)
        return None

    def _client(self, service: str, key: str = _ROOT_KEY, secret: str = _ROOT_KEY) -> Any:
        maker: Any = boto3.client
        return maker(
            service,
            endpoint_url=f"http://127.0.0.1:{self._port}",
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def _await(self) -> None:
        assert self._server is not None
        give_up = time.monotonic() + 60
        while self._server.poll() is None and time.monotonic() < give_up:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError((self._folder / "ministack.log").read_text())


def _refusal(status: int, text: str) -> AwsError | None:
    if status < 400:
        return None
    if text.startswith("{"):
        told = json.loads(text)
        code, message = str(told.get("__type", "")), str(told.get("message", ""))
    else:
        code, message = _element("Code", text), _element("Message", text)
    return AwsError(code, message, status) if code in _REFUSALS else None


def _element(name: str, text: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return found[1] if found else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
