"""The bearer token by which an EKS cluster knows an IAM identity: a signed, unsent question "who am I?" to STS.

The cluster sends it itself. The token is for one cluster (`x-k8s-aws-id` is signed), and good for 15 minutes whatever
its `X-Amz-Expires` says. https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
"""

from base64 import urlsafe_b64encode
from typing import Any, Final

from ecrsweep.aws.errors import translated
from ecrsweep.core.names import Registry

LIFE: Final = 600.0
"""Seconds for which a token is used again: well within its fifteen minutes."""

_PREFIX: Final = "k8s-aws-v1."
_EXPIRES: Final = 60


def eks_token(sts: Any, region: str, cluster: str) -> str:  # noqa: ANN401 - botocore builds clients at run time
    """A token for a cluster, by the credentials of an STS client. Raises `AwsFailure` where there are none.

    It always names the regional endpoint of AWS, whatever endpoint the client has: clusters accept no other. `cluster`
    is its name, or the id of a local cluster on an Outpost.
    """
    question = {
        "method": "GET",
        "url": f"https://{_host(region)}/?Action=GetCallerIdentity&Version=2011-06-15",
        "body": {},
        "headers": {"x-k8s-aws-id": cluster},
        "context": {},
    }
    with translated("sts:GetCallerIdentity", region):
        signer = sts._request_signer  # noqa: SLF001 - the client's own credentials, and no public way to sign another host
        url: str = signer.generate_presigned_url(
            question, operation_name="GetCallerIdentity", region_name=region, expires_in=_EXPIRES
        )
    return _PREFIX + urlsafe_b64encode(url.encode()).decode().rstrip("=")


def _host(region: str) -> str:
    """The regional endpoint of STS: the partition's suffix is that of its registries."""
    return f"sts.{region}.{Registry('000000000000', region).host.rpartition(f'.{region}.')[2]}"
