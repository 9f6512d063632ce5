"""The calls for the keys of a service account."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from reconciler.api.objects.change_context import ChangeContext, create_once
from reconciler.api.objects.scoped_client import id_of
from reconciler.errors import AmbiguousError, ApiError, NotFoundError
from reconciler.model.consistency import pauses
from reconciler.model.provider import MINT
from reconciler.model.resource import LiveObject
from reconciler.model.secret import Secret
from reconciler.model.values import Spec

_KEYS_PAGE = 100
_OUR_NAME = re.compile(r"reconciler-[0-9a-f]{12}")


class NewKey(Struct, frozen=True):
    """A key that the API has just shown."""

    id: str
    secret: Secret
    made_at: float
    """In unix seconds of the server."""
    expires_at: float | None = None


def create_key(
    context: ChangeContext, live: LiveObject, lost_names: set[str], *, settle_seconds: float
) -> NewKey:
    """A new key. Adds to `lost_names` the names of keys whose answers were lost."""
    growing_pauses = pauses(settle_seconds)

    def create() -> NewKey:
        # Give the cause of the lost answer time to pass.
        if lost_names:
            pause = next(growing_pauses, 0.0)
            reason = f"minting another key for {live.id}, as an answer was lost"
            context.client.http.waits.pause(pause, reason)
        # Each attempt has a name of its own, by which a key whose answer is lost is found.
        name = f"reconciler-{secrets.token_hex(6)}"
        try:
            return _post_key(name, context, live)
        except AmbiguousError:
            lost_names.add(name)
            raise

    # A search would be in vain: the API shows the secret of a key only once.
    return create_once(create, lambda _: None)


def _post_key(name: str, context: ChangeContext, live: LiveObject) -> NewKey:
    path = f"{context.kind.collection}/{{id}}/api_keys"
    with context.steps.step(MINT, key_name=name) as step:
        answer = context.client.request("POST", path, ids={"id": live.id}, json={"name": name})
        key = shown_key(context, answer)
        if key is None:
            raise AmbiguousError(f"POST {path}: the answer that should show a new key has none.")
        step.done(key.id)
    return key


def shown_key(context: ChangeContext, shown: Any) -> NewKey | None:
    """The key in an answer, None where it is incomplete. Registers its value with the redactor."""
    if not isinstance(shown, Mapping):
        return None
    id, value = shown.get("id"), shown.get("value")
    if not isinstance(value, str) or not value:
        return None
    secret = Secret(value)
    # Before the id is checked: a key without an id is a secret too.
    context.client.http.redactor.add(secret)
    if not isinstance(id, str) or not id:
        return None
    made_at = time_in(shown, "created_at")
    if made_at is None:
        made_at = context.client.http.server_clock()
    return NewKey(id, secret, made_at, time_in(shown, "expires_at"))


def time_in(shown: Spec, name: str) -> float | None:
    """A time of an answer, None where it shows none."""
    value = shown.get(name)
    # True is a number in Python.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def keys_of(context: ChangeContext, live: LiveObject) -> Iterator[dict[str, Any]]:
    """The keys of an account."""
    # The API lists keys by project, not by account.
    for key in context.client.list(_keys_path(context), query={"limit": _KEYS_PAGE}):
        owner = key.get("owner") or {}
        if (owner.get("service_account") or {}).get("id") == live.id:
            yield key


def read_key(context: ChangeContext, key_id: str) -> dict[str, Any] | None:
    """A key as the API shows it; None where it is gone."""
    try:
        return context.client.request("GET", f"{_keys_path(context)}/{{key}}", ids={"key": key_id})
    except NotFoundError:
        return None


def key_id_of(key: Spec) -> str:
    """The id of a listed key."""
    return id_of(key, subject="the list of a project's keys")


def is_named_by_us(key: Spec) -> bool:
    """Whether a listed key has a name that `create_key` gives."""
    return _OUR_NAME.fullmatch(str(key.get("name"))) is not None


def shows(key: Spec, secret: Secret) -> bool:
    """Whether a listed key, of which the API shows only both ends, has this value."""
    # At least four characters at the end: all keys begin alike.
    ends = re.fullmatch(r"([^*.…]+)[*.…]+([^*.…]{4,})", str(key.get("redacted_value")))
    value = secret.reveal()
    return ends is not None and value.startswith(ends[1]) and value.endswith(ends[2])


def delete_keys(context: ChangeContext, ids: set[str | None]) -> None:
    """Delete keys; what the API refuses becomes a note of the report."""
    for key_id in sorted(id for id in ids if id is not None):
        problem = delete_key(context, key_id, can_fail=True)
        if problem:
            context.notes.append(problem)


def delete_key(context: ChangeContext, key_id: str, *, can_fail: bool = False) -> str | None:
    """Delete a key; a sentence for the report where the API refuses.

    With `can_fail`, raises ApiError where the API did not answer, so that the next run tries again.
    """
    path = f"{_keys_path(context)}/{{key}}"
    with context.steps.step(f"delete key {key_id}") as step:
        try:
            context.client.request("DELETE", path, ids={"key": key_id})
        except NotFoundError:
            pass
        except ApiError as error:
            # Without an answer, the key may be gone. A refusal would be the same in every run.
            if can_fail and (error.status is None or isinstance(error, AmbiguousError)):
                raise
            return (
                f"The key {key_id} could not be deleted and still works, as long as its account "
                f"exists: {error}"
            )
        step.done(key_id)
    return None


def _keys_path(context: ChangeContext) -> str:
    return context.kind.collection.rpartition("/")[0] + "/api_keys"
