"""Keys of service accounts: from the answer that shows them once, straight into their sink.

A key exists from the moment the API answers, and is lost if we die before the sink has it. So each step is journalled,
and whoever finds a key that was made and never delivered deletes it and mints another. Every key that is minted here
has a name of its own, written down before the call, by which it can be recognised afterwards; the key that comes with
a new account is recognised by its age.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.api.keys import KeyRing
from reconciler.api.objects.changes import (
    DOUBTFUL_ATTEMPTS,
    ChangeContext,
    FieldHandler,
    FieldWrite,
)
from reconciler.api.objects.receipts import DELIVER, address_of, earlier_delivery
from reconciler.api.objects.scoped import id_of
from reconciler.errors import AmbiguousError, ApiError, NotFoundError, SinkError
from reconciler.model.address import Address
from reconciler.model.consistency import KEY_WITH_ACCOUNT_SECONDS, SETTLE_SECONDS, Window, pauses
from reconciler.model.kind import Field
from reconciler.model.provider import CREATE, Sinks
from reconciler.model.resource import LiveObject
from reconciler.model.secret import Secret
from reconciler.model.values import Spec

MINT = "mint key"
_API_KEY = "api_key"


class Minted(Struct, frozen=True):
    """A key that the API has just shown."""

    id: str
    secret: Secret


class KeyDelivery(FieldHandler):
    """The carrier of keys that are made beside their object: `{write_to: TARGET}`, or None for no key of ours."""

    def __init__(
        self, sinks: Sinks, keys: KeyRing, *, settle_seconds: float = SETTLE_SECONDS
    ) -> None:
        self._sinks = sinks
        self._keys = keys
        self._settle_seconds = settle_seconds
        self._creating: dict[Address | None, float] = {}
        self._lock = threading.Lock()

    def private(self, _field: Field) -> frozenset[str]:
        """The key that comes with a new account."""
        return frozenset({_API_KEY})

    def check(self, task: FieldWrite) -> None:
        """Raise SinkError now rather than after a key was minted that nobody can take."""
        if task.value is not None:
            self._sinks.check(task.value["write_to"])

    def body(self, task: FieldWrite) -> Spec:
        """Ask for a bare account where no key is wanted; a key comes unasked."""
        if task.value is None:
            return {"create_service_account_only": True}
        with self._lock:
            # Of several attempts the first counts: its account may be the one that is found in the end.
            self._creating.setdefault(
                task.context.address, task.context.client.client.server_clock()
            )
        return {}

    def journalled(self, answer: Spec) -> Spec:
        """The id of the key that came with a new account, so that a later run can delete it."""
        key = answer.get(_API_KEY)
        id = key.get("id") if isinstance(key, Mapping) else None
        return {"key_id": id} if isinstance(id, str) and id else {}

    def created(self, task: FieldWrite, live: LiveObject) -> None:
        """Deliver the key that came with the account."""
        work, unseen = task.context, set[str]()
        with self._lock:
            began = self._creating.pop(work.address, None)
        if task.value is None:
            return
        shown = _shown_key(work, work.answer.get(_API_KEY))
        minted = shown or self._mint(work, live, unseen)
        try:
            self._hand_over(task, minted)
        except SinkError as error:
            sentence = f"The account {live.id} was made and has no key that was delivered; the next apply makes one."
            raise SinkError(f"{str(error).rstrip('.')}. {sentence}", hint=error.hint) from error
        lost: set[str | None] = set()
        if shown is None and began is not None:
            # The account has a key of its own that the answer did not show whole.
            lost.update(self._listed(work, live, unseen, [Window(began)], self._settle_seconds))
        elif unseen:
            lost.update(self._lost(work, live, unseen))
        self._delete_all_but(minted.id, lost, work)

    def write(self, task: FieldWrite, live: LiveObject) -> None:
        """Mint and deliver a key, then delete the one before it; or, for None, delete ours."""
        work, name, unseen = task.context, task.field.name, set[str]()
        earlier = earlier_delivery(task)
        work.delivered[name] = _delivered_already(task) or (
            None if earlier else self._found_again(task, live)
        )
        if task.value is not None and work.delivered[name] is None:
            self._hand_over(task, self._mint(work, live, unseen))
        now = work.delivered[name] or {}
        self._clear(work, now.get("target"))
        self._delete_all_but(
            now.get("key_id"), {earlier.get("key_id"), *self._lost(work, live, unseen)}, work
        )
        if earlier and earlier.get("target") != now.get("target"):
            try:
                self._sinks.withdraw(earlier["target"], earlier.get("receipt") or {})
            except SinkError as error:
                work.notes.append(
                    f"The key before this one is dead, and could not be removed: {error}"
                )

    def _found_again(self, task: FieldWrite, live: LiveObject) -> dict[str, Any] | None:
        """A delivery that the state has forgotten: our file holds the value of a key that the account still has."""
        if task.value is None:
            return None
        work, target = task.context, task.value["write_to"]
        secret = self._sinks.recall(target, address=address_of(work))
        if secret is None:
            return None
        work.client.client.redactor.add(secret)
        alike = [_key_id(key) for key in _keys_of(work, live) if _shows(key, secret)]
        if len(alike) != 1:
            return None
        receipt = self._sinks.put(target, secret, address=address_of(work))
        return {"key_id": alike[0], "target": dict(target), "receipt": dict(receipt)}

    def removed(self, task: FieldWrite) -> None:
        """Take back what we delivered: the keys of an account go with it."""
        earlier = earlier_delivery(task)
        for entry in (*([earlier] if earlier else []), *task.context.steps.finished(DELIVER)):
            self._sinks.withdraw(entry["target"], entry.get("receipt") or {})
        self._clear(task.context, None)

    def _clear(self, work: ChangeContext, kept: Any) -> None:
        """Remove what a delivery that was cut short may have left, where it did not go to the place that is `kept`."""
        for entry in work.steps.unfinished(DELIVER):
            if entry.get("target") and entry["target"] != kept:
                self._sinks.withdraw(entry["target"], {})

    def delete_leftovers(self, task: FieldWrite, live: LiveObject) -> None:
        """Delete the keys that earlier runs minted for the account, unless they are the one that was delivered last."""
        kept, delivered = earlier_delivery(task), task.context.steps.finished(DELIVER)
        for entry in delivered:
            if entry.get("target") == kept.get("target"):
                kept = entry
            else:
                self._sinks.withdraw(entry["target"], entry.get("receipt") or {})
        self._clear(task.context, kept.get("target"))
        self._delete_all_but(
            kept.get("key_id"), set(self._lost(task.context, live, set())), task.context
        )

    def _mint(self, work: ChangeContext, live: LiveObject, unseen: set[str]) -> Minted:
        """A new key. Names of keys that may have been made without our seeing them are added to `unseen`."""
        left = pauses(self._settle_seconds)
        while True:
            name = f"reconciler-{secrets.token_hex(6)}"
            try:
                return _minted_as(name, work, live)
            except AmbiguousError:
                unseen.add(name)
                if len(unseen) == DOUBTFUL_ATTEMPTS:
                    raise
            # Whatever lost the answer may still be there; nothing has to be found before another key is minted.
            work.client.client.pause(
                next(left, 0.0), f"minting another key for {live.id}, as an answer was lost"
            )

    def _hand_over(self, task: FieldWrite, minted: Minted) -> None:
        work, target = task.context, task.value["write_to"]
        try:
            with work.steps.step(DELIVER, key_id=minted.id, target=dict(target)) as step:
                receipt = self._sinks.put(target, minted.secret, address=address_of(work))
                entry = {"key_id": minted.id, "target": dict(target), "receipt": dict(receipt)}
                step.done(minted.id, **entry)
        except SinkError as error:
            left = _delete_key(work, minted.id)
            raise SinkError(" ".join(filter(None, (str(error), left))), hint=error.hint) from error
        work.delivered[task.field.name] = entry
        if work.collection.project is not None:
            self._keys.learn(work.collection.project, minted.secret)

    def _lost(self, work: ChangeContext, live: LiveObject, unseen: set[str]) -> Iterator[str]:
        """The ids of keys that were made for this account by us, and never delivered."""
        yield from (entry["id"] for entry in work.steps.finished(MINT) if entry.get("id"))
        yield from (entry["key_id"] for entry in work.steps.finished(CREATE) if entry.get("key_id"))
        minted, creates = work.steps.unfinished(MINT), work.steps.unfinished(CREATE)
        names = unseen | {str(entry.get("key_name")) for entry in minted}
        windows = [Window.of(float(entry["began_at"]), entry.get("ended_at")) for entry in creates]
        with self._lock:
            began = self._creating.pop(work.address, None)
        if began is not None:
            windows.append(Window(began))
        now = work.client.client.server_clock()
        moments = [
            float(entry.get("ended_at") or entry["began_at"]) for entry in (*minted, *creates)
        ]
        moments += [began] if began is not None else []
        moments += [now] if unseen else []
        if names or windows:
            seconds = min(self._settle_seconds, max(moments) + self._settle_seconds - now)
            yield from self._listed(work, live, names, windows, seconds)

    def _listed(
        self,
        work: ChangeContext,
        live: LiveObject,
        names: set[str],
        windows: Sequence[Window],
        seconds: float,
    ) -> Iterator[str]:
        """The same, of those whose id nobody saw: looked for until they would have to be in the list."""
        client, left = work.client.client, pauses(seconds)
        while True:
            lost = [key for key in _keys_of(work, live) if _is_lost(key, live, names, windows)]
            is_complete = names <= {key.get("name") for key in lost} and len(lost) >= bool(
                windows
            ) + len(names)
            pause = None if is_complete else next(left, None)
            if pause is None:
                break
            client.pause(pause, f"looking for keys of {live.id} that nobody received")
        yield from map(_key_id, lost)

    def _delete_all_but(self, kept: str | None, ids: set[str | None], work: ChangeContext) -> None:
        for key_id in sorted(id for id in ids if id is not None and id != kept):
            left = _delete_key(work, key_id)
            if left:
                work.notes.append(left)


def _delivered_already(task: FieldWrite) -> dict[str, Any] | None:
    """The receipt of a delivery to the same place, in a change that did not come to its end afterwards."""
    finished = task.context.steps.finished(DELIVER)
    if (
        task.value is None
        or not finished
        or finished[-1].get("target") != dict(task.value["write_to"])
    ):
        return None
    return {name: finished[-1][name] for name in ("key_id", "target", "receipt")}


def _minted_as(name: str, work: ChangeContext, live: LiveObject) -> Minted:
    path = f"{work.kind.collection}/{{id}}/api_keys"
    with work.steps.step(MINT, key_name=name) as step:
        minted = _shown_key(
            work, work.client.request("POST", path, ids={"id": live.id}, json={"name": name})
        )
        if minted is None:
            raise AmbiguousError(f"POST {path}: the answer that should show a new key has none.")
        step.done(minted.id)
    return minted


def _shown_key(work: ChangeContext, shown: Any) -> Minted | None:
    """The key in an answer, None where it is not there as a whole; its value is known to the redactor from here on."""
    id, value = (
        (shown.get("id"), shown.get("value")) if isinstance(shown, Mapping) else (None, None)
    )
    if isinstance(value, str) and value:
        work.client.client.redactor.add(Secret(value))
    if not isinstance(id, str) or not id or not isinstance(value, str) or not value:
        return None
    secret = Secret(value)
    work.client.client.redactor.add(secret)
    return Minted(id, secret)


def _keys_path(work: ChangeContext) -> str:
    return work.kind.collection.rpartition("/")[0] + "/api_keys"


def _keys_of(work: ChangeContext, live: LiveObject) -> Iterator[dict[str, Any]]:
    for key in work.client.list(_keys_path(work), query={"limit": 100}):
        owner = key.get("owner") or {}
        if (owner.get("service_account") or {}).get("id") == live.id:
            yield key


def _key_id(key: Spec) -> str:
    return id_of(key, what="the list of a project's keys")


def _is_lost(key: Spec, live: LiveObject, names: set[str], windows: Sequence[Window]) -> bool:
    if key.get("name") in names:
        return True
    born, made = live.attributes.get("created_at"), key.get("created_at")
    if not isinstance(born, int | float) or not isinstance(made, int | float):
        return False
    # Only if the account itself is of that create: another one of the same name has keys that are not ours.
    return any(window.holds(born) for window in windows) and made - born <= KEY_WITH_ACCOUNT_SECONDS


def _shows(key: Spec, secret: Secret) -> bool:
    """Whether a listed key, of which the API shows only both ends, is the one of this value."""
    ends = re.fullmatch(r"([^*.…]+)[*.…]+([^*.…]{4,})", str(key.get("redacted_value")))
    value = secret.reveal()
    return ends is not None and value.startswith(ends[1]) and value.endswith(ends[2])


def _delete_key(work: ChangeContext, key_id: str) -> str | None:
    """Delete a key; a sentence for the report where the API does not let us."""
    with work.steps.step(f"delete key {key_id}") as step:
        try:
            work.client.request("DELETE", f"{_keys_path(work)}/{{key}}", ids={"key": key_id})
        except NotFoundError:
            pass
        except ApiError as error:
            return f"The key {key_id} could not be deleted and still works, as long as its account exists: {error}"
        step.done(key_id)
    return None
