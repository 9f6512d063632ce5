"""Command lines as processes that can be killed anywhere; see `mortal` for what they are."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fork_server import Zygote


@dataclass(frozen=True)
class Ended:
    """How a command line ended: an exit code, or a death. `passed` are its boundaries, in a death the fatal one."""

    code: int | None
    out: str
    err: str
    passed: tuple[str, ...]

    @property
    def died(self) -> bool:
        return self.code is None

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


@dataclass(frozen=True)
class Stopped:
    """A process that is at its fatal boundary."""

    pid: int
    boundary: str


class Mortals:
    """Command lines from a process of their own; one of them runs at a time."""

    def __init__(self) -> None:
        self._zygote = Zygote("tests.reliability.crash_process:main")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._zygote.close()

    def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        variables: Mapping[str, str],
        fatal: int | None = None,
        watched: bool = True,
        seconds: float | None = None,
        at_fatal: Callable[[Stopped], None] | None = None,
        parallelism: int = 1,
        clock_ahead: float = 0.0,
        cut: str | None = None,
        whole_bytes: int,
    ) -> Ended:
        """Run a command line; it dies before boundary `fatal`, or after some `seconds`.

        With `at_fatal` it does not die at that boundary: the thread that got there waits until the call returns.
        Its clock is some seconds ahead of everybody else's. With `cut` it does not die: its connection is cut there,
        "once" or "from then on".
        """
        with tempfile.NamedTemporaryFile() as report, _control(at_fatal) as control:
            fate = {
                "control": control,
                "fatal": fatal,
                "watched": watched,
                "seconds": seconds,
                "cut": cut,
                "clock_ahead": clock_ahead,
                "whole_bytes": whole_bytes,
            }
            code, out, err = self._zygote.run(
                [
                    json.dumps({**fate, "report": report.name}),
                    *arguments,
                    *("--parallelism", str(parallelism)),
                ],
                folder=folder,
                environment={"PATH": os.environ["PATH"], "NO_COLOR": "1", **variables},
            )
            return Ended(
                None if code < 0 else code, out, err, tuple(report.read().decode().splitlines())
            )


@contextmanager
def _control(at_fatal: Callable[[Stopped], None] | None) -> Iterator[str | None]:
    """A socket at which a process says that it is at its boundary, and waits."""
    if at_fatal is None:
        yield None
        return
    failures: list[BaseException] = []
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/control"
        listener.bind(path)
        listener.listen()
        serving = threading.Thread(target=_serve, args=(listener, at_fatal, failures))
        serving.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # whether or not the process got there
            serving.join()
    if failures:
        raise failures[0]


def _serve(
    listener: socket.socket,
    at_fatal: Callable[[Stopped], None],
    failures: list[BaseException],
) -> None:
    try:
        line, _ = listener.accept()
    except OSError:
        return
    with line, line.makefile("r", encoding="utf-8") as said:
        pid, _, boundary = said.readline().strip().partition(" ")
        try:
            at_fatal(Stopped(int(pid), boundary))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread of the test
            failures.append(error)
