"""Amazon EKS: clusters whose endpoints really answer, and that know an identity only by a token signed for them.

The token is checked as aws-iam-authenticator does it: host, action, age, the signed cluster, and here the signature
itself, since there is no STS to send it to. https://github.com/kubernetes-sigs/aws-iam-authenticator
"""

import hashlib
import hmac
import re
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from ecrsweep.emulator.clock import Clock
from ecrsweep.emulator.errors import AwsError, invalid
from ecrsweep.emulator.kubernetes import KubernetesApi
from ecrsweep.emulator.scripted import Scripts

_Json = dict[str, Any]

SECRET: Final = "emulated"  # noqa: S105 - every key here has this one
_PAGE: Final = 100
_LIFE: Final = timedelta(minutes=15)
_PREFIX: Final = "Bearer k8s-aws-v1."
_PARAMETERS: Final = frozenset(
    {
        "Action", "Version", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
        "X-Amz-Security-Token", "X-Amz-SignedHeaders", "X-Amz-Signature",
    }
)  # fmt: skip
_CREDENTIAL: Final = re.compile(
    r"A[KS]IAEMULATED(?P<account>\d{12})[0-9A-F]*/(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/sts/aws4_request"
)


class EksState:
    """The clusters of every account and region."""

    def __init__(self, scripts: Scripts, clock: Clock, account: str, region: str) -> None:
        """`account` and `region` are meant where none is given."""
        self._scripts, self._clock = scripts, clock
        self._account, self._region = account, region
        self._clusters: dict[tuple[str, str], dict[str, _Json]] = {}
        self._apis: list[KubernetesApi] = []
        self._place(account, region)

    def stop(self) -> None:
        """Stop every cluster."""
        for api in self._apis:
            api.stop()

    def cluster(
        self,
        name: str,
        *,
        region: str | None = None,
        account: str | None = None,
        admits: Sequence[str] | None = None,
        **described: Any,
    ) -> KubernetesApi:
        """A cluster, whose API runs unless another `endpoint` is named; None leaves a member out.

        It knows its own account, or those of `admits`. What else is `described` is told as it is.
        """
        account, region = account or self._account, region or self._region
        known = (account,) if admits is None else admits
        api = KubernetesApi(lambda headers: self._who(headers, str(described.get("id") or name), region, known))
        if "endpoint" not in described:
            self._apis.append(api.start())
            described["endpoint"] = api.url
        made: _Json = {
            "name": name, "arn": f"arn:aws:eks:{region}:{account}:cluster/{name}", "status": "ACTIVE", "version": "1.33",
            "createdAt": self._clock.seconds,
            "certificateAuthority": {"data": b64encode(api.authority.encode()).decode()},
            "accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"},
            "resourcesVpcConfig": {"vpcId": "vpc-1", "endpointPublicAccess": True, "endpointPrivateAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]},
        } | described  # fmt: skip
        self._place(account, region)[name] = {key: value for key, value in made.items() if value is not None}
        return api

    def forget(self, name: str) -> None:
        """Describe a cluster no more, though the next listing still names it."""
        self._place(self._account, self._region)[name] = {}

    def _place(self, account: str, region: str) -> dict[str, _Json]:
        if (account, region) not in self._clusters:
            held = self._clusters.setdefault((account, region), {})
            for operation, answer in (("ListClusters", _list), ("DescribeCluster", _describe)):
                self._scripts.answer("eks", operation, partial(answer, held), account=account, region=region)
        return self._clusters[account, region]

    def _who(self, headers: Mapping[str, str], cluster: str, region: str, admits: Sequence[str]) -> str | None:
        token = headers.get("authorization", "")
        if not token.startswith(_PREFIX):
            return None
        encoded = token.removeprefix(_PREFIX)
        try:
            url = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        except ValueError:
            return None
        account = account_of(url, cluster, region, datetime.now(UTC))
        return f"arn:aws:sts::{account}:assumed-role/sweeper/run" if account in admits else None


def account_of(url: str, cluster: str, region: str, now: datetime) -> str | None:
    """The account that signed a question "who am I?" for a cluster; None where anything about it is wrong."""
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    credential = _CREDENTIAL.fullmatch(asked.get("X-Amz-Credential", ""))
    right = (
        parts.scheme == "https"
        and parts.netloc == f"sts.{region}.amazonaws.com"
        and parts.path == "/"
        and asked.keys() <= _PARAMETERS
        and asked.get("Action") == "GetCallerIdentity"
        and asked.get("X-Amz-Expires") == "60"
        and asked.get("X-Amz-SignedHeaders") == "host;x-k8s-aws-id"
    )
    if not right or credential is None or credential["region"] != region:
        return None
    signed_at = datetime.strptime(asked["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if not signed_at - _LIFE <= now <= signed_at + _LIFE:
        return None
    return (
        credential["account"]
        if _signature(parts.netloc, asked, credential, cluster) == asked["X-Amz-Signature"]
        else None
    )


def _signature(host: str, asked: Mapping[str, str], credential: re.Match[str], cluster: str) -> str:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html."""
    query = urlencode(
        sorted((name, value) for name, value in asked.items() if name != "X-Amz-Signature"), quote_via=quote
    )
    headers = f"host:{host}\nx-k8s-aws-id:{cluster}\n"
    request = "\n".join(["GET", "/", query, headers, asked["X-Amz-SignedHeaders"], hashlib.sha256(b"").hexdigest()])
    scope = f"{credential['day']}/{credential['region']}/sts/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{SECRET}".encode()
    for part in (*scope.split("/"), "\n".join(["AWS4-HMAC-SHA256", asked["X-Amz-Date"], scope, digest])):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _list(held: Mapping[str, _Json], asked: _Json) -> _Json:
    names = [name for name, each in held.items() if "all" in asked.get("include", ()) or "connectorConfig" not in each]
    size, start = min(int(asked.get("maxResults", _PAGE)), _PAGE), int(asked.get("nextToken", 0))
    if size < 1:
        raise invalid("maxResults is less than 1")
    more = {"nextToken": str(start + size)} if start + size < len(names) else {}
    return {"clusters": names[start : start + size], **more}


def _describe(held: Mapping[str, _Json], asked: _Json) -> _Json:
    if not held.get(asked["name"]):
        raise AwsError("ResourceNotFoundException", f"No cluster found for name: {asked['name']}.", 404)
    return {"cluster": held[asked["name"]]}
