"""Ctrl-C and SIGTERM: once means finish what is in flight, twice means leave now.

While a plan is carried out the first signal only sets `stop`: nothing new is begun, every wait ends, and what was
done is written down and listed. At any other time nothing is under way that a kill could spoil, so the first signal
ends the command like an exception, releasing the lock on its way. The second signal ends the process on the spot,
without waiting for threads that hang on a connection; the journal tells the next run what to look for.
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
_ABORTED = "Aborted. Run the same command again: it looks for what was under way and goes on.\n"


class Interrupts:
    """Listens for the two signals from its making on. `stop` is set by the first of them. There is one: `listening`."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._finishing = False
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._handle)

    @contextmanager
    def finishing_first(self) -> Iterator[None]:
        """A block that a first signal lets come to its end, as soon as what is in flight has ended."""
        self._finishing = True
        try:
            yield
        finally:
            self._finishing = False

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.stop.is_set():
            _say(_ABORTED)
            leave_at_once(EXIT_CODE)
        self.stop.set()
        if not self._finishing:
            raise KeyboardInterrupt
        _say(_FINISHING)


@cache
def listening() -> Interrupts:
    """The process's own; the first call begins to listen."""
    return Interrupts()


def leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for any thread."""
    os._exit(code)


def leave(code: int) -> NoReturn:
    """End the process without taking it apart, once all that it said is out.

    Threads that still wait for an answer, which nobody needs any more, do not hold it up. And giving back a million
    objects one by one, to a process that is at its end, takes longer than planning a small stack.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1  # what was to be read has not arrived
    leave_at_once(code)


def _say(text: str) -> None:
    # Straight to the file: the signal may have struck in the middle of a write to the stream, which cannot be entered
    # twice.
    with suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), text.encode())
