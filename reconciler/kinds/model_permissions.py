"""Model permissions: which models a project may use. Without them, it may use all models of the
organization.
"""

from __future__ import annotations

from reconciler.model.calls import singleton
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import ListOf, Text

KIND = Kind(
    name="ModelPermissions",
    doc="The models that a project may use or may not use: one list per project, replaced as a whole.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/model_permissions",
    natural_key=(),
    # Unlike most modify calls, this one clears what it was not sent.
    calls=singleton(whole_updates=True),
    # A project has no permissions until they are set, so they are created and deleted like other
    # objects.
    unique=True,
    destroys="the project may use every model of the organization",
    # No event type reports this setting alone, so every plan reads it.
    own_audit_events=("project.updated",),
    fields=(
        Field(
            "mode",
            Text(choices=("allow_list", "deny_list")),
            "Whether the list names the allowed models or the denied ones.",
            required=True,
            losses=(
                LossRule(When.CHANGES, Lost.ACCESS, "changes the list from {before} to {after}"),
            ),
        ),
        Field(
            "model_ids",
            ListOf(Text(min_length=1), unordered=True),
            "The model ids, in any order.",
            required=True,
            default=[],
            losses=(
                LossRule(
                    When.LOSES,
                    Lost.ACCESS,
                    "stops the project from using {items}",
                    given=("mode", "allow_list"),
                    # An empty allow list stops every request of the project.
                    empties=True,
                ),
                LossRule(
                    When.GAINS,
                    Lost.LIMIT,
                    "allows the project to use {items}",
                    given=("mode", "allow_list"),
                ),
                LossRule(
                    When.GAINS,
                    Lost.ACCESS,
                    "stops the project from using {items}",
                    given=("mode", "deny_list"),
                ),
                LossRule(
                    When.LOSES,
                    Lost.LIMIT,
                    "allows the project to use {items}",
                    given=("mode", "deny_list"),
                ),
            ),
        ),
    ),
    example="""\
kind: ModelPermissions
metadata:
  name: search
  project: search
spec:
  mode: allow_list
  model_ids: [gpt-5.4, gpt-5.4-mini]
""",
)
