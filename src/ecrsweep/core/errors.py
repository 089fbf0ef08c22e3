"""Every error that ecrsweep raises on purpose, so that callers can tell them apart.

EcrsweepError
├── BadName              an image name, digest or registry that cannot be parsed
├── BadInput             a flag, pattern, duration or file of the user's that makes no sense
├── PlanError            a plan that apply must not carry out
│   ├── PlanUnreadable   not a plan, cut short, or of a version this program does not know
│   ├── PlanAltered      its content is not what was saved
│   ├── PlanExpired      older than it may be
│   └── PlanForeign      of another account
├── JournalUnreadable    not a journal, damaged, or of a version this program does not know
├── Busy                 another run is changing the same registry
├── NotFound             the image or repository that was asked for does not exist
├── Interrupted          the user or the system asked to stop
├── StateFailure         the folder or bucket of ledger and journals cannot be read or written
├── PolicyUnreadable     a policy of a repository or registry, of which nobody can say whom it lets pull
└── AwsFailure           AWS or a cluster, or the way to it, did not answer as hoped
    ├── CredentialsFailure  no credentials, or credentials that are no longer valid
    │   ├── CallerFailure   those with which a role is to be assumed
    │   └── WrongAccount    credentials of another account than the one that they were given for
    ├── Denied           the identity may not make the call
    │   ├── ClosedByOrganization  a service control policy refuses it
    │   ├── RoleRefused      a role cannot be assumed: it does not exist, or does not trust the caller
    │   ├── RoleForbidden    a service control policy refuses to assume a role. It closes no region: workloads may run there
    │   └── RoleRegionDisabled  the account of a role gives no credentials in the region that was asked
    ├── Throttled        refused for rate, retries included
    ├── Unreachable      no connection, no name, no answer in time
    │   └── RoleUnreachable  nobody answers who could let a role be assumed
    ├── Missing          the resource does not exist (any more)
    │   ├── LayersGone   the layers of a manifest are not in the repository
    │   └── PartsGone    an image that a manifest contains is not in the repository
    ├── TagTaken         an immutable tag names another image
    └── Malformed        an answer that is not what the service documents
"""


class EcrsweepError(Exception):
    """The base of all of them. Its text is a sentence for people."""


class BadName(EcrsweepError, ValueError):
    """An image name, digest or registry that cannot be parsed."""


class BadInput(EcrsweepError, ValueError):
    """A flag, pattern, duration or file of the user's that makes no sense."""


class PlanError(EcrsweepError):
    """A plan that apply must not carry out."""


class PlanUnreadable(PlanError):
    """Not a plan, cut short, or of a version this program does not know."""


class PlanAltered(PlanError):
    """The content of the plan is not what was saved."""


class PlanExpired(PlanError):
    """The plan is older than it may be."""


class PlanForeign(PlanError):
    """The plan is of another account than the credentials in hand."""


class JournalUnreadable(EcrsweepError):
    """Not a journal, damaged, or of a version this program does not know."""


class Busy(EcrsweepError):
    """Another run is changing the same registry."""


class NotFound(EcrsweepError):
    """The image or repository that was asked for does not exist."""


class Interrupted(EcrsweepError):
    """The user or the system asked to stop."""


class StateFailure(EcrsweepError):
    """The folder or bucket of ledger and journals cannot be read or written."""


class PolicyUnreadable(EcrsweepError):
    """A policy of a repository or registry, of which nobody can say whom it lets pull."""


class AwsFailure(EcrsweepError):
    """AWS or a Kubernetes cluster, or the way to it, did not answer as hoped.

    `action` is the IAM action of the call ("ecs:ListClusters") where it is known.
    """

    def __init__(self, message: str, *, action: str | None = None) -> None:
        super().__init__(message)
        self.action = action


class CredentialsFailure(AwsFailure):
    """No credentials, or credentials that are no longer valid."""


class CallerFailure(CredentialsFailure):
    """The credentials with which a role is to be assumed are not there, or not valid."""


class WrongAccount(CredentialsFailure):
    """The credentials are of another account than the one that they were given for."""


class Denied(AwsFailure):
    """The identity may not make the call."""


class ClosedByOrganization(Denied):
    """A service control policy of the organisation refuses the call."""


class RoleRefused(Denied):
    """A role cannot be assumed: it does not exist, or does not trust the caller. AWS does not say which."""


class RoleForbidden(Denied):
    """A service control policy refuses to assume a role. It closes no region: workloads may run there all the same."""


class RoleRegionDisabled(Denied):
    """The account of a role gives no temporary credentials in the region that was asked for them."""


class Throttled(AwsFailure):
    """Refused for its rate, retries included."""


class Unreachable(AwsFailure):
    """No connection, no name, or no answer in time."""


class RoleUnreachable(Unreachable):
    """Nobody answers who could let a role be assumed."""


class Missing(AwsFailure):
    """The resource does not exist (any more)."""


class LayersGone(Missing):
    """The layers of a manifest that is to be pushed are not in the repository (any more)."""


class PartsGone(Missing):
    """An image that a manifest to be pushed contains is not in the repository (any more)."""


class TagTaken(AwsFailure):
    """A tag that must not move names another image."""


class Malformed(AwsFailure):
    """An answer that is not what the service documents."""
