"""Data retention: how long and how much the API stores of requests, for the organization or one
project.

The setting always exists and cannot be deleted; removing the declaration restores the previous
value.
"""

from __future__ import annotations

from reconciler.model.calls import singleton
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import OVERWRITTEN, Field, Kind, Removal, ScopeType
from reconciler.model.types import Text

OF_BOTH = (
    "zero_data_retention",
    "modified_abuse_monitoring",
    "enhanced_zero_data_retention",
    "enhanced_modified_abuse_monitoring",
)

FROM_MOST_KEPT = (
    "none",
    "modified_abuse_monitoring",
    "enhanced_modified_abuse_monitoring",
    "zero_data_retention",
    "enhanced_zero_data_retention",
)
"""The controls, from the one that keeps the most data. `organization_default` has no rank: the
organization's setting decides.
"""

KIND = Kind(
    name="DataRetention",
    doc="What the API stores of requests by the organization or, with metadata.project, by one project.",
    scope=ScopeType.EITHER,
    collection="/organization/data_retention",
    natural_key=(),
    calls=singleton(also_at=("/organization/projects/{project}/data_retention",)),
    always_exists=True,
    removal=Removal.RESTORE,
    # No event type reports this setting alone, so every plan reads it. These are the types that our
    # own writes cause.
    own_audit_events=("project.updated", "organization.updated"),
    fields=(
        Field(
            "retention_type",
            Text(choices=("organization_default", "none", *OF_BOTH)),
            "The data retention control. `organization_default` and `none` are for projects only; "
            "most others require approval for the organization.",
            required=True,
            # The API has no call that unsets it.
            reset=OVERWRITTEN,
            response_key="type",
            losses=(
                LossRule(
                    When.RISES,
                    Lost.DATA,
                    "stores less request data: {after} instead of {before}",
                    order=FROM_MOST_KEPT,
                ),
                LossRule(
                    When.FALLS,
                    Lost.LIMIT,
                    "stores more request data: {after} instead of {before}",
                    order=FROM_MOST_KEPT,
                ),
            ),
        ),
    ),
    example="""\
kind: DataRetention
metadata:
  name: search
  project: search
spec:
  retention_type: modified_abuse_monitoring
""",
)
