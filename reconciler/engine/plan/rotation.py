"""Decides which keys a plan rotates, which earlier keys it revokes, and which it keeps.

Keys take turns: a new key is delivered beside the old one, and the old one is revoked once its
overlap has passed and it is unused. At most two keys of an address are valid, unless a user
requests another rotation. All times are the server's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.scope import Scope
from reconciler.engine.snapshot import Snapshot
from reconciler.model.change import Action, Change, Drift, Reason
from reconciler.model.consistency import CLOCK_SECONDS
from reconciler.model.destruction import Loss, Lost
from reconciler.model.durations import DAY_SECONDS, in_words
from reconciler.model.keys import KeyAction, KeyStep, earlier_keys, policy_of, same_places
from reconciler.model.kind import IN_USE, IS_OVER, Field, Kind
from reconciler.model.resource import LiveObject, Record
from reconciler.model.types import KeySinkType
from reconciler.model.values import Spec

_JUST_NOW_SECONDS = 60.0
_WITH_KEYS = (Action.NO_OP, Action.UPDATE)
"""The actions that leave the keys of an object to its steps. The others create or delete them."""

_IN_USE = "old key stays: this run authenticates with it; revoke it from a run with another key"


def with_key_steps(
    snapshot: Snapshot, change: Change, record: Record | None, live: LiveObject, spec: Spec
) -> Change:
    """The change with the steps of the keys of its object."""
    # Without a record, the keys of the object are unknown.
    if record is None:
        return change
    # Noted before the reason is replaced.
    begun = change.reason is Reason.HALF_REPLACED
    if _is_succession(change, live):
        change = replace(change, action=Action.UPDATE, reason=Reason.ROTATION, destructive="")
    if change.action not in _WITH_KEYS:
        return change
    steps: list[KeyStep] = []
    for field in _rotating_fields(live.kind):
        value = spec.get(field.name)
        if value:
            steps += _KeyField(snapshot, change, record, live, field, value).steps(begun=begun)
    if not steps:
        return change
    change = replace(change, keys=tuple(steps), losses=(*change.losses, *_losses(steps)))
    # Keys that stay are shown in the plan and need no work.
    if change.key_work and change.action is Action.NO_OP:
        change = replace(change, action=Action.UPDATE, reason=Reason.ROTATION)
    return change


def _is_succession(change: Change, live: LiveObject) -> bool:
    """Whether another key is needed, which can be delivered beside the present one.

    A changed field needs one. So does a run that died after it had created one: its secret is lost.
    """
    if change.action is not Action.REPLACE:
        return False
    if change.reason not in (Reason.FIELD_FORCES_REPLACEMENT, Reason.HALF_REPLACED):
        return False
    return any(_is_own_object(field) for field in _rotating_fields(live.kind))


def _rotating_fields(kind: Kind) -> Iterator[Field]:
    """The fields whose keys can take turns."""
    for field in kind.own_calls:
        if isinstance(field.type, KeySinkType) and field.type.rotates:
            yield field


def _is_own_object(field: Field) -> bool:
    """Whether the object of a field is the key itself."""
    return isinstance(field.type, KeySinkType) and bool(field.type.shown_in)


def overdue(change: Change) -> Drift | None:
    """The drift of an object with a key that should have been rotated by now."""
    for step in change.keys:
        if step.is_due:
            return Drift(
                change.address,
                change.id or "",
                overdue=f"its key should have been rotated: {_cause(step)}",
                location=change.location,
                project_id=change.project_id,
                scope=change.scope,
            )
    return None


def _cause(step: KeyStep) -> str:
    """The part of a sentence that follows `will be rotated: `."""
    return step.why.partition(": ")[2]


def _losses(steps: list[KeyStep]) -> Iterator[Loss]:
    for step in steps:
        if step.action is KeyAction.REVOKE and step.at_once:
            yield Loss(f"revokes {step.key_id}: whatever still uses it stops working", Lost.KEY)


class _Use(Struct, frozen=True):
    """The use of an earlier key, as the API shows it."""

    is_known: bool
    """Whether its list was read."""
    live: LiveObject | None = None
    """None where the key is gone, or its list was not read."""


class _KeyField:
    """The keys of one field of one object."""

    def __init__(
        self,
        snapshot: Snapshot,
        change: Change,
        record: Record,
        live: LiveObject,
        field: Field,
        value: Mapping[str, Any],
    ) -> None:
        self._snapshot = snapshot
        self._change = change
        self._live = live
        self._field = field
        self._value = value
        self._policy = policy_of(value)
        # Once for all keys of the field, so that they are judged at the same moment.
        self._now = snapshot.inputs.server_time()
        entry = record.delivered.get(field.name)
        self._entry: dict[str, Any] = dict(entry) if isinstance(entry, Mapping) else {}
        self._is_object = _is_own_object(field)
        if self._is_object:
            # An object that is a key itself is its own current key, whatever the record lacks.
            self._entry.setdefault("key_id", live.own_id)

    def steps(self, *, begun: bool) -> list[KeyStep]:
        """The steps of all keys. A rotation that was `begun` is carried through."""
        options = self._snapshot.inputs.options
        is_asked = self._change.address in options.rotate_now
        revoke_now = is_asked and options.revoke_now
        older = [self._earlier(key, at_once=revoke_now) for key in earlier_keys(self._entry)]
        if begun:
            # Its key exists and its secret is lost, so do not wait.
            rotation: KeyStep | None = self._rotate("will be rotated: an interrupted run began it")
        else:
            rotation = self._rotation(is_asked, blocking=self._blocking(older))
        if rotation is None:
            return older
        steps = [rotation, *older]
        # Only a rotation makes an old key of the current one.
        if rotation.action is KeyAction.ROTATE:
            steps += self._succeeded(at_once=revoke_now)
        return steps

    # --- the current key

    def _rotation(self, is_asked: bool, *, blocking: KeyStep | None) -> KeyStep | None:
        """The step of the current key; None where its rotation is not due.

        A rotation that has to wait keeps the key.
        """
        # A request comes first, then uncertain and changed keys, and the age last.
        if is_asked:
            return self._rotate("will be rotated: requested")
        if not self._entry.get("key_id"):
            return self._without_key()
        # The destination may hold one of the earlier keys, so it needs another delivery.
        if self._entry.get("is_open"):
            return self._rotate(
                "will be rotated: an interrupted run may have delivered another key"
            )
        forced = [field.name for field in self._change.fields if field.forces_replacement]
        if self._is_object and forced:
            names = " and ".join(dict.fromkeys(forced))
            return self._rotate(f"will be rotated: {names} can only be set at creation")
        delivered = self._entry.get("target")
        # The API shows a key once, so another destination needs another key.
        if delivered is not None and not same_places(delivered, self._value.get("write_to")):
            return self._rotate("will be rotated: its destination changes")
        return self._expiring() or self._by_age(blocking)

    def _without_key(self) -> KeyStep | None:
        """The step of an account whose current key is unknown, so that none can be due."""
        is_written = self._field.name in self._change.field_names
        if self._policy.every is None or is_written:
            return None
        why = (
            "will not be rotated: no record says which key it is; "
            f"`reconciler rotate --now {self._change.address}` delivers a new one"
        )
        return self._keep(why)

    def _expiring(self) -> KeyStep | None:
        source = self._live.attributes if self._is_object else self._entry
        expires_at = _time(source.get("expires_at"))
        if self._policy.every is None or expires_at is None:
            return None
        left = expires_at - self._now
        if left <= 0:
            return self._rotate("will be rotated: it has expired")
        # The old key has to work beside the new one for the overlap.
        if left <= self._policy.overlap:
            return self._rotate(f"will be rotated: it expires in {in_words(left)}")
        return None

    def _by_age(self, blocking: KeyStep | None) -> KeyStep | None:
        every = self._policy.every
        if every is None:
            return None
        made_at = self._made_at()
        if made_at is None:
            return self._keep("will not be rotated: nothing shows how old it is")
        age = self._now - made_at
        # A key from the future means that a clock is off, and then its age means nothing.
        if age < -DAY_SECONDS:
            ahead = in_words(-age)
            return self._keep(
                f"will not be rotated: it was made {ahead} in the future, so a clock is off"
            )
        if age < every:
            return None
        # At most two keys of an address are valid, so revoke the earlier key first.
        if blocking is not None:
            why = (
                f"will be rotated later: {in_words(age)} old, but the key before it stays: "
                f"{_cause(blocking)}"
            )
            return replace(self._keep(why), is_due=True)
        return replace(self._rotate(f"will be rotated: {in_words(age)} old"), is_due=True)

    def _made_at(self) -> float | None:
        """The creation time of the current key, from its object, else the record, else the list of
        keys.
        """
        shown = None
        if self._is_object:
            shown = self._live.attributes.get("created_at")
        if shown is None:
            shown = self._entry.get("made_at")
        made_at = _time(shown)
        if made_at is not None:
            return made_at
        # Without a time in the record, the list of keys has to show it.
        live = self._use_of(str(self._entry.get("key_id"))).live
        return None if live is None else _time(live.attributes.get("created_at"))

    def _succeeded(self, *, at_once: bool) -> list[KeyStep]:
        """The step of the key that is rotated: it becomes an old key."""
        key_id = self._entry.get("key_id")
        if not isinstance(key_id, str):
            return []
        # An expired key opens nothing, so it needs no overlap.
        if self._is_object and self._live.attributes.get(IS_OVER):
            return [self._revoke(key_id, "old key will be deleted: it has expired")]
        if not at_once:
            overlap = in_words(self._policy.overlap)
            return [self._keep(f"old key stays: its overlap lasts {overlap}", key_id)]
        # A run that revoked its own key could not send another request.
        if self._is_object and self._live.attributes.get(IN_USE):
            return [self._keep(_IN_USE, key_id)]
        use = self._use_of(key_id).live
        if use is not None and use.attributes.get(IN_USE):
            return [self._keep(_IN_USE, key_id)]
        return [self._revoke_at_once(key_id)]

    # --- earlier keys

    @staticmethod
    def _blocking(older: list[KeyStep]) -> KeyStep | None:
        """The first old key that stays."""
        return next((step for step in older if step.action is KeyAction.KEEP), None)

    def _earlier(self, key: Spec, *, at_once: bool) -> KeyStep:
        """Whether an earlier key is revoked or stays."""
        key_id = str(key.get("key_id"))
        use = self._use_of(key_id)
        # Without its use, a key may still be needed. It stays.
        if not use.is_known:
            return self._keep("old key stays: the API did not show its use", key_id)
        # A step is needed anyway, because its destinations have to be cleared.
        if use.live is None:
            return self._revoke(key_id, "old key will be forgotten: it does not exist any more")
        shown = use.live.attributes
        if shown.get(IN_USE):
            return self._keep(_IN_USE, key_id)
        if at_once:
            return self._revoke_at_once(key_id)
        if shown.get(IS_OVER):
            return self._revoke(key_id, "old key will be deleted: it has expired")
        replaced_at = _time(key.get("replaced_at"))
        # The overlap of a key without a time begins now: too long is better than too short.
        if replaced_at is None:
            replaced_at = self._now
        left = replaced_at + self._policy.overlap + CLOCK_SECONDS - self._now
        if left > 0:
            return self._keep(f"old key stays: its overlap lasts {in_words(left)}", key_id)
        return self._by_use(key_id, shown)

    def _by_use(self, key_id: str, shown: Spec) -> KeyStep:
        # Null says that the key was never used. A missing field says nothing.
        if shown.get("last_used_at", "") is None:
            return self._revoke(key_id, "old key will be revoked: it was never used")
        used_at = _time(shown.get("last_used_at"))
        if used_at is None:
            return self._keep("old key stays: the API does not show when it was last used", key_id)
        unused = self._now - used_at
        if unused < self._policy.unused + CLOCK_SECONDS:
            return self._keep(f"old key stays: {used_ago(unused)}", key_id)
        return self._revoke(key_id, f"old key will be revoked: unused for {in_words(unused)}")

    def _use_of(self, key_id: str) -> _Use:
        """The use of a key."""
        kind, project = self._change.address.kind, self._change.address.project
        # Keys of an account are listed as objects of another kind.
        if isinstance(self._field.type, KeySinkType):
            kind = self._field.type.listed_as or kind
        was_read = Scope(kind, project) in self._snapshot.live.listed
        if not was_read or self._snapshot.inputs.options.offline:
            return _Use(is_known=False)
        return _Use(is_known=True, live=self._snapshot.live.find(kind, project, key_id))

    # --- steps

    def _rotate(self, why: str) -> KeyStep:
        return KeyStep(self._field.name, KeyAction.ROTATE, why, makes_object=self._is_object)

    def _keep(self, why: str, key_id: str | None = None) -> KeyStep:
        return KeyStep(self._field.name, KeyAction.KEEP, why, key_id)

    def _revoke(self, key_id: str, why: str) -> KeyStep:
        unused = self._policy.unused
        return KeyStep(self._field.name, KeyAction.REVOKE, why, key_id, unused_seconds=unused)

    def _revoke_at_once(self, key_id: str) -> KeyStep:
        why = "old key will be revoked at once: requested"
        return KeyStep(self._field.name, KeyAction.REVOKE, why, key_id)


def used_ago(seconds: float) -> str:
    """`used just now`, `used 2 hours ago`."""
    if seconds < _JUST_NOW_SECONDS:
        return "used just now"
    return f"used {in_words(seconds)} ago"


def _time(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
