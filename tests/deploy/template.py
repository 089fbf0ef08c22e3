"""The templates of the deployment, read and resolved: what CloudFormation makes of them for given parameters."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from samtranslator.yaml_helper import yaml_parse

from tests.support import ACCOUNT, ROOT

FILE: Final = ROOT / "deploy" / "sam" / "template.yaml"
TEMPLATE: Final[Mapping[str, Any]] = yaml_parse(FILE.read_text())
PSEUDO: Final = {
    "AWS::Partition": "aws", "AWS::AccountId": ACCOUNT, "AWS::Region": "us-east-1", "AWS::StackName": "ecrsweep",
}  # fmt: skip
NO_VALUE: Final = object()


class Resolved:
    """The resources for one set of parameters. What only AWS can say (names, ARNs) reads as `<Resource.Attribute>`."""

    def __init__(self, template: Mapping[str, Any] = TEMPLATE, /, partition: str = "aws", **parameters: str) -> None:
        declared = template["Parameters"]
        unknown = parameters.keys() - declared.keys()
        assert not unknown, unknown
        given = {name: parameters.get(name, parameter.get("Default")) for name, parameter in declared.items()}
        assert None not in given.values(), f"these have no default: {[name for name in given if given[name] is None]}"
        lists = {name for name, parameter in declared.items() if parameter["Type"] == "CommaDelimitedList"}
        given |= {name: given[name].split(",") for name in lists}
        self._values = {**PSEUDO, "AWS::Partition": partition, **given}
        self._conditions = template["Conditions"]
        self.resources: dict[str, Any] = {
            name: self.of(resource)
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }

    def properties(self, name: str) -> Any:
        return self.resources[name]["Properties"]

    @property
    def environment(self) -> dict[str, str]:
        """What the function's environment is, as Lambda has it: texts."""
        found = self.properties("Function")["Environment"]["Variables"]
        return {name: str(value) for name, value in found.items()}

    def of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [found for entry in value if (found := self.of(entry)) is not NO_VALUE]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name, argument)
        return {key: found for key, entry in value.items() if (found := self.of(entry)) is not NO_VALUE}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return NO_VALUE if argument == "AWS::NoValue" else self._values.get(argument, f"<{argument}>")
            case "Fn::GetAtt":
                return f"<{'.'.join(argument) if isinstance(argument, list) else argument}>"
            case "Fn::Sub":
                return re.sub(r"\$\{([\w:.]+)\}", lambda name: str(self._values.get(name[1], f"<{name[1]}>")), argument)
            case "Fn::Join":
                return argument[0].join(self.of(argument[1]))
            case "Fn::If":
                return self.of(argument[1] if self._holds(argument[0]) else argument[2])
            case "Fn::Equals":
                first, second = (str(self.of(side)) for side in argument)
                return first == second
            case "Fn::And":
                return all(self.of(argument))
            case "Fn::Not":
                return not self.of(argument[0])
        raise AssertionError(function)

    def _holds(self, condition: str) -> bool:
        return bool(self.of(self._conditions[condition]))


def read(file: Path) -> Mapping[str, Any]:
    """A template as it is written."""
    found: Mapping[str, Any] = yaml_parse(file.read_text())
    return found


def policies(role: Mapping[str, Any]) -> dict[str, Any]:
    """The inline policies of a role, by name."""
    return {policy["PolicyName"]: policy["PolicyDocument"] for policy in role["Policies"]}


def statements(document: Mapping[str, Any]) -> Iterator[tuple[set[str], list[str]]]:
    """Actions and resources of each statement."""
    for statement in document["Statement"]:
        actions, resources = statement["Action"], statement["Resource"]
        yield (
            {actions} if isinstance(actions, str) else set(actions),
            [resources] if isinstance(resources, str) else list(resources),
        )


def actions(document: Mapping[str, Any]) -> set[str]:
    """All actions of a policy."""
    return {action for found, _ in statements(document) for action in found}
