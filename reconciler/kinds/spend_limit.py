"""Spend limits: how much an organization or a project may spend in a month.

A setting, one a scope: with a project named it is the project's, without one the organization's. The API takes and
replaces it as a whole.
"""

from __future__ import annotations

from reconciler.model.calls import singleton
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import Integer, Text

CURRENCY = Field("currency", Text(choices=("USD",)), "The currency.", default="USD")
INTERVAL = Field("interval", Text(choices=("month",)), "The period that the amount is for.", default="month")

KIND = Kind(
    name="SpendLimit",
    doc="The most that the organization, or with metadata.project one project, may spend in a month.",
    scope=ScopeType.EITHER,
    collection="/organization/spend_limit",
    natural_key=(),
    calls=singleton(also_at=("/organization/projects/{project}/spend_limit",), whole_updates=True),
    unique=True,
    destroys="nothing limits the spending any more",
    fields=(
        Field(
            "threshold_amount",
            Integer(minimum=1),
            "The amount, in cents.",
            required=True,
            losses=(LossRule(When.RISES, Lost.LIMIT, "raises the limit from {before} to {after} cents"),),
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
