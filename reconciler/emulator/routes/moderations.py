"""Moderations: a text is flagged only for the categories that it mentions, such as `violence`."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.speaking import usable
from reconciler.emulator.validation import anything, fields, tagged, text, wrong_type

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_PART = tagged(
    {
        "text": fields({"type": anything, "text": text()}),
        "image_url": fields({"type": anything, "image_url": fields({"url": text(minimum=1)})}),
    }
)


def _input(value: Any, place: str) -> list[str]:
    """The texts to check; the parts of one input are joined."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array")
    if all(isinstance(item, str) for item in value):
        return value
    parts = [_PART(item, f"{place}[{index}]") for index, item in enumerate(value)]
    return [" ".join(part.get("text", "") for part in parts)]


_BODY = fields({"input": _input}, {"model": text()})


def create_moderation(call: Call) -> dict[str, Any]:
    sent = call.json(_BODY)
    model = usable(call, sent.get("model", "omni-moderation-latest"), "moderation")
    return {
        "id": ids.fresh("moderation"),
        "model": model,
        "results": [_result(item) for item in sent["input"]],
    }


def _result(said: str) -> dict[str, Any]:
    flags = {category: category in said.lower() for category in CATEGORIES}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {
            category: 0.98 if is_so else 0.0001 for category, is_so in flags.items()
        },
        "category_applied_input_types": {category: ["text"] for category in CATEGORIES},
    }


ROUTES = (Route("POST", "/moderations", create_moderation, Access.PROJECT),)
