"""Uploads that are in no store: found again instead of sent twice.

An upload can succeed without our learning of it, in this run (the answer was lost) or in an earlier one (it died before
it attached the file). The journal names what was sent; the list of files is searched for what the journal does not
know. A file is taken only if it is the only one that fits: name, size, age, and claimed by nobody. What no member turns
out to need, because its path has left the manifests or its content has changed, is named to be deleted. So is an
upload that the state remembers and that somebody else has detached.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from reconciler.api.objects.changes import ChangeContext
from reconciler.api.objects.reservations import InProcessReservations
from reconciler.api.objects.scoped import id_of
from reconciler.errors import NotFoundError
from reconciler.model.consistency import UPLOAD_ATTEMPT_SECONDS, Window, pauses
from reconciler.model.values import FileSet, LocalFile, Spec

UPLOAD = "upload"
REATTACH = "reattach"


class UploadRef(NamedTuple):
    """A file that an earlier run had in hand: what it was uploaded of, and its id."""

    path: str
    sha256: str
    id: str


class OrphanedUploads:
    """The unclaimed uploads of one change. `known` are ids that are claimed from the start. Safe to use from threads.

    `claims` are those of the whole run; within the change, each file is given to one member. Lists lag behind, so an
    upload is looked for until `settle_seconds` after it began. What earlier runs left in the journal is read once, as
    it stays so for as long as the change lasts, and each of thousands of members asks for it.
    """

    def __init__(
        self,
        work: ChangeContext,
        claims: InProcessReservations,
        known: frozenset[str],
        purpose: str,
        settle_seconds: float,
    ) -> None:
        self._work = work
        self._claims = claims
        self._left_over: list[tuple[LocalFile, list[str]]] = []
        for id in known:
            claims.reserve(id, work.address)
        self._claimed = set(known)
        self._purpose = purpose
        self._settle_seconds = settle_seconds
        self._looked_for: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        steps = work.steps
        journalled = (
            *steps.finished(UPLOAD),
            *steps.finished(REATTACH),
            *steps.unfinished(REATTACH),
        )
        self._journalled = list(_traces(journalled))
        self._recorded = list(_recorded(work))
        self._unanswered = steps.unfinished(UPLOAD)
        self._windows: dict[tuple[str, str], list[Window]] = {}
        for entry in self._unanswered:
            self._windows.setdefault(_content(entry), []).append(_window(entry))
        self._at_hand: dict[tuple[str, str], list[str]] = {}
        for trace in (*self._recorded, *self._journalled):
            self._at_hand.setdefault((trace.path, trace.sha256), []).append(trace.id)

    def claim(self, id: str) -> bool:
        """Say that a file is spoken for; False if it was already."""
        with self._lock:
            fresh = id not in self._claimed and self._claims.reserve(id, self._work.address)
            self._claimed.add(id)
            return fresh

    def making(self, local: LocalFile) -> AbstractContextManager[None]:
        """Surround an upload, and the claim of its id: others must not take it for one of theirs."""
        return self._claims.creating("/files", self._identity(local))

    def remarks(self) -> list[str]:
        """What the report should say, once the change is at its end: which files nobody turned out to need."""
        left = [
            (local, [id for id in ids if not self._claims.is_taken(id)])
            for local, ids in self._left_over
        ]
        return [
            f"{local.path} was uploaded again, as an answer was lost; these files may be left over: {', '.join(ids)}."
            for local, ids in left
            if ids
        ]

    def left_by_earlier_run(self, local: LocalFile) -> str | None:
        """A file that an unfinished run uploaded with just these bytes, or None."""
        content = (local.path, local.sha256)
        with self._lock:
            self._looked_for.add(content)
        for id in reversed(self._at_hand.get(content, ())):
            if self._exists(id) and self.claim(id):
                return id
        windows = self._windows.get(content)
        return self.find(local, windows) if windows else None

    def unused(self) -> Iterator[tuple[str, str]]:
        """Path and id of each file that an earlier run uploaded or had in hand, and that is nobody's now."""
        for trace in (*self._journalled, *self._recorded):
            if self.claim(trace.id):
                yield trace.path, trace.id
        for entry in self._unanswered:
            path, sha256 = _content(entry)
            local = LocalFile(path, sha256, int(entry["size"]))
            asked = (path, sha256) in self._looked_for
            found = None if asked else self.find(local, [_window(entry)])
            if found is not None:
                yield path, found

    def find(self, local: LocalFile, windows: Sequence[Window]) -> str | None:
        """The one file that may have come of attempts to upload it, None if it must be sent again.

        It is looked for until the result of the last attempt would have to show.
        """
        client = self._work.client.client
        last = max(min(window.until, client.server_clock()) for window in windows)
        left = pauses(
            min(self._settle_seconds, last + self._settle_seconds - client.server_clock())
        )
        while not (found := self._candidates(local, windows)):
            pause = next(left, None)
            if pause is None:
                return None
            client.pause(pause, f"looking for the upload of {local.path}")
        if len(found) == 1 and self.claim(found[0]):
            return self._note_down(local, found[0])
        with self._lock:
            self._left_over.append((local, found))
        return None

    def _identity(self, local: LocalFile) -> Spec:
        return {
            "filename": local.path.rpartition("/")[2],
            "purpose": self._purpose,
            "bytes": local.size,
        }

    def _exists(self, id: str) -> bool:
        try:
            self._work.client.plain.request("GET", "/files/{file}", ids={"file": id})
        except NotFoundError:
            return False
        return True

    def _candidates(self, local: LocalFile, windows: Sequence[Window]) -> list[str]:
        query: dict[str, str | int] = {"purpose": self._purpose, "limit": 10_000}
        identity = self._identity(local)
        alike = [
            id_of(file, what="GET /files")
            for file in self._work.client.plain.list("/files", query=query)
            if all(file.get(name) == identity[name] for name in ("filename", "bytes"))
            and any(window.holds(file.get("created_at")) for window in windows)
        ]
        # What others are uploading right now may be listed before its id is known to be theirs.
        self._claims.wait_for_creates("/files", identity)
        with self._lock:
            return [
                id
                for id in alike
                if id not in self._claimed and self._claims.is_free(id, self._work.address)
            ]

    def _note_down(self, local: LocalFile, id: str) -> str:
        with self._work.steps.step(
            UPLOAD, path=local.path, sha256=local.sha256, size=local.size, found=id
        ) as step:
            step.done(id, path=local.path, sha256=local.sha256)
        return id


def _traces(entries: Iterable[Mapping[str, Any]]) -> Iterator[UploadRef]:
    """The files that entries of the journal name; what was attached by its id alone is not ours to take or delete."""
    for entry in entries:
        id, sha256 = entry.get("id") or entry.get("file_id"), entry.get("sha256")
        if sha256 and isinstance(id, str):
            yield UploadRef(str(entry.get("path")), str(sha256), id)


def _recorded(work: ChangeContext) -> Iterator[UploadRef]:
    """The uploads that the state knows of."""
    values = work.record.applied.values() if work.record else ()
    for member in (
        member for value in values if isinstance(value, FileSet) for member in value.members
    ):
        if member.content and isinstance(member.file_id, str):
            yield UploadRef(member.content.path, member.content.sha256, member.file_id)


def _content(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry["path"]), str(entry["sha256"])


def _window(entry: Mapping[str, Any]) -> Window:
    return Window.of(
        float(entry["began_at"]), entry.get("ended_at"), longest_seconds=UPLOAD_ATTEMPT_SECONDS
    )
