"""What would mend a way to an account: for callers and roles of every kind the very command, or who else can help."""

import pytest

from ecrsweep.aws.roles import Role
from ecrsweep.core.diagnosis import Identity
from ecrsweep.wiring.remedies import for_caller, for_permissions, for_role

HERE, THERE = "111111111111", "222222222222"
CALLER = f"arn:aws:iam::{HERE}:role/ci/sweeper"
PEOPLE = f"arn:aws:iam::{HERE}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123"


def identity(principal: str, unsure: str | None = None) -> Identity:
    return Identity(HERE, f"arn:aws:sts::{HERE}:assumed-role/sweeper/run", principal, "env", unsure=unsure)


def test_the_template_trusts_this_caller_with_its_path_and_nobody_else() -> None:
    made = for_role(Role("aws", THERE, "ecrsweep", "it's"), identity(CALLER))
    (command,) = made.commands
    assert f"CallerRoleArn={CALLER} RoleName=ecrsweep" in command
    assert """'ExternalId=it'"'"'s'""" in command, "a shell reads it as it is"
    assert "--region us-east-1" in command
    assert "not known" not in made.text


def test_in_another_partition_the_role_is_made_in_its_main_region() -> None:
    (command,) = for_role(Role("aws-cn", THERE, "ecrsweep"), identity(CALLER.replace("aws", "aws-cn"))).commands
    assert "--region cn-north" in command


def test_a_path_that_nobody_may_ask_for_is_said_to_be_not_known() -> None:
    told = for_role(Role("aws", THERE, "ecrsweep"), identity(CALLER, "iam:GetRole was denied")).text
    assert "is not known here" in told
    assert "iam:GetRole was denied" in told


@pytest.mark.parametrize(
    ("name", "principal"),
    [("service/ecrsweep", CALLER), ("ecrsweep", f"arn:aws:iam::{HERE}:user/dana"), ("ecrsweep", "")],
)
def test_what_the_template_cannot_make_is_told_with_its_policy(name: str, principal: str) -> None:
    remedy = for_role(Role("aws", THERE, name), identity(principal))
    assert remedy.commands == ("ecrsweep iam-policy --for member",)
    assert name in remedy.text


@pytest.mark.parametrize(
    ("principal", "attaching"),
    [
        (CALLER, ["aws iam put-role-policy --role-name sweeper "]),
        (f"arn:aws:iam::{HERE}:user/dana", ["aws iam put-user-policy --user-name dana "]),
        (PEOPLE, []),
        ("", []),
    ],
)
def test_a_policy_is_attached_to_what_can_take_one(principal: str, attaching: list[str]) -> None:
    printing, *rest = for_caller(Role("aws", THERE, "ecrsweep"), identity(principal)).commands
    assert printing.startswith("ecrsweep iam-policy --for caller --role-name ecrsweep --partition aws")
    assert len(rest) == len(attaching)
    assert all(command.startswith(begins) for command, begins in zip(rest, attaching, strict=True))


def test_roles_of_one_name_in_several_accounts_are_mended_by_the_same() -> None:
    missing = ["ecs:ListTasks"]
    mended = {
        for_permissions(f"arn:aws:iam::{account}:role/ecrsweep", missing, member=True, sources=["cloudtrail"])
        for account in (HERE, THERE)
    }
    (remedy,) = mended
    assert '"ecs:ListTasks"' in remedy.text
    assert "--for member --with-source cloudtrail" in remedy.commands[0]
    assert for_permissions("", missing, member=False, sources=()).commands == ("ecrsweep iam-policy --for plan",)
