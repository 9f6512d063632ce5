"""Converts form fields, which are all text, into the values of a JSON body."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from reconciler.emulator.errors import bad_request
from reconciler.emulator.routing import Call, Upload
from reconciler.emulator.validation import Check


def from_form(
    call: Call, shape: Check, *, files: Collection[str], typed: Collection[str] = ()
) -> dict[str, Any]:
    """The checked fields of a form; fields in `typed` are numbers or booleans, `name[]` is a list.

    Only fields named in `files` may be files.
    """
    values: dict[str, Any] = {}
    for sent, value in call.form.items():
        name, bracket, _ = sent.partition("[")
        if isinstance(value, Upload) != (name in files):
            what = "a file" if name in files else "no file"
            raise bad_request(
                f"Invalid '{name}': expected {what}.", param=name, code="invalid_type"
            )
        if bracket:
            values.setdefault(name, []).append(value)
        else:
            values[name] = _typed(value) if name in typed and isinstance(value, str) else value
    result: dict[str, Any] = shape(values, "")
    return result


def _typed(value: str) -> Any:
    try:
        return json.loads(value.lower())
    except ValueError:
        return value
