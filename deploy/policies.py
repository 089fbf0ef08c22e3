"""Writes the statements of the function's role into the template, from the calls that the code makes: `make tables`.

They are those of `ecrsweep iam-policy`, with CloudFormation's names for what it knows, for every source of this package.
So a new source is a new line in the template. `--check` only tells whether that is up to date.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ecrsweep.sources import OWN
from ecrsweep.wiring.policies import Purpose, Statement, Wanted, policy_document

TEMPLATE: Final = Path(__file__).parent / "sam" / "template.yaml"
BEGIN: Final = "        # made of the code, from here on: make tables\n"
END: Final = "        # made of the code, up to here\n"


def section() -> str:
    """The lines of the template between the marks."""
    read = _statements("plan", None)
    bucket = [statement for statement in _statements("plan", "${Bucket}") if statement not in read]
    delete = [statement for statement in _statements("archive", None) if statement not in read]
    lines = [
        *_policy("read", read, 8),
        *_policy("bucket", bucket, 8),
        "        - !If",
        "          - Deletes",
        *_policy("delete", delete, 10),
        "          - !Ref AWS::NoValue",
    ]
    return "".join(f"{line}\n" for line in lines)


def _statements(purpose: Purpose, bucket: str | None) -> list[Statement]:
    wanted = Wanted(
        purpose=purpose,
        sources=tuple(make() for _, make in sorted(OWN.items())),
        account="${AWS::AccountId}",
        partition="${AWS::Partition}",
        bucket=bucket,
    )
    found: list[Statement] = policy_document(wanted)["Statement"]
    return found


def _policy(name: str, statements: Iterable[Statement], indent: int) -> Iterator[str]:
    space = " " * indent
    yield f"{space}- PolicyName: {name}"
    yield f"{space}  PolicyDocument:"
    yield f'{space}    Version: "2012-10-17"'
    yield f"{space}    Statement:"
    for statement in statements:
        yield f"{space}      - Sid: {statement['Sid']}"
        yield f"{space}        Effect: {statement['Effect']}"
        yield f"{space}        Action:"
        yield from (f"{space}          - {action}" for action in statement["Action"])
        yield from _resources(statement["Resource"], f"{space}        ")


def _resources(resources: str | list[str], space: str) -> Iterator[str]:
    if isinstance(resources, str):
        yield f'{space}Resource: "{resources}"'
        return
    yield f"{space}Resource:"
    yield from (f'{space}  - !Sub "{resource}"' for resource in resources)


def main() -> int:
    """Write, or with `--check` compare; 1 where the template is not up to date."""
    text = TEMPLATE.read_text()
    before, rest = text.split(BEGIN)
    new = before + BEGIN + section() + END + rest.split(END, 1)[1]
    if new == text:
        return 0
    if "--check" in sys.argv:
        print("not up to date: deploy/sam/template.yaml", file=sys.stderr)
        return 1
    TEMPLATE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
