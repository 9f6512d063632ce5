"""Command lines as processes that can be killed anywhere; see `mortal` for what they are."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
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
        whole_bytes: int,
    ) -> Ended:
        """Run a command line; it dies before boundary `fatal`, or after some `seconds`."""
        with tempfile.NamedTemporaryFile() as report:
            fate = {
                "fatal": fatal,
                "watched": watched,
                "seconds": seconds,
                "whole_bytes": whole_bytes,
            }
            code, out, err = self._zygote.run(
                [json.dumps({**fate, "report": report.name}), *arguments, "--parallelism", "1"],
                folder=folder,
                environment={"PATH": os.environ["PATH"], "NO_COLOR": "1", **variables},
            )
            return Ended(
                None if code < 0 else code, out, err, tuple(report.read().decode().splitlines())
            )
