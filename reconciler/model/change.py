"""Plans and their outcomes, as values to show, save, check and apply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from reconciler.model.address import Address
from reconciler.model.checking import CheckReport
from reconciler.model.destruction import Loss
from reconciler.model.diagnostic import Diagnostic, SourceLocation
from reconciler.model.keys import KeyAction, KeyStep
from reconciler.model.kind import Removal
from reconciler.model.paths import Trail, dotted
from reconciler.model.policy import NO_POLICIES, PolicyReport
from reconciler.model.run_origin import RunReference
from reconciler.model.values import Spec


class Action(StrEnum):
    """What a change does to its object."""

    NO_OP = "no-op"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    ADOPT = "adopt"
    FORGET = "forget"

    @property
    def symbol(self) -> str:
        """The sign that precedes the change in a printed plan."""
        return _SYMBOLS[self]

    @property
    def writes(self) -> bool:
        """Whether the action changes anything at the API."""
        return self in (Action.CREATE, Action.UPDATE, Action.REPLACE, Action.DELETE)

    @property
    def destroys(self) -> bool:
        """Whether an object is gone afterwards."""
        return self in (Action.REPLACE, Action.DELETE)


_SYMBOLS = {
    Action.NO_OP: " ",
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "±",
    Action.DELETE: "-",
    Action.ADOPT: "=",
    Action.FORGET: "!",
}


class Reason(StrEnum):
    """Why an action was chosen. The value completes the sentence "will be created: …".

    The state stores the name, never the value, so sentences can be reworded.
    """

    IN_SYNC = "no changes"
    NEW = "it is declared and does not exist yet"
    DELETED_OUTSIDE = "it was deleted outside reconciler"
    ARCHIVED_OUTSIDE = "it was archived outside reconciler, which cannot be undone"
    ENDED = "it has ended, and the manifest still declares it"
    CONFIG = "the manifest changed"
    DRIFT = "it was changed outside reconciler"
    DIFFERS = "it differs from the manifest"
    CONFIG_AND_DRIFT = "the manifest changed, and so did the live object"
    FIRST_WRITE = "it always exists, and the manifest sets it for the first time"
    ADOPTED = "it already exists"
    FIELD_FORCES_REPLACEMENT = "a changed field can only be set at creation"
    EXPIRED = "it has expired and cannot be used again"
    KEY_LOST = "an interrupted run created it without delivering its key"
    ROTATION = "its keys are rotated"
    SATISFIED = "its purpose is already met"
    RUNNING = "it is still running"
    OTHER_INPUTS = "its inputs changed since it last ran"
    ENDED_JOB = "no manifest declares it, and the job has ended"
    REQUESTED = "replacement was requested"
    HALF_REPLACED = "an interrupted run already created its replacement"
    NOT_DECLARED = "no manifest declares it"
    RENAMED = "its address changed in the manifests"
    RETAINED = "the object is kept (lifecycle.on_remove)"
    GONE = "no manifest declares it, and it no longer exists"
    WITH_PROJECT = "its project is archived"
    LEFT_BEHIND = "a replacement left it behind"
    DESTROY = "everything managed is being destroyed"
    ROLLBACK = "it goes back to its state before the run"
    RETENTION = "a retention rule matches it"
    UNMARKED = "it does not carry the mark of this stack yet"
    OTHER_OWNER = "its mark says that another stack manages it now"
    OTHER_ADDRESS = "its object is now bound to another address"
    OTHER_PROJECT = (
        "it is now declared in another project, and objects cannot move between projects"
    )
    PROJECT_RETAINED = "its project is kept, with everything in it"
    UNTOUCHED = "the run being rolled back did not change it"
    BLOCKED = "it has an error"
    WAITS = "a resource it depends on has an error"
    RETIRED = "no manifest declares it, and the API has retired its kind"


class Origin(StrEnum):
    """Which side changed: the manifest, the live object, both, or unknown without a record."""

    CONFIG = "config"
    DRIFT = "drift"
    BOTH = "both"
    UNKNOWN = "unknown"


class FieldChange(Struct, frozen=True):
    """A changed field or a changed part of one."""

    path: Trail
    """The field's name, followed by keys and indexes."""
    before: Any
    """None if there was no value."""
    after: Any
    """None if there will be no value. It can be or contain an Unknown."""
    origin: Origin = Origin.CONFIG
    forces_replacement: bool = False
    note: str = ""
    """A remark for the printed plan."""

    @property
    def name(self) -> str:
        """The top-level field."""
        return str(self.path[0])

    @property
    def dotted(self) -> str:
        """The path as `tools[1].function.name`; keys other than words are quoted."""
        return dotted(self.path)


class Change(Struct, frozen=True):
    """The planned treatment of one address."""

    address: Address
    action: Action
    reason: Reason
    fields: tuple[FieldChange, ...] = ()
    id: str | None = None
    """The id of the existing object; None for creates."""
    project_id: str | None = None
    """The API's id of the project."""
    scope: str = ""
    """The scope of the kind, as a `ScopeType` value."""

    # With references and not with their values: an earlier step of the apply may create the target.
    desired: Spec = field(default_factory=dict)
    """The completed spec, empty for deletions. It still contains references, which apply resolves at the step."""
    restored: Spec = field(default_factory=dict)
    """Values that a rollback or strict mode writes to fields that no manifest declares."""
    after: Spec = field(default_factory=dict)
    """The object's fields as they will be, for display."""
    before: Spec = field(default_factory=dict)
    """The object's fields as they are, for display."""
    # The API has no revisions and no conditional writes, so a second read is the only protection
    # against overwriting what somebody changed after the plan.
    pre_image: Spec = field(default_factory=dict)
    """The live values that the plan compared. Apply refuses the change if they differ by then."""
    facts: Spec = field(default_factory=dict)
    """Other attributes of the object in the API's answer, such as `created_at`: for policies, and
    only if there are any.
    """

    depends_on: tuple[Address, ...] = ()
    """The addresses to create before this one, and to delete after it."""
    location: SourceLocation | None = None
    removal: Removal | None = None
    destructive: str = ""
    """What is lost if the object is deleted or replaced, as a clause."""
    create_before_destroy: bool = False
    prevent_destroy: bool = False
    on_remove: str | None = None
    sets_on_remove: bool = False
    """Whether the manifest sets `on_remove`, instead of inheriting it from the kind."""
    strict: bool = False
    """Whether the record keeps the values that the API chose, for strict mode to compare with."""
    renamed_from: Address | None = None
    mark: str = ""
    """The ownership mark that an adoption writes; empty if it writes none."""
    # A create after an incomplete search could create a second object.
    verify_before_create: bool = False
    """Whether apply has to search for the object first, because planning could not."""
    refusal: str = ""
    """Why the object must not be changed or removed here; empty if it may."""
    warnings: tuple[str, ...] = ()
    """Sentences about this change."""

    is_job: bool = False
    wait_for_job: bool = False
    """Whether apply waits until the job ends."""
    job_progress: str = ""
    """The progress of a job that was running while the plan was made."""
    results: Spec = field(default_factory=dict)
    """The results of a job that had ended by then."""

    matched_by: Address | None = None
    """The retention rule that matched the object. Such an object belongs to no resource."""
    losses: tuple[Loss, ...] = ()
    """The losses of an update in place."""
    keys: tuple[KeyStep, ...] = ()
    """What happens to the keys of the object. Where nothing else does, the change is an update without fields."""
    blocked: str = ""
    """Why this plan cannot change the address: its own error, or that of a resource it depends on.

    Such a change is a no-op that apply reports as failed (`Reason.BLOCKED`) or skipped (`Reason.WAITS`).
    """

    @property
    def is_change(self) -> bool:
        """Whether the change does anything, even if only in the state."""
        return self.action is not Action.NO_OP

    @property
    def field_names(self) -> tuple[str, ...]:
        """The distinct top-level fields that change, in order."""
        return tuple(dict.fromkeys(change.name for change in self.fields))

    @property
    def key_work(self) -> tuple[KeyStep, ...]:
        """The steps of keys that apply carries out."""
        return tuple(step for step in self.keys if step.action is not KeyAction.KEEP)

    @property
    def makes_object(self) -> bool:
        """Whether the address is bound to another object afterwards."""
        is_new = self.action in (Action.CREATE, Action.REPLACE)
        return is_new or any(step.makes_object for step in self.keys)

    @property
    def destroys(self) -> str:
        """The losses of the change, as clauses separated by semicolons; empty if there are none."""
        clauses = [loss.sentence for loss in self.losses]
        is_archived = self.action is Action.DELETE and self.removal is Removal.ARCHIVE
        if self.action.destroys and self.destructive:
            clauses.insert(0, self.destructive)
        elif is_archived:
            # The API has no call that brings an archived object back.
            clauses.insert(0, "archiving is permanent")
        return "; ".join(clauses)

    @property
    def is_destructive(self) -> bool:
        """Whether the change destroys anything. Restoring earlier values and forgetting an ended
        job do not.
        """
        if self.losses:
            return True
        # A job that has ended is only forgotten; its results stay at the API.
        if self.is_job and not self.destructive:
            return False
        return self.action.destroys and not (
            self.action is Action.DELETE and self.removal is Removal.RESTORE
        )


class Drift(Struct, frozen=True):
    """A change of a live object since our last write."""

    address: Address
    id: str
    fields: tuple[FieldChange, ...] = ()
    deleted: bool = False
    """Whether the whole object is gone."""
    location: SourceLocation | None = None
    project_id: str | None = None
    scope: str = ""
    blame: str = ""
    """Who changed it, according to the audit log; empty if the log was not read."""
    overdue: str = ""
    """The key that should have been rotated by now, as a clause; empty if none."""

    @property
    def is_changed(self) -> bool:
        """Whether somebody changed or deleted the object, and not only a key of it is overdue."""
        return self.deleted or bool(self.fields)


class OutputChange(Struct, frozen=True):
    """An output of the stack. The value after apply can be Unknown."""

    name: str
    after: Any
    before: Any = None


class Unmanaged(Struct, frozen=True):
    """A live object that no manifest declares and the state does not record."""

    kind: str
    id: str
    label: str
    project: str | None = None


class RefreshSummary(
    Struct,
    frozen=True,
    rename={
        "unchanged_scopes": "remembered",
        "full_refresh_reason": "because",
        "is_offline": "unread",
    },
):
    """How the live state for a plan was read. The renamed keys are those of saved plans."""

    unchanged_scopes: int = 0
    """The number of scopes that were not read because the audit log shows no change."""
    since: float | None = None
    """When the oldest of these scopes was read, in unix seconds."""
    full_refresh_reason: str = ""
    """Why all scopes were read; empty if some were not."""
    waited_seconds: float = 0.0
    """Time spent waiting for rate limits."""
    whole: bool = False
    """Whether the plan covers all resources, instead of only targets."""
    setback: str = ""
    """Why no scope could be skipped, for users; empty if they need not know."""
    is_offline: bool = False
    """Whether nothing was read."""
    began_at: float = 0.0
    """When reading began, in unix seconds of the server. Answers that other stacks had read count."""
    answered_by_log: bool = False
    """Whether nothing was read, because the audit log shows no change."""


class Plan(Struct, frozen=True):
    """The changes that would make the live state match the desired state, sorted by address."""

    stack: str
    environment: str
    changes: tuple[Change, ...]
    drift: tuple[Drift, ...] = ()
    outputs: tuple[OutputChange, ...] = ()
    unmanaged: tuple[Unmanaged, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    refusals: tuple[str, ...] = ()
    """The sentences of guards that refuse the plan. A refused plan is shown, and neither saved nor applied."""

    variables: Mapping[str, Any] = field(default_factory=dict)
    """Variables from the command line."""
    # Saved plans can be shared as artifacts of CI, so secrets are kept as digests only.
    input_digests: Mapping[str, str] = field(default_factory=dict)
    """Digests of inputs that are not stored: `env.NAME`, and `var.NAME` if it looks like a secret."""
    config_digest: str = ""
    """The digest of the configuration that the plan was made from."""
    # An apply of a saved plan is refused unless both still match the state.
    state_serial: int = 0
    state_lineage: str = ""
    """Empty if there was no state yet."""
    base_url: str = ""

    destroy: bool = False
    """Whether the plan destroys everything that the stack manages."""
    rollback_of: int | None = None
    """The number of the run that a rollback undoes. Such a plan comes from the state, not from manifests."""
    calls: int = 0
    """API calls made for the plan."""
    seconds: float = 0.0
    refresh: RefreshSummary = RefreshSummary()
    unsearched: bool = False
    """Whether the search for marked objects failed temporarily and has to be repeated."""
    policies: PolicyReport = NO_POLICIES
    """The results of policies. Saved plans do not keep them: an apply evaluates policies itself."""

    def __post_init__(self) -> None:
        # Every copy of a plan is sorted again, so sort by the key: an address builds two keys for
        # each comparison.
        changes = sorted(self.changes, key=lambda change: change.address.sort_key)
        drift = sorted(self.drift, key=lambda entry: entry.address.sort_key)
        force_setattr(self, "changes", tuple(changes))
        force_setattr(self, "drift", tuple(drift))

    @property
    def pending(self) -> tuple[Change, ...]:
        """The changes other than no-ops."""
        return tuple(change for change in self.changes if change.is_change)

    @property
    def blocked(self) -> tuple[Change, ...]:
        """The addresses with an error, and their dependents."""
        return tuple(change for change in self.changes if change.blocked)

    @property
    def is_empty(self) -> bool:
        """Whether the plan does nothing."""
        return not self.pending

    @property
    def destructive(self) -> tuple[Change, ...]:
        """The changes that destroy something."""
        return tuple(change for change in self.pending if change.is_destructive)

    def counts(self) -> Mapping[Action, int]:
        """The number of changes per action, without zeros."""
        return count_actions(self.changes)


class OutcomeStatus(StrEnum):
    """How a change ended."""

    APPLIED = "applied"
    FAILED = "failed"
    SKIPPED = "skipped"
    STALE = "stale"


class Outcome(Struct, frozen=True):
    """The result of applying one change."""

    change: Change
    status: OutcomeStatus
    id: str | None = None
    message: str = ""
    """The API's error message, or the failed dependency of a skipped change."""
    hint: str = ""
    request_id: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    changed_since_plan: tuple[FieldChange, ...] = ()
    """Changes by others since the plan, for stale changes."""
    blame: str = ""
    """Who changed it, according to the audit log."""
    was_started: bool = False
    """Whether a job was started, even if it failed afterwards."""
    refused: tuple[str, ...] = ()
    """A sentence for each file that the API refused while the change itself succeeded."""


class ApplyResult(Struct, frozen=True):
    """The outcomes of an apply, in address order."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    checks: CheckReport | None = None
    """The checks that ran after the apply."""
    run: RunReference | None = None
    """The run in the history; None until it is recorded."""
    resolved: Mapping[Address, Spec] = field(default_factory=dict)
    """The specs of changes whose planned values were not known, with their values."""
    policies: PolicyReport = NO_POLICIES
    """The policies that the plan left undecided, decided after the apply."""

    def of(self, status: OutcomeStatus) -> tuple[Outcome, ...]:
        """The outcomes with one status."""
        return tuple(outcome for outcome in self.outcomes if outcome.status is status)


def count_actions(changes: Iterable[Change]) -> Mapping[Action, int]:
    """The number of changes per action, in the order of `Action`, without zeros."""
    counts = dict.fromkeys(Action, 0)
    for change in changes:
        counts[change.action] += 1
    return {action: count for action, count in counts.items() if count}
