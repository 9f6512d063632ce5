"""Plans: what would make live match desired, as a value to save, show, check and apply."""

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
from reconciler.model.kind import Removal
from reconciler.model.paths import Trail, dotted
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
    WITH_PROJECT = "it goes when its project is archived"
    LEFT_BEHIND = "an interrupted replacement left it behind"
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
    """One field, from what to what. `path` starts with the field's name and goes down by keys and indexes.

    `before` is None where there was nothing, `after` where there will be nothing; `after` can be or hold an Unknown.
    """

    path: Trail
    before: Any
    after: Any
    origin: Origin = Origin.CONFIG
    forces_replacement: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """The top-level field."""
        return str(self.path[0])

    @property
    def dotted(self) -> str:
        """The path as people write it: `tools[1].function.name`; keys that are no words are quoted."""
        return dotted(self.path)


class Change(Struct, frozen=True):
    """What is to be done about one address.

    `desired` is the completed spec with its references still in place (empty for deletes); apply resolves them when
    their time comes. `restored` are values to write that are not desired: of fields that nobody declares, and that a
    rollback puts back. `scope` is the kind's own, as `Scope` spells it. `pre_image` is what the live object looked
    like, field by field, for the fields that can be compared; apply refuses the change if the object no longer looks
    so. `depends_on` orders: creates after, deletes before. `look_first` where the object could not be looked for while
    planning. `held` says why nobody may change or remove the object from here, where that is so. `warnings` are
    sentences about this change alone. Of a job, `standing` says how far the plan found it while it runs, `results` are
    those that it had by then, and `awaited` whether its end is to be waited for. `matched_by` is the rule for which an
    object is deleted that is nobody's. `sets_on_remove` where the manifest sets `on_remove` itself instead of leaving
    it to the kind. `mark` is the ownership mark that an adoption writes to the object, empty where it writes none.
    `destructive` says what goes with the object, and `losses` what an update in place destroys.
    """

    address: Address
    action: Action
    reason: Reason
    fields: tuple[FieldChange, ...] = ()
    id: str | None = None
    project_id: str | None = None
    scope: str = ""
    desired: Spec = field(default_factory=dict)
    restored: Spec = field(default_factory=dict)
    after: Spec = field(default_factory=dict)
    before: Spec = field(default_factory=dict)
    pre_image: Spec = field(default_factory=dict)
    depends_on: tuple[Address, ...] = ()
    location: SourceLocation | None = None
    removal: Removal | None = None
    destructive: str = ""
    create_before_destroy: bool = False
    prevent_destroy: bool = False
    on_remove: str | None = None
    sets_on_remove: bool = False
    renamed_from: Address | None = None
    mark: str = ""
    verify_before_create: bool = False
    refusal: str = ""
    warnings: tuple[str, ...] = ()
    is_job: bool = False
    wait_for_job: bool = False
    job_progress: str = ""
    results: Spec = field(default_factory=dict)
    matched_by: Address | None = None
    losses: tuple[Loss, ...] = ()
    blocked: str = ""
    """Why nothing can be done about the address in this plan: its own error, or that of a resource it depends on.

    Such a change is a no-op that apply reports as failed (`Reason.BLOCKED`) or skipped (`Reason.WAITS`).
    """

    @property
    def is_change(self) -> bool:
        """Whether there is anything to do, be it only in the state."""
        return self.action is not Action.NO_OP

    @property
    def field_names(self) -> tuple[str, ...]:
        """The top-level fields that change, each once, in order."""
        return tuple(dict.fromkeys(change.name for change in self.fields))

    @property
    def destroys(self) -> str:
        """What stops working, loses data or loses a limit because of the change; empty where nothing does."""
        whole = self.destructive if self.action.destroys else ""
        if self.action is Action.DELETE and self.removal is Removal.ARCHIVE:
            whole = whole or "archiving is permanent"
        return "; ".join(part for part in (whole, *(loss.sentence for loss in self.losses)) if part)

    @property
    def is_destructive(self) -> bool:
        """Whether something is destroyed: not so where only former values come back, or a job has ended."""
        if self.losses:
            return True
        if self.is_job and not self.destructive:
            return False
        return self.action.destroys and not (
            self.action is Action.DELETE and self.removal is Removal.RESTORE
        )


class Drift(Struct, frozen=True):
    """What moved live since we last wrote it: fields, or the whole object (`deleted`).

    `blame` is what the audit log says about who did it, where it was asked.
    """

    address: Address
    id: str
    fields: tuple[FieldChange, ...] = ()
    deleted: bool = False
    location: SourceLocation | None = None
    project_id: str | None = None
    scope: str = ""
    blame: str = ""


class OutputChange(Struct, frozen=True):
    """An output of the stack: its value after apply, which can be Unknown."""

    name: str
    after: Any
    before: Any = None


class Unmanaged(Struct, frozen=True):
    """An object at the API that neither a manifest nor the state knows."""

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
    """How live state was read for a plan: how many scopes the audit log showed to be as they were, since the oldest of
    them was read (unix seconds), or why all were read. `waited_seconds` were spent waiting for the API's pace. `whole`
    where nothing was left out because only targets were asked for. `setback` says in a few words why nothing could be
    left out, where that is worth a word; `unread` where nothing was read at all. `began_at` is when reading began, in
    unix seconds of the server.
    """

    unchanged_scopes: int = 0
    since: float | None = None
    full_refresh_reason: str = ""
    waited_seconds: float = 0.0
    whole: bool = False
    setback: str = ""
    is_offline: bool = False
    began_at: float = 0.0


class Plan(Struct, frozen=True):
    """The changes that would make live match desired. Order is decided here, once.

    `config_digest`, `state_lineage`, `state_serial` and `base_url` tie it to what it was made from; that took `calls`
    and `seconds`. The lineage is "" where there was no state yet. `refusals` are what guards refuse of it, one sentence
    each; such a plan is shown and neither saved nor carried out. `variables` are those that the command line gave;
    `input_digests` stand for what is not kept: `env.NAME`, and `var.NAME` where it looks like a secret.
    `rollback_of` is the number of the run that a rollback undoes; such a plan is of the state, and of no manifest.
    """

    stack: str
    environment: str
    changes: tuple[Change, ...]
    drift: tuple[Drift, ...] = ()
    outputs: tuple[OutputChange, ...] = ()
    unmanaged: tuple[Unmanaged, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    refusals: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    input_digests: Mapping[str, str] = field(default_factory=dict)
    config_digest: str = ""
    state_serial: int = 0
    state_lineage: str = ""
    base_url: str = ""
    destroy: bool = False
    rollback_of: int | None = None
    calls: int = 0
    seconds: float = 0.0
    refresh: RefreshSummary = RefreshSummary()
    unsearched: bool = False
    """Whether the search for marked objects failed in a way that may pass, so that it is due again."""

    def __post_init__(self) -> None:
        force_setattr(
            self, "changes", tuple(sorted(self.changes, key=lambda change: change.address))
        )
        force_setattr(self, "drift", tuple(sorted(self.drift, key=lambda drift: drift.address)))

    @property
    def pending(self) -> tuple[Change, ...]:
        """The changes that have something to do."""
        return tuple(change for change in self.changes if change.is_change)

    @property
    def blocked(self) -> tuple[Change, ...]:
        """The addresses that have an error, and those that wait for one of them."""
        return tuple(change for change in self.changes if change.blocked)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.pending

    @property
    def destructive(self) -> tuple[Change, ...]:
        """The changes that destroy something."""
        return tuple(change for change in self.pending if change.is_destructive)

    def counts(self) -> Mapping[Action, int]:
        """How many changes of each action, actions without any left out."""
        return count_actions(self.changes)


class OutcomeStatus(StrEnum):
    """How a change ended."""

    APPLIED = "applied"
    FAILED = "failed"
    SKIPPED = "skipped"
    STALE = "stale"


class Outcome(Struct, frozen=True):
    """What became of one change. `message` is the API's own where it failed, or what it was skipped for.

    `moved` is what somebody else changed since the plan was made, and `blame` what the audit log says about who did.
    A job `was_started` that did not come to a good end: that much is done.
    """

    change: Change
    status: OutcomeStatus
    id: str | None = None
    message: str = ""
    hint: str = ""
    request_id: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    changed_since_plan: tuple[FieldChange, ...] = ()
    blame: str = ""
    was_started: bool = False
    refused: tuple[str, ...] = ()
    """A sentence for each file that the API refused while the change itself went through."""


class ApplyResult(Struct, frozen=True):
    """The outcomes of an apply, in address order, with what it cost; and of the checks that were run after it.

    `run` is None until the run is recorded in the history.
    """

    plan: Plan
    outcomes: tuple[Outcome, ...]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    checks: CheckReport | None = None
    run: RunReference | None = None

    def of(self, status: OutcomeStatus) -> tuple[Outcome, ...]:
        """The outcomes with one status."""
        return tuple(outcome for outcome in self.outcomes if outcome.status is status)


def count_actions(changes: Iterable[Change]) -> Mapping[Action, int]:
    """How many changes of each action, in the order of `Action`, zeros left out."""
    counts = dict.fromkeys(Action, 0)
    for change in changes:
        counts[change.action] += 1
    return {action: count for action, count in counts.items() if count}
