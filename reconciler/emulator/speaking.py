"""Deterministic model output without a model.

Rehearsals need predictable output: text is echoed, required tools are called with minimal arguments
of their schema, and embeddings have the right length and a direction that depends on the words of
the text.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

from reconciler.emulator.errors import ErrorAnswer, bad_request, not_found
from reconciler.emulator.models import BY_ID
from reconciler.emulator.routing import Call

_FAMILIES = (
    ("embedding", ("text-embedding",)),
    ("moderation", ("omni-moderation", "text-moderation")),
    ("image", ("gpt-image", "dall-e", "chatgpt-image")),
    ("video", ("sora",)),
    ("transcription", ("whisper", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")),
    ("speech", ("tts-", "gpt-4o-mini-tts")),
    ("realtime", ("gpt-realtime",)),
    ("completion", ("gpt-3.5-turbo-instruct", "davinci-", "babbage-")),
)
_UNLISTED = (
    "gpt-3.5-turbo-instruct",
    "davinci-002",
    "babbage-002",
    "dall-e-2",
    "dall-e-3",
    "text-moderation-latest",
)
"""Models that endpoints take although the catalogue does not show them."""

_WORD = re.compile(r"\w+|[^\w\s]")


def usable(call: Call, model: str, *families: str) -> str:
    """Return the model, or refuse one that is unknown, not allowed in the project, or of another type."""
    is_own = model.startswith("ft:")
    if not is_own and model not in BY_ID and model not in _UNLISTED:
        raise not_found(
            f"The model `{model}` does not exist or you do not have access to it.",
            code="model_not_found",
        )
    permissions = call.store.get("model_permissions", call.project_id, "model_permissions")
    if permissions is not None:
        listed = model in permissions.body["model_ids"]
        if listed != (permissions.body["mode"] == "allow_list"):
            raise ErrorAnswer(
                403,
                f"Project `{call.project_id}` does not have access to model `{model}`",
                code="model_not_found",
            )
    if family_of(model) not in families:
        raise bad_request(f"The model `{model}` cannot be used with this endpoint.", param="model")
    return model


def family_of(model: str) -> str:
    """The type of a model; chat unless its name says otherwise."""
    return next((name for name, starts in _FAMILIES if model.startswith(starts)), "chat")


def no_stream(sent: dict[str, Any]) -> dict[str, Any]:
    """Return the body, or refuse streaming, which the emulator does not support."""
    if sent.get("stream"):
        raise bad_request("The emulator does not stream.", param="stream", code="unsupported_value")
    return sent


def tokens(*texts: str) -> int:
    """The number of tokens of texts; here, words and punctuation."""
    return sum(len(_WORD.findall(text)) for text in texts)


def shortened(text: str, most: int | None) -> tuple[str, bool]:
    """The first tokens of a text, and whether it was truncated."""
    if most is None or tokens(text) <= most:
        return text, False
    ends = [found.end() for found in _WORD.finditer(text)]
    return text[: ends[most - 1]] if most else "", True


def answer_to(said: str, schema: dict[str, Any] | None = None, *, as_json: bool = False) -> str:
    """The output: the echoed words, or JSON that satisfies the given schema."""
    words = f"You said: {said}" if said else "Hello."
    if schema is None and not as_json:
        return words
    return json.dumps(example_of(schema or {"type": "object", "properties": {"answer": {}}}, words))


def example_of(schema: dict[str, Any], words: str = "") -> Any:
    """A minimal value that satisfies a schema, with `words` for its strings."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for name in ("anyOf", "oneOf"):
        if schema.get(name):
            return example_of(schema[name][0], words)
    kind = schema.get("type", "string" if "properties" not in schema else "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {
            name: example_of(part, words) for name, part in (schema.get("properties") or {}).items()
        }
    if kind == "array":
        return [
            example_of(schema.get("items") or {}, words) for _ in range(schema.get("minItems", 0))
        ]
    if kind in ("number", "integer"):
        return schema.get("minimum", 0)
    return {"boolean": False, "null": None}.get(kind, words)


def vector(text: str, size: int) -> list[float]:
    """A unit vector; texts that share words have similar directions."""
    total = [0.0] * size
    for word in _WORD.findall(text.lower()) or [""]:
        digest = hashlib.sha256(word.encode()).digest()
        for at in range(0, 32, 4):
            place = int.from_bytes(digest[at : at + 3], "big") % size
            total[place] += 1.0 if digest[at + 3] & 1 else -1.0
    length = math.sqrt(sum(value * value for value in total)) or 1.0
    return [round(value / length, 8) for value in total]
