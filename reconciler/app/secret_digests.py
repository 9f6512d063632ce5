"""Keyed digests of the secrets that manifests name, which plans and records hold in their place.

A plan must show whether a secret changed. It holds a digest whose key is random for each state and
never leaves it: plans are published and states exported, and a digest with its key would let
anybody test guesses. If the state is lost, secrets are sent once more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.errors import CredentialError
from reconciler.manifests import ValueProblem
from reconciler.manifests.secret_inputs import one_line_sources
from reconciler.model.address import Address
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


def digests_of(session: Session, *, keep: bool, is_offline: bool = False) -> SecretDigests:
    """The digests of a session's secrets; `keep` saves a new key in the state.

    With `is_offline`, secret managers are not read.
    """
    key = key_of(session.store, new=session.new_digest_key, keep=keep)
    if is_offline:
        return SecretDigests(session.declared.stack.read_secret, key)
    return SecretDigests(session.sources.read, key, session.sources.reason)


def key_of(store: StateStore, *, new: str, keep: bool) -> str:
    """The key of a state's digests; `new` if it has none, saved with `keep`."""
    stored = store.remarks.get(KEY)
    if stored is None and keep:
        store.remarks.put(KEY, new)
    return stored or new


def missing_secret_message(value: SecretValue) -> str:
    """The message for a missing secret."""
    return f"There is no secret in {value.source}."


def revealed(
    read: Callable[[SecretValue], Secret | None],
    value: SecretValue,
    *,
    reason: Callable[[SecretValue], str] = missing_secret_message,
) -> Secret:
    """The secret itself; raises CredentialError if it is missing or must not be sent."""
    secret = _read(read, value)
    if secret is None:
        raise CredentialError(reason(value), hint="Set it where this program is run.")
    return secret


def _read(read: Callable[[SecretValue], Secret | None], value: SecretValue) -> Secret | None:
    try:
        return read(value)
    except ValueProblem as problem:
        raise CredentialError(problem.detail or problem.summary) from None


class SecretDigests:
    """Puts digests on the secret values of specs. `read` returns None for a missing secret, and
    `reason` says why it is missing."""

    def __init__(
        self,
        read: Callable[[SecretValue], Secret | None],
        key: str,
        reason: Callable[[SecretValue], str] = missing_secret_message,
    ) -> None:
        self._read = read
        self._reason = reason
        self._key = bytes.fromhex(key)

    def resources(
        self, resources: Iterable[Resource], records: Mapping[Address, Record]
    ) -> Iterator[Resource]:
        """The resources with digests to compare."""
        for resource in resources:
            yield self.resource(resource, records.get(resource.address))

    def resource(self, resource: Resource, record: Record | None) -> Resource:
        """The resource with digests to compare; a missing secret counts as unchanged."""
        if not _has(resource):
            return resource
        self._require_lines(resource)
        known = {value.source: value for value in secrets_in(record.applied if record else {})}

        def sealed(value: SecretValue) -> SecretValue:
            # A secret that cannot be read keeps its recorded digest, and so counts as unchanged.
            return self._sealed(value) or known.get(value.source) or SecretValue(value.source)

        return replace(resource, spec=with_secrets(resource.spec, sealed))

    def unread(self, resources: Iterable[Resource]) -> Iterator[Diagnostic]:
        """A warning for each resource with missing secrets."""
        for resource in filter(_has, resources):
            missing: dict[str, None] = {}
            for value in secrets_in(resource.spec):
                if _read(self._read, value) is None:
                    missing[self._reason(value)] = None
            if missing:
                reasons = " ".join(missing)
                detail = f"{reasons} Whether the secret changed is unknown."
                yield Diagnostic(
                    "Secret not available",
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
        # An update sends changed fields only, so a secret that nobody reads need not be set.
        sent = change.field_names if change.action is Action.UPDATE else change.desired.keys()
        desired = dict(change.desired)
        for name, value in change.desired.items():
            if name in sent:
                desired[name] = with_secrets(value, self._to_send)
        return replace(change, desired=desired)

    def _to_send(self, value: SecretValue) -> SecretValue:
        # Read once for its error: a secret that is missing stops the apply before its first call.
        revealed(self._read, value, reason=self._reason)
        return self._sealed(value) or value

    def _require_lines(self, resource: Resource) -> None:
        """Raise CredentialError for a secret of several lines that must be one."""
        for field in resource.kind.fields:
            for source in one_line_sources(field.type, resource.spec.get(field.name)):
                secret = _read(self._read, SecretValue(source))
                if secret is not None and any(char in secret.reveal() for char in "\r\n\0"):
                    raise CredentialError(
                        f"{resource.address}: the secret from {source} has several lines, and only "
                        "one is allowed here",
                        hint="name another source, or store one line there",
                    )

    def _sealed(self, value: SecretValue) -> SecretValue | None:
        secret = _read(self._read, value)
        if secret is None:
            return None
        return replace(
            value,
            # With the source, so that equal secrets of two sources have different digests.
            digest=keyed_digest(self._key, f"{value.source}\0{secret.reveal()}".encode()),
        )


def _has(resource: Resource) -> bool:
    return resource.kind.takes_secrets
