"""Reads the live organization once, with GET requests only, and makes a recording of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from reconciler.api.keys import Key
from reconciler.app.export_choice import bound_addresses, project_names
from reconciler.app.live_organization import Unread, Wanted, read_organization
from reconciler.app.plans import SEARCHED, PlanRequest, require_credentials, unchecked_plan
from reconciler.app.session import Session
from reconciler.errors import ApiError, CredentialError
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import Plan
from reconciler.model.diagnostic import Severity
from reconciler.model.types import KeySinkType
from reconciler.rehearsal.capture import Capture
from reconciler.rehearsal.recording import (
    RecordedKey,
    RecordedKeys,
    RecordedList,
    RecordedObject,
    Recording,
)

_SHOWN_END = 3
"""The fewest characters that a redacted key has to show at its end."""


def read_live(session: Session, request: PlanRequest, *, whole: bool) -> Recording:
    """Read the objects that a plan needs; with `whole`, everything that the keys can read.

    Lists that are refused are noted, and the rest is read. Raises ConfigurationError for problems
    of the manifests, CredentialError and ApiError where nothing can be read at all.
    """
    require_credentials(session)
    capture = Capture(session.redactor)
    session.client.reads = capture
    unread: list[str] = []
    try:
        # A full refresh: scopes that the audit log lets a plan skip would be missing from the copy.
        plan = unchecked_plan(
            session, replace(request, refresh="full"), rules=session.declared.rules
        )
        unread += _failures(plan)
        with session.progress.reading():
            # The capture answers with what the plan has already read.
            if whole:
                unread += _read_everything(session)
            else:
                _read_keys(session, plan)
    finally:
        session.client.reads = None
    return _recording(session, capture, unread, is_whole=whole)


def _failures(plan: Plan) -> Iterator[str]:
    for diagnostic in plan.diagnostics:
        if diagnostic.severity is Severity.ERROR:
            where = f"{diagnostic.address}: " if diagnostic.address else ""
            first = (diagnostic.detail or diagnostic.summary).split("\n")[0]
            yield f"{where}{first}"


def _read_everything(session: Session) -> Iterator[str]:
    known = bound_addresses(session.store.records())
    named = session.stack.projects
    reading = read_organization(
        session, Wanted(), lambda projects: project_names(projects, known, named)
    )
    for unread in reading.unread:
        if not unread.is_expected:
            yield _sentence(unread)


def _sentence(unread: Unread) -> str:
    where = f" of project {unread.project}" if unread.project else ""
    return f"{unread.kind}{where}: {unread.reason}"


def _read_keys(session: Session, plan: Plan) -> None:
    """Read the keys of projects in which the plan changes keys, as an apply does to find them."""
    kind = next(
        kind for kind in KINDS.values() if kind.shows_key and "{project}" in kind.collection
    )
    projects = set()
    for change in plan.pending:
        if change.address.project and _has_key(change.address):
            projects.add(change.address.project)
    for project in sorted(projects):
        if session.provider.can_read(kind, project):
            # The copy refuses the list as well.
            with suppress(ApiError, CredentialError):
                session.provider.list(kind, project)


def _has_key(address: Address) -> bool:
    kind = KINDS.get(address.kind)
    return kind is not None and any(isinstance(field.type, KeySinkType) for field in kind.fields)


def _recording(
    session: Session, capture: Capture, unread: list[str], *, is_whole: bool
) -> Recording:
    from reconciler.state.transfer import export_state

    store, stack = session.store, session.stack
    lists, objects = capture.lists(), capture.objects()
    return Recording(
        read_at=session.server_clock(),
        server=session.base_url,
        organization=session.client.organization.seen,
        stack=stack.name,
        environment=stack.environment,
        state=session.redactor.masked(export_state(store)),
        was_searched=store.remarks.get(SEARCHED) is not None,
        is_whole=is_whole,
        keys=_keys(session, capture, lists, objects),
        lists=lists,
        objects=objects,
        refusals=capture.refusals(),
        unread=list(dict.fromkeys(unread)),
        calls=capture.calls(),
        has_unfinished_work=bool(store.runs.unfinished()),
    )


def _keys(
    session: Session,
    capture: Capture,
    lists: list[RecordedList],
    objects: list[RecordedObject],
) -> RecordedKeys:
    """The credentials that have a key, each with the form in which lists of keys show it."""
    keys = session.keys
    shown = sorted(set(_shown_keys(lists, objects)))

    def recorded(name: str | None, *, is_admin: bool = False) -> RecordedKey | None:
        try:
            key = keys.admin() if is_admin else keys.for_project(name)
        except CredentialError:
            return None
        project = "" if is_admin else capture.project_of(name)
        return RecordedKey(project, next((text for text in shown if _is(key, text)), ""))

    projects = {}
    for name in session.stack.credentials.projects:
        key = recorded(name)
        if key is not None:
            projects[name] = key
    return RecordedKeys(
        admin=recorded(None, is_admin=True), default=recorded(None), projects=projects
    )


def _shown_keys(lists: list[RecordedList], objects: list[RecordedObject]) -> Iterator[str]:
    bodies: list[Mapping[str, Any]] = [entry.body for entry in objects]
    for entry in lists:
        bodies += entry.items
    for body in bodies:
        text = body.get("redacted_value")
        if isinstance(text, str):
            yield text


def _is(key: Key, shown: str) -> bool:
    begin, separator, end = parts_of(shown)
    secret = key.secret.reveal()
    return bool(separator) and secret.startswith(begin) and secret.endswith(end)


def parts_of(shown: str) -> tuple[str, str, str]:
    """The begin of a redacted key, the hidden part, and the end; no hidden part if all is shown."""
    hidden = [at for at, character in enumerate(shown) if character in "*.•…"]
    # A key that shows less of its end could be any of several.
    if not hidden or len(shown) - hidden[-1] - 1 < _SHOWN_END:
        return shown, "", ""
    return shown[: hidden[0]], shown[hidden[0] : hidden[-1] + 1], shown[hidden[-1] + 1 :]
