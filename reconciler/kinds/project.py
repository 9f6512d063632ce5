"""Projects: the organization's workspaces, each with its own limits, keys and objects.

The API has no delete, only an irreversible archive, and names are not unique. Therefore a project
is retained when its declaration is removed, unless the manifest says otherwise, and two projects
with the same name are an error, not a guess.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import (
    Field,
    Kind,
    Mutability,
    OnRemove,
    Removal,
    ScopeType,
    TerminalState,
)
from reconciler.model.types import Text

RESIDENCIES = (
    "GLOBAL", "US_STORAGE_PROCESSING", "EU_STORAGE_PROCESSING", "JP_STORAGE", "JP_STORAGE_PROCESSING", "KR_STORAGE",
    "CA_STORAGE", "SG_STORAGE", "IN_STORAGE", "IN_STORAGE_PROCESSING", "AU_STORAGE", "AU_STORAGE_PROCESSING",
    "GB_STORAGE", "AE_STORAGE", "AE_STORAGE_PROCESSING",
)  # fmt: skip

KIND = Kind(
    name="Project",
    doc="A project in the organization: the scope of most other kinds.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/projects",
    # Two projects can have the same name, which is an error here: nothing tells which one is meant.
    natural_key=("name",),
    # Without it the list lacks archived projects, and a plan would take one for deleted.
    ended_query={"include_archived": "true"},
    removal=Removal.ARCHIVE,
    on_remove=OnRemove.RETAIN,
    defines_project=True,
    terminal_states={("status", "archived"): TerminalState.GONE},
    destroys="an archived project cannot be used or restored",
    audit_events=("project.", "external_key."),
    fields=(
        Field(
            "name",
            Text(min_length=1),
            "The display name, also shown in usage reports; need not be unique.",
            required=True,
        ),
        Field(
            "residency",
            # Open, because the SDKs know regions that the published description lacks.
            Text(choices=RESIDENCIES, open_choices=True),
            "Where data is stored and processed. The organization must be eligible for the "
            "region. If omitted, the organization's setting applies.",
            mutability=Mutability.REPLACES,
        ),
        Field(
            "external_key_id",
            Text(),
            "The id of a customer-managed encryption key.",
            default=None,
            nullable=True,
            losses=(
                LossRule(
                    When.CHANGES, Lost.LIMIT, "stops encrypting new data with the key {before}"
                ),
            ),
        ),
    ),
    example="""\
kind: Project
metadata:
  name: search
spec:
  name: Search
""",
)
