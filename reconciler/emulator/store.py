"""The data of the emulator: records in collections.

A record is one API object: clients see its `body`, but not `hidden` (the bytes of a file, the
digest of a key, the time when indexing ends). It belongs to the collection of its kind and scope; a
scope is a project, a vector store or the organization. Objects can share a `created_at` second, so
records are ordered by a sequence number, which also makes paging a bisection.

One lock guards everything. Handlers hold it and must not block.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from reconciler.emulator.journal import DataFile

ORGANIZATION = "org-emulator"
"""The scope of what belongs to no project, and the identifier of the only organization there is."""

Key = tuple[str, str, str]


@dataclass(slots=True)
class ObjectRow:
    """One object: its visible `body`, its `hidden` data, and its sequence number."""

    kind: str
    scope: str
    id: str
    seq: int
    born: float
    body: dict[str, Any]
    hidden: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return (self.kind, self.scope, self.id)


@dataclass(frozen=True)
class StoreCopy:
    """An opaque copy of the contents of a store."""

    entries: list[dict[str, Any]]


class Collection:
    """The records of one kind in one scope, in order of creation."""

    def __init__(self) -> None:
        self._by_id: dict[str, ObjectRow] = {}
        self._ordered: list[ObjectRow] = []

    def add(self, record: ObjectRow) -> None:
        self.remove(record.id)
        self._by_id[record.id] = record
        # Sequence numbers grow, so this appends, except while a data file is loaded.
        self._ordered.insert(bisect_left(self._ordered, record.seq, key=_seq), record)

    def remove(self, id: str) -> None:
        record = self._by_id.pop(id, None)
        if record is not None:
            del self._ordered[bisect_left(self._ordered, record.seq, key=_seq)]

    def get(self, id: str) -> ObjectRow | None:
        return self._by_id.get(id)

    def ordered(self) -> list[ObjectRow]:
        """Return the records, oldest first; callers must not modify the list."""
        return self._ordered

    def position(self, id: str) -> int | None:
        record = self._by_id.get(id)
        return None if record is None else bisect_left(self._ordered, record.seq, key=_seq)

    def __len__(self) -> int:
        return len(self._ordered)


def _seq(record: ObjectRow) -> int:
    return record.seq


_EMPTY = Collection()
_KEYS = ("api_key", "admin_key")


def digest(secret: str) -> str:
    """Return the digest of a key, which is stored in its place."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Store:
    """All records, their indexes, and the journal that persists them."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, journal: DataFile | None = None
    ) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self._journal = journal
        self._changed: dict[Key, None] = {}
        self._clear()
        if journal is not None:
            for entry in journal.load():
                self._restore(entry)
            journal.rewrite(self._entries())

    def _clear(self) -> None:
        self._seq = 0
        self._collections: dict[tuple[str, str], Collection] = {}
        self._keys: dict[str, ObjectRow] = {}
        self._holders: dict[str, set[str]] = {}
        self.file_counts_cache: dict[str, tuple[bool, dict[str, int], int]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._collections

    def now(self) -> int:
        return int(self.clock())

    # --- reading

    def collection(self, kind: str, scope: str) -> Collection:
        return self._collections.get((kind, scope), _EMPTY)

    def get(self, kind: str, scope: str, id: str) -> ObjectRow | None:
        return self.collection(kind, scope).get(id)

    def all(self, kind: str) -> Iterator[ObjectRow]:
        """Yield the records of a kind in every scope."""
        for (found, _), collection in list(self._collections.items()):
            if found == kind:
                yield from list(collection.ordered())

    def counts(self) -> dict[str, int]:
        result: dict[str, int] = {}
        for (kind, _), collection in self._collections.items():
            if len(collection):
                result[kind] = result.get(kind, 0) + len(collection)
        return dict(sorted(result.items()))

    def key_record(self, secret: str) -> ObjectRow | None:
        """Return the record of a project's or an admin key, by its value."""
        return self._keys.get(digest(secret))

    def holders(self, file_id: str) -> set[str]:
        """Return the vector stores to which a file is attached."""
        return set(self._holders.get(file_id, ()))

    # --- changing; code that edits a record in place must call `changed` afterwards

    def add(
        self, kind: str, scope: str, body: dict[str, Any], *, id: str | None = None, **hidden: Any
    ) -> ObjectRow:
        """Add an object; its identifier defaults to the body's `id`."""
        self._seq += 1
        record = ObjectRow(
            kind, scope, id or str(body["id"]), self._seq, self.clock(), body, hidden
        )
        self._put(record)
        self.changed(record)
        return record

    def changed(self, record: ObjectRow) -> None:
        self._changed[record.key] = None
        if record.kind == "vector_store_file":
            self.file_counts_cache.pop(record.scope, None)

    def remove(self, record: ObjectRow) -> None:
        self._drop(record)
        self.changed(record)

    def reorder(self, records: list[ObjectRow]) -> None:
        """Give records of one collection a new order among themselves, oldest first."""
        numbers = sorted(record.seq for record in records)
        for record in records:
            self._drop(record)
        for record, seq in zip(records, numbers, strict=True):
            record.seq = seq
            self._put(record)
            self.changed(record)

    def reset(self) -> None:
        """Remove everything, also from the data file."""
        with self.lock:
            self._clear()
            self._changed.clear()
            if self._journal is not None:
                self._journal.rewrite([])

    def snapshot(self) -> StoreCopy:
        """Return a copy of all records, which `restore` can use any number of times."""
        with self.lock:
            return StoreCopy(deepcopy(self._entries()))

    def restore(self, snapshot: StoreCopy) -> None:
        """Replace all records by a snapshot, also in the data file."""
        with self.lock:
            self.reset()
            for entry in deepcopy(snapshot.entries):
                self._put(ObjectRow(**entry))
                self._seq = max(self._seq, entry["seq"])
            if self._journal is not None:
                self._journal.rewrite(self._entries())

    def commit(self) -> None:
        """Persist all changes of a request in one step, before its response is sent."""
        if self._journal is not None and self._changed:
            self._journal.append([self._entry(key) for key in self._changed])
            if self._journal.is_wasteful:
                self._journal.rewrite(self._entries())
        self._changed.clear()

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def _put(self, record: ObjectRow) -> None:
        self._collections.setdefault((record.kind, record.scope), Collection()).add(record)
        if record.kind in _KEYS:
            self._keys[record.hidden["digest"]] = record
        elif record.kind == "vector_store_file":
            self._holders.setdefault(record.id, set()).add(record.scope)

    def _drop(self, record: ObjectRow) -> None:
        self.collection(record.kind, record.scope).remove(record.id)
        if record.kind in _KEYS:
            self._keys.pop(record.hidden["digest"], None)
        elif record.kind == "vector_store_file":
            self._holders.get(record.id, set()).discard(record.scope)

    def _entries(self) -> list[dict[str, Any]]:
        return [_as_entry(record) for c in self._collections.values() for record in c.ordered()]

    def _entry(self, key: Key) -> dict[str, Any]:
        record = self.get(*key)
        return {"gone": list(key)} if record is None else _as_entry(record)

    def _restore(self, entry: dict[str, Any]) -> None:
        if "gone" in entry:
            kind, scope, id = entry["gone"]
            record = self.get(kind, scope, id)
            if record is not None:
                self._drop(record)
            return
        record = ObjectRow(**entry)
        if "content" in record.hidden:
            record.hidden["content"] = base64.b64decode(record.hidden["content"])
        self._seq = max(self._seq, record.seq)
        self._put(record)


def _as_entry(record: ObjectRow) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ObjectRow.__slots__}
