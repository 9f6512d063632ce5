"""Starts the command line in fresh processes without paying for its imports each time.

A process that has imported everything and run nothing waits on a socket. For each command it forks; the child gets the
caller's arguments, folder, environment and standard streams, and is from then on what `python -m reconciler` would be:
a process of its own, with its own exit code. Tests that send signals start the real thing.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

SECONDS = 120
_LONGEST = 1 << 20

_LATE = ("anyio", "certifi", "deepdiff", "encodings.idna", "encodings.utf_8_sig", "httpcore", "pwd")
"""What is imported only when it is used, which takes longer than most commands."""


def run(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], stdin: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command; a negative code is the signal that ended it."""
    return _commands().run(arguments, folder=folder, environment=environment, stdin=stdin)


@cache
def _commands() -> Zygote:
    started = Zygote("reconciler.cli.main:main")
    atexit.register(started.close)
    return started


class Zygote:
    """A waiting process, whose children call the function `main`, named as module:function. It runs one at a time."""

    def __init__(self, main: str) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
        self._line.settimeout(SECONDS)
        self._waiting = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", str(theirs.fileno()), main],
            cwd=Path(__file__).resolve().parent.parent,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def close(self) -> None:
        """End the process."""
        self._line.close()
        self._waiting.wait()

    def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        stdin: str = "",
    ) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a child; a negative code is the signal that ended it."""
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
        }
        with (
            tempfile.TemporaryFile("w+b") as given,
            tempfile.TemporaryFile("w+b") as out,
            tempfile.TemporaryFile("w+b") as err,
        ):
            given.write(stdin.encode())
            given.seek(0)
            return self._ask(request, given, out, err), _text(out), _text(err)

    def _ask(self, request: Mapping[str, object], *streams: IO[bytes]) -> int:
        descriptors = array.array("i", [stream.fileno() for stream in streams])
        self._line.sendmsg(
            [json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
        )
        return int(self._line.recv(64))


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode().replace("\r\n", "\n")


def _wait_for_commands(line: socket.socket, main: Callable[[], Any]) -> None:
    while True:
        data, ancillary, _, _ = line.recvmsg(_LONGEST, socket.CMSG_SPACE(3 * 4))
        if not data:
            return
        streams = array.array("i")
        streams.frombytes(ancillary[0][2])
        child = os.fork()
        if child == 0:
            line.close()
            _become(main, json.loads(data), streams)
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        line.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(main: Callable[[], Any], request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Be the command line; never returns."""
    code = 70
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 64)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = ["reconciler", *request["arguments"]]
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
    import reconciler

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if "emulator" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _LATE:
        importlib.import_module(name)


if __name__ == "__main__":
    _import_everything()
    children = pkgutil.resolve_name(sys.argv[2])
    gc.freeze()  # else the first collection in a child would touch, and so copy, all that it shares with its parent
    _wait_for_commands(socket.socket(fileno=int(sys.argv[1])), children)
