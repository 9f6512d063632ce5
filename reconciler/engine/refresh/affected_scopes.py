"""The scopes that audit log entries may concern.

An entry is settled for a scope if the scope was read after it, or if it reports our own write. Any
other entry means that the scope has to be read. An entry of an unknown type makes the whole log
unusable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from msgspec import Struct

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.refresh.audit_attribution import (
    Write,
    WritesByEntry,
    attribute,
    has_type,
    is_removal,
    reports_projects,
)
from reconciler.engine.refresh.checkpoint import (
    RefreshCheckpoint,
    ScopeKey,
    VerifiedScope,
    scope_key,
)
from reconciler.errors import ApiError
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.log import AuditEntry

_OTHER_FAMILIES = (
    "api_key.", "certificate.", "certificates.", "checkpoint.permission.", "external_key.", "external_storage.",
    "group.", "invite.", "ip_allowlist.", "login.", "logout.", "organization.", "project.", "rate_limit.", "role.",
    "scim.", "service_account.", "tunnel.", "user.", "workload_identity_provider.",
    "workload_identity_provider_mapping.",
)  # fmt: skip
"""Prefixes of known event types. Each kind declares which of them concern it; the rest concern
none."""


_ANY_SCOPE = "organization."
"""Prefix of events that may concern every scope: one of them switches the log itself off."""


class AttributedLog(Struct, frozen=True):
    """Entries of the log, with our own writes identified."""

    entries: Sequence[AuditEntry]
    ours: WritesByEntry
    """By id of an entry: the own writes that it may report."""
    projects_reported: bool
    """Whether entries report the projects of their objects."""


def is_reported_in_audit_log(kind: Kind | None) -> bool:
    """Whether the log reports every change of the kind."""
    return kind is not None and bool(kind.audit_events)


def attributed_log(
    entries: Sequence[AuditEntry], checkpoint: RefreshCheckpoint, inputs: PlanInputs
) -> AttributedLog:
    """Identify our own writes among entries."""
    proved = reports_projects(entries, checkpoint.writes, inputs.kinds)
    # These entries prove nothing, so what earlier ones proved still holds. A refutation counts at
    # once.
    projects_reported = checkpoint.projects_reported if proved is None else proved
    return AttributedLog(
        entries,
        attribute(entries, checkpoint.writes, inputs.kinds, projects_reported=projects_reported),
        projects_reported,
    )


def affected_scopes(
    verified: Collection[VerifiedScope],
    attributed: AttributedLog,
    inputs: PlanInputs,
    overlap_seconds: float,
) -> Mapping[ScopeKey, str]:
    """The scopes in which someone else may have changed something, each with the type of an entry.

    Raises ApiError for an entry of an unknown type.
    """
    # Every resource of the plan has an error, so no scope was verified.
    if not verified:
        return {}
    affected = AffectedScopes(verified, inputs, projects_reported=attributed.projects_reported)
    touched: dict[ScopeKey, str] = {}
    # Entries before every scope was settled are known to all of them; skipping those once is
    # cheaper than for each scope.
    since = min(scope.settled_before(overlap_seconds) for scope in verified)
    for entry in attributed.entries:
        if entry.at < since:
            continue
        own_writes = attributed.ours.get(entry.id, ())
        for scope in affected.of(entry):
            # One entry of somebody else is enough, so the first one becomes the reason.
            if scope.key in touched or entry.at < scope.settled_before(overlap_seconds):
                continue
            if not _is_settled(entry, own_writes, scope.key):
                touched[scope.key] = entry.type
    return touched


def _is_settled(entry: AuditEntry, own_writes: Sequence[Write], scope: ScopeKey) -> bool:
    """Whether an entry is our own and its effect on the scope is recorded. A removal may remove
    other objects too."""
    if not is_removal(entry):
        return bool(own_writes)
    # A deletion can cascade: a group takes its role assignments with it, and the log reports the
    # group only. The record shows the effect of our removal in the scope of the removed object.
    return any(write.removes and (write.kind, write.project) == scope for write in own_writes)


class AffectedScopes:
    """Maps an entry to the verified scopes that it may concern."""

    def __init__(
        self, verified: Collection[VerifiedScope], inputs: PlanInputs, *, projects_reported: bool
    ) -> None:
        self._verified = verified
        self._inputs = inputs
        self._names = project_names(inputs) if projects_reported else None
        self._of_kind: dict[str, list[VerifiedScope]] = defaultdict(list)
        self._at: dict[ScopeKey, VerifiedScope] = {}
        for scope in verified:
            self._of_kind[scope.kind].append(scope)
            self._at[scope.key] = scope

    def of(self, entry: AuditEntry) -> Iterable[VerifiedScope]:
        """The scopes of an entry. Raises ApiError if its type is unknown."""
        # The generic event names no kind. Only recorded ids that contain the named id can be meant.
        if entry.type == "resource.deleted":
            return self._verified_in(self._recorded_with(entry.resource_id))
        # Tenant events concern the organization and never name a project.
        if entry.type.startswith("tenant."):
            return [scope for scope in self._verified if scope.project is None]
        if entry.type.startswith(_ANY_SCOPE):
            return self._verified
        # An unknown family may concern anything. Trusting the log in spite of it could hide drift.
        kinds = [kind for kind in self._inputs.kinds.values() if has_type(entry, kind.audit_events)]
        if not kinds and not entry.type.startswith(_OTHER_FAMILIES):
            raise ApiError(f'it has an entry of an unknown type, "{entry.type}"')
        return chain.from_iterable(self._in_project(kind, entry) for kind in kinds)

    def _recorded_with(self, id: str | None) -> set[ScopeKey]:
        """The scopes of the records whose id contains an id."""
        keys: set[ScopeKey] = set()
        for address, record in self._inputs.records.items():
            # A recorded id can hold those of its parents, and the event may name any of them.
            if id is not None and id in record.id:
                keys.add(scope_key(address))
        return keys

    def _verified_in(self, keys: Iterable[ScopeKey]) -> Iterable[VerifiedScope]:
        return [self._at[key] for key in keys if key in self._at]

    def _in_project(self, kind: Kind, entry: AuditEntry) -> Iterable[VerifiedScope]:
        scopes = self._of_kind.get(kind.name, ())
        # Without a project that can be relied on, the entry may concern any scope of the kind.
        if self._names is None or entry.project_id is None or not self.is_of_one_project(entry):
            return scopes
        # The same kind can also live in the organization, which entries do not rule out.
        homes = (None, *self._names.get(entry.project_id, ()))
        return self._verified_in((kind.name, home) for home in homes)

    def is_of_one_project(self, entry: AuditEntry) -> bool:
        """Whether an entry can only concern kinds that live in projects."""
        scopes: set[ScopeType] = set()
        for kind in self._inputs.kinds.values():
            # Only the first prefix is the kind's own. The others are events of other kinds that
            # change it, such as a role that a user has.
            if has_type(entry, kind.audit_events[:1]):
                scopes.add(kind.scope)
        return scopes == {ScopeType.PROJECT}


def project_names(inputs: PlanInputs) -> dict[str, set[str]]:
    """By project id: the names of the project in the configuration."""
    names: dict[str, set[str]] = defaultdict(set)
    for name, id in inputs.projects.items():
        names[id].add(name)
    for address, record in inputs.records.items():
        if address.kind in inputs.kinds and inputs.kinds[address.kind].defines_project:
            names[record.id].add(address.name)
        # A project that another stack manages has no record of its own here; the records of its
        # objects know its id.
        elif address.project and record.project_id:
            names[record.project_id].add(address.project)
    return names
