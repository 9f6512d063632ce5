"""Documents that repeat in many projects, folded into one with `for_each`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from reconciler.export.files import YamlDocument
from reconciler.export.yaml_text import Raw
from reconciler.model.json_codec import sorted_json
from reconciler.model.values import encode

FEWEST = 3
"""The fewest repetitions of a document that are folded."""

_EACH_KEY, _EACH_VALUE = Raw("${each.key}"), Raw("${each.value}")


def folded(documents: Iterable[YamlDocument]) -> list[YamlDocument]:
    """The documents, with one in place of all that several projects have alike.

    Documents are alike if they differ only in their project, in a name that equals the project's
    name, and in the id that they adopt.
    """
    groups: dict[bytes, list[YamlDocument]] = defaultdict(list)
    result: list[YamlDocument] = []
    for document in documents:
        if isinstance(document.project, str) and document.for_each is None:
            groups[_likeness(document)].append(document)
        else:
            result.append(document)
    for group in groups.values():
        # Two documents of one project would have the same key.
        projects = {document.project for document in group}
        if len(projects) == len(group) >= FEWEST:
            result.append(_one_of(group))
        else:
            result += group
    return result


def _is_named_after_project(document: YamlDocument) -> bool:
    return document.name == document.project


def _likeness(document: YamlDocument) -> bytes:
    """Equal for documents that can be folded into one."""
    lifecycle = {key: value for key, value in document.lifecycle.items() if key != "adopt"}
    name = None if _is_named_after_project(document) else document.name
    return sorted_json(
        [
            document.kind.name,
            name,
            encode(dict(document.spec)),
            lifecycle,
            "adopt" in document.lifecycle,
            dict(document.comments),
        ]
    )


def _one_of(group: list[YamlDocument]) -> YamlDocument:
    first = group[0]
    by_project = {str(document.project): document for document in group}
    for_each: Any = sorted(by_project)
    lifecycle = dict(first.lifecycle)
    if "adopt" in lifecycle:
        for_each = {name: by_project[name].lifecycle["adopt"] for name in for_each}
        lifecycle["adopt"] = _EACH_VALUE
    return replace(
        first,
        name=_EACH_KEY if _is_named_after_project(first) else first.name,
        project=_EACH_KEY,
        for_each=for_each,
        lifecycle=lifecycle,
    )
