"""Names: what each form means, what is no name, and that printing is the inverse of parsing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrsweep.core.errors import BadName
from ecrsweep.core.names import (
    AliasReference,
    EcrReference,
    ForeignReference,
    Registry,
    Repository,
    UnreadableReference,
    parse_own_reference,
    parse_reference,
    private_registry,
)

A = "123456789012"
D = "sha256:" + "a" * 64
EAST = Registry(A, "us-east-1")
APP = Repository(EAST, "team/app")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (f"{A}.dkr.ecr.us-east-1.amazonaws.com", "us-east-1"),
        (f"{A}.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        (f"{A}.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
        (f"{A}.dkr-ecr-fips.us-east-2.on.aws", "us-east-2"),
        (f"{A}.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        (f"{A}.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn", "cn-northwest-1"),
        (f"{A}.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        (f"{A}.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        (f"{A}.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
        (f"{A}.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
        (f"{A}.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
        (f"{A}.DKR.ECR.us-east-1.amazonaws.com:443", "us-east-1"),
    ],
)
def test_every_host_of_a_registry_is_that_registry(host: str, region: str) -> None:
    assert private_registry(host) == Registry(A, region)
    assert parse_reference(f"{host}/team/app:v1") == EcrReference(Repository(Registry(A, region), "team/app"), "v1")


@pytest.mark.parametrize(
    "host",
    [
        "12345.dkr.ecr.us-east-1.amazonaws.com", f"{A}.dkr.ecr.us-east-1.amazonaws.com.evil.example",
        f"{A}.ecr.us-east-1.amazonaws.com", "vpce-1.dkr.ecr.us-east-1.vpce.amazonaws.com", f"{A}.dkr-ecr.us-east-1.amazonaws.com",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_registry_is_a_possible_alias(host: str) -> None:
    assert private_registry(host) is None
    assert parse_reference(f"{host}/team/app:v1") == AliasReference(host, "team/app", "v1")


@pytest.mark.parametrize("scheme", ["", "https://", "http://", "docker://", "docker-pullable://", "oci://"])
@pytest.mark.parametrize(
    ("ending", "tag", "digest"),
    [("", "latest", None), (":v1", "v1", None), (f"@{D}", None, D), (f":v1@{D}", "v1", D), (f"@{D.upper()}", None, D)],
)
def test_every_form_of_a_name(scheme: str, ending: str, tag: str | None, digest: str | None) -> None:
    assert parse_reference(f"{scheme}{APP.uri}{ending}") == EcrReference(APP, tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "nginx", "nginx:1.27", "library/nginx", "team/app@" + D, "docker.io/library/nginx", "ghcr.io/a/b:c", "quay.io/a/b",
        "public.ecr.aws/nginx/nginx:1", "registry.k8s.io/pause:3.9", "europe-docker.pkg.dev/p/r/i:1", "eu.gcr.io/p/i", D,
        "docker://" + D,
    ],
)  # fmt: skip
def test_public_registries_names_without_host_and_bare_digests_are_foreign(text: str) -> None:
    assert parse_reference(text) == ForeignReference(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (f"{APP.uri}:{'x' * 129}", "longer than 128"),
        (f"{APP.uri}@nodigest", "not a digest"),
        (f"{APP.uri}:${{TAG}}", "character"),
        ("two words", "no repository name"),
        (f"{EAST.host}/:v1", "no repository name"),
        ("x" * 5000, "longer than any"),
    ],
)
def test_what_breaks_the_grammar_is_unreadable_and_says_why(text: str, why: str) -> None:
    found = parse_reference(text)
    assert isinstance(found, UnreadableReference)
    assert why in found.why


def test_a_digest_in_an_unreadable_name_is_not_lost() -> None:
    found = parse_reference(f"what ${{EVER}}@{D}")
    assert isinstance(found, UnreadableReference)
    assert found.digests == (D,)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("team/app:v1", EcrReference(APP, "v1")),
        ("team/app", EcrReference(APP, None)),
        ("app@sha256:abc", EcrReference(Repository(EAST, "app"), None, "sha256:abc")),
        (f"{APP.uri}:v1", EcrReference(APP, "v1")),
    ],
)
def test_a_name_that_a_user_types_may_leave_the_host_out(typed: str, meant: EcrReference) -> None:
    assert parse_own_reference(typed, EAST) == meant


def test_a_name_that_a_user_types_must_be_of_ecr() -> None:
    with pytest.raises(BadName):
        parse_own_reference("ghcr.io/a/b:c", EAST)


COMPONENT = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)?", fullmatch=True)
REGIONS = st.sampled_from(
    ["us-east-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1"]
)
REFERENCES = st.builds(
    EcrReference,
    st.builds(
        Repository,
        st.builds(Registry, st.from_regex(r"[0-9]{12}", fullmatch=True), REGIONS),
        st.lists(COMPONENT, min_size=1, max_size=4).map("/".join),
    ),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}", fullmatch=True),
    st.none() | st.just(D),
)


@given(REFERENCES)
def test_printing_is_the_inverse_of_parsing(reference: EcrReference) -> None:
    assert parse_reference(str(reference)) == reference


@given(st.text() | st.from_regex(r"([a-z0-9.:/@-]|sha256:)*", fullmatch=True))
def test_nothing_that_anybody_writes_raises(text: str) -> None:
    assert str(parse_reference(text)) is not None
