"""Rate limits: how much of a model a project may use.

The API makes one row for each model in each project and never deletes one: it can only be changed. The first write
therefore remembers what it overwrites, and removing the declaration writes that back.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import OVERWRITTEN, Field, Kind, Mutability, Removal, ScopeType
from reconciler.model.types import Integer, Text


def _limit(name: str, doc: str) -> Field:
    return Field(
        name,
        Integer(minimum=0),
        doc,
        reset=OVERWRITTEN,
        losses=(
            LossRule(When.RISES, Lost.LIMIT, f"raises {name} from {{before}} to {{after}}"),
            LossRule(When.FALLS, Lost.ACCESS, f"sets {name} to 0: the model cannot be used", to=0),
        ),
    )


KIND = Kind(
    name="RateLimit",
    doc="The limits of one model in one project. Only the limits that are set here are managed.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/rate_limits",
    natural_key=("model",),
    always_exists=True,
    readable_singly=False,
    removal=Removal.RESTORE,
    page_limit=1000,
    absent="The API has one for each model that the organization can use. Check the name of the model, or remove this "
    "document.",
    audit_events=("rate_limit.",),
    fields=(
        Field(
            "model",
            Text(min_length=1),
            "The model that the limits are for. The organization must have access to it.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        _limit("max_requests_per_1_minute", "Requests a minute."),
        _limit("max_tokens_per_1_minute", "Tokens a minute."),
        _limit("max_images_per_1_minute", "Images a minute; only for image models."),
        _limit("max_audio_megabytes_per_1_minute", "Megabytes of audio a minute; only for audio models."),
        _limit("max_requests_per_1_day", "Requests a day; only for models that have a daily limit."),
        _limit("batch_1_day_max_input_tokens", "Input tokens a day in batches; only for models that can be batched."),
    ),
    example="""\
kind: RateLimit
metadata:
  name: gpt-4.1
  project: search
spec:
  model: gpt-4.1
  max_requests_per_1_minute: 500
  max_tokens_per_1_minute: 200000
""",
)
