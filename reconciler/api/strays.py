"""Uploads that are in no store: found again instead of sent twice.

An upload can succeed without our learning of it, in this run (the answer was lost) or in an earlier one (it died before
it attached the file). The journal names what was sent; the list of files is searched for what the journal does not
know. A file is taken only if it is the only one that fits: name, size, age, and claimed by nobody. What no member turns
out to need, because its path has left the manifests or its content has changed, is named to be deleted. So is an
upload that the state remembers and that somebody else has detached.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from reconciler.api.claims import Claims
from reconciler.api.work import Work
from reconciler.errors import NotFoundError
from reconciler.model.values import FileSet, LocalFile, Spec

UPLOAD = "upload"
REATTACH = "reattach"
_CLOCKS_DIFFER_SECONDS = 120
_FIRST_SECONDS = 1.0


class Strays:
    """The unclaimed uploads of one change. `known` are ids that are claimed from the start. Safe to use from threads.

    `claims` are those of the whole run; within the change, each file is given to one member. Lists lag behind, so an
    upload is looked for until `settle_seconds` after it began.
    """

    def __init__(self, work: Work, claims: Claims, known: frozenset[str], purpose: str, settle_seconds: float) -> None:
        self._work = work
        self._claims = claims
        self._left_over: list[tuple[LocalFile, list[str]]] = []
        for id in known:
            claims.claim(id, work.address)
        self._claimed = set(known)
        self._purpose = purpose
        self._settle_seconds = settle_seconds
        self._looked_for: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def claim(self, id: str) -> bool:
        """Say that a file is spoken for; False if it was already."""
        with self._lock:
            fresh = id not in self._claimed and self._claims.claim(id, self._work.address)
            self._claimed.add(id)
            return fresh

    def making(self, local: LocalFile) -> AbstractContextManager[None]:
        """Surround an upload, and the claim of its id: others must not take it for one of theirs."""
        return self._claims.making("/files", self._identity(local))

    def remarks(self) -> list[str]:
        """What the report should say, once the change is at its end: which files nobody turned out to need."""
        left = [(local, [id for id in ids if not self._claims.is_taken(id)]) for local, ids in self._left_over]
        return [
            f"{local.path} was uploaded again, as an answer was lost; these files may be left over: {', '.join(ids)}."
            for local, ids in left
            if ids
        ]

    def left_by_earlier_run(self, local: LocalFile) -> str | None:
        """A file that an unfinished run uploaded with just these bytes, or None."""
        with self._lock:
            self._looked_for.add((local.path, local.sha256))
        for id in self._journalled(local):
            if self._exists(id) and self.claim(id):
                return id
        unfinished = _matching(self._work.steps.unfinished(UPLOAD), local)
        return self.find(local, began_at=float(unfinished[-1]["began_at"])) if unfinished else None

    def unused(self) -> Iterator[tuple[str, str]]:
        """Path and id of each file that an earlier run uploaded or had in hand, and that is nobody's now."""
        steps = self._work.steps
        known = (*steps.finished(UPLOAD), *steps.finished(REATTACH), *steps.unfinished(REATTACH))
        for entry in (*known, *self._recorded()):
            id = entry.get("id") or entry.get("file_id")
            if entry.get("sha256") and isinstance(id, str) and self.claim(id):
                yield str(entry.get("path")), id
        for entry in steps.unfinished(UPLOAD):
            local = LocalFile(str(entry["path"]), str(entry["sha256"]), int(entry["size"]))
            asked = (local.path, local.sha256) in self._looked_for
            found = None if asked else self.find(local, began_at=float(entry["began_at"]))
            if found is not None:
                yield local.path, found

    def find(self, local: LocalFile, *, began_at: float, sent_at: float | None = None) -> str | None:
        """The one file that may have come of an upload begun at `began_at` (unix seconds), None if it must go again.

        `sent_at` is when it was sent last, where that was more than once.
        """
        ends_at = (began_at if sent_at is None else sent_at) + self._settle_seconds
        client, pause = self._work.reach.client, _FIRST_SECONDS
        while not (found := self._candidates(local, began_at)):
            if client.clock() + pause > ends_at:
                return None
            client.pause(pause, f"looking for the upload of {local.path}")
            pause *= 2
        if len(found) == 1 and self.claim(found[0]):
            return self._note_down(local, found[0])
        with self._lock:
            self._left_over.append((local, found))
        return None

    def _identity(self, local: LocalFile) -> Spec:
        return {"filename": local.path.rpartition("/")[2], "purpose": self._purpose, "bytes": local.size}

    def _journalled(self, local: LocalFile) -> list[str]:
        steps = self._work.steps
        uploaded = _matching(steps.finished(UPLOAD), local)
        detached = _matching(steps.finished(REATTACH), local)
        begun = _matching(steps.unfinished(REATTACH), local)
        recorded = _matching(self._recorded(), local)
        found = [entry.get("id") for entry in (*recorded, *uploaded, *detached)] + [
            entry.get("file_id") for entry in begun
        ]
        return [id for id in reversed(found) if isinstance(id, str)]

    def _recorded(self) -> list[Mapping[str, Any]]:
        """The uploads that the state knows of."""
        values = self._work.record.applied.values() if self._work.record else ()
        members = (member for value in values if isinstance(value, FileSet) for member in value.members)
        return [
            {"id": member.file_id, "path": member.content.path, "sha256": member.content.sha256}
            for member in members
            if member.content and isinstance(member.file_id, str)
        ]

    def _exists(self, id: str) -> bool:
        try:
            self._work.reach.plain.request("GET", "/files/{file}", ids={"file": id})
        except NotFoundError:
            return False
        return True

    def _candidates(self, local: LocalFile, began_at: float) -> list[str]:
        query: dict[str, str | int] = {"purpose": self._purpose, "limit": 10_000}
        identity = self._identity(local)
        alike = [
            str(file["id"])
            for file in self._work.reach.plain.list("/files", query=query)
            if all(file.get(name) == identity[name] for name in ("filename", "bytes"))
            and _age(file) >= began_at - _CLOCKS_DIFFER_SECONDS
        ]
        # What others are uploading right now may be listed before its id is known to be theirs.
        self._claims.wait_for_makers("/files", identity)
        with self._lock:
            return [id for id in alike if id not in self._claimed and self._claims.is_free(id, self._work.address)]

    def _note_down(self, local: LocalFile, id: str) -> str:
        with self._work.steps.step(UPLOAD, path=local.path, sha256=local.sha256, size=local.size, found=id) as step:
            step.done(id, path=local.path, sha256=local.sha256)
        return id


def _matching(entries: Sequence[Mapping[str, Any]], local: LocalFile) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if (entry.get("path"), entry.get("sha256")) == (local.path, local.sha256)]


def _age(file: Mapping[str, Any]) -> float:
    created = file.get("created_at")
    return float(created) if isinstance(created, int | float) else 0.0
