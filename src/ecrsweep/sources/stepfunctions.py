"""AWS Step Functions as witness: what the definitions of state machines start, and image names written out in them.

Anybody may start a version by its ARN, and aliases only point to versions; so every version is read. A running
execution goes on with the definition it began with, which may be none of these any more.
Language: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
API: https://docs.aws.amazon.com/step-functions/latest/apireference/Welcome.html
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from ecrsweep.core.errors import BadInput, Malformed
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.reading import Json, Reading, answering, in_words, member
from ecrsweep.sources.started import ACTIONS, Told, resolved, told_of
from ecrsweep.sources.written import Kind, Written, written

NAME: Final = "stepfunctions"

_PAGE: Final = 1000
_DESCRIBE: Final = "states:DescribeStateMachine"

_INTEGRATION: Final = re.compile(r"arn:aws[a-z-]*:states:[^:]*:[^:]*:(?:aws-sdk:)?(?P<service>[\w-]+):(?P<action>\w+)")
_STARTS_A_DEFINITION: Final = re.compile(r"ecs:(run|start)Task|batch:submitJob")
_STARTS_CONTAINERS: Final = re.compile(
    r"ecs:((run|start)Task|(create|update)Service|createTaskSet|registerTaskDefinition)"
    r"|batch:(submitJob|submitServiceJob|registerJobDefinition)|sagemaker:create\w+|eks:(runJob|call)"
    r"|codebuild:(startBuild|startBuildBatch|createProject|updateProject)|lambda:(createFunction|updateFunctionCode)"
    r"|(emr-?containers|emr-?serverless|apprunner|bedrockagentcorecontrol|lightsail|gamelift):\w+"
)
"""Calls whose request may say what image runs, so that a request that is computed is worth a note."""

_ACCOUNT_OF_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):")


class StepFunctionsSource:
    """The images of what every state machine of one account and region starts (`ports.Source`)."""

    name = NAME
    actions = (*ACTIONS, _DESCRIBE, "states:ListStateMachineVersions", "states:ListStateMachines")
    about = About(
        system="AWS Step Functions",
        calls=(
            "ListStateMachines, DescribeStateMachine; ListStateMachineVersions (AWS allows 100 and then one a second; "
            "`--source-option stepfunctions.versions=none` leaves versions out), DescribeStateMachine of each version; "
            "DescribeTaskDefinition and DescribeJobDefinitions of what states start"
        ),
        keeps=(
            "every container of the task or job definition that a state names, in the definition of every state machine "
            "and of every version of it: with a revision that one, without one the newest ACTIVE one; image names "
            "written out anywhere in these"
        ),
        unknowable=(
            "what an execution computes or gets as its input (a note names the states); the definition that an execution "
            "began with, if the state machine was changed since without a version of it; what states do in other "
            "accounts. A state machine encrypted with a key that the identity may not use (`kms:Decrypt`) is a gap"
        ),
        service="stepfunctions",
        bulk=False,
    )

    def __init__(self, *, versions: bool = True) -> None:
        """`versions` False leaves the published versions out, and says so."""
        self._versions = versions

    def with_options(self, options: Mapping[str, str]) -> "StepFunctionsSource":
        """The same source with `versions` all or none. Raises `BadInput` for anything else."""
        if set(options) != {"versions"} or options["versions"] not in {"all", "none"}:
            raise BadInput(f"{NAME} has the option versions, which is all or none, and no other")
        return StepFunctionsSource(versions=options["versions"] == "all")

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """Uses by state machine, version and state. Raises `AwsFailure` after what could be read."""
        reading = Reading(place, "stepfunctions", answering("StateMachineDoesNotExist"))
        if not self._versions:
            yield Note("the versions of state machines were not asked for, so what only they start is not known")
        machines = reading.listed("list_state_machines", "stateMachines", maxResults=_PAGE)
        workflows = reading.found(partial(_workflows, reading, versions=self._versions), machines)
        yield from resolved(reading, NAME, (found for workflow in workflows for found in _told(place, workflow)))


class _Workflow(msgspec.Struct, frozen=True):
    """One definition of a state machine: the one in force, or a version's."""

    machine: str
    version: str
    definition: Json


def _workflows(reading: Reading, brief: Json, *, versions: bool) -> Iterator[_Workflow]:
    """The definition in force, and those of versions that differ from it and from each other."""
    machine = str(member(brief, "stateMachineArn", "states:ListStateMachines"))
    told: set[str] = set()
    for version in ("", *(_versions(reading, machine) if versions else ())):
        for text in reading.attempted(partial(_text, reading, f"{machine}:{version}" if version else machine)):
            if text not in told:
                told.add(text)
                for definition in reading.attempted(partial(_parsed, text, machine)):
                    yield _Workflow(machine, version, definition)


def _versions(reading: Reading, machine: str) -> list[str]:
    """The numbers of the versions."""
    operation, key = "list_state_machine_versions", "stateMachineVersions"
    found = reading.listed(operation, key, inside=True, stateMachineArn=machine, maxResults=_PAGE)
    return [str(version["stateMachineVersionArn"]).rpartition(":")[2] for version in found]


def _text(reading: Reading, arn: str) -> str:
    return str(reading.described("describe_state_machine", "definition", stateMachineArn=arn)["definition"])


def _parsed(text: str, machine: str) -> Json:
    try:
        found: Json = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Malformed(f"the definition of {machine} is no JSON object: {error}", action=_DESCRIBE) from error
    return found


def _told(place: Place, workflow: _Workflow) -> Iterator[Told]:
    """What a definition names, and a note each of what it computes and of what it does elsewhere."""
    version = f"version {workflow.version}" if workflow.version else ""
    tasks = dict(_tasks(workflow.definition))
    abroad = {name: account for name, task in tasks.items() if (account := _other_account(place, task))}
    found = [(_state_of(thing), thing) for thing in written(workflow.definition)]
    for state, thing in found:
        is_local_name = thing.kind is not Kind.IMAGE and not thing.text.startswith("arn:")
        if not thing.computed and not (state in abroad and is_local_name):
            where = in_words(version, f"state {state}" if state else "")
            yield told_of(place, NAME, _within_state(thing), workflow.machine, where)
    computed = _computed(tasks, found)
    if computed:
        text = f"what these states start is computed in every execution, and is not known: {_listed(computed)}"
        yield Note(in_words(version, text), workflow.machine)
    if abroad:
        text = f"these states act in another account, and what they start there is not known: {_listed(abroad)}"
        yield Note(in_words(version, text), workflow.machine)


def _computed(tasks: Mapping[str, Json], found: Iterable[tuple[str, Written]]) -> dict[str, str]:
    """The states that start what is not written down, each with how it is computed."""
    computed: dict[str, str] = {}
    named: set[str] = set()
    for state, thing in found:
        named.add(state)
        runs_image = thing.kind is not Kind.IMAGE or _STARTS_CONTAINERS.match(_integration(tasks.get(state, {})))
        if thing.computed and runs_image:
            computed.setdefault(state, f"{thing.path[-1]} from {thing.text[:100]}")
    for state, task in tasks.items():
        call = _integration(task)
        is_whole = not isinstance(task.get("Parameters", task.get("Arguments")), Mapping)
        if (_STARTS_CONTAINERS.match(call) and is_whole) or (_STARTS_A_DEFINITION.match(call) and state not in named):
            computed.setdefault(state, "its whole request")
    return computed


def _tasks(definition: Any) -> Iterator[tuple[str, Json]]:  # noqa: ANN401 - JSON is Any
    """Every state that calls something, by name, however deep in parallel branches and maps."""
    if isinstance(definition, Mapping):
        states = definition.get("States")
        for name, state in states.items() if isinstance(states, Mapping) else ():
            if isinstance(state, Mapping) and state.get("Type") == "Task":
                yield name, state
        for inner in definition.values():
            yield from _tasks(inner)
    elif isinstance(definition, list):
        for inner in definition:
            yield from _tasks(inner)


def _integration(task: Json) -> str:
    """What a state calls, as "ecs:runTask"; "" for a function, an activity, or no task at all."""
    found = _INTEGRATION.match(str(task.get("Resource", "")))
    return f"{found['service']}:{found['action']}" if found else ""


def _other_account(place: Place, task: Json) -> str:
    """The account that a state acts in by a role of its own, where that is not this one."""
    credentials = task.get("Credentials")
    if not credentials:
        return ""
    role = credentials.get("RoleArn", "") if isinstance(credentials, Mapping) else ""
    found = _ACCOUNT_OF_ROLE.match(str(role))
    account = found[1] if found else "computed"
    return "" if account == place.account else account


def _state_of(thing: Written) -> str:
    """The innermost state that something stands in, "" outside of all."""
    at = _state_at(thing)
    return thing.path[at] if at else ""


def _within_state(thing: Written) -> Written:
    at = _state_at(thing)
    return msgspec.structs.replace(thing, path=thing.path[at + 1 :]) if at else thing


def _state_at(thing: Written) -> int:
    """Where in the path the name of the innermost state stands; 0 outside of all."""
    return max((at + 1 for at, key in enumerate(thing.path[:-1]) if key == "States"), default=0)


def _listed(states: Mapping[str, str]) -> str:
    return ", ".join(f"{state} ({why})" if state else why for state, why in states.items())
