"""`python -m reconciler`."""

import os
import sys

# Python looks for modules in the current folder first, which here is a stack, and maybe a stranger's: not for ours.
if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - nothing may be imported before this
    del sys.path[0]

from reconciler.cli.main import main

if __name__ == "__main__":
    main()
