"""Fine-tuning jobs: train a model with your own examples.

A job runs once for its inputs, takes minutes to hours, and costs money. Its model outlives the
declaration unless `lifecycle.on_remove: delete` is set.
"""

from __future__ import annotations

from reconciler.kinds.graders import FINE_TUNING_GRADER
from reconciler.kinds.parts import WAITING, job_metadata
from reconciler.model.job import Job
from reconciler.model.kind import Field, Kind, Mutability, OnRemove, Readable, Removal, ScopeType
from reconciler.model.types import (
    Either,
    Integer,
    ListOf,
    Number,
    Object,
    Property,
    Tagged,
    Text,
    Type,
)
from reconciler.model.values import Spec


def _input(name: str, type: Type, doc: str, *, shown: bool = False, **rest: object) -> Field:
    readable = Readable.ALWAYS if shown else Readable.NEVER
    return Field(name, type, doc, mutability=Mutability.REPLACES, readable=readable, **rest)  # type: ignore[arg-type]


def _auto_or(type: Type) -> Either:
    return Either(Text(choices=("auto",)), type)


def _method(*more: Property, grader: tuple[Property, ...] = ()) -> Object:
    common = (
        Property("n_epochs", _auto_or(Integer(1, 50)), "The number of passes over the examples."),
        Property("batch_size", _auto_or(Integer(1, 256)), "The number of examples per step."),
        Property(
            "learning_rate_multiplier", _auto_or(Number(0)), "A multiplier for the learning rate."
        ),
    )
    return Object(
        (*grader, Property("hyperparameters", Object((*common, *more)), "Hyperparameters."))
    )


_METHODS = {
    "supervised": _method(),
    "dpo": _method(
        Property(
            "beta",
            _auto_or(Number(0, 2)),
            "The weight of the penalty for deviating from the base model.",
        )
    ),
    "reinforcement": _method(
        Property(
            "reasoning_effort",
            Text(choices=("default", "low", "medium", "high")),
            "How much reasoning the model does.",
        ),
        Property(
            "compute_multiplier",
            _auto_or(Number(0.00001, 10)),
            "A multiplier for the compute spent on exploration.",
        ),
        Property("eval_interval", _auto_or(Integer(1)), "The number of steps between evaluations."),
        Property("eval_samples", _auto_or(Integer(1)), "The number of samples per evaluation."),
        grader=(
            Property(
                "grader", FINE_TUNING_GRADER, "The grader that scores answers.", required=True
            ),
        ),
    ),
}
_WANDB = Object(
    (
        Property("project", Text(min_length=1), "The Weights & Biases project.", required=True),
        Property("name", Text(min_length=1), "The display name of the run."),
        Property("entity", Text(min_length=1), "The team or user that owns the run."),
        Property("tags", ListOf(Text()), "Tags for the run."),
    )
)


def _as_sent(spec: Spec) -> Spec:
    """Answers show the suffix under another name."""
    if "user_provided_suffix" not in spec:
        return spec
    sent = {name: value for name, value in spec.items() if name != "user_provided_suffix"}
    return {"suffix": spec["user_provided_suffix"], **sent}


KIND = Kind(
    name="FineTuningJob",
    doc="Trains a model with your own examples. Changing any input trains another model.",
    scope=ScopeType.PROJECT_KEY,
    collection="/fine_tuning/jobs",
    # Equal jobs train different models. After an interrupted run, the digest of the inputs in the
    # metadata finds the job.
    natural_key=(),
    from_answer=_as_sent,
    mark="metadata",
    # The API deletes no jobs: a running one is stopped, and its model is a product of its own.
    removal=Removal.CANCEL,
    # The model took hours and money to train, and undeclared programs may call it.
    on_remove=OnRemove.RETAIN,
    job=Job(
        succeeded=("succeeded",),
        failed=("failed", "cancelled"),
        results=("fine_tuned_model", "result_files", "trained_tokens", "finished_at"),
        events="{collection}/{id}/events",
        # Without an error, `error` is an empty object instead of null.
        errors=(("error", "message"),),
        product="fine_tuned_model",
        remove_product="DELETE /models/{id}",
        destroys="the trained model and the money spent on it are lost",
    ),
    fields=(
        # Answers resolve an alias to a dated name, so the recorded request is compared instead.
        _input(
            "model",
            Text(min_length=1),
            "The base model, or a fine-tuned model to continue from.",
            required=True,
        ),
        _input(
            "training_file",
            Text(min_length=1),
            "The uploaded file of examples, with purpose `fine-tune`. Files are compared by content.",
            required=True,
            shown=True,
        ),
        _input(
            "validation_file",
            Text(min_length=1),
            "An uploaded file of examples for validation.",
            shown=True,
        ),
        _input(
            "suffix", Text(min_length=1, max_length=64), "A suffix for the name of the new model."
        ),
        # Without one the API picks a random seed.
        _input("seed", Integer(0, 2_147_483_647), "A seed for mostly reproducible training."),
        _input(
            "method",
            Tagged(
                {
                    name: Object((Property(name, method, "The settings of the method."),))
                    for name, method in _METHODS.items()
                },
                default={"type": "supervised"},
            ),
            "The training method; supervised if omitted.",
        ),
        _input(
            "integrations",
            ListOf(
                Tagged(
                    {
                        "wandb": Object(
                            (
                                Property(
                                    "wandb", _WANDB, "Weights & Biases settings.", required=True
                                ),
                            )
                        )
                    }
                ),
                max_items=5,
            ),
            "Other services to report progress to.",
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
