"""Carrying out checks: the calls, the waiting, the judging, and the tidying up afterwards."""

from reconciler.checks.run import CheckTools, run_checks

__all__ = ["CheckTools", "run_checks"]
