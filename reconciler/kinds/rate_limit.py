"""Rate limits: how much a project may use a model.

The API creates one row per model and project. A row can be changed but not deleted, so the first
write records the previous values, and removing the declaration restores them.
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
        # No value means "the default": the limits of the organization depend on its tier, and no
        # call shows them here.
        reset=OVERWRITTEN,
        losses=(
            LossRule(When.RISES, Lost.LIMIT, f"raises {name} from {{before}} to {{after}}"),
            LossRule(
                When.FALLS, Lost.ACCESS, f"sets {name} to 0: the model can no longer be used", to=0
            ),
        ),
    )


KIND = Kind(
    name="RateLimit",
    doc="The rate limits of one model in one project. Only the limits set here are managed.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/rate_limits",
    # Ids of rows look like `rl-MODEL`, but the API does not promise that form, so the list maps
    # models to ids.
    natural_key=("model",),
    always_exists=True,
    # There is no call for one row, and one page has all of them.
    readable_singly=False,
    removal=Removal.RESTORE,
    page_limit=1000,
    absent="The API has rate limits for each model that the organization can use. Check the model "
    "name, or remove this document.",
    audit_events=("rate_limit.",),
    fields=(
        Field(
            "model",
            Text(min_length=1),
            "The model to limit. The organization must have access to it.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        _limit("max_requests_per_1_minute", "Requests per minute."),
        _limit("max_tokens_per_1_minute", "Tokens per minute."),
        _limit("max_images_per_1_minute", "Images per minute; only for image models."),
        _limit(
            "max_audio_megabytes_per_1_minute",
            "Megabytes of audio per minute; only for audio models.",
        ),
        _limit("max_requests_per_1_day", "Requests per day; only for models with a daily limit."),
        _limit(
            "batch_1_day_max_input_tokens",
            "Batch input tokens per day; only for models that support batches.",
        ),
    ),
    example="""\
kind: RateLimit
metadata:
  name: gpt-5.4
  project: search
spec:
  model: gpt-5.4
  max_requests_per_1_minute: 500
  max_tokens_per_1_minute: 200000
""",
)
