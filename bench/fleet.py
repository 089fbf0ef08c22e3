"""A server of many accounts, most of them empty: the emulator's answers, each made once, behind the fast front of `bench.server`.

    python -m bench.fleet --accounts 200 --latency 0.1 --cpu 1

The emulator says what STS, EC2 and every service answer; what does not depend on who asks is kept by what was asked, so
that the server costs a fraction of what its client does. Prints its address and serves until its standard input ends.
"""

import argparse
import asyncio
import gc
import json
import os
import re
from collections import Counter
from collections.abc import Iterator

from bench import world as worlds
from bench.server import JSON, Connection, Told, header, path_of, serve
from ecrsweep.emulator import Emulator
from ecrsweep.emulator.server import DEFAULT_REGIONS

CALLER = worlds.ACCOUNT
ROLE = "ecrsweep"
_SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/")
_ACCOUNT = re.compile(r"(?:AK|AS)IAEMULATED(\d{12})")
_DATE = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.%A]+Z?|\d{10}(?:\.\d+)?")
_BUSY_OF = 20
"""One account in so many has a repository and runs something, in two regions."""


def accounts(count: int) -> list[str]:
    """The numbers of the accounts."""
    return [f"{200_000_000_000 + number * 37:012}" for number in range(count)]


def configuration(count: int) -> str:
    """The accounts as a user lists them: each holds images in all regions, and is asked what runs there."""
    regions = ", ".join(DEFAULT_REGIONS)
    lines = (f'  - {{account: "{account}", role: {ROLE}, regions: [{regions}]}}' for account in accounts(count))
    return "\n".join(["registries:", *lines, ""])


def busy(count: int) -> Iterator[tuple[str, str]]:
    """Where there are repositories and tasks, by account and region."""
    return ((account, region) for account in accounts(count)[::_BUSY_OF] for region in ("eu-west-1", "us-east-1"))


class Fleet:
    """Answers of the emulator, after the latency."""

    def __init__(self, emulator: Emulator, count: int, latency: float) -> None:
        """`count` accounts that trust the caller; `latency` in seconds."""
        self._emulator, self.latency = emulator, latency
        self._kept: dict[tuple[object, ...], tuple[int, str, bytes]] = {}
        self._busy = frozenset(busy(count))
        self.calls: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = self.open = self.most_open = 0
        for account in accounts(count):
            emulator.roles.add(account, ROLE, [CALLER])
        for account, region in self._busy:
            _fill(emulator, account, region)

    def connected(self, change: int) -> None:
        """One more connection is open, or one less."""
        self.open += change
        self.most_open = max(self.most_open, self.open)

    def answer(self, head: bytes, body: bytes) -> Told:
        """What a request gets."""
        path = path_of(head)
        if path == "/counts":
            return 200, JSON, json.dumps(self._counts()).encode(), 0.0
        if path == "/reset":
            self.calls.clear()
            self.most_in_flight, self.most_open = 0, self.open
            return 200, JSON, b"{}", 0.0
        return *self._told(head, path, body), self.latency

    def _told(self, head: bytes, path: str, body: bytes) -> tuple[int, str, bytes]:
        signed = _SCOPE.search(header(head, b"authorization"))
        if signed is None:
            return 403, JSON, b'{"__type":"MissingAuthenticationTokenException"}'
        self.calls[signed["service"]] += 1
        who = _ACCOUNT.match(signed["key"])
        place = (who[1] if who else "", signed["region"])
        if signed["service"] == "sts" or place in self._busy:
            return self._made(head, path, body)
        # Times in what is asked say from when on: they change nothing where there is nothing.
        key = (signed["service"], head.split(b" ", 1)[0], path, header(head, b"x-amz-target"), _DATE.sub(b"", body))
        if key not in self._kept:
            self._kept[key] = self._made(head, path, body)
        return self._kept[key]

    def _made(self, head: bytes, path: str, body: bytes) -> tuple[int, str, bytes]:
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        answer = self._emulator.answer(lines[0].split(" ", 1)[0], path, headers, body)
        return answer.status, answer.content_type, answer.body

    def _counts(self) -> dict[str, object]:
        return {"calls": dict(self.calls), "most_in_flight": self.most_in_flight, "most_open": self.most_open,
                "kept": len(self._kept)}  # fmt: skip


def _fill(emulator: Emulator, account: str, region: str) -> None:
    """A repository of twenty images, of which one runs."""
    repository = emulator.ecr.repository("team/app", account=account, region=region)
    for version in range(20):
        repository.push_image(tags=(f"v{version}",))
    name = f"{account}.dkr.ecr.{region}.amazonaws.com/team/app:v3"
    emulator.ecs.run(
        emulator.ecs.register("web", {"main": name}, account=account, region=region), account=account, region=region
    )


def main() -> None:
    """Read the flags, fill the accounts, serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--accounts", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--cpu", type=int, help="run on this core alone")
    flags = parser.parse_args()
    if flags.cpu is not None:
        os.sched_setaffinity(0, {flags.cpu})
    emulator = Emulator(account=CALLER, accounts=accounts(flags.accounts))
    fleet = Fleet(emulator, flags.accounts, flags.latency)
    gc.freeze()
    asyncio.run(serve(lambda: Connection(fleet)))


if __name__ == "__main__":
    main()
