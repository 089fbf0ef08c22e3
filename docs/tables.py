"""Makes the tables of the documents that are made of the code; `--check` only tells whether they are up to date."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from ecrsweep.aws import bucket
from ecrsweep.aws.ecr import OWNERS_ACTIONS, READ_ACTIONS, SHARING_ACTIONS
from ecrsweep.config.file import document
from ecrsweep.config.grammar import Choice, Count, Duration, Flag, Fraction, Kind, ListOf, MapOf, Member, Table, Text
from ecrsweep.sources import OWN
from ecrsweep.wiring.grants import statement
from ecrsweep.wiring.policies import BESIDES_READING, DECIDING, REGIONS_ACTIONS, WITHOUT_PERMISSION, kind_of

DOCS: Final = Path(__file__).parent
BEGIN: Final = "<!-- the table is made of the sources themselves: make tables -->\n"
END: Final = "<!-- end -->\n"
POLICY_OF_THE_POST: Final = frozenset(
    {
        "ecr:BatchDeleteImage", "ecr:DescribeImages", "ecr:DescribeRepositories", "ecs:DescribeClusters",
        "ecs:DescribeTaskDefinition", "ecs:DescribeTasks", "ecs:ListClusters", "ecs:ListTaskDefinitions", "ecs:ListTasks",
    }
)  # fmt: skip


def sources_table() -> str:
    """One row a source of this package."""
    rows = [
        "| source | system | calls | IAM actions | what is kept | what cannot be known |",
        "|---|---|---|---|---|---|",
    ]
    for name, make in sorted(OWN.items()):
        source = make()
        about = source.about
        off = "" if about.by_default else f" (with `{about.flag}` only)"
        actions = ", ".join(f"`{action}`" for action in source.actions) or "none"
        calls = about.calls + ("" if about.bulk else " (a call an item)")
        rows.append(f"| `{name}`{off} | {about.system} | {calls} | {actions} | {about.keeps} | {about.unknowable} |")
    return "\n".join(rows) + "\n"


def permissions_table() -> str:
    """One row an action of the policies."""
    wanted = dict.fromkeys(REGIONS_ACTIONS, "regions") | dict.fromkeys(READ_ACTIONS, "the registry")
    wanted |= dict.fromkeys(bucket.ACTIONS, "`--bucket`")
    asking: dict[str, list[str]] = {action: [who] for action, who in wanted.items()}
    for purpose, statements in BESIDES_READING.items():
        deciding = (*OWNERS_ACTIONS, *SHARING_ACTIONS) if purpose in DECIDING else ()
        for action in (*deciding, *(action for _, actions in statements for action in actions)):
            asking.setdefault(action, []).append(f"`--for {purpose}`")
    for name, make in sorted(OWN.items()):
        for action in make().actions:
            asking.setdefault(action, []).append(f"`{name}`")
    rows = ["| action | decided on | needed by |", "|---|---|---|"]
    for action, who in sorted(asking.items()):
        if action in WITHOUT_PERMISSION:
            continue
        decided = ", ".join(f"`{_filled(end)}`" for end in kind_of(action).ends) or "anything"
        rows.append(f"| `{action}` | {decided} | {', '.join(who)} |")
    return "\n".join(rows) + "\n"


def _filled(end: str) -> str:
    return end.replace("{repository}", "PATTERN").replace("{bucket}", "BUCKET").replace("{role}", "ROLE")


def statement_for_the_post() -> str:
    """The policy statement that the policy of the AWS post lacks."""
    needed = {*REGIONS_ACTIONS, *READ_ACTIONS, *OWNERS_ACTIONS, *SHARING_ACTIONS}
    needed |= {action for make in OWN.values() if make().about.by_default for action in make().actions}
    return f"```json\n{statement(sorted(needed - POLICY_OF_THE_POST - WITHOUT_PERMISSION))}\n```\n"


def configuration_tables() -> str:
    """One table a part of the configuration file, one row a key."""
    parts: dict[str, list[str]] = {part: [] for part in (_ASKED, _KEPT, _REST)}
    for key, member in _members(document(sorted(OWN)), ""):
        default = f"`{member.default}`" if member.default and _is_literal(member.default) else member.default or ""
        cells = (f"`{key}`", _accepts(member.kind), "required" if member.required else default, member.about)
        part = _PARTS.get(key.partition(".")[0].removesuffix("[]"), _REST)
        parts[part].append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    head = "| key | accepted | default | meaning |\n|---|---|---|---|\n"
    return "\n".join(f"### {part}\n\n{head}" + "\n".join(rows) + "\n" for part, rows in parts.items())


_ASKED: Final = "Registries, consumers and sources"
_KEPT: Final = "Policies"
_REST: Final = "Aliases, limits, state and holds"
_PARTS: Final = {
    "registry": _ASKED,
    "registries": _ASKED,
    "strict_consumers": _ASKED,
    "consumers": _ASKED,
    "sources": _ASKED,
    "policies": _KEPT,
}


def _members(table: Table, before: str) -> Iterator[tuple[str, Member]]:
    """Every key with its whole path, but for those that only hold other keys."""
    for name, member in table.members.items():
        kind = member.kind
        inside = kind.kind if isinstance(kind, ListOf) else kind
        if inside is not kind or not isinstance(inside, Table):
            yield f"{before}{name}", member
        if isinstance(inside, Table):
            yield from _members(inside, f"{before}{name}{'[]' if isinstance(kind, ListOf) else ''}.")


def _accepts(kind: Kind) -> str:
    """What a kind of value accepts, in words."""
    match kind:
        case ListOf(kind=Table()):
            return "a list of the following"
        case ListOf():
            return f"a list of: {_accepts(kind.kind)}"
        case Choice():
            return ", ".join(f"`{word}`" for word in kind.words)
        case Duration():
            return "a duration such as `30d` or `12h`" + (", or `off`" if kind.may_be_off else "")
        case Count():
            return "a whole number"
        case Flag():
            return "`true` or `false`"
        case Fraction():
            return "a number from 0 to 1"
        case Text() | MapOf():
            return kind.accepts
    raise AssertionError(kind)


def _is_literal(default: str) -> bool:
    """True for what can be written in a file as it is; the others are words."""
    return default[0] in '["' or default[0].isdigit() or default in {"default", "delete", "pushed", "off"}


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration_tables,
    "iam.md": permissions_table,
    "migrating.md": statement_for_the_post,
    "sources.md": sources_table,
}


def main() -> int:
    """Write, or with `--check` compare; 1 where something is not up to date."""
    stale = []
    for name, table in TABLES.items():
        file = DOCS / name
        text = file.read_text()
        before, rest = text.split(BEGIN)
        new = before + BEGIN + table() + END + rest.split(END, 1)[1]
        if new != text:
            stale.append(name)
            if "--check" not in sys.argv:
                file.write_text(new)
    if stale and "--check" in sys.argv:
        print(f"not up to date: {', '.join(stale)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
