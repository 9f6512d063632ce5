"""The process of the command line: `reconciler`, and `python -m reconciler`."""

import gc
import os
import sys

# Python looks for modules in the current folder first, which here is a stack, and maybe a stranger's: not for ours.
try:
    here = os.getcwd()  # noqa: PTH109 - nothing may be imported before this
except OSError:
    here = ""  # the folder was deleted
if sys.path and sys.path[0] in ("", here):
    del sys.path[0]

# A run keeps nearly everything it makes until its end, so collecting garbage finds none. Set before
# the imports, which make a hundred thousand objects.
gc.set_threshold(1_000_000)

from reconciler.cli.main import main  # noqa: E402

if __name__ == "__main__":
    main()
