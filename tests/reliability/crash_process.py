"""What the children of the process behind `processes.Mortals` are: the real command line, and a fate.

The first argument is the fate: where to die, or after how many seconds, and where to write down what was passed until
then. With a `control` socket, the process does not die there: it says so, and goes on once it gets an answer. The rest
is the command.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.retry import RetryPolicy
from reconciler.cli.main import run
from reconciler.secrets import http
from reconciler.secrets.drivers.aws import client as aws
from tests.reliability.boundaries import Boundaries


def main() -> None:
    """Run a command until its end, or its death."""
    RetryPolicy._backoff = lambda *_: 0.01  # type: ignore[method-assign] # bad weather here is over when it has struck
    http.PAUSES = aws.PAUSES = (0.01, 0.01, 0.01)
    fate = json.loads(sys.argv[1])
    _upload_in_parts_from(fate["whole_bytes"])
    _set_clock_ahead(fate["clock_ahead"])
    sys.exit(_run(sys.argv[2:], fate))


def _run(arguments: list[str], fate: dict[str, Any]) -> int:
    report = os.open(fate["report"], os.O_WRONLY)
    write = os.write  # before it is watched
    boundaries = Boundaries(fate["fatal"], _at_fatal(fate["control"], report, write))
    if fate["cut"] is not None:
        boundaries.cut(for_good=fate["cut"] != "once")
    if fate["watched"]:
        boundaries.watch()
    if fate["seconds"] is not None:
        signal.setitimer(
            signal.ITIMER_REAL, fate["seconds"]
        )  # nobody handles SIGALRM, so it kills like SIGKILL
    code = run(arguments)
    signal.setitimer(signal.ITIMER_REAL, 0)
    write(report, "\n".join(boundaries.passed).encode())
    return code


def _at_fatal(
    control: str | None, report: int, write: Callable[[int, bytes], int]
) -> Callable[[str], None]:
    def die(name: str) -> None:
        write(report, name.encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def hand_over(name: str) -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(control)
            line.sendall(f"{os.getpid()} {name}\n".encode())
            line.recv(1)

    return die if control is None else hand_over


def _set_clock_ahead(seconds: float) -> None:
    present = time.time
    time.time = lambda: present() + seconds


def _preload() -> None:
    # Imported in the parent, once for all: each child would otherwise spend a fifth of a second on them.
    with suppress(ImportError):
        import obstore  # noqa: F401
        import psycopg  # noqa: F401


_preload()


def _upload_in_parts_from(whole_bytes: int) -> None:
    # Half a gigabyte, from which files really go up in parts, would say no more than a few kilobytes.
    sizes = {"whole_bytes": whole_bytes, "part_bytes": whole_bytes}
    HttpProvider.__init__.__kwdefaults__.update(sizes)
