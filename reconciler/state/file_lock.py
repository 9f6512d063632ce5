"""The kernel lock on a file, which the kernel frees the moment its holder dies.

A process number means nothing in another container, and each container has another host name. All containers of a
host share the kernel, so its lock tells a living holder from a dead one without any of these.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from reconciler.errors import StateError


class FileLock:
    """An exclusive lock on an empty file of its own, which is never removed after use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody holds it. Raises StateError where the file cannot be opened."""
        while True:
            try:
                # Python opens files that child processes do not inherit. A child that outlived us
                # would otherwise keep the lock.
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise StateError(
                    f"its lock file cannot be opened: {error.strerror or error}"
                ) from error
            if not _try_lock(descriptor):
                os.close(descriptor)
                return False
            if self._is_current(descriptor):
                self._descriptor = descriptor
                return True
            # `break_lock` removed the file after it was opened, so nobody else sees this lock.
            os.close(descriptor)

    def release(self) -> None:
        """Release the lock. A lock that was broken meanwhile is no error."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def break_lock(self) -> None:
        """Let the next `acquire` succeed even if another process holds the lock: it locks a new file."""
        self._path.unlink(missing_ok=True)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # Some network file systems have no such locks. The row in the database still excludes other runs.
            return True
        return True
