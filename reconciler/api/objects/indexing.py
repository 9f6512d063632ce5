"""Waiting until a store has indexed what was attached to it, and saying what it could not index.

A batch, a file and a store all show `in_progress` for as long as it takes, so one loop waits for any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from reconciler.api.objects.scoped import ScopedClient
from reconciler.api.transport.responses import clean
from reconciler.errors import NotFoundError
from reconciler.model.values import Spec

_FIRST_SECONDS = 1.0
_MOST_SECONDS = 5.0


class IndexingWatch(Struct, frozen=True):
    """Something to wait for: `path` shows its status; `failures` lists failed files, None where `path` is the file."""

    path: str
    ids: Mapping[str, str]
    failures: str | None = None


class Indexing(Struct):
    """Waits, `seconds` at most for all watches together. `names` says what to call a file in a note, by its id.

    What was just attached may be unknown for a moment: `settle_seconds` of "not found" are waited out like indexing.
    """

    reach: ScopedClient
    names: Mapping[str, str]
    seconds: float
    settle_seconds: float

    def wait(self, watches: list[IndexingWatch]) -> tuple[list[str], list[str]]:
        """Wait for all; a sentence for each file that failed, and remarks about what is still going on."""
        failed: list[str] = []
        notes: list[str] = []
        for watch in watches:
            body = self._ended(watch)
            if body is None:
                notes.append(
                    "Some files are still being indexed; the next plan shows those that fail."
                )
            else:
                failed += [self._sentence(item) for item in self._failed(watch, body)]
        return list(dict.fromkeys(failed)), list(dict.fromkeys(notes))

    def _ended(self, watch: IndexingWatch) -> Spec | None:
        pause = _FIRST_SECONDS
        while True:
            body, headers = self._status(watch)
            if body.get("status") != "in_progress":
                return body
            told = _told(headers)
            seconds = told if told is not None else pause
            if seconds > self.seconds:
                return None
            self.seconds -= seconds
            self.settle_seconds -= seconds
            self.reach.client.pause(seconds, f"indexing of {len(self.names)} files")
            pause = min(pause * 1.5, _MOST_SECONDS)

    def _status(self, watch: IndexingWatch) -> tuple[Spec, Spec]:
        try:
            return self.reach.exchange("GET", watch.path, ids=watch.ids)
        except NotFoundError:
            if self.settle_seconds <= 0:
                raise
            return {"status": "in_progress"}, {}

    def _failed(self, watch: IndexingWatch, body: Spec) -> Iterator[Spec]:
        if watch.failures is None:
            if body.get("status") != "completed":
                yield body
        elif (body.get("file_counts") or {}).get("failed") != 0:
            query: dict[str, str | int] = {"filter": "failed", "limit": 100}
            listed = self.reach.list(watch.failures, ids=watch.ids, query=query)
            yield from (item for item in listed if item.get("id") in self.names)

    def _sentence(self, item: Spec) -> str:
        name = self.names.get(str(item.get("id")), str(item.get("id")))
        return f"{name} could not be indexed: {_reason(item, self.reach)}."


def _reason(item: Spec, reach: ScopedClient) -> str:
    error: Any = item.get("last_error")
    if not isinstance(error, Mapping):
        return str(item.get("status"))
    text = ": ".join(str(error[name]) for name in ("code", "message") if error.get(name))
    return clean(text, reach.client.redactor).rstrip(".")


def _told(headers: Spec) -> float | None:
    text = str(headers.get("openai-poll-after-ms", ""))
    return max(int(text), 50) / 1000 if text.isdigit() and len(text) < 7 else None
