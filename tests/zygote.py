"""Starts the command line in fresh processes without paying for its imports each time.

A process that has imported everything and run nothing waits on a socket. For each command it forks; the child gets the
caller's arguments, folder, environment and standard streams, and is from then on what `python -m reconciler` would be:
a process of its own, with its own exit code. Tests that send signals start the real thing.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

SECONDS = 120
_LONGEST = 1 << 20


def run(arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], stdin: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command; a negative code is the signal that ended it."""
    with (
        tempfile.TemporaryFile("w+b") as given,
        tempfile.TemporaryFile("w+b") as out,
        tempfile.TemporaryFile("w+b") as err,
    ):
        given.write(stdin.encode())
        given.seek(0)
        code = _ask(
            {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}, given, out, err
        )
        return code, _text(out), _text(err)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode().replace("\r\n", "\n")


def _ask(request: Mapping[str, object], *streams: IO[bytes]) -> int:
    line = _line()
    descriptors = array.array("i", [stream.fileno() for stream in streams])
    line.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
    return int(line.recv(64))


@cache
def _line() -> socket.socket:
    """The line to the waiting process, one for this process; it ends when the line is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
    ours.settimeout(SECONDS)
    root = Path(__file__).resolve().parent.parent
    waiting = subprocess.Popen(
        [sys.executable, "-m", "tests.zygote", str(theirs.fileno())], cwd=root, pass_fds=[theirs.fileno()]
    )
    theirs.close()
    atexit.register(waiting.wait)
    atexit.register(ours.close)
    return ours


def _wait_for_commands(line: socket.socket) -> None:
    while True:
        data, ancillary, _, _ = line.recvmsg(_LONGEST, socket.CMSG_SPACE(3 * 4))
        if not data:
            return
        streams = array.array("i")
        streams.frombytes(ancillary[0][2])
        child = os.fork()
        if child == 0:
            line.close()
            _become(json.loads(data), streams)
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        line.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: Mapping[str, object], streams: Sequence[int]) -> None:
    """Be the command line; never returns."""
    code = 70
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 64)
        os.chdir(str(request["folder"]))
        os.environ.clear()
        os.environ.update(request["environment"])  # type: ignore[call-overload]
        sys.argv = ["reconciler", *request["arguments"]]  # type: ignore[misc]
        from reconciler.cli.main import main

        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - a forked child must not return into its parent's code
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def _import_everything() -> None:
    import importlib
    import pkgutil

    import deepdiff  # noqa: F401

    import reconciler

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if "emulator" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


if __name__ == "__main__":
    _import_everything()
    _wait_for_commands(socket.socket(fileno=int(sys.argv[1])))
