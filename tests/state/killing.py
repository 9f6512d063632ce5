"""Kills a process before each call that reaches the disk, in turn, and asks after each death whether all is well.

A death between two such calls is the same as one before the second. Use it in a program of its own: it forks many
times, which a test process with threads must not.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

_HARMLESS = ("fetchone", "fetchall", "fspath", "fsencode", "getpid", "read", "stat", "lstat")


def kill_at_every_call(act: Callable[[int], None], check: Callable[[int], None]) -> int:
    """Run `act(n)` in a child that dies before its n-th call to the disk, then `check(n)`; gives how often it died."""
    number = 0
    while _dies(act, number):
        check(number)
        number += 1
    check(number)
    return number


def _dies(act: Callable[[int], None], number: int) -> bool:
    child = os.fork()
    if child == 0:
        try:
            _die_at(number)
            act(number)
            sys.setprofile(None)
        except BaseException as error:  # noqa: BLE001 - a forked child must not return into its parent's code
            print(f"call {number}: {error!r}", file=sys.stderr, flush=True)
            os._exit(2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _die_at(number: int) -> None:
    left = number

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if event == "c_call" and _reaches_the_disk(argument):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.setprofile(count)


def _reaches_the_disk(function: Any) -> bool:
    owner = function.__self__
    module = owner.__name__ if isinstance(owner, ModuleType) else type(owner).__module__
    return module in ("posix", "_io", "io", "sqlite3") and function.__name__ not in _HARMLESS
