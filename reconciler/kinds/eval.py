"""Evals: a data source and the criteria to grade it by. `EvalRun` runs them.

The API returns both in another form than it accepts: it merges schemas and adds ids to criteria. So
the comparison is with the recorded request. Only name and metadata can be changed; any other change
replaces the eval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.kinds.graders import CRITERION
from reconciler.kinds.parts import metadata
from reconciler.model.kind import Field, Kind, Mutability, Readable, Retirement, ScopeType
from reconciler.model.types import Boolean, Json, ListOf, MapOf, Object, Property, Tagged, Text
from reconciler.model.values import Spec

# Between the two dates evals can still be read, so that results can be exported.
RETIREMENT = Retirement(
    since="2026-10-31",
    successor="",
    sentence="The live platform made evals read-only on 2026-10-31 and shuts them down on 2026-11-30, "
    "with no successor in the API. They cannot be created or changed there, only on servers "
    "that still have the /evals endpoints.",
    read_only=True,
    probe="/evals",
)

_FILTER = Object(
    (Property("metadata", MapOf(Text(max_length=512)), "Filter by these metadata pairs."),)
)


def _as_sent(spec: Spec) -> Spec:
    """The request behind an answer, which merges schemas, adds ids and spells messages out."""
    sent = dict(spec)
    source, criteria = spec.get("data_source_config"), spec.get("testing_criteria")
    if isinstance(source, Mapping) and isinstance(source.get("schema"), Mapping):
        sent["data_source_config"] = _source_sent(source, source["schema"])
    if isinstance(criteria, list):
        sent["testing_criteria"] = list(map(_criterion_sent, criteria))
    return sent


def _source_sent(source: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in source.items() if name != "schema"}
    properties = schema.get("properties")
    if source.get("type") != "custom" or not isinstance(properties, Mapping):
        return rest
    has_samples = {"include_sample_schema": True} if "sample" in properties else {}
    return {**rest, "item_schema": properties.get("item"), **has_samples}


def _criterion_sent(criterion: Any) -> Any:
    if not isinstance(criterion, Mapping):
        return criterion
    sent = {name: value for name, value in criterion.items() if name != "id"}
    if isinstance(sent.get("input"), list):
        sent["input"] = list(map(_message_sent, sent["input"]))
    return sent


def _message_sent(message: Any) -> Any:
    if not isinstance(message, Mapping) or message.get("type") != "message":
        return message
    sent = {name: value for name, value in message.items() if name != "type"}
    content = sent.get("content")
    if isinstance(content, Mapping):
        is_text = content.get("type") == "input_text" and isinstance(content.get("text"), str)
        sent["content"] = content["text"] if is_text else [content]
    return sent


KIND = Kind(
    name="Eval",
    doc="A data source and the criteria to grade it by; run it with an EvalRun.",
    scope=ScopeType.PROJECT_KEY,
    collection="/evals",
    natural_key=("name",),
    from_answer=_as_sent,
    mark="metadata",
    retirement=RETIREMENT,
    destroys="its runs and their results are deleted",
    fields=(
        Field(
            "name",
            Text(min_length=1),
            "The display name; defaults to the resource's name.",
            defaults_to_name=True,
        ),
        Field(
            "data_source_config",
            Tagged(
                {
                    "custom": Object(
                        (
                            Property(
                                "item_schema",
                                Json(),
                                "The JSON Schema of each item.",
                                required=True,
                            ),
                            Property(
                                "include_sample_schema",
                                Boolean(),
                                "Whether criteria can refer to samples.",
                                default=False,
                            ),
                        )
                    ),
                    "logs": _FILTER,
                    "stored_completions": _FILTER,
                }
            ),
            "The data source and its schema. The API returns it in another form, so drift cannot be detected.",
            required=True,
            mutability=Mutability.REPLACES,
            readable=Readable.NEVER,
        ),
        # The server adds an id to each criterion and may expand its messages.
        Field(
            "testing_criteria",
            ListOf(CRITERION),
            "The graders. The API returns them in another form, so drift cannot be detected.",
            required=True,
            mutability=Mutability.REPLACES,
            readable=Readable.NEVER,
        ),
        Field(
            "metadata",
            metadata(),
            "Up to 16 key-value pairs; reconciler uses one for its ownership mark.",
            default={},
            nullable=True,
        ),
    ),
    example="""\
kind: Eval
metadata:
  name: politeness
spec:
  data_source_config:
    type: custom
    item_schema: {type: object, required: [question, answer]}
    include_sample_schema: true
  testing_criteria:
    - type: string_check
      name: same
      input: "{{sample.output_text}}"
      reference: "{{item.answer}}"
      operation: eq
""",
)
