"""Clusters as kubectl finds them: contexts of kubeconfig files, with certificates, tokens and plugins.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ and
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

import binascii
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import urllib3

from ecrsweep.core.errors import BadInput, CredentialsFailure
from ecrsweep.sources.clusters.api import Door, verifying
from ecrsweep.sources.clusters.bearer import Bearer, Made, Pairs

T = TypeVar("T")

_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_PLUGIN_SECONDS: Final = 60.0
_MARGIN: Final = 60.0
"""Seconds before its end at which a plugin's token is made anew."""
_SHORTEST_LIFE: Final = 30.0
_TOKEN_FILE_LIFE: Final = 60.0


class _Entry(msgspec.Struct, rename="kebab"):
    """What is read of an entry; what else stands in it is of no concern."""


class _ClusterEntry(_Entry):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


class _Variable(msgspec.Struct):
    name: str
    value: str


class _Plugin(msgspec.Struct, rename="camel"):
    api_version: str
    command: str
    args: list[str] | None = None
    env: list[_Variable] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class _User(_Entry):
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    auth_provider: dict[str, Any] | None = None
    plugin: _Plugin | None = msgspec.field(name="exec", default=None)
    as_user: str = msgspec.field(name="as", default="")
    as_uid: str = ""
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None


class _Context(_Entry):
    cluster: str = ""
    user: str = ""


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _ClusterEntry


class _NamedUser(msgspec.Struct):
    name: str
    user: _User | None = None


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context


class _File(_Entry):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str = ""


class _PluginStatus(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _Credential(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    status: _PluginStatus


class Kubeconfig:
    """Kubeconfig files as one: of two entries with the same name, the first counts."""

    def __init__(self, files: Sequence[tuple[Path, _File]]) -> None:
        """Files with where they lie: relative paths in them begin there."""
        self.current = next((file.current_context for _, file in files if file.current_context), "")
        self._contexts = _first((each.name, each.context) for _, file in files for each in file.contexts or ())
        self._clusters = _first(
            (each.name, (path.parent, each.cluster)) for path, file in files for each in file.clusters or ()
        )
        self._users = _first(
            (each.name, (path.parent, each.user or _User())) for path, file in files for each in file.users or ()
        )

    @classmethod
    def read(cls, paths: Sequence[Path]) -> "Kubeconfig":
        """These files. Raises `BadInput` for one that cannot be read or understood."""
        return cls([(path.absolute(), _read(path)) for path in paths])

    @property
    def contexts(self) -> list[str]:
        """The names of all contexts, in the order of the files."""
        return list(self._contexts)

    def door(self, context: str, *, allow_insecure: bool) -> Door:
        """The way into the cluster of a context. A plugin is run for it, because a certificate may come of that.

        Raises `BadInput` for what makes no sense or is not safe, and `CredentialsFailure`.
        """
        found = self._contexts.get(context)
        if found is None:
            raise BadInput(f"There is no context {context}. There are: {', '.join(self._contexts) or 'none'}")
        if found.cluster not in self._clusters:
            raise BadInput(f"The context {context} names the cluster {found.cluster}, which is not in the kubeconfig")
        if found.user and found.user not in self._users:
            raise BadInput(f"The context {context} names the user {found.user}, which is not in the kubeconfig")
        folder, cluster = self._clusters[found.cluster]
        users_folder, user = self._users.get(found.user, (folder, _User()))
        name = f"cluster of context {context}"
        _check(context, cluster, user, allow_insecure=allow_insecure)
        tls = _tls(context, folder, cluster) if cluster.server.startswith("https:") else None
        asking = _Asking(name, users_folder, user, _cluster_info(folder, cluster))
        asking.certify(tls)
        return Door(
            name, cluster.server, Bearer(asking.made), tls, cluster.tls_server_name or None, cluster.proxy_url or None
        )


def default_paths(environ: Mapping[str, str]) -> list[Path]:
    """Where kubectl looks: `KUBECONFIG`, of which files may be missing, else `~/.kube/config`."""
    named = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [path for path in named if path.exists()] if named else [Path("~/.kube/config").expanduser()]


class _Asking:
    """Who asks a cluster: what a user entry says, turned into headers and a client certificate."""

    def __init__(self, name: str, folder: Path, user: _User, cluster_info: Mapping[str, Any]) -> None:
        self._name, self._folder, self._user, self._cluster_info = name, folder, user, cluster_info
        self._first: _PluginStatus | None = None

    def certify(self, tls: ssl.SSLContext | None) -> None:
        """Load the client certificate, where there is one."""
        user = self._user
        certificate = _content(user.client_certificate_data, self._folder, user.client_certificate, self._name)
        key = _content(user.client_key_data, self._folder, user.client_key, self._name)
        if user.plugin is not None and not certificate:
            self._first = _asked_plugin(self._name, self._folder, user.plugin, self._cluster_info)
            certificate, key = self._first.client_certificate_data.encode(), self._first.client_key_data.encode()
        if certificate and tls is not None:
            _load(tls, certificate, key, self._name)

    def made(self) -> Made:
        """The headers of now."""
        user, until = self._user, float("inf")
        token = user.token
        if user.plugin is not None:
            status = self._first or _asked_plugin(self._name, self._folder, user.plugin, self._cluster_info)
            self._first, token = None, status.token
            if status.expiration_timestamp is not None:
                until = max(status.expiration_timestamp.timestamp() - _MARGIN, time.time() + _SHORTEST_LIFE)
        elif user.token_file:
            token = _bytes_of(self._folder / user.token_file, self._name).decode(errors="replace").strip()
            until = time.time() + _TOKEN_FILE_LIFE
        headers = ((("Authorization", f"Bearer {token}"),) if token else ()) + _impersonation(user)
        return Made(headers, until)


def _impersonation(user: _User) -> Pairs:
    pairs = [("Impersonate-User", user.as_user)] if user.as_user else []
    pairs += [("Impersonate-Uid", user.as_uid)] if user.as_uid else []
    pairs += [("Impersonate-Group", group) for group in user.as_groups or ()]
    extra = (user.as_user_extra or {}).items()
    pairs += [(f"Impersonate-Extra-{name}", value) for name, values in extra for value in values]
    return tuple(pairs)


def _check(context: str, cluster: _ClusterEntry, user: _User, *, allow_insecure: bool) -> None:
    """Refuse what is not safe or not known here any more."""
    insecure = "skips the verification of the server" if cluster.insecure_skip_tls_verify else ""
    if not cluster.server.startswith("https:"):
        insecure = "speaks plain HTTP"
    if insecure and not allow_insecure:
        raise BadInput(
            f"The context {context} {insecure}, so that anybody on the way could answer for the cluster, or take the "
            "credential. Give it certificate-authority-data; or, knowing this, allow it: "
            "--source-option kubernetes.allow-insecure=yes"
        )
    if user.auth_provider is not None or user.username:
        old = "an auth-provider" if user.auth_provider is not None else "a user name and password"
        raise BadInput(
            f"The user of context {context} has {old}, which Kubernetes does not know any more: give it an exec plugin"
        )


def _tls(context: str, folder: Path, cluster: _ClusterEntry) -> ssl.SSLContext:
    """The context that verifies the server; one that does not, where that is wanted and was allowed."""
    authority = _content(
        cluster.certificate_authority_data, folder, cluster.certificate_authority, f"context {context}"
    )
    try:
        tls = verifying(authority.decode("ascii") if authority else None)
    except (ssl.SSLError, ValueError) as error:
        raise BadInput(f"The certificate authority of context {context} cannot be read: {error}") from error
    if cluster.insecure_skip_tls_verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # a note says it instead
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls


def _load(tls: ssl.SSLContext, certificate: bytes, key: bytes, name: str) -> None:
    """Python reads certificates from files only: they are there for a moment, and for nobody else."""
    with tempfile.TemporaryDirectory(prefix="ecrsweep-") as folder:
        paths = Path(folder) / "certificate", Path(folder) / "key"
        for path, content in zip(paths, (certificate, key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        try:
            tls.load_cert_chain(*paths)
        except (ssl.SSLError, ValueError) as error:
            raise CredentialsFailure(f"{name}: its client certificate and key cannot be used: {error}") from error


def _asked_plugin(name: str, folder: Path, plugin: _Plugin, cluster_info: Mapping[str, Any]) -> _PluginStatus:
    """What a credential plugin answers. Raises `CredentialsFailure`; its output is never shown, because it is secret."""
    if plugin.api_version not in _VERSIONS:
        raise CredentialsFailure(f"{name}: its plugin speaks {plugin.api_version}; known are {', '.join(_VERSIONS)}")
    if plugin.interactive_mode == "Always":
        raise CredentialsFailure(
            f"{name}: its plugin {plugin.command} wants to ask somebody, and nobody is there to answer"
        )
    command = str(folder / plugin.command) if "/" in plugin.command else plugin.command
    found = shutil.which(command)
    if found is None:
        raise CredentialsFailure(
            f"{name}: its plugin {plugin.command} is not installed. {plugin.install_hint}".rstrip()
        )
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        spec["cluster"] = cluster_info
    info = msgspec.json.encode({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}).decode()
    environ = {**os.environ, **{each.name: each.value for each in plugin.env or ()}, "KUBERNETES_EXEC_INFO": info}
    try:
        ended = subprocess.run(  # noqa: S603 - the user's own kubeconfig names it, as for kubectl
            [found, *(plugin.args or ())], env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False,
            timeout=_PLUGIN_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        why = "did not answer in time" if isinstance(error, subprocess.TimeoutExpired) else f"cannot be run: {error}"
        raise CredentialsFailure(f"{name}: its plugin {plugin.command} {why}") from error
    if ended.returncode:
        said = " ".join(ended.stderr.decode(errors="replace").split())[-300:]
        raise CredentialsFailure(f"{name}: its plugin {plugin.command} failed with {ended.returncode}: {said}")
    try:
        credential = msgspec.json.decode(ended.stdout, type=_Credential)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise CredentialsFailure(f"{name}: its plugin {plugin.command} did not answer with a credential") from None
    if credential.kind != "ExecCredential" or credential.api_version != plugin.api_version:
        raise CredentialsFailure(f"{name}: its plugin {plugin.command} answered with another kind or version")
    return credential.status


def _cluster_info(folder: Path, cluster: _ClusterEntry) -> dict[str, Any]:
    """What a plugin may be told of the cluster (`provideClusterInfo`)."""
    info: dict[str, Any] = {"server": cluster.server}
    if cluster.certificate_authority_data:
        info["certificate-authority-data"] = cluster.certificate_authority_data
    elif cluster.certificate_authority:
        info["certificate-authority"] = str(folder / cluster.certificate_authority)
    if cluster.tls_server_name:
        info["tls-server-name"] = cluster.tls_server_name
    return info


def _content(data: str, folder: Path, path: str, name: str) -> bytes:
    """What stands in an entry as base64 or in a file; nothing where there is neither."""
    if data:
        try:
            return b64decode(data, validate=True)
        except binascii.Error as error:
            raise BadInput(f"{name}: what should be base64 is not: {error}") from error
    return _bytes_of(folder / path, name) if path else b""


def _bytes_of(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsFailure(f"{name}: {path} cannot be read: {error.strerror}") from error


def _read(path: Path) -> _File:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise BadInput(f"The kubeconfig {path} cannot be read: {error.strerror}") from error
    try:
        return msgspec.convert(_loaded(body, path) or {}, _File)
    except msgspec.ValidationError as error:
        raise BadInput(f"The kubeconfig {path} makes no sense: {error}") from error


def _loaded(body: bytes, path: Path) -> Any:  # noqa: ANN401 - YAML
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    import yaml  # noqa: PLC0415 - only where a file is written in it

    try:
        return yaml.safe_load(body)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The kubeconfig {path} is not YAML: {' '.join(str(error).split())}") from error


def _first(pairs: Iterator[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found
