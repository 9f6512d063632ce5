"""The history of a fleet in the bucket that holds its states: an object for each stack.

    PREFIX/!fleet/STACK/ENVIRONMENT.json

If two runs write the history of one stack in the same second, the later write wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from reconciler.state.fleet_history import Change
from reconciler.state.remote.objects.address import parse_address, quoted
from reconciler.state.remote.objects.bucket import Bucket
from reconciler.state.remote.objects.storage import READERS, SECONDS

_FOLDER = "!fleet"
"""No stack has this folder: a name that contains an exclamation mark is quoted."""


class ObjectHistory:
    """Implements `HistoryStorage` with objects."""

    def __init__(self, url: str, *, env: Mapping[str, str], seconds: float = SECONDS) -> None:
        """Nothing is sent. Raises StateError for a malformed address or setting."""
        self._base = parse_address(url)
        self._bucket = Bucket(self._base, env, seconds=seconds)

    @property
    def address(self) -> str:
        """The bucket and the prefix."""
        return str(self._base)

    def update(self, stack: str, environment: str, change: Change) -> None:
        """Read the object, and write it again."""
        deadline = self._bucket.deadline()
        key = self._base.key(_FOLDER, quoted(stack), f"{quoted(environment)}.json")
        present = self._bucket.read(key, deadline)
        body = change(None if present is None else present.body)
        self._bucket.replace(key, body, deadline)

    def read_all(self) -> Iterator[bytes]:
        """All documents, several at a time."""
        listed = self._bucket.list(self._base.key(_FOLDER) + "/", self._bucket.deadline())
        keys = sorted(entry.key for entry in listed)
        with ThreadPoolExecutor(READERS, thread_name_prefix="history") as readers:
            for stored in readers.map(self._read, keys):
                if stored is not None:
                    yield stored

    def _read(self, key: str) -> bytes | None:
        stored = self._bucket.read(key, self._bucket.deadline())
        return None if stored is None else stored.body

    def close(self) -> None:
        """Do nothing: the library keeps no connection that needs it."""
