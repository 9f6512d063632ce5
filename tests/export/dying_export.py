"""The program that `test_export_kills` runs: an export, killed before a call that changes the disk.

Takes a folder, the number of the call, and the address and keys from the environment.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, ModuleType
from typing import Any

CHANGING = ("mkdir", "rename", "replace", "rmdir", "unlink", "write", "execute", "commit")


def main() -> int:
    """Die before the call with the given number; exit code 0 where the export ends before."""
    from reconciler.cli.main import run

    left = int(sys.argv[2])

    def count(frame: FrameType, event: str, called: Any) -> None:
        nonlocal left
        if event == "c_call" and changes_the_disk(called):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.setprofile(count)
    return run(["-C", sys.argv[1], "export", *sys.argv[3:]])


def changes_the_disk(function: Any) -> bool:
    """Whether a built-in function may change a file or the state."""
    owner = function.__self__
    module = owner.__name__ if isinstance(owner, ModuleType) else type(owner).__module__
    return module in ("posix", "_io", "io", "sqlite3") and function.__name__ in CHANGING


if __name__ == "__main__":
    sys.exit(main())
