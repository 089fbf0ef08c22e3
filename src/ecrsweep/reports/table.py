"""Plans, applies, uses and explanations for people, on a terminal or in a log.

A table is laid out once all its rows are there; rows are sums, so a million images make no long table.
Whatever comes from outside goes through `printable`: a tag can hold an escape sequence, a plan file anything.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ecrsweep.core.decisions import EXPLANATIONS, Action, Code, Decision, Reason
from ecrsweep.core.document import Footer, Header
from ecrsweep.core.images import Status
from ecrsweep.core.outcomes import CHANGED, ApplyResult, Outcome, Result
from ecrsweep.core.plan import Explanation, Missed, RepositoryPlan, Summary
from ecrsweep.core.policy import Order, Otherwise, Policy, format_duration
from ecrsweep.core.prices import Prices
from ecrsweep.core.savings import Savings, Sizes
from ecrsweep.core.times import rfc3339
from ecrsweep.core.unexplained import unexplained_row
from ecrsweep.core.uses import Coverage, Sighting, Use
from ecrsweep.reports.savings import (
    archive_lines,
    archived_bytes,
    archived_cell,
    blind_window,
    deleted_cell,
    going_bytes,
    savings_lines,
    sizes_line,
)
from ecrsweep.reports.words import OVERRIDDEN, counted, coverage_lines, printable, size

_STYLES: Final = {
    Action.KEEP: "green", Action.DELETE: "red", Action.ARCHIVE: "yellow", Action.HOLD: "yellow", Action.UNTAG: "green",
}  # fmt: skip
_SHOWN: Final = 10
_SHORT_DIGEST: Final = 19
_WIDE: Final = 10_000


def console(out: TextIO, color: str) -> Console:
    """A console that never cuts a name short: without a terminal, lines are as long as they need to be.

    `color` is auto, on or off; auto colours on a terminal only, and `NO_COLOR` is respected.
    """
    terminal = {"on": True, "off": False}.get(color)
    width = None if out.isatty() else _WIDE
    return _Paper(
        file=out, force_terminal=terminal, no_color=color == "off" or None, width=width, highlight=False, markup=False,
        emoji=False, soft_wrap=True,
    )  # fmt: skip


class _Paper(Console):
    """On a terminal, sentences go on in the next line at a word. What is to be copied stays a line.

    That is what is indented, what has a word that no line could hold, such as the name of an image, and where `soft_wrap` says so.
    """

    def print(self, *objects: Any, soft_wrap: bool | None = None, **how: Any) -> None:  # noqa: ANN401 - as rich has it
        """As in rich."""
        told = objects[0] if objects else None
        if soft_wrap is None and isinstance(told, str | Text) and self.file.isatty() and not str(told).startswith(" "):
            soft_wrap = any(len(word) > self.width for word in str(told).split())
        super().print(*objects, soft_wrap=soft_wrap, **how)


class PlanTable:
    """A plan for people: a line a repository, then totals, evidence and what to do next (`reports.PlanReport`)."""

    def __init__(self, out: Console, *, verbose: bool = False, prices: Prices | None = None) -> None:
        """`verbose` also shows every image, as the repositories come. With `prices` it tells what archiving costs."""
        self._out = out
        self._prices = prices
        self._verbose = verbose
        self._rows: list[tuple[RepositoryPlan, Summary]] = []
        self._accounts: set[str] = set()
        self._regions: set[str] = set()
        self._past = False
        self._header: Header | None = None

    def begin(self, header: Header) -> None:
        """Say about what, and under which rules: with the table, unless images come before that, because progress is shown meanwhile."""
        self._header = header
        if self._verbose:
            self._introduce(header)

    def _introduce(self, header: Header) -> None:
        scope = header.scope
        self._past = header.policy_at is not None
        then = "" if header.policy_at is None else f" as of {rfc3339(header.policy_at)}"
        self._out.print(Text(f"Plan for {scope.described}{then}", style="bold"))
        if self._past:
            self._out.print(
                "From push and pull times alone: what was in use then is not known, an image pulled later counts as not pulled "
                "before, and what is gone by now is not seen."
            )
        for policy in header.policies:
            of = f" in {', '.join(policy.repositories)} (policy {policy.name})" if len(header.policies) > 1 else ""
            self._out.print(f"Kept{printable(of)}: {rules(policy)}.{printable(fate(policy))}")
        if scope.override_limits:
            self._out.print(Text(OVERRIDDEN, style="bold red"))
        for hold in header.holds:
            over = hold.until is not None and hold.until < header.created_at
            said = "Held no longer" if over else "Held by its owner"
            self._out.print(f"{said}: {printable(f'{hold.image}: {hold.described}')}.")
        self._out.print()

    def add(self, plan: RepositoryPlan) -> None:
        """Take a repository into the table; with `verbose`, show its images now."""
        bare = RepositoryPlan(plan.repository, (), (), plan.gaps, sizes=plan.sizes)
        self._rows.append((bare, plan.summary))
        self._accounts.add(plan.repository.registry.account)
        self._regions.add(plan.repository.registry.region)
        if self._verbose and plan.decisions:
            self._out.print(Text(plan.repository.uri, style="bold"))
            if plan.sizes is not None:
                self._out.print(f"True bytes: {sizes_line(plan.sizes)}.")
            self._out.print(_image_table(plan.decisions))
            self._out.print()

    def end(self, footer: Footer) -> None:
        """Show the table, and what stands behind it; first of all what is in use and cannot be pulled."""
        if self._header is not None and not self._verbose:
            self._introduce(self._header)
        _print_missed(self._out, footer.missed)
        self._out.print(self._table(footer))
        self._out.print()
        for line in coverage_lines(footer.coverage, footer.foreign_uses):
            self._out.print(Text(printable(line), style=line_style(line)))
        for line in filter(None, [blind_window(footer.own_reads)]):
            self._out.print(line)
        for line in savings_lines(footer.savings) if footer.savings is not None else ():
            self._out.print(Text(printable(line)))
        if self._prices is not None:
            exact = footer.savings is not None and footer.savings.total.is_exact
            for line in archive_lines(self._archived_by_region(footer.savings), self._prices, exact=exact):
                self._out.print(line)
        _print_unresolved(self._out, footer.unresolved)
        self._out.print(Text(verdict(footer, past=self._past), style="bold"))

    def _archived_by_region(self, savings: Savings | None) -> dict[str, int]:
        if savings is not None:
            return {region: sizes.moved_to_archive for region, sizes in savings.by_region.items()}
        found: dict[str, int] = defaultdict(int)
        for plan, summary in self._rows:
            found[plan.repository.registry.region] += summary.archive_bytes_upper_bound
        return found

    def _table(self, footer: Footer) -> Table:
        total, savings = footer.summary, footer.savings
        table = borderless()
        places = [("ACCOUNT", self._accounts), ("REGION", self._regions)]
        shown = [name for name, found in places if len(found) > 1]
        for name in shown:
            table.add_column(name, no_wrap=True)
        table.add_column("REPOSITORY", no_wrap=True)
        columns = _columns(total, exact=savings is not None)
        for name in columns:
            table.add_column(name, justify="right", no_wrap=True)
        for plan, summary in self._rows:
            registry = plan.repository.registry
            named = {"ACCOUNT": registry.account, "REGION": registry.region}
            place = [named[name] for name in shown]
            cells = (cell(summary, plan.sizes) for cell in columns.values())
            table.add_row(*place, printable(plan.repository.name), *cells)
        place = [""] * len(shown)
        table.add_section()
        cells = (cell(total, None if savings is None else savings.total) for cell in columns.values())
        table.add_row(*place, counted(total.repositories, "repository"), *cells, style="bold")
        return table


def rules(policy: Policy) -> str:
    """A policy in a sentence: what it keeps besides what is in use."""
    tags = [*policy.protected_tags, *(f"/{regex}/" for regex in policy.protected_tag_regexes)]
    parts = [
        "whatever is in use",
        f"the newest {policy.newest} tagged of each repository{' by version' if policy.order is Order.SEMVER else ''}",
        *(
            f"the newest {group.newest} for each {' and '.join(group.names)} of /{group.pattern}/"
            for group in policy.newest_per
        ),
        f"tags {', '.join(tags)}" if tags else "",
        f"pulled within {format_duration(policy.pulled_within)}" if policy.pulled_within else "",
        f"seen in use within {format_duration(policy.used_within)}" if policy.used_within else "",
        f"pushed within {format_duration(max(policy.pushed_within or 0.0, policy.grace))}",
        f"untagged for {format_duration(policy.untagged_for)} after push",
    ]
    return "; ".join(printable(part) for part in parts if part)


def fate(policy: Policy) -> str:
    """What becomes of the rest, in a sentence; nothing where it is simply deleted."""
    sentences = {
        Otherwise.DELETE: "",
        Otherwise.ARCHIVE: " The rest is archived.",
        Otherwise.TRIAL: f" The rest is archived, and deleted when nothing has missed it for {format_duration(policy.trial_for)}.",
        Otherwise.KEEP: " The rest is kept too.",
    }
    after = policy.delete_after_archived
    archived = f" What is archived goes after {format_duration(after)}." if after is not None else ""
    tags = f" Tags {', '.join(policy.untag)} go from images that stay." if policy.untag else ""
    asked = f" Only in repositories tagged {policy.opt_in_tag}." if policy.opt_in_tag else ""
    return sentences[policy.otherwise] + archived + tags + asked


def verdict(footer: Footer, *, past: bool = False) -> str:
    """What the plan comes to, in a sentence; `past`: one of a moment that is over."""
    summary = footer.summary
    gaps = [entry for entry in footer.coverage if entry.is_gap]
    if gaps and summary.hold:
        unread = any(entry.drop is None for entry in gaps)
        why = "not everything that could use them was read" if unread else "a source tells far fewer uses than before"
        ways = ["--accept-gap"] * unread + ["--accept-drop"] * any(entry.drop for entry in gaps)
        what = "the gaps above are closed" if unread else "that is mended"
        return f"{counted(summary.hold, 'image')} held: {why}. Nothing goes until {what}, or named with {' and '.join(ways)}."
    if footer.verdict is not None:
        return f"The whole run is held: {footer.verdict.detail}. To go ahead all the same: --override-limits."
    over = ": in each of their repositories more would go than --max-fraction allows" if footer.limited else ""
    held = f" {counted(summary.hold, 'image')} held{over}." if summary.hold else ""
    if not summary.changing:
        return f"{'Nothing would have gone' if past else 'Nothing to delete'}.{held}"
    go, be, lose = (
        ("would have gone", "would have been", "would have lost") if past else ("can go", "can be", "can lose")
    )
    parts = []
    if summary.delete:
        parts.append(f"{counted(summary.delete, 'image')} {go}, {going_bytes(summary, footer.savings)}.")
    if summary.archive:
        moved = archived_bytes(summary, footer.savings)
        parts.append(f"{counted(summary.archive, 'image')} {be} archived, {moved}.")
    if summary.untag:
        parts.append(f"{counted(summary.untag, 'image')} {lose} tags and stay.")
    limited = f" {_held_registries(footer)}" if footer.held_registries else ""
    return f"{' '.join(parts)}{held} Nothing was changed.{limited}"


def _held_registries(footer: Footer) -> str:
    """Which registries a limit holds, in a sentence or two."""
    places = [held.described for held in footer.held_registries]
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    named = "; ".join(places[:_SHOWN])
    return f"Held as a whole: {named}{more}. Nothing goes there without --override-limits."


class ApplyTable:
    """What an apply did, for people."""

    def __init__(self, out: Console, *, verbose: bool = False) -> None:
        """`verbose` names every image, not only those that are still there."""
        self._out = out
        self._verbose = verbose

    def show(self, result: ApplyResult) -> None:
        """A line a repository, every image that did not go with its reason, and the sum."""
        by_repository: dict[str, list[Result]] = defaultdict(list)
        for entry in result.results:
            by_repository[entry.image.place.uri].append(entry)
        shown = [entry for entry in result.results if self._verbose or entry.outcome not in _EXPECTED]
        if by_repository:
            self._out.print(_outcome_table(by_repository))
            self._out.print()
        for line in _left_lines(shown, each=self._verbose):
            self._out.print(Text(printable(line)))
        for line in coverage_lines([entry for entry in result.coverage if entry.is_gap], 0):
            self._out.print(Text(printable(line), style="bold red"))
        if result.journal is not None:
            self._out.print(f"Written down in {printable(result.journal)}")
        self._out.print(Text(apply_sentence(result), style="bold"))


def _left_lines(results: Sequence[Result], *, each: bool) -> Iterator[str]:
    """A line an image; unless `each` is asked for, one for all of a repository that a limit holds: they may be thousands."""
    limited = Counter(
        (entry.image.place.uri, entry.message or "") for entry in results if _is_limited(entry) and not each
    )
    for entry in results:
        tags = ", ".join(entry.image.tags) or "untagged"
        why = ": ".join(part for part in (entry.code, entry.message) if part)
        line = f"{entry.outcome.value}: {entry.image.place.uri}@{entry.image.digest} ({tags})"
        if each or not _is_limited(entry):
            yield f"{line}: {why}" if why else line
    for (uri, message), number in limited.items():
        yield f"{Outcome.HELD.value}: {counted(number, 'image')} of {uri}: {Code.LIMIT.value}: {message}"


def _is_limited(entry: Result) -> bool:
    return entry.outcome is Outcome.HELD and entry.code == Code.LIMIT.value


_EXPECTED: Final = CHANGED | {Outcome.ALREADY_GONE}


def apply_sentence(result: ApplyResult) -> str:
    """What an apply came to, in a sentence or two."""
    summary = result.summary()
    freed = size(summary["deleted_bytes_upper_bound"])
    parts = []
    if result.count(Outcome.ARCHIVED):
        parts.append(f"Archived {counted(result.count(Outcome.ARCHIVED), 'image')}.")
    if result.count(Outcome.UNTAGGED):
        parts.append(f"Took tags off {counted(result.count(Outcome.UNTAGGED), 'image')}.")
    if result.count(Outcome.DELETED) or not parts:
        parts.insert(
            0, f"Deleted {counted(result.count(Outcome.DELETED), 'image')}, at most {freed}: layers may be shared."
        )
    sentences = (
        ((Outcome.ALREADY_GONE,), "already gone"),
        ((Outcome.SPARED,), "spared because the world changed"),
        ((Outcome.HELD,), "held"),
        ((Outcome.REFUSED, Outcome.KEPT_WITH_PARENT), "refused by AWS, or left with what was"),
        ((Outcome.UNKNOWN,), "in doubt: the call failed and its outcome could not be asked"),
        ((Outcome.NOT_TRIED,), "not tried"),
    )
    for outcomes, words in sentences:
        if result.count(*outcomes):
            parts.append(f"{counted(result.count(*outcomes), 'image')} {words}.")
    if result.interrupted:
        parts.append("Interrupted: run apply again to go on.")
    if result.stopped_by:
        parts.append(f"Stopped: {printable(result.stopped_by)}")
    return " ".join(parts)


class UsesTable:
    """The names in use and who uses them, for people."""

    def __init__(self, out: Console, *, verbose: bool = False) -> None:
        """`verbose` names every workload, not only the first ones."""
        self._out = out
        self._shown = None if verbose else 3

    def show(self, uses: Iterable[Use], coverage: Sequence[str]) -> None:
        """Each name once, with the workloads that use it, then what was asked."""
        grouped: dict[tuple[str, str | None], list[str]] = defaultdict(list)
        for use in uses:
            grouped[use.image, use.digest].append(use.described)
        for (image, digest), workloads in sorted(grouped.items(), key=lambda item: (item[0][0], item[0][1] or "")):
            runs = f" (runs {digest})" if digest and digest not in image else ""
            self._out.print(Text(printable((image or "any name in its region") + runs), style="bold"))
            distinct = sorted(set(workloads))
            for workload in distinct[: self._shown]:
                self._out.print(f"    {printable(workload)}")
            if self._shown is not None and len(distinct) > self._shown:
                self._out.print(f"    and {len(distinct) - self._shown} more (--verbose)")
        self._out.print()
        for line in coverage:
            self._out.print(Text(printable(line), style=line_style(line)))


def line_style(line: str) -> str:
    """What holds a run stands out among the lines of coverage."""
    return "bold red" if line.startswith(("GAP:", "DROP:")) else ""


class UnexplainedTable:
    """Who pulls what no other source explains, for people."""

    def __init__(self, out: Console) -> None:
        """Write to `out`."""
        self._out = out

    def show(self, uses: Sequence[Use], coverage: Sequence[str]) -> None:
        """A line a principal and image, then what was asked."""
        if uses:
            self._out.print(_pull_table(uses))
            self._out.print()
        for line in coverage:
            self._out.print(Text(printable(line), style="bold red" if line.startswith("GAP:") else ""))
        images = len({use.image for use in uses})
        found = f"{counted(images, 'image')} pulled by somebody of whom no other source knows."
        self._out.print(Text(found if uses else "Every pull is explained by another source.", style="bold"))


def _pull_table(uses: Iterable[Use]) -> Table:
    """Long names are folded, never cut: a principal that cannot be told from another is no answer."""
    table = borderless()
    for name in ("PRINCIPAL", "REPOSITORY", "IMAGE"):
        table.add_column(name, overflow="fold", min_width=_SHORT_DIGEST)
    table.add_column("TIMES", justify="right", no_wrap=True, min_width=5)
    table.add_column("LAST", no_wrap=True, min_width=20)
    table.add_column("FROM", overflow="fold")
    rows = [unexplained_row(use) for use in uses]
    many = len({row["account"] for row in rows}) > 1
    for row in rows:
        place = f"{row['account']}/{row['region']}" if many else row["region"]
        image = [row["tag"], (row["digest"] or "")[:_SHORT_DIGEST], f"({row['error']})" if row["error"] else ""]
        table.add_row(
            printable(row["principal"]),
            printable(f"{place} {row['repository']}" if row["repository"] else row["image"]),
            printable(" ".join(filter(None, image))),
            f"{row['times']:,}",
            row["last_at"],
            printable(", ".join(dict.fromkeys(filter(None, (row["address"], row["user_agent"]))))),
        )
    return table


def show_explanation(out: Console, found: Explanation) -> None:
    """Everything known about one image, and every reason for its decision."""
    image, decision = found.decision.image, found.decision
    out.print(Text(f"{found.repository.uri}@{image.digest}", style="bold"))
    rows = [
        ("tags", ", ".join(image.tags) or "none"),
        ("kind", f"{found.decision.image.kind.value} ({image.media_type or 'no media type'})"),
        ("pushed", "not told by ECR" if image.pushed_at is None else rfc3339(image.pushed_at)),
        ("last pull", "never recorded" if image.pulled_at is None else rfc3339(image.pulled_at)),
        ("size", size(image.size_bytes)),
        ("state", str(image.status)),
        *(("in index", digest) for digest in found.parents),
        *(("contains", digest) for digest in found.children),
        *(("refers to", digest) for digest in found.subjects),
        *(("referrer", digest) for digest in found.referrers),
    ]
    for name, value in rows:
        out.print(f"  {name:<10} {printable(value)}")
    out.print()
    out.print(Text(f"{decision.action.value.upper()}, because", style=_STYLES[decision.action]))
    by_code: dict[Code, list[Reason]] = defaultdict(list)
    for reason in decision.reasons:
        by_code[reason.code].append(reason)
    for code, reasons in by_code.items():
        out.print(f"  {EXPLANATIONS[code]} ({code.value})")
        for reason in reasons:
            if reason.detail:
                out.print(f"    {printable(reason.detail)}")
    if found.history:
        out.print()
        out.print(Text("Seen in use by runs so far", style="bold"))
        out.print(_history_table(found.history))


def show_history(out: Console, image: str, life: Sequence[Sighting], ledger: Coverage) -> None:
    """Who was seen using an image, first and last when, and what should be known of the ledger."""
    out.print(Text(printable(image), style="bold"))
    out.print(_history_table(life) if life else "No run has seen it in use.")
    out.print()
    for line in coverage_lines([ledger], 0):
        out.print(printable(line))


def _history_table(life: Sequence[Sighting]) -> Table:
    table = borderless()
    for name in ("LAST SEEN", "FIRST SEEN"):
        table.add_column(name, no_wrap=True, min_width=len("2026-01-31T12:00Z"))
    table.add_column("SOURCE", no_wrap=True, min_width=len("SOURCE"))
    table.add_column("WORKLOAD", overflow="fold", min_width=20)
    for one in life:
        workload = f"{one.workload} (possible)" if one.possible else one.workload
        table.add_row(_minute(one.last_seen), _minute(one.first_seen), printable(one.source), printable(workload))
    return table


def _minute(seconds: float) -> str:
    return rfc3339(seconds // 60 * 60)[:16] + "Z"


def borderless() -> Table:
    """A table without lines, which reads the same in a log."""
    return Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")


Cell = Callable[[Summary, Sizes | None], Text]


def _columns(total: Summary, *, exact: bool) -> dict[str, Cell]:
    """The columns of the plan's table, each with its cell of a row. What only some policies do shows only where it is done."""
    columns: dict[str, Cell] = {
        "IMAGES": lambda summary, _: Text(f"{summary.images:,}"),
        "KEEP": lambda summary, _: Text(f"{summary.keep:,}"),
        "UNTAG": lambda summary, _: Text(_or_dash(summary.untag)),
        "ARCHIVE": lambda summary, _: Text(_or_dash(summary.archive), style="yellow" if summary.archive else ""),
        "DELETE": lambda summary, _: Text(_or_dash(summary.delete), style="red" if summary.delete else ""),
        "HOLD": lambda summary, _: Text(_or_dash(summary.hold), style="yellow" if summary.hold else ""),
        "TO ARCHIVE": lambda summary, sizes: Text(archived_cell(summary, sizes)),
        "SIZE TO DELETE" if exact else "SIZE AT MOST": lambda summary, sizes: Text(deleted_cell(summary, sizes)),
    }
    absent = set() if total.untag else {"UNTAG"}
    absent |= set() if total.archive else {"ARCHIVE", "TO ARCHIVE"}
    return {name: cell for name, cell in columns.items() if name not in absent}


def _or_dash(number: int) -> str:
    return f"{number:,}" if number else "-"


def _image_table(decisions: Sequence[Decision]) -> Table:
    table = borderless()
    for name in ("", "DIGEST", "TAGS", "PUSHED", "WHY"):
        table.add_column(name, no_wrap=True)
    for decision in decisions:
        image = decision.image
        first = decision.reasons[0]
        more = f" (+{len(decision.reasons) - 1})" if len(decision.reasons) > 1 else ""
        pushed = "?" if image.pushed_at is None else rfc3339(image.pushed_at)[:10]
        table.add_row(
            Text(decision.action.value, style=_STYLES[decision.action]),
            image.digest[:_SHORT_DIGEST],
            printable(", ".join(image.tags)) or "-",
            pushed,
            printable(f"{_untagging(decision)}{first.code.value} {first.detail}{more}"),
        )
    return table


def _untagging(decision: Decision) -> str:
    return f"without {', '.join(decision.untag)}: " if decision.untag else ""


def _outcome_table(by_repository: dict[str, list[Result]]) -> Table:
    table = borderless()
    table.add_column("REPOSITORY", no_wrap=True)
    gone = frozenset({Outcome.DELETED, Outcome.ALREADY_GONE})
    columns = {"DELETED": gone, "ARCHIVED": {Outcome.ARCHIVED}, "UNTAGGED": {Outcome.UNTAGGED}}
    found = {entry.outcome for entries in by_repository.values() for entry in entries}
    columns = {name: outcomes for name, outcomes in columns.items() if name == "DELETED" or outcomes & found}
    columns |= {"SPARED": {Outcome.SPARED, Outcome.HELD}}
    for name in ("PLANNED", *columns, "LEFT"):
        table.add_column(name, justify="right", no_wrap=True)
    for uri, entries in by_repository.items():
        counts = [sum(entry.outcome in outcomes for entry in entries) for outcomes in columns.values()]
        left = len(entries) - sum(counts)
        table.add_row(printable(uri), f"{len(entries):,}", f"{counts[0]:,}", *map(_or_dash, [*counts[1:], left]))
    return table


def _print_missed(out: Console, missed: Sequence[Missed]) -> None:
    """What is in use and archived: the next pull fails, so this comes before everything else."""
    if not missed:
        return
    out.print(Text(f"{counted(len(missed), 'image')} in use cannot be pulled:", style="bold red"))
    for image in missed[:_SHOWN]:
        name = f"{image.repository.uri}@{image.digest}"
        tags = f" ({', '.join(image.tags)})" if image.tags else ""
        out.print(f"    {printable(name + tags)} is {image.state}: {printable(image.used_by[0])}")
        if image.state == Status.ARCHIVED:
            out.print(f"    bring it back: ecrsweep restore {printable(name)}")
    if len(missed) > _SHOWN:
        out.print(f"    and {len(missed) - _SHOWN} more (--output json has all)")
    out.print()


def _print_unresolved(out: Console, unresolved: Sequence[Use]) -> None:
    if not unresolved:
        return
    out.print(Text(f"Already broken: {counted(len(unresolved), 'use')} of an image that is gone; the next pull fails:"))
    for use in unresolved[:_SHOWN]:
        out.print(f"    {printable(use.image)}: {printable(use.described)}")
    if len(unresolved) > _SHOWN:
        out.print(f"    and {len(unresolved) - _SHOWN} more (--output json has all)")
