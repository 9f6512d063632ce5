"""Expanded manifests: resources and rules as documents again, after modules, `for_each` and variables.

The documents declare the same as the manifests that they come from, so they can be compared before
and after a change, searched, or given to other tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.export.yaml_text import Raw, comment, document
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
    origin = "".join(f"{line}\n" for line in comment(str(declared.location or "")))
    return origin + document(_document(declared, _escaped))


def expanded_json(declared: Resource | Rule) -> dict[str, Any]:
    """One document as JSON. Strings hold expressions as manifests do, so `${` is `$${`."""
    return _document(declared, lambda text: text.replace("${", "$${"))


def _escaped(text: str) -> str:
    return text  # the YAML writer escapes plain texts


def _document(declared: Resource | Rule, plain: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "kind": declared.kind.name,
        "metadata": _metadata(declared.address),
        "spec": {name: _written(value, plain) for name, value in declared.spec.items()},
    }
    lifecycle = _lifecycle(declared.lifecycle) if isinstance(declared, Resource) else {}
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


def _written(value: Any, plain: Any) -> Any:
    """A value as a manifest says it."""
    match value:
        case str():
            return plain(value)
        case Reference() | Unknown():
            return _expression(value, plain)
        case Template(parts):
            return _template(parts, plain)
        case LocalFile(path):
            return plain(path)
        case FileSet(members):
            return [_member(member, plain) for member in members]
        case SecretValue(source):
            where, _, name = source.partition(" ")
            return {f"from_{where}": name}
        case _ if isinstance(value, MAP):
            return {key: _written(part, plain) for key, part in value.items()}
        case list() | tuple():
            return [_written(part, plain) for part in value]
    return value


def _expression(value: Reference | Unknown, plain: Any) -> Any:
    text = str(value) if isinstance(value, Reference) else value.source
    return Raw(text) if plain is _escaped else text


def _template(parts: tuple[str | Reference, ...], plain: Any) -> Any:
    text = "".join(
        part.replace("${", "$${") if isinstance(part, str) else str(part) for part in parts
    )
    return Raw(text) if plain is _escaped else text


def _member(member: Member, plain: Any) -> Mapping[str, Any]:
    item: dict[str, Any] = {}
    if member.content is not None:
        item["path"] = plain(member.content.path)
    else:
        item["file_id"] = _written(member.file_id, plain)
    for name in ("attributes", "chunking_strategy"):
        value = getattr(member, name)
        if value is not None:
            item[name] = _written(value, plain)
    return item
