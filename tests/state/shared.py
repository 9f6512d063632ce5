"""Arrangements that several tests of the state share."""

from __future__ import annotations

from pathlib import Path

from reconciler.state import StateStore


def open_reader(folder: Path) -> StateStore:
    """The state of `acme/prod` in a folder, as another process would read it now."""
    return StateStore.open_for_reading(folder, stack="acme", environment="prod")


def begin_run(store: StateStore) -> int:
    """Begin an apply, and return its number."""
    return store.runs.begin(command="apply", user="ada", host="laptop", pid=7, plan_digest="d")
