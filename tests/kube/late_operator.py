"""The command line with a clock that is some seconds wrong: `late_operator.py SECONDS COMMAND …`."""

from __future__ import annotations

import sys
import time

AHEAD = float(sys.argv[1])
PRESENT = time.time
time.time = lambda: PRESENT() + AHEAD

from reconciler.cli.main import run  # noqa: E402 - everything has to see that clock

if __name__ == "__main__":
    sys.exit(run(sys.argv[2:]))
