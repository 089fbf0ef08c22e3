"""Lambda as far as a function sees it: the Runtime API over HTTP, AWS's own runtime client, and a time limit that kills.

API: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final, Self

from ecrsweep.emulator import Emulator
from tests.support import ACCOUNT

NAME: Final = "ecrsweep"
_START: Final = """
import sys
sys.path[:0] = [{code!r}, {runtime!r}]
from awslambdaric.__main__ import main
main(["bootstrap", "main.handler"])
"""
"""The function's own folder comes first, as in Lambda; with -I and -S nothing is left besides but the standard library."""


@dataclass(frozen=True)
class Invoked:
    """What came of an invocation: an answer, or an error of a type."""

    answer: Any
    error: str | None
    message: str
    seconds: float


@dataclass
class _Invocation:
    event: bytes
    seconds: float
    name: str
    done: threading.Event
    body: bytes = b""
    failed: bool = False


def runtime_folder(folder: Path) -> None:
    """A folder that holds AWS's runtime client and nothing else of this environment."""
    folder.mkdir()
    for name in ("awslambdaric", "simplejson", "snapshot-restore-py"):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or () if ".." not in file.parts}:
            (folder / top).symlink_to(Path(str(found.locate_file(top))).resolve())


class Function:
    """A function that was unpacked into a folder, in one warm environment. A context manager."""

    def __init__(self, code: Path, runtime: Path, aws: Emulator, scratch: Path, environ: Mapping[str, str]) -> None:
        """`environ` is the function's own environment; Lambda's is added, and where this AWS is."""
        self._waiting: queue.Queue[_Invocation | None] = queue.Queue()
        self._running: dict[str, _Invocation] = {}
        self._server = _Server(("127.0.0.1", 0), _runtime_api(self))
        self._command = [sys.executable, "-I", "-S", "-c", _START.format(code=str(code), runtime=str(runtime))]
        self._code = code
        self._log = scratch / "function.log"
        self._environ = {
            **aws.environ(),
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_address[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": NAME,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_FORMAT": "Text",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python",
            "LAMBDA_TASK_ROOT": str(code),
            "_HANDLER": "main.handler",
            "ECRSWEEP_CACHE_DIR": str(scratch / "tmp"),  # /tmp is everybody's here
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._code, env=self._environ, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(self, *error: object) -> None:
        self._waiting.put(None)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._server.shutdown()
        self._server.server_close()

    @property
    def log(self) -> str:
        """What CloudWatch Logs would have."""
        return self._log.read_text()

    def invoke(self, event: Any = None, *, seconds: float = 60) -> Invoked:
        """Invoke with a time limit, which kills as Lambda does: then there is no answer, and that is an error of the test."""
        asked = _Invocation(json.dumps(event).encode(), seconds, str(uuid.uuid4()), threading.Event())
        began = time.monotonic()
        self._waiting.put(asked)
        if not asked.done.wait(seconds + 20):  # the clock of the limit runs from when the function takes it
            raise AssertionError(f"no answer to {event}:\n{self.log}")
        body = json.loads(asked.body)
        took = time.monotonic() - began
        if asked.failed:
            return Invoked(None, body["errorType"], body["errorMessage"], took)
        return Invoked(body, None, "", took)

    def next(self) -> _Invocation | None:
        """The next invocation; None where there will be none."""
        asked = self._waiting.get()
        if asked is not None:
            self._running[asked.name] = asked
            threading.Timer(asked.seconds, self._limit, [asked]).start()
        return asked

    def end(self, name: str, body: bytes, *, failed: bool) -> None:
        """The function has answered."""
        asked = self._running.pop(name, None)
        if asked is not None:
            asked.body, asked.failed = body, failed
            asked.done.set()

    def _limit(self, asked: _Invocation) -> None:
        if self._running.pop(asked.name, None) is not None:
            asked.failed = True
            asked.body = json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out"}).encode()
            if self._process is not None:
                self._process.kill()
            asked.done.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A function that is killed while it waits is no error of ours."""


def _runtime_api(function: Function) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            assert self.path == "/2018-06-01/runtime/invocation/next", self.path
            asked = function.next()
            if asked is None:
                self.close_connection = True
                return
            self._answer(
                200,
                asked.event,
                {
                    "Lambda-Runtime-Aws-Request-Id": asked.name,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + asked.seconds) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{NAME}",
                    "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0",
                },
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            *_, name, kind = self.path.split("/")
            function.end(name, body, failed=kind == "error")
            self._answer(202, b'{"status": "OK"}', {})

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the standard library
            """The function's log is what counts."""

    return Handler
