"""Writes live values into the manifests that declare them.

A value can be written in the document itself, in an entry of its `for_each`, in a variable of the
stack, or in a file that an expression names. An edit that is not certain to give that value to that
field alone is refused, with its location.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.manifests.configuration import Settings
from reconciler.manifests.credential_scan import CredentialScan
from reconciler.manifests.discover import read_documents
from reconciler.manifests.expand import Expander, Instance
from reconciler.manifests.expressions import Context, Evaluator, Expression, ExpressionSource, parse
from reconciler.manifests.load import load_documents
from reconciler.manifests.manifest_nodes import ManifestNode, ManifestNodes, OpenFile
from reconciler.manifests.parsed import ParsedFiles
from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.manifests.references import AddressIndex
from reconciler.manifests.stack import open_stack
from reconciler.manifests.text_edit import Edit, TextEditor, Uneditable, edited
from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.kind import Kind
from reconciler.model.rule import RuleKind
from reconciler.model.values import Reference, texts_in

MISSING: Any = object()
"""Stands for a field to remove from its manifest."""

_MOST_NAMED = 3
_OTHERS = "(others)"
"""Stands for readers of a value other than resources, such as other environments."""


class Refused(Struct, frozen=True):
    """A value that was not written, and why."""

    address: Address
    path: str
    reason: str
    place: SourceLocation | None = None


class FileChange(Struct, frozen=True):
    """A file before and after."""

    path: Path
    name: str
    before: str
    after: str


class _Proposal(Struct, frozen=True):
    """An edit that gives a field its new value; a field can need several."""

    address: Address
    path: str
    file: str
    edit: Edit
    shared: frozenset[str]
    """The addresses that read the edited text."""

    @property
    def start(self) -> tuple[str, int]:
        """The file and the offset of the edit."""
        return self.file, self.edit.start


class ManifestEditor:
    """Reads the manifests of a stack once, and collects changes to them.

    `identify` returns the present value of a reference, and `refer` the reference that has a value;
    both return None if there is none.
    """

    def __init__(
        self,
        settings: Settings,
        kinds: Mapping[str, Kind],
        rules: Mapping[str, RuleKind],
        *,
        identify: Callable[[Reference], Any],
        refer: Callable[[str], str | None],
    ) -> None:
        self._problems = Problems()
        self._identify = identify
        self._refer = refer
        self._opened = open_stack(settings, self._problems)
        declared = AddressIndex(kinds, rules)
        documents = list(
            read_documents(
                self._opened.files,
                self._opened.manifests,
                declared.declarable,
                self._opened.place_of,
                self._problems,
                ParsedFiles(),
            )
        )
        leaks = CredentialScan(self._opened.secrets, self._problems)
        expander = Expander(self._opened.context, declared, leaks, self._problems)
        instances = expander.expand(documents)
        self._declared = declared
        self._instances: dict[Address, Instance] = {}
        self._addresses: dict[int, set[str]] = {}
        """The addresses of the instances of a document, by the document's identity."""
        for instance in instances:
            if instance.address is not None:
                self._instances[instance.address] = instance
                addresses = self._addresses.setdefault(id(instance.document), set())
                addresses.add(str(instance.address))
        self._readers = _readers_of(instances)
        self.nodes = ManifestNodes(self._opened.files.root)
        # All files are read now, so that every edit starts from the text that was planned.
        for document in documents:
            self.nodes.open(document.file)
        if self._opened.stack.file is not None:
            self.nodes.open(self._opened.stack.file.name)
        self._proposals: list[_Proposal] = []
        self._refused: list[Refused] = []

    # Requests

    def accept(self, address: Address, name: str, value: Any) -> None:
        """Propose that the manifest of an address gives a field this value, or MISSING."""
        instance = self._instances.get(address)
        if instance is None:
            self._refused.append(Refused(address, name, "no manifest declares it"))
            return
        if instance.context.module is not None:
            # Every document that declares the module would get the value.
            place = instance.document.location_of(("spec", name))
            folder = instance.context.module.path
            reason = f"its manifest is in the module {folder}: add a variable to the module"
            self._refused.append(Refused(address, name, reason, place))
            return
        edits = _FieldEdits(self, instance, address, name)
        try:
            self._proposals += edits.giving(value)
        except Uneditable as error:
            place = edits.place or instance.document.location_of(("spec", name))
            self._refused.append(Refused(address, name, f"{error}", place))

    def result(self) -> tuple[list[FileChange], list[Refused], set[tuple[Address, str]]]:
        """The changed files, the refused values, and the accepted fields."""
        refused = [*self._refused, *self._conflicting()]
        # A field can need several edits. If one of them is refused, none is written.
        refused_fields = _fields_of(refused)
        by_file: dict[str, list[_Proposal]] = {}
        for proposal in self._proposals:
            if (proposal.address, proposal.path) not in refused_fields:
                by_file.setdefault(proposal.file, []).append(proposal)
        changes = []
        accepted: set[tuple[Address, str]] = set()
        for name, proposals in by_file.items():
            file = self.nodes.open(name)
            try:
                text = edited(file.text, [proposal.edit for proposal in proposals])
            except Uneditable as error:
                reason = str(error)
                refused += [Refused(lost.address, lost.path, reason) for lost in proposals]
                continue
            changes.append(FileChange(file.path, name, file.text, text))
            accepted |= _fields_of(proposals)
        return changes, refused, accepted - _fields_of(refused)

    def _conflicting(self) -> Iterator[Refused]:
        """The proposals for a text whose other readers keep their value."""
        at_start: dict[tuple[str, int], list[_Proposal]] = {}
        for proposal in self._proposals:
            at_start.setdefault(proposal.start, []).append(proposal)
        for proposal in self._proposals:
            reason = _objection(proposal, at_start[proposal.start])
            if reason:
                place = self.nodes.location(*proposal.start)
                yield Refused(proposal.address, proposal.path, reason, place)

    # What an edit has to know

    def evaluate(self, raw: Any, instance: Instance) -> Any:
        """The present value of an expression or text of a document; references become ids."""
        project = instance.address.project if instance.address else None

        def reference(text: str) -> Any:
            value = self._declared.reference(text, project)
            if isinstance(value, Reference):
                return self._identify(value)
            return value

        def report(problem: ValueProblem, _: Any) -> None:
            raise Uneditable("an expression in it cannot be evaluated") from problem

        base = self._opened.context
        context = Context(base.variable, base.environment, base.files, reference, instance.each)
        return Evaluator(context, report).evaluate(raw)

    def addresses_of(self, instance: Instance) -> frozenset[str]:
        """The addresses of all instances of a document."""
        return frozenset(self._addresses.get(id(instance.document), ()))

    def readers_of(self, expression: Expression) -> frozenset[str]:
        """The addresses that read a variable or a file."""
        return self._readers.get((expression.source, expression.name), frozenset())

    def refer(self, id: str) -> str | None:
        """The expression that stands for an id, if a manifest declares its object."""
        return self._refer(id)

    def variable_node(self, name: str) -> ManifestNode:
        """Where a variable has its value. Raises Uneditable unless that is in the stack file."""
        opened = self._opened
        if name in opened.variables.given:
            raise Uneditable(f"the value of the variable {name} was given with this run")
        if opened.document is None:
            raise Uneditable(f"the variable {name} is not in the stack file")
        spec = opened.document.value.get("spec") or {}
        environments = spec.get("environments") or {}
        own = (environments.get(opened.stack.environment) or {}).get("variables") or {}
        shared = self._readers.get((ExpressionSource.VARIABLE, name), frozenset())
        if name in own:
            trail = ["spec", "environments", opened.stack.environment, "variables", name]
        else:
            trail = ["spec", "variables", name]
            declared = (spec.get("variables") or {}).get(name)
            if isinstance(declared, dict) and "default" in declared:
                trail.append("default")
            if environments:
                shared = shared | {_OTHERS}
        if _mentions(spec.get("outputs"), name):
            shared = shared | {_OTHERS}
        file = opened.document.file
        yaml_node = self.nodes.editable(file).roots[0]
        root = ManifestNode(file, yaml_node, opened.document.value, 0, False, shared)
        return self.nodes.descend(root, trail)

    def document_node(self, instance: Instance) -> ManifestNode:
        """The root of a document."""
        document = instance.document
        position = document.place.line, document.place.column
        shared = self.addresses_of(instance)
        for yaml_node in self.nodes.editable(document.file).roots:
            mark = yaml_node.start_mark
            if (mark.line + 1, mark.column + 1) == position:
                return ManifestNode(document.file, yaml_node, document.value, 0, False, shared)
        raise Uneditable("its document cannot be found in the file")

    def text_file(self, name: str) -> OpenFile:
        """A file that an expression inserts as text."""
        self._opened.files.text(name)  # raises Problem unless manifests may read it
        return self.nodes.open(name)


class _FieldEdits:
    """The edits that give one field of one address its new value."""

    def __init__(
        self, editor: ManifestEditor, instance: Instance, address: Address, name: str
    ) -> None:
        self._editor = editor
        self._nodes = editor.nodes
        self._instance = instance
        self._address = address
        self._name = name
        self._made: list[_Proposal] = []
        self.place: SourceLocation | None = None
        """The location of the last value that an edit was tried for."""

    def giving(self, value: Any) -> list[_Proposal]:
        """The edits that give the field a value. Raises Uneditable."""
        root = self._editor.document_node(self._instance)
        spec = self._nodes.child(root, "spec")
        if not isinstance(spec.raw, dict):
            raise Uneditable("spec is no map")
        if value is MISSING:
            self._remove_from(spec)
        elif self._name not in spec.raw:
            self._add(spec, {self._name: value})
        else:
            self._patch(self._nodes.child(spec, self._name), value)
        return self._made

    def _remove_from(self, spec: ManifestNode) -> None:
        if self._name not in spec.raw:
            return
        # A block map without pairs would be null.
        if len(spec.raw) == 1:
            self._replace(spec, {})
            return
        keys = [key.value for key, _ in spec.yaml_node.value]
        for edit in self._text(spec).delete_keys(spec.yaml_node, [keys.index(self._name)]):
            self._propose(spec, edit)

    def _text(self, node: ManifestNode) -> TextEditor:
        editor = self._nodes.editable(node.file).editor
        if editor is None:
            raise Uneditable("its file cannot be edited")
        return editor

    def _propose(self, node: ManifestNode, edit: Edit) -> None:
        self._made.append(_Proposal(self._address, self._name, node.file, edit, node.shared))

    def _add(self, node: ManifestNode, pairs: Mapping[str, Any]) -> None:
        written = {name: _escaped(value) for name, value in pairs.items()}
        if not node.yaml_node.value:
            self._replace(node, written, is_escaped=True)
            return
        edit = self._text(node).add_keys(node.yaml_node, written, in_flow=node.in_flow)
        self._propose(node, edit)

    def _replace(self, node: ManifestNode, new: Any, *, is_escaped: bool = False) -> None:
        value = new if is_escaped else _escaped(new)
        edit = self._text(node).replace(
            node.yaml_node, value, indent=node.indent, in_flow=node.in_flow
        )
        self._propose(node, edit)

    def _patch(self, node: ManifestNode, new: Any) -> None:
        """Turn a value into the new one with the smallest edits."""
        self.place = self._nodes.location_of(node)
        raw = node.raw
        if _alike(self._editor.evaluate(raw, self._instance), new):
            return
        if isinstance(raw, str) and next(_expressions(raw), None) is not None:
            self._trace(node, raw, new)
        elif isinstance(raw, dict) and isinstance(new, Mapping) and set(raw) & set(new):
            self._patch_map(node, new)
        elif isinstance(raw, list) and isinstance(new, list | tuple) and raw and new:
            self._patch_list(node, list(new))
        else:
            self._replace(node, new)

    def _patch_map(self, node: ManifestNode, new: Mapping[str, Any]) -> None:
        keys = [key.value for key, _ in node.yaml_node.value]
        # A null means the same as an omitted key, so it stays.
        gone = [at for at, key in enumerate(keys) if key not in new and node.raw[key] is not None]
        # Two deletions between brackets would compete for the comma between them.
        if node.yaml_node.flow_style and len(gone) > 1:
            self._replace(node, new)
            return
        for edit in self._text(node).delete_keys(node.yaml_node, gone):
            self._propose(node, edit)
        for key in keys:
            if key in new:
                self._patch(self._nodes.child(node, key), new[key])
        added = {name: value for name, value in new.items() if name not in keys}
        if added:
            self._add(node, added)

    def _patch_list(self, node: ManifestNode, new: list[Any]) -> None:
        old = [_key(self._editor.evaluate(element, self._instance)) for element in node.raw]
        # Without autojunk: it would ignore elements that a long list repeats.
        matcher = SequenceMatcher(None, old, list(map(_key, new)), autojunk=False)
        steps = list(_steps(matcher))
        gone = [at for kind, at, _ in steps if kind == "delete"]
        if len(gone) == len(old) or (node.yaml_node.flow_style and len(gone) > 1):
            self._replace(node, new)
            return
        text = self._text(node)
        for at in gone:
            self._propose(node, text.delete_item(node.yaml_node, at))
        inserted: dict[int, list[Any]] = {}
        for kind, at, to in steps:
            if kind == "change":
                self._patch(self._nodes.child(node, at), new[to])
            elif kind == "insert":
                inserted.setdefault(at, []).append(_escaped(new[to]))
        for at, items in inserted.items():
            self._propose(node, text.insert_items(node.yaml_node, at, items, in_flow=node.in_flow))

    # Expressions

    def _trace(self, node: ManifestNode, raw: str, new: Any) -> None:
        """Change the value at the source of an expression."""
        parts = parse(raw)
        expression = parts[0]
        if len(parts) != 1 or not isinstance(expression, Expression):
            raise Uneditable("the value is put together from text and expressions")
        if expression.default is not None:
            raise Uneditable("the expression has a default, so the value may stand in two places")
        if expression.source is ExpressionSource.EACH:
            self._in_each(expression, new)
        elif expression.source is ExpressionSource.VARIABLE:
            self._in_variable(expression.name, expression.path, new)
        elif expression.source is ExpressionSource.FILE:
            self._in_file(expression, new)
        elif expression.source is ExpressionSource.REFERENCE:
            self._replace_reference(node, new)
        elif expression.source is ExpressionSource.STACK:
            raise Uneditable(f"the value is an output of the stack {expression.name}")
        else:
            raise Uneditable(f"the value comes from the environment variable {expression.name}")

    def _in_each(self, expression: Expression, new: Any) -> None:
        each = self._instance.each
        if expression.name == "key" or each is None:
            raise Uneditable("the value is the key of the entry in for_each")
        repeated = self._nodes.child(self._editor.document_node(self._instance), "for_each")
        below = (each[0], *expression.path)
        if isinstance(repeated.raw, str):
            variable = _variable_alone(repeated.raw)
            if variable is None:
                raise Uneditable("for_each does not list the value itself")
            self._in_variable(variable.name, (*variable.path, *below), new, own=True)
            return
        if not isinstance(repeated.raw, dict):
            raise Uneditable("the value is the key of the entry in for_each")
        own = replace(repeated, shared=frozenset({str(self._address)}))
        self._patch(self._nodes.descend(own, below), new)

    def _in_variable(self, name: str, path: Sequence[str], new: Any, *, own: bool = False) -> None:
        node = self._editor.variable_node(name)
        if own:
            # Of the instances of this document, only this one reads its entry of for_each.
            siblings = self._editor.addresses_of(self._instance)
            node = replace(node, shared=node.shared - siblings | {str(self._address)})
        self._patch(self._nodes.descend(node, path), new)

    def _in_file(self, expression: Expression, new: Any) -> None:
        if not isinstance(new, str):
            raise Uneditable(f"the value comes from the file {expression.name}")
        try:
            file = self._editor.text_file(expression.name)
        except ValueProblem as error:
            raise Uneditable(f"the file {expression.name} cannot be edited") from error
        self.place = SourceLocation(expression.name, 1, 1)
        edit = Edit(0, len(file.text), new)
        readers = self._editor.readers_of(expression)
        proposal = _Proposal(self._address, self._name, expression.name, edit, readers)
        self._made.append(proposal)

    def _replace_reference(self, node: ManifestNode, new: Any) -> None:
        """Refer to the object with the new id, or write the id if no manifest declares it."""
        reference = self._editor.refer(new) if isinstance(new, str) else None
        if reference is None:
            self._replace(node, new)
        else:
            self._replace(node, f"${{{reference}}}", is_escaped=True)


def _fields_of(entries: Iterable[_Proposal | Refused]) -> set[tuple[Address, str]]:
    return {(entry.address, entry.path) for entry in entries}


def _objection(proposal: _Proposal, at_start: Sequence[_Proposal]) -> str:
    """Why a proposal conflicts with those for the same text; empty if it does not."""
    agreeing = {str(other.address) for other in at_start if other.edit == proposal.edit}
    disagreeing = proposal.shared - agreeing
    if _OTHERS in disagreeing:
        return "other environments or other parts of the stack read the same value"
    if disagreeing:
        more = " …" if len(disagreeing) > _MOST_NAMED else ""
        named = ", ".join(sorted(disagreeing)[:_MOST_NAMED])
        return f"the same text is also read by {named}{more}"
    return ""


def _variable_alone(text: str) -> Expression | None:
    """The expression of a text that only reads a variable."""
    parts = parse(text)
    if len(parts) != 1 or not isinstance(parts[0], Expression):
        return None
    return parts[0] if parts[0].source is ExpressionSource.VARIABLE else None


def _steps(matcher: SequenceMatcher[str]) -> Iterator[tuple[str, int, int]]:
    """How to turn one list into another: `delete`, `change` or `insert`, with the index in each.

    A replaced range is changed element by element as far as both lists have elements there, so that
    an edited element keeps its comments.
    """
    for kind, start, end, to, until in matcher.get_opcodes():
        if kind == "equal":
            continue
        shared = min(end - start, until - to)
        for offset in range(shared):
            yield "change", start + offset, to + offset
        for at in range(start + shared, end):
            yield "delete", at, to
        for at in range(to + shared, until):
            yield "insert", end, at


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _alike(left: Any, right: Any) -> bool:
    # By type too: to Python, 1 equals 1.0 and True.
    return type(left) is type(right) and _key(left) == _key(right)


def _escaped(value: Any) -> Any:
    """A value as it is written in a manifest, where `$${` stands for a literal `${`."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: _escaped(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(element) for element in value]
    return value


def _expressions(value: Any) -> Iterator[Expression]:
    for text in texts_in(value):
        if "${" not in text:
            continue
        for part in parse(text):
            if isinstance(part, Expression):
                yield part


def _mentions(value: Any, variable: str) -> bool:
    for expression in _expressions(value):
        if expression.source is ExpressionSource.VARIABLE and expression.name == variable:
            return True
    return False


def _readers_of(
    instances: Sequence[Instance],
) -> dict[tuple[ExpressionSource, str], frozenset[str]]:
    """The addresses that read each variable and each file."""
    readers: dict[tuple[ExpressionSource, str], set[str]] = {}
    for instance in instances:
        for part in _expressions(instance.document.value):
            if part.source is ExpressionSource.VARIABLE and instance.context.module is not None:
                continue  # a variable of the module, not of the stack
            readers.setdefault((part.source, part.name), set()).add(str(instance.address))
    return {key: frozenset(addresses) for key, addresses in readers.items()}


def check_syntax(change: FileChange) -> None:
    """Raise Uneditable if a changed manifest cannot be parsed.

    The edits are made to preserve the syntax, so this only protects against a defect in them.
    """
    if not change.name.endswith((".yaml", ".yml", ".json")):
        return
    problems = Problems()
    load_documents(change.after, change.name, problems, is_json=change.name.endswith(".json"))
    if problems.errors:
        raise Uneditable(f"{change.name} would not be valid any more")
