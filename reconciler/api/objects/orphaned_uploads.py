"""Orphaned uploads: files that no store has, found and used instead of being uploaded twice.

An upload can succeed without our knowledge, in this run (the answer was lost) or in an earlier one
(it died before it attached the file). The journal has the ids of most; the list of files is
searched for the others. A file counts only if it is the only match: by name, size and age, and
reserved by nobody. Orphans that no member needs, because their path left the manifests or their
content changed, are deleted. The same goes for uploads in the state that were detached outside.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from reconciler.api.objects.change_context import ChangeContext
from reconciler.api.objects.members import members_in
from reconciler.api.objects.reservations import InProcessReservations
from reconciler.api.objects.scoped_client import id_of
from reconciler.errors import NotFoundError
from reconciler.model.consistency import UPLOAD_ATTEMPT_SECONDS, CreationWindow, pauses
from reconciler.model.values import LocalFile, Spec

UPLOAD = "upload"
"""The journal's name of the step that uploads a file."""

REATTACH = "reattach"
"""The journal's name of the step that detaches a file in order to attach it with other options."""

_LIST_LIMIT = 10_000

_Content = tuple[str, str]
"""Path and digest of a file."""


class UploadRef(NamedTuple):
    """An upload of an earlier run: the path and digest of its source, and its id."""

    path: str
    sha256: str
    id: str


class OrphanedUploads:
    """The orphaned uploads that one change may use. Safe to use from threads.

    `known` are ids that are reserved from the start. `reservations` are those of the whole run;
    within the change, each file goes to one member. An upload is searched for until
    `settle_seconds` after it began.
    """

    def __init__(
        self,
        context: ChangeContext,
        reservations: InProcessReservations,
        known: frozenset[str],
        purpose: str,
        settle_seconds: float,
    ) -> None:
        self._context = context
        self._reservations = reservations
        self._purpose = purpose
        self._settle_seconds = settle_seconds
        self._lock = threading.Lock()
        # What the store has is no orphan, for this change or any other.
        for id in known:
            reservations.reserve(id, context.address)
        self._reserved = set(known)
        self._searched: set[_Content] = set()
        self._ambiguous: list[tuple[LocalFile, list[str]]] = []
        # Read once, because thousands of members ask for it: the journal of earlier runs does not
        # change during a change.
        steps = context.steps
        # A file to reattach had an id before its step began, so an unfinished step names it too.
        detached = (*steps.finished(REATTACH), *steps.unfinished(REATTACH))
        self._journalled = list(_journalled((*steps.finished(UPLOAD), *detached)))
        self._recorded = list(_recorded(context))
        self._unanswered = steps.unfinished(UPLOAD)
        self._ids_by_content: dict[_Content, list[str]] = {}
        for ref in (*self._recorded, *self._journalled):
            self._ids_by_content.setdefault((ref.path, ref.sha256), []).append(ref.id)
        self._windows: dict[_Content, list[CreationWindow]] = {}
        for entry in self._unanswered:
            self._windows.setdefault(_content(entry), []).append(_window(entry))

    def reserve(self, id: str) -> bool:
        """Reserve a file for one member; False if it is reserved already."""
        with self._lock:
            is_new = id not in self._reserved and self._reservations.reserve(
                id, self._context.address
            )
            self._reserved.add(id)
            return is_new

    def creating(self, local: LocalFile) -> AbstractContextManager[None]:
        """Surround an upload and the reservation of its id, so that no search takes it."""
        return self._reservations.creating("/files", self._identity(local))

    def left_by_earlier_run(self, local: LocalFile) -> str | None:
        """The id of a file with the same content that an earlier run uploaded, or None."""
        content = (local.path, local.sha256)
        with self._lock:
            self._searched.add(content)
        # The latest first: it is the least likely to have been deleted.
        for id in reversed(self._ids_by_content.get(content, ())):
            # The journal is from an earlier run, and the file may have been deleted since.
            if self._exists(id) and self.reserve(id):
                return id
        windows = self._windows.get(content)
        if not windows:
            return None
        return self.find(local, windows)

    def find(self, local: LocalFile, windows: Sequence[CreationWindow]) -> str | None:
        """The one file that attempts to upload `local` may have created; None for none or several.

        The search lasts until the result of the last attempt would have to be listed.
        """
        http = self._context.client.http
        now = http.server_clock()
        last_attempt = max(min(window.until, now) for window in windows)
        # Lists lag behind, but only for a while after the upload.
        left_seconds = last_attempt + self._settle_seconds - now
        growing_pauses = pauses(min(self._settle_seconds, left_seconds))
        candidates = http.waits.poll(
            lambda: self._candidates(local, windows),
            is_done=bool,
            next_pause=lambda _: next(growing_pauses, None),
            reason=f"looking for the upload of {local.path}",
        )
        if len(candidates) == 1 and self.reserve(candidates[0]):
            return self._journal(local, candidates[0])
        # With several, none is taken: the others may be somebody else's.
        if candidates:
            with self._lock:
                self._ambiguous.append((local, candidates))
        return None

    def unused(self) -> Iterator[tuple[str, str]]:
        """Path and id of each upload of an earlier run that no member needs. Reserves them."""
        for ref in (*self._journalled, *self._recorded):
            if self.reserve(ref.id):
                yield ref.path, ref.id
        for entry in self._unanswered:
            content = _content(entry)
            # A member has looked for it already.
            if content in self._searched:
                continue
            path, sha256 = content
            id = self.find(LocalFile(path, sha256, int(entry["size"])), [_window(entry)])
            if id is not None:
                yield path, id

    def remarks(self) -> list[str]:
        """Sentences for the report about files that may be left over; for the end of a change."""
        sentences = []
        for local, candidates in self._ambiguous:
            ids = [id for id in candidates if not self._reservations.is_taken(id)]
            if ids:
                sentences.append(
                    f"{local.path} was uploaded again, as an answer was lost; these files may be "
                    f"left over: {', '.join(ids)}."
                )
        return sentences

    def _identity(self, local: LocalFile) -> Spec:
        filename = local.path.rpartition("/")[2]
        return {"filename": filename, "purpose": self._purpose, "bytes": local.size}

    def _exists(self, id: str) -> bool:
        try:
            self._context.client.plain.request("GET", "/files/{file}", ids={"file": id})
        except NotFoundError:
            return False
        return True

    def _candidates(self, local: LocalFile, windows: Sequence[CreationWindow]) -> list[str]:
        identity = self._identity(local)
        matches = []
        query: dict[str, str | int] = {"purpose": self._purpose, "limit": _LIST_LIMIT}
        for file in self._context.client.plain.list("/files", query=query):
            is_same = all(file.get(name) == identity[name] for name in ("filename", "bytes"))
            # The API shows no digest of a file. Its time tells it from older files of that name.
            if is_same and any(window.holds(file.get("created_at")) for window in windows):
                matches.append(id_of(file, subject="GET /files"))
        # The list may show a file whose upload by another thread has no answer yet.
        self._reservations.wait_for_creates("/files", identity)
        owner = self._context.address
        with self._lock:
            unreserved = [id for id in matches if id not in self._reserved]
            return [id for id in unreserved if self._reservations.is_free(id, owner)]

    def _journal(self, local: LocalFile, id: str) -> str:
        # As an upload of this run: if it dies too, the next run needs no search.
        content = {"path": local.path, "sha256": local.sha256}
        with self._context.steps.step(UPLOAD, **content, size=local.size, found=id) as step:
            step.done(id, **content)
        return id


def _journalled(entries: Iterable[Mapping[str, Any]]) -> Iterator[UploadRef]:
    """The uploads in the journal. An entry without a digest is of a file that is not ours."""
    for entry in entries:
        id = entry.get("id") or entry.get("file_id")
        sha256 = entry.get("sha256")
        if sha256 and isinstance(id, str):
            yield UploadRef(str(entry.get("path")), str(sha256), id)


def _recorded(context: ChangeContext) -> Iterator[UploadRef]:
    """The uploads in the record of the object."""
    for value in context.applied.values():
        for member in members_in(value):
            if member.content and isinstance(member.file_id, str):
                yield UploadRef(member.content.path, member.content.sha256, member.file_id)


def _content(entry: Mapping[str, Any]) -> _Content:
    return str(entry["path"]), str(entry["sha256"])


def _window(entry: Mapping[str, Any]) -> CreationWindow:
    return CreationWindow.of(
        float(entry["began_at"]), entry.get("ended_at"), longest_seconds=UPLOAD_ATTEMPT_SECONDS
    )
