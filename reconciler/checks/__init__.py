"""Runs checks: the call, the polling, the verdict, and the cleanup."""

from reconciler.checks.run import CheckTools, run_checks

__all__ = ["CheckTools", "run_checks"]
