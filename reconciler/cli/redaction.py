"""The redactor of the process. All output of commands passes through it.

It is a module of its own because every command needs it, but neither `--version` nor `--help` does.
"""

from __future__ import annotations

from reconciler.model.secret import Redactor

redactor = Redactor()
"""Knows every secret of this run."""
