"""Policies over plans and live objects: compiles, evaluates and tests them."""

from __future__ import annotations

from reconciler.policies.declared import Policy, policy_of
from reconciler.policies.evaluation import Judged, judge
from reconciler.policies.fields import field_problems
from reconciler.policies.subjects import (
    DeclaredSubject,
    Subjects,
    Surroundings,
    declared_subjects,
    live_subjects,
    planned_subjects,
)
from reconciler.policies.testing import run_tests

__all__ = [
    "DeclaredSubject",
    "Judged",
    "Policy",
    "Subjects",
    "Surroundings",
    "declared_subjects",
    "field_problems",
    "judge",
    "live_subjects",
    "planned_subjects",
    "policy_of",
    "run_tests",
]
