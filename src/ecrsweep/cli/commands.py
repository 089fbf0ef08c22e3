"""The commands and their flags. Each one gathers what was typed and calls the module of its name."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ecrsweep._version import __version__

Command = TypeVar("Command", bound=Callable[..., Any])

_TOGETHER = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _configured(context: click.Context, _: click.Parameter, path: str | None) -> Any:  # noqa: ANN401 - a Configuration: its module takes its time
    """Read the configuration before the other flags are looked at: what it says stands in the place of their defaults."""
    if path is None or context.resilient_parsing:
        return None
    from ecrsweep.wiring.given import configuration_from  # noqa: PLC0415 - boto3 takes its time

    configuration = configuration_from(path)
    for warning in configuration.warnings:
        click.echo(f"Warning: {warning}", err=True)
    context.default_map = dict(configuration.settings)
    return configuration


_config = click.option(
    "--config", envvar="ECRSWEEP_CONFIG", metavar="FILE", is_eager=True, callback=_configured,
    help="A configuration in YAML; flags come before what it says. See: ecrsweep init.",
)  # fmt: skip
_account = _all_of(
    click.option("--profile", help="Profile of the AWS configuration to use."),
    click.option("--region", "regions", multiple=True, help="Region of the registry; repeatable, or 'all'."),
    click.option("--account", "accounts", multiple=True, metavar="ID",
                 help="Account whose registries are looked at, if not that of the credentials; repeatable."),
    click.option("--role-name", metavar="ROLE", help="Role to assume in each account, by name or ARN."),
    click.option("--external-id", metavar="ID", help="What that role wants to be told besides."),
    click.option("--endpoint-url", metavar="URL", help="Send all requests here instead of to AWS."),
    click.option("--quiet", is_flag=True, help="No progress, only results and errors."),
    click.option("--verbose", is_flag=True, help="Show more: each image, each workload."),
    click.option("--color", type=click.Choice(["auto", "on", "off"]), default="auto", show_default=True),
    click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True),
)  # fmt: skip
_session = _all_of(_config, _account)
_evidence = _all_of(
    click.option("--consumer-region", "consumer_regions", multiple=True, metavar="REGION",
                 help="Ask only here what is in use; repeatable. Default: all enabled regions."),
    click.option("--uses-file", "uses_files", multiple=True, metavar="FILE",
                 help="Further images in use: a uses file, a JSON or plain list of names; a path, s3://... or - for "
                      "standard input; repeatable."),
    click.option("--uses-command", "uses_commands", multiple=True, metavar="CMD",
                 help="Further images in use: what this command prints, in the same forms; run without a shell; repeatable."),
    click.option("--skip-source", "skip_sources", multiple=True, metavar="NAME",
                 help="Do not ask this source; repeatable. Shown as skipped."),
    click.option("--with-source", "with_sources", multiple=True, metavar="NAME",
                 help="Also ask this source, which is off by default; repeatable."),
    click.option("--source-option", "source_options", multiple=True, metavar="NAME.KEY=VALUE",
                 help="An option of a source, such as cloudtrail.days=30; repeatable."),
    click.option("--accept-gap", "accept_gaps", multiple=True, metavar="SOURCE[@ACCOUNT][/REGION]",
                 help="Go ahead although this could not be read; repeatable."),
    click.option("--accept-drop", "accept_drops", multiple=True, metavar="SOURCE[@ACCOUNT][/REGION]",
                 help="Go ahead although this tells far fewer uses than before; repeatable."),
    click.option("--state", envvar="ECRSWEEP_STATE", metavar="FOLDER|s3://BUCKET/PREFIX",
                 help="Where the ledger is kept. Default: a folder of this machine."),
)  # fmt: skip
_retention = _all_of(
    click.option("--repository", "repositories", multiple=True, metavar="PATTERN",
                 help="Only repositories that match this glob; repeatable."),
    click.option("--keep-newest", type=int, default=100, show_default=True, metavar="N",
                 help="Keep the newest N tagged artifacts of each repository."),
    click.option("--keep-tag", "keep_tags", multiple=True, metavar="PATTERN",
                 help="Keep images with a tag that matches this glob, besides 'latest'; repeatable."),
    click.option("--keep-latest/--no-keep-latest", default=True, help="Whether the tag 'latest' protects."),
    click.option("--pushed-within", metavar="DURATION", help="Keep what was pushed within this time, such as 30d."),
    click.option("--pulled-within", metavar="DURATION", default="30d", show_default=True,
                 help="Keep what was pushed or pulled within this time; 0d switches it off."),
    click.option("--used-within", metavar="DURATION", default="30d", show_default=True,
                 help="Keep what an earlier run saw in use within this time; 0d switches it off."),
    click.option("--otherwise", type=click.Choice(["delete", "archive", "trial", "keep"]), default="delete", show_default=True,
                 help="What becomes of the rest: trial archives it, and deletes it when nothing missed it for --trial-for."),
    click.option("--trial-for", metavar="DURATION", default="30d", show_default=True, help="How long a trial takes."),
    click.option("--delete-after-archived", metavar="DURATION",
                 help="Delete what has been in the archive for this time. Default: never."),
    click.option("--hold-file", "hold_files", multiple=True, metavar="FILE",
                 help="Images that their owners hold; a path or s3://...; repeatable."),
)  # fmt: skip
_limits = _all_of(
    click.option("--max-fraction", type=float, metavar="F", default=0.5, show_default=True,
                 help="Hold a repository of more than 20 images of which more than this fraction would go; 1 is no limit."),
    click.option("--max-images", type=int, metavar="N", help="Hold the run if more images would go."),
    click.option("--max-bytes", type=int, metavar="N", help="Hold the run if more bytes would go."),
    click.option("--max-images-per-registry", type=int, metavar="N",
                 help="Hold a registry if more images of it would go; others go on."),
    click.option("--max-bytes-per-registry", type=int, metavar="N",
                 help="Hold a registry if more bytes of it would go; others go on."),
    click.option("--override-limits", is_flag=True, help="Go ahead although a limit is passed."),
)  # fmt: skip
_true_bytes = _all_of(
    click.option("--exact-size", is_flag=True,
                 help="Count each layer once a repository, and what that is worth: reads every manifest once in its life."),
    click.option("--prices", metavar="FILE", help="Value the bytes at these prices. Default: list prices that come along."),
)  # fmt: skip
_permissions = _all_of(
    _config,
    click.option("--for", "purpose", type=click.Choice(["plan", "apply", "archive", "restore", "guard", "guard-preview", "member",
                                                "member-apply", "member-archive", "caller"]), default="plan",
                 show_default=True, help="What the identity shall be able to do."),
    click.option("--region", "regions", multiple=True, help="Region of the registry; repeatable. Default: any."),
    click.option("--consumer-region", "consumer_regions", multiple=True, metavar="REGION",
                 help="Region where it is asked what is in use; repeatable. Default: any."),
    click.option("--repository", "repositories", multiple=True, metavar="PATTERN",
                 help="Only repositories that match this glob; repeatable."),
    click.option("--skip-source", "skip_sources", multiple=True, metavar="NAME",
                 help="Leave out what this source needs; repeatable."),
    click.option("--with-source", "with_sources", multiple=True, metavar="NAME",
                 help="Add what this source needs, which is off by default; repeatable."),
    click.option("--account", "accounts", multiple=True, metavar="ID",
                 help="Only what is of this account, 12 digits; repeatable with --for caller. Default: any."),
    click.option("--role-name", metavar="NAME",
                 help="With --for caller: the role to assume in the accounts. Default: ecrsweep."),
    click.option("--partition", metavar="NAME", help="Such as aws or aws-cn. Default: that of the regions, else any."),
    click.option("--bucket", metavar="NAME", help="Add what keeping plans, reports and the cache in this bucket needs."),
)  # fmt: skip
_output = click.option("--output", type=click.Choice(["table", "json", "jsonl"]), default="table", show_default=True)


@click.group(context_settings=_TOGETHER)
@click.version_option(__version__, prog_name="ecrsweep")
def root() -> None:
    """Delete the images in Amazon ECR that nothing uses, and prove why each one stays or goes."""


@root.command()
@_session
@_evidence
@_retention
@_true_bytes
@_limits
@_output
@click.option("--save", metavar="FILE", help="Keep the plan for 'ecrsweep apply FILE'.")
@click.option("--diff", metavar="FILE", help="Show what changed since the plan in this file.")
@click.option(
    "--policy-at",
    metavar="DATE",
    help="Show what push and pull times alone would have decided then: 2026-01-31, a time in RFC 3339, or 30d "
    "for so long ago.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 3 when something can go.")
def plan(**flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Decide, image by image, and show it. Never changes anything."""
    from ecrsweep.cli.plan import run_plan  # noqa: PLC0415 - boto3 takes its time

    return run_plan(flags)


@root.command()
@click.argument("file", required=False)
@_session
@_evidence
@_retention
@_true_bytes
@_limits
@_output
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--journal", metavar="FILE|s3://BUCKET/KEY",
              help="Write down here what is really done. Default: beside the ledger.")  # fmt: skip
@click.option("--resume", metavar="JOURNAL",
              help="Go on with a run that was interrupted, from its journal: a file or s3:// address.")  # fmt: skip
@click.option("--manifests/--no-manifests", default=True,
              help="Whether the journal keeps the manifests of what is deleted, so that it can be pushed back for a while.")  # fmt: skip
@click.pass_context
def apply(context: click.Context, /, file: str | None, **flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Carry out a saved plan; without FILE: plan, show, confirm, apply.

    Everything is read again first: what is in use by now, or changed since the plan, is spared.
    """
    from ecrsweep.cli.apply import run_apply  # noqa: PLC0415 - boto3 takes its time

    typed = {name for name in flags if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    return run_apply(file, flags, typed)


@root.command()
@_session
@_evidence
@_output
@click.option("--save", metavar="FILE", help="Write a uses file, for --uses-file of another run.")
@click.option("--history", metavar="IMAGE", help="Show who was seen using one image, first and last when, by all runs.")
@click.option(
    "--unexplained",
    is_flag=True,
    help="Only pulls by somebody of whom no other source knows; asks the source cloudtrail.",
)
def uses(**flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Show the images in use, and who uses them.

    With --history IMAGE nothing is asked anew: what earlier runs saw of it is shown. IMAGE is named as for explain.
    """
    from ecrsweep.cli.uses import run_uses  # noqa: PLC0415 - boto3 takes its time

    return run_uses(flags)


@root.group()
def journal() -> None:
    """What runs did."""


@journal.command("show")
@click.argument("location", metavar="FILE|s3://BUCKET/KEY")
@click.option("--profile", help="Profile of the AWS configuration to use, for a bucket.")
@click.option("--endpoint-url", metavar="URL", help="Send requests to the bucket here instead of to AWS.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--color", type=click.Choice(["auto", "on", "off"]), default="auto", show_default=True)
def journal_show(location: str, **flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Sum up the journal of an apply. Exits with 4 where its run did not come to its end."""
    from ecrsweep.cli.journal import run_journal_show  # noqa: PLC0415 - boto3 takes its time

    return run_journal_show(location, flags)


@root.command()
@click.argument("image")
@_session
@_evidence
@_retention
@_limits
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def explain(image: str, **flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Show everything known about one IMAGE, and why it stays or goes.

    IMAGE is a full name, or repository:tag or repository@sha256:... in the registry of the region. The
    digest may be cut short.
    """
    from ecrsweep.cli.explain import run_explain  # noqa: PLC0415 - boto3 takes its time

    return run_explain(image, flags)


@root.command()
@_session
@_evidence
@_retention
@_output
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=90,
    show_default=True,
    metavar="N",
    help="How many days are replayed, a run a day.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 3 when an image would have gone that was pulled afterwards.")
def simulate(**flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Replay the policy over the past, and show what would have gone and was pulled afterwards.

    Rests on push and pull times; what is in use now is asked to tell which of these the evidence would have kept.
    Never changes anything.
    """
    from ecrsweep.cli.simulate import run_simulate  # noqa: PLC0415 - boto3 takes its time

    return run_simulate(flags)


@root.command()
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@_session
@click.option("--plan", metavar="FILE", help="Bring back what this saved plan archived, expired or not.")
@click.option(
    "--journal", metavar="FILE|s3://BUCKET/KEY", help="Bring back what this run archived, deleted or took tags off."
)
@click.option(
    "--state",
    envvar="ECRSWEEP_STATE",
    metavar="FOLDER|s3://BUCKET/PREFIX",
    help="Where it was noted what archived indexes contain. Default: a folder of this machine.",
)
@click.option(
    "--wait/--no-wait", default=True, help="Whether to wait until the images can be pulled, about 20 minutes."
)
@click.option("--timeout", default="40m", show_default=True, metavar="DURATION", help="How long to wait.")
@_output
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def restore(images: tuple[str, ...], **flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Bring archived images back: IMAGE with all that belongs to it, or what a plan or a run took away.

    IMAGE is named as for explain. What was deleted comes back from the journal of the run while ECR still has its layers. A tag
    that names another image by now is left alone.
    """
    from ecrsweep.cli.restore import run_restore  # noqa: PLC0415 - boto3 takes its time

    return run_restore(images, flags)


@root.command("iam-policy")
@_permissions
def iam_policy(**flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Print the least IAM policy for a configuration. Asks AWS nothing, and needs no credentials."""
    from ecrsweep.cli.iam import run_iam_policy  # noqa: PLC0415 - botocore takes its time

    return run_iam_policy(flags)


@root.command()
@_session
@_evidence
@click.option(
    "--repository",
    "repositories",
    multiple=True,
    metavar="PATTERN",
    help="Only repositories that match this glob; repeatable.",
)
@_output
@click.option("--all", "all_of_them", is_flag=True, help="Also show what the policies take that nothing known uses.")
@click.option("--preview", is_flag=True, help="Also ask AWS to preview its policies, and show where it differs.")
@click.option("--exit-code", is_flag=True, help="Exit with 3 when an image in use is about to be taken.")
def guard(**flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Show the images in use that the AWS lifecycle policies in place are about to expire or archive."""
    from ecrsweep.cli.guard import run_guard  # noqa: PLC0415 - boto3 takes its time

    return run_guard(flags)


@root.command()
@_session
@_evidence
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def doctor(**flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Examine credentials, regions, permissions and sources: what works, and what is missing.

    Everything is really read, and nothing is changed. Exits with 5 when a plan would be held.
    """
    from ecrsweep.cli.doctor import run_doctor  # noqa: PLC0415 - boto3 takes its time

    return run_doctor(flags)


@root.command()
@_account
@click.option(
    "--output-file",
    default="ecrsweep.yaml",
    show_default=True,
    metavar="FILE",
    help="Where to write it; - for standard output.",
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(**flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Write a first configuration from what the registries hold, each policy with its reasons. Changes nothing in AWS."""
    from ecrsweep.cli.init import run_init  # noqa: PLC0415 - boto3 takes its time

    return run_init(flags)


@root.command()
@click.argument("what", type=click.Choice(["config", "holds", "plan", "uses"]))
def schema(what: str) -> int:
    """Print the JSON Schema of the configuration, of hold files, of a plan or of a uses file, for editors and programs."""
    from ecrsweep.cli.schema import run_schema  # noqa: PLC0415 - msgspec and the sources take their time

    return run_schema(what)


@root.group()
def policy() -> None:
    """What the policies of a configuration mean elsewhere."""


@policy.command("to-lifecycle")
@_config
@click.option("--policy", "name", metavar="NAME", help="The policy of this name.")
@click.option("--repository", metavar="NAME", help="The policy that governs this repository.")
@click.option(
    "--ignore",
    "ignored",
    multiple=True,
    type=click.Choice(["grace", "pulled_within", "pushed_within"]),
    help="Give this criterion up, so that AWS takes what it keeps; repeatable.",
)
def to_lifecycle(**flags: Any) -> int:  # noqa: ANN401 - what click gathers
    """Print the nearest AWS lifecycle policy to a policy, and say what it cannot express. Asks AWS nothing.

    AWS does not know what is in use: what ecrsweep would keep for that, AWS takes.
    """
    from ecrsweep.cli.translate import run_to_lifecycle  # noqa: PLC0415 - msgspec takes its time

    return run_to_lifecycle(flags)


@root.command()
@click.option("--keep-running", is_flag=True, help="Stay up, so that every other command can be tried against it.")
@click.option("--port", type=int, default=0, metavar="PORT", help="Listen here; 0 takes a free port.")
@click.option("--color", type=click.Choice(["auto", "on", "off"]), default="auto", show_default=True)
def demo(*, keep_running: bool, port: int, color: str) -> int:
    """Show the whole thing on an embedded AWS: no account, no docker."""
    from ecrsweep.cli.demo import run_demo  # noqa: PLC0415 - moto takes its time

    return run_demo(keep_running=keep_running, port=port, color=color)
