"""Writes values into the manifests that declare them, where each of them stands.

A value may stand in the document itself, in an entry of its `for_each`, in a variable of the stack
or in a file that an expression names. What cannot be edited for certain is refused with its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.manifests.configuration import Settings
from reconciler.manifests.credential_scan import CredentialScan
from reconciler.manifests.discover import read_documents
from reconciler.manifests.expand import Expander, Instance
from reconciler.manifests.expressions import Context, Evaluator, Expression, ExpressionSource, parse
from reconciler.manifests.load import compose, load_documents
from reconciler.manifests.parsed import ParsedFiles
from reconciler.manifests.paths import require_file, require_inside
from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.manifests.references import AddressIndex
from reconciler.manifests.stack import open_stack
from reconciler.manifests.text_edit import Edit, TextEditor, Uneditable, edited
from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.kind import Kind
from reconciler.model.paths import dotted
from reconciler.model.rule import RuleKind
from reconciler.model.values import Reference

MISSING: Any = object()
"""Stands for a field that a manifest is not to set."""

_FEW = 3
_OTHERS = "(others)"
"""Stands for users of a value that are no resources, such as other environments."""


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


class _Spot(Struct, frozen=True):
    """One node of a file, and what is needed to change it."""

    file: str
    node: Any
    raw: Any
    indent: int
    in_flow: bool
    shared: frozenset[str]
    """Who else reads the value, by address."""
    trail: tuple[str | int, ...] = ()


class _Proposal(Struct, frozen=True):
    address: Address
    path: str
    file: str
    edit: Edit
    shared: frozenset[str]


class _OpenFile(Struct):
    path: Path
    text: str
    editor: TextEditor | None = None
    roots: list[Any] = field(default_factory=list)
    repeated: frozenset[int] = frozenset()
    """The identities of nodes that aliases repeat."""


class _Sources:
    """The files of a stack as they were read, and the nodes in them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, _OpenFile] = {}

    def open(self, name: str) -> _OpenFile:
        """A file with its text, which is read once."""
        if name not in self._files:
            path = require_inside(self._root, self._root / name, name)
            require_file(self._root, name)
            self._files[name] = _OpenFile(path, path.read_bytes().decode("utf-8-sig"))
        return self._files[name]

    def editable(self, name: str) -> _OpenFile:
        """A manifest with its nodes. Raises Uneditable."""
        file = self.open(name)
        if file.editor is None:
            is_json = name.endswith(".json")
            try:
                file.roots = compose(file.text)
            except Exception as error:
                raise Uneditable("its file cannot be edited by position") from error
            if is_json and len(file.roots) == 1 and file.roots[0].id == "sequence":
                file.roots = list(file.roots[0].value)
            file.editor = TextEditor(file.text, is_json=is_json)
            file.repeated = _repeated(file.roots)
        return file

    def place(self, name: str, index: int) -> SourceLocation:
        """The line and column of a character."""
        before = self.open(name).text[:index]
        return SourceLocation(name, before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


class ManifestEditor:
    """Reads the manifests of a stack once, and collects changes to them.

    `identify` returns the present value of a reference, and `refer` the reference that has a value;
    both None where there is none.
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
        instances = Expander(self._opened.context, declared, leaks, self._problems).expand(
            documents
        )
        self._declared = declared
        self._instances = {one.address: one for one in instances if one.address is not None}
        self._users = _users_of(instances)
        self.sources = _Sources(self._opened.files.root)
        for document in documents:
            self.sources.open(document.file)
        if self._opened.stack.file is not None:
            self.sources.open(self._opened.stack.file.name)
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
        proposals = _Proposals(self, instance, address, name)
        try:
            self._proposals += proposals.of(value)
        except Uneditable as error:
            place = instance.document.location_of(("spec", name))
            self._refused.append(Refused(address, name, f"{error}", proposals.place or place))

    def result(self) -> tuple[list[FileChange], list[Refused], set[tuple[Address, str]]]:
        """The changes of files, what was refused, and the fields that were accepted."""
        refused, kept = list(self._refused), []
        alike: dict[tuple[str, int], list[_Proposal]] = {}
        for proposal in self._proposals:
            alike.setdefault((proposal.file, proposal.edit.start), []).append(proposal)
        for proposal in self._proposals:
            reason = _objection(proposal, alike[proposal.file, proposal.edit.start])
            if reason:
                place = self.sources.place(proposal.file, proposal.edit.start)
                refused.append(Refused(proposal.address, proposal.path, reason, place))
            else:
                kept.append(proposal)
        lost = {(entry.address, entry.path) for entry in refused}
        kept = [proposal for proposal in kept if (proposal.address, proposal.path) not in lost]
        changes = []
        for name in dict.fromkeys(proposal.file for proposal in kept):
            file = self.sources.open(name)
            own = [proposal for proposal in kept if proposal.file == name]
            try:
                text = edited(file.text, [proposal.edit for proposal in own])
            except Uneditable as error:
                reason = str(error)
                refused += [Refused(entry.address, entry.path, reason) for entry in own]
                continue
            changes.append(FileChange(file.path, name, file.text, text))
        lost = {(entry.address, entry.path) for entry in refused}
        written = {(proposal.address, proposal.path) for proposal in kept}
        return changes, refused, written - lost

    # What proposals ask

    def place_of(self, spot: _Spot) -> SourceLocation:
        """The place of a spot."""
        return self.sources.place(spot.file, spot.node.start_mark.index)

    def evaluate(self, raw: Any, instance: Instance) -> Any:
        """The present value of something written in a document; references are ids."""
        project = instance.address.project if instance.address else None

        def reference(text: str) -> Any:
            value = self._declared.reference(text, project)
            return self._identify(value) if isinstance(value, Reference) else value

        def report(problem: ValueProblem, _: Any) -> None:
            raise Uneditable("an expression in it cannot be evaluated") from problem

        base = self._opened.context
        context = Context(base.variable, base.environment, base.files, reference, instance.each)
        return Evaluator(context, report).evaluate(raw)

    def addresses_of(self, instance: Instance) -> frozenset[str]:
        """The addresses of all instances of a document."""
        return frozenset(
            str(address)
            for address, other in self._instances.items()
            if other.document is instance.document
        )

    def users_of(self, expression: Expression) -> frozenset[str]:
        """Who reads a variable or a file."""
        return self._users.get((expression.source, expression.name), frozenset())

    def refer(self, id: str) -> str | None:
        """The expression that stands for an id, if a manifest declares its object."""
        return self._refer(id)

    def variable_spot(self, name: str) -> _Spot:
        """Where a variable has its value. Raises Uneditable unless the stack file alone says it."""
        opened = self._opened
        if name in opened.variables.given:
            raise Uneditable(f"the value of the variable {name} was given with this run")
        if opened.document is None:
            raise Uneditable(f"the variable {name} is not in the stack file")
        spec = opened.document.value.get("spec") or {}
        environments = spec.get("environments") or {}
        own = (environments.get(opened.stack.environment) or {}).get("variables") or {}
        users = self._users.get((ExpressionSource.VARIABLE, name), frozenset())
        if name in own:
            trail = ["spec", "environments", opened.stack.environment, "variables", name]
        else:
            trail = ["spec", "variables", name]
            declared = (spec.get("variables") or {}).get(name)
            if isinstance(declared, dict) and "default" in declared:
                trail.append("default")
            users = users | {_OTHERS} if environments else users
        if _mentions(spec.get("outputs"), name):
            users = users | {_OTHERS}
        file = self.sources.editable(opened.document.file)
        root = _Spot(opened.document.file, file.roots[0], opened.document.value, 0, False, users)
        return self.descend(root, trail)

    def document_spot(self, instance: Instance) -> _Spot:
        """The root of a document."""
        document = instance.document
        file = self.sources.editable(document.file)
        line = document.place.line
        column = document.place.column
        for node in file.roots:
            if (node.start_mark.line + 1, node.start_mark.column + 1) == (line, column):
                return _Spot(
                    document.file, node, document.value, 0, False, self.addresses_of(instance)
                )
        raise Uneditable("its document cannot be found in the file")

    def descend(self, spot: _Spot, path: Sequence[str | int]) -> _Spot:
        """The spot at a path below another. Raises Uneditable where there is none."""
        for part in path:
            spot = self.child(spot, part)
        return spot

    def child(self, spot: _Spot, part: str | int) -> _Spot:
        """The spot of one key or index. Raises Uneditable where there is none."""
        file = self.sources.editable(spot.file)
        node, in_flow = spot.node, spot.in_flow or bool(spot.node.flow_style)
        if node.id == "mapping":
            for key, value in node.value:
                if key.value == part and id(value) in file.repeated:
                    raise Uneditable("the value is repeated by an alias")
                if key.value == part:
                    return replace(
                        spot,
                        node=value,
                        raw=spot.raw[part],
                        indent=key.start_mark.column,
                        in_flow=in_flow,
                        trail=(*spot.trail, part),
                    )
        if node.id == "sequence" and isinstance(part, int) and part < len(node.value):
            value = node.value[part]
            if id(value) in file.repeated:
                raise Uneditable("the value is repeated by an alias")
            return replace(
                spot,
                node=value,
                raw=spot.raw[part],
                indent=node.start_mark.column,
                in_flow=in_flow,
                trail=(*spot.trail, part),
            )
        raise Uneditable(f"{dotted((*spot.trail, part))} is not written there")

    def text_file(self, name: str) -> _OpenFile:
        """A file that an expression inserts as text."""
        self._opened.files.text(name)  # raises Problem unless manifests may read it
        return self.sources.open(name)


class _Proposals:
    """The edits that give one field of one address its new value."""

    def __init__(
        self, editor: ManifestEditor, instance: Instance, address: Address, name: str
    ) -> None:
        self._editor = editor
        self._instance = instance
        self._address = address
        self._name = name
        self._made: list[_Proposal] = []
        self.place: SourceLocation | None = None

    def of(self, value: Any) -> list[_Proposal]:
        """The proposals. Raises Uneditable."""
        root = self._editor.document_spot(self._instance)
        spec = self._editor.child(root, "spec")
        if not isinstance(spec.raw, dict):
            raise Uneditable("spec is no map")
        if value is MISSING:
            self._remove(spec)
        elif self._name not in spec.raw:
            self._add(spec, {self._name: value})
        else:
            self._patch(self._editor.child(spec, self._name), value)
        return self._made

    def _remove(self, spec: _Spot) -> None:
        if self._name not in spec.raw:
            return
        if len(spec.raw) == 1:
            self._replace(spec, {})
            return
        keys = [key.value for key, _ in spec.node.value]
        for edit in self._text(spec).delete_keys(spec.node, [keys.index(self._name)]):
            self._propose(spec, edit)

    def _text(self, spot: _Spot) -> TextEditor:
        editor = self._editor.sources.editable(spot.file).editor
        if editor is None:
            raise Uneditable("its file cannot be edited")
        return editor

    def _propose(self, spot: _Spot, edit: Edit) -> None:
        self._made.append(_Proposal(self._address, self._name, spot.file, edit, spot.shared))

    def _add(self, spot: _Spot, pairs: Mapping[str, Any]) -> None:
        written = {name: _escaped(value) for name, value in pairs.items()}
        if not spot.node.value:
            self._replace(spot, written, is_escaped=True)
            return
        self._propose(spot, self._text(spot).add_keys(spot.node, written, in_flow=spot.in_flow))

    def _replace(self, spot: _Spot, new: Any, *, is_escaped: bool = False) -> None:
        value = new if is_escaped else _escaped(new)
        self._propose(
            spot,
            self._text(spot).replace(spot.node, value, indent=spot.indent, in_flow=spot.in_flow),
        )

    def _patch(self, spot: _Spot, new: Any) -> None:
        """Change as little of a value as makes it the new one."""
        self.place = self._editor.place_of(spot)
        raw = spot.raw
        if _alike(self._editor.evaluate(raw, self._instance), new):
            return
        if isinstance(raw, str) and any(isinstance(part, Expression) for part in parse(raw)):
            self._trace(spot, raw, new)
        elif isinstance(raw, dict) and isinstance(new, Mapping) and set(raw) & set(new):
            self._patch_map(spot, new)
        elif isinstance(raw, list) and isinstance(new, list | tuple) and raw and new:
            self._patch_list(spot, list(new))
        else:
            self._replace(spot, new)

    def _patch_map(self, spot: _Spot, new: Mapping[str, Any]) -> None:
        keys = [key.value for key, _ in spot.node.value]
        gone = [at for at, key in enumerate(keys) if key not in new and spot.raw[key] is not None]
        if spot.node.flow_style and len(gone) > 1:
            self._replace(spot, new)
            return
        for edit in self._text(spot).delete_keys(spot.node, gone):
            self._propose(spot, edit)
        for key in keys:
            if key in new:
                self._patch(self._editor.child(spot, key), new[key])
        added = {name: value for name, value in new.items() if name not in keys}
        if added:
            self._add(spot, added)

    def _patch_list(self, spot: _Spot, new: list[Any]) -> None:
        old = [self._editor.evaluate(item, self._instance) for item in spot.raw]
        matcher = SequenceMatcher(None, list(map(_key, old)), list(map(_key, new)), autojunk=False)
        steps = list(_steps(matcher))
        gone = [at for kind, at, _ in steps if kind == "delete"]
        if len(gone) == len(old) or (spot.node.flow_style and len(gone) > 1):
            self._replace(spot, new)
            return
        text = self._text(spot)
        for at in gone:
            self._propose(spot, text.delete_item(spot.node, at))
        inserted: dict[int, list[Any]] = {}
        for kind, at, to in steps:
            if kind == "change":
                self._patch(self._editor.child(spot, at), new[to])
            elif kind == "insert":
                inserted.setdefault(at, []).append(_escaped(new[to]))
        for at, items in inserted.items():
            self._propose(spot, text.insert_items(spot.node, at, items, in_flow=spot.in_flow))

    # Expressions

    def _trace(self, spot: _Spot, raw: str, new: Any) -> None:
        """Change the value where an expression takes it from."""
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
            self._in_place_of_reference(spot, new)
        elif expression.source is ExpressionSource.STACK:
            raise Uneditable(f"the value is an output of the stack {expression.name}")
        else:
            raise Uneditable(f"the value comes from the environment variable {expression.name}")

    def _in_each(self, expression: Expression, new: Any) -> None:
        each = self._instance.each
        if expression.name == "key" or each is None:
            raise Uneditable("the value is the key of the entry in for_each")
        repeated = self._editor.child(self._editor.document_spot(self._instance), "for_each")
        if isinstance(repeated.raw, str):
            parts = parse(repeated.raw)
            source = parts[0]
            is_variable = (
                isinstance(source, Expression) and source.source is ExpressionSource.VARIABLE
            )
            if len(parts) != 1 or not is_variable or not isinstance(source, Expression):
                raise Uneditable("for_each does not list the value itself")
            self._in_variable(source.name, (*source.path, each[0], *expression.path), new, own=True)
            return
        if not isinstance(repeated.raw, dict):
            raise Uneditable("the value is the key of the entry in for_each")
        own = replace(repeated, shared=frozenset({str(self._address)}))
        self._at(own, (each[0], *expression.path), new)

    def _in_variable(self, name: str, path: Sequence[str], new: Any, *, own: bool = False) -> None:
        spot = self._editor.variable_spot(name)
        if own:  # an entry of for_each is read by one instance alone
            others = frozenset({_OTHERS}) & spot.shared
            documents = self._editor.addresses_of(self._instance)
            beside = spot.shared - documents
            spot = replace(spot, shared=frozenset({str(self._address)}) | others | beside)
        self._at(spot, path, new)

    def _at(self, spot: _Spot, path: Sequence[str], new: Any) -> None:
        """Patch below a spot; an expression on the way is followed by the next patch."""
        for part in path:
            spot = self._editor.child(spot, part)
        self._patch(spot, new)

    def _in_file(self, expression: Expression, new: Any) -> None:
        if not isinstance(new, str):
            raise Uneditable(f"the value comes from the file {expression.name}")
        try:
            file = self._editor.text_file(expression.name)
        except ValueProblem as error:
            raise Uneditable(f"the file {expression.name} cannot be edited") from error
        self.place = SourceLocation(expression.name, 1, 1)
        self._made.append(
            _Proposal(
                self._address,
                self._name,
                expression.name,
                Edit(0, len(file.text), new),
                self._editor.users_of(expression),
            )
        )

    def _in_place_of_reference(self, spot: _Spot, new: Any) -> None:
        reference = self._editor.refer(new) if isinstance(new, str) else None
        if reference is None:
            self._replace(spot, new)
        else:
            self._replace(spot, f"${{{reference}}}", is_escaped=True)


def _objection(proposal: _Proposal, alike: Sequence[_Proposal]) -> str:
    """Why a proposal cannot stand beside those for the same place; empty if it can."""
    agreeing = {str(other.address) for other in alike if other.edit == proposal.edit}
    missing = proposal.shared - agreeing
    if _OTHERS in missing:
        return "other environments or other parts of the stack read the same value"
    if missing:
        more = " …" if len(missing) > _FEW else ""
        return f"the same text is also read by {', '.join(sorted(missing)[:_FEW])}{more}"
    return ""


def _steps(matcher: SequenceMatcher[str]) -> Iterator[tuple[str, int, int]]:
    """How to make one list of another: `delete`, `change` or `insert`, with the index in each."""
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
    return type(left) is type(right) and _key(left) == _key(right)


def _escaped(value: Any) -> Any:
    """A value in which nothing is an expression."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: _escaped(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(element) for element in value]
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for element in value.values():
            yield from _strings(element)
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _strings(element)


def _expressions(value: Any) -> Iterator[Expression]:
    for text in _strings(value):
        if "${" in text:
            yield from (part for part in parse(text) if isinstance(part, Expression))


def _mentions(value: Any, variable: str) -> bool:
    return any(
        part.source is ExpressionSource.VARIABLE and part.name == variable
        for part in _expressions(value)
    )


def _users_of(instances: Sequence[Instance]) -> dict[tuple[ExpressionSource, str], frozenset[str]]:
    """The addresses that read each variable and each file."""
    users: dict[tuple[ExpressionSource, str], set[str]] = {}
    for instance in instances:
        for part in _expressions(instance.document.value):
            if part.source is ExpressionSource.VARIABLE and instance.context.module is not None:
                continue  # a variable of the module, not of the stack
            users.setdefault((part.source, part.name), set()).add(str(instance.address))
    return {key: frozenset(addresses) for key, addresses in users.items()}


def _repeated(roots: Sequence[Any]) -> frozenset[int]:
    """The identities of nodes that stand in several places."""
    seen: set[int] = set()
    twice: set[int] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            twice.add(id(node))
            continue
        seen.add(id(node))
        if node.id == "mapping":
            waiting += [part for pair in node.value for part in pair]
        elif node.id == "sequence":
            waiting += node.value
    return frozenset(twice)


def check_syntax(change: FileChange) -> None:
    """Raise Uneditable if a changed manifest cannot be parsed. A last line of defence."""
    if not change.name.endswith((".yaml", ".yml", ".json")):
        return
    problems = Problems()
    load_documents(change.after, change.name, problems, is_json=change.name.endswith(".json"))
    if problems.errors:
        raise Uneditable(f"{change.name} would not be valid any more")
