"""The configuration file: its keys, and what each means. docs/configuration.md and its JSON Schema are made of the table here.

The keys of a policy are the fields of `core.policy.Policy`; the others end in members of `Settings`, where flags, events and
variables end too.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ecrsweep.config.accounts import accounts
from ecrsweep.config.grammar import (
    Choice,
    Count,
    Duration,
    Flag,
    Fraction,
    ListOf,
    MapOf,
    Member,
    Scalars,
    Table,
    Text,
    suggestion,
)
from ecrsweep.config.nodes import BadFile, Entries, Items, Node, Problem, Scalar, Told, read_nodes
from ecrsweep.config.settings import check_accepted_gaps, check_state
from ecrsweep.core.errors import BadInput
from ecrsweep.core.names import alias_host, parse_registry
from ecrsweep.core.policy import NewestPer, Order, Otherwise, Policy, matches_any

_ALL: Final = "all"
_WINDOWS: Final = ("pushed_within", "pulled_within", "used_within")
"""The times that 0d switches off, as the flags do."""


class Configuration(msgspec.Struct, frozen=True):
    """What a file says: `settings` by the names of `Settings`, only those that it names; `warnings` as a compiler's lines."""

    name: str
    settings: Mapping[str, Any] = {}
    warnings: tuple[str, ...] = ()

    @property
    def policies(self) -> tuple[Policy, ...] | None:
        """The policies of the file; None where it leaves them to the flags."""
        return self.settings.get("policies")


def read_configuration(raw: bytes, name: str, sources: Sequence[str], beside: Callable[[str], str]) -> Configuration:
    """What a configuration file says.

    `sources` are the names of all there are. `beside` makes of a path in the file one that means the same anywhere.
    Raises `BadFile`, which tells every problem of the file.
    """
    told = Told()
    node = read_nodes(raw, told)
    found = UNSET if node is None else document(sources, beside).read(node, told)
    written = _written_policies(node)
    _check_names(written, told)
    if found is UNSET or told.problems:
        raise BadFile(name, told.problems)
    policies = tuple(_named(found.get("policies", ())))
    _warn_of_the_unreachable(written, policies, told)
    return Configuration(name, found | ({"policies": policies} if policies else {}), tuple(_lines(told.warnings, name)))


def document(sources: Sequence[str], beside: Callable[[str], str] = str) -> Table:
    """The whole file. `sources` and `beside` as in `read_configuration`."""
    return Table(
        {
            "registry": Member(_REGISTRY, "The registries whose images are looked at."),
            "registries": Member(
                accounts(_REGION_OR_ALL, with_regions=True),
                "The accounts whose registries are looked at, where there are several.",
                "the account of the credentials",
            ),
            "consumers": Member(_CONSUMERS, "Where it is asked what is in use."),
            "strict_consumers": Member(
                Flag(), "Whether an account that may pull and is not asked holds what it may pull.", "false: it is told"
            ),
            "sources": Member(_sources(sources, beside), "Who is asked what is in use."),
            "aliases": Member(
                MapOf(
                    Text("a host name such as registry.example.com", _HOST, alias_host),
                    Text("ACCOUNT/REGION, such as 123456789012/eu-west-1", _REGISTRY_WORD, parse_registry),
                    "host names, each with its registry as ACCOUNT/REGION",
                ),
                "Private host names of registries, each with its registry as `ACCOUNT/REGION`.",
                "a name under a host that is neither ECR nor public protects in every registry",
            ),
            "policies": Member(
                ListOf(POLICY, least=1),
                "Tried in this order; the first whose `repositories` match governs a repository, and what none governs is kept.",
                "one policy for all repositories, made of the flags",
            ),
            "limits": Member(_LIMITS, "The brakes on a plan that is larger than expected."),
            "state": Member(
                Text("a folder, or s3://BUCKET/PREFIX", check=lambda text: check_state(beside(text), "")),
                "Where the ledger is kept: a folder, or `s3://BUCKET/PREFIX`.",
                "a folder of this machine",
            ),
            "holds": Member(
                ListOf(_path(beside)),
                "Hold files: images that their owners hold, whatever the policies say. A path or `s3://BUCKET/KEY`.",
                "none",
            ),
        },
        _settings,
    )


def _path(beside: Callable[[str], str]) -> Text:
    return Text("a path, or s3://BUCKET/KEY", check=beside)


def _glob(what: str) -> ListOf:
    return ListOf(Text(f"a glob over whole {what}, such as team/*"), least=1)


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise BadInput(f'"{text}" is not a regular expression: {error}') from error
    return text


def _newest_per(said: dict[str, Any]) -> NewestPer:
    return NewestPer(**said)


def _policy(said: dict[str, Any]) -> Policy:
    said = {name: value or None if name in _WINDOWS else value for name, value in said.items()}
    if "order" in said:
        said["order"] = Order(said["order"])
    if "otherwise" in said:
        said["otherwise"] = Otherwise(said["otherwise"])
    return Policy(**said)


_HOST: Final = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$"
_REGISTRY_WORD: Final = r"^[0-9]{12}/[a-z0-9-]+$"
_REGION: Final = Text("the name of a region, such as eu-west-1", r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$")
_REGION_OR_ALL: Final = Text("the name of a region, such as eu-west-1, or all", r"^(all|[a-z]{2,}(-[a-z]+)+-[0-9]+)$")
_GAP: Final = r"^[a-z][a-z0-9_.-]*(:[A-Za-z0-9_.-]+)?(@[0-9]{12})?(/[a-z0-9-]+)?$"

_REGISTRY: Final = Table(
    {
        "account": Member(
            Text("an account of 12 digits in quotes", r"^[0-9]{12}$"),
            "The account, 12 digits in quotes: with credentials of another one nothing is done.",
            "that of the credentials",
        ),
        "regions": Member(
            ListOf(_REGION_OR_ALL, least=1), "Regions of the registries, or `all`. `--region`.", "that of the profile"
        ),
        "repositories": Member(
            _glob("repository names"), "Only repositories that match one of these globs. `--repository`.", "all"
        ),
    }
)

_CONSUMERS: Final = Table(
    {
        "regions": Member(
            ListOf(_REGION_OR_ALL, least=1),
            "Ask only here what is in use. `--consumer-region`.",
            "all that are switched on, because workloads pull across regions",
        ),
        "accounts": Member(
            accounts(_REGION_OR_ALL, with_regions=False),
            "The accounts that are asked, where there are several. An image of one account may run in another.",
            "those of `registries`",
        ),
    }
)

_LIMITS: Final = Table(
    {
        "max_fraction": Member(
            Fraction(),
            "Hold a repository of which more than this fraction would go; 1 is no limit. `--max-fraction`.",
            "0.5",
        ),
        "fraction_from": Member(
            Count(), "Only repositories of more images than this are held by `max_fraction`.", "20"
        ),
        "max_images": Member(Count(), "Hold the run if more images would go. `--max-images`.", "no limit"),
        "max_bytes": Member(Count(), "Hold the run if more bytes would go. `--max-bytes`.", "no limit"),
        "max_images_per_registry": Member(
            Count(),
            "Hold a registry (an account's in a region) if more images of it would go. `--max-images-per-registry`.",
            "no limit",
        ),
        "max_bytes_per_registry": Member(
            Count(), "Hold a registry if more bytes of it would go. `--max-bytes-per-registry`.", "no limit"
        ),
    }
)

POLICY: Final = Table(
    {
        "name": Member(Text("a name"), "What reports call it.", "default"),
        "repositories": Member(_glob("repository names"), "Globs over whole names of repositories.", '["*"]'),
        "newest": Member(Count(), "Keep the newest N tagged artifacts of a repository.", "100"),
        "newest_per": Member(
            ListOf(
                Table(
                    {
                        "pattern": Member(
                            Text("a regular expression with a named group", check=_regular_expression),
                            "A regular expression, searched for in tags; its named groups make the groups.",
                            required=True,
                        ),
                        "newest": Member(Count(), "How many of each group.", required=True),
                    },
                    _newest_per,
                )
            ),
            "Keep the newest N of each group of tags besides, such as `^(?P<branch>main|release)-`.",
            "none",
        ),
        "order": Member(
            Choice(tuple(word.value for word in Order)),
            "What newest means: by push time, or by the highest version among the tags.",
            "pushed",
        ),
        "pushed_within": Member(Duration(may_be_off=True), "Keep what was pushed within this time.", "off"),
        "pulled_within": Member(Duration(may_be_off=True), "Keep what was pushed or pulled within this time.", "30d"),
        "used_within": Member(
            Duration(may_be_off=True), "Keep what an earlier run saw in use within this time.", "30d"
        ),
        "protected_tags": Member(
            ListOf(Text("a glob over whole tags, such as release-*")),
            "Globs over whole tags: what carries such a tag is kept. A list of your own replaces the default.",
            "[latest]",
        ),
        "protected_tag_regexes": Member(
            ListOf(Text("a regular expression", check=_regular_expression)),
            "Regular expressions, searched for in tags: what carries such a tag is kept.",
            "none",
        ),
        "untagged_for": Member(Duration(), "Keep untagged artifacts for this time after their push.", "14d"),
        "grace": Member(Duration(), "Keep everything for this time after its push: it may not be deployed yet.", "1d"),
        "otherwise": Member(
            Choice(tuple(word.value for word in Otherwise)),
            "What becomes of the rest. `trial` archives it first, and deletes what nothing has missed for `trial_for`.",
            "delete",
        ),
        "trial_for": Member(Duration(), "How long a trial lasts.", "30d"),
        "delete_after_archived": Member(
            Duration(may_be_off=True), "Delete what has been archived for this time; not beside a trial.", "off: never"
        ),
        "untag": Member(
            ListOf(Text("a glob over whole tags, such as pr-*")),
            "Globs over whole tags: such tags are taken off images that stay.",
            "none",
        ),
        "opt_in_tag": Member(
            Text("KEY or KEY=VALUE"), "A tag, `KEY` or `KEY=VALUE`, that a repository must have to be governed.", "none"
        ),
    },
    _policy,
)
"""One policy: every field of `core.policy.Policy`, under its name."""


def _sources(known: Sequence[str], beside: Callable[[str], str]) -> Table:
    def named(text: str) -> str:
        if text not in known:
            raise BadInput(f'there is no source "{text}"{suggestion(text, known) or ";"} there are {", ".join(known)}')
        return text

    def with_colon(text: str) -> str:
        """One of the files or commands may be named besides a source: `file:hosts.txt`."""
        named(text.partition(":")[0])
        return text

    def accepted(text: str) -> str:
        return check_accepted_gaps([text], "accepted")[0]

    gap = ListOf(Text("SOURCE[@ACCOUNT][/REGION], such as ecs/eu-west-1", _GAP, accepted))
    return Table(
        {
            "skip": Member(
                ListOf(Text("the name of a source", check=with_colon)), "Not asked. `--skip-source`.", "none"
            ),
            "with": Member(
                ListOf(Text("the name of a source", check=named)),
                "Asked too, though off by default. `--with-source`.",
                "none",
            ),
            "options": Member(
                MapOf(
                    Text("the name of a source", check=named),
                    MapOf(Text("the name of an option"), Scalars(), "options with their values"),
                    "sources, each with its options",
                ),
                "Options of sources: `cloudtrail: {days: 30}`. `--source-option`. Paths in them are those of the machine.",
                "none",
            ),
            "uses_files": Member(
                ListOf(_path(beside)),
                "Files of further images in use; a path, `s3://BUCKET/KEY`, or `-` for standard input. `--uses-file`.",
                "none",
            ),
            "uses_commands": Member(
                ListOf(Text("a command")), "Commands that print further images in use. `--uses-command`.", "none"
            ),
            "accept_gaps": Member(gap, "Go ahead although these cannot be read. `--accept-gap`.", "none"),
            "accept_drops": Member(gap, "Go ahead although these tell far less than before. `--accept-drop`.", "none"),
        }
    )


_NAMES: Final = {
    ("registry", "account"): "account",
    ("registry", "regions"): "regions",
    ("registry", "repositories"): "repositories",
    ("consumers", "regions"): "consumer_regions",
    ("consumers", "accounts"): "consumers",
    ("sources", "skip"): "skip_sources",
    ("sources", "with"): "with_sources",
    ("sources", "options"): "source_options",
    ("sources", "uses_files"): "uses_files",
    ("sources", "uses_commands"): "uses_commands",
    ("sources", "accept_gaps"): "accept_gaps",
    ("sources", "accept_drops"): "accept_drops",
    ("limits", "max_fraction"): "max_fraction",
    ("limits", "fraction_from"): "fraction_from",
    ("limits", "max_images"): "max_images",
    ("limits", "max_bytes"): "max_bytes",
    ("limits", "max_images_per_registry"): "max_images_per_registry",
    ("limits", "max_bytes_per_registry"): "max_bytes_per_registry",
}
"""Where what stands under a key ends in `Settings`."""


def _settings(said: dict[str, Any]) -> dict[str, Any]:
    """What the file says, by the names of `Settings`."""
    found = {name: said[table][key] for (table, key), name in _NAMES.items() if key in said.get(table, {})}
    if "source_options" in found:
        options = found["source_options"].items()
        found["source_options"] = tuple(
            f"{name}.{key}={value}" for name, some in options for key, value in some.items()
        )
    renamed = {
        "registries": "registries",
        "strict_consumers": "strict_consumers",
        "aliases": "aliases",
        "policies": "policies",
        "state": "state",
        "holds": "hold_files",
    }
    return found | {name: said[key] for key, name in renamed.items() if key in said}


def _written_policies(node: Node | None) -> tuple[Node, ...]:
    """The nodes of the policies, as far as there are such."""
    entries = node.values if isinstance(node, Entries) else ()
    found = next((value for key, value in entries if key.text == "policies"), None)
    return found.values if isinstance(found, Items) else ()


def _check_names(written: Sequence[Node], told: Told) -> None:
    """Two policies of one name could not be told apart, in reports and by `--policy`."""
    names: dict[str, int] = {}
    for policy in written:
        for key, value in policy.values if isinstance(policy, Entries) else ():
            if key.text != "name" or not isinstance(value, Scalar):
                continue
            if value.text in names:
                told.problem(value, f'another policy is named "{value.text}", on line {names[value.text]}')
            names.setdefault(value.text, value.place.line)


def _named(policies: Sequence[Policy]) -> Iterator[Policy]:
    """Where there are several, those without a name are called by their place in the list."""
    for number, policy in enumerate(policies):
        unnamed = policy.name == Policy().name and len(policies) > 1
        yield msgspec.structs.replace(policy, name=f"policies[{number}]") if unnamed else policy


def _warn_of_the_unreachable(written: Sequence[Node], policies: Sequence[Policy], told: Told) -> None:
    """A policy governs nothing where an earlier one matches all that it matches: told only where that is certain."""
    for number, (here, policy) in enumerate(zip(written, policies, strict=True)):
        for earlier in policies[:number]:
            if earlier.opt_in_tag is None and all(_covers(earlier.repositories, glob) for glob in policy.repositories):
                told.warning(
                    here,
                    f'the policy "{policy.name}" governs nothing: "{earlier.name}" stands before it and matches all that it '
                    "matches, and the first that matches governs",
                )
                break


def _covers(globs: Sequence[str], other: str) -> bool:
    """True where it is certain that one of the globs matches whatever `other` matches."""
    if not set(other) & set("*?["):
        return matches_any(globs, other)
    return any(_is_wider(glob, other) for glob in globs)


def _is_wider(glob: str, other: str) -> bool:
    """`team/*` is wider than `team/app-*`: the same up to its only wildcard, a star at its end."""
    stem = glob.removesuffix("*")
    fixed = re.split(r"[*?[]", other, maxsplit=1)[0]
    return glob == other or (glob.endswith("*") and not set(stem) & set("*?[") and fixed.startswith(stem))


def _lines(problems: Sequence[Problem], name: str) -> Iterator[str]:
    return (problem.line(name) for problem in sorted(problems))
