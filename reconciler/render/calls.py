"""The API calls of a declaration, for the pages of kinds and the coverage report.

A call is a pair of an operation (`create`, `list`, …) and `METHOD path`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from reconciler.model.kind import Kind, Removal

_CALL = re.compile(r"(GET|POST|DELETE) [/{]\S*")
_LIST = re.compile(r"(\{collection\}|/[a-z_]+)(/(\{\w+\}|[a-z_]+))*")
# Attributes that `_calls_on` reads by itself.
_ELSEWHERE = ("collection", "calls", "fields")
_USUAL = ("create", "read", "update", "delete")


def calls_of(kind: Kind) -> list[tuple[str, str]]:
    """Every call of a kind on each of its collections, except calls for single fields."""
    calls = []
    for path in kind.collections:
        for word, call in _calls_on(kind, path):
            calls.append(_in_full(kind, word, call))
    return list(dict.fromkeys(calls))


def calls_in(value: Any) -> Iterator[str]:
    """Every `METHOD path` in a declaration, at any depth; a bare path means `GET path`."""
    if isinstance(value, str):
        if _CALL.fullmatch(value):
            yield value
        elif _LIST.fullmatch(value):
            yield f"GET {value}"
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from calls_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from calls_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from calls_in(inner)


def _calls_on(kind: Kind, path: str) -> Iterator[tuple[str, str]]:
    if kind.calls.listable and not kind.calls.singleton:
        yield "list", f"GET {path}"
    for word in _USUAL:
        if _is_made(kind, word):
            yield word, getattr(kind.calls, word).replace("{collection}", path)
    if kind.removal is Removal.ARCHIVE:
        yield "archive", f"POST {path}/{{id}}/archive"
    for name, value in _other_parts(kind):
        for call in calls_in(value):
            yield name, call.replace("{collection}", path)


def _other_parts(kind: Kind) -> Iterator[tuple[str, Any]]:
    """The other parts of a declaration that may name calls: its fields and special attributes."""
    for field in kind.fields:
        yield field.name, field
    # A new attribute of `Kind` is searched without a change here.
    for name in kind.__struct_fields__:
        if name not in _ELSEWHERE:
            yield name, getattr(kind, name)


def _is_made(kind: Kind, word: str) -> bool:
    """Whether a kind needs one of the `_USUAL` calls."""
    if word == "create":
        return not kind.always_exists
    if word == "read":
        return kind.readable_singly or kind.calls.singleton
    if word == "update":
        return any(field.on_update and field.in_body for field in kind.fields)
    return kind.removal is Removal.DELETE


def _in_full(kind: Kind, word: str, call: str) -> tuple[str, str]:
    # Paths are shown with the parameter that the API documents, such as `{vault_id}`.
    return word, call.replace("{id}", f"{{{kind.calls.id_field or 'id'}}}")
