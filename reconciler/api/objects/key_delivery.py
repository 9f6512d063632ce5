"""Delivers keys: from the one answer that shows a key, straight into its sink.

A key exists from the moment the API answers, and is lost if the process dies before the sink has
it. So each step is journalled, and a later run deletes every key that was created and not
delivered, and creates another. Every key that is created here has a name of its own, journalled
before the call, by which it is found afterwards. The key that comes with a new account is found by
its age.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.api.keys import KeyRing
from reconciler.api.objects.changes import ChangeContext, FieldHandler, FieldWrite, create_once
from reconciler.api.objects.scoped import id_of
from reconciler.errors import (
    AmbiguousError,
    AnswerError,
    ApiError,
    NotFoundError,
    SinkError,
    UncertainDeliveryError,
)
from reconciler.model.address import Address
from reconciler.model.consistency import KEY_WITH_ACCOUNT_SECONDS, SETTLE_SECONDS, Window, pauses
from reconciler.model.kind import Field
from reconciler.model.provider import CREATE, Sinks
from reconciler.model.resource import LiveObject
from reconciler.model.secret import Secret
from reconciler.model.sinks import receipts_in, targets_of
from reconciler.model.types import KeySinkType
from reconciler.model.values import Spec

DELIVER = "deliver key"
"""The journal's name of the step that hands a key to its sink."""

MINT = "mint key"
"""The journal's name of the step that creates a key."""

_API_KEY = "api_key"


class NewKey(Struct, frozen=True):
    """A key that the API has just shown."""

    id: str
    secret: Secret


class KeyDelivery(FieldHandler):
    """The handler of keys that belong to an object: `{write_to: TARGET}`, or None for no key."""

    def __init__(
        self, sinks: Sinks, keys: KeyRing, *, settle_seconds: float = SETTLE_SECONDS
    ) -> None:
        self._sinks = sinks
        self._keys = keys
        self._settle_seconds = settle_seconds
        self._create_began: dict[Address | None, float] = {}
        self._lock = threading.Lock()

    # --- create

    def secret_keys(self, _field: Field) -> frozenset[str]:
        """The key that comes with a new account."""
        return frozenset({_API_KEY})

    def check(self, field_write: FieldWrite) -> None:
        """Raise SinkError before a key is created that no sink can take."""
        check_targets(self._sinks, field_write)

    def body(self, field_write: FieldWrite) -> Spec:
        """Ask for an account without a key where none is wanted; the default is one with a key."""
        if field_write.value is None:
            return {"create_service_account_only": True}
        context = field_write.context
        with self._lock:
            # The first of several attempts counts: its account may be the one that is found later.
            self._create_began.setdefault(context.address, context.client.http.server_clock())
        return {}

    def journal_result(self, answer: Spec) -> Spec:
        """The id of the key that came with a new account, so that a later run can delete it."""
        key = answer.get(_API_KEY)
        id = key.get("id") if isinstance(key, Mapping) else None
        return {"key_id": id} if isinstance(id, str) and id else {}

    def after_create(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Deliver the key that came with the account."""
        context = field_write.context
        lost_names: set[str] = set()
        with self._lock:
            began = self._create_began.pop(context.address, None)
        if field_write.value is None:
            return
        shown = _shown_key(context, context.answer.get(_API_KEY))
        key = shown or self._create_key(context, live, lost_names)
        try:
            self._deliver(field_write, key)
        except SinkError as error:
            raise SinkError(
                f"{str(error).rstrip('.')}. The account {live.id} was made and has no key that was "
                "delivered; the next apply makes one.",
                hint=error.hint,
            ) from error
        lost_ids: set[str | None] = set()
        if shown is None and began is not None:
            # The account has a key of its own, which the answer did not show in full.
            windows = [Window(began)]
            lost_ids.update(
                self._find_lost(context, live, lost_names, windows, self._settle_seconds)
            )
        elif lost_names:
            lost_ids.update(self._lost_ids(context, live, lost_names))
        _delete_keys(context, lost_ids - {key.id})

    # --- update

    def write(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Create and deliver a key, then delete the previous one; for None, only delete ours."""
        context = field_write.context
        name = field_write.field.name
        lost_names: set[str] = set()
        previous = _previous_delivery(field_write)
        delivery = _finished_delivery(field_write)
        if delivery is None and not previous:
            delivery = self._recall_delivery(field_write, live)
        context.delivered[name] = delivery
        if field_write.value is not None and delivery is None:
            self._deliver(field_write, self._create_key(context, live, lost_names))
        current = context.delivered[name] or {}
        self._withdraw_unfinished(context, except_target=current.get("target"))
        outdated = {previous.get("key_id"), *self._lost_ids(context, live, lost_names)}
        _delete_keys(context, outdated - {current.get("key_id")})
        if previous and previous.get("target") != current.get("target"):
            try:
                _withdraw(self._sinks, previous, context, except_target=current.get("target"))
            except SinkError as error:
                context.notes.append(
                    f"The key before this one is dead, and could not be removed: {error}"
                )

    def _recall_delivery(self, field_write: FieldWrite, live: LiveObject) -> dict[str, Any] | None:
        """A delivery that the state lost: the sink has the value of a key that still exists."""
        if field_write.value is None:
            return None
        context = field_write.context
        write_to = field_write.value["write_to"]
        address = _address_of(context)
        secret = next(
            filter(
                None, (self._sinks.recall(one, address=address) for one in targets_of(write_to))
            ),
            None,
        )
        if secret is None:
            return None
        context.client.http.redactor.add(secret)
        matches = [_key_id(key) for key in _keys_of(context, live) if _shows(key, secret)]
        if len(matches) != 1:
            return None
        receipts = put_everywhere(self._sinks, write_to, secret, address, matches[0])
        return _delivery(matches[0], write_to, receipts)

    # --- removal

    def after_delete(self, field_write: FieldWrite) -> None:
        """Withdraw all deliveries; the API deletes the keys together with the account."""
        previous = _previous_delivery(field_write)
        if previous:
            _withdraw(self._sinks, previous, field_write.context)
        for delivery in field_write.context.steps.finished(DELIVER):
            _withdraw(self._sinks, delivery, field_write.context)
        self._withdraw_unfinished(field_write.context, except_target=None)

    def delete_leftovers(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Delete the keys that earlier runs created, except for the one delivered last."""
        context = field_write.context
        kept = _previous_delivery(field_write)
        for delivery in context.steps.finished(DELIVER):
            if delivery.get("target") == kept.get("target"):
                kept = delivery
            else:
                _withdraw(self._sinks, delivery, context, except_target=kept.get("target"))
        self._withdraw_unfinished(context, except_target=kept.get("target"))
        lost_ids: set[str | None] = set(self._lost_ids(context, live, set()))
        _delete_keys(context, lost_ids - {kept.get("key_id")})

    def _withdraw_unfinished(self, context: ChangeContext, *, except_target: Any) -> None:
        """Withdraw what interrupted deliveries may have left in other targets."""
        for delivery in context.steps.unfinished(DELIVER):
            _withdraw(self._sinks, delivery, context, except_target=except_target)

    # --- creating and delivering

    def _create_key(self, context: ChangeContext, live: LiveObject, lost_names: set[str]) -> NewKey:
        """A new key. Adds to `lost_names` the names of keys whose answers were lost."""
        growing_pauses = pauses(self._settle_seconds)

        def create() -> NewKey:
            if lost_names:  # give the cause of the lost answer time to pass
                pause = next(growing_pauses, 0.0)
                reason = f"minting another key for {live.id}, as an answer was lost"
                context.client.http.pause(pause, reason)
            name = f"reconciler-{secrets.token_hex(6)}"
            try:
                return _post_key(name, context, live)
            except AmbiguousError:
                lost_names.add(name)
                raise

        # A search would be in vain: the API shows the secret of a key only once.
        return create_once(create, lambda _: None)

    def _deliver(self, field_write: FieldWrite, key: NewKey) -> None:
        """Hand a key to its sink; delete it again if the sink fails."""
        context = field_write.context
        write_to = field_write.value["write_to"]
        address = _address_of(context)
        try:
            with context.steps.step(DELIVER, key_id=key.id, target=write_to) as step:
                receipts = put_everywhere(self._sinks, write_to, key.secret, address, key.id)
                delivery = _delivery(key.id, write_to, receipts)
                step.done(key.id, **delivery)
        except UncertainDeliveryError:
            raise
        except SinkError as error:
            sentences = (str(error), _delete_key(context, key.id))
            raise SinkError(" ".join(filter(None, sentences)), hint=error.hint) from error
        context.delivered[field_write.field.name] = delivery
        if context.collection.project is not None:
            self._keys.learn(context.collection.project, key.secret)

    # --- finding lost keys

    def _lost_ids(
        self, context: ChangeContext, live: LiveObject, lost_names: set[str]
    ) -> Iterator[str]:
        """The ids of keys that this or an earlier run created and never delivered."""
        steps = context.steps
        yield from (entry["id"] for entry in steps.finished(MINT) if entry.get("id"))
        yield from (entry["key_id"] for entry in steps.finished(CREATE) if entry.get("key_id"))
        mints = steps.unfinished(MINT)
        creates = steps.unfinished(CREATE)
        now = context.client.http.server_clock()
        names = lost_names | {str(entry.get("key_name")) for entry in mints}
        windows = [Window.of(float(entry["began_at"]), entry.get("ended_at")) for entry in creates]
        times = [float(entry.get("ended_at") or entry["began_at"]) for entry in (*mints, *creates)]
        with self._lock:
            began = self._create_began.pop(context.address, None)
        if began is not None:
            windows.append(Window(began))
            times.append(began)
        if lost_names:
            times.append(now)
        if names or windows:
            left_seconds = max(times) + self._settle_seconds - now
            seconds = min(self._settle_seconds, left_seconds)
            yield from self._find_lost(context, live, names, windows, seconds)

    def _find_lost(
        self,
        context: ChangeContext,
        live: LiveObject,
        names: set[str],
        windows: Sequence[Window],
        seconds: float,
    ) -> Iterator[str]:
        """The ids of lost keys by name or age: searched for until the list would have to show them.

        Each name stands for one key, and the account for one more if its create was interrupted.
        """
        growing_pauses = pauses(seconds)
        expected = len(names) + bool(windows)

        def search() -> list[dict[str, Any]]:
            return [key for key in _keys_of(context, live) if _is_lost(key, live, names, windows)]

        def is_complete(keys: list[dict[str, Any]]) -> bool:
            return names <= {key.get("name") for key in keys} and len(keys) >= expected

        lost_keys = context.client.http.poll(
            search,
            is_done=is_complete,
            next_pause=lambda _: next(growing_pauses, None),
            reason=f"looking for keys of {live.id} that nobody received",
        )
        yield from map(_key_id, lost_keys)


class ShownOnceDelivery(FieldHandler):
    """The handler of secrets in the answer to the create of their own object.

    The API never shows the secret again. If the sink fails, the object is useless and is deleted;
    if the process dies in between, the next plan replaces the object.
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
        write_to = field_write.value["write_to"]
        address = _address_of(context)
        try:
            with context.steps.step(DELIVER, id=live.id, target=write_to) as step:
                receipts = put_everywhere(self._sinks, write_to, secret, address, live.own_id)
                delivery = _delivery(live.own_id, write_to, receipts)
                step.done(live.id, **delivery)
        except UncertainDeliveryError:
            raise
        except SinkError:
            _discard(context, live)
            raise
        context.delivered[field_write.field.name] = delivery

    def write(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Do nothing: another sink takes a new object, so the field forces replacement."""

    def after_delete(self, field_write: FieldWrite) -> None:
        """Withdraw the delivery: the secret is useless now."""
        previous = _previous_delivery(field_write)
        if previous:
            _withdraw(self._sinks, previous, field_write.context)


# --- deliveries


def check_targets(sinks: Sinks, field_write: FieldWrite) -> None:
    """Raise SinkError if any target of a field could not take a key now."""
    if field_write.value is None:
        return
    for target in targets_of(field_write.value["write_to"]):
        sinks.check(target, address=_address_of(field_write.context))


def put_everywhere(
    sinks: Sinks, write_to: Any, secret: Secret, address: Address, key_id: str
) -> Any:
    """Deliver a key to all targets; the receipt, or a list of receipts for a list of targets.

    Where one refuses, the others lose the key again, and SinkError is raised.
    """
    receipts: list[Spec] = []
    targets = targets_of(write_to)
    try:
        for target in targets:
            receipts.append(sinks.put(target, secret, address=address, token=token_of(key_id)))  # noqa: PERF401 - what was delivered before an error counts
    except UncertainDeliveryError:
        raise
    except SinkError:
        for target, receipt in zip(targets, receipts, strict=False):
            sinks.withdraw(target, receipt, address=address)
        raise
    return receipts if isinstance(write_to, list | tuple) else receipts[0]


def token_of(key_id: str) -> str:
    """The token of a key's deliveries: the same in every run, and of no use to find the key."""
    return hashlib.sha256(key_id.encode()).hexdigest()[:32]


def _delivery(key_id: str, write_to: Any, receipts: Any) -> dict[str, Any]:
    """A delivery as the journal and the state record it."""
    return {"key_id": key_id, "target": write_to, "receipt": receipts}


def _previous_delivery(field_write: FieldWrite) -> Spec:
    """The delivery in the record; empty for none."""
    record = field_write.context.record
    return (record.delivered.get(field_write.field.name) if record else None) or {}


def _finished_delivery(field_write: FieldWrite) -> dict[str, Any] | None:
    """A delivery to the same target by an earlier run that did not finish the change."""
    finished = field_write.context.steps.finished(DELIVER)
    if field_write.value is None or not finished:
        return None
    last = finished[-1]
    if last.get("target") != field_write.value["write_to"]:
        return None
    return {name: last[name] for name in ("key_id", "target", "receipt")}


def _withdraw(
    sinks: Sinks, delivery: Spec, context: ChangeContext, *, except_target: Any = None
) -> None:
    """Remove a key from all its targets but those that hold another key by now."""
    kept = targets_of(except_target)
    receipts = list(receipts_in(delivery.get("receipt")))
    for at, target in enumerate(targets_of(delivery.get("target"))):
        if target not in kept:
            receipt = receipts[at] if at < len(receipts) else {}
            sinks.withdraw(target, receipt, address=_address_of(context))


def _address_of(context: ChangeContext) -> Address:
    if context.address is None:
        raise AssertionError("a key is delivered for an address")
    return context.address


def _secret_key(field: Field) -> str:
    return (field.type.shown_in if isinstance(field.type, KeySinkType) else None) or ""


def _discard(context: ChangeContext, live: LiveObject) -> None:
    try:
        context.collection.remove(live.own_id)
    except ApiError as error:
        context.notes.append(f"{live.id} was made and could not be deleted again: {error}")


# --- keys of an account


def _post_key(name: str, context: ChangeContext, live: LiveObject) -> NewKey:
    path = f"{context.kind.collection}/{{id}}/api_keys"
    with context.steps.step(MINT, key_name=name) as step:
        answer = context.client.request("POST", path, ids={"id": live.id}, json={"name": name})
        key = _shown_key(context, answer)
        if key is None:
            raise AmbiguousError(f"POST {path}: the answer that should show a new key has none.")
        step.done(key.id)
    return key


def _shown_key(context: ChangeContext, shown: Any) -> NewKey | None:
    """The key in an answer, None where it is incomplete. The redactor knows its value from then."""
    if not isinstance(shown, Mapping):
        return None
    id, value = shown.get("id"), shown.get("value")
    if not isinstance(value, str) or not value:
        return None
    secret = Secret(value)
    context.client.http.redactor.add(secret)
    return NewKey(id, secret) if isinstance(id, str) and id else None


def _keys_path(context: ChangeContext) -> str:
    return context.kind.collection.rpartition("/")[0] + "/api_keys"


def _keys_of(context: ChangeContext, live: LiveObject) -> Iterator[dict[str, Any]]:
    # The API lists keys by project, not by account.
    for key in context.client.list(_keys_path(context), query={"limit": 100}):
        owner = key.get("owner") or {}
        if (owner.get("service_account") or {}).get("id") == live.id:
            yield key


def _key_id(key: Spec) -> str:
    return id_of(key, what="the list of a project's keys")


def _is_lost(key: Spec, live: LiveObject, names: set[str], windows: Sequence[Window]) -> bool:
    if key.get("name") in names:
        return True
    account_time, key_time = live.attributes.get("created_at"), key.get("created_at")
    if not isinstance(account_time, int | float) or not isinstance(key_time, int | float):
        return False
    # The account itself must be of that create: another one of the same name has foreign keys.
    is_ours = any(window.holds(account_time) for window in windows)
    return is_ours and key_time - account_time <= KEY_WITH_ACCOUNT_SECONDS


def _shows(key: Spec, secret: Secret) -> bool:
    """Whether a listed key, of which the API shows only both ends, has this value."""
    ends = re.fullmatch(r"([^*.…]+)[*.…]+([^*.…]{4,})", str(key.get("redacted_value")))
    value = secret.reveal()
    return ends is not None and value.startswith(ends[1]) and value.endswith(ends[2])


def _delete_keys(context: ChangeContext, ids: set[str | None]) -> None:
    for key_id in sorted(id for id in ids if id is not None):
        problem = _delete_key(context, key_id)
        if problem:
            context.notes.append(problem)


def _delete_key(context: ChangeContext, key_id: str) -> str | None:
    """Delete a key; a sentence for the report where the API refuses."""
    path = f"{_keys_path(context)}/{{key}}"
    with context.steps.step(f"delete key {key_id}") as step:
        try:
            context.client.request("DELETE", path, ids={"key": key_id})
        except NotFoundError:
            pass
        except ApiError as error:
            return (
                f"The key {key_id} could not be deleted and still works, as long as its account "
                f"exists: {error}"
            )
        step.done(key_id)
    return None
