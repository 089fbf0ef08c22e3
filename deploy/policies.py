"""Writes the statements of the function's role into the template, from the calls that the code makes: `make tables`.

The lists of actions stand beside the calls themselves (`aws.ecr`, `aws.session`, `aws.bucket`, every source), so a new
source is a new line in the template. `--check` only tells whether the template is up to date.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ecrsweep.aws import bucket, ecr, session
from ecrsweep.sources import OWN

TEMPLATE: Final = Path(__file__).parent / "sam" / "template.yaml"
BEGIN: Final = "        # made of the code, from here on: make tables\n"
END: Final = "        # made of the code, up to here\n"

_ANY: Final = "*"
_RESOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "ecr:BatchDeleteImage": ("repository/*",),
    "ecr:BatchGetImage": ("repository/*",),
    "ecr:DescribeImages": ("repository/*",),
    "ecr:DescribeRepositories": ("repository/*",),
    "ecs:DescribeServiceDeployments": ("service/*", "service-deployment/*"),
    "ecs:DescribeServiceRevisions": ("service/*", "service-revision/*"),
    "ecs:DescribeServices": ("service/*",),
    "ecs:DescribeTasks": ("task/*",),
    "ecs:ListServiceDeployments": ("service/*",),
}
"""The resources of the actions that AWS lets narrow; every other action is for all of them.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3:GetObject": ("/plans/*", "/state/*"),
    "s3:ListBucket": ("",),
    "s3:PutObject": ("/plans/*", "/reports/*", "/state/*"),
}
"""What the function reads and writes in its bucket."""

Statement = dict[str, Any]


def read_actions() -> frozenset[str]:
    """What a plan needs: the registries, account and regions, and every source of this package."""
    of_sources = (action for make in OWN.values() for action in make().actions)
    return frozenset((*ecr.READ_ACTIONS, *session.ACTIONS, *of_sources))


def read_statements() -> list[Statement]:
    """The statements that a plan needs."""
    return _statements(read_actions())


def delete_statements() -> list[Statement]:
    """The statements that an apply needs besides."""
    return _statements(ecr.DELETE_ACTIONS)


def bucket_statements() -> list[Statement]:
    """The statements for plans, reports and state."""
    return _statements(bucket.ACTIONS)


def _statements(actions: Iterable[str]) -> list[Statement]:
    """One statement for all actions on the same resources."""
    by_resources: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for action in sorted(actions):
        by_resources[_resources_of(action)].append(action)
    return [_statement(found, list(resources)) for resources, found in sorted(by_resources.items())]


def _resources_of(action: str) -> tuple[str, ...]:
    if action in _KEYS:
        return tuple(f"arn:${{AWS::Partition}}:s3:::${{Bucket}}{key}" for key in _KEYS[action])
    if action not in _RESOURCES:
        return (_ANY,)
    prefix = f"arn:${{AWS::Partition}}:{action.partition(':')[0]}:*:${{AWS::AccountId}}"
    return tuple(f"{prefix}:{resource}" for resource in _RESOURCES[action])


def _statement(actions: list[str], resources: list[str]) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def section() -> str:
    """The lines of the template between the marks."""
    lines = [
        *_policy("read", read_statements(), 8),
        *_policy("bucket", bucket_statements(), 8),
        "        - !If",
        "          - Deletes",
        *_policy("delete", delete_statements(), 10),
        "          - !Ref AWS::NoValue",
    ]
    return "".join(f"{line}\n" for line in lines)


def _policy(name: str, statements: Iterable[Statement], indent: int) -> Iterator[str]:
    space = " " * indent
    yield f"{space}- PolicyName: {name}"
    yield f"{space}  PolicyDocument:"
    yield f'{space}    Version: "2012-10-17"'
    yield f"{space}    Statement:"
    for statement in statements:
        yield f"{space}      - Effect: {statement['Effect']}"
        yield f"{space}        Action:"
        yield from (f"{space}          - {action}" for action in statement["Action"])
        yield f"{space}        Resource:"
        yield from (f"{space}          - {_resource(resource)}" for resource in statement["Resource"])


def _resource(resource: str) -> str:
    return '"*"' if resource == _ANY else f'!Sub "{resource}"'


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
