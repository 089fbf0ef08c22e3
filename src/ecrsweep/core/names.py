"""Names of registries, repositories and images: parsed once, into types, and printed back.

A workload writes an image name in many forms; this module says what each can mean. It knows
nothing of what exists: whether a name finds an image is the business of `uses`.

Host names of private registries: https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
Grammar of names: https://github.com/distribution/reference
"""

import re
from typing import Final

import msgspec

from ecrsweep.core.errors import BadName

DEFAULT_TAG: Final = "latest"
LONGEST_TAG: Final = 128
LONGEST_NAME: Final = 4096

# Region prefix -> suffix of the host; the first that matches. The commercial partition has no prefix of its own.
_SUFFIX_BY_PREFIX: Final = (
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("", "amazonaws.com"),
)
_CLASSIC_SUFFIXES: Final = {suffix for _, suffix in _SUFFIX_BY_PREFIX}
_DUAL_STACK_SUFFIXES: Final = {"on.aws", "on.amazonwebservices.com.cn"}

_PRIVATE_HOST: Final = re.compile(
    r"(?P<account>\d{12})\.dkr(?P<joint>[.-])ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<suffix>[a-z0-9.-]+?)(?::443)?"
)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIGEST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*:[0-9A-Za-z]+")
_PATH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_EMBEDDED_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

# Registries that everybody may pull from: a host here is never an alias of a private registry.
_PUBLIC_HOSTS: Final = frozenset(
    {
        "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com",
        "public.ecr.aws", "ecr-public.aws.com", "ghcr.io", "gcr.io", "quay.io", "registry.k8s.io",
        "k8s.gcr.io", "mcr.microsoft.com", "registry.gitlab.com", "nvcr.io", "docker.elastic.co",
        "registry.access.redhat.com", "registry.redhat.io", "registry.connect.redhat.com", "lscr.io",
        "cgr.dev", "dhi.io", "container-registry.oracle.com", "icr.io", "public.cr.seqera.io",
    }
)  # fmt: skip
_PUBLIC_SUFFIXES: Final = (".gcr.io", ".pkg.dev", ".azurecr.io", ".icr.io", ".ocir.io")


class Registry(msgspec.Struct, frozen=True, order=True):
    """One account's private registry in one region."""

    account: str
    region: str

    @property
    def host(self) -> str:
        """The host name of its partition, as AWS prints it in `repositoryUri`."""
        suffix = next(suffix for prefix, suffix in _SUFFIX_BY_PREFIX if self.region.startswith(prefix))
        return f"{self.account}.dkr.ecr.{self.region}.{suffix}"

    def __str__(self) -> str:
        return f"{self.account}/{self.region}"


class Repository(msgspec.Struct, frozen=True, order=True):
    """A repository of a private registry."""

    registry: Registry
    name: str

    @property
    def uri(self) -> str:
        """Host and name, as AWS prints it in `repositoryUri`."""
        return f"{self.registry.host}/{self.name}"

    def __str__(self) -> str:
        return self.uri


class EcrReference(msgspec.Struct, frozen=True):
    """A name that says registry and repository: the image, if it exists, is there and nowhere else."""

    repository: Repository
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        return self.repository.uri + _ending(self.tag, self.digest)


class AliasReference(msgspec.Struct, frozen=True):
    """A name under a host that may be an alias of any private registry (a CNAME, a proxy, a VPC endpoint)."""

    host: str
    path: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" + _ending(self.tag, self.digest)


class ForeignReference(msgspec.Struct, frozen=True):
    """A name that cannot be in a private registry: a public registry, no host, or a bare configuration digest."""

    text: str

    def __str__(self) -> str:
        return self.text


class UnreadableReference(msgspec.Struct, frozen=True):
    """A name that breaks the grammar. `digests` are those that stand in it all the same."""

    text: str
    why: str
    digests: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


Reference = EcrReference | AliasReference | ForeignReference | UnreadableReference


def parse_reference(text: str) -> Reference:
    """The meaning of an image name as a workload wrote it. Never raises: what breaks the grammar is `UnreadableReference`."""
    try:
        return _parse(text)
    except BadName as error:
        return UnreadableReference(text, str(error), tuple(dict.fromkeys(_EMBEDDED_DIGEST.findall(text))))


def parse_own_reference(text: str, registry: Registry) -> EcrReference:
    """An image name that a user typed, where a name without a host means a repository of `registry`.

    Raises `BadName` for a name that is not of a private registry or breaks the grammar.
    """
    parsed = _parse(text)
    match parsed:
        case EcrReference():
            return parsed
        case ForeignReference() if not _host_of(_without_scheme(text))[0]:
            tag, digest, path = _split(text, _without_scheme(text))
            return EcrReference(Repository(registry, path), tag, digest)
        case _:
            raise BadName(f"{_about(text)}: not an image of a private ECR registry")


def is_digest(text: str) -> bool:
    """True for a whole sha256 digest, and nothing besides."""
    return _EMBEDDED_DIGEST.fullmatch(text) is not None


def private_registry(host: str) -> Registry | None:
    """The registry that a host name stands for, in any partition, FIPS or dual-stack; None where it is none."""
    found = _PRIVATE_HOST.fullmatch(host.lower())
    if found is None:
        return None
    known = _CLASSIC_SUFFIXES if found["joint"] == "." else _DUAL_STACK_SUFFIXES
    return Registry(found["account"], found["region"]) if found["suffix"] in known else None


def parse_registry(text: str) -> Registry:
    """The registry that `ACCOUNT/REGION` names: the inverse of printing one. Raises `BadName`."""
    account, _, region = text.partition("/")
    if not re.fullmatch(r"[0-9]{12}", account) or not re.fullmatch(r"[a-z0-9-]+", region):
        raise BadName(f'"{text[:200]}" is not a registry: accepted is ACCOUNT/REGION, such as 123456789012/eu-west-1')
    return Registry(account, region)


def alias_host(text: str) -> str:
    """A host name that may be declared an alias of a registry, as references have it. Raises `BadName` for any other."""
    host = text.strip().lower()
    if _host_of(f"{host}/app")[0] != host:
        raise BadName(f'"{text[:200]}" is not a host name: one has a dot or a port, or is localhost')
    if private_registry(host) is not None or _is_public(host):
        raise BadName(f'"{text[:200]}" says by itself which registry it is, so it cannot be an alias of another')
    return host


def _parse(text: str) -> Reference:
    bare = _without_scheme(text)
    if not bare or len(bare) > LONGEST_NAME:
        raise BadName(f"{_about(text)}: {'longer than any image name' if bare else 'empty'}")
    if _DIGEST.fullmatch(bare) and bare.lower().startswith("sha256:"):
        return ForeignReference(text)
    host, _ = _host_of(bare)
    tag, digest, path = _split(text, bare.removeprefix(host + "/") if host else bare)
    if not host or _is_public(host):
        return ForeignReference(text)
    if tag is None and digest is None:
        tag = DEFAULT_TAG
    registry = private_registry(host)
    if registry is None:
        return AliasReference(host.lower(), path, tag, digest)
    return EcrReference(Repository(registry, path), tag, digest)


def _without_scheme(text: str) -> str:
    return _SCHEME.sub("", text.strip(), count=1) if "://" in text else text.strip()


def _host_of(bare: str) -> tuple[str, str]:
    """Host and rest. Docker's rule: the first component is a host if it has a dot or a port, or is localhost."""
    first, slash, rest = bare.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return first, rest
    return "", bare


def _split(text: str, rest: str) -> tuple[str | None, str | None, str]:
    named, at, digest = rest.partition("@")
    path, colon, tag = named.partition(":")
    if at and not _DIGEST.fullmatch(digest):
        raise BadName(f"{_about(text)}: what stands behind the @ is not a digest")
    if len(tag) > LONGEST_TAG:
        raise BadName(f"{_about(text)}: tag is longer than {LONGEST_TAG} characters")
    if colon and not _TAG.fullmatch(tag):
        raise BadName(f"{_about(text)}: tag has a character that no tag may have")
    if not _PATH.fullmatch(path):
        raise BadName(f"{_about(text)}: no repository name")
    return tag or None, digest.lower() or None, path


def _is_public(host: str) -> bool:
    name = host.lower().partition(":")[0]
    return name in _PUBLIC_HOSTS or name.endswith(_PUBLIC_SUFFIXES)


def _ending(tag: str | None, digest: str | None) -> str:
    return (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


def _about(text: str) -> str:
    return f'parsing image reference "{text[:200]}"'
