"""Spend limits: how much an organization or a project may spend in a month.

Each scope has at most one: with a project it is the project's limit, without one the
organization's. An update replaces it as a whole.
"""

from __future__ import annotations

from reconciler.model.calls import singleton
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import Integer, Text

CURRENCY = Field("currency", Text(choices=("USD",)), "The currency.", default="USD")
INTERVAL = Field(
    "interval", Text(choices=("month",)), "The period that the amount applies to.", default="month"
)

KIND = Kind(
    name="SpendLimit",
    doc="The maximum monthly spending of the organization or, with metadata.project, of one project.",
    scope=ScopeType.EITHER,
    collection="/organization/spend_limit",
    natural_key=(),
    # An update replaces the object, so it has to contain every field.
    calls=singleton(also_at=("/organization/projects/{project}/spend_limit",), whole_updates=True),
    # A scope has no limit until one is set, so it is created and deleted like other objects.
    unique=True,
    destroys="spending is no longer limited",
    fields=(
        Field(
            "threshold_amount",
            Integer(minimum=1),
            "The amount, in cents.",
            required=True,
            losses=(
                LossRule(When.RISES, Lost.LIMIT, "raises the limit from {before} to {after} cents"),
            ),
        ),
        CURRENCY,
        INTERVAL,
    ),
    fill_defaults=lambda spec: {"currency": "USD", "interval": "month", **spec},
    example="""\
kind: SpendLimit
metadata:
  name: search
  project: search
spec:
  threshold_amount: 500000
""",
)
