"""Modules: folders of manifests that are declared several times with different variables.

A module expands before anything else is checked, so plans and states know only the resources that
it declares.
"""

from __future__ import annotations

from reconciler.model.kind import Field, ScopeType
from reconciler.model.rule import RuleKind
from reconciler.model.types import Json, MapOf, Text

KIND = RuleKind(
    name="Module",
    doc="Declares the manifests of a folder with variables. Declares no object of its own.",
    scope=ScopeType.ORGANIZATION,
    expands=True,
    fields=(
        Field(
            "source",
            Text(min_length=1),
            "The folder of the module, relative to the stack's folder. It contains `module.yaml`, "
            "which declares the variables and outputs, and manifests that use them.",
            required=True,
        ),
        Field(
            "variables",
            MapOf(Json()),
            "Values for the variables that the module declares. They can contain references.",
        ),
    ),
    example="""\
kind: Module
metadata:
  name: search
spec:
  source: modules/team
  variables:
    budget: 500
""",
)
