"""Values and changes as plain JSON, in the shapes of Terraform's JSON plans.

Unknown values are omitted from `after` (null inside a list) and marked true in `after_unknown`.
Secrets are replaced by dots and marked true in `before_sensitive` or `after_sensitive`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.model.diagnostic import SourceLocation
from reconciler.model.secret import MASK, Secret
from reconciler.model.values import (
    FileSet,
    LocalFile,
    Member,
    Reference,
    SecretValue,
    Template,
    Unknown,
    encode,
)
from reconciler.render.escape import json_safe
from reconciler.render.values import redacted

_LEFT_OUT: Any = object()
_DEPTH = 2


def document(value: Mapping[str, Any]) -> str:
    """A JSON document with sorted keys, a final newline, and nothing that acts on a terminal.

    The upper levels have a line per key, and their lists a line per element, so a resource is one
    line. That is fast for large plans, and a diff of two documents shows which resources differ.
    """
    return json_safe(_laid_out(value, "")) + "\n"


def document_list(values: Sequence[Mapping[str, Any]]) -> str:
    """A JSON list with a line for each element, otherwise like `document`."""
    if not values:
        return "[]\n"
    return json_safe(_laid_out(list(values), "")) + "\n"


def _laid_out(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, Mapping) and value and len(indent) <= 2 * _DEPTH:
        lines = [f"{inner}{_compact(key)}: {_laid_out(value[key], inner)}" for key in sorted(value)]
        # Written by hand, because `json` indents all levels or none.
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(element, Mapping) for element in value):
        lines = [inner + _compact(element) for element in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def digest(value: Any) -> str:
    """SHA-256 of a model or JSON value; equal values have equal digests."""
    canonical = json.dumps(encode(value), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def source_range(location: SourceLocation) -> dict[str, Any]:
    """A place in a file, in the shape of `terraform validate -json`."""
    start = {"line": location.line, "column": location.column}
    return {"filename": location.file, "start": start}


def known(value: Any) -> Any:
    """The known parts of a value as JSON; None if nothing is known."""
    view = _known(value)
    if view is _LEFT_OUT:
        return None
    return view


def unknown(value: Any) -> Any:
    """True for an unknown value, a map or list with marks for parts, or False."""
    return _marks(value, lambda part: isinstance(part, Unknown))


def sensitive(value: Any) -> Any:
    """Like `unknown`, for the secrets that `known` replaces by dots."""
    return _marks(value, _is_secret)


def _known(value: Any) -> Any:
    match value:
        case Unknown():
            return _LEFT_OUT
        case str():
            return redacted(value)
        case float() if not math.isfinite(value):
            # JSON has no infinity, and no NaN.
            return str(value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            pairs = {}
            for key, inner in value.items():
                view = _known(inner)
                if view is not _LEFT_OUT:
                    pairs[redacted(str(key))] = view
            return pairs
        case list() | tuple():
            return list(map(known, value))
    return _known_model(value)


def _known_model(value: Any) -> Any:
    match value:
        case LocalFile(path, sha256, size):
            return {"path": path, "sha256": sha256, "size": size}
        case FileSet(members):
            return list(map(known, members))
        case Member():
            return known(_fields_of(value))
        case Reference() | Template():
            return redacted(str(value))
    # A type that is not listed above is shown as text, after the types that hide something.
    if isinstance(value, Secret | SecretValue):
        return MASK
    return redacted(str(value))


def _fields_of(member: Member) -> dict[str, Any]:
    fields = {"key": member.key}
    for name in ("content", "file_id", "attributes", "chunking_strategy"):
        value = getattr(member, name)
        if value is not None:
            fields[name] = value
    return fields


def _marks(value: Any, marked: Callable[[Any], bool]) -> Any:
    if marked(value):
        return True
    match value:
        case Mapping():
            pairs = {}
            for key, inner in value.items():
                mark = _marks(inner, marked)
                if mark is not False:
                    pairs[redacted(str(key))] = mark
            return pairs
        case list() | tuple():
            return [_marks(inner, marked) for inner in value]
        case FileSet(members):
            return [_marks(_fields_of(member), marked) for member in members]
    return False


def _is_secret(value: Any) -> bool:
    if isinstance(value, str):
        return redacted(value) != value
    return isinstance(value, Secret | SecretValue)
