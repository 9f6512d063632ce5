"""Which server and organization a state belongs to: refuse others, and record it with each apply.

A state that is used elsewhere would read every object as deleted and create it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.api.transport.base_url import is_loopback, normal_form
from reconciler.api.transport.organization import Expectation
from reconciler.cli.reporting import talk
from reconciler.errors import ApiError, CredentialError, OrganizationError
from reconciler.kinds import ALL_KINDS
from reconciler.model.change import Plan

if TYPE_CHECKING:
    from reconciler.api.keys import Key
    from reconciler.api.transport.client import Client
    from reconciler.cli.session import Session
    from reconciler.manifests import Stack
    from reconciler.state import Identity, StateStore

_REHEARSAL = "This looks like the state of a rehearsal on the emulator. "
_ELSEWHERE = (
    "Use another environment (-e NAME) or another state folder (backend: {local: {path: …}} in the stack file) here."
)
_RENAMED = (
    " If the organization only has another name or address now: save `reconciler state export`, "
    "correct `server` and `organization` in it, and run `reconciler state import --from-elsewhere`."
)


def expect_declared(client: Client, stack: Stack) -> None:
    """Refuse answers of another organization than the stack file or OPENAI_ORG_ID names."""
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
    if _is_unused(store):
        return
    whose = f"the state belongs to {identity.place}"
    if identity.organization:
        client.organization.expect(Expectation(identity.organization, whose, hint=_hint(identity), must_be_named=moved))
    elif moved:
        raise OrganizationError(f"{whose}, and this is {normal_form(base_url)}", hint=_hint(identity))


def has_moved(store: StateStore, base_url: str) -> bool:
    """Whether the state belongs to another address than this one."""
    server = store.identity.server
    return bool(server) and server != normal_form(base_url)


def record_origin(session: Session) -> None:
    """Record in the state where its objects live, as far as answers have told."""
    store, here = session.store, normal_form(session.base_url)
    known, seen = store.identity, session.client.organization.seen
    if _is_unused(store):
        store.bind(server=here, organization=seen)
        return
    if known.server and known.server != here:
        talk(f"The state moves from {known.server} to {here}: both are of {known.organization}.")
    store.bind(server=here, organization=known.organization or seen)


def prove_organization(session: Session, plan: Plan) -> None:
    """Read something with each key that a saved plan writes with, unless that has happened already.

    A saved plan can begin with a create, whose answer would tell too late that the keys are of
    another organization.
    """
    if not session.store.identity.organization or session.client.organization.seen:
        return
    for key in set(_keys_of(session, plan)):
        path = "/organization/projects" if key.is_admin else "/models"
        query = {"limit": 1} if key.is_admin else {}
        # Whatever else is wrong is reported by the call that needs the key.
        with suppress(ApiError):
            session.client.request("GET", path, key=key, query=query)


def _keys_of(session: Session, plan: Plan) -> Iterator[Key]:
    for change in plan.pending:
        if not change.action.writes:
            continue
        scope, project = ALL_KINDS[change.address.kind].scope, change.address.project
        with suppress(CredentialError):
            if scope.needs_admin_key:
                yield session.keys.admin()
            elif session.keys.has_project(project):
                yield session.keys.for_project(project)


def _is_unused(store: StateStore) -> bool:
    """Whether nothing in the state refers to an object yet, or any more."""
    return not store.records() and not store.unfinished()


def _hint(identity: Identity) -> str:
    host = identity.server.partition("//")[2].rpartition(":")[0]
    is_rehearsal = is_loopback(host.strip("[]"))
    return (_REHEARSAL if is_rehearsal else "") + _ELSEWHERE + _RENAMED
