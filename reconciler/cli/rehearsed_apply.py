"""Applies a plan to the copy of a rehearsal, in a process that may be killed.

`rehearse --kill-at` starts it. The task comes on standard input, because it has the keys of the
copy.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reconciler.app.session import Session
from reconciler.rehearsal.kills import apply_in_child, parse_task, settings_of
from reconciler.render.planfile import load_plan


def main() -> int:
    """0 if everything was applied."""
    task = parse_task(sys.stdin.buffer.read())
    plan = load_plan(Path(task.plan).read_text(encoding="utf-8"))
    with Session(settings_of(task), parallelism=task.parallelism) as original:
        original.is_offline = task.is_recorded
        return int(not apply_in_child(task, original, plan))


if __name__ == "__main__":
    raise SystemExit(main())
