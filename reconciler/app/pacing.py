"""The pace of a run: shared with all runs at its address where the state is in Postgres."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from reconciler.api.transport.base_url import normal_form
from reconciler.api.transport.shared_pace import MOST_REQUESTS, SharedThrottle
from reconciler.api.transport.throttle import Throttle, TokenSource
from reconciler.app.backend import location_of
from reconciler.errors import CredentialError, StateError
from reconciler.model.pace import PaceError, PaceUser, RouteUse, SharedPace, label_of
from reconciler.model.secret import Secret
from reconciler.state import current_origin
from reconciler.state.address import POSTGRES

if TYPE_CHECKING:
    from reconciler.app.session import Session

LOG = logging.getLogger("reconciler.app")
_LONGEST_ORGANIZATION = 100
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
    """The throttle of a session's client."""
    limit = session.stack.admin_requests_per_minute
    local = Throttle(admin_requests_per_minute=limit)
    if limit is not None and limit > MOST_REQUESTS:
        return local
    pace = shared_pace(session)
    if pace is None:
        return local
    return SharedThrottle(
        local,
        pace,
        user=user_of(session),
        scope=scope_of(session),
        admin_requests_per_minute=limit,
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

        return PostgresPace(address.text)
    except StateError:  # whoever opens the state reports it
        return None


def user_of(session: Session) -> PaceUser:
    """This process, as other runs see it."""
    stack = session.stack
    label = label_of(
        current_origin(),
        command=session.command,
        stack=stack.name,
        environment=stack.environment,
    )
    return PaceUser(process_id(), session.redactor(label), session.is_background)


def scope_of(session: Session) -> Callable[[], str]:
    """Names the server and the organization, as far as this run knows them at the moment.

    What answers name comes first: it is the same for all runs, while a stack file may spell it
    differently.
    """
    parts = urlsplit(normal_form(session.base_url))
    fingerprint = _fingerprint(session)

    def scope() -> str:
        known = session.known_organization or fingerprint
        return f"{parts.netloc}/{known[:_LONGEST_ORGANIZATION]}"

    return scope


def pace_report(session: Session) -> PaceReport | None:
    """The shared pace of a session's organization; None for a run with a pace of its own."""
    pace = shared_pace(session)
    if pace is None:
        return None
    throttle = session.throttle
    problem = throttle.problem if isinstance(throttle, SharedThrottle) else ""
    try:
        return PaceReport(pace.uses(scope_of(session)()), problem)
    except PaceError as error:
        return PaceReport(problem=problem or str(error))
    finally:
        pace.close()


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
