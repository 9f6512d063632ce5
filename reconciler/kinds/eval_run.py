"""Runs of evals: samples are made or taken, judged by the criteria of the eval, and counted.

A run is a job: it runs once for its inputs. Former runs stay beside it, so that results can be compared.
"""

from __future__ import annotations

from reconciler.kinds.eval import RETIREMENT
from reconciler.kinds.graders import MESSAGE
from reconciler.kinds.parts import EFFORTS, WAITING, job_metadata
from reconciler.model.job import Job
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Integer, Json, ListOf, MapOf, Number, Object, Property, Tagged, Text

_ROW = Object(
    (
        Property("item", Json(), "The item.", required=True),
        Property("sample", Json(), "An answer that was given before."),
    )
)
_GIVEN = {
    "file_content": Object((Property("content", ListOf(_ROW), "The items.", required=True),)),
    "file_id": Object((Property("id", Text(min_length=1), "An uploaded file of items.", required=True),)),
}
_LOGGED = (
    Property("metadata", MapOf(Text(max_length=512)), "Only what has these pairs."),
    Property("model", Text(min_length=1), "Only what this model said."),
    Property("created_after", Integer(0), "Only later ones (unix seconds)."),
    Property("created_before", Integer(0), "Only earlier ones (unix seconds)."),
)
_STORED = Object((*_LOGGED, Property("limit", Integer(1), "At most so many.")))
_INPUT = Tagged(
    {
        "template": Object((Property("template", ListOf(MESSAGE), "The messages.", required=True),)),
        "item_reference": Object((Property("item_reference", Text(), "Where in the item they are.", required=True),)),
    }
)
_SAMPLING = Object(
    (
        Property("seed", Integer(), "The same seed gives about the same answers."),
        Property("top_p", Number(0, 1), "Nucleus sampling."),
        Property("temperature", Number(0, 2), "Sampling temperature."),
        Property("max_completion_tokens", Integer(1), "The most tokens of an answer."),
        Property("reasoning_effort", Text(choices=EFFORTS), "How much it thinks."),
    )
)


def _sampled(name: str, logged: Object) -> Object:
    return Object(
        (
            Property("source", Tagged({**_GIVEN, name: logged}), "Where the items come from.", required=True),
            Property("model", Text(min_length=1), "The model that answers."),
            Property("input_messages", _INPUT, "What it is asked."),
            Property("sampling_params", _SAMPLING, "How it answers."),
        )
    )


KIND = Kind(
    name="EvalRun",
    doc="One measurement of an eval. A changed source, model or eval measures anew.",
    scope=ScopeType.PROJECT_KEY,
    collection="/evals/{eval_id}/runs",
    natural_key=(),
    mark="metadata",
    retirement=RETIREMENT,
    destroys="its results are deleted",
    job=Job(
        succeeded=("completed",),
        failed=("failed", "canceled"),
        results=("result_counts", "per_testing_criteria_results", "report_url"),
        counts="result_counts",
        errors=(("error", "message"),),
    ),
    fields=(
        Field("eval_id", Text(min_length=1), "The eval.", required=True, mutability=Mutability.REPLACES),
        Field(
            "data_source",
            Tagged(
                {
                    "jsonl": Object((Property("source", Tagged(_GIVEN), "Where the items come from.", required=True),)),
                    "completions": _sampled("stored_completions", _STORED),
                    "responses": _sampled("responses", Object(_LOGGED)),
                }
            ),
            "What is measured: given answers, or those of a model that is asked.",
            required=True,
            mutability=Mutability.REPLACES,
            readable=Readable.NEVER,
        ),
        Field(
            "name",
            Text(min_length=1),
            "The name people see. Left out, that of the resource.",
            defaults_to_name=True,
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
