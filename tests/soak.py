"""The effort of tests: `make soak` sets RECONCILER_SOAK, which multiplies the samples."""

from __future__ import annotations

import os

SOAK = int(os.environ.get("RECONCILER_SOAK") or 0)
"""0 in `make test`; from 1 on whatever can be enumerated is, and what is drawn at random is drawn that much longer."""

BACKENDS = 10 * SOAK or int(os.environ.get("RECONCILER_TEST_BACKENDS") or 0)
"""0 in `make test`, whose tests of shared states try a few places on two backends; from 1 on, as in `make test-backends`,
they try all backends and that many times more places.
"""
