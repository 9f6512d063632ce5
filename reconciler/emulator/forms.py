"""Fields of forms, which all travel as text, into the values that a JSON body would have."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from reconciler.emulator.errors import bad_request
from reconciler.emulator.routing import Call, Upload
from reconciler.emulator.validation import Check


def from_form(call: Call, shape: Check, *, files: Collection[str], typed: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a form, checked; those of `typed` are numbers and booleans, and `name[]` is a list.

    A field is a file if `files` has its name, and only then.
    """
    values: dict[str, Any] = {}
    for sent, value in call.form.items():
        name, bracket, _ = sent.partition("[")
        if isinstance(value, Upload) != (name in files):
            what = "a file" if name in files else "no file"
            raise bad_request(f"Invalid '{name}': expected {what}.", param=name, code="invalid_type")
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
