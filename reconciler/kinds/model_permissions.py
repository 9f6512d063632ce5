"""Model permissions: which models a project may use; without them, all that the organization may."""

from __future__ import annotations

from reconciler.model.calls import setting
from reconciler.model.kind import Field, Kind, Scope
from reconciler.model.types import ListOf, Text

KIND = Kind(
    name="ModelPermissions",
    doc="The models that a project may use, or may not: one list a project, replaced as a whole.",
    scope=Scope.PROJECT,
    collection="/organization/projects/{project}/model_permissions",
    natural_key=(),
    calls=setting(whole_updates=True),
    unique=True,
    destroys="the project may use every model of the organization again",
    logged=("project.updated",),
    fields=(
        Field(
            "mode",
            Text(choices=("allow_list", "deny_list")),
            "Whether the list names the models that may be used or those that may not.",
            required=True,
        ),
        Field(
            "model_ids",
            ListOf(Text(min_length=1), unordered=True),
            "The models, in any order.",
            required=True,
            default=[],
        ),
    ),
    example="""\
kind: ModelPermissions
metadata:
  name: search
  project: search
spec:
  mode: allow_list
  model_ids: [gpt-4.1, gpt-4.1-mini]
""",
)
