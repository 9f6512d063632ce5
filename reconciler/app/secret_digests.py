"""Keyed digests of the secrets that manifests name, which plans and records hold in their place.

A plan has to show whether a secret changed. It holds a digest whose key is random for each state
and never leaves it: plans are published and states exported, and with the key beside the digest
anybody could try guesses. A lost state no longer knows what was sent, so secrets are sent once more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.errors import CredentialError
from reconciler.manifests import Problem
from reconciler.model.change import Action, Change, Plan
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.resource import Record, Resource
from reconciler.model.secret import Secret
from reconciler.model.values import SecretValue, secrets_in, with_secrets
from reconciler.secrets.digests import keyed_digest
from reconciler.state import StateStore

if TYPE_CHECKING:
    from reconciler.app.session import Session

KEY = "digest_key"
"""The name under which the state holds the key of its digests."""

_KEY_BYTES = 32
_SENDS = (Action.CREATE, Action.UPDATE, Action.REPLACE)


def new_key() -> str:
    """A random key, for a state without one."""
    return secrets.token_hex(_KEY_BYTES)


def digests_of(session: Session, *, keep: bool) -> SecretDigests:
    """The digests of a session's secrets; `keep` saves a new key in the state."""
    key = key_of(session.store, new=session.new_digest_key, keep=keep)
    return SecretDigests(session.declared.stack.read_secret, key)


def key_of(store: StateStore, *, new: str, keep: bool) -> str:
    """The key of a state's digests; `new` if it has none, saved with `keep`."""
    stored = store.meta(KEY)
    if stored is None and keep:
        store.set_meta(KEY, new)
    return stored or new


def revealed(read: Callable[[SecretValue], Secret | None], value: SecretValue) -> Secret:
    """The secret itself; raises CredentialError if it is missing or must not be sent."""
    secret = _read(read, value)
    if secret is None:
        raise CredentialError(
            f"There is no secret in {value.source}.",
            hint="Set it where this program is run.",
        )
    return secret


def _read(read: Callable[[SecretValue], Secret | None], value: SecretValue) -> Secret | None:
    try:
        return read(value)
    except Problem as problem:
        raise CredentialError(problem.detail or problem.summary) from None


class SecretDigests:
    """Puts digests on the secret values of specs. `read` returns None for a missing secret."""

    def __init__(self, read: Callable[[SecretValue], Secret | None], key: str) -> None:
        self._read = read
        self._key = bytes.fromhex(key)

    def resource(self, resource: Resource, record: Record | None) -> Resource:
        """The resource with digests to compare; a missing secret counts as unchanged."""
        if not _has(resource):
            return resource
        known = {value.source: value for value in secrets_in(record.applied if record else {})}

        def sealed(value: SecretValue) -> SecretValue:
            return self._sealed(value) or known.get(value.source) or SecretValue(value.source)

        return replace(resource, spec=with_secrets(resource.spec, sealed))

    def unread(self, resources: Iterable[Resource]) -> Iterator[Diagnostic]:
        """A warning for each resource with missing secrets."""
        for resource in filter(_has, resources):
            missing = [
                value.source
                for value in secrets_in(resource.spec)
                if _read(self._read, value) is None
            ]
            if missing:
                sources = ", ".join(dict.fromkeys(missing))
                detail = (
                    f"There is nothing in {sources}, so it is not known whether the secret changed."
                )
                yield Diagnostic(
                    "A secret is not here",
                    detail,
                    resource.address,
                    resource.location,
                    severity=Severity.WARNING,
                )

    def plan(self, plan: Plan) -> Plan:
        """The plan with digests of the secrets that it sends; raises CredentialError for a missing one.

        The digests in a saved plan can be older than the secrets.
        """
        return replace(plan, changes=tuple(map(self._change, plan.changes)))

    def _change(self, change: Change) -> Change:
        if change.action not in _SENDS:
            return change
        sent = change.field_names if change.action is Action.UPDATE else change.desired.keys()
        desired = {
            name: with_secrets(value, self._to_send) if name in sent else value
            for name, value in change.desired.items()
        }
        return replace(change, desired=desired)

    def _to_send(self, value: SecretValue) -> SecretValue:
        revealed(self._read, value)
        return self._sealed(value) or value

    def _sealed(self, value: SecretValue) -> SecretValue | None:
        secret = _read(self._read, value)
        if secret is None:
            return None
        return replace(
            value,
            digest=keyed_digest(self._key, f"{value.source}\0{secret.reveal()}".encode()),
        )


def _has(resource: Resource) -> bool:
    return resource.kind.takes_secrets
