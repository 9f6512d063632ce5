"""Images: one white pixel for every prompt."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from reconciler.emulator.errors import bad_request
from reconciler.emulator.forms import from_form
from reconciler.emulator.routing import Access, Call, Route, Upload
from reconciler.emulator.speaking import no_stream, tokens, usable
from reconciler.emulator.validation import (
    Check,
    anything,
    boolean,
    choice,
    fields,
    integer,
    nullable,
    text,
)

_SIZES = (
    "auto",
    "1024x1024",
    "1536x1024",
    "1024x1536",
    "256x256",
    "512x512",
    "1792x1024",
    "1024x1792",
)
_SHARED: dict[str, Check] = {
    "model": nullable(text()),
    "n": nullable(integer(1, 10)),
    "response_format": nullable(choice("url", "b64_json")),
    "size": nullable(choice(*_SIZES)),
    "user": text(),
}
_DRAWN: dict[str, Check] = {
    **_SHARED,
    "background": nullable(choice("transparent", "opaque", "auto")),
    "output_compression": nullable(integer(0, 100)),
    "output_format": nullable(choice("png", "jpeg", "webp")),
    "partial_images": nullable(integer(0, 3)),
    "quality": nullable(choice("standard", "hd", "low", "medium", "high", "auto")),
    "stream": nullable(boolean()),
}
_PROMPT = {"prompt": text(minimum=1, maximum=32_000)}
_GENERATE = fields(
    _PROMPT,
    {
        **_DRAWN,
        "moderation": nullable(choice("low", "auto")),
        "style": nullable(choice("vivid", "natural")),
    },
)
_EDIT = fields(
    {**_PROMPT, "image": anything},
    {**_DRAWN, "mask": anything, "input_fidelity": nullable(choice("high", "low"))},
)
_VARY = fields({"image": anything}, _SHARED)
_NUMBERS = ("n", "output_compression", "partial_images", "stream")


def create_image(call: Call) -> dict[str, Any]:
    return _drawn(call, no_stream(call.json(_GENERATE)), "dall-e-2")


def create_image_edit(call: Call) -> dict[str, Any]:
    sent = no_stream(from_form(call, _EDIT, files=("image", "mask"), typed=_NUMBERS))
    return _drawn(call, _with_images(sent), "gpt-image-1.5")


def create_image_variation(call: Call) -> dict[str, Any]:
    sent = from_form(call, _VARY, files=("image",), typed=_NUMBERS)
    if sent.get("model") not in (None, "dall-e-2"):
        raise bad_request("Only dall-e-2 makes variations.", param="model")
    return _drawn(call, _with_images(sent), "dall-e-2")


def _with_images(sent: dict[str, Any]) -> dict[str, Any]:
    images: list[Upload] = sent["image"] if isinstance(sent["image"], list) else [sent["image"]]
    if any(not image.content for image in images):
        raise bad_request("Invalid image file: it is empty.", param="image")
    return sent


def _drawn(call: Call, sent: dict[str, Any], usual: str) -> dict[str, Any]:
    model = usable(call, sent.get("model") or usual, "image")
    is_old = model.startswith("dall-e")
    if not is_old and sent.get("response_format"):
        raise bad_request(
            "Unknown parameter: 'response_format'.",
            param="response_format",
            code="unknown_parameter",
        )
    as_link = is_old and sent.get("response_format") != "b64_json"
    picture = (
        {"url": "https://images.invalid/dot.png"}
        if as_link
        else {"b64_json": base64.b64encode(_dot()).decode()}
    )
    answer: dict[str, Any] = {
        "created": call.now,
        "data": [dict(picture) for _ in range(sent.get("n") or 1)],
    }
    if is_old:
        return answer
    read = tokens(sent.get("prompt") or "")
    size = sent.get("size")
    return {
        **answer,
        "background": "transparent" if sent.get("background") == "transparent" else "opaque",
        "output_format": sent.get("output_format") or "png",
        "quality": sent["quality"] if sent.get("quality") in ("low", "medium", "high") else "low",
        "size": size if size in ("1536x1024", "1024x1536") else "1024x1024",
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"text_tokens": read, "image_tokens": 0},
            "output_tokens": 1,
            "total_tokens": read + 1,
        },
    }


def _dot() -> bytes:
    """The smallest valid image: one white pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    dot = zlib.compress(b"\0\xff\xff\xff")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", dot) + chunk(b"IEND", b"")


ROUTES = (
    Route("POST", "/images/generations", create_image, Access.PROJECT),
    Route("POST", "/images/edits", create_image_edit, Access.PROJECT, takes_form=True),
    Route("POST", "/images/variations", create_image_variation, Access.PROJECT, takes_form=True),
)
