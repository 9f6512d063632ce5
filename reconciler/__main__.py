"""`python -m reconciler`."""

import os
import sys

# Python looks for modules in the current folder first, which here is a stack, and maybe a stranger's: not for ours.
try:
    here = os.getcwd()  # noqa: PTH109 - nothing may be imported before this
except OSError:
    here = ""  # the folder was deleted
if sys.path and sys.path[0] in ("", here):
    del sys.path[0]

from reconciler.cli.main import main

if __name__ == "__main__":
    main()
