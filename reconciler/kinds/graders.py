"""Graders: how evals and reinforcement fine-tuning score an answer."""

from __future__ import annotations

from reconciler.kinds.parts import EFFORTS
from reconciler.model.types import (
    Either,
    Integer,
    ListOf,
    MapOf,
    Number,
    Object,
    Property,
    Tagged,
    Text,
)

METRICS = (
    "cosine", "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
)  # fmt: skip
ROLES = ("user", "assistant", "system", "developer")

_TEXT = Object((Property("text", Text(multiline=True), "The text.", required=True),))
_AUDIO = Object(
    (
        Property("data", Text(min_length=1), "The base64-encoded audio.", required=True),
        Property("format", Text(choices=("mp3", "wav")), "The audio format.", required=True),
    )
)
_PART = Tagged(
    {
        "input_text": _TEXT,
        "output_text": _TEXT,
        "input_image": Object(
            (
                Property("image_url", Text(min_length=1), "The URL of the image.", required=True),
                Property(
                    "detail",
                    Text(choices=("auto", "low", "high")),
                    "The level of detail at which the model sees the image.",
                ),
            )
        ),
        "input_audio": Object((Property("input_audio", _AUDIO, "The audio.", required=True),)),
    }
)
_CONTENT = Either(Text(multiline=True), ListOf(Either(Text(multiline=True), _PART), min_items=1))
MESSAGE = Object(
    (
        Property("role", Text(choices=ROLES), "The author of the message.", required=True),
        Property(
            "content",
            _CONTENT,
            "The content: a string or a list of parts. `{{item.x}}` inserts a field of the item.",
            required=True,
        ),
    )
)

_NAME = Property("name", Text(min_length=1), "The name of the grader.", required=True)
_TEXTS = (
    Property(
        "input", Text(), "The text to grade, for example `{{sample.output_text}}`.", required=True
    ),
    Property(
        "reference",
        Text(),
        "The text to compare it with, for example `{{item.answer}}`.",
        required=True,
    ),
)
_MODEL = Property("model", Text(min_length=1), "The model that grades.", required=True)
_INPUT = Property("input", ListOf(MESSAGE), "The messages to send to the model.", required=True)
_SAMPLING = Object(
    (
        Property("seed", Integer(), "A seed for mostly reproducible grades."),
        Property("top_p", Number(0, 1), "Nucleus sampling probability."),
        Property("temperature", Number(0, 2), "Sampling temperature."),
        Property(
            "max_completions_tokens", Integer(1), "The maximum number of tokens in an answer."
        ),
        Property("reasoning_effort", Text(choices=EFFORTS), "How much reasoning the model does."),
    )
)


def _threshold(*, of_eval: bool, required: bool = False) -> tuple[Property, ...]:
    number = Number(-1_000_000, 1_000_000)
    if of_eval:
        return (
            Property("pass_threshold", number, "The minimum score to pass.", required=required),
        )
    return ()


def _variants(*, of_eval: bool) -> dict[str, Object]:
    similar = Property(
        "evaluation_metric",
        Text(choices=METRICS, open_choices=True),
        "The similarity metric.",
        required=True,
    )
    span = ListOf(Number(-1_000_000, 1_000_000), min_items=2, max_items=2)
    return {
        "string_check": Object(
            (
                _NAME,
                *_TEXTS,
                Property(
                    "operation",
                    Text(choices=("eq", "ne", "like", "ilike")),
                    "The comparison operator.",
                    required=True,
                ),
            )
        ),
        "text_similarity": Object(
            (_NAME, *_TEXTS, similar, *_threshold(of_eval=of_eval, required=True))
        ),
        "python": Object(
            (
                _NAME,
                Property(
                    "source",
                    Text(min_length=1, multiline=True),
                    "A Python program that defines a function `grade`.",
                    required=True,
                ),
                Property("image_tag", Text(), "The tag of the image that the program runs in."),
                *_threshold(of_eval=of_eval),
            )
        ),
        "score_model": Object(
            (
                _NAME,
                _MODEL,
                _INPUT,
                Property("sampling_params", _SAMPLING, "Sampling settings."),
                Property("range", span, "The range of the score: lowest and highest."),
                *_threshold(of_eval=of_eval),
            )
        ),
    }


_LABEL_MODEL = Object(
    (
        _NAME,
        _MODEL,
        _INPUT,
        Property(
            "labels",
            ListOf(Text(), min_items=1),
            "The labels that the model may assign.",
            required=True,
        ),
        Property(
            "passing_labels",
            ListOf(Text(), min_items=1),
            "The labels that count as a pass.",
            required=True,
        ),
    )
)

CRITERION = Tagged({**_variants(of_eval=True), "label_model": _LABEL_MODEL})
"""A testing criterion of an eval."""

_PLAIN = Tagged({**_variants(of_eval=False), "label_model": _LABEL_MODEL})
FINE_TUNING_GRADER = Tagged(
    {
        **_variants(of_eval=False),
        "multi": Object(
            (
                _NAME,
                Property("graders", MapOf(_PLAIN), "The graders by name.", required=True),
                Property(
                    "calculate_output",
                    Text(min_length=1),
                    "A formula over the names of the graders.",
                    required=True,
                ),
            )
        ),
    }
)
"""A grader of a fine-tuning job."""
