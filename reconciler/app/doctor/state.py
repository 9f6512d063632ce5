"""Examines the state: its backend, its organization, its lock, and unfinished changes."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.transport.base_url import normal_form
from reconciler.app.doctor.keys import KeyExaminer
from reconciler.app.session import Session
from reconciler.app.state_origin import expect_recorded
from reconciler.app.states import location_of
from reconciler.errors import OrganizationError, StateError, UsageError
from reconciler.model.doctor import DoctorFinding, FindingStatus
from reconciler.state import StateStore
from reconciler.state.lock import Holder
from reconciler.state.process import Process


def state_findings(session: Session) -> Iterator[DoctorFinding]:
    """The backend, the lock and unfinished changes."""
    try:
        address = location_of(session.stack, session.settings)
        store = session.store
        records = len(store.records())
        holder = store.holder()
        unfinished = len(store.runs.unfinished())
    except (StateError, UsageError) as error:
        yield DoctorFinding("state", FindingStatus.ERROR, f"{str(error).rstrip('.')}.", error.hint)
        return
    noun = "resource" if records == 1 else "resources"
    contents = f"{records:,} {noun}, serial {store.serial}" if store.serial else "empty"
    yield DoctorFinding(
        "state", FindingStatus.OK, f"The state {address.shown} can be read: {contents}."
    )
    yield from _origin(session, store)
    yield lock_finding(holder, Process.current())
    if unfinished:
        noun = "change is" if unfinished == 1 else "changes are"
        yield DoctorFinding(
            "state",
            FindingStatus.WARNING,
            f"{unfinished} {noun} unfinished: a run ended in the middle.",
            "Run the same command again; it searches for created objects and continues.",
        )


def lock_finding(holder: Holder | None, here: Process) -> DoctorFinding:
    """Who holds the lock, and whether that process still runs."""
    if holder is None:
        return DoctorFinding("lock", FindingStatus.OK, "Nobody holds the lock.")
    # Only a process of this machine can be seen to be gone.
    if here.proves_dead(holder.process):
        return DoctorFinding(
            "lock",
            FindingStatus.WARNING,
            f"The lock was left behind by a run that has ended: {holder}.",
            "The next run that writes takes it over; there is nothing to do.",
        )
    return DoctorFinding(
        "lock",
        FindingStatus.WARNING,
        f"Another run holds the lock: {holder}.",
        "Wait for it to end, or pass --lock-wait. If you are certain that it no longer runs: "
        "reconciler state unlock.",
    )


def organization_findings(session: Session, keys: KeyExaminer) -> Iterator[DoctorFinding]:
    """Whether the keys are of the organization that the stack names."""
    declared, seen = session.stack.organization, session.client.organization.seen
    if keys.wrong_organization is not None:
        error = keys.wrong_organization
        yield DoctorFinding("organization", FindingStatus.ERROR, f"{_sentence(error)}", error.hint)
        return
    if not seen:
        yield DoctorFinding(
            "organization", FindingStatus.UNKNOWN, "No answer named an organization."
        )
    elif declared:
        yield DoctorFinding(
            "organization", FindingStatus.OK, f"The keys are of {seen}, as the stack demands."
        )
    else:
        yield DoctorFinding(
            "organization",
            FindingStatus.OK,
            f"The keys are of {seen}. The stack names no organization.",
            f"Add `organization: {seen}` to the stack file, so that keys of another one are refused.",
        )


def _origin(session: Session, store: StateStore) -> Iterator[DoctorFinding]:
    try:
        base_url = session.base_url
        client = session.client
        expect_recorded(client, store, base_url)
    except UsageError:
        return  # a finding of the network says so
    except OrganizationError as error:
        yield DoctorFinding("state", FindingStatus.ERROR, _sentence(error), error.hint)
        return
    server = store.identity.server
    if server and server != normal_form(base_url):
        yield DoctorFinding(
            "state",
            FindingStatus.WARNING,
            f"The state was written for {store.identity.place}, and this is {base_url}.",
            "A run accepts that only if the answers name the same organization.",
        )


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
