"""Service tiers: how fast, and at what price, a project's requests are served.

A setting that every project has and nothing can delete: removing the declaration writes back what it overwrote.
"""

from __future__ import annotations

from reconciler.model.calls import singleton
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import OVERWRITTEN, Field, Kind, Removal, ScopeType
from reconciler.model.types import Either, ListOf, Text

KIND = Kind(
    name="ServiceTier",
    doc="The service tiers that a project may ask for, and the one that it gets unasked.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/service_tier_settings",
    natural_key=(),
    calls=singleton(),
    always_exists=True,
    removal=Removal.RESTORE,
    fields=(
        Field(
            "default",
            Text(choices=("standard", "fast", "scale")),
            "The tier of requests that name none.",
            reset=OVERWRITTEN,
        ),
        Field(
            "enabled_tiers",
            Either(Text(choices=("all",)), ListOf(Text(choices=("flex", "fast", "ultrafast")), unordered=True)),
            "The tiers that requests may ask for besides the standard one: `all`, which includes tiers to come, or a "
            "list; an empty list leaves the standard tier alone.",
            default=[],
            reset=OVERWRITTEN,
            losses=(
                LossRule(When.LOSES, Lost.ACCESS, "refuses requests for the tier {items}", all_items="all"),
                LossRule(When.GAINS, Lost.LIMIT, "lets requests ask for the tier {items}", all_items="all"),
            ),
        ),
    ),
    example="""\
kind: ServiceTier
metadata:
  name: search
  project: search
spec:
  default: standard
  enabled_tiers: [flex]
""",
)
