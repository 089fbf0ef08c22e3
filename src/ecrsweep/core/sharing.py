"""Who else may pull from a registry, read off the policies of its repositories, its own policy and its replication rules.

Those are consumers that nobody may have listed. What a statement says is read to the safe side: a condition narrows only
where it names accounts or an organisation for certain, and what denies is left aside, so that one may be told too many of
them and never too few. Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html,
registry policies: https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions.html
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import product
from typing import Any, Final

import msgspec

from ecrsweep.core.errors import PolicyUnreadable
from ecrsweep.core.names import Registry

CONSUMERS_SOURCE: Final = "consumers"
"""The word in coverage for who else may pull, by the policies of registries and repositories."""

EVERYTHING: Final = "*"

_PULLING: Final = ("ecr:batchgetimage", "ecr:getdownloadurlforlayer", "ecr:batchimportupstreamimage")
"""What lets one have an image of a repository; the last by a pull through the cache."""
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_ORGANIZATION: Final = re.compile(r"o-[a-z0-9]{10,32}")
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}")
_ACCOUNT_KEYS: Final = frozenset({"aws:principalaccount", "aws:sourceaccount"})
_ARN_KEYS: Final = frozenset({"aws:principalarn", "aws:sourcearn"})
_ORGANIZATION_KEYS: Final = frozenset({"aws:principalorgid", "aws:sourceorgid"})
_TOLD_KEYS: Final = _ACCOUNT_KEYS | _ARN_KEYS | _ORGANIZATION_KEYS | {"aws:principalorgpaths", "aws:sourceorgpaths"}
_NARROWING: Final = frozenset({"stringequals", "stringlike", "arnequals", "arnlike"})
"""Operators that hold for these values alone. With `IfExists` they hold where the key is absent too: that narrows nothing."""
_ACCOUNT_FIELD: Final = 4
"""Of the six fields of an ARN."""


class Kind(StrEnum):
    """What a consumer is."""

    ACCOUNT = "account"
    ORGANIZATION = "organization"
    SERVICE = "service"
    ANYBODY = "anybody"
    OTHER = "other"


class Consumer(msgspec.Struct, frozen=True):
    """Somebody who may pull, by one statement. `repositories` are globs with `*` and `?`.

    `account` is the one account that this is, or works for; None where it may be of any. `name` is the account's number, the
    id of an organisation, the name of a service or what else the policy writes, and "" for anybody.
    """

    kind: Kind
    name: str
    repositories: tuple[str, ...]
    told_by: str
    account: str | None = None
    conditions: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What it may do, and who says so."""
        narrowed = f", if {' and '.join(self.conditions)}" if self.conditions else ""
        return f"{self.who} may pull {', '.join(self.repositories)}{narrowed} ({self.told_by})"

    @property
    def who(self) -> str:
        """Who it is, in words."""
        match self.kind:
            case Kind.ACCOUNT:
                return f"account {self.name}"
            case Kind.ORGANIZATION:
                return f"every account of the organisation {self.name}"
            case Kind.SERVICE:
                return f"{self.name} of {'any account' if self.account is None else f'account {self.account}'}"
            case Kind.ANYBODY:
                return "anybody"
            case Kind.OTHER:
                return f"{self.name} (of whatever account)" if self.account is None else self.name

    def reaches(self, repository: str) -> bool:
        """Whether this is about a repository."""
        return _is_among(repository, self.repositories)


class Replica(msgspec.Struct, frozen=True, order=True):
    """A registry that gets a copy of whatever is pushed to some repositories: `repositories` are globs."""

    registry: Registry
    repositories: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What goes where."""
        return f"{', '.join(self.repositories)} replicated to {self.registry.region} of account {self.registry.account}"

    def reaches(self, repository: str) -> bool:
        """Whether a repository is replicated."""
        return _is_among(repository, self.repositories)


class _Narrowed(msgspec.Struct, frozen=True):
    """What the conditions of a statement narrow its principals to; empty where they leave them as they are."""

    accounts: tuple[str, ...]
    organizations: tuple[str, ...]
    words: tuple[str, ...]


class _Principal(msgspec.Struct, frozen=True):
    kind: Kind
    name: str
    account: str | None = None


def of_repository(name: str, policy: str) -> tuple[Consumer, ...]:
    """Whom the policy of a repository, as JSON, lets pull. Raises `PolicyUnreadable`."""
    return _consumers(policy, f"the policy of repository {name}", name)


def of_registry(policy: str) -> tuple[Consumer, ...]:
    """Whom the policy of a registry, as JSON, lets pull from its repositories. Raises `PolicyUnreadable`.

    Who may replicate into the registry is none of them: that brings images, and takes none.
    """
    return _consumers(policy, "the registry policy", None)


def replicas(rules: Iterable[Mapping[str, Any]]) -> tuple[Replica, ...]:
    """Where replication rules, as DescribeRegistry tells them, send images; a rule without filters sends all.

    Raises `PolicyUnreadable`.
    """
    try:
        found = {
            Replica(Registry(target["registryId"], target["region"]), _sent(rule))
            for rule in rules
            for target in rule["destinations"]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise PolicyUnreadable(f"The replication rules are not written as ECR documents: {error!r}") from error
    return tuple(sorted(found))


def unlisted(consumers: Iterable[Consumer], asked: Container[str]) -> tuple[Consumer, ...]:
    """Those of them that are not, for certain, one of the accounts that are asked."""
    return tuple(consumer for consumer in consumers if consumer.account is None or consumer.account not in asked)


def _sent(rule: Mapping[str, Any]) -> tuple[str, ...]:
    filters = rule.get("repositoryFilters") or ()
    # PREFIX_MATCH is the one type there is; any other is taken for everything.
    globs = {one["filter"] + "*" if one["filterType"] == "PREFIX_MATCH" else EVERYTHING for one in filters}
    return tuple(sorted(globs)) if globs and EVERYTHING not in globs else (EVERYTHING,)


def _consumers(policy: str, told_by: str, repository: str | None) -> tuple[Consumer, ...]:
    try:
        statements = _listed(msgspec.json.decode(policy, type=dict[str, Any])["Statement"], dict)
        return tuple(
            dict.fromkeys(
                consumer
                for number, statement in enumerate(statements, 1)
                for consumer in _allowed(
                    statement, f"{told_by}, statement {statement.get('Sid') or number}", repository
                )
            )
        )
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise PolicyUnreadable(f"Nobody can tell whom {told_by} lets pull: it cannot be read ({error!r})") from error


def _allowed(statement: Mapping[str, Any], told_by: str, repository: str | None) -> Iterator[Consumer]:
    effect = statement["Effect"]
    if effect not in {"Allow", "Deny"}:
        raise TypeError(f"Effect {effect!r}")
    if effect == "Deny" or not _pulls(statement):
        return
    globs = (repository,) if repository is not None else _named_in(statement)
    narrowed = _narrowed(statement.get("Condition", {}))
    for principal in _principals(statement):
        for kind, name, account in _as_narrowed(principal, narrowed):
            yield Consumer(kind, name, globs, told_by, account, narrowed.words)


def _pulls(statement: Mapping[str, Any]) -> bool:
    if "NotAction" in statement:
        return True
    actions = _listed(statement["Action"], str)
    return any(_matches(action.lower(), one) for action, one in product(actions, _PULLING))


def _principals(statement: Mapping[str, Any]) -> Iterator[_Principal]:
    if "NotPrincipal" in statement:
        yield _Principal(Kind.ANYBODY, "")
        return
    principal = statement["Principal"]
    if principal == EVERYTHING:
        yield _Principal(Kind.ANYBODY, "")
        return
    if not isinstance(principal, dict) or not principal:
        raise TypeError(f"Principal {principal!r}")
    for kind, value in principal.items():
        for name in _listed(value, str):
            yield _principal(kind, name)


def _principal(kind: str, name: str) -> _Principal:
    if name == EVERYTHING:
        return _Principal(Kind.ANYBODY, "")
    if kind == "Service":
        return _Principal(Kind.SERVICE, name)
    account = name if _ACCOUNT.fullmatch(name) else _account_of(name)
    if kind == "AWS" and account is not None:
        return _Principal(Kind.ACCOUNT, account, account)
    # Federated users; and what AWS leaves of a principal that was deleted: its unique id.
    return _Principal(Kind.OTHER, name, account)


def _as_narrowed(principal: _Principal, narrowed: _Narrowed) -> Iterator[tuple[Kind, str, str | None]]:
    """What a principal comes to under conditions: those only take away, so that whom it names already is not changed."""
    if principal.account is not None or not (narrowed.accounts or narrowed.organizations):
        yield principal.kind, principal.name, principal.account
    elif principal.kind is not Kind.ANYBODY:
        for account in narrowed.accounts or (None,):
            yield principal.kind, principal.name, account
    elif narrowed.accounts:
        for account in narrowed.accounts:
            yield Kind.ACCOUNT, account, account
    else:
        for organization in narrowed.organizations:
            yield Kind.ORGANIZATION, organization, None


def _narrowed(conditions: Mapping[str, Mapping[str, Any]]) -> _Narrowed:
    accounts: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    words = []
    for operator, wanted in sorted(conditions.items()):
        for key, value in sorted(wanted.items()):
            if key.lower() not in _TOLD_KEYS:
                continue
            values = _listed(value, str)
            words.append(f"{key} {operator} {' or '.join(values)}")
            if operator.lower() in _NARROWING and values:
                accounts = accounts or _accounts(key.lower(), operator.lower(), values)
                organizations = organizations or _organizations(key.lower(), values)
    return _Narrowed(accounts, organizations, tuple(words))


def _accounts(key: str, operator: str, values: Sequence[str]) -> tuple[str, ...]:
    """The accounts that a condition names, if it names nothing but accounts."""
    if key in _ACCOUNT_KEYS:
        found = [value if _ACCOUNT.fullmatch(value) else None for value in values]
    elif key in _ARN_KEYS:
        found = [_account_of(value, by_field=operator.startswith("arn")) for value in values]
    else:
        return ()
    return tuple(sorted({account for account in found if account})) if None not in found else ()


def _organizations(key: str, values: Sequence[str]) -> tuple[str, ...]:
    named = key in _ORGANIZATION_KEYS and all(_ORGANIZATION.fullmatch(value) for value in values)
    return tuple(sorted(set(values))) if named else ()


def _account_of(arn: str, *, by_field: bool = False) -> str | None:
    """The account in an ARN; None for what is no ARN, and for one that may be of several.

    Unless it is compared field `by_field`, a `*` before the account may swallow colons, so that what it matches has the
    number elsewhere.
    """
    fields = arn.split(":", 5)
    if len(fields) <= _ACCOUNT_FIELD + 1 or fields[0] != "arn":
        return None
    certain = by_field or "*" not in "".join(fields[:_ACCOUNT_FIELD])
    return fields[_ACCOUNT_FIELD] if certain and _ACCOUNT.fullmatch(fields[_ACCOUNT_FIELD]) else None


def _named_in(statement: Mapping[str, Any]) -> tuple[str, ...]:
    """The repositories of a statement of a registry policy. What is not the plain ARN of repositories is all of them."""
    if "NotResource" in statement:
        return (EVERYTHING,)
    named = (_VARIABLE.sub("*", arn).partition(":repository/") for arn in _listed(statement["Resource"], str))
    globs = {glob or EVERYTHING for _, _, glob in named}
    return (EVERYTHING,) if EVERYTHING in globs else tuple(sorted(globs))


def _is_among(name: str, globs: Iterable[str]) -> bool:
    return any(_matches(glob, name) for glob in globs)


def _matches(glob: str, text: str) -> bool:
    return _pattern(glob).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> re.Pattern[str]:
    """IAM's globs have `*` and `?`, and no brackets."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(char, re.escape(char)) for char in re.sub(r"\*+", "*", glob)), re.DOTALL)


def _listed(value: Any, kind: type) -> list[Any]:  # noqa: ANN401 - JSON
    """A value of a policy as the list that it may be written as. Raises `TypeError` for any other kind of value."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, kind) for one in values):
        raise TypeError(f"{value!r}")
    return values
