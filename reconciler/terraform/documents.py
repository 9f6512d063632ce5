"""The documents of a conversion: resources of one `for_each` become one document with `for_each`.

Values that all instances share are written once, values made of the key use `${each.key}`, and
other values that differ are listed under their keys. Instances that differ in more than values stay
apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from reconciler.export.files import YamlDocument, document_of
from reconciler.export.resource import ExportedResource
from reconciler.export.yaml_text import Raw
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.values import Reference, walk
from reconciler.terraform.conversion import Conversion

_PROJECT = "project"
_Keyed = Sequence[tuple[str, ExportedResource]]


def documents_of(
    conversion: Conversion, kinds: Mapping[str, Kind], *, adopting: Collection[Address] = ()
) -> Iterator[YamlDocument]:
    """The documents of a conversion. Those of `adopting` name their object by its id."""
    groups: dict[tuple[str, str], list[tuple[str, ExportedResource]]] = defaultdict(list)
    for resource in conversion.resources:
        instance = conversion.sources[resource.address]
        kind = kinds[resource.address.kind]
        if resource.address in adopting:
            yield document_of(resource, kind, adopt=True)
        elif isinstance(instance.key, str):
            groups[instance.resource_address, kind.name].append((instance.key, resource))
        else:
            yield document_of(resource, kind)
    for (_, name), members in groups.items():
        folded = _folded(members, kinds[name])
        if folded is not None:
            yield folded
        else:
            yield from (document_of(resource, kinds[name]) for _, resource in members)


def _folded(members: _Keyed, kind: Kind) -> YamlDocument | None:
    """One document for several resources; None if it would not declare the same."""
    keys = [key for key, _ in members]
    resources = [resource for _, resource in members]
    first = resources[0]
    # One instance needs no `for_each`, and a map cannot have a key twice.
    if len(set(keys)) < max(2, len(keys)):
        return None
    if not _are_equal([resource.spec.keys() for resource in resources]):
        return None
    name = _pattern(keys, [resource.address.name for resource in resources])
    if name is None:
        return None
    values: dict[str, dict[str, Any]] = {key: {} for key in keys}
    project = _shared(keys, [resource.address.project for resource in resources], _PROJECT, values)
    spec = {}
    for field in first.spec:
        each = [resource.spec[field] for resource in resources]
        # The values of `for_each` are written as plain data, which a reference is not.
        if not _are_equal(each) and _has_references(each):
            return None
        spec[field] = _shared(keys, each, field, values)
    comments = _comments(members, spec)
    if comments is None:
        return None
    return YamlDocument(
        kind,
        name,
        project,
        spec,
        for_each=values if any(values.values()) else keys,
        comments=comments,
        project_folder=None if isinstance(project, Raw) else first.address.project,
    )


def _are_equal(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _shared(
    keys: Sequence[str], each: Sequence[Any], field: str, values: dict[str, dict[str, Any]]
) -> Any:
    """The value of a field in the document. Values that differ are noted under their keys."""
    if _are_equal(each):
        return each[0]
    pattern = _pattern(keys, each)
    if pattern is not None:
        return pattern
    for key, value in zip(keys, each, strict=True):
        values[key][field] = value
    return Raw(f"${{each.value.{field}}}")


def _pattern(keys: Sequence[str], each: Sequence[Any]) -> Raw | None:
    """The pattern that makes every text of its key; None if there is none."""
    if not all(isinstance(text, str) for text in each):
        return None
    for before, after in _around(keys[0], each[0]):
        if [f"{before}{key}{after}" for key in keys] == list(each):
            return Raw(f"{_escaped(before)}${{each.key}}{_escaped(after)}")
    return None


def _escaped(text: str) -> str:
    return text.replace("${", "$${")


def _around(key: str, text: str) -> Iterator[tuple[str, str]]:
    position = text.find(key) if key else -1
    while position >= 0:
        yield text[:position], text[position + len(key) :]
        position = text.find(key, position + 1)


def _has_references(values: Iterable[Any]) -> bool:
    return any(isinstance(leaf, Reference) for leaf in walk(list(values)))


def _comments(members: _Keyed, spec: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The comments that hold for all; None if one does not.

    Above the document, lines of single instances are listed by their keys. A comment on a value
    that differs would stand at an expression, so it is dropped.
    """
    kept: dict[str, str] = {}
    fields = dict.fromkeys(chain.from_iterable(resource.comments for _, resource in members))
    for field in fields:
        if isinstance(spec.get(field), Raw):
            continue
        texts = [resource.comments.get(field, "") for _, resource in members]
        if _are_equal(texts):
            kept[field] = texts[0]
            continue
        summary = texts[0].partition("\n")[0]
        lines = [summary]
        for (key, _), text in zip(members, texts, strict=True):
            first, _, rest = text.partition("\n")
            # Only the comment above the document has a list of what single instances lack.
            if field or first != summary:
                return None
            lines.append(f"  {key}: {rest}")
        kept[field] = "\n".join(lines)
    return kept
