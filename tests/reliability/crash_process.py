"""What the children of the process behind `processes.Mortals` are: the real command line, and a fate.

The first argument is the fate: where to die, or after how many seconds, and where to write down what was passed until
then. The rest is the command.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.retry import Policy
from reconciler.cli.main import run
from tests.reliability.boundaries import Boundaries


def main() -> None:
    """Run a command until its end, or its death."""
    Policy._backoff = lambda *_: 0.01  # type: ignore[method-assign] # bad weather here is over when it has struck
    fate = json.loads(sys.argv[1])
    _upload_in_parts_from(fate["whole_bytes"])
    sys.exit(_run(sys.argv[2:], fate))


def _run(arguments: list[str], fate: dict[str, Any]) -> int:
    report = os.open(fate["report"], os.O_WRONLY)
    write = os.write  # before it is watched
    boundaries = Boundaries(fate["fatal"], lambda name: write(report, name.encode()))
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


def _upload_in_parts_from(whole_bytes: int) -> None:
    # Half a gigabyte, from which files really go up in parts, would say no more than a few kilobytes.
    sizes = {"whole_bytes": whole_bytes, "part_bytes": whole_bytes}
    HttpProvider.__init__.__kwdefaults__.update(sizes)
