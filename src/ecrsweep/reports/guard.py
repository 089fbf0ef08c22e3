"""What the lifecycle policies in place are about to take, for people."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from ecrsweep.core.lifecycle import Finding
from ecrsweep.core.names import Repository
from ecrsweep.reports.words import counted, printable

_SHORT_DIGEST: Final = 19
_SHOWN: Final = 3
_VERBS: Final = {"expire": "expires", "transition": "archives"}


def show_findings(out: Console, findings: Sequence[Finding], *, policies: int, verbose: bool) -> None:
    """Each image with the rule that takes it and who uses it, repository by repository, and the sum."""
    by_repository: dict[Repository, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_repository[finding.repository].append(finding)
    for repository, found in by_repository.items():
        out.print(Text(repository.uri, style="bold"))
        for finding in found:
            _show(out, finding, verbose=verbose)
        out.print()
    out.print(Text(_sentence(findings, policies), style="bold"))


def _show(out: Console, finding: Finding, *, verbose: bool) -> None:
    image = finding.image
    named = printable(", ".join(image.tags)) or "untagged"
    line = f"  rule {finding.taken.rule} {_VERBS[finding.taken.action]} {image.digest[:_SHORT_DIGEST]} ({named})"
    out.print(Text(line, style="red" if finding.used_by else ""))
    shown = finding.used_by if verbose else finding.used_by[:_SHOWN]
    for workload in shown:
        out.print(f"    used by {printable(workload)}")
    if len(shown) < len(finding.used_by):
        out.print(f"    and {len(finding.used_by) - len(shown)} more (--verbose)")


def _sentence(findings: Sequence[Finding], policies: int) -> str:
    if not policies:
        return "No repository here has a lifecycle policy."
    endangered = sum(bool(finding.used_by) for finding in findings)
    looked = f"Looked at {counted(policies, 'lifecycle policy')}."
    others = len(findings) - endangered
    more = f" {counted(others, 'image')} that nothing known uses will go too." if others else ""
    if not endangered:
        return f"{looked} None is about to take an image in use.{more}"
    them = "it" if endangered == 1 else "them"
    return f"{looked} {counted(endangered, 'image')} in use will be taken within a day: mend the rule, or give {them} a tag that it spares.{more}"
