"""Runs a command and writes its cost as JSON to the file in the first argument.

It is as small as a Python process gets, because Linux counts the memory of whoever starts a process as the process's.
"""

import json
import os
import sys
import time


def main() -> int:
    """Run the rest of the command line; the exit code is the command's."""
    report, *command = sys.argv[1:]
    started = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(process, 0)
    wall_seconds = time.perf_counter() - started
    kilobytes = used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    cost = {
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "wall_seconds": wall_seconds,
        "peak_mb": kilobytes / 1024,
    }
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib is more than all of this
        json.dump(cost, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
