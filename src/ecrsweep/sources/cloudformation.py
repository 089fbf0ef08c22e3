"""AWS CloudFormation as defence in depth: the names of private ECR that stand in the templates of stacks.

What a stack made is asked of the services themselves; a template says what an update or a rollback would make again. Intrinsic
functions are followed as far as their values are known:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec

from ecrsweep.aws.errors import code_of
from ecrsweep.core.errors import AwsFailure, Malformed
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import ECR_NAME, Json, Reading

NAME: Final = "cloudformation"

_HAS_NOTHING: Final = frozenset({"DELETE_COMPLETE", "REVIEW_IN_PROGRESS"})
_REPOSITORY: Final = "AWS::ECR::Repository"
_IMAGES: Final = frozenset({"Image", "ImageUri", "ImageIdentifier", "ContainerUri", "TrainingImage"})
"""The properties in which resources take an image: one that is not known is worth a note."""

_HOLE: Final = "\ufffc"
"""Stands around what is not known in a text that otherwise is."""
_BESIDE_A_HOLE: Final = re.compile(rf"[:@/._-]*{_HOLE}")
_VARIABLE: Final = re.compile(r"\$\{(!?)([^}]*)\}")
_LOOKED_UP_LATER: Final = re.compile(r"\{\{resolve:[^}]*\}\}")
_HIDDEN: Final = re.compile(r"\*+")


class CloudFormationSource:
    """The image names in the templates of one account and region (`ports.Source`)."""

    name = NAME
    actions = (
        "cloudformation:DescribeStacks",
        "cloudformation:GetTemplate",
        "cloudformation:ListExports",
        "cloudformation:ListStackResources",
    )

    about = About(
        system="AWS CloudFormation",
        calls="DescribeStacks, ListExports; GetTemplate; ListStackResources of stacks that make repositories",
        keeps=(
            "every name of private ECR in the parameters and the processed template of every stack that is not deleted, also "
            "where the template builds it of what is known"
        ),
        unknowable="names built of what is known only when a stack is deployed: noted",
        service="cloudformation",
        bulk=False,
        by_default=False,
    )

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Stack by stack. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "cloudformation", _is_gone)
        yield from reading.part(_of_stacks(reading))
        reading.finish()


class _Template(msgspec.Struct, frozen=True):
    """A template, and the values that are known of what it refers to."""

    body: Json
    registry: Registry
    values: Mapping[str, str]
    """Of pseudo parameters, parameters and repositories, by the names that `Ref` has for them."""
    repositories: frozenset[str]
    exports: Mapping[str, str]


def _of_stacks(reading: Reading) -> Iterator[Use | Note]:
    stacks = [
        stack for stack in reading.listed("describe_stacks", "Stacks") if stack["StackStatus"] not in _HAS_NOTHING
    ]
    if not stacks:
        return
    exports = {found["Name"]: found["Value"] for found in reading.listed("list_exports", "Exports")}
    for _, found in reading.each(lambda stack: _uses_of(reading, stack, exports), stacks):
        yield from found


def _uses_of(reading: Reading, stack: Json, exports: Mapping[str, str]) -> list[Use | Note]:
    return list(_uses_in(reading.place, stack, _template(reading, stack, exports)))


def _template(reading: Reading, stack: Json, exports: Mapping[str, str]) -> _Template:
    answer = reading.described("get_template", "TemplateBody", StackName=stack["StackId"], TemplateStage="Processed")
    body = _parsed(answer["TemplateBody"], stack["StackId"])
    resources = body.get("Resources") or {}
    made: dict[str, str] = {}
    if any(resource.get("Type") == _REPOSITORY for resource in resources.values()):
        made = _repositories(reading, stack)
    return _Template(
        body,
        Registry(reading.place.account, reading.place.region),
        _pseudo_parameters(reading.place, stack) | _parameters(stack) | made,
        frozenset(made),
        exports,
    )


def _parsed(body: object, stack: str) -> Json:
    """A template in JSON or YAML. Raises `AwsFailure`."""
    if isinstance(body, str):
        body = _from_yaml(body, stack)
    if not isinstance(body, Mapping):
        raise Malformed(f"The template of {stack} is not a template", action="cloudformation:GetTemplate")
    return body


def _from_yaml(text: str, stack: str) -> object:
    import yaml  # noqa: PLC0415 - only where a template is written in it

    try:
        return yaml.load(text, _loader())  # noqa: S506 - a safe loader that also reads the short forms of functions
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())
        raise Malformed(
            f"The template of {stack} cannot be read: {what}", action="cloudformation:GetTemplate"
        ) from error


@cache
def _loader() -> Any:  # noqa: ANN401 - a class made at run time, because the fast loader is not everywhere
    import yaml  # noqa: PLC0415 - only where a template is written in it

    loader: Any = type("TemplateLoader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})

    def function(reader: Any, name: str, node: Any) -> dict[str, Any]:  # noqa: ANN401 - PyYAML's
        """`!Sub x` is `{"Fn::Sub": x}`."""
        if isinstance(node, yaml.ScalarNode):
            value = reader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = reader.construct_sequence(node, deep=True)
        else:
            value = reader.construct_mapping(node, deep=True)
        return {name if name in {"Ref", "Condition"} else f"Fn::{name}": value}

    loader.add_multi_constructor("!", function)
    return loader


def _repositories(reading: Reading, stack: Json) -> dict[str, str]:
    """The names of the repositories that a stack made, by what its template calls them."""
    listed = reading.listed("list_stack_resources", "StackResourceSummaries", inside=True, StackName=stack["StackId"])
    return {
        found["LogicalResourceId"]: found["PhysicalResourceId"]
        for found in listed
        if found["ResourceType"] == _REPOSITORY and found.get("PhysicalResourceId")
    }


def _pseudo_parameters(place: Place, stack: Json) -> dict[str, str]:
    return {
        "AWS::AccountId": place.account,
        "AWS::Partition": stack["StackId"].split(":")[1],
        "AWS::Region": place.region,
        "AWS::StackId": stack["StackId"],
        "AWS::StackName": stack["StackName"],
        "AWS::URLSuffix": Registry(place.account, place.region).host.partition(f".{place.region}.")[2],
    }


def _parameters(stack: Json) -> dict[str, str]:
    """The values of parameters; those that are hidden (NoEcho) are not known."""
    found = {
        parameter["ParameterKey"]: parameter.get("ResolvedValue") or parameter.get("ParameterValue") or ""
        for parameter in stack.get("Parameters", ())
    }
    return {key: value for key, value in found.items() if not _HIDDEN.fullmatch(value)}


def _uses_in(place: Place, stack: Json, template: _Template) -> Iterator[Use | Note]:
    workload = str(stack["StackId"])
    texts = [(f"parameter {key}", value) for key, value in _parameters(stack).items()]
    texts += _texts(template, {key: section for key, section in template.body.items() if key != "Parameters"})
    for where, text in dict.fromkeys(texts):
        for found in ECR_NAME.finditer(text):
            if not _BESIDE_A_HOLE.match(text, found.end()):
                # Not every name in a template is pulled: one that finds no image breaks nothing.
                yield Use(found.group(), workload, NAME, place.account, place.region, where, ended=True)
        if _HOLE in text:
            shown = " ".join(text.replace(_HOLE, "").split())[:200]
            yield Note(f"{where} names an image that is not known before it is deployed: {shown}", workload)


def _texts(template: _Template, node: object, where: str = "") -> Iterator[tuple[str, str]]:
    """Every text that may name an image, with what is not known in it between holes."""
    if isinstance(node, Sequence) and not isinstance(node, str):
        for number, item in enumerate(node):
            yield from _texts(template, item, f"{where}[{number}]")
    elif isinstance(node, Mapping) and not _is_function(node):
        for key, value in node.items():
            yield from _texts(template, value, f"{where}.{key}" if where else str(key))
    elif isinstance(node, Mapping) and "Fn::If" in node:
        for branch in node["Fn::If"][1:]:
            yield from _texts(template, branch, where)
    else:
        text = _text(template, node)
        if _HOLE not in text or _may_name_an_image(text, where):
            yield where, text


def _is_function(node: Json) -> bool:
    return len(node) == 1 and next(iter(node)) in {"Fn::If", *_FUNCTIONS}


def _may_name_an_image(text: str, where: str) -> bool:
    return ".dkr" in text or ".RepositoryUri" in text or where.rpartition(".")[2] in _IMAGES


def _text(template: _Template, node: object) -> str:
    """What a value comes to, as far as that is known."""
    match node:
        case str():
            return _LOOKED_UP_LATER.sub(lambda found: _hole(found.group()), node)
        case bool() | int() | float():
            return json.dumps(node)
        case Mapping() if len(node) == 1:
            ((name, argument),) = node.items()
            function = _FUNCTIONS.get(name)
            return _hole(f"{{{name}}}") if function is None else function(template, argument)
        case _:
            return _hole("...")


def _hole(what: str) -> str:
    return f"{_HOLE}{what}{_HOLE}"


def _ref(template: _Template, name: Any) -> str:  # noqa: ANN401 - what a template has there
    return template.values.get(str(name), _hole(f"${{{name}}}"))


def _attribute(template: _Template, argument: Any) -> str:  # noqa: ANN401 - likewise
    resource, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
    if resource in template.repositories:
        repository = Repository(template.registry, template.values[resource])
        if attribute == "RepositoryUri":
            return repository.uri
        if attribute == "Arn":
            start = f"arn:{template.values['AWS::Partition']}:ecr:{template.registry.region}"
            return f"{start}:{template.registry.account}:repository/{repository.name}"
    return _hole(f"${{{resource}.{attribute}}}")


def _substituted(template: _Template, argument: Any) -> str:  # noqa: ANN401 - likewise
    text, given = (argument, {}) if isinstance(argument, str) else argument

    def value(found: re.Match[str]) -> str:
        literally, name = found.groups()
        if literally:
            return f"${{{name}}}"
        if name in given:
            return _text(template, given[name])
        if "." in name:
            return _attribute(template, name)
        return _ref(template, name)

    return _VARIABLE.sub(value, _text(template, text))


def _joined(template: _Template, argument: Any) -> str:  # noqa: ANN401 - likewise
    delimiter, parts = argument
    known = _list(template, parts)
    return _hole("{Fn::Join}") if known is None else str(delimiter).join(known)


def _selected(template: _Template, argument: Any) -> str:  # noqa: ANN401 - likewise
    index, parts = argument
    known = _list(template, parts)
    number = _text(template, index)
    if known is None or not number.isdecimal() or int(number) >= len(known):
        return _hole("{Fn::Select}")
    return known[int(number)]


def _list(template: _Template, node: Any) -> list[str] | None:  # noqa: ANN401 - likewise
    """A list of texts; None where it is not known how many there are."""
    if isinstance(node, Mapping) and "Fn::Split" in node:
        delimiter, text = node["Fn::Split"]
        whole = _text(template, text)
        return None if _HOLE in whole else whole.split(str(delimiter))
    if isinstance(node, Mapping):
        return None
    return [_text(template, part) for part in node]


def _mapped(template: _Template, argument: Any) -> str:  # noqa: ANN401 - likewise
    found: Any = template.body.get("Mappings") or {}
    for key in argument[:3]:
        found = found.get(_text(template, key)) if isinstance(found, Mapping) else None
    return _hole("{Fn::FindInMap}") if found is None else _text(template, found)


def _imported(template: _Template, argument: Any) -> str:  # noqa: ANN401 - likewise
    name = _text(template, argument)
    return template.exports.get(name, _hole(f"{{Fn::ImportValue {name.replace(_HOLE, '')}}}"))


_FUNCTIONS: Final = {
    "Ref": _ref,
    "Fn::FindInMap": _mapped,
    "Fn::GetAtt": _attribute,
    "Fn::ImportValue": _imported,
    "Fn::Join": _joined,
    "Fn::Select": _selected,
    "Fn::Sub": _substituted,
}


def _is_gone(failure: AwsFailure) -> bool:
    return code_of(failure) == "ValidationError" and "does not exist" in str(failure)
