"""Spend alerts: who gets a mail when the month's spending passes an amount.

There can be many in a scope, and they have no name: the amount is what tells them apart.
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
                "recipients", ListOf(EMAIL, unordered=True), "The addresses that the mail goes to.", required=True
            ),
            Property("subject_prefix", Text(), "What the subject of the mail begins with.", default=None),
        )
    )
}

KIND = Kind(
    name="SpendAlert",
    doc="A mail when the organization, or with metadata.project one project, has spent an amount in a month.",
    scope=ScopeType.EITHER,
    collection="/organization/spend_alerts",
    natural_key=("threshold_amount",),
    calls=Calls(also_at=("/organization/projects/{project}/spend_alerts",), whole_updates=True),
    fields=(
        Field(
            "threshold_amount",
            Integer(minimum=0),
            "The amount, in cents.",
            required=True,
            losses=(LossRule(When.RISES, Lost.LIMIT, "sends the mail at {after} cents, not at {before}"),),
        ),
        CURRENCY,
        INTERVAL,
        Field(
            "notification_channel",
            Tagged(_CHANNEL),
            "Where the alert goes.",
            required=True,
            losses=(LossRule(When.LOSES, Lost.LIMIT, "sends no mail to {items} any more", at=("email", "recipients")),),
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
