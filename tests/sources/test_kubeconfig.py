"""Clusters as kubectl finds them: files and contexts, certificates, tokens and plugins, and what is refused."""

import json
import ssl
import stat
import sys
import textwrap
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecrsweep.core.errors import AwsFailure, BadInput, CredentialsFailure
from ecrsweep.emulator.kubernetes import KubernetesApi
from ecrsweep.sources.clusters.api import ClusterApi
from ecrsweep.sources.clusters.kubeconfig import Kubeconfig, default_paths
from ecrsweep.sources.kubernetes import KubernetesSource

Write = Callable[..., Path]


@pytest.fixture
def write(cluster: KubernetesApi, tmp_path: Path) -> Write:
    """Write a kubeconfig with one context, `test`, for the cluster."""

    def written(user: dict[str, Any], name: str = "config", context: str = "test", **entry: Any) -> Path:
        authority = {"certificate-authority-data": b64encode(cluster.authority.encode()).decode()}
        path = tmp_path / name
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": context,
                    "clusters": [{"name": "c", "cluster": {"server": cluster.url, **authority, **entry}}],
                    "users": [{"name": "u", "user": user}],
                    "contexts": [{"name": context, "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
                }
            )
        )  # fmt: skip
        return path

    return written


def ask(path: Path, context: str = "test", *, allow_insecure: bool = False) -> ClusterApi:
    """Ask the cluster of a context once."""
    api = ClusterApi(Kubeconfig.read([path]).door(context, allow_insecure=allow_insecure))
    api.read("/apis")
    return api


def plugin(folder: Path, answer: str, name: str = "plugin") -> str:
    """A credential plugin, in Python, with `info` being what it was told."""
    path = folder / name
    path.write_text(
        f"#!{sys.executable}\nimport json, os, sys\ninfo = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        + textwrap.dedent(answer)
    )
    path.chmod(stat.S_IRWXU)
    return f"./{name}"


ANSWER = """
status = {"token": "from-" + os.environ.get("NAME", "nobody") + "-" + sys.argv[1], "expirationTimestamp": "2099-01-01T00:00:00Z"}
json.dump({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}, sys.stdout)
"""


def test_a_token_is_sent(cluster: KubernetesApi, write: Write) -> None:
    ask(write({"token": "abc"}))
    assert cluster.asked[-1].headers["authorization"] == "Bearer abc"


def test_a_token_file_is_read_where_the_kubeconfig_lies(cluster: KubernetesApi, write: Write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    ask(write({"tokenFile": "token"}))
    assert cluster.asked[-1].headers["authorization"] == "Bearer abc"


def test_whom_to_impersonate_is_sent(cluster: KubernetesApi, write: Write) -> None:
    ask(write({"token": "a", "as": "auditor", "as-uid": "7", "as-groups": ["x", "y"], "as-user-extra": {"Why": ["z"]}}))
    headers = cluster.asked[-1].headers
    assert (headers["impersonate-user"], headers["impersonate-uid"], headers["impersonate-extra-why"]) == (
        "auditor",
        "7",
        "z",
    )
    assert headers["impersonate-group"] in {"x", "x, y", "y"}


@pytest.mark.parametrize("how", ["data", "files"])
def test_a_client_certificate_is_shown(cluster: KubernetesApi, write: Write, tmp_path: Path, how: str) -> None:
    pair = cluster.pair
    if how == "data":
        data = {
            "client-certificate-data": b64encode(pair.certificate).decode(), "client-key-data": b64encode(pair.key).decode(),
        }  # fmt: skip
        path = write(data)
    else:
        for name, content in (("crt", pair.certificate), ("key", pair.key), ("ca", pair.authority.encode())):
            (tmp_path / name).write_bytes(content)
        files = {"client-certificate": "crt", "client-key": str(tmp_path / "key")}
        path = write(files, **{"certificate-authority-data": "", "certificate-authority": "ca"})
    ask(path)
    assert "kube-apiserver" in cluster.asked[-1].headers["x-client-certificate"]


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_plugin_is_asked_for_a_token(cluster: KubernetesApi, write: Write, tmp_path: Path, version: str) -> None:
    user = {
        "exec": {
            "apiVersion": f"client.authentication.k8s.io/{version}", "command": plugin(tmp_path, ANSWER), "args": ["arg"],
            "env": [{"name": "NAME", "value": "me"}], "interactiveMode": "IfAvailable",
        }
    }  # fmt: skip
    ask(write(user))
    assert cluster.asked[-1].headers["authorization"] == "Bearer from-me-arg"


def test_a_plugin_is_told_of_the_cluster_where_it_wants_to_know(
    cluster: KubernetesApi, write: Write, tmp_path: Path
) -> None:
    answer = """
    json.dump({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": {"token": info["spec"]["cluster"]["server"]}}, sys.stdout)
    """
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": plugin(tmp_path, answer),
            "provideClusterInfo": True,
        }
    }
    ask(write(user))
    assert cluster.asked[-1].headers["authorization"] == f"Bearer {cluster.url}"


def test_a_plugin_may_answer_with_a_certificate(cluster: KubernetesApi, write: Write, tmp_path: Path) -> None:
    status = {"clientCertificateData": cluster.pair.certificate.decode(), "clientKeyData": cluster.pair.key.decode()}
    answer = f"""
    json.dump({{"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": {status!r}}}, sys.stdout)
    """
    ask(write({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": plugin(tmp_path, answer)}}))
    assert "kube-apiserver" in cluster.asked[-1].headers["x-client-certificate"]
    assert "authorization" not in cluster.asked[-1].headers


def test_a_token_that_has_expired_is_made_anew_and_not_at_every_request(
    cluster: KubernetesApi, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = """
    open(os.path.join(os.path.dirname(__file__), "runs"), "a").write("x")
    status = {"token": "t", "expirationTimestamp": "2020-01-01T00:00:00Z"}
    json.dump({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}, sys.stdout)
    """
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": plugin(tmp_path, answer)}}
    api = ask(write(user))
    api.read("/apis")
    assert (tmp_path / "runs").read_text() == "x"
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    api._door.headers(True)
    assert (tmp_path / "runs").read_text() == "xx"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"command": "no-such-plugin", "installHint": "Get it there."}, "no-such-plugin is not installed. Get it there."),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1; known are"),
        ({"interactiveMode": "Always"}, "nobody is there to answer"),
        ({"answer": "print('secret nonsense')"}, "did not answer with a credential"),
        ({"answer": "sys.exit('you are not logged in')"}, "failed with 1: you are not logged in"),
        ({"answer": 'json.dump({"apiVersion": "x", "kind": "ExecCredential", "status": {}}, sys.stdout)'}, "another kind or version"),
    ],
)  # fmt: skip
def test_a_plugin_that_does_not_help_is_a_failure_and_its_output_stays_secret(
    write: Write, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    command = plugin(tmp_path, change.pop("answer", ANSWER))
    entry = {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": ["a"], **change}
    with pytest.raises(CredentialsFailure) as caught:
        ask(write({"exec": entry}))
    assert said in str(caught.value)
    assert "secret nonsense" not in str(caught.value)


@pytest.mark.parametrize("name", ["certificate", "key", "token"])
def test_a_credential_that_cannot_be_used_is_a_failure(write: Write, cluster: KubernetesApi, name: str) -> None:
    pair = cluster.pair
    user: dict[str, str] = {
        "client-certificate-data": b64encode(b"x" if name == "certificate" else pair.certificate).decode(),
        "client-key-data": b64encode(b"x" if name == "key" else pair.key).decode(),
    }
    with pytest.raises(CredentialsFailure):
        ask(write({"tokenFile": "no/such/file"} if name == "token" else user))


@pytest.mark.parametrize(
    ("entry", "user", "said"),
    [
        ({"insecure-skip-tls-verify": True}, {}, "skips the verification of the server"),
        ({"server": "http://127.0.0.1:8001"}, {}, "speaks plain HTTP"),
        ({}, {"username": "me", "password": "secret"}, "a user name and password"),
        ({}, {"auth-provider": {"name": "gcp"}}, "an auth-provider"),
        ({"certificate-authority-data": "%%"}, {}, "what should be base64 is not"),
        ({"certificate-authority-data": b64encode(b"no pem").decode()}, {}, "certificate authority of context test cannot be read"),
    ],
)  # fmt: skip
def test_what_is_not_safe_or_not_known_any_more_is_refused(
    cluster: KubernetesApi, write: Write, entry: dict[str, Any], user: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput) as caught:
        ask(write(user, **entry))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert cluster.asked == []


def test_a_server_is_not_verified_only_where_that_was_allowed_by_name(cluster: KubernetesApi, write: Write) -> None:
    skipping = write({"token": "a"}, **{"insecure-skip-tls-verify": True, "certificate-authority-data": ""})
    ask(skipping, allow_insecure=True)
    assert cluster.asked
    strict = Kubeconfig.read([write({})]).door("test", allow_insecure=True)
    assert strict.tls is not None
    assert strict.tls.verify_mode is ssl.CERT_REQUIRED, "to allow it is not to wish it"


def test_of_several_files_the_first_that_names_something_counts(
    cluster: KubernetesApi, write: Write, tmp_path: Path
) -> None:
    first, second = write({"token": "1"}, "one"), write({"token": "2"}, "two", context="second")
    config = Kubeconfig.read([first, second])
    assert (config.current, config.contexts) == ("test", ["test", "second"])
    ClusterApi(config.door("second", allow_insecure=False)).read("/apis")
    assert cluster.asked[-1].headers["authorization"] == "Bearer 1", "both files name the user u"
    environ = {"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{second}"}
    assert default_paths(environ) == [first, second]
    assert default_paths({}) == [Path("~/.kube/config").expanduser()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clusters: 7", "makes no sense"),
        ("clusters: [", "is not YAML"),
        ("{contexts: [{name: test, context: {cluster: nowhere, user: u}}]}", "names the cluster nowhere"),
        ("{clusters: [{name: c, cluster: {server: 'https://x'}}], contexts: [{name: test, context: {cluster: c, user: u}}]}", "names the user u"),
        ("contexts: null", "There is no context test. There are: none"),
        ("", "There is no context test"),
        ("clusters: [{name: c}]", "makes no sense"),
    ],
)  # fmt: skip
def test_a_kubeconfig_that_makes_no_sense_is_a_mistake(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(BadInput, match=said.replace("[", r"\[")):
        ask(path)


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        Kubeconfig.read([tmp_path / "missing"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"context": "a"}, "has no option context"),
        ({"contexts": "a,test"}, "There is no context a in"),
        ({"contexts": "*", "ignore": "deployments"}, "names no custom kind"),
        ({"allow-insecure": "true"}, "accepted are yes and no"),
        ({"kubeconfig": "/no/such/file"}, "cannot be read"),
    ],
)
def test_options_that_make_no_sense_are_mistakes(write: Write, options: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        KubernetesSource().with_options({"kubeconfig": str(write({})), **options})


def test_yaml_as_kubectl_writes_it_is_read(cluster: KubernetesApi, write: Write, tmp_path: Path) -> None:
    path = tmp_path / "yaml"
    path.write_text(yaml.safe_dump(json.loads(write({"token": "abc", "as-groups": ["x"]}).read_text())))
    ask(path)
    assert cluster.asked[-1].headers["authorization"] == "Bearer abc"


def test_a_context_without_a_user_asks_as_nobody(cluster: KubernetesApi, write: Write) -> None:
    path = write({})
    document = json.loads(path.read_text())
    del document["users"], document["contexts"][0]["context"]["user"]
    path.write_text(json.dumps(document))
    ask(path)
    assert "authorization" not in cluster.asked[-1].headers
    cluster._authenticate = lambda _: None
    with pytest.raises(AwsFailure, match="does not know this identity"):
        ask(path)
