"""Expanded manifests: resources and rules as documents again, after modules, `for_each` and variables.

The documents declare the same as the manifests that they come from, so they can be compared before
and after a change, searched, or given to other tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from reconciler.export.files import expression_of
from reconciler.export.yaml_text import Raw, comment_lines, document, escaped
from reconciler.model.address import Address
from reconciler.model.resource import IGNORE_ALL, Lifecycle, Resource
from reconciler.model.rule import Rule
from reconciler.model.values import (
    MAP,
    FileSet,
    LocalFile,
    Member,
    Reference,
    SecretValue,
    Template,
    Unknown,
)


def expanded_yaml(declared: Resource | Rule) -> str:
    """One document, with its source location as a comment."""
    origin = comment_lines(str(declared.location or ""))
    return origin + document(_document(declared, _YAML))


def expanded_json(declared: Resource | Rule) -> dict[str, Any]:
    """One document as JSON. Strings hold expressions as manifests do, so `${` is `$${`."""
    return _document(declared, _JSON)


class _Notation(Struct, frozen=True):
    """How texts are written, so that expressions differ from plain texts."""

    plain: Callable[[str], Any]
    expression: Callable[[str], Any]


_YAML = _Notation(plain=str, expression=Raw)  # the writer escapes what is not `Raw`
_JSON = _Notation(plain=escaped, expression=str)


def _document(declared: Resource | Rule, notation: _Notation) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "kind": declared.kind.name,
        "metadata": _metadata(declared.address),
        "spec": {name: _written(value, notation) for name, value in declared.spec.items()},
    }
    if isinstance(declared, Resource):
        lifecycle = _lifecycle(declared.lifecycle)
        if lifecycle:
            whole["lifecycle"] = lifecycle
    return whole


def _metadata(address: Address) -> dict[str, str]:
    if address.project is None:
        return {"name": address.name}
    return {"name": address.name, "project": address.project}


def _lifecycle(lifecycle: Lifecycle) -> dict[str, Any]:
    """What differs from a document without `lifecycle`."""
    written: dict[str, Any] = {}
    if lifecycle.prevent_destroy is not None:
        written["prevent_destroy"] = lifecycle.prevent_destroy
    if lifecycle.ignore_changes:
        is_all = lifecycle.ignore_changes == (IGNORE_ALL,)
        written["ignore_changes"] = IGNORE_ALL if is_all else list(lifecycle.ignore_changes)
    if lifecycle.on_remove is not None:
        written["on_remove"] = str(lifecycle.on_remove)
    if lifecycle.adopt is not False:
        written["adopt"] = lifecycle.adopt
    if lifecycle.create_before_destroy is not None:
        written["create_before_destroy"] = lifecycle.create_before_destroy
    if lifecycle.renamed_from is not None:
        written["renamed_from"] = str(lifecycle.renamed_from)
    if lifecycle.strict:
        written["strict"] = True
    return written


def _written(value: Any, notation: _Notation) -> Any:
    """A value as a manifest says it."""
    match value:
        case str():
            return notation.plain(value)
        case Reference() | Template():
            return notation.expression(expression_of(value))
        case Unknown(source):
            return notation.expression(source)
        case LocalFile(path):
            return notation.plain(path)
        case FileSet(members):
            return [_member(member, notation) for member in members]
        case SecretValue(source):
            where, _, name = source.partition(" ")
            return {f"from_{where}": name}
        case _ if isinstance(value, MAP):
            return {key: _written(part, notation) for key, part in value.items()}
        case list() | tuple():
            return [_written(part, notation) for part in value]
    return value


def _member(member: Member, notation: _Notation) -> Mapping[str, Any]:
    entry: dict[str, Any] = {}
    if member.content is not None:
        entry["path"] = notation.plain(member.content.path)
    else:
        entry["file_id"] = _written(member.file_id, notation)
    for name in ("attributes", "chunking_strategy"):
        value = getattr(member, name)
        if value is not None:
            entry[name] = _written(value, notation)
    return entry
