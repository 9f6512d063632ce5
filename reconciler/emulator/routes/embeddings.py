"""Embeddings: vectors of the right size for the model, computed from the words of the text."""

from __future__ import annotations

import base64
import struct
from typing import Any

from reconciler.emulator.errors import bad_request
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.speaking import tokens, usable, vector
from reconciler.emulator.validation import choice, fields, integer, listed, text, wrong_type

_SIZES = {"text-embedding-3-large": 3072}
_USUAL_SIZE = 1536


def _input(value: Any, place: str) -> list[str]:
    """The input as texts; token lists are accepted too."""
    if isinstance(value, str):
        return [text(minimum=1)(value, place)]
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array")
    if value and all(isinstance(item, int) for item in value):
        return [" ".join(map(str, value))]
    if value and all(isinstance(item, list) for item in value):
        numbers = listed(listed(integer(), minimum=1), minimum=1, maximum=2048)(value, place)
        return [" ".join(map(str, item)) for item in numbers]
    found: list[str] = listed(text(minimum=1), minimum=1, maximum=2048)(value, place)
    return found


_BODY = fields(
    {"input": _input, "model": text()},
    {
        "encoding_format": choice("float", "base64"),
        "dimensions": integer(minimum=1),
        "user": text(),
    },
)


def create_embedding(call: Call) -> dict[str, Any]:
    sent = call.json(_BODY)
    model = usable(call, sent["model"], "embedding")
    size = _size(model, sent.get("dimensions"))
    as_text = sent.get("encoding_format") == "base64"
    vectors = [vector(text, size) for text in sent["input"]]
    count = tokens(*sent["input"])
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(one) if as_text else one}
            for index, one in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def _size(model: str, wanted: int | None) -> int:
    size = _SIZES.get(model, _USUAL_SIZE)
    if wanted is None:
        return size
    if model == "text-embedding-ada-002":
        raise bad_request("This model does not support specifying dimensions.", param="dimensions")
    if wanted > size:
        raise bad_request(
            f"Invalid 'dimensions': at most {size} for this model.", param="dimensions"
        )
    return wanted


def _packed(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


ROUTES = (Route("POST", "/embeddings", create_embedding, Access.PROJECT),)
