"""The program behind `processes.Mortals`: one warm process, and a forked child of it for each command line.

Starting Python and importing everything costs more than an apply. So it is done once, and each run is a fork: a process
of its own with the real command line in it, that can be killed without anybody else noticing. There is one thread
here, as must be where one forks.

It reads an order from each line of standard input and writes what became of it as one line of standard output.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import reconciler.cli.applying
import reconciler.cli.destroy
import reconciler.cli.main
import reconciler.cli.plan
import reconciler.cli.session
import reconciler.render.machine
import reconciler.render.markdown
import reconciler.render.text
from reconciler.api.provider import HttpProvider
from reconciler.api.retry import Policy
from tests.reliability.boundaries import Boundaries


def serve() -> None:
    """Carry out orders until there are no more."""
    Policy._backoff = lambda *_: 0.01  # type: ignore[method-assign] # bad weather here is over when it has struck
    for line in sys.stdin:
        print(json.dumps(_carry_out(json.loads(line))), flush=True)


def _carry_out(order: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _live(order, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        names = stream.read().splitlines()
    _, status = os.waitpid(child, 0)
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    return {"killed": killed, "code": None if killed else os.WEXITSTATUS(status), "passed": names}


def _live(order: dict[str, Any], report: int) -> None:
    """Be the process of one command line, from the folder and variables it starts in to its death."""
    code = 70
    try:
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["variables"])
        for number, name in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(descriptor, number)
        _upload_in_parts_from(order["whole_bytes"])
        code = _run(order, report)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(order: dict[str, Any], report: int) -> int:
    write = os.write  # before it is watched
    boundaries = Boundaries(order["fatal"], lambda name: write(report, name.encode()))
    if order["watched"]:
        boundaries.watch()
    if order["seconds"] is not None:
        signal.setitimer(signal.ITIMER_REAL, order["seconds"])  # nobody handles SIGALRM, so it kills like SIGKILL
    code = reconciler.cli.main.run(order["arguments"])
    signal.setitimer(signal.ITIMER_REAL, 0)
    write(report, "\n".join(boundaries.passed).encode())
    return code


def _upload_in_parts_from(whole_bytes: int) -> None:
    # Half a gigabyte, from which files really go up in parts, would say no more than a few kilobytes.
    sizes = {"whole_bytes": whole_bytes, "part_bytes": whole_bytes}
    HttpProvider.__init__.__kwdefaults__.update(sizes)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    serve()
