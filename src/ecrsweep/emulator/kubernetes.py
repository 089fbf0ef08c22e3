"""A Kubernetes API server as far as a reader can tell: HTTPS with an authority of its own, discovery, RBAC, lists in pages.

Authority and certificate are made as EKS makes them, without key identifiers. Lists follow
https://kubernetes.io/docs/reference/using-api/api-concepts/, discovery https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/3352-aggregated-discovery
"""

import contextlib
import gzip
import ipaddress
import json
import socket
import ssl
import tempfile
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

_Json = dict[str, Any]

Authenticate = Callable[[Mapping[str, str]], str | None]
"""Who asks, by the headers of a request (lower case); None for nobody that is known."""

_BUILT_IN: Final = (
    ("", "v1", "pods", "Pod", True), ("", "v1", "podtemplates", "PodTemplate", True),
    ("", "v1", "replicationcontrollers", "ReplicationController", True), ("", "v1", "secrets", "Secret", True),
    ("", "v1", "nodes", "Node", False),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", True), ("apps", "v1", "daemonsets", "DaemonSet", True),
    ("apps", "v1", "deployments", "Deployment", True), ("apps", "v1", "replicasets", "ReplicaSet", True),
    ("apps", "v1", "statefulsets", "StatefulSet", True),
    ("batch", "v1", "cronjobs", "CronJob", True), ("batch", "v1", "jobs", "Job", True),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False),
    ("networking.k8s.io", "v1", "ingresses", "Ingress", True),
)  # fmt: skip
_LIST_VERBS: Final = ("create", "delete", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Served:
    """A kind that the API serves."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    verbs: tuple[str, ...] = _LIST_VERBS

    @property
    def name(self) -> str:
        """`pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def path(self) -> str:
        """Where its objects are listed."""
        return f"/apis/{self.group}/{self.version}/{self.plural}" if self.group else f"/api/v1/{self.plural}"


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    user: str | None


@dataclass
class Trouble:
    """What goes wrong with the requests whose path begins with `path`: `skip` of them are spared, then `times` are met."""

    path: str
    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    drop: bool = False
    times: int | None = None
    skip: int = 0

    def meets(self, path: str) -> bool:
        """Whether this request is met; counts."""
        if not path.startswith(self.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class KubernetesApi:
    """One cluster's API, for as long as it runs. A context manager."""

    def __init__(self, authenticate: Authenticate = lambda _: "somebody") -> None:
        """Everybody who is known may list everything, until `allow` says otherwise."""
        self._authenticate = authenticate
        self._lock = threading.Lock()
        self._kinds: dict[str, Served] = {}
        self._objects: dict[str, list[_Json]] = {}
        self._rules: Sequence[_Json] | None = None
        self._denied: set[str] = set()
        self._stale: set[str] = set()
        self._expiring = 0
        self.aggregated = True
        """Whether it knows aggregated discovery (Kubernetes 1.27 and later)."""
        self.troubles: list[Trouble] = []
        self.asked: list[Asked] = []
        self.pair = CertificatePair.make()
        self._server: ThreadingHTTPServer | None = None
        for *row, namespaced in _BUILT_IN:
            self.serve(*row, namespaced=namespaced)

    def start(self) -> Self:
        """Listen on the loopback address."""
        self._server = _Server(("127.0.0.1", 0), _handler_for(self))
        self._server.socket = self.pair.server_context().wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="kubernetes").start()
        return self

    def stop(self) -> None:
        """Listen no more."""
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
        """Its address."""
        if self._server is None:
            raise RuntimeError("the cluster is not running")
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def authority(self) -> str:
        """The certificate authority, as PEM."""
        return self.pair.authority

    def serve(
        self,
        group: str,
        version: str,
        plural: str,
        kind: str,
        *,
        namespaced: bool = True,
        verbs: Sequence[str] = _LIST_VERBS,
    ) -> Served:
        """Serve a kind, as a CustomResourceDefinition or an aggregated API does."""
        served = Served(group, version, plural, kind, namespaced, tuple(verbs))
        self._kinds[served.name] = served
        return served

    def forget(self, name: str) -> None:
        """Serve a kind no more."""
        self._kinds.pop(name, None)

    def add(self, name: str, *objects: _Json) -> None:
        """Hold objects of a kind, `pods` or `rollouts.argoproj.io`."""
        served = self._kinds[name]
        for each in objects:
            version = f"{served.group}/{served.version}" if served.group else served.version
            self._objects.setdefault(name, []).append({"apiVersion": version, "kind": served.kind, **each})

    def workload(self, name: str, object_name: str, image: str, *, namespace: str = "default", **spec: Any) -> _Json:
        """Hold a workload with one container, `app`; `spec` are further members of its specification."""
        template = {"spec": {"containers": [{"name": "app", "image": image}]}}
        made: _Json = {"metadata": {"name": object_name, "namespace": namespace}}
        if name == "cronjobs.batch":
            made["spec"] = {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}, **spec}
        elif name == "pods":
            made["spec"] = {**template["spec"], **spec}
        elif name == "podtemplates":
            made["template"] = template
        elif name == "controllerrevisions.apps":
            made |= {"data": {"spec": {"template": {"$patch": "replace", **template}}}, "revision": 1}
        else:
            made["spec"] = {"template": template, **spec}
        self.add(name, made)
        return made

    def allow(self, rules: Sequence[_Json] | None) -> None:
        """Let those who ask do what these rules of a ClusterRole say, and nothing else."""
        self._rules = rules

    def deny(self, name: str) -> None:
        """Forbid listing a kind."""
        self._denied.add(name)

    def lose(self, group: str) -> None:
        """Let the server behind an aggregated API group answer no more."""
        self._stale.add(group)

    def expire(self, times: int = 1) -> None:
        """Let the next tokens of a page be too old."""
        self._expiring = times

    def answer(self, method: str, target: str, headers: Mapping[str, str]) -> _Answer | None:
        """What a request gets; None where the connection is to be closed instead."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        user = self._authenticate(headers)
        with self._lock:
            self.asked.append(Asked(method, parts.path, query, dict(headers), user))
            trouble = next((each for each in self.troubles if each.meets(parts.path)), None)
        if trouble is not None:
            time.sleep(trouble.seconds)
            if trouble.drop:
                return None
            if trouble.status:
                return _Answer(trouble.status, trouble.body, trouble.headers)
        if user is None:
            return _status(401, "Unauthorized", "Unauthorized")
        if method != "GET":
            return _status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        return self._read(user, parts.path, query, headers.get("accept", ""))

    def _read(self, user: str, path: str, query: Mapping[str, str], accept: str) -> _Answer:
        kind = next((each for each in self._kinds.values() if each.path == path), None)
        if kind is not None and "list" in kind.verbs:
            if not self._may_list(kind):
                text = f'{kind.name} is forbidden: User "{user}" cannot list resource "{kind.plural}" in API group "{kind.group}" at the cluster scope'
                return _status(403, "Forbidden", text)
            if kind.group in self._stale:
                return _status(503, "ServiceUnavailable", "service unavailable")
            return self._list(kind, query)
        if path.startswith("/apis") and not self._may_discover(path):
            return _status(403, "Forbidden", f'forbidden: User "{user}" cannot get path "{path}"')
        return self._discovery(path, accept) or _status(
            404, "NotFound", "the server could not find the requested resource"
        )

    def _may_list(self, kind: Served) -> bool:
        if kind.name in self._denied:
            return False
        return self._rules is None or any(_grants(rule, kind) for rule in self._rules)

    def _may_discover(self, path: str) -> bool:
        if self._rules is None:
            return path not in self._denied
        wanted = [url for rule in self._rules if "get" in rule["verbs"] for url in rule.get("nonResourceURLs", ())]
        return any(path == url or (url.endswith("*") and path.startswith(url[:-1])) for url in wanted)

    def _list(self, kind: Served, query: Mapping[str, str]) -> _Answer:
        objects = self._objects.get(kind.name, [])
        start, limit = 0, int(query.get("limit", 0))
        if "continue" in query:
            if self._expiring > 0:
                self._expiring -= 1
                return _status(
                    410, "Expired", "The provided continue parameter is too old to display a consistent list result."
                )
            try:
                start = int(json.loads(urlsafe_b64decode(query["continue"]))["start"])
            except (ValueError, KeyError):
                return _status(400, "BadRequest", "continue key is not valid")
        end = start + limit if limit else len(objects)
        meta: _Json = {"resourceVersion": "4711"}
        if end < len(objects):
            meta |= {"continue": _token(end), "remainingItemCount": len(objects) - end}
        version = f"{kind.group}/{kind.version}" if kind.group else kind.version
        return _json(
            200, {"kind": f"{kind.kind}List", "apiVersion": version, "metadata": meta, "items": objects[start:end]}
        )

    def _discovery(self, path: str, accept: str) -> _Answer | None:
        groups: dict[str, dict[str, list[Served]]] = {}
        for kind in self._kinds.values():
            groups.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
        groups.pop("", None)
        if path == "/apis" and self.aggregated and "as=APIGroupDiscoveryList" in accept:
            return _json(200, self._aggregated(groups))
        if path == "/apis":
            return _json(
                200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*each) for each in groups.items()]}
            )
        for group, versions in groups.items():
            for version, kinds in versions.items():
                if path == f"/apis/{group}/{version}":
                    return (
                        _status(503, "ServiceUnavailable", "service unavailable")
                        if group in self._stale
                        else _json(200, _resources(group, version, kinds))
                    )
        return None

    def _aggregated(self, groups: Mapping[str, Mapping[str, Sequence[Served]]]) -> _Json:
        items = [
            {
                "metadata": {"name": group, "creationTimestamp": None},
                "versions": [
                    {
                        "version": version,
                        "freshness": "Stale" if group in self._stale else "Current",
                        "resources": [] if group in self._stale else [_discovered(kind) for kind in kinds],
                    }
                    for version, kinds in versions.items()
                ],
            }
            for group, versions in groups.items()
        ]
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


@dataclass(frozen=True)
class CertificatePair:
    """A certificate authority, and a server's certificate by it."""

    authority: str
    certificate: bytes
    key: bytes

    @classmethod
    @lru_cache
    def make(cls, number: int = 0) -> "CertificatePair":
        """A pair for the loopback address; another number makes a stranger's."""
        from cryptography import x509  # noqa: PLC0415 - belongs to an extra
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - likewise
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - likewise
        from cryptography.x509.oid import NameOID  # noqa: PLC0415 - likewise

        def made(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
            now = datetime.now(UTC)
            named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (subject, issuer)]
            return (
                x509.CertificateBuilder(named[1], named[0], key, x509.random_serial_number())
                .not_valid_before(now - timedelta(days=1))
                .not_valid_after(now + timedelta(days=2))
            )

        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority = made("kubernetes", "kubernetes", authority_key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("kubernetes")]
        )
        certificate = made(f"kube-apiserver-{number}", "kubernetes", key.public_key()).add_extension(
            names, critical=False
        )
        pem = serialization.Encoding.PEM
        return cls(
            authority.sign(authority_key, hashes.SHA256()).public_bytes(pem).decode(),
            certificate.sign(authority_key, hashes.SHA256()).public_bytes(pem),
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )

    def server_context(self) -> ssl.SSLContext:
        """What the server shows. A client certificate is asked for, and need not be shown."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pair.pem"
            path.write_bytes(self.certificate + self.key)
            context.load_cert_chain(path)
        context.load_verify_locations(cadata=self.authority)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or does not trust us, is no error of ours."""


def _handler_for(cluster: KubernetesApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def _respond(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
            if certificate:
                headers["x-client-certificate"] = json.dumps(certificate.get("subject"))
            answer = cluster.answer(self.command, self.path, headers)
            if answer is None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = gzip.compress(answer.body, 1) if "gzip" in headers.get("accept-encoding", "") else answer.body
            self.send_response_only(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            if body is not answer.body:
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        do_POST = do_GET = do_PUT = do_DELETE = do_HEAD = do_PATCH = _respond  # noqa: N815 - names of the standard library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the standard library
            """Requests are kept, not printed."""

    return Handler


def _grants(rule: _Json, kind: Served) -> bool:
    """Whether a rule of a ClusterRole lets a kind be listed: https://kubernetes.io/docs/reference/access-authn-authz/rbac/."""

    def holds(member: str, wanted: str) -> bool:
        return "*" in rule.get(member, ()) or wanted in rule.get(member, ())

    return holds("apiGroups", kind.group) and holds("resources", kind.plural) and holds("verbs", "list")


def _group(name: str, versions: Mapping[str, object]) -> _Json:
    named = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": named, "preferredVersion": named[0]}


def _resources(group: str, version: str, kinds: Sequence[Served]) -> _Json:
    rows = [
        {
            "name": kind.plural,
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        for kind in kinds
    ]
    rows += [row | {"name": f"{row['name']}/status", "verbs": ["get", "list", "patch"]} for row in rows]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}", "resources": rows}


def _discovered(kind: Served) -> _Json:
    response = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    return {
        "resource": kind.plural, "responseKind": response, "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.kind.lower(), "verbs": list(kind.verbs),
        "subresources": [{"subresource": "status", "responseKind": response, "verbs": ["get", "patch", "update"]}],
    }  # fmt: skip


def _token(start: int) -> str:
    return urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "rv": 4711, "start": str(start)}).encode()).decode()


def _json(status: int, document: _Json) -> _Answer:
    return _Answer(status, json.dumps(document).encode())


def _status(code: int, reason: str, message: str) -> _Answer:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return _json(code, body)
