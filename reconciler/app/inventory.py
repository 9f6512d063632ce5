"""Takes the inventory of an organization."""

from __future__ import annotations

import time

from reconciler.app.plans import PlanRequest, plan_inputs
from reconciler.app.secret_digests import digests_of
from reconciler.app.session import Session
from reconciler.engine.refresh.collect import collect
from reconciler.errors import CredentialError
from reconciler.model.inventory import Inventory


def take_inventory(session: Session) -> Inventory:
    """Read every object that the keys can read. Needs no manifest, and writes nothing.

    Raises CredentialError without any key, and ApiError where the API does not answer.
    """
    session.manifests.are_required = False
    require_any_key(session)
    request = PlanRequest(refresh="full", unmanaged=True, inventory=True)
    inputs = plan_inputs(session, request, digests_of(session, keep=False))
    started, provider = time.monotonic(), session.provider
    calls = provider.calls
    # Several kinds are in one list, and a reading writes nothing that would change it.
    provider.share_lists()
    with session.progress.reading():
        snapshot = collect(inputs, provider, parallelism=session.parallelism)
    return Inventory(
        objects=snapshot.overview.objects,
        unread=snapshot.overview.unread,
        stack=session.stack.name,
        environment=session.stack.environment,
        calls=provider.calls - calls,
        seconds=time.monotonic() - started,
    )


def require_any_key(session: Session) -> None:
    """Raise CredentialError if there is no key at all."""
    credentials = session.stack.credentials
    named = any(credential.secret or credential.file for credential in credentials.all())
    if not named:
        raise CredentialError(
            "There is no key to read anything with",
            hint="Set OPENAI_ADMIN_KEY for the organization, and OPENAI_API_KEY for the data of a "
            "project.",
        )
