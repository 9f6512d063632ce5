"""Reads an object again before it is changed, and compares it with the pre-image of the plan.

A plan is approved for the objects that it shows. If somebody changed one since, the change is
refused as stale instead of overwriting what nobody has reviewed.
"""

from __future__ import annotations

from reconciler.engine import diff
from reconciler.engine.apply.context import ActionContext, list_scope
from reconciler.errors import StalePlanError
from reconciler.model.change import Change
from reconciler.model.kind import Kind, Removal, TerminalState
from reconciler.model.provider import ExpectedValue
from reconciler.model.resource import LiveObject
from reconciler.model.values import Spec


def reread_existing(
    change: Change,
    context: ActionContext,
    *,
    becoming: Spec | None = None,
    is_read_only: bool = False,
) -> LiveObject:
    """The object that the plan saw; raises StalePlanError where it has changed or is gone."""
    live = reread(change, context, becoming=becoming, is_read_only=is_read_only)
    if live is None:
        # The plan was approved for an object that exists. Creating it again instead is another
        # plan.
        is_archived = context.kind_of(change).removal is Removal.ARCHIVE
        gone = "archived" if is_archived else "deleted"
        raise StalePlanError(
            f"{change.id} has been {gone} since the plan was made", hint="Plan again."
        )
    return live


def reread(
    change: Change,
    context: ActionContext,
    *,
    becoming: Spec | None = None,
    is_read_only: bool = False,
) -> LiveObject | None:
    """The object that the plan saw, None where it is gone; raises StalePlanError where it changed.

    Fields with calls of their own are read if the plan read them. Where their new values are known,
    `becoming`, only the parts that these touch are read. With `is_read_only` nothing is written, so
    a list answers for all objects of a scope.
    """
    kind = context.kind_of(change)
    # Fields with calls of their own can take one call per file, so they are read in part.
    live = _read(change, kind, context, is_read_only=is_read_only)
    expected = _expected_values(change, kind, context, becoming or {})
    # After the plain read, because the counts that it shows can prove that the parts need no read.
    if live is not None and expected:
        live = context.writer.read_before_write(live, expected)
    if live is None or kind.terminal_state(live.attributes) is TerminalState.GONE:
        return None
    # The mark of a job says who started it. It stays when another stack adopts the job.
    if kind.job is None and context.ownership.is_foreign(live.mark):
        raise StalePlanError(
            f'{live.id} carries the mark "{live.mark}" by now: another stack manages it',
            hint="Plan again and review.",
        )
    _refuse_changed(change, kind, live)
    return live


def _read(
    change: Change, kind: Kind, context: ActionContext, *, is_read_only: bool
) -> LiveObject | None:
    id = change.id or ""
    if not is_read_only:
        return context.search.read(change.address, kind, id)
    # All adoptions of a scope ask for the same list, and the first of them reads it.
    ids = context.adopted.get(list_scope(kind, change), frozenset())
    return context.search.read_together(change.address, kind, id, wanted=ids)


def _expected_values(
    change: Change, kind: Kind, context: ActionContext, becoming: Spec
) -> dict[str, ExpectedValue]:
    """The fields with calls of their own that the plan read."""
    seen, record = change.pre_image, context.records.get(change.address)
    applied: Spec = {}
    if record is not None:
        applied = record.applied
    expected = {}
    for field in kind.own_calls:
        name = field.name
        if name in seen:
            expected[name] = ExpectedValue(seen[name], becoming.get(name), applied.get(name))
    return expected


def _refuse_changed(change: Change, kind: Kind, live: LiveObject) -> None:
    seen, now = change.pre_image, diff.image(kind, live)
    # The plan could not compare any field. Comparing with nothing would refuse every change.
    if not seen:
        return
    own_calls = {field.name for field in kind.own_calls}
    # A field that one of the two reads lacks cannot be compared. A field with calls of its own
    # may be missing from either; any other is missing where the answer does not show it.
    unread = own_calls - (seen.keys() & now.keys())
    unread |= diff.unseen_fields(kind, live) - own_calls
    moved = diff.moved_fields(kind, seen=seen, now=now, but=unread)
    if moved:
        raise StalePlanError(
            "it changed since the plan was made",
            hint="Plan again and review.",
            changed_since_plan=moved,
        )
