"""A server of pre-rendered pages in a process of its own: HTTP/1.1 over asyncio, with latency and buckets on demand.

    python -m bench.server --world 1M --latency 0.2 --rate 20 --burst 20 --cpu 1

Prints its address and serves until its standard input ends. `GET /counts` tells the calls so far, by operation and by
whether they were throttled, with the most in flight at once and the moments of the first and the last call.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Protocol

from bench import world as worlds

JSON = "application/x-amz-json-1.1"
_THROTTLED = b'{"__type":"ThrottlingException","message":"Rate exceeded"}'
_IDENTITY = (
    "<GetCallerIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><GetCallerIdentityResult>"
    f"<Arn>arn:aws:sts::{worlds.ACCOUNT}:assumed-role/bench/run</Arn><UserId>AROA:run</UserId><Account>{worlds.ACCOUNT}</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
).encode()
_REGIONS = (
    "<DescribeRegionsResponse xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><regionInfo><item>"
    f"<regionName>{worlds.REGION}</regionName><optInStatus>opt-in-not-required</optInStatus></item></regionInfo></DescribeRegionsResponse>"
).encode()
_OF_REGISTRY = {
    "DescribeRegistry": (200, b'{"replicationConfiguration":{"rules":[]}}'),
    "GetRegistryPolicy": (400, b'{"__type":"RegistryPolicyNotFoundException","message":"no policy"}'),
    "GetRepositoryPolicy": (400, b'{"__type":"RepositoryPolicyNotFoundException","message":"no policy"}'),
}
_CLUSTER = f"arn:aws:ecs:{worlds.REGION}:{worlds.ACCOUNT}:cluster/main"
_DEFINITION = f"arn:aws:ecs:{worlds.REGION}:{worlds.ACCOUNT}:task-definition/app"


class Answers:
    """What each operation answers, by its parameters."""

    def __init__(self, world: worlds.World, tasks: int) -> None:
        """Render everything that is large once."""
        self._pages = worlds.pages(world)
        self._repositories = worlds.repositories(world)
        self._names = world.names
        self._used = world.images // 10
        self._tasks = [f"{_CLUSTER.replace(':cluster', ':task')}/{number:032x}" for number in range(tasks)]
        definitions = min(worlds.TASK_DEFINITIONS, tasks)
        self._definitions = [f"{_DEFINITION}-{number}:1" for number in range(definitions)]

    def of(self, operation: str, asked: dict[str, object]) -> object:
        """JSON-able data, or bytes that are JSON already."""
        match operation:
            case "DescribeImages":
                return self._pages[int(str(asked.get("nextToken", 0)))]
            case "DescribeRepositories":
                return self._repositories
            case "ListClusters":
                return {"clusterArns": [_CLUSTER]}
            case "ListServices":
                return {"serviceArns": []}
            case "ListTasks":
                running = self._tasks if asked.get("desiredStatus") == "RUNNING" else []
                return _page(running, "taskArns", asked)
            case "DescribeTasks":
                return {"tasks": [self._task(str(arn)) for arn in asked["tasks"]], "failures": []}  # type: ignore[attr-defined]
            case "ListTaskDefinitions":
                return _page(self._definitions, "taskDefinitionArns", asked)
            case "DescribeTaskDefinition":
                return {"taskDefinition": self._definition(str(asked["taskDefinition"]))}
            case "GetResources":
                return {"ResourceTagMappingList": []}
            case _:
                return None

    def _task(self, arn: str) -> dict[str, object]:
        number = int(arn[-32:], 16) % len(self._definitions)
        image = worlds.digest(self._number(number))
        container = {"name": "web", "image": self._image(number), "imageDigest": image, "lastStatus": "RUNNING"}
        return {
            "taskArn": arn, "clusterArn": _CLUSTER, "taskDefinitionArn": self._definitions[number], "lastStatus": "RUNNING",
            "createdAt": worlds.NOW, "startedAt": worlds.NOW + 30, "containers": [container],
        }  # fmt: skip

    def _definition(self, arn: str) -> dict[str, object]:
        number = int(arn.rpartition("-")[2].partition(":")[0])
        return {
            "taskDefinitionArn": arn,
            "containerDefinitions": [{"name": "web", "image": self._image(number), "essential": True}],
        }

    def _image(self, number: int) -> str:
        image = self._number(number)
        return f"{worlds.REGISTRY}/{self._names[number % len(self._names)]}:{worlds.tag(image)}"

    def _number(self, definition: int) -> int:
        """An image that has a tag, for each task definition."""
        return definition * 7 % self._used * 10 + 1


def _page(items: list[str], key: str, asked: dict[str, object]) -> dict[str, object]:
    start = int(str(asked.get("nextToken", 0)))
    more = {"nextToken": str(start + 100)} if start + 100 < len(items) else {}
    return {key: items[start : start + 100], **more}


Told = tuple[int, str, bytes, float]
"""Status, content type, body, and the seconds after which it is sent."""


class Serving(Protocol):
    """What answers the requests of connections."""

    in_flight: int
    most_in_flight: int

    def answer(self, head: bytes, body: bytes) -> Told:
        """What a request gets."""

    def connected(self, change: int) -> None:
        """One more connection is open, or one less."""


class Server:
    """Answers, after the latency, what the buckets let through."""

    def __init__(self, answers: Answers, latency: float, rate: float, burst: float) -> None:
        """`rate` 0: no bucket. Otherwise each operation has one of its own."""
        self.answers, self.latency, self.rate, self.burst = answers, latency, rate, burst
        self.tokens: dict[str, tuple[float, float]] = defaultdict(lambda: (burst, time.monotonic()))
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.moments: dict[str, list[float]] = {}
        self.in_flight = self.most_in_flight = self.open = self.most_open = 0

    def answer(self, head: bytes, body: bytes) -> Told:
        """What a request gets. What tells who and where a client is takes no time."""
        path, operation = path_of(head), header(head, b"x-amz-target").rpartition(".")[2]
        return *self._answer(path, operation, body), self.latency if operation else 0.0

    def _answer(self, path: str, operation: str, body: bytes) -> tuple[int, str, bytes]:
        if path == "/counts":
            return 200, JSON, json.dumps(self.counts()).encode()
        if path == "/reset":
            self.calls.clear()
            self.throttled.clear()
            self.moments.clear()
            self.tokens.clear()
            self.most_in_flight = 0
            return 200, JSON, b"{}"
        if not operation:
            operation = "GetCallerIdentity" if b"GetCallerIdentity" in body else "DescribeRegions"
        now = time.monotonic()
        self.moments.setdefault(operation, [now, now])[1] = now
        if self.rate and not self.takes(operation, now):
            self.throttled[operation] += 1
            return 400, JSON, _THROTTLED
        self.calls[operation] += 1
        if operation == "GetCallerIdentity":
            return 200, "text/xml", _IDENTITY
        if operation == "DescribeRegions":
            return 200, "text/xml", _REGIONS
        if operation in _OF_REGISTRY:
            status, body = _OF_REGISTRY[operation]
            return status, JSON, body
        told = self.answers.of(operation, json.loads(body))
        if told is None:
            return 400, JSON, b'{"__type":"UnknownOperationException","message":"not served here"}'
        return 200, JSON, told if isinstance(told, bytes) else json.dumps(told).encode()

    def connected(self, change: int) -> None:
        """One more connection is open, or one less."""
        self.open += change
        self.most_open = max(self.most_open, self.open)

    def takes(self, operation: str, now: float) -> bool:
        """Take a token of the operation's bucket, if there is one."""
        tokens, then = self.tokens[operation]
        tokens = min(self.burst, tokens + (now - then) * self.rate)
        self.tokens[operation] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1

    def counts(self) -> dict[str, object]:
        """What was asked so far."""
        return {
            "calls": dict(self.calls),
            "throttled": dict(self.throttled),
            "seconds": {name: last - first for name, (first, last) in self.moments.items()},
            "most_in_flight": self.most_in_flight,
        }


class Connection(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, server: Serving) -> None:
        self._server = server
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        self._transport = transport  # type: ignore[assignment]
        self._server.connected(1)

    def connection_lost(self, _: Exception | None) -> None:
        """It is closed."""
        self._server.connected(-1)

    def data_received(self, data: bytes) -> None:
        """Answer what is there as a whole."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, length = self._received[:end], header(self._received[:end], b"content-length")
            whole = end + 4 + int(length or 0)
            if len(self._received) < whole:
                return
            body, self._received = self._received[end + 4 : whole], self._received[whole:]
            self._respond(head, body)

    def _respond(self, head: bytes, body: bytes) -> None:
        server = self._server
        status, content_type, content, latency = server.answer(head, body)
        sent = (
            f"HTTP/1.1 {status} OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n"
            "x-amzn-RequestId: bench\r\n\r\n"
        ).encode() + content
        if latency:
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            asyncio.get_running_loop().call_later(latency, self._send_late, sent)
        else:
            self._send(sent)

    def _send_late(self, content: bytes) -> None:
        self._server.in_flight -= 1
        self._send(content)

    def _send(self, content: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(content)


def path_of(head: bytes) -> str:
    """The path of a request, with its query."""
    return head.split(b" ", 2)[1].decode()


def header(head: bytes, name: bytes) -> str:
    """A header of a request by its name in lower case; "" where there is none."""
    lower = head.lower()
    start = lower.find(b"\r\n" + name + b":")
    if start < 0:
        return ""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip().decode()


async def serve(make: Callable[[], asyncio.Protocol]) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Read the flags, render, serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--world", choices=worlds.WORLDS, required=True)
    parser.add_argument("--tasks", type=int, default=worlds.TASKS)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--rate", type=float, default=0.0, help="calls a second of each operation; 0: no bucket")
    parser.add_argument("--burst", type=float, default=20.0)
    parser.add_argument("--cpu", type=int, help="run on this core alone")
    flags = parser.parse_args()
    if flags.cpu is not None:
        os.sched_setaffinity(0, {flags.cpu})
    answers = Answers(worlds.WORLDS[flags.world], flags.tasks)
    server = Server(answers, flags.latency, flags.rate, flags.burst)
    asyncio.run(serve(lambda: Connection(server)))


if __name__ == "__main__":
    main()
