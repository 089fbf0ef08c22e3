"""The plan as a document: the JSON of a decision, and the JSON Lines in which a plan is saved.

A saved plan is a header, a line a decision, and a footer with the number of lines and a digest of all
that stands before it, so that apply takes only what plan wrote, and all of it. The format is public:
docs/formats.md. Reading a plan trusts nothing in it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ecrsweep.core.accounts import Member
from ecrsweep.core.decisions import CHANGING, Action, Decision, Reason
from ecrsweep.core.errors import BadInput, PlanAltered, PlanExpired, PlanUnreadable
from ecrsweep.core.holds import Hold
from ecrsweep.core.images import Kind, OwnReads, Status
from ecrsweep.core.names import Registry, Repository
from ecrsweep.core.plan import HeldRegistry, Missed, RepositoryPlan, Summary
from ecrsweep.core.policy import DURATIONS, Limits, Policy, format_duration, parse_duration
from ecrsweep.core.prices import Prices
from ecrsweep.core.savings import Figures, Savings, Sizes, monthly_savings
from ecrsweep.core.times import parse_rfc3339, rfc3339, rfc3339_each
from ecrsweep.core.uses import Coverage, Use

PLAN_FORMAT: Final = "ecrsweep.plan/1"
_AT_ONCE: Final = 1000
_FEW: Final = 3
"""So many accounts, and regions of accounts, are named one by one."""


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a plan was asked about, so that apply can ask the same again."""

    account: str
    regions: tuple[str, ...]
    repositories: tuple[str, ...] = ("*",)
    consumer_regions: tuple[str, ...] | None = None
    skip_sources: tuple[str, ...] = ()
    with_sources: tuple[str, ...] = ()
    source_options: tuple[str, ...] = ()
    accept_gaps: tuple[str, ...] = ()
    accept_drops: tuple[str, ...] = ()
    uses_files: tuple[str, ...] = ()
    uses_commands: tuple[str, ...] = ()
    limits: Limits = Limits()
    override_limits: bool = False
    state: str | None = None
    """Where the ledger is, if the user said so: a folder or an s3:// address."""
    aliases: dict[str, Registry] = {}
    """Host names that the user says are registries."""
    hold_files: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    """The accounts of the run, by number; none where it is that of the credentials alone."""
    strict_consumers: bool = False
    """Whether accounts that may pull and are not asked are gaps."""

    @property
    def registries(self) -> tuple[Registry, ...]:
        """The registries whose images may go, by account and region."""
        if not self.members:
            return tuple(Registry(self.account, region) for region in self.regions)
        return tuple(Registry(member.account, region) for member in self.members for region in member.regions)

    @property
    def consumers(self) -> tuple[str, ...]:
        """The accounts that are asked what is in use."""
        if not self.members:
            return (self.account,)
        return tuple(member.account for member in self.members if member.asked)

    @property
    def accounts(self) -> tuple[str, ...]:
        """All accounts of the run."""
        return tuple(member.account for member in self.members) or (self.account,)

    @property
    def described(self) -> str:
        """Where it is, in words."""
        if not self.members:
            return f"account {self.account} in {', '.join(self.regions)}"
        holding = [member for member in self.members if member.regions]
        if len(holding) <= _FEW:
            return "; ".join(f"account {member.account} in {_regions(member.regions)}" for member in holding)
        return f"{len(holding)} accounts in {_regions(self.regions)}"


def _regions(regions: Sequence[str]) -> str:
    return ", ".join(regions) if len(regions) <= _FEW else f"{len(regions)} regions"


class Header(msgspec.Struct, frozen=True):
    """The first line: when, by what, under which rules, about what. Times are seconds since the epoch."""

    created_at: float
    expires_at: float
    tool_version: str
    policies: tuple[Policy, ...]
    scope: Scope
    holds: tuple[Hold, ...] = ()
    policy_at: float | None = None
    """The moment of the past for which it was decided, where it was one. Such a plan is never carried out."""

    def require_current(self, now: float) -> None:
        """Raise `PlanExpired` where the plan is older than it may be."""
        if now > self.expires_at:
            raise PlanExpired(
                f"The plan expired at {rfc3339(self.expires_at)}: what it saw may no longer be true. Make a new one."
            )

    def document(self) -> dict[str, Any]:
        """The header as JSON-able data; `policy_at` stands only where there is one."""
        return {
            "format": PLAN_FORMAT,
            "created_at": rfc3339(self.created_at),
            "expires_at": rfc3339(self.expires_at),
            "tool_version": self.tool_version,
            "policy": [policy_document(policy) for policy in self.policies],
            "scope": msgspec.to_builtins(self.scope),
            **({"holds": [hold.document() for hold in self.holds]} if self.holds else {}),
            **({} if self.policy_at is None else {"policy_at": rfc3339(self.policy_at)}),
        }


class Footer(msgspec.Struct, frozen=True):
    """What is known only when all decisions are made.

    `verdict` is a limit that holds the whole run. `savings` None: nobody asked for the true bytes.
    """

    coverage: tuple[Coverage, ...]
    unresolved: tuple[Use, ...]
    summary: Summary
    verdict: Reason | None = None
    foreign_uses: int = 0
    own_reads: OwnReads = OwnReads()
    limited: bool = False
    """True where a limit holds a repository."""
    savings: Savings | None = None
    missed: tuple[Missed, ...] = ()
    """The images that something uses and that are archived."""
    held_registries: tuple[HeldRegistry, ...] = ()
    """Those that a limit holds as a whole. Their images stand in the plan as they were decided."""

    @property
    def figures(self) -> Figures | None:
        """The true bytes; None where nobody asked for them."""
        return None if self.savings is None else self.savings.figures

    def document(self) -> dict[str, Any]:
        """The footer as JSON-able data, without the number of lines and the digest."""
        document = {
            "coverage": [coverage_document(entry) for entry in self.coverage],
            "unresolved": [unresolved_document(use) for use in self.unresolved],
            "summary": summary_document(self.summary, self.figures),
            "verdict": msgspec.to_builtins(self.verdict),
            "foreign_uses": self.foreign_uses,
            "indexes_last_read_by_ourselves": self.own_reads.indexes,
            **({"archived_in_use": [missed_document(image) for image in self.missed]} if self.missed else {}),
            **held_document(self.held_registries),
        }
        document |= {"images_last_read_by_ourselves": self.own_reads.images} if self.own_reads.images else {}
        return document | ({} if self.savings is None else {"savings": savings_document(self.savings)})


class PlannedImage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A decision as it stands in a document. Times are RFC 3339. `untag` stands only where tags go, `state` where it is not ACTIVE."""

    account: str
    region: str
    repository: str
    digest: str
    tags: tuple[str, ...]
    kind: Kind
    media_type: str | None
    pushed_at: str | None
    pulled_at: str | None
    size_bytes: int
    action: Action
    reasons: tuple[Reason, ...]
    untag: tuple[str, ...] = ()
    state: str = Status.ACTIVE.value

    @property
    def place(self) -> Repository:
        """The repository that holds it."""
        return Repository(Registry(self.account, self.region), self.repository)


class SavedPlan(msgspec.Struct, frozen=True):
    """A plan read back: its header, the images that it changes, and what its footer says of the whole.

    `figures` None: nobody asked for the true bytes.
    """

    header: Header
    going: tuple[PlannedImage, ...]
    summary: Summary
    verdict: str | None
    digest: str | None = None
    """That of its content, where it was read from a file."""
    figures: Figures | None = None
    held_registries: tuple[HeldRegistry, ...] = ()
    """Those in which nothing is to be changed."""

    @property
    def without_limits(self) -> "SavedPlan":
        """The same where the user overrides the limits that hold it."""
        return msgspec.structs.replace(self, verdict=None, held_registries=())

    @property
    def free(self) -> tuple[PlannedImage, ...]:
        """The images that it changes, but for those of registries that are held."""
        held = {held.registry for held in self.held_registries}
        return tuple(row for row in self.going if row.place.registry not in held)


def planned(repository: Repository, decision: Decision) -> PlannedImage:
    """A decision as it stands in a document."""
    return _rows(repository, (decision,))[0]


def _rows(repository: Repository, decisions: Sequence[Decision]) -> list[PlannedImage]:
    """Decisions as they stand in a document. Each time is written once, and stands in the words of reasons too."""
    account, region, name = repository.registry.account, repository.registry.region, repository.name
    pushed = rfc3339_each([decision.image.pushed_at for decision in decisions])
    pulled = rfc3339_each([decision.image.pulled_at for decision in decisions])
    return [
        PlannedImage(
            account,
            region,
            name,
            (image := decision.image).digest,
            tuple(sorted(image.tags)) if len(image.tags) > 1 else image.tags,
            image.kind,
            image.media_type,
            pushed_at,
            pulled_at,
            image.size_bytes,
            decision.action,
            decision.reasons_with(pushed_at, pulled_at),
            decision.untag,
            image.status,
        )
        for decision, pushed_at, pulled_at in zip(decisions, pushed, pulled, strict=True)
    ]


def _in_parts(decisions: Sequence[Decision]) -> Iterator[Sequence[Decision]]:
    """A thousand at a time: the rows of a large repository are never there all at once."""
    return (decisions[start : start + _AT_ONCE] for start in range(0, len(decisions), _AT_ONCE))


def decision_documents(plan: RepositoryPlan) -> Iterator[PlannedImage]:
    """All decisions of a repository, as they stand in a document."""
    return (row for some in _in_parts(plan.decisions) for row in _rows(plan.repository, some))


def changing_documents(plan: RepositoryPlan) -> Iterator[PlannedImage]:
    """The decisions of a repository for which an apply has something to do, as they stand in a document."""
    return (planned(plan.repository, decision) for decision in plan.decisions if decision.action in CHANGING)


def coverage_document(entry: Coverage) -> dict[str, Any]:
    """A coverage entry as JSON-able data; `accepted`, `drop` and `notes` stand only where there is such a thing."""
    document: dict[str, Any] = {
        "account": entry.account,
        "region": entry.region,
        "source": entry.source,
        "status": entry.status.value,
        "uses": entry.uses,
        "error": entry.error,
    }
    document |= {"accepted": True} if entry.accepted else {}
    document |= {"drop": entry.drop} if entry.drop else {}
    return document | ({"notes": list(entry.notes)} if entry.notes else {})


def unresolved_document(use: Use) -> dict[str, str]:
    """A use whose image is gone, as JSON-able data."""
    return {"reference": use.image, "workload": use.described, "source": use.source}


def summary_document(summary: Summary, figures: Figures | None) -> dict[str, Any]:
    """A summary as JSON-able data; the true bytes stand in it only where they were asked for."""
    document: dict[str, Any] = msgspec.to_builtins(summary)
    return document | ({} if figures is None else msgspec.to_builtins(figures))


def savings_document(savings: Savings) -> dict[str, Any]:
    """What is behind the figures, as JSON-able data: which prices, and each repository's part."""
    prices = savings.prices
    return {
        "prices": {"date": prices.date, "source": prices.source, "assumed_for": savings.assumed_regions},
        "repositories": [_sizes_document(repository, sizes, prices) for repository, sizes in savings.repositories],
    }


def _sizes_document(repository: Repository, sizes: Sizes, prices: Prices) -> dict[str, Any]:
    """Bytes that go and money are at most so much where `exact` is false."""
    usd = monthly_savings(sizes, repository.registry.region, prices)
    return {
        "account": repository.registry.account,
        "region": repository.registry.region,
        "repository": repository.name,
        "exact": sizes.is_exact,
        "delete_bytes": sizes.delete,
        "keep_bytes": sizes.keep,
        "archive_bytes": sizes.moved_to_archive,
        "monthly_savings_usd": None if usd is None else round(usd, 2),
        "manifests_unread": sizes.unread,
    }


def missed_document(image: Missed) -> dict[str, Any]:
    """An image in use that is archived, as JSON-able data."""
    return {
        "account": image.repository.registry.account,
        "region": image.repository.registry.region,
        "repository": image.repository.name,
        "digest": image.digest,
        "tags": list(image.tags),
        "state": image.state,
        "used_by": list(image.used_by),
    }


def held_document(held: Sequence[HeldRegistry]) -> dict[str, Any]:
    """The member for registries that are held, as JSON-able data; nothing where there are none."""
    rows = [
        {"account": one.registry.account, "region": one.registry.region, **msgspec.to_builtins(one.reason)}
        for one in held
    ]
    return {"held_registries": rows} if rows else {}


def read_held(raw: Mapping[str, Any]) -> tuple[HeldRegistry, ...]:
    """What `held_document` made. Raises `PlanUnreadable`."""
    try:
        return tuple(
            HeldRegistry(msgspec.convert(row, Registry), msgspec.convert(row, Reason))
            for row in raw.get("held_registries", ())
        )
    except (TypeError, msgspec.ValidationError) as error:
        raise PlanUnreadable(f"The registries that the plan holds cannot be read: {error}") from error


def policy_document(policy: Policy) -> dict[str, Any]:
    """A policy as JSON-able data, durations as people write them."""
    fields: dict[str, Any] = msgspec.to_builtins(policy)
    return fields | {name: None if fields[name] is None else format_duration(fields[name]) for name in DURATIONS}


class PlanLines:
    """A plan as JSON Lines: the bytes to write for its beginning, each repository as it comes, and its end."""

    def __init__(self) -> None:
        """Begin with nothing written."""
        self._encoder = msgspec.json.Encoder()
        self._content = hashlib.sha256()
        self._lines = 0

    def begin(self, header: Header) -> bytes:
        """The header."""
        return self._counted([header.document()])

    def add(self, plan: RepositoryPlan) -> Iterator[bytes]:
        """A line a decision, a thousand at a time."""
        for some in _in_parts(plan.decisions):
            yield self._counted(_rows(plan.repository, some))

    def end(self, footer: Footer) -> bytes:
        """The footer, with the number of all lines and the digest of all content."""
        last = footer.document() | {"lines": self._lines + 1}
        self._content.update(self._encoder.encode(last))
        return self._encoder.encode(last | {"digest": f"sha256:{self._content.hexdigest()}"}) + b"\n"

    def _counted(self, documents: Sequence[object]) -> bytes:
        lines = self._encoder.encode_lines(documents)
        self._content.update(lines)
        self._lines += len(documents)
        return lines


def read_plan(lines: Iterable[bytes], now: float) -> SavedPlan:
    """The plan that `PlanLines` wrote.

    Raises `PlanUnreadable`, `PlanAltered` or `PlanExpired`: whatever cannot be checked is refused.
    """
    going: list[PlannedImage] = []
    saved = read_rows(lines, lambda row: going.append(row) if row.action in CHANGING else None)
    if now is not None:
        saved.header.require_current(now)
    return msgspec.structs.replace(saved, going=tuple(going))


def read_rows(lines: Iterable[bytes], take: Callable[[PlannedImage], None]) -> SavedPlan:
    """A plan whose every decision is handed to `take` as it comes, and which may have expired. `going` is left empty.

    Raises `PlanUnreadable` or `PlanAltered`, perhaps after decisions were handed over.
    """
    content = hashlib.sha256()
    header: Header | None = None
    pending = b""
    count = 0
    decode = msgspec.json.Decoder(PlannedImage).decode
    for line in lines:
        if pending:
            content.update(pending)
            if header is None:
                header = read_header(_json_object(pending, "The first line is not the header of a plan"))
            else:
                take(_decoded(decode, pending, count))
        pending = line
        count += 1
    if header is None:
        raise PlanUnreadable(
            "This is not a saved plan: it has no header and footer. Make one with: ecrsweep plan --save FILE"
        )
    footer = _read_footer(pending, content, count)
    verdict = footer.get("verdict")
    return SavedPlan(
        header,
        (),
        msgspec.convert(footer["summary"], Summary),
        None if verdict is None else str(verdict.get("detail")),
        f"sha256:{content.hexdigest()}",
        msgspec.convert(footer["summary"], Figures) if footer.get("savings") else None,
        read_held(footer),
    )


def read_header(raw: Mapping[str, Any]) -> Header:
    """The header that `Header.document` made. Raises `PlanUnreadable`."""
    if raw.get("format") != PLAN_FORMAT:
        raise PlanUnreadable(
            f"This is not a plan that this version can carry out: its format is {raw.get('format')!r}, not {PLAN_FORMAT!r}."
        )
    if "policy_at" in raw:
        raise PlanUnreadable(
            f"This plan says what would have been decided at {raw['policy_at']}: it cannot be carried out. Make one without --policy-at."
        )
    try:
        return Header(
            parse_rfc3339(raw["created_at"]),
            parse_rfc3339(raw["expires_at"]),
            str(raw["tool_version"]),
            tuple(_read_policy(policy) for policy in raw["policy"]),
            msgspec.convert(raw["scope"], Scope),
        )
    except (KeyError, TypeError, BadInput, msgspec.ValidationError) as error:
        raise PlanUnreadable(f"The header of the plan cannot be read: {error}") from error


def _read_policy(raw: Mapping[str, Any]) -> Policy:
    durations = {name: parse_duration(raw[name]) for name in DURATIONS if raw.get(name) is not None}
    return msgspec.convert({**raw, **durations}, Policy)


def _read_footer(
    line: bytes,
    content: Any,  # noqa: ANN401 - hashlib has no public type
    count: int,
) -> dict[str, Any]:
    raw = _json_object(line, "The plan was cut short: its last line is not a footer")
    if "summary" not in raw or "digest" not in raw:
        raise PlanUnreadable("The plan was cut short: it has no footer. Nothing was done.")
    claimed = raw.pop("digest")
    content.update(msgspec.json.encode(raw))
    if raw.get("lines") != count or claimed != f"sha256:{content.hexdigest()}":
        raise PlanAltered("The plan was changed after it was saved: its content does not match its digest.")
    return raw


def _json_object(line: bytes, otherwise: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise PlanUnreadable(f"{otherwise}. Make one with: ecrsweep plan --save FILE") from error


def _decoded(decode: Any, line: bytes, number: int) -> PlannedImage:  # noqa: ANN401 - a bound method of msgspec's
    try:
        row: PlannedImage = decode(line)
    except msgspec.MsgspecError as error:
        raise PlanUnreadable(f"Line {number} of the plan cannot be read: {error}") from error
    return row
