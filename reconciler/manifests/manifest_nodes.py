"""The YAML nodes of manifest files, found by the path of the value that they write.

An edit needs more than the value: the offset of its text, its indentation, the brackets around it,
and the other readers of the same text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.manifests.load import compose
from reconciler.manifests.paths import require_file, require_inside
from reconciler.manifests.text_edit import TextEditor, Uneditable
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.paths import dotted


class ManifestNode(Struct, frozen=True):
    """One node of a file, with the facts that an edit needs."""

    file: str
    yaml_node: Any
    raw: Any
    """The value as it is written, with its expressions."""
    indent: int
    """The column of the key or dash that the value belongs to."""
    in_flow: bool
    """Whether it stands inside brackets or braces."""
    shared: frozenset[str]
    """The addresses of other readers of the value."""
    trail: tuple[str | int, ...] = ()


class OpenFile(Struct):
    """A file, and its nodes once an edit asks for them."""

    path: Path
    text: str
    editor: TextEditor | None = None
    roots: list[Any] = field(default_factory=list)
    repeated: frozenset[int] = frozenset()
    """The identities of nodes that aliases repeat."""


class ManifestNodes:
    """Opens the files of a stack, each once, and finds the nodes in them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, OpenFile] = {}

    def open(self, name: str) -> OpenFile:
        """A file with its text, which is read once."""
        if name not in self._files:
            path = require_inside(self._root, self._root / name, name)
            require_file(self._root, name)
            self._files[name] = OpenFile(path, path.read_bytes().decode("utf-8-sig"))
        return self._files[name]

    def editable(self, name: str) -> OpenFile:
        """A manifest with its nodes. Raises Uneditable."""
        file = self.open(name)
        if file.editor is None:
            is_json = name.endswith(".json")
            try:
                file.roots = compose(file.text)
            except Exception as error:
                raise Uneditable("its file cannot be edited by position") from error
            # JSON has no document separator: the items of a list at the top are the documents.
            if is_json and len(file.roots) == 1 and file.roots[0].id == "sequence":
                file.roots = list(file.roots[0].value)
            file.editor = TextEditor(file.text, is_json=is_json)
            file.repeated = _repeated(file.roots)
        return file

    def location(self, name: str, index: int) -> SourceLocation:
        """The line and column of a character."""
        before = self.open(name).text[:index]
        return SourceLocation(name, before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)

    def location_of(self, node: ManifestNode) -> SourceLocation:
        """The line and column where a node begins."""
        return self.location(node.file, node.yaml_node.start_mark.index)

    def descend(self, node: ManifestNode, path: Sequence[str | int]) -> ManifestNode:
        """The node at a path below another. Raises Uneditable where there is none."""
        for part in path:
            node = self.child(node, part)
        return node

    def child(self, parent: ManifestNode, part: str | int) -> ManifestNode:
        """The node of one key or index. Raises Uneditable where there is none."""
        trail = (*parent.trail, part)
        entry = _entry(parent.yaml_node, part)
        if entry is None:
            raise Uneditable(f"{dotted(trail)} is not written there")
        yaml_node, column = entry
        # An edit would change every place that the alias repeats.
        if id(yaml_node) in self.editable(parent.file).repeated:
            raise Uneditable("the value is repeated by an alias")
        return replace(
            parent,
            yaml_node=yaml_node,
            raw=parent.raw[part],
            indent=column,
            in_flow=parent.in_flow or bool(parent.yaml_node.flow_style),
            trail=trail,
        )


def _entry(yaml_node: Any, part: str | int) -> tuple[Any, int] | None:
    """The node of a key or an index, and the column of its key or of the list."""
    if yaml_node.id == "mapping":
        for key, value in yaml_node.value:
            if key.value == part:
                return value, key.start_mark.column
    elif yaml_node.id == "sequence" and isinstance(part, int) and part < len(yaml_node.value):
        return yaml_node.value[part], yaml_node.start_mark.column
    return None


def _repeated(roots: Iterable[Any]) -> frozenset[int]:
    """The identities of nodes that stand in several places."""
    seen: set[int] = set()
    repeated: set[int] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            repeated.add(id(node))
            continue
        seen.add(id(node))
        if node.id == "mapping":
            for pair in node.value:
                waiting += pair
        elif node.id == "sequence":
            waiting += node.value
    return frozenset(repeated)
