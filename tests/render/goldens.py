"""Golden files: outputs that a person has looked at. `RECONCILER_GOLDEN=write pytest tests/render` rewrites them."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def assert_golden(name: str, text: str) -> None:
    """`text` is what the golden file says; escape characters are kept as `␛`, so that the file is text."""
    path = FOLDER / name
    shown = text.replace("\x1b", "␛")
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shown, encoding="utf-8", newline="\n")
    assert path.exists(), f"no golden file {name}: write it with RECONCILER_GOLDEN=write"
    assert shown == path.read_text(encoding="utf-8")
