"""The kinds of rules, one file each. To add one, write a file and register it below."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.rule import RuleKind
from reconciler.rules.check import KIND as CHECK
from reconciler.rules.module import KIND as MODULE
from reconciler.rules.policy import KIND as POLICY
from reconciler.rules.retention import KIND as RETENTION

__all__ = ["CHECK", "POLICY", "RULE_KINDS"]

RULE_KINDS: Mapping[str, RuleKind] = {
    kind.name: kind for kind in (CHECK, MODULE, RETENTION, POLICY)
}
"""All kinds of documents that declare no object, by name."""
