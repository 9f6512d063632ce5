"""Data retention: what the API keeps of requests, for the organization or for one project.

A setting that is always there and cannot be unset: removing the declaration writes back what it overwrote.
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
"""The controls from the one that keeps most. What `organization_default` keeps is the organization's to say."""

KIND = Kind(
    name="DataRetention",
    doc="What the API keeps of the requests of the organization or, with metadata.project, of one project.",
    scope=ScopeType.EITHER,
    collection="/organization/data_retention",
    natural_key=(),
    calls=singleton(also_at=("/organization/projects/{project}/data_retention",)),
    always_exists=True,
    removal=Removal.RESTORE,
    own_audit_events=("project.updated", "organization.updated"),
    fields=(
        Field(
            "retention_type",
            Text(choices=("organization_default", "none", *OF_BOTH)),
            "The control. Only a project takes `organization_default` and `none`; most of the others have to be "
            "approved for the organization first.",
            required=True,
            reset=OVERWRITTEN,
            response_key="type",
            losses=(
                LossRule(
                    When.RISES,
                    Lost.DATA,
                    "keeps less of requests: what {before} stored and {after} does not is not stored any more",
                    order=FROM_MOST_KEPT,
                ),
                LossRule(
                    When.FALLS, Lost.LIMIT, "keeps more of requests: from {before} to {after}", order=FROM_MOST_KEPT
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
