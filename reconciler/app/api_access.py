"""How a session reaches the API: its client, the objects as the engine sees them, and its plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.client import Client
from reconciler.app.env_durations import answer_seconds, settle_seconds
from reconciler.app.pacing import follow_organization, suggest_organization
from reconciler.app.page_hints import load_pages
from reconciler.app.planning import Planning
from reconciler.app.sharing import number_of_stacks
from reconciler.app.state_origin import expect_declared, expect_recorded
from reconciler.engine.refresh.audit_trust import FullRefreshPolicy
from reconciler.model.traffic import TrafficObserver

if TYPE_CHECKING:
    from reconciler.app.session import Session

_FILE_CALLS = 4
"""The most parallel calls about the files of one object."""


def client_of(session: Session, traffic: TrafficObserver | None) -> Client:
    """The HTTP client of a session, which uses what the session shares with others."""
    stack, sharing = session.stack, session.sharing
    transport = shared = None
    if sharing is not None:
        transport = sharing.transport(session.base_url, session.network_environ)
        shared = sharing.reader(session.base_url, stack)
    client = Client(
        session.base_url,
        throttle=session.throttle,
        transport=transport,
        shared=shared,
        redactor=session.redactor,
        organization=stack.organization,
        user_agent=f"reconciler/{__version__}",
        answer_seconds=answer_seconds(session.settings.env),
        parallelism=session.parallelism,
        server_clock=session.server_clock,
        # The listener needs figures of the client, so the client comes first.
        on_wait=lambda reason, until: session.progress.waiting(reason, until),
        stop=session.stop,
        permit=session.state.permit,
        observer=traffic,
        environ=session.network_environ,
    )
    try:
        expect_declared(client, stack)
        follow_organization(session, client)
    except BaseException:
        client.close()
        raise
    return client


def provider_of(session: Session) -> HttpProvider:
    """The API's objects. Raises OrganizationError if the state belongs to another server."""
    stack = session.declared.stack
    suggest_organization(session)
    # Before any call: with the state of another server, every object would look deleted.
    expect_recorded(session.client, session.store, session.base_url)
    return HttpProvider(
        session.client,
        session.keys,
        session.sinks,
        stack.root,
        stack.projects,
        default_project=stack.project,
        settle_seconds=settle_seconds(session.settings.env),
        reveal=session.reveal,
        parallelism=min(session.parallelism, _FILE_CALLS),
        recorded=session.store.records().values(),
        pages=load_pages(session.store),
    )


def planning_of(session: Session) -> Planning:
    """Reads live state for the plans of a session, and saves the checkpoint of it."""
    refresh = session.declared.stack.refresh
    policy = FullRefreshPolicy(
        refresh.overlap_minutes * 60, refresh.full_every_hours, refresh.full_every_runs
    )
    sharing, sharers = session.sharing, number_of_stacks(session.sharing)
    return Planning(
        session.provider.for_planning(sharers=sharers),
        session.client,
        session.keys,
        policy,
        parallelism=session.parallelism,
        log=sharing.log(session.client, session.keys) if sharing else None,
        sharers=sharers,
    )
