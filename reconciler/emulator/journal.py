"""The data file: JSON lines, one per request that changed something.

Saving the whole store after every write would take quadratic time, so writes only append. A line
holds all changes of one request; a line truncated by a crash belongs to a request that was never
answered, so it is dropped. Once most lines are stale, the file is rewritten atomically. The first
line identifies the format; files in any other format are refused rather than overwritten.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_FORMAT = "reconciler-emulator"
_VERSION = 1
_SPARE_ENTRIES = 1000
_ENTRY_KEYS = {"kind", "scope", "id", "seq", "born", "body", "hidden"}


class DataFileError(Exception):
    """The data file cannot be used; the message says why and what to do."""


class DataFile:
    """Appends entries to the data file, and reads them back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._alive: set[tuple[str, ...]] = set()
        self._entries = 0

    @property
    def is_wasteful(self) -> bool:
        """Whether most entries are superseded, so that rewriting the file pays."""
        return self._entries > 2 * len(self._alive) + _SPARE_ENTRIES

    def load(self) -> list[dict[str, Any]]:
        """Return all entries in order; call `rewrite` with the live ones before appending."""
        return list(self._read()) if self.path.exists() and self.path.stat().st_size else []

    def append(self, entries: list[dict[str, Any]]) -> None:
        self._count(entries)
        if self._file is None:
            raise RuntimeError("rewrite() opens the file")
        _write_all(self._file, _encode(entries))

    def rewrite(self, entries: list[dict[str, Any]]) -> None:
        """Replace the file atomically by one with these entries."""
        self.close()
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            # mkstemp creates the file with mode 0600, which the rename keeps.
            _write_all(handle, _encode({"format": _FORMAT, "version": _VERSION}))
            for entry in entries:
                _write_all(handle, _encode([entry]))
            os.fsync(handle)
            Path(temporary).replace(self.path)
        except BaseException:
            os.close(handle)
            Path(temporary).unlink(missing_ok=True)
            raise
        self._file = handle
        self._alive.clear()
        self._entries = 0
        self._count(entries)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _count(self, entries: Iterable[dict[str, Any]]) -> None:
        for entry in entries:
            self._entries += 1
            if "gone" in entry:
                self._alive.discard(tuple(entry["gone"]))
            else:
                self._alive.add((entry["kind"], entry["scope"], entry["id"]))

    def _read(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            self._check_header(file.readline())
            for number, line in enumerate(file, start=2):
                if not line.endswith(b"\n"):
                    return  # truncated by a crash, before its request was answered
                yield from self._parse(line, number)

    def _check_header(self, line: bytes) -> None:
        try:
            header = json.loads(line)
        except ValueError:
            header = None
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise DataFileError(
                f"{self.path} is not a data file of the emulator; choose another path"
            )
        if header.get("version") != _VERSION:
            raise DataFileError(
                f"{self.path} has format version {header.get('version')}, this emulator reads {_VERSION}"
            )

    def _parse(self, line: bytes, number: int) -> list[dict[str, Any]]:
        try:
            entries = json.loads(line)
            if all(entry.keys() == {"gone"} or entry.keys() == _ENTRY_KEYS for entry in entries):
                return list(entries)
        except (ValueError, TypeError, AttributeError):
            pass
        raise DataFileError(
            f"{self.path}, line {number}, is damaged; restore the file or delete it"
        )


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    # Bytes are contents of files and upload parts; the store decodes them on load.
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"cannot keep a {type(value).__name__} in the data file")


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
