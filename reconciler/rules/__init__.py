"""The kinds of rules, one file each. A new one is a new file here and a line in the registry below."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.rule import RuleKind
from reconciler.rules.check import KIND as CHECK
from reconciler.rules.retention import KIND as RETENTION

__all__ = ["CHECK", "RULE_KINDS"]

RULE_KINDS: Mapping[str, RuleKind] = {kind.name: kind for kind in (CHECK, RETENTION)}
"""Every kind of document that declares no object, by name."""
