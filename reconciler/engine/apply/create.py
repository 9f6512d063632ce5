"""Creates an object, exactly once.

Before a create, the action searches for an object that an unfinished run created and did not
record, and for one that somebody else created since the plan. If the answer to a create is lost, it
searches again. So no object is created twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from reconciler.engine import diff
from reconciler.engine.apply.context import ActionContext, StepResult
from reconciler.engine.apply.finish import finish_write
from reconciler.engine.apply.precondition import reread
from reconciler.engine.apply.search import SearchCriteria
from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.errors import AmbiguousError, ApiError, StalePlanError
from reconciler.model.change import Action, Change
from reconciler.model.consistency import JUST_READ_SECONDS, SHARED_LIST_SECONDS, CreationWindow
from reconciler.model.job import INPUTS_KEY
from reconciler.model.kind import Kind
from reconciler.model.provider import Written
from reconciler.model.resource import LiveObject
from reconciler.model.types import BundleType, FileSetType
from reconciler.model.values import Spec
from reconciler.state import ChangeJournal

_MOST_SEARCHES = 3
"""The most creates without a clear answer before the action gives up. A search follows each of them
and takes seconds, so failures that last a minute are survived.
"""


def create(change: Change, context: ActionContext, journal: ChangeJournal) -> StepResult:
    """Create the object of a change; also the creating half of a replacement.

    Raises StalePlanError if somebody else has created such an object since the plan was made.
    """
    kind = context.kind_of(change)
    # First, because a reference without a value has to fail the change before any call.
    desired = context.references.resolve(change)
    if change.action is Action.REPLACE and change.create_before_destroy:
        # The old object is deleted last. If it has changed since the plan, refuse before there are
        # two objects.
        reread(change, context)
    # Before anything is sent: the object of an interrupted run is used instead of a second one.
    existing = _find_existing(change, desired, context)
    if existing is not None and kind.is_shown_once:
        # The API shows the secret once, and it is lost, so a new object takes its place.
        context.writer.delete(existing, address=change.address, record=None, steps=journal)
        existing = None
    # Each of the three ways ends with one object that matches the manifest.
    if existing is not None:
        written = _converge(change, desired, existing, context, journal)
    elif kind.always_exists:
        raise _absent(kind, desired)
    else:
        _refuse_duplicates(change, desired, context)
        written = _create_new(change, desired, context, journal)
    # An existing object had values before our first write. A new object has none to restore.
    record = context.records.after_write(change, kind, desired, written, before=existing)
    return finish_write(change, record, written, context, journal)


def create_beside(
    change: Change, desired: Spec, context: ActionContext, journal: ChangeJournal
) -> Written:
    """Create another object for an address that keeps its present one for a while."""
    return _create_new(change, desired, context, journal)


def delete_undelivered(
    change: Change, desired: Spec, context: ActionContext, journal: ChangeJournal
) -> None:
    """Delete keys that interrupted runs created beside the present key and did not deliver."""
    attempts = tuple(context.ownership.create_attempts.get(change.address, ()))
    unknown = [
        attempt
        for attempt in attempts
        if attempt.id is None or not context.records.knows(context.kind_of(change), attempt.id)
    ]
    if not unknown:
        return
    criteria = _criteria(change, desired, context, tuple(unknown))
    # Search until settled: the run may have died a moment ago, and new objects appear in lists
    # late.
    live = context.search.find_until_settled(criteria, by_earlier_run=True)
    if live is not None:
        context.writer.delete(live, address=change.address, record=None, steps=journal)


def create_once(
    send: Callable[[], Written],
    find: Callable[[tuple[CreateAttempt, ...]], Written | None],
    *,
    clock: Callable[[], float],
) -> Written:
    """Send a create. If its outcome is unknown, search for its object before sending it again.

    `find` receives all attempts so far. It returns the object that one of them created, or None if
    no object can be used. Raises AmbiguousError if the last attempt has no clear answer.

    `api.objects.change_context.create_once` is for parts of an object: those need no time windows, and are
    searched for after the last attempt too.
    """
    attempts: list[CreateAttempt] = []
    while True:
        began = clock()
        try:
            return send()
        except AmbiguousError as error:
            # The last unclear answer is raised: the journal keeps the entry open, and the next run
            # searches.
            if len(attempts) == _MOST_SEARCHES:
                raise
            attempts.append(CreateAttempt(CreationWindow(error.sent_at or began)))
        # Outside of the handler, so that errors of the search are not chained to the lost answer.
        written = find(tuple(attempts))
        if written is not None:
            return written


def _create_new(
    change: Change, desired: Spec, context: ActionContext, journal: ChangeJournal
) -> Written:
    kind = context.kind_of(change)
    if kind.job is not None and not context.consistency.is_time_known():
        # Jobs are distinguished by age, which takes the server's time at which the create was sent.
        context.search.learn_time(_criteria(change, desired, context))
    discarded: set[str] = set()

    def send() -> Written:
        return _send_create(change, desired, context, journal)

    def find(attempts: tuple[CreateAttempt, ...]) -> Written | None:
        # All attempts count: a gateway can carry out the first one after the second.
        criteria = _criteria(change, desired, context, attempts, but=discarded)
        live = context.search.find_until_settled(criteria)
        if live is None:
            return None
        if not kind.is_shown_once:
            return _converge(change, desired, live, context, journal)
        # The secret that it showed was lost with the answer, so the object is useless.
        discarded.add(live.id)
        context.writer.delete(live, address=change.address, record=None, steps=journal)
        return None

    return create_once(send, find, clock=context.consistency.clock)


def _send_create(
    change: Change, desired: Spec, context: ActionContext, journal: ChangeJournal
) -> Written:
    kind = context.kind_of(change)
    spec = {**diff.beyond_defaults(kind, change.restored), **desired}
    # The digest in the metadata of a job shows later whether the manifest asks for another run.
    inputs = context.references.inputs_digest(change)
    if inputs is not None and kind.mark is not None:
        spec[kind.mark] = {**(spec.get(kind.mark) or {}), INPUTS_KEY: inputs}
    record = None
    # The present key decides how another key is delivered beside it.
    if change.action is Action.UPDATE:
        record = context.records.get(change.address)
    return context.writer.create(
        kind,
        change.address.project,
        {name: value for name, value in spec.items() if value is not None},
        address=change.address,
        mark=context.mark(change, desired),
        steps=journal,
        record=record,
    )


def _converge(
    change: Change,
    desired: Spec,
    live: LiveObject,
    context: ActionContext,
    journal: ChangeJournal,
) -> Written:
    """Change an existing object to match what a create would have made."""
    kind = context.kind_of(change)
    # A job cannot be changed: its inputs were part of its create.
    if kind.job is not None:
        return Written(live)
    # Lists do not show the members of collections, so they take calls of their own.
    collections = [
        field.name
        for field in kind.own_calls
        if field.name in desired and isinstance(field.type, FileSetType | BundleType)
    ]
    if collections:
        live = context.reader.read_own_calls(live, collections)
    # Without a record, since the one of the address describes another object or none.
    fields = diff.diff_fields(kind, desired=desired, live=live, record=None)
    if not fields:
        return Written(live)
    return context.writer.update(
        live,
        {field.name: desired[field.name] for field in fields},
        address=change.address,
        mark=context.mark(change, desired),
        record=context.records.get(change.address),
        steps=journal,
    )


def _find_existing(change: Change, desired: Spec, context: ActionContext) -> LiveObject | None:
    """The existing object, if none has to be created.

    Either such an object always exists, or an unfinished run created it.
    """
    kind = context.kind_of(change)
    attempts = tuple(context.ownership.create_attempts.get(change.address, ()))
    criteria = _criteria(change, desired, context, attempts)
    # The object of a create just before a crash may be missing from lists, so search more than
    # once. With a unique key, one search is enough: the API refuses a second object.
    if change.address in context.ownership.create_attempts and not kind.unique_key:
        return context.search.find_until_settled(criteria, by_earlier_run=True)
    if change.verify_before_create or kind.always_exists or attempts:
        return context.search.find(criteria)
    return None


def _refuse_duplicates(change: Change, desired: Spec, context: ActionContext) -> None:
    """Raise StalePlanError if others have created such an object and the plan missed it."""
    # A project that this apply creates is empty.
    if change.address.project in context.new_projects:
        return
    longest_seconds = SHARED_LIST_SECONDS
    # Without a mark, a second object could not be told from the first, so the list from the plan
    # expires sooner.
    if context.mark(change, desired) is None:
        longest_seconds = JUST_READ_SECONDS
    # The plan's own list is recent enough. Looking again would cost a list for each scope.
    if not change.verify_before_create and context.age_seconds() <= longest_seconds:
        return
    criteria = _criteria(change, desired, context)
    # The old half of a replacement has the same natural key, and is no duplicate.
    duplicates = context.search.lookalikes(criteria, but={change.id})
    if not duplicates:
        return
    identity = context.kind_of(change).identity(desired) or {}
    key = ", ".join(f'{name} "{value}"' for name, value in identity.items())
    ids = ", ".join(live.id for live in duplicates)
    raise StalePlanError(
        f"{ids} has the same {key}, and the plan did not know of it",
        hint="Plan again: the next plan says how to take it over.",
    )


def _criteria(
    change: Change,
    desired: Spec,
    context: ActionContext,
    attempts: tuple[CreateAttempt, ...] = (),
    *,
    but: Collection[str] = (),
) -> SearchCriteria:
    """The criteria for the object of a change; `but` are excluded ids."""
    kind, record = context.kind_of(change), context.records.get(change.address)

    def is_known(id: str) -> bool:
        if id in but:
            return True
        # A create for a recorded address means that the plan missed the recorded object. If it
        # appears after all, it is the one to use.
        if record is not None and change.action is Action.CREATE and id == record.id:
            return False
        # A job that runs again keeps its predecessor at the API.
        if kind.job is not None and id == change.id:
            return True
        return context.records.knows(kind, id)

    return SearchCriteria(
        address=change.address,
        kind=kind,
        spec=desired,
        is_marked=context.mark(change, desired) is not None,
        is_known=is_known,
        attempts=attempts,
        inputs=context.references.inputs_digest(change),
    )


def _absent(kind: Kind, desired: Spec) -> ApiError:
    """The error for an object that always exists and that the API does not list."""
    described = ""
    identity = kind.identity(desired)
    if identity:
        key = ", ".join(f"{name} {value!r}" for name, value in identity.items())
        described = f"with {key} "
    fallback = "Objects of this kind cannot be created: the organization has no access to it."
    return ApiError(
        f"the API lists no {kind.name} {described}here",
        hint=kind.absent or fallback,
    )
