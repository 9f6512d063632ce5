"""Service tiers: the speed and price at which a project's requests are served.

Every project has the setting and it cannot be deleted; removing the declaration restores the
previous values.
"""

from __future__ import annotations

from reconciler.model.calls import singleton
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import OVERWRITTEN, Field, Kind, Removal, ScopeType
from reconciler.model.types import Either, ListOf, Text

KIND = Kind(
    name="ServiceTier",
    doc="The service tiers that a project's requests may use, and the default tier.",
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
            "The tier for requests that do not specify one.",
            # The API has no call that resets a setting.
            reset=OVERWRITTEN,
        ),
        Field(
            "enabled_tiers",
            Either(
                Text(choices=("all",)),
                ListOf(Text(choices=("flex", "fast", "ultrafast")), unordered=True),
            ),
            "The tiers that requests may specify in addition to the standard tier: `all`, which "
            "includes future tiers, or a list. An empty list allows only the standard tier.",
            default=[],
            reset=OVERWRITTEN,
            losses=(
                LossRule(
                    When.LOSES,
                    Lost.ACCESS,
                    "refuses requests for the tier {items}",
                    all_items="all",
                ),
                LossRule(
                    When.GAINS, Lost.LIMIT, "allows requests for the tier {items}", all_items="all"
                ),
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
