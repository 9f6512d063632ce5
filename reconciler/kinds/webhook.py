"""Webhooks: URLs that the API calls when an event occurs in a project.

The API returns the signing secret once, in the response to the create call, and it goes straight to
its sink.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import KeySinkType, ListOf, Text

EVENT_TYPES = (
    "batch.completed", "batch.failed", "batch.expired", "batch.cancelled",
    "response.completed", "response.failed", "response.cancelled", "response.incomplete",
    "eval.run.succeeded", "eval.run.failed", "eval.run.canceled",
    "fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled",
    "realtime.call.incoming", "video.completed", "video.failed",
    "agent.environment.ready", "agent.environment.failed", "agent.environment.suspended", "agent.environment.expired",
    "agent.session.created", "agent.session.action_required", "agent.session.in_progress", "agent.session.idle",
    "agent.session.failed", "safety.alert.created",
)  # fmt: skip

KIND = Kind(
    name="Webhook",
    doc="A URL that the API calls when an event occurs in a project. To get a new signing secret, replace the webhook.",
    scope=ScopeType.PROJECT_KEY,
    collection="/webhook_endpoints",
    # Webhooks have no metadata for a mark.
    natural_key=("name",),
    destroys="its events are no longer delivered",
    fields=(
        Field(
            "name",
            Text(min_length=1),
            "The display name; defaults to the resource's name.",
            defaults_to_name=True,
        ),
        Field(
            "url",
            Text(pattern=r"^https://\S+$"),
            "The https URL to call.",
            required=True,
            losses=(LossRule(When.CHANGES, Lost.ACCESS, "stops calling {before}"),),
        ),
        Field(
            "event_types",
            # Open, because the API adds event types without notice.
            ListOf(Text(choices=EVENT_TYPES, open_choices=True), min_items=1, unordered=True),
            "The events to deliver, in any order.",
            required=True,
            losses=(LossRule(When.LOSES, Lost.ACCESS, "stops delivering {items}"),),
        ),
        Field(
            "signing_secret",
            KeySinkType(shown_in="signing_secret"),
            "Where to deliver the signing secret: `write_to: {file: PATH}` or `write_to: "
            "{command: [PROGRAM, ARG…]}`. Changing the sink replaces the webhook.",
            required=True,
            readable=Readable.NEVER,
            # The API shows the secret once, so another destination needs another webhook.
            mutability=Mutability.REPLACES,
        ),
    ),
    example="""\
kind: Webhook
metadata:
  name: batches
spec:
  url: https://example.com/hooks/openai
  event_types: [batch.completed, batch.failed]
  signing_secret:
    write_to:
      file: secrets/webhook.key
""",
)
