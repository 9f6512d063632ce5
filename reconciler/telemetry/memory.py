"""What was announced, in a file: for fleets on one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from reconciler.errors import StateError

_Memory = dict[str, dict[str, dict[str, str]]]


class FileNoticeMemory:
    """A `NoticeMemory` in a JSON file. Raises StateError where it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def announced(self, target: str) -> Mapping[str, Mapping[str, str]]:
        """The announced topics of each stack, and their cases."""
        return self._read().get(target, {})

    def announce(self, target: str, states: Mapping[str, Mapping[str, str]]) -> None:
        """Replace the states of some stacks."""
        memory = self._read()
        known = memory.setdefault(target, {})
        for stack, topics in states.items():
            known[stack] = dict(topics)
            if not topics:
                del known[stack]
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as stream:
                stream.write(msgspec.json.encode(memory))
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self._path)
        except OSError as error:
            raise StateError(f'"{self._path}" cannot be written: {error.strerror}') from error

    def _read(self) -> _Memory:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Memory)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise StateError(f'"{self._path}" cannot be read: {error}') from error
