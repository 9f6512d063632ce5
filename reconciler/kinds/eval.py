"""Evals: what is to be measured, and by which criteria. Runs of them are a kind of their own, `EvalRun`.

The API answers in another form than it is asked in: schemas are merged, criteria get ids. So what was sent is what we
remember and compare; a change of it makes another eval, since nothing but names and metadata can be changed.
"""

from __future__ import annotations

from reconciler.kinds.graders import CRITERION
from reconciler.kinds.parts import metadata
from reconciler.model.kind import Field, Kind, Mutability, Readable, Retirement, ScopeType
from reconciler.model.types import Boolean, Json, ListOf, MapOf, Object, Property, Tagged, Text

RETIREMENT = Retirement(
    since="2026-10-31",
    successor="",
    sentence="The live platform made evals read-only on 2026-10-31 and switches them off on 2026-11-30, without a "
    "successor in the API: nothing new can be made there. Servers that still have the /evals endpoints are served in "
    "full.",
    read_only=True,
    probe="/evals",
)

_FILTER = Object((Property("metadata", MapOf(Text(max_length=512)), "Only what has these pairs."),))

KIND = Kind(
    name="Eval",
    doc="What is measured, and by which criteria; an EvalRun measures it.",
    scope=ScopeType.PROJECT_KEY,
    collection="/evals",
    natural_key=("name",),
    mark="metadata",
    retirement=RETIREMENT,
    destroys="its runs and their results go with it",
    fields=(
        Field(
            "name", Text(min_length=1), "The name people see. Left out, that of the resource.", defaults_to_name=True
        ),
        Field(
            "data_source_config",
            Tagged(
                {
                    "custom": Object(
                        (
                            Property("item_schema", Json(), "The JSON Schema of an item.", required=True),
                            Property("include_sample_schema", Boolean(), "Whether samples are judged.", default=False),
                        )
                    ),
                    "logs": _FILTER,
                    "stored_completions": _FILTER,
                }
            ),
            "What the items look like that are measured. Answers show it in another form, so drift is invisible.",
            required=True,
            mutability=Mutability.REPLACES,
            readable=Readable.NEVER,
        ),
        Field(
            "testing_criteria",
            ListOf(CRITERION),
            "What judges a sample. Answers show it in another form, so drift is invisible.",
            required=True,
            mutability=Mutability.REPLACES,
            readable=Readable.NEVER,
        ),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, nullable=True),
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
