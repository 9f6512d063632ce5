"""Spend alerts: e-mails sent when spending in a month exceeds an amount.

A scope can have many, and they have no name: the amount identifies each.
"""

from __future__ import annotations

from typing import Any

from reconciler.kinds.spend_limit import CURRENCY, INTERVAL
from reconciler.kinds.user import EMAIL
from reconciler.model.calls import Calls
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import Integer, ListOf, Object, Property, Tagged, Text

_CHANNEL: dict[str, Any] = {
    "email": Object(
        (
            Property(
                "recipients",
                ListOf(EMAIL, unordered=True),
                "The recipients' e-mail addresses.",
                required=True,
            ),
            Property(
                "subject_prefix", Text(), "A prefix for the subject of the e-mail.", default=None
            ),
        )
    )
}

KIND = Kind(
    name="SpendAlert",
    doc="Sends an e-mail when monthly spending by the organization or, with metadata.project, by "
    "one project exceeds an amount.",
    scope=ScopeType.EITHER,
    collection="/organization/spend_alerts",
    natural_key=("threshold_amount",),
    # An update replaces the object, so it has to contain every field.
    calls=Calls(also_at=("/organization/projects/{project}/spend_alerts",), whole_updates=True),
    fields=(
        Field(
            "threshold_amount",
            Integer(minimum=0),
            "The amount, in cents.",
            required=True,
            losses=(
                LossRule(
                    When.RISES, Lost.LIMIT, "sends the e-mail at {after} cents instead of {before}"
                ),
            ),
        ),
        CURRENCY,
        INTERVAL,
        Field(
            "notification_channel",
            Tagged(_CHANNEL),
            "Where to send the alert.",
            required=True,
            losses=(
                LossRule(
                    When.LOSES,
                    Lost.LIMIT,
                    "stops sending e-mail to {items}",
                    at=("email", "recipients"),
                ),
            ),
        ),
    ),
    fill_defaults=lambda spec: {"currency": "USD", "interval": "month", **spec},
    example="""\
kind: SpendAlert
metadata:
  name: search-half
  project: search
spec:
  threshold_amount: 250000
  notification_channel:
    type: email
    recipients: [finance@example.com]
""",
)
