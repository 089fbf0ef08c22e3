"""The HTTP front of the emulated AWS: who asks what, of which account and region, and what goes wrong on the way.

ECR, ECS and CloudTrail are answered here, with the few calls by which a client finds out who and where it is, scripted
services, and reads of services in which nothing was made; and unsigned requests under `/v2/`, as docker makes them. Every
other call goes to moto, in this process, which is imported when the first such call comes. Responses carry the emulated
clock's `Date`, because clients compare it with pull times.
"""

import contextlib
import json
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any, Final, Self
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from ecrsweep.emulator import distribution
from ecrsweep.emulator.answers import Answer
from ecrsweep.emulator.calls import Call, Calls
from ecrsweep.emulator.clock import Clock
from ecrsweep.emulator.cloudtrail import TrailState
from ecrsweep.emulator.ecr import EcrApi
from ecrsweep.emulator.ecs import EcsState
from ecrsweep.emulator.eks import EksState
from ecrsweep.emulator.errors import AwsError
from ecrsweep.emulator.faults import Fault, Faults, Throttles
from ecrsweep.emulator.registry import EcrState
from ecrsweep.emulator.roles import SECRET, TEMPORARY_KEY, Roles
from ecrsweep.emulator.scripted import Scripts
from ecrsweep.emulator.tagging import TaggingApi

DEFAULT_ACCOUNT: Final = "123456789012"
DEFAULT_REGIONS: Final = (
    "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
    "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1",
    "us-west-2",
)  # fmt: skip
OPT_IN_REGIONS: Final = ("af-south-1", "ap-east-1", "eu-south-1", "me-south-1")

_SCOPE: Final = re.compile(r"Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_KEY: Final = re.compile(r"AKIAEMULATED(\d{12})")
_TARGETS: Final = {
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "ResourceGroupsTaggingAPI_20170126": "tagging",
    "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101": "cloudtrail",
}
_OWN: Final = frozenset(_TARGETS.values())
_SCRIPTED_OF_ECS: Final = "Daemon"
"""What is in the names of the operations of ECS that scripts answer."""
_BAD_TOKEN: Final = AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")


@dataclass(frozen=True)
class Request:
    """A request as it came in; the names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Gate = Callable[[Request], AwsError | None]
"""Looks at a request before it is answered; an error is what the caller gets instead of an answer."""


class _Dropped(Exception):
    """The connection is to be closed without an answer."""


class Emulator:
    """An AWS on this machine, for as long as it runs. A context manager."""

    eks: EksState

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        account: str = DEFAULT_ACCOUNT,
        accounts: Sequence[str] = (),
        regions: Sequence[str] = DEFAULT_REGIONS,
        disabled_regions: Sequence[str] = OPT_IN_REGIONS,
        region: str = "us-east-1",
        port: int = 0,
    ) -> None:
        """`account` and `region` are meant where none is given; `port` 0 takes a free one."""
        self.clock = clock or Clock(datetime.now(UTC))
        self.account, self.region = account, region
        self.accounts = (account, *(other for other in accounts if other != account))
        self.regions, self.disabled_regions = tuple(regions), tuple(disabled_regions)
        self._moto: Callable[..., Any] | None = None
        self._moto_lock = threading.Lock()
        self.reset()
        self._port = port
        self._server: ThreadingHTTPServer | None = None

    def reset(self) -> None:
        """Forget everything that was built, asked or ordered; listen on."""
        if "eks" in vars(self):
            self.eks.stop()
        self.calls, self.faults = Calls(), Faults()
        self.gate: Gate | None = None
        self.latency = 0.0
        self.simulation: Mapping[str, str] | None = None
        """What SimulatePrincipalPolicy says of actions, others are allowed; None where nobody may ask."""
        self.ecr = EcrState(self.clock, self.account, self.region)
        self.ecs = EcsState(self.clock, self.ecr, self.account, self.region)
        self.trail = TrailState(self.clock, self.account)
        self.roles = Roles(self.clock)
        self.scripts = Scripts(self.account, self.region)
        self.eks = EksState(self.scripts, self.clock, self.account, self.region)
        self._ecr_api = EcrApi(self.ecr)
        self._distribution = distribution.Distribution(self.ecr, self._ecr_api, self.trail)
        self._throttles = Throttles()
        _forget_in_moto()

    def start(self) -> Self:
        """Listen on the loopback address."""
        self._server = _Server(("127.0.0.1", self._port), _handler_for(self))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="emulator").start()
        return self

    def stop(self) -> None:
        """Listen no more."""
        self.eks.stop()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self.stop()

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        if self._server is None:
            raise RuntimeError("the emulator is not running")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environ(self, account: str | None = None, region: str | None = None) -> dict[str, str]:
        """What a process needs in its environment to talk to this AWS as an account."""
        place = region or self.region
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": f"AKIAEMULATED{account or self.account}",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": place,
            "AWS_DEFAULT_REGION": place,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def client(self, service: str, region: str | None = None, account: str | None = None) -> Any:
        """A boto3 client that talks to this AWS as an account."""
        import boto3  # noqa: PLC0415 - only tests want one

        maker: Any = boto3.client
        return maker(
            service,
            region_name=region or self.region,
            endpoint_url=self.url,
            aws_access_key_id=f"AKIAEMULATED{account or self.account}",
            aws_secret_access_key=SECRET,
        )

    def throttle(self, service: str, operation: str = "*", *, rate: float, burst: float) -> None:
        """Give each account and region a bucket for an operation: `rate` calls a second, `burst` at once."""
        self._throttles.limit(service, operation, rate, burst)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What a request gets. Raises `_Dropped` where the connection is to be closed instead."""
        call = self._understood(method, path, headers, body)
        self.calls.add(call)
        refusal = self.gate(Request(method, path, headers, body)) if self.gate is not None else None
        refusal = refusal or self.roles.refusal(
            call.key, headers.get("x-amz-security-token", ""), call.service, is_json=_is_json(call)
        )
        if refusal is not None:
            return _error(call, refusal)
        if self.latency:
            time.sleep(self.latency)
        faults = self.faults.matching(call)
        for fault in faults:
            instead = _before(fault, call)
            if instead is not None:
                return instead
        answer = self._answered(call, faults, lambda: self._over_http(method, path, headers, body, call))
        for fault in faults:
            answer = _after(fault, call, answer)
        return answer

    def _answered(self, call: Call, faults: Sequence[Fault], over_http: Callable[[], Answer]) -> Answer:
        try:
            if call.region in self.disabled_regions:
                raise _BAD_TOKEN
            if not self._throttles.allows(call):
                raise AwsError("ThrottlingException", "Rate exceeded")
            if call.wire is not None and self.scripts.tells(call.wire, call.operation):
                told = self.scripts.told(call.wire, call.operation, call.account, call.region, call.parameters)
                return Answer(200, json.dumps(told).encode())
            if call.service in _OWN:
                return Answer(200, json.dumps(self._operate(call, faults)).encode())
            return self._who_and_where(call) or over_http()
        except AwsError as error:
            return _error(call, error)
        except KeyError as error:
            return _json_error(AwsError("InvalidParameterException", f"{error} is required"))
        except ValueError as error:
            return _json_error(AwsError("EmulatorMisuse", str(error)))

    def _over_http(self, method: str, path: str, headers: dict[str, str], body: bytes, call: Call) -> Answer:
        if call.service == distribution.SERVICE:
            return self._distribution.answer(call, path, headers, body)
        return self._from_moto(method, path, headers, body, call)

    def _operate(self, call: Call, faults: Sequence[Fault]) -> dict[str, Any]:
        refused = {digest: code for fault in faults for digest, code in fault.failures.items()}
        if refused and call.operation == "BatchDeleteImage":
            return self._ecr_api.delete_refusing(call.account, call.region, call.parameters, refused)
        apis: dict[str, EcrApi | EcsState | TrailState | TaggingApi] = {
            "ecr": self._ecr_api,
            "ecs": self.ecs,
            "cloudtrail": self.trail,
            "tagging": TaggingApi(self.ecr),
        }
        operate = apis[call.service].operation(call.operation)
        if operate is None:
            raise AwsError("UnknownOperationException", f"{call.operation} is not known here")
        if (call.service, call.operation) == ("ecr", "BatchGetImage"):
            self.trail.called(call.account, call.region, call.operation, call.parameters, call.agent, None)
        return operate(call.account, call.region, call.parameters)

    def _understood(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Call:
        """Who asks what: the signature says account, region and service, the target or action says the operation."""
        signed = _SCOPE.search(headers.get("authorization", ""))
        docker = None if signed else distribution.understood(method, path, headers, self.account, self.region)
        if docker is not None:
            return docker
        key = signed["key"] if signed else ""
        account = self._account_of(key)
        region = signed["region"] if signed else self.region
        held = self.roles.session(key)
        who: dict[str, Any] = {"key": key, "session": held.name if held else ""}
        prefix, _, operation = headers.get("x-amz-target", "").rpartition(".")
        if prefix in _TARGETS and _SCRIPTED_OF_ECS not in operation:
            parameters = json.loads(body or b"{}")
            return Call(
                _TARGETS[prefix], operation, account, region, parameters, agent=headers.get("user-agent", ""), **who
            )
        service = signed["service"] if signed else "unknown"
        for wire in self.scripts.wires(service):
            meant = wire.operation_of(method, path, headers.get("x-amz-target", ""))
            if meant is not None:
                return Call(wire.service, meant, account, region, wire.parameters(method, path, body), wire, **who)
        parameters = dict(parse_qsl(body.decode(errors="replace"))) if b"Action=" in body else {}
        return Call(service, operation or parameters.get("Action", ""), account, region, parameters, **who)

    def _account_of(self, key: str) -> str:
        """The account of an access key: that of a role, one of those that are here, or else the one that is meant."""
        temporary, own = TEMPORARY_KEY.fullmatch(key), _KEY.fullmatch(key)
        if temporary:
            return temporary[1]
        return own[1] if own and own[1] in self.accounts else self.account

    def _who_and_where(self, call: Call) -> Answer | None:
        if call.service == "sts":
            told = self.roles.told(call.operation, call.key, call.account, call.region, call.parameters)
            return None if told is None else _xml(told)
        if (call.service, call.operation) == ("iam", "SimulatePrincipalPolicy"):
            return self._simulated(call)
        if (call.service, call.operation) == ("ec2", "DescribeRegions"):
            return _xml(self._regions_document(every=call.parameters.get("AllRegions") == "true"))
        return None

    def _simulated(self, call: Call) -> Answer:
        if self.simulation is None:
            raise AwsError("AccessDenied", "User is not authorized to perform: iam:SimulatePrincipalPolicy", 403)
        actions = [value for name, value in call.parameters.items() if name.startswith("ActionNames.member.")]
        results = "".join(
            f"<member><EvalActionName>{action}</EvalActionName><EvalDecision>{self.simulation.get(action, 'allowed')}"
            "</EvalDecision></member>"
            for action in actions
        )
        return _xml(
            "<SimulatePrincipalPolicyResponse xmlns='https://iam.amazonaws.com/doc/2010-05-08/'>"
            f"<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{results}"
            "</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        )

    def _regions_document(self, *, every: bool) -> str:
        listed = [(name, "opt-in-not-required") for name in self.regions]
        if every:
            listed += [(name, "not-opted-in") for name in self.disabled_regions]
        items = "".join(
            f"<item><regionName>{name}</regionName><regionEndpoint>ec2.{name}.amazonaws.com</regionEndpoint>"
            f"<optInStatus>{state}</optInStatus></item>"
            for name, state in listed
        )
        return (
            "<DescribeRegionsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'>"
            f"<requestId>{uuid.uuid4()}</requestId><regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
        )

    def _from_moto(self, method: str, path: str, headers: dict[str, str], body: bytes, call: Call) -> Answer:
        from werkzeug.test import Client  # noqa: PLC0415 - moto and werkzeug belong to an extra

        with self._moto_lock:
            self.scripts.leave_to_moto(call.service)
            if self._moto is None:
                self._moto = _moto_application()
            wanted = {name: value for name, value in headers.items() if name not in {"content-length", "connection"}}
            wanted["x-moto-account-id"] = call.account
            response = Client(self._moto).open(path, method=method, headers=list(wanted.items()), data=body)
        kept = tuple((name, value) for name, value in response.headers if name.lower().startswith(("x-", "etag")))
        return Answer(response.status_code, response.get_data(), response.headers.get("content-type", "text/xml"), kept)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of ours."""


def _handler_for(emulator: Emulator) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def handle_expect_100(self) -> bool:
            """Tell a client at once to go on: it waits a second for that before each upload."""
            goes_on = super().handle_expect_100()
            self.wfile.flush()
            return goes_on

        def _respond(self) -> None:
            body = _received(self.headers, self.rfile)
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                answer = emulator.answer(self.command, self.path, headers, body)
            except _Dropped:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response_only(answer.status)
            self.send_header("Date", formatdate(emulator.clock.seconds, usegmt=True))
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            self.wfile.flush()

        do_POST = do_GET = do_PUT = do_DELETE = do_HEAD = do_PATCH = _respond  # noqa: N815 - names of the standard library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the standard library
            """Calls are counted, not printed."""

    return Handler


def _received(headers: Message, stream: BufferedIOBase) -> bytes:
    """What was sent, whole or in chunks: docker's kind of client does not say how long a layer will be."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return stream.read(int(headers.get("content-length") or 0))
    chunks = []
    while size := int(stream.readline().partition(b";")[0], 16):
        chunks.append(stream.read(size))
        stream.readline()
    stream.readline()
    return b"".join(chunks)


def _moto_application() -> Callable[..., Any]:
    from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415 - belongs to an extra

    application: Callable[..., Any] = DomainDispatcherApplication(create_backend_app)
    return application


def _forget_in_moto() -> None:
    """What an emulator before this one built must not be found in moto, which keeps its state in the process."""
    api = sys.modules.get("moto.moto_api._internal")
    if api is not None:
        api.moto_api_backend.reset()


def _before(fault: Fault, call: Call) -> Answer | None:
    """What a fault does before the call has had its effect; an answer instead of it, or none."""
    match fault.kind:
        case "drop_before":
            raise _Dropped
        case "delay":
            time.sleep(fault.seconds)
        case "before" if fault.run is not None:
            fault.run(call)
        case "error":
            error = AwsError(fault.code, fault.message.replace("*:*", f"{call.service}:{call.operation}"), fault.status)
            return _error(call, error)
        case "html":
            return Answer(fault.status, b"<html><body>Something broke</body></html>", "text/html")
    return None


def _after(fault: Fault, call: Call, answer: Answer) -> Answer:
    """What a fault does when the call has had its effect."""
    match fault.kind:
        case "drop_after":
            raise _Dropped
        case "garbage":
            return Answer(200, fault.body)
        case "after" if fault.run is not None:
            fault.run(call)
    return answer


def _error(call: Call, error: AwsError) -> Answer:
    if call.service == distribution.SERVICE:
        return distribution.failed(error)
    return _json_error(error) if _is_json(call) else _xml_error(error)


def _is_json(call: Call) -> bool:
    return call.service in _OWN or call.wire is not None


def _json_error(error: AwsError) -> Answer:
    return Answer(error.status, json.dumps({"__type": error.code, "message": error.message}).encode())


def _xml(text: str) -> Answer:
    return Answer(200, text.encode(), "text/xml")


def _xml_error(error: AwsError) -> Answer:
    text = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
        f"<Errors><Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error></Errors>"
        f"<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    )
    return Answer(error.status if error.status != 200 else 400, text.encode(), "text/xml")  # noqa: PLR2004 - HTTP
