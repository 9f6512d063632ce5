"""Command lines as processes that can be killed anywhere; see `mortal` for how they are made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import reconciler

_REPOSITORY = Path(reconciler.__file__).parent.parent


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


class Mortals:
    """A process that forks one child for each command line, so that a run costs no start of Python."""

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.mortal"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_REPOSITORY,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._parent.communicate()

    def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        variables: Mapping[str, str],
        whole_bytes: int,
        fatal: int | None = None,
        watched: bool = True,
        seconds: float | None = None,
    ) -> Ended:
        """Run a command line, one call at a time; it dies before boundary `fatal`, or after some `seconds`."""
        out, err = (folder.with_suffix(f".{self._parent.pid}.{name}") for name in ("out", "err"))
        order = {
            "arguments": [*arguments, "--parallelism", "1"],
            "folder": str(folder),
            "variables": {"PATH": os.environ["PATH"], "NO_COLOR": "1", **variables},
            "out": str(out),
            "err": str(err),
            "whole_bytes": whole_bytes,
            "fatal": fatal,
            "watched": watched,
            "seconds": seconds,
        }
        if self._parent.stdin is None or self._parent.stdout is None:
            raise RuntimeError("the pipes are gone")
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        answer = json.loads(self._parent.stdout.readline())
        return Ended(answer["code"], out.read_text(), err.read_text(), tuple(answer["passed"]))
