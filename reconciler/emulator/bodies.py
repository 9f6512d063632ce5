"""Reading request bodies: JSON, or forms with files."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive

from reconciler.emulator.errors import ErrorAnswer, bad_request
from reconciler.emulator.routing import Form, Upload


async def read_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None if the client disconnected before sending all of it.

    Both the handler and the recorder need it.
    """
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def read_json(headers: Headers, content: bytes) -> Any:
    """Return the decoded body, or None if there is none."""
    if not content.strip():
        return None
    declared = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if declared != "application/json":
        raise bad_request(
            f"Unsupported content type: '{declared}'. This API method only accepts 'application/json' requests.",
            code="unsupported_content_type",
        )
    try:
        return json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise bad_request(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
            "library correctly.)"
        ) from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


async def read_form(headers: Headers, content: bytes) -> Form:
    """Return the fields of a multipart form; only names that end in `[]` may repeat.

    Repeated fields get a number between the brackets.
    """
    declared = headers.get("content-type", "")
    if not declared.lower().startswith("multipart/form-data"):
        raise bad_request(
            f"Unsupported content type: '{declared}'. This API method only accepts 'multipart/form-data' requests.",
            code="unsupported_content_type",
        )

    async def stream() -> AsyncGenerator[bytes, None]:
        yield content
        yield b""

    try:
        parsed = await MultiPartParser(headers, stream()).parse()
    except (MultiPartException, KeyError, ValueError):
        raise bad_request("We could not parse the multipart form of your request.") from None
    try:
        form: Form = {}
        for number, (name, value) in enumerate(parsed.multi_items()):
            name = f"{name[:-1]}{number}]" if name.endswith("[]") else name
            if name in form:
                raise _sent_twice(name)
            form[name] = (
                Upload(value.filename or "", await value.read())
                if isinstance(value, UploadFile)
                else value
            )
        return form
    finally:
        await parsed.close()


def _sent_twice(name: str) -> ErrorAnswer:
    return bad_request(f"Duplicate parameter: '{name}'.", param=name)
