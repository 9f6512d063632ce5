"""How long to look: RECONCILER_SOAK multiplies what the quick form of a test does; 0 is the quick form."""

from __future__ import annotations

import os

SOAK = int(os.environ.get("RECONCILER_SOAK", "0"))
