"""The program in docs/embedding.md, run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import Workspace

PAGE = Path(__file__).parent.parent / "docs/embedding.md"
MANIFEST = """\
kind: VectorStore
metadata: {name: handbook}
spec: {name: Handbook}
"""


def program() -> str:
    (block,) = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(block)


def run(workspace: Workspace) -> str:
    return subprocess.run(
        [sys.executable, "-c", program()],
        cwd=workspace.folder.parent,
        env=workspace.environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_a_program_plans_and_applies_without_the_command_line(workspace: Workspace) -> None:
    workspace.write({"handbook.yaml": MANIFEST})
    lines = ["create VectorStore/handbook", "applied VectorStore/handbook ", "complete {}"]
    assert run(workspace).splitlines() == lines
    assert run(workspace).splitlines() == ["complete {}"]
    assert "deploy.py" in workspace.run("history", expect=0).out


def test_the_application_layer_works_without_click() -> None:
    code = "import sys, reconciler.app.applying, reconciler.app.rollback, reconciler.app.checks\n"
    subprocess.run([sys.executable, "-c", code + "assert 'click' not in sys.modules"], check=True)
