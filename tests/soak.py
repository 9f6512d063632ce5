"""How hard tests try: `make soak` sets RECONCILER_SOAK, which multiplies what `make test` only samples."""

from __future__ import annotations

import os

SOAK = int(os.environ.get("RECONCILER_SOAK") or 0)
"""0 in `make test`; from 1 on whatever can be enumerated is, and what is drawn at random is drawn that much longer."""

BACKENDS = bool(SOAK or os.environ.get("RECONCILER_TEST_BACKENDS"))
"""Whether tests of shared states try everything, as in `make test-backends`, or a sample."""
