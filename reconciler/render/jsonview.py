"""Values and changes as plain JSON, in the shapes that tools for Terraform plans read.

There, an unknown value is left out of `after` (null inside a list) and marked true in `after_unknown`. A secret is
replaced by dots and marked true in `before_sensitive` or `after_sensitive`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.model.secret import MASK, Secret
from reconciler.model.values import FileSet, LocalFile, Member, Reference, SecretValue, Template, Unknown, encode
from reconciler.render.escape import json_safe
from reconciler.render.values import redacted

_LEFT_OUT: Any = object()
_DEPTH = 2


def document(value: Mapping[str, Any]) -> str:
    """A JSON document: keys sorted, a newline at its end, nothing in it that acts on a terminal.

    The upper levels have a line for each key, and lists there a line for each item: one resource, one line. That is
    quick to write for large plans, and shows in a comparison of two documents which resources differ.
    """
    return json_safe(_laid_out(value, "")) + "\n"


def _laid_out(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, Mapping) and value and len(indent) <= 2 * _DEPTH:
        items = [f"{_compact(key)}: {_laid_out(value[key], inner)}" for key in sorted(value)]
        return "{\n" + ",\n".join(inner + item for item in items) + f"\n{indent}}}"
    if isinstance(value, list) and value and any(isinstance(item, Mapping) for item in value):
        return "[\n" + ",\n".join(inner + _compact(item) for item in value) + f"\n{indent}]"
    return _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def digest(value: Any) -> str:
    """SHA-256 of a value of the model or of JSON, the same for equal values."""
    canonical = json.dumps(encode(value), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def known(value: Any) -> Any:
    """What is known of a value, as JSON; None where nothing is."""
    found = _known(value)
    return None if found is _LEFT_OUT else found


def unknown(value: Any) -> Any:
    """True where a value is unknown, the same map or list with trues below it, else False."""
    return _marks(value, lambda item: isinstance(item, Unknown))


def sensitive(value: Any) -> Any:
    """As `unknown`, for what `known` replaces by dots."""
    return _marks(value, _is_secret)


def _known(value: Any) -> Any:
    match value:
        case Unknown():
            return _LEFT_OUT
        case str():
            return redacted(value)
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            pairs = {redacted(str(key)): _known(item) for key, item in value.items()}
            return {key: item for key, item in pairs.items() if item is not _LEFT_OUT}
        case list() | tuple():
            return [known(item) for item in value]
    return _known_model(value)


def _known_model(value: Any) -> Any:
    match value:
        case LocalFile(path, sha256, size):
            return {"path": path, "sha256": sha256, "size": size}
        case FileSet(members):
            return [known(member) for member in members]
        case Member():
            return known(_fields_of(value))
        case Reference() | Template():
            return redacted(str(value))
    return MASK if isinstance(value, Secret | SecretValue) else redacted(str(value))


def _fields_of(member: Member) -> dict[str, Any]:
    names = ("content", "file_id", "attributes", "chunking_strategy")
    fields = {name: getattr(member, name) for name in names}
    return {"key": member.key, **{name: value for name, value in fields.items() if value is not None}}


def _marks(value: Any, marked: Callable[[Any], bool]) -> Any:
    if marked(value):
        return True
    match value:
        case Mapping():
            pairs = {redacted(str(key)): _marks(item, marked) for key, item in value.items()}
            return {key: item for key, item in pairs.items() if item is not False}
        case list() | tuple():
            return [_marks(item, marked) for item in value]
        case FileSet(members):
            return [_marks(_fields_of(member), marked) for member in members]
    return False


def _is_secret(value: Any) -> bool:
    return isinstance(value, Secret | SecretValue) or (isinstance(value, str) and redacted(value) != value)
