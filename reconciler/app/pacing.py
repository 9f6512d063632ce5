"""The pace of a run: shared with all runs at its address where the state is in Postgres."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from reconciler.api.transport.base_url import normal_form
from reconciler.api.transport.throttle import Throttle, TokenSource
from reconciler.app.states import location_of
from reconciler.errors import CredentialError, StateError
from reconciler.model.secret import Secret
from reconciler.state import current_origin
from reconciler.state.address import POSTGRES

if TYPE_CHECKING:
    from reconciler.api.transport.client import Client
    from reconciler.api.transport.shared_pace import PaceScope, SharedThrottle
    from reconciler.app.session import Session
    from reconciler.model.pace import PaceUser, RouteUse, SharedPace

LOG = logging.getLogger("reconciler.app")
_FINGERPRINT_DIGITS = 6


class PaceReport(Struct, frozen=True):
    """What `doctor` says about the shared pace: `problem` says why it is not used."""

    routes: Sequence[RouteUse] = ()
    problem: str = ""


@cache
def process_id() -> str:
    """The id under which this process takes tokens. Its sessions share what the process gets."""
    return secrets.token_hex(4)


def token_source(session: Session) -> TokenSource:
    """The throttle of a session's client: its own, or that of its fleet, and shared if possible."""
    sharing = session.sharing
    if sharing is None:
        local = Throttle(admin_requests_per_minute=session.stack.admin_requests_per_minute)
        return _shared(session, local) or local
    local = sharing.throttle(session.base_url, session.stack)
    # Without a key the fleet keeps no throttle, because nothing says with whom to share it.
    if not sharing.keeps(local):
        return _shared(session, local) or local
    return sharing.shared_throttle(local, lambda: _shared(session, local))


def follow_organization(session: Session, client: Client) -> None:
    """Give the pace the name of the organization once an answer has it."""
    throttle = _shared_throttle(session)
    if throttle is not None:
        client.organization.follow(throttle.scope.see)


def suggest_organization(session: Session) -> None:
    """Give the pace the name of the organization in the state."""
    throttle = _shared_throttle(session)
    if throttle is not None:
        throttle.scope.suggest(session.store.identity.organization)


def _shared_throttle(session: Session) -> SharedThrottle | None:
    if isinstance(session.throttle, Throttle):
        return None
    # Most runs share no pace, so its modules are imported only for a state in Postgres.
    from reconciler.api.transport.shared_pace import SharedThrottle

    return session.throttle if isinstance(session.throttle, SharedThrottle) else None


def _shared(session: Session, local: Throttle) -> SharedThrottle | None:
    pace = shared_pace(session)
    if pace is None:
        return None
    from reconciler.api.transport.shared_pace import SharedThrottle

    return SharedThrottle(
        local,
        pace,
        user=user_of(session),
        scope=_scope_of(session),
        notice=session.notice,
        note=LOG.info,
    )


def shared_pace(session: Session) -> SharedPace | None:
    """The pace at the address of the state, if that is in Postgres. Connects at its first use."""
    if session.is_offline:
        return None
    try:
        address = location_of(session.stack, session.settings)
        if address.scheme != POSTGRES:
            return None
        from reconciler.state.remote.postgres.pace import PostgresPace

        # A fleet has one pace for all organizations: with connections for each of them, two fleets
        # of twenty organizations would come close to the hundred that PostgreSQL allows.
        if session.sharing is None:
            return PostgresPace(address.text)
        return session.sharing.pace_database(address.text, lambda: PostgresPace(address.text))
    except StateError:  # opening the state reports it
        return None


def user_of(session: Session) -> PaceUser:
    """This process, as other runs see it."""
    from reconciler.model.pace import PaceUser, label_of

    stack = session.stack
    doing = f"{session.command} {stack.name}/{stack.environment}".strip()
    if session.sharing is not None:
        # A fleet is one user of the pace, so it is named as a whole.
        number = session.sharing.stacks
        is_named_by_program = number == 1 or session.is_background
        doing = session.program if is_named_by_program else f"{session.command} of {number} stacks"
    label = label_of(current_origin(), doing)
    return PaceUser(process_id(), session.redactor(label), session.is_background)


def process_label(session: Session) -> str:
    """How other runs see this process."""
    return user_of(session).label


def pace_report(session: Session) -> PaceReport | None:
    """The shared pace of a session's organization; None for a run with a pace of its own."""
    throttle = _shared_throttle(session)
    if throttle is None:
        return None
    from reconciler.model.pace import PaceError

    try:
        return PaceReport(throttle.uses(), throttle.problem)
    except PaceError as error:
        return PaceReport(problem=throttle.problem or str(error))


def _scope_of(session: Session) -> PaceScope:
    from reconciler.api.transport.shared_pace import PaceScope

    scope = PaceScope(urlsplit(normal_form(session.base_url)).netloc, _fingerprint(session))
    scope.suggest(session.stack.organization or "")
    return scope


def _fingerprint(session: Session) -> str:
    """Tells the admin keys of a few organizations apart until an answer names the organization.

    24 bits are too few to recognize a key by them, or to learn one.
    """
    try:
        key: Secret = session.keys.admin().secret
    except CredentialError:
        return "unknown"
    digest = hashlib.sha256(b"reconciler pace\0" + key.reveal().encode()).hexdigest()
    return f"key {digest[:_FINGERPRINT_DIGITS]}"
