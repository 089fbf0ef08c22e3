"""How a cluster is asked: in pages, with patience that ends, over TLS that proves who answers, and never elsewhere."""

import select
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from ecrsweep.core.errors import AwsFailure, CredentialsFailure, Malformed, Throttled, Unreachable
from ecrsweep.emulator.kubernetes import CertificatePair, KubernetesApi, Trouble
from ecrsweep.sources.clusters import api as api_module
from ecrsweep.sources.clusters.api import ClusterApi, Door, Page, verifying
from tests.sources.conftest import HOST, Read
from tests.support import ROOT

APP = f"{HOST}/team/app"
PODS = "/api/v1/pods"


def fill(cluster: KubernetesApi, number: int) -> None:
    cluster.add(
        "pods",
        *({"metadata": {"name": f"p{n}"}, "spec": {"containers": [{"image": f"{APP}:v{n}"}]}} for n in range(number)),
    )


def pages(cluster: KubernetesApi) -> list[tuple[str | None, bool]]:
    """The limit of each request for pods, and whether it went on where another ended."""
    return [(each.query.get("limit"), "continue" in each.query) for each in cluster.asked if each.path == PODS]


def test_more_than_a_page_is_followed_to_its_end(cluster: KubernetesApi, read: Read) -> None:
    fill(cluster, 1203)
    told = read()
    assert len(told.uses) == 1203
    assert pages(cluster) == [("500", False), ("500", True), ("500", True)]


@pytest.mark.parametrize(
    ("times", "asked"),
    [
        (1, [("500", False), ("500", True), ("500", False), ("500", True), ("500", True)]),
        (2, [("500", False), ("500", True), ("500", False), ("500", True), (None, False)]),
    ],
)
def test_a_token_that_expires_begins_the_list_again_and_then_asks_for_it_whole(
    cluster: KubernetesApi, read: Read, times: int, asked: list[tuple[str | None, bool]]
) -> None:
    fill(cluster, 1203)
    cluster.expire(times)
    told = read()
    assert told.failure is None
    assert len(told.uses) == 1203, "none is left out, and none counts twice"
    assert pages(cluster) == asked


def test_a_list_that_expires_for_ever_is_a_gap(cluster: KubernetesApi, read: Read) -> None:
    fill(cluster, 3)
    cluster.troubles.append(Trouble(PODS, status=410, body=b'{"kind": "Status", "message": "too old"}'))
    told = read()
    assert isinstance(told.failure, Malformed)
    assert "the list has expired (410 too old), even where the whole list was asked for at once" in str(told.failure)


def test_what_was_found_before_a_page_failed_still_protects(cluster: KubernetesApi, read: Read) -> None:
    fill(cluster, 1203)
    cluster.troubles.append(Trouble(PODS, status=500, skip=2))
    told = read()
    assert isinstance(told.failure, Unreachable)
    assert len(told.uses) == 1000


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_and_not_for_ever(cluster: KubernetesApi, read: Read, status: int) -> None:
    fill(cluster, 1)
    trouble = Trouble(PODS, status=status, headers={"Retry-After": "7"}, times=2)
    cluster.troubles.append(trouble)
    told = read()
    assert (told.failure, len(told.uses), told.pauses) == (None, 1, [7.0, 7.0])
    trouble.times = None
    told = read()
    assert isinstance(told.failure, Throttled if status == 429 else Unreachable)
    assert len(pages(cluster)) == 6


@pytest.mark.parametrize(("asked", "pause"), [("3600", 10.0), ("soon", 0.5), ("0", 0.5), ("-1", 0.5), ("nan", 0.5)])
def test_a_server_cannot_make_us_wait_for_long(cluster: KubernetesApi, read: Read, asked: str, pause: float) -> None:
    cluster.troubles.append(Trouble(PODS, status=429, headers={"Retry-After": asked}, times=1))
    told = read()
    assert (told.failure, told.pauses) == (None, [pause])


def test_a_connection_that_breaks_is_made_anew(cluster: KubernetesApi, read: Read) -> None:
    fill(cluster, 1)
    cluster.troubles.append(Trouble(PODS, drop=True, times=1))
    told = read()
    assert (told.failure, len(told.uses)) == (None, 1)


def test_a_cluster_that_is_lost_is_not_asked_for_everything_else(cluster: KubernetesApi, read: Read) -> None:
    cluster.troubles.append(Trouble("/api", drop=True))
    told = read()
    assert isinstance(told.failure, Unreachable)
    assert "it could not be reached" in str(told.failure)
    assert str(told.failure).endswith("Come nearer")
    assert len(cluster.asked) == 3


def test_a_server_that_is_not_there_is_a_gap(cluster: KubernetesApi, read: Read) -> None:
    address = cluster.url
    cluster.stop()
    told = read(server=address)
    assert isinstance(told.failure, Unreachable)
    assert "Connection refused. Come nearer" in str(told.failure)
    assert "object at 0x" not in str(told.failure)


def test_an_answer_that_does_not_come_in_time_is_a_gap(
    cluster: KubernetesApi, door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "_READ_SECONDS", 0.2)
    cluster.troubles.append(Trouble(PODS, seconds=2.0))
    began = time.monotonic()
    with pytest.raises(Unreachable, match="timed out"):
        ClusterApi(door(), sleep=lambda _: None).read(PODS)
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("authority", ["stranger", "system"])
def test_a_server_that_another_authority_vouches_for_is_told_nothing(
    cluster: KubernetesApi, read: Read, authority: str
) -> None:
    trusted = verifying(CertificatePair.make(1).authority if authority == "stranger" else None)
    told = read(tls=trusted, headers=lambda _: (("Authorization", "Bearer secret"),))
    assert isinstance(told.failure, Unreachable)
    assert "its certificate was not accepted, so nothing was asked" in str(told.failure)
    assert cluster.asked == []


def test_a_certificate_of_another_host_is_not_accepted_unless_that_name_is_expected(
    cluster: KubernetesApi, read: Read
) -> None:
    other = cluster.url.replace("127.0.0.1", "localhost")
    assert "not accepted" in str(read(server=other).failure)
    assert cluster.asked == []
    assert read(server=other, server_name="kubernetes").failure is None


def test_authorities_as_eks_makes_them_are_accepted_by_every_python() -> None:
    import ssl

    assert not verifying(CertificatePair.make().authority).verify_flags & ssl.VERIFY_X509_STRICT
    assert verifying(None).verify_mode is ssl.CERT_REQUIRED
    assert verifying(None).check_hostname


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(cluster: KubernetesApi, read: Read, status: int) -> None:
    with KubernetesApi() as elsewhere:
        cluster.troubles.append(Trouble(PODS, status=status, headers={"Location": f"{elsewhere.url}{PODS}"}))
        told = read(headers=lambda _: (("Authorization", "Bearer secret"),))
        assert isinstance(told.failure, Malformed)
        assert "redirect" in str(told.failure)
        assert elsewhere.asked == []


def test_a_credential_that_is_refused_is_made_anew_once(cluster: KubernetesApi, read: Read) -> None:
    made: list[bool] = []
    cluster._authenticate = lambda headers: "me" if headers.get("authorization") == "Bearer new" else None

    def headers(renew: bool) -> tuple[tuple[str, str], ...]:
        made.append(renew)
        return (("Authorization", "Bearer new" if any(made) else "Bearer old"),)

    assert read(headers=headers).failure is None
    assert made.count(True) == 1


def test_a_credential_that_no_header_may_have_is_not_sent_and_not_shown(cluster: KubernetesApi, read: Read) -> None:
    told = read(headers=lambda _: (("Authorization", "Bearer se\r\ncret"),))
    assert isinstance(told.failure, CredentialsFailure)
    assert "cret" not in str(told.failure)
    assert cluster.asked == []


@pytest.mark.parametrize(
    "change",
    [{"server": "https://"}, {"server": "ftp://x"}, {"server": "https://x:y"}, {"proxy": "socks5://127.0.0.1:1"}],
)
def test_an_address_that_is_none_is_a_gap(door: Callable[..., Door], change: dict[str, str]) -> None:
    with pytest.raises(Unreachable, match="cannot be asked"):
        ClusterApi(door(**change))


class Proxy(BaseHTTPRequestHandler):
    """A proxy that tunnels one answer and tells what it was asked."""

    asked: ClassVar[list[str]] = []
    target: ClassVar[str] = ""

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        host, _, port = self.target.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            while True:
                for ready in select.select([self.connection, far], [], [])[0]:
                    some = ready.recv(65536)
                    if not some:
                        return
                    (far if ready is self.connection else self.connection).sendall(some)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def test_a_proxy_is_used_where_the_environment_names_one(
    cluster: KubernetesApi, door: Callable[..., Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        Proxy.target = cluster.url.removeprefix("https://")
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("NO_PROXY", "inside.example.com")
        ClusterApi(door()).read(PODS)
        assert Proxy.asked == [], "this machine is never asked through a proxy"
        ClusterApi(door(server="https://api.example.com", server_name="kubernetes")).read(PODS)
        assert Proxy.asked == ["api.example.com:443"]
        ClusterApi(
            door(
                server="https://b.example.com:6443",
                server_name="kubernetes",
                proxy=f"http://127.0.0.1:{proxy.server_address[1]}",
            )
        ).read(PODS)
        assert Proxy.asked[1:] == ["b.example.com:6443"]
        with pytest.raises(Unreachable, match="resolve"):
            ClusterApi(door(server="https://inside.example.com"), sleep=lambda _: None).read(PODS)
        proxy.shutdown()
    with pytest.raises(Unreachable, match=r"through the proxy 127\.0\.0\.1:\d+: it could not be reached") as caught:
        ClusterApi(door(server="https://api.example.com"), sleep=lambda _: None).read(PODS)
    assert "secret" not in str(caught.value)


def test_a_path_in_the_address_of_a_server_comes_before_every_other(
    cluster: KubernetesApi, door: Callable[..., Door]
) -> None:
    with pytest.raises(AwsFailure):
        ClusterApi(door(server=f"{cluster.url}/k8s/clusters/c-1/")).read("/apis")
    assert cluster.asked[-1].path == "/k8s/clusters/c-1/apis"


def test_ten_thousand_pods_are_cheap() -> None:
    one = {
        "metadata": {"name": "web", "labels": {f"l{n}": "x" * 20 for n in range(100)}},
        "spec": {"containers": [{"name": "web", "image": f"{APP}:v1", "env": [{"name": "A", "value": "x" * 1000}]}]},
    }
    page = msgspec.json.encode({"metadata": {}, "items": [one] * 10_000})
    began = time.process_time()
    from ecrsweep.sources.clusters.kinds import Pod

    decoded = msgspec.json.decode(page, type=Page[Pod])
    found = [found for pod in decoded.items or () for found in pod.found()]
    assert len(found) == 10_000
    assert time.process_time() - began < 3.0, "0.1 s on the machine where it was written"


def test_there_is_one_place_from_which_requests_go_out_and_it_sends_get() -> None:
    calls: list[tuple[str, Any]] = []
    for file in Path(ROOT / "src" / "ecrsweep" / "sources" / "clusters").rglob("*.py"):
        text = file.read_text()
        calls += [
            (file.name, word) for word in ("urlopen(", ".request(", "POST", "PUT", "PATCH", "DELETE") if word in text
        ]
    assert calls == [("api.py", "urlopen(")]
    assert '.urlopen("GET", target,' in (ROOT / "src/ecrsweep/sources/clusters/api.py").read_text()
