"""Ctrl-C and SIGTERM: the first signal finishes the calls in flight, the second ends the process.

During an apply the first signal only sets `stop`: no new call starts, every wait ends, and finished
changes are recorded and listed. At any other time nothing is in progress that a kill could damage,
so the first signal ends the command like an exception and releases the lock. The second signal ends
the process at once, without waiting for threads that hang on a connection; the journal tells the
next run what to search for.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType
from typing import NoReturn

EXIT_CODE = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FINISHING = "Interrupted: finishing the calls in flight. Once more aborts at once.\n"
_ABORTED = "Aborted. Run the same command again: it searches for unfinished work and continues.\n"


class Interrupts:
    """Handles both signals once constructed; the first signal sets `stop`. See `listening`."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._finishing = False
        # Python installs handlers in the main thread only. Elsewhere an embedding program has its own.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._handle)

    @contextmanager
    def finishing_first(self) -> Iterator[None]:
        """A block that a first signal lets finish, after the calls in flight."""
        self._finishing = True
        try:
            yield
        finally:
            self._finishing = False

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        # The second signal: a thread may hang, so nothing is waited for.
        if self.stop.is_set():
            _say(_ABORTED)
            leave_at_once(EXIT_CODE)
        self.stop.set()
        if not self._finishing:
            raise KeyboardInterrupt
        _say(_FINISHING)


# One instance for the process, since signal handlers belong to the process.
@cache
def listening() -> Interrupts:
    """The only instance of the process; the first call installs the handlers."""
    return Interrupts()


def leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for any thread."""
    os._exit(code)


def leave(code: int) -> NoReturn:
    """Flush the streams and end the process without tearing it down.

    Threads that still wait for an unneeded response do not delay it, and freeing a million objects
    would take longer than planning a small stack.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # The output is incomplete, which must not look like success.
            code = code or 1
    leave_at_once(code)


def _say(text: str) -> None:
    # The signal may interrupt a write to the stream, which is not reentrant: write to the file.
    with suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), text.encode())
