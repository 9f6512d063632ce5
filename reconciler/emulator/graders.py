"""Graders: strict validation of their declarations, and how each scores a sample.

Text comparisons are real. Graders that would call a model or run a program always pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from reconciler.emulator.validation import (
    Check,
    anything,
    choice,
    fields,
    integer,
    listed,
    nullable,
    number,
    tagged,
    text,
)

METRICS = (
    "cosine",
    "fuzzy_match",
    "bleu",
    "gleu",
    "meteor",
    *(f"rouge_{n}" for n in (1, 2, 3, 4, 5, "l")),
)
_EFFORT = nullable(choice("none", "minimal", "low", "medium", "high", "xhigh", "max"))
_HEAD = {"type": anything, "name": text(minimum=1)}
_AUDIO = fields({"data": text(minimum=1), "format": choice("mp3", "wav")})
_PART = tagged(
    {
        "input_text": fields({"type": anything, "text": text()}),
        "output_text": fields({"type": anything, "text": text()}),
        "input_image": fields({"type": anything, "image_url": text(minimum=1)}, {"detail": text()}),
        "input_audio": fields({"type": anything, "input_audio": _AUDIO}),
    }
)


def _item(value: Any, place: str) -> Any:
    return value if isinstance(value, str) else _PART(value, place)


def _content(value: Any, place: str) -> Any:
    return listed(_item)(value, place) if isinstance(value, list) else _item(value, place)


def content_text(content: Any) -> str:
    """The text of a content, which is a string, a part, or a list of either."""
    if isinstance(content, list):
        return "".join(map(content_text, content))
    return str(content.get("text", "")) if isinstance(content, dict) else str(content)


_MESSAGE = fields(
    {"role": choice("user", "assistant", "system", "developer"), "content": _content},
    {"type": choice("message")},
)
_SAMPLING = fields(
    {},
    {
        "seed": nullable(integer()),
        "top_p": nullable(number(0, 1)),
        "temperature": nullable(number(0, 2)),
        "max_completions_tokens": nullable(integer(1)),
        "reasoning_effort": _EFFORT,
    },
)
_THRESHOLD = {"pass_threshold": number(-1e9, 1e9)}


def _shapes(*, of_eval: bool) -> dict[str, Check]:
    """The graders; those of an eval also have a passing score."""
    threshold = _THRESHOLD if of_eval else {}
    similar = {"input": text(), "reference": text(), "evaluation_metric": choice(*METRICS)}
    scored = {**_HEAD, "model": text(minimum=1), "input": listed(_MESSAGE)}
    return {
        "string_check": fields(
            {
                **_HEAD,
                "input": text(),
                "reference": text(),
                "operation": choice("eq", "ne", "like", "ilike"),
            }
        ),
        "text_similarity": fields({**_HEAD, **similar, **threshold}),
        "python": fields({**_HEAD, "source": text(minimum=1)}, {"image_tag": text(), **threshold}),
        "score_model": fields(
            scored,
            {
                "sampling_params": _SAMPLING,
                "range": listed(number(-1e9, 1e9), minimum=2, maximum=2),
                **threshold,
            },
        ),
    }


def _tagged(shapes: Mapping[str, Check]) -> Check:
    tag = fields({"type": choice(*shapes)})

    def check(value: Any, place: str) -> dict[str, Any]:
        kind = tag(
            {"type": value["type"]} if isinstance(value, dict) and "type" in value else {}, place
        )["type"]
        result: dict[str, Any] = shapes[kind](value, place)
        return result

    return check


_LABELS = {"labels": listed(text(), minimum=1), "passing_labels": listed(text(), minimum=1)}
_LABEL_MODEL = fields({**_HEAD, "model": text(minimum=1), "input": listed(_MESSAGE), **_LABELS})
CRITERION = _tagged({**_shapes(of_eval=True), "label_model": _LABEL_MODEL})
"""A testing criterion of an eval."""

_PLAIN = _tagged({**_shapes(of_eval=False), "label_model": _LABEL_MODEL})


def _graders(value: Any, place: str) -> Any:
    return {name: _PLAIN(item, f"{place}.{name}") for name, item in anything(value, place).items()}


GRADER = _tagged(
    {
        **_shapes(of_eval=False),
        "multi": fields({**_HEAD, "graders": _graders, "calculate_output": text(minimum=1)}),
    }
)
"""A grader of a fine-tuning job."""


def filled(template: str, known: Mapping[str, Any]) -> str:
    """Replace placeholders such as `{{item.answer}}` in a template."""

    def value(match: re.Match[str]) -> str:
        value: Any = known
        for part in match[1].strip().split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value if isinstance(value, str) else json.dumps(value)

    return re.sub(r"\{\{([^}]*)\}\}", value, template)


def score(grader: Mapping[str, Any], known: Mapping[str, Any]) -> float:
    """The score of a sample; 1 is best."""
    if grader["type"] not in ("string_check", "text_similarity"):
        return 1.0
    left, right = filled(grader["input"], known), filled(grader["reference"], known)
    if grader["type"] == "text_similarity":
        return round(SequenceMatcher(None, left, right).ratio(), 6)
    agrees = {
        "eq": left == right,
        "ne": left != right,
        "like": right in left,
        "ilike": right.lower() in left.lower(),
    }
    return 1.0 if agrees[grader["operation"]] else 0.0


def passes(grader: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether a sample passes a criterion."""
    needed = grader.get("pass_threshold", 1.0) if grader["type"] == "text_similarity" else 1.0
    return score(grader, known) >= needed
