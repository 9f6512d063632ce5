"""Delivers keys: from the one answer that shows a key, straight to its destinations.

A key exists from the moment the API answers, and is lost if the process dies before a destination
has it. So each step is journalled, and a later run deletes every key that was created and never
handed over. `LostKeys` finds them: a key that is created here has a name of its own, journalled
before the call, and the key that comes with a new account is known by its age.

A delivered key may be in use. It is deleted only as a step of a plan, after a check of its last
use, or together with its object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.keys import KeyRing
from reconciler.api.objects.account_keys import (
    NewKey,
    create_key,
    delete_key,
    delete_keys,
    is_named_by_us,
    key_id_of,
    keys_of,
    read_key,
    shown_key,
    shows,
    time_in,
)
from reconciler.api.objects.change_context import ChangeContext, FieldHandler, FieldWrite
from reconciler.api.objects.key_places import (
    KEEP,
    Handover,
    address_of,
    check_targets,
    recorded_entry,
    withdraw,
    withdraw_all,
)
from reconciler.api.objects.lost_keys import LostKeys
from reconciler.errors import (
    AnswerError,
    ApiError,
    SinkError,
    SinkUnreachableError,
    UncertainDeliveryError,
)
from reconciler.model.consistency import SETTLE_SECONDS
from reconciler.model.keys import (
    KEPT,
    KeyAction,
    KeyStep,
    earlier_keys,
    key_ids,
    reason_to_keep,
    same_places,
    with_next,
    with_open,
    without_key,
)
from reconciler.model.kind import Field
from reconciler.model.provider import DELIVER, Sinks
from reconciler.model.resource import LiveObject
from reconciler.model.secret import Secret
from reconciler.model.sinks import targets_of
from reconciler.model.types import KeySinkType
from reconciler.model.values import Spec

_API_KEY = "api_key"
_OF_A_DELIVERY = ("key_id", "target", "receipt", "made_at", "expires_at")


class KeyDelivery(FieldHandler):
    """The handler of keys that belong to an object: `{write_to: TARGET, …}`, or None for no key."""

    def __init__(
        self, sinks: Sinks, keys: KeyRing, *, settle_seconds: float = SETTLE_SECONDS
    ) -> None:
        self._sinks = sinks
        self._keys = keys
        self._settle_seconds = settle_seconds
        self._lost = LostKeys(settle_seconds)

    # --- create

    def secret_keys(self, _field: Field) -> frozenset[str]:
        """The key that comes with a new account."""
        return frozenset({_API_KEY})

    def check(self, field_write: FieldWrite) -> None:
        """Raise SinkError before a key is created that no sink can take."""
        check_targets(self._sinks, field_write)

    def body(self, field_write: FieldWrite) -> Spec:
        """Ask for an account without a key where none is wanted."""
        # By default, the API creates a key with each account.
        if field_write.value is None:
            return {"create_service_account_only": True}
        self._lost.begin_account(field_write.context)
        return {}

    def journal_result(self, answer: Spec) -> Spec:
        """The id of the key that came with a new account, so that a later run can delete it."""
        key = answer.get(_API_KEY)
        if not isinstance(key, Mapping):
            return {}
        id = key.get("id")
        if not isinstance(id, str) or not id:
            return {}
        return {"key_id": id}

    def after_create(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Deliver the key that came with the account."""
        context = field_write.context
        lost_names: set[str] = set()
        began = self._lost.end_account(context)
        if field_write.value is None:
            return
        # Answers may lack the key, or its id, or its value: the account then gets another one.
        shown = shown_key(context, context.answer.get(_API_KEY))
        key = shown or self._create_key(context, live, lost_names)
        try:
            entry = self._deliver(field_write, key, {})
        except SinkError as error:
            raise type(error)(
                f"{str(error).rstrip('.')}. The account {live.id} was made and has no key that was "
                "delivered; the next apply makes one.",
                hint=error.hint,
            ) from error
        context.delivered[field_write.field.name] = entry
        lost_ids: set[str | None] = set()
        if shown is None and began is not None:
            # The account has a key of its own, which the answer did not show in full.
            lost_ids.update(self._lost.with_account(context, live, lost_names, began))
        elif lost_names:
            lost_ids.update(self._lost.ids(context, live, lost_names))
        # After the delivery, so that no error of these calls keeps the new key from being recorded.
        delete_keys(context, lost_ids - {key.id})

    # --- update

    def write(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Carry out the steps of the plan for the keys of an account.

        An account without a key always gets one. If the desired value is None, all our keys are
        deleted.
        """
        context, name = field_write.context, field_write.field.name
        if field_write.value is None:
            self._remove_keys(field_write, live)
            context.delivered[name] = None
            return
        steps = [step for step in context.keys if step.field == name]
        entry = recorded_entry(field_write, live) or self._earlier_delivery(field_write, live) or {}
        lost_names: set[str] = set()
        is_asked = any(step.action is KeyAction.ROTATE for step in steps)
        is_there = same_places(entry.get("target"), field_write.value["write_to"])
        if is_asked or not is_there:
            # The API shows a key only once, so a new destination needs a new key. The old key stays
            # unchanged until the new one is in place.
            entry = self._deliver(field_write, self._create_key(context, live, lost_names), entry)
        # From here on the new key is in place, and no problem may keep that from being recorded.
        context.delivered[name] = entry
        self._withdraw_unfinished(context, entry)
        lost_ids: set[str | None] = set(self._lost.ids(context, live, lost_names))
        delete_keys(context, lost_ids - set(key_ids(entry)))
        for step in steps:
            if step.action is KeyAction.REVOKE:
                entry = self._revoke(context, step, entry)
        context.delivered[name] = entry

    def _earlier_delivery(self, field_write: FieldWrite, live: LiveObject) -> Spec | None:
        """A delivery without a record: by an unfinished run, or from before the state was lost."""
        return _finished_delivery(field_write) or self._recall_delivery(field_write, live)

    def _recall_delivery(self, field_write: FieldWrite, live: LiveObject) -> dict[str, Any] | None:
        """A delivery that the state lost: the sink has the value of a key that still exists."""
        context, value = field_write.context, field_write.value
        targets, address = targets_of(value["write_to"]), address_of(context)
        recalled = (self._sinks.recall(target, address=address) for target in targets)
        secret = next(filter(None, recalled), None)
        if secret is None:
            return None
        # Before anything else: the text of an error may contain it.
        context.client.http.redactor.add(secret)
        keys = list(keys_of(context, live))
        matches = [key for key in keys if shows(key, secret)]
        # The API shows only parts of a key, which two keys can share.
        if len(matches) != 1:
            return None
        key_id = key_id_of(matches[0])
        made_at = time_in(matches[0], "created_at")
        # The receipt was lost with the state. Writing the same value again returns a new one.
        receipt = Handover(self._sinks, context, value, secret, key_id, {}).put()
        entry = _entry_of(key_id, value["write_to"], receipt, made_at=made_at)
        # Our other keys of the account were rotated before the state was lost.
        now = context.client.http.server_clock()
        for key in keys:
            if is_named_by_us(key):
                entry = with_open(entry, {"key_id": key_id_of(key)}, replaced_at=now)
        # Readers of the destination have the recalled key, as the destination has been read.
        entry.pop("is_open", None)
        return entry

    def _revoke(self, context: ChangeContext, step: KeyStep, entry: Spec) -> Spec:
        """Delete an earlier key unless it was used since the plan was made; the entry afterwards."""
        key_id = str(step.key_id)
        shown = read_key(context, key_id)
        if shown is not None:
            # The plan may be old: a key that was unused then can be in use now.
            still = reason_to_keep(step, shown, context.client.http.server_clock())
            problem = still or delete_key(context, key_id)
            if problem:
                context.notes.append(problem)
                return entry
        key = next((old for old in earlier_keys(entry) if old.get("key_id") == key_id), {})
        # The order matters: a key that still works is never removed from where its readers find it.
        try:
            withdraw(self._sinks, key, context, except_target=entry.get("target"))
        except SinkError as error:
            context.notes.append(
                f"{key_id} is revoked, and could not be removed from its destination; the next "
                f"apply tries again: {error}"
            )
            return entry
        return without_key(entry, key_id)

    def _remove_keys(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Delete all keys that reconciler created for an account, and withdraw them."""
        context, entry = field_write.context, recorded_entry(field_write, live)
        lost_ids: set[str | None] = set(self._lost.ids(context, live, set()))
        delete_keys(context, lost_ids | set(key_ids(entry)))
        self._withdraw_unfinished(context, {})
        try:
            withdraw_all(self._sinks, entry, context)
        # The next run tries again, as the field stays unwritten.
        except (SinkUnreachableError, UncertainDeliveryError):
            raise
        except SinkError as error:
            context.notes.append(
                f"The key before this one is dead, and could not be removed: {error}"
            )

    # --- removal

    def after_delete(self, field_write: FieldWrite) -> None:
        """Withdraw all deliveries."""
        # The API has deleted the keys together with the account, so no call is needed for them.
        context = field_write.context
        withdraw_all(self._sinks, recorded_entry(field_write), context)
        for name in (DELIVER, KEEP):
            for delivery in context.steps.finished(name):
                withdraw(self._sinks, delivery, context)
        self._withdraw_unfinished(context, {})

    def delete_leftovers(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Delete the keys that earlier runs created and never handed over."""
        context, entry = field_write.context, recorded_entry(field_write, live)
        known = set(key_ids(entry))
        for delivery in context.steps.finished(DELIVER):
            if delivery.get("key_id") not in known:
                withdraw(self._sinks, delivery, context, except_target=entry.get("target"))
        self._withdraw_unfinished(context, entry)
        self._withdraw_slots(context, entry)
        lost_ids: set[str | None] = set(self._lost.ids(context, live, set()))
        delete_keys(context, lost_ids - known)

    def _withdraw_slots(self, context: ChangeContext, entry: Spec) -> None:
        """Empty second slots that an interrupted rotation filled and that no earlier key has."""
        kept = [key[KEPT]["target"] for key in earlier_keys(entry) if KEPT in key]
        for slot in (*context.steps.finished(KEEP), *context.steps.unfinished(KEEP)):
            withdraw(self._sinks, slot, context, except_target=kept)

    def _withdraw_unfinished(self, context: ChangeContext, entry: Spec) -> None:
        """Withdraw values of interrupted deliveries from destinations that no current key uses."""
        in_use = [entry.get("target"), *(key.get("target") for key in earlier_keys(entry))]
        targets = [target for write_to in in_use for target in targets_of(write_to)]
        try:
            for delivery in context.steps.unfinished(DELIVER):
                withdraw(self._sinks, delivery, context, except_target=targets)
        except (SinkUnreachableError, UncertainDeliveryError):
            raise  # the next run tries again
        except SinkError as error:
            context.notes.append(f"What a run left in a destination could not be removed: {error}")

    # --- creating and delivering

    def _create_key(self, context: ChangeContext, live: LiveObject, lost_names: set[str]) -> NewKey:
        return create_key(context, live, lost_names, settle_seconds=self._settle_seconds)

    def _deliver(self, field_write: FieldWrite, key: NewKey, entry: Spec) -> dict[str, Any]:
        """Hand a key to its destinations, or delete it; the entry with the key as the current one."""
        context, value = field_write.context, field_write.value
        handover = Handover(self._sinks, context, value, key.secret, key.id, entry)
        try:
            delivery = delivered(handover, made_at=key.made_at, expires_at=key.expires_at)
        # A destination may have the key, and its readers may use it: so it is not deleted.
        except UncertainDeliveryError:
            raise
        except SinkError as error:
            sentences = (str(error), delete_key(context, key.id))
            raise SinkError(" ".join(filter(None, sentences)), hint=error.hint) from error
        # Later changes of this run may need the key for calls in the project.
        if context.collection.project is not None:
            project, writer = context.collection.project, address_of(context)
            self._keys.learn(project, key.secret, writer=writer)
        return with_next(entry, delivery, replaced_at=context.client.http.server_clock())


class ShownOnceDelivery(FieldHandler):
    """The handler of secrets in the answer to the create of their own object.

    The API never shows the secret again. If the sink fails, the object is useless and is deleted;
    if the process dies in between, the next plan creates another object.
    """

    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks

    def secret_keys(self, field: Field) -> frozenset[str]:
        """The key of the answer that has the secret."""
        return frozenset({_secret_key(field)})

    def check(self, field_write: FieldWrite) -> None:
        """Raise SinkError before an object is created whose secret no sink can take."""
        check_targets(self._sinks, field_write)

    def after_create(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Deliver the secret, or delete the object."""
        context = field_write.context
        secret_key = _secret_key(field_write.field)
        value = context.answer.get(secret_key)
        if not isinstance(value, str) or not value:
            _discard(context, live)
            raise AnswerError(
                f"The answer to the create of {context.address} has no {secret_key}, so there is "
                "no key to deliver."
            )
        secret = Secret(value)
        context.client.http.redactor.add(secret)
        if field_write.value is None:
            return
        entry = recorded_entry(field_write)
        # The replaced object is itself the earlier key. It stays valid until its readers have moved
        # on.
        if context.record is not None:
            entry = {"key_id": context.record.id, **entry}
        handover = Handover(self._sinks, context, field_write.value, secret, live.own_id, entry)
        try:
            delivery = delivered(handover, made_at=time_in(live.attributes, "created_at"))
        # A destination may have the key, and its readers may use it: so the object stays.
        except UncertainDeliveryError:
            raise
        except SinkError:
            _discard(context, live)
            raise
        replaced_at = context.client.http.server_clock()
        context.delivered[field_write.field.name] = with_next(
            entry, delivery, replaced_at=replaced_at
        )

    def write(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Do nothing: another secret comes with another object."""

    def after_delete(self, field_write: FieldWrite) -> None:
        """Withdraw the delivery: the secret is useless now."""
        entry = recorded_entry(field_write)
        if entry.get("target") or entry.get(KEPT):
            withdraw(self._sinks, entry, field_write.context)


# --- deliveries


def delivered(
    handover: Handover, *, made_at: float | None = None, expires_at: float | None = None
) -> dict[str, Any]:
    """Deliver a key to all its destinations, as one step of the journal; the key as recorded."""
    # The current key is copied to its second place before its first one is overwritten.
    extra: dict[str, Any] = {}
    kept = handover.keep_current()
    if kept:
        extra[KEPT] = kept
    write_to = handover.value["write_to"]
    made = {"made_at": made_at, "expires_at": expires_at}
    intent = _without_missing(made) | extra
    # The intent is on disk before the first destination is written: a run that dies in between
    # leaves a delivery without an outcome, which the next run reads as such.
    with handover.context.steps.step(
        DELIVER, key_id=handover.key_id, target=write_to, **intent
    ) as step:
        receipt = handover.put()
        delivery = {**_entry_of(handover.key_id, write_to, receipt, **made), **extra}
        step.done(handover.key_id, **delivery)
    return delivery


def _entry_of(
    key_id: str,
    write_to: Any,
    receipt: Any,
    *,
    made_at: float | None = None,
    expires_at: float | None = None,
) -> dict[str, Any]:
    entry = {
        "key_id": key_id,
        "target": write_to,
        "receipt": receipt,
        "made_at": made_at,
        "expires_at": expires_at,
    }
    return _without_missing(entry)


def _finished_delivery(field_write: FieldWrite) -> dict[str, Any] | None:
    """A delivery to the same target by an earlier run that did not finish the change."""
    finished = field_write.context.steps.finished(DELIVER)
    if not finished:
        return None
    last = finished[-1]
    if last.get("target") != field_write.value["write_to"]:
        return None
    return _without_missing({name: last.get(name) for name in _OF_A_DELIVERY})


def _without_missing(entry: Spec) -> dict[str, Any]:
    return {name: part for name, part in entry.items() if part is not None}


def _secret_key(field: Field) -> str:
    if not isinstance(field.type, KeySinkType):
        return ""
    return field.type.shown_in or ""


def _discard(context: ChangeContext, live: LiveObject) -> None:
    # The caller raises the cause. A second error here must not hide it.
    try:
        context.collection.remove(live.own_id)
    except ApiError as error:
        context.notes.append(f"{live.id} was made and could not be deleted again: {error}")
