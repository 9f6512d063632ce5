"""Eval runs: a run generates or reads samples and grades them by the criteria of the eval.

A run is a job: it runs once for its inputs. Earlier runs are kept so that results can be compared.
"""

from __future__ import annotations

from reconciler.kinds.eval import RETIREMENT
from reconciler.kinds.graders import MESSAGE
from reconciler.kinds.parts import EFFORTS, WAITING, job_metadata
from reconciler.model.job import Job
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import (
    Integer,
    Json,
    ListOf,
    MapOf,
    Number,
    Object,
    Property,
    Tagged,
    Text,
)

_ROW = Object(
    (
        Property("item", Json(), "The data source item.", required=True),
        Property("sample", Json(), "A previously generated answer."),
    )
)
_GIVEN = {
    "file_content": Object((Property("content", ListOf(_ROW), "The items.", required=True),)),
    "file_id": Object(
        (Property("id", Text(min_length=1), "The id of an uploaded file of items.", required=True),)
    ),
}
_LOGGED = (
    Property("metadata", MapOf(Text(max_length=512)), "Filter by these metadata pairs."),
    Property("model", Text(min_length=1), "Filter by model."),
    Property("created_after", Integer(0), "Include only items created after this Unix timestamp."),
    Property(
        "created_before", Integer(0), "Include only items created before this Unix timestamp."
    ),
)
_STORED = Object((*_LOGGED, Property("limit", Integer(1), "The maximum number of items.")))
_INPUT = Tagged(
    {
        "template": Object(
            (Property("template", ListOf(MESSAGE), "The messages.", required=True),)
        ),
        "item_reference": Object(
            (
                Property(
                    "item_reference", Text(), "The path of the messages in the item.", required=True
                ),
            )
        ),
    }
)
_SAMPLING = Object(
    (
        Property("seed", Integer(), "A seed for mostly reproducible answers."),
        Property("top_p", Number(0, 1), "Nucleus sampling probability."),
        Property("temperature", Number(0, 2), "Sampling temperature."),
        Property("max_completion_tokens", Integer(1), "The maximum number of tokens in an answer."),
        Property("reasoning_effort", Text(choices=EFFORTS), "How much reasoning the model does."),
    )
)


def _sampled(name: str, logged: Object) -> Object:
    return Object(
        (
            Property(
                "source",
                Tagged({**_GIVEN, name: logged}),
                "The source of the items.",
                required=True,
            ),
            Property("model", Text(min_length=1), "The model that generates the answers."),
            Property("input_messages", _INPUT, "The messages to send to the model."),
            Property("sampling_params", _SAMPLING, "Sampling settings."),
        )
    )


KIND = Kind(
    name="EvalRun",
    doc="One run of an eval. Changing the source, the model or the eval starts a new run.",
    scope=ScopeType.PROJECT_KEY,
    collection="/evals/{eval_id}/runs",
    natural_key=(),
    parent_sources={"eval_id": ("Eval",)},
    mark="metadata",
    retirement=RETIREMENT,
    destroys="its results are deleted",
    job=Job(
        succeeded=("completed",),
        # Runs of evals spell it with one l; batches and fine-tuning jobs with two.
        failed=("failed", "canceled"),
        results=("result_counts", "per_testing_criteria_results", "report_url"),
        counts="result_counts",
        errors=(("error", "message"),),
    ),
    fields=(
        Field(
            "eval_id",
            Text(min_length=1),
            "The eval.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "data_source",
            Tagged(
                {
                    "jsonl": Object(
                        (
                            Property(
                                "source", Tagged(_GIVEN), "The source of the items.", required=True
                            ),
                        )
                    ),
                    "completions": _sampled("stored_completions", _STORED),
                    "responses": _sampled("responses", Object(_LOGGED)),
                }
            ),
            "What to grade: existing answers, or answers that a model generates.",
            required=True,
            mutability=Mutability.REPLACES,
            readable=Readable.NEVER,
        ),
        Field(
            "name",
            Text(min_length=1),
            "The display name; defaults to the resource's name.",
            defaults_to_name=True,
            # A changed name is no reason to grade everything again.
            mutability=Mutability.FIXED,
        ),
        job_metadata(),
        *WAITING,
    ),
    example="""\
kind: EvalRun
metadata:
  name: politeness-today
spec:
  eval_id: ${Eval/politeness}
  data_source:
    type: jsonl
    source:
      type: file_content
      content:
        - {item: {question: How are you?, answer: Fine}, sample: {output_text: Fine}}
""",
)
