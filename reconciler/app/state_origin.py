"""The server and organization that a state belongs to: refuses others, and records both.

With the state of another server, every object would look deleted and be created again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.api.transport.base_url import is_loopback, normal_form
from reconciler.api.transport.organization import Expectation
from reconciler.errors import OrganizationError

if TYPE_CHECKING:
    from reconciler.api.transport.client import Client
    from reconciler.app.session import Session
    from reconciler.manifests import Stack
    from reconciler.state import Identity, StateStore

_REHEARSAL = "This looks like the state of a rehearsal on the emulator. "
_ELSEWHERE = "Use another environment (-e NAME) or another state folder (backend: {local: {path: …}} in the stack file) here."
_RENAMED = (
    " If the organization only has another name or address now: save `reconciler state export "
    "--decrypt`, correct `server` and `organization` in it, and run `reconciler state import "
    "--from-elsewhere`."
)


def expect_declared(client: Client, stack: Stack) -> None:
    """Refuse answers of an organization other than the one in the stack file or OPENAI_ORG_ID."""
    if not stack.organization:
        return
    source = stack.organization_source
    client.organization.expect(
        Expectation(
            stack.organization,
            f"{source} names the organization {stack.organization}",
            hint=f"Use keys of that organization, or correct {source}.",
        )
    )


def expect_recorded(client: Client, store: StateStore, base_url: str) -> None:
    """Refuse another server or organization than that of the state; raises OrganizationError.

    Where the state knows its organization, another server is accepted if its answers name the same
    one: a gateway or a regional address.
    """
    identity, moved = store.identity, has_moved(store, base_url)
    # A state without objects may be used anywhere: nothing in it could look deleted.
    if _is_unused(store):
        return
    whose = f"the state belongs to {identity.place}"
    if identity.organization:
        client.organization.expect(
            Expectation(identity.organization, whose, hint=_hint(identity), must_be_named=moved),
        )
    elif moved:
        raise OrganizationError(
            f"{whose}, and this is {normal_form(base_url)}",
            hint=_hint(identity),
        )


def has_moved(store: StateStore, base_url: str) -> bool:
    """Whether the state belongs to a server at another address."""
    server = store.identity.server
    return bool(server) and server != normal_form(base_url)


def record_origin(session: Session) -> None:
    """Record in the state its server and, once an answer has named it, its organization."""
    store, here = session.store, normal_form(session.base_url)
    known, seen = store.identity, session.client.organization.seen
    is_elsewhere = known.server not in ("", here) or known.organization not in ("", seen)
    # An unused state may move anywhere. The check reads every record, so it comes last.
    if is_elsewhere and _is_unused(store):
        store.bind(server=here, organization=seen)
        return
    if known.server and known.server != here:
        session.notice(
            f"The state moves from {known.server} to {here}: both are of {known.organization}.",
        )
    store.bind(server=here, organization=known.organization or seen)


def _is_unused(store: StateStore) -> bool:
    """Whether nothing in the state refers to an object."""
    return not store.records() and not store.runs.unfinished()


def _hint(identity: Identity) -> str:
    host = identity.server.partition("//")[2].rpartition(":")[0]
    is_rehearsal = is_loopback(host.strip("[]"))
    return (_REHEARSAL if is_rehearsal else "") + _ELSEWHERE + _RENAMED
