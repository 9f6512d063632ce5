"""An organization with exact usage on days of the past."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

from reconciler.emulator import Emulator
from tests.conftest import Workspace

NUMBERS = count()
NOVEMBER = ("--since", "2025-11-01", "--until", "2025-12-01")

STACK = """\
kind: Stack
spec:
  manifests: [m/]
  projects: {search: %s}
"""


def named(workspace: Workspace) -> Workspace:
    """The workspace with a stack file that knows the default project as `search`, and no manifest."""
    return workspace.write({"reconciler.yaml": STACK % workspace.emulator.project_id})


def use(
    emulator: Emulator, sort: str, day: str, *, project: str | None = None, **what: Any
) -> None:
    """Let a project, by default the default one, use something at noon of a day."""
    at = int(datetime.fromisoformat(f"{day}T12:00+00:00").astimezone(UTC).timestamp())
    body = {"at": at, "project_id": project or emulator.project_id, **what}
    emulator.store.add("usage", sort, body, id=f"use-{next(NUMBERS)}")


def million(
    emulator: Emulator,
    day: str,
    *,
    millions: int = 1,
    project: str | None = None,
    model: str = "gpt-4.1",
) -> None:
    """So many million tokens of input in one request; each costs two dollars with the usual model."""
    tokens = {
        "input_tokens": millions * 10**6,
        "input_cached_tokens": 7,
        "output_tokens": 0,
        "num_model_requests": 1,
    }
    use(emulator, "completions", day, project=project, model=model, **tokens)
