"""A workspace whose commands run inside the test: the same entry point, without starting Python anew each time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from reconciler.cli.main import run
from reconciler.cli.redaction import redactor
from reconciler.emulator import Emulator
from tests.conftest import Finished, Workspace


@dataclass
class Inside(Workspace):
    """Each command begins as a process would: it knows of no secret that an earlier one learnt."""

    def run(self, *arguments: str, expect: int | None = None, stdin: str | None = "") -> Finished:
        out, err = io.StringIO(), io.StringIO()
        with (
            chdir(self.folder),
            self._as_process(stdin or ""),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = run(arguments)
        finished = Finished(code, out.getvalue(), err.getvalue())
        if expect is not None:
            assert code == expect, f"exit code {code}\n{finished.out}\n{finished.err}"
        return finished

    @contextmanager
    def _as_process(self, stdin: str) -> Iterator[None]:
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch("sys.stdin", io.StringIO(stdin)),
            mock.patch.object(redactor, "_values", set()),
        ):
            yield


@pytest.fixture(scope="module")
def one_emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def emulator(one_emulator: Emulator) -> Emulator:
    """The emulator of the module, as good as new: starting one takes longer than most of these tests."""
    one_emulator.reset()
    one_emulator.clear_requests()
    return one_emulator


@pytest.fixture
def inside(tmp_path: Path, emulator: Emulator) -> Inside:
    """An empty folder and an emulator of its own, for what needs no process of its own."""
    folder = tmp_path / "stack"
    folder.mkdir()
    return Inside(folder, emulator)
