"""Waits until a store has indexed the files attached to it, and reports files that failed.

A batch, a file and a store all have the status `in_progress` meanwhile, so one loop serves all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.transport.responses import clean
from reconciler.errors import NotFoundError
from reconciler.model.values import Spec

_IN_PROGRESS = "in_progress"
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_SHORTEST_POLL_MILLISECONDS = 50
_LONGEST_HEADER = 6
"""The most digits of a pause in milliseconds. More would be a wait of a quarter of an hour or longer."""


class IndexingWatch(Struct, frozen=True):
    """An object to wait for.

    `path` is the call that shows its status. `failures` is the path of the list of its failed
    files, None where the object is a file itself.
    """

    path: str
    ids: Mapping[str, str]
    failures: str | None = None


class Indexing(Struct):
    """Waits at most `seconds` for all watches together. `names` are names of files by their ids.

    A file that was just attached may be unknown for a moment, so a 404 counts as `in_progress`
    during the first `settle_seconds`.
    """

    client: ScopedClient
    names: Mapping[str, str]
    seconds: float
    settle_seconds: float

    def wait(self, watches: list[IndexingWatch]) -> tuple[list[str], list[str]]:
        """Wait for all; a sentence for each file that failed, and remarks about unfinished ones."""
        failures: list[str] = []
        remarks: list[str] = []
        for watch in watches:
            status = self._last_status(watch)
            # Indexing goes on without us, so running out of time is no failure.
            if status.get("status") == _IN_PROGRESS:
                remarks.append(
                    "Some files are still being indexed; the next plan shows those that fail."
                )
            else:
                failures += [self._sentence(file) for file in self._failed_files(watch, status)]
        return list(dict.fromkeys(failures)), list(dict.fromkeys(remarks))

    def _last_status(self, watch: IndexingWatch) -> Spec:
        """The object when it is indexed, or when the time is up."""
        growing_pause = _FIRST_PAUSE_SECONDS

        def next_pause(answer: tuple[Spec, Spec]) -> float | None:
            nonlocal growing_pause
            seconds = _poll_after_seconds(answer[1])
            if seconds is None:
                seconds = growing_pause
            # All watches of a change share the time.
            if seconds > self.seconds:
                return None
            self.seconds -= seconds
            self.settle_seconds -= seconds
            growing_pause = min(growing_pause * 1.5, _LONGEST_PAUSE_SECONDS)
            return seconds

        body, _ = self.client.http.waits.poll(
            lambda: self._read(watch),
            is_done=lambda answer: answer[0].get("status") != _IN_PROGRESS,
            next_pause=next_pause,
            reason=f"indexing of {len(self.names)} files",
        )
        return body

    def _read(self, watch: IndexingWatch) -> tuple[Spec, Spec]:
        try:
            return self.client.exchange("GET", watch.path, ids=watch.ids)
        except NotFoundError:
            # Reads lag as lists do: a new attachment may be unknown for some seconds.
            if self.settle_seconds <= 0:
                raise
            return {"status": _IN_PROGRESS}, {}

    def _failed_files(self, watch: IndexingWatch, status: Spec) -> Iterator[Spec]:
        if watch.failures is None:
            if status.get("status") != "completed":
                yield status
        # A batch is "completed" although files of it failed; only its counts tell.
        elif (status.get("file_counts") or {}).get("failed") != 0:
            query: dict[str, str | int] = {"filter": "failed", "limit": 100}
            for file in self.client.list(watch.failures, ids=watch.ids, query=query):
                # After a lost answer the whole store is watched, and it may have older failures.
                if file.get("id") in self.names:
                    yield file

    def _sentence(self, file: Spec) -> str:
        name = self.names.get(str(file.get("id")), str(file.get("id")))
        return f"{name} could not be indexed: {self._reason(file)}."

    def _reason(self, file: Spec) -> str:
        error: Any = file.get("last_error")
        if not isinstance(error, Mapping):
            error = {}
        sentence = ": ".join(str(error[name]) for name in ("code", "message") if error.get(name))
        if not sentence:
            sentence = str(file.get("status") or "no reason is given")
        # The message may quote the file.
        return clean(sentence, self.client.http.redactor).rstrip(".")


def _poll_after_seconds(headers: Spec) -> float | None:
    """The pause that the server asks for, at least 50 ms; None where it names none."""
    # A header that the API may send with objects in progress, and that its own SDK obeys.
    text = str(headers.get("openai-poll-after-ms", ""))
    if not text.isdigit() or len(text) > _LONGEST_HEADER:
        return None
    return max(int(text), _SHORTEST_POLL_MILLISECONDS) / 1000
