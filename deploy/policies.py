"""Writes the statements of roles into the templates, from the calls that the code makes: `make tables`.

They are those of `ecrsweep iam-policy`, with CloudFormation's names for what it knows, for every source of this package.
So a new source is a new line in each template. `--check` only tells whether they are up to date.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from ecrsweep.sources import OWN
from ecrsweep.wiring.policies import MemberRole, Purpose, Statement, Wanted, policy_document

DEPLOY: Final = Path(__file__).parent
BEGIN: Final = "# made of the code, from here on: make tables\n"
END: Final = "# made of the code, up to here\n"
IN_SOME_REGIONS: Final = (
    "Condition: !If",
    "  - DeletesInSomeRegions",
    '  - StringEquals: {"aws:RequestedRegion": !Ref DeleteRegions}',
    "  - !Ref AWS::NoValue",
)
"""What narrows the statements by which a member account lets images go."""


def function_section() -> str:
    """The policies inside the role of the function."""
    read = _statements("plan", None)
    bucket = [statement for statement in _statements("plan", "${Bucket}") if statement not in read]
    delete = [statement for statement in _statements("archive", None) if statement not in read]
    return _joined(
        _inline("read", read, 8),
        _inline("bucket", bucket, 8),
        ("        - !If", "          - Deletes"),
        _inline("delete", delete, 10),
        ("          - !Ref AWS::NoValue", "        - !If", "          - AssumesRoles"),
        _inline("members", _statements("caller", None), 10),
        ("          - !Ref AWS::NoValue",),
    )


def member_section() -> str:
    """The managed policies of the role in a member account. Inside the role a company's rules may not allow them."""
    read = _statements("member", None)
    delete = [statement for statement in _statements("member-archive", None) if statement not in read]
    return _joined(
        _managed("ReadPolicy", "What ecrsweep reads, made of the calls that it makes", read),
        ("",),
        _managed("DeletePolicy", "What ecrsweep deletes and archives", delete, "Deletes", IN_SOME_REGIONS),
        ("",),
    )


SECTIONS: Final[Mapping[str, Callable[[], str]]] = {
    "organization/member-role.yaml": member_section,
    "sam/template.yaml": function_section,
}
"""By template, what stands between the marks."""


def _statements(purpose: Purpose, bucket: str | None) -> list[Statement]:
    wanted = Wanted(
        purpose=purpose,
        sources=tuple(make() for _, make in sorted(OWN.items())),
        account="${AWS::AccountId}",
        partition="${AWS::Partition}",
        bucket=bucket,
        roles=(MemberRole("*", "${MemberRole}"),),
    )
    found: list[Statement] = policy_document(wanted)["Statement"]
    return found


def _joined(*parts: Iterable[str]) -> str:
    return "".join(f"{line}\n" for part in parts for line in part)


def _inline(name: str, statements: Iterable[Statement], indent: int) -> Iterator[str]:
    space = " " * indent
    yield f"{space}- PolicyName: {name}"
    yield from (f"{space}  {line}" for line in _document(statements))


def _managed(
    name: str, description: str, statements: Iterable[Statement], condition: str = "", narrowed: Iterable[str] = ()
) -> Iterator[str]:
    yield f"  {name}:"
    yield "    Type: AWS::IAM::ManagedPolicy"
    if condition:
        yield f"    Condition: {condition}"
    yield "    Properties:"
    yield f"      Description: {description}"
    yield "      Roles: [!Ref Role]"
    yield from (f"      {line}" for line in _document(statements, tuple(narrowed)))


def _document(statements: Iterable[Statement], narrowed: Iterable[str] = ()) -> Iterator[str]:
    """A policy document, each statement with these lines too."""
    yield "PolicyDocument:"
    yield '  Version: "2012-10-17"'
    yield "  Statement:"
    for statement in statements:
        yield f"    - Sid: {statement['Sid']}"
        yield f"      Effect: {statement['Effect']}"
        yield "      Action:"
        yield from (f"        - {action}" for action in statement["Action"])
        yield from (f"      {line}" for line in (*_resources(statement["Resource"]), *narrowed))


def _resources(resources: str | list[str]) -> Iterator[str]:
    if isinstance(resources, str):
        yield f'Resource: "{resources}"'
        return
    yield "Resource:"
    yield from (f'  - !Sub "{resource}"' for resource in resources)


def _renewed(text: str, section: str) -> str:
    before, rest = text.split(BEGIN)
    after = rest.split(END, 1)[1]
    indent = before[before.rindex("\n") + 1 :]
    return f"{before}{BEGIN}{section}{indent}{END}{after}"


def main() -> int:
    """Write, or with `--check` compare; 1 where a template is not up to date."""
    stale = []
    for name, section in SECTIONS.items():
        file = DEPLOY / name
        text = file.read_text()
        new = _renewed(text, section())
        if new != text:
            stale.append(f"deploy/{name}")
            if "--check" not in sys.argv:
                file.write_text(new)
    if stale and "--check" in sys.argv:
        print(f"not up to date: {', '.join(stale)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
