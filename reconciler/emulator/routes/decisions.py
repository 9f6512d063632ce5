"""Decisions: questions about an input, answered with probabilities.

A predicate is likely if the input shares a word of four or more letters with its instructions. Of
choices and levels, the first one that the input mentions is taken, otherwise the first.
"""

from __future__ import annotations

import re
from typing import Any

from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.speaking import tokens, usable
from reconciler.emulator.validation import (
    anything,
    choice,
    fields,
    listed,
    mapping,
    nullable,
    tagged,
    text,
    wrong_type,
)

_LIKELY, _UNLIKELY = 0.9, 0.1


def _words(value: Any, place: str) -> str:
    """The text of an input or instructions, in any of their forms."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array")
    items = [mapping(item, f"{place}[{index}]") for index, item in enumerate(value)]
    return " ".join(str(item.get("text", item.get("content", ""))) for item in items)


_QUESTION = {"type": anything, "instructions": _words}
_NAMED = {"name": text()}
_DESCRIBED = {"description": text()}
_CHOICE = fields({"value": anything}, _DESCRIBED)
_LEVEL = fields({"label": text(minimum=1)}, _DESCRIBED)
_QUESTIONS = tagged(
    {
        "predicate": fields(_QUESTION, _NAMED),
        "choice": fields({**_QUESTION, "choices": listed(_CHOICE, minimum=2)}, _NAMED),
        "score": fields({**_QUESTION, "levels": listed(_LEVEL, minimum=2)}, _NAMED),
    }
)
_CACHE = fields({}, {"mode": nullable(choice("implicit", "explicit")), "ttl": choice("30m")})
_BODY = fields(
    {"model": text(), "input": _words, "questions": listed(_QUESTIONS, minimum=1)},
    {
        "prompt_cache_key": nullable(text()),
        "prompt_cache_options": nullable(_CACHE),
        "safety_identifier": nullable(text()),
    },
)


def create_decision(call: Call) -> dict[str, Any]:
    sent = call.json(_BODY)
    model = usable(call, sent["model"], "chat")
    said = sent["input"]
    read = tokens(said, *(question["instructions"] for question in sent["questions"]))
    return {
        "model": model,
        "answers": [_answer(question, said.lower()) for question in sent["questions"]],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": len(sent["questions"]),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + len(sent["questions"]),
        },
    }


def _answer(question: dict[str, Any], said: str) -> dict[str, Any]:
    head = {"type": question["type"], "name": question.get("name")}
    if question["type"] == "predicate":
        named = any(
            word in said for word in re.findall(r"\w{4,}", question["instructions"].lower())
        )
        return {**head, "probability": _LIKELY if named else _UNLIKELY}
    if question["type"] == "choice":
        values = [choice["value"] for choice in question["choices"]]
        taken = next((value for value in values if str(value).lower() in said), values[0])
        shares = [
            {"value": value, "probability": _share(value == taken, len(values))} for value in values
        ]
        return {**head, "choice": taken, "confidence": _LIKELY, "probabilities": shares}
    labels = [level["label"] for level in question["levels"]]
    best = next((at for at, label in enumerate(labels) if label.lower() in said), 0)
    shares = [
        {"label": label, "value": at, "probability": _share(at == best, len(labels))}
        for at, label in enumerate(labels)
    ]
    return {**head, "score": float(best), "confidence": _LIKELY, "probabilities": shares}


def _share(is_taken: bool, number: int) -> float:
    return _LIKELY if is_taken else round((1 - _LIKELY) / (number - 1), 6)


ROUTES = (Route("POST", "/decisions", create_decision, Access.PROJECT),)
