"""Webhooks: addresses that the API calls when something has happened in a project.

The secret that signs the calls is shown once, in the answer that makes the webhook, and goes from there into its sink.
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
    doc="An address that is called when something happens in a project. To have a new secret, replace it.",
    scope=ScopeType.PROJECT_KEY,
    collection="/webhook_endpoints",
    natural_key=("name",),
    destroys="nobody is told of its events any more",
    fields=(
        Field(
            "name", Text(min_length=1), "The name people see. Left out, that of the resource.", defaults_to_name=True
        ),
        Field(
            "url",
            Text(pattern=r"^https://\S+$"),
            "The address that is called, with https.",
            required=True,
            losses=(LossRule(When.CHANGES, Lost.ACCESS, "stops calling {before}"),),
        ),
        Field(
            "event_types",
            ListOf(Text(choices=EVENT_TYPES, open_choices=True), min_items=1, unordered=True),
            "The events that are told, in any order.",
            required=True,
            losses=(LossRule(When.LOSES, Lost.ACCESS, "stops telling of {items}"),),
        ),
        Field(
            "signing_secret",
            KeySinkType(shown_in="signing_secret"),
            "Where the secret that signs the calls is delivered: `write_to: {file: PATH}` or `write_to: {command: "
            "[PROGRAM, ARG…]}`. Another place takes another webhook.",
            required=True,
            readable=Readable.NEVER,
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
