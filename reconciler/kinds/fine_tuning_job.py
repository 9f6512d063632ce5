"""Fine-tuning jobs: a model is trained further with examples of one's own.

A job runs once for its inputs, for minutes or hours and for money. The model that it makes outlives the declaration,
unless `lifecycle.on_remove: delete` says otherwise.
"""

from __future__ import annotations

from reconciler.kinds.graders import FINE_TUNING_GRADER
from reconciler.kinds.parts import WAITING, job_metadata
from reconciler.model.job import Job
from reconciler.model.kind import Field, Kind, Mutability, OnRemove, Readable, Removal, ScopeType
from reconciler.model.types import Either, Integer, ListOf, Number, Object, Property, Tagged, Text, Type


def _input(name: str, type: Type, doc: str, *, shown: bool = False, **rest: object) -> Field:
    readable = Readable.ALWAYS if shown else Readable.NEVER
    return Field(name, type, doc, mutability=Mutability.REPLACES, readable=readable, **rest)  # type: ignore[arg-type]


def _auto_or(type: Type) -> Either:
    return Either(Text(choices=("auto",)), type)


def _method(*more: Property, grader: tuple[Property, ...] = ()) -> Object:
    common = (
        Property("n_epochs", _auto_or(Integer(1, 50)), "How often all examples are gone through."),
        Property("batch_size", _auto_or(Integer(1, 256)), "Examples in one step."),
        Property("learning_rate_multiplier", _auto_or(Number(0)), "How strongly a step changes the model."),
    )
    return Object((*grader, Property("hyperparameters", Object((*common, *more)), "How it is trained.")))


_METHODS = {
    "supervised": _method(),
    "dpo": _method(Property("beta", _auto_or(Number(0, 2)), "How much of the old model is kept.")),
    "reinforcement": _method(
        Property("reasoning_effort", Text(choices=("default", "low", "medium", "high")), "How much it thinks."),
        Property("compute_multiplier", _auto_or(Number(0.00001, 10)), "How much it explores."),
        Property("eval_interval", _auto_or(Integer(1)), "Steps between evaluations."),
        Property("eval_samples", _auto_or(Integer(1)), "Samples of an evaluation."),
        grader=(Property("grader", FINE_TUNING_GRADER, "What a good answer is.", required=True),),
    ),
}
_WANDB = Object(
    (
        Property("project", Text(min_length=1), "The project there.", required=True),
        Property("name", Text(min_length=1), "The name of the run there."),
        Property("entity", Text(min_length=1), "The team or user there."),
        Property("tags", ListOf(Text()), "Tags of the run there."),
    )
)

KIND = Kind(
    name="FineTuningJob",
    doc="The training of a model with one's own examples. Any changed input trains another model.",
    scope=ScopeType.PROJECT_KEY,
    collection="/fine_tuning/jobs",
    natural_key=(),
    mark="metadata",
    removal=Removal.CANCEL,
    on_remove=OnRemove.RETAIN,
    job=Job(
        succeeded=("succeeded",),
        failed=("failed", "cancelled"),
        results=("fine_tuned_model", "result_files", "trained_tokens", "finished_at"),
        events="{collection}/{id}/events",
        errors=(("error", "message"),),
        product="fine_tuned_model",
        remove_product="DELETE /models/{id}",
        destroys="the model that it made, and what was paid for it",
    ),
    fields=(
        _input(
            "model", Text(min_length=1), "The model to begin with, or a fine-tuned one to go on with.", required=True
        ),
        _input(
            "training_file",
            Text(min_length=1),
            "The uploaded file of examples, of purpose `fine-tune`. What counts is what is in it.",
            required=True,
            shown=True,
        ),
        _input("validation_file", Text(min_length=1), "The same, to measure how good it has become.", shown=True),
        _input("suffix", Text(min_length=1, max_length=64), "A part of the new model's name."),
        _input("seed", Integer(0, 2_147_483_647), "The same seed gives about the same model."),
        _input(
            "method",
            Tagged(
                {name: Object((Property(name, method, "The settings."),)) for name, method in _METHODS.items()},
                default={"type": "supervised"},
            ),
            "How it is trained; left out, supervised.",
        ),
        _input(
            "integrations",
            ListOf(
                Tagged({"wandb": Object((Property("wandb", _WANDB, "Where it reports.", required=True),))}), max_items=5
            ),
            "Where else its progress is reported.",
            default=[],
        ),
        job_metadata(),
        *WAITING,
    ),
    example="""\
kind: FineTuningJob
metadata:
  name: tone
spec:
  model: gpt-4.1-mini
  training_file: ${File/examples}
  suffix: tone
  seed: 7
  method: {type: supervised, supervised: {hyperparameters: {n_epochs: 2}}}
---
kind: File
metadata:
  name: examples
spec:
  path: data/examples.jsonl
  purpose: fine-tune
""",
)
