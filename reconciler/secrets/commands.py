"""Delivers keys to a command, such as the client of a secret manager.

The key is passed on standard input only, because other processes can read arguments and
environment. No shell is involved. The command does not inherit our API keys, and its output is
redacted before it is shown.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import ClassVar, Protocol

from reconciler.errors import Interrupted, SinkError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import ListOf, Text, Type

TIMEOUT_SECONDS = 60.0
_GRACE_SECONDS = 3.0
_LOOK_SECONDS = 0.2
_SHOWN_LINES = 5
_WITHHELD = ("OPENAI_", "RECONCILER_BACKEND", "RECONCILER_SECRET_")
"""Prefixes of variables that no command gets."""


class Runner(Protocol):
    """Runs a program to completion, like `subprocess.run`. Raises subprocess.TimeoutExpired and
    OSError."""

    def __call__(
        self,
        command: Sequence[str],
        *,
        input: bytes,
        cwd: Path,
        env: Mapping[str, str],
        timeout: float,
    ) -> subprocess.CompletedProcess[bytes]: ...


class CommandSink:
    """Runs commands in the root folder. A program name with a slash is relative to it; others are
    looked up on PATH."""

    name: ClassVar[str] = "command"
    description: ClassVar[str] = (
        "A program and its arguments; it receives the key on standard input, without a newline."
    )
    type: ClassVar[Type] = ListOf(Text(), min_items=1)
    keeps_versions: ClassVar[bool] = False
    reads_back: ClassVar[bool] = False

    def __init__(self, context: SinkContext) -> None:
        self._root = context.root.resolve()
        self._redactor = context.redactor
        self._run: Runner = context.run
        self._withheld = context.withheld

    @staticmethod
    def place(target: Sequence[str]) -> str:
        """`command:` and the words as JSON where one has a space: each command is a place."""
        return f"command:{' '.join(map(_as_word, target))}"

    def check(self, target: Sequence[str], *, owner: str) -> None:  # noqa: ARG002 - commands know none
        """Raise SinkError if the program does not exist. Runs nothing."""
        self._program(target[0])

    def put(self, target: Sequence[str], secret: Secret, *, owner: str, token: str) -> Receipt:  # noqa: ARG002 - commands know none
        """Run the command with the key on its standard input, and return the receipt.

        Raises SinkError.
        """
        command, address = target, owner
        program = self._program(command[0])
        try:
            ended = self._run(
                [program, *command[1:]],
                input=secret.reveal().encode(),
                cwd=self._root,
                env=self._environment(),
                timeout=TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            message = f'"{command[0]}" did not accept the key of {address} within {TIMEOUT_SECONDS:.0f} seconds'
            raise SinkError(message + self._said(error.stdout, error.stderr)) from None
        except OSError as error:
            raise SinkError(f'"{command[0]}" cannot be run: {error.strerror or error}') from error
        if ended.returncode != 0:
            message = (
                f'"{command[0]}" did not accept the key of {address}: {_how(ended.returncode)}'
            )
            raise SinkError(
                message + self._said(ended.stdout, ended.stderr), hint="run it by hand to see why"
            )
        return {"command": list(command)}

    def read(self, target: Sequence[str], *, owner: str) -> Secret | None:  # noqa: ARG002
        """None: a command returns no key."""
        return None

    def withdraw(self, target: Sequence[str], receipt: Receipt, *, owner: str) -> None:
        """Do nothing: only the command knows where it put the key."""

    def _program(self, name: str) -> str:
        command = name
        if os.path.dirname(name):  # noqa: PTH120 - "./x" must keep its dot
            command = str(self._root / name)
        executable = shutil.which(command)
        if executable is None:
            raise SinkError(
                f'there is no program "{name}"',
                hint="install it, or correct the command in write_to",
            )
        return str(Path(executable).absolute())

    def _environment(self) -> dict[str, str]:
        # Keys of the API may be in variables of any name. The command needs the credentials of its
        # own service, whatever their names, so other secrets stay.
        environment = {}
        for name, value in os.environ.items():
            holds_key = any(key.reveal() in value for key in self._withheld)
            if not holds_key and not name.startswith(_WITHHELD):
                environment[name] = value
        return environment

    def _said(self, *outputs: bytes | None) -> str:
        # Redacted as a whole before it is cut, so that no cut leaves half a key.
        text = self._redactor(
            "\n".join((output or b"").decode(errors="replace") for output in outputs)
        )
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines:
            return ""
        return "; it said: " + " / ".join(lines[-_SHOWN_LINES:])


def run_program(
    command: Sequence[str],
    *,
    input: bytes,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    stop: Event | None = None,
    permit: Callable[[], None] = lambda: None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program in its own session.

    Once `stop` is set, the program gets a few more seconds to take the key. Then it is ended and
    Interrupted is raised. `permit` is called just before the program gets its input, and raises to
    prevent that.
    """
    # In a session of its own, Ctrl-C does not reach the program, which may be taking the key. And a
    # signal to the session ends the children of the program too.
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603 - the command is the user's own, and no shell reads it
        command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=env, start_new_session=True
    ) as process:
        try:
            permit()
            stdout, stderr = _talked(process, input, timeout, stop or Event())
        except BaseException:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _talked(
    process: subprocess.Popen[bytes], input: bytes, timeout: float, stop: Event
) -> tuple[bytes, bytes]:
    """The output of the program until it ends. Checks periodically whether the run is being
    stopped."""
    ends_at, rest = time.monotonic() + timeout, input
    grace_ends_at: float | None = None
    while True:
        if stop.is_set() and grace_ends_at is None:
            grace_ends_at = time.monotonic() + _GRACE_SECONDS
        try:
            return process.communicate(
                rest, timeout=max(0.0, min(_LOOK_SECONDS, ends_at - time.monotonic()))
            )
        except subprocess.TimeoutExpired as error:
            if time.monotonic() >= ends_at:
                raise subprocess.TimeoutExpired(
                    process.args, timeout, error.output, error.stderr
                ) from None
            if grace_ends_at is not None and time.monotonic() >= grace_ends_at:
                raise Interrupted(
                    "the run was interrupted while a command was receiving a key"
                ) from None
        # `communicate` keeps the input of its first call, and sends the rest of it.
        rest = b""


def _as_word(word: str) -> str:
    return word if re.fullmatch(r"[\w./:=@+-]+", word) else json.dumps(word)


def _how(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with exit code {code}"
