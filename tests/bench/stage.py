"""The stage of a measurement: an emulator in its own process, a folder, the real command line.

What a command costs is the operating system's account of the finished process: seconds of the processor that it used
itself (the network and the emulator are other processes, so waiting for them costs it nothing), seconds by the clock,
and the most memory it held.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ADMIN_KEY = "sk-admin-emulator"
PROJECT_KEY = "sk-emulator"
PROJECT_ID = "proj_EmulatorDefaultProject00"
_LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Usage:
    """What one process cost, and what it said."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    code: int
    out: str = ""
    err: str = ""


def measured(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    expect: int | None = 0,
) -> Usage:
    """Run a command to its end; with `expect`, insist on the exit code."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as report:
        launched = [sys.executable, "-I", "-S", str(_LAUNCH), report.name, *command]
        done = subprocess.run(
            launched,
            cwd=cwd,
            env=dict(env or as_installed()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        usage = Usage(
            **json.load(report),
            code=done.returncode,
            out=_text(done.stdout),
            err=_text(done.stderr),
        )
    if expect is not None and usage.code != expect:
        raise RuntimeError(
            f"{' '.join(command)}: exit code {usage.code}\n{usage.out[-2000:]}\n{usage.err[-2000:]}"
        )
    return usage


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def as_installed() -> dict[str, str]:
    """The environment without what would make a command another than the one that users run.

    Among the rest goes what keeps Python from compiling modules once: an installed program is compiled.
    """
    ours = ("OPENAI_", "RECONCILER_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class Stage:
    """An emulator and a folder, for as long as the `with` block lasts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.variables: dict[str, str] = {}
        """Further variables of the environment that commands run in."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "reconciler", "emulator", "--port", "0"]
        self._emulator = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=as_installed()
        )
        assert self._emulator.stdout is not None
        line = self._emulator.stdout.readline()
        self.base_url = next(word for word in line.split() if word.startswith("http")).rstrip(".")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._emulator.send_signal(signal.SIGTERM)
        self._emulator.communicate(timeout=20)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **as_installed(),
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_ADMIN_KEY": ADMIN_KEY,
            "OPENAI_API_KEY": PROJECT_KEY,
            **self.variables,
        }

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def run(self, *arguments: str, expect: int | None = 0) -> Usage:
        """The command line in a process of its own."""
        command = [sys.executable, "-m", "reconciler", *arguments]
        return measured(command, cwd=self.folder, env=self.environment, expect=expect)

    def plan(self, *, expect: int = 0) -> Usage:
        """A plan; exit code 0 says that there was nothing to do."""
        return self.run("plan", "--detailed-exitcode", "--refresh", "full", expect=expect)

    def apply(self) -> Usage:
        return self.run("apply", "--yes")

    def control(self, method: str, name: str, body: Any = None) -> Any:
        """Ask the emulator itself for something."""
        url = self.base_url.removesuffix("/v1") + f"/_emulator/{name}"
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(
            url, data=data, method=method, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def latency(self, milliseconds: int) -> None:
        """Let the emulator answer so much later."""
        self.control("POST", "options", {"latency_ms": milliseconds})

    def forget_requests(self) -> None:
        self.control("DELETE", "requests")

    def requests(self) -> list[dict[str, Any]]:
        """The requests since the last `forget_requests`, the emulator's own control routes aside."""
        return list(self.control("GET", "requests")["requests"])
