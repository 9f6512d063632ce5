"""Reads modules: folders of manifests that `kind: Module` documents declare with variables.

The folder has a `module.yaml`, which declares variables and outputs. The other manifests see the
module's variables instead of the stack's, and `${module.name}`. Every location inside of a module
names the document that declared it, because the same line is read once per declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.manifests.configuration import MODULE_FILES
from reconciler.manifests.discover import has_module, read_folder
from reconciler.manifests.expressions import Context, Evaluator, descend
from reconciler.manifests.files import Files
from reconciler.manifests.parsed import ParsedFiles
from reconciler.manifests.paths import normal, relative, require_inside, shown
from reconciler.manifests.problems import Problems, Report, ValueProblem
from reconciler.manifests.source_map import Document
from reconciler.manifests.validate import Checker
from reconciler.manifests.variables import declared_entry, fits_type, require_no_credential
from reconciler.model.diagnostic import SourceLocation, nearest
from reconciler.model.paths import Trail
from reconciler.model.values import Reference, Template, Unknown

MAX_DEPTH = 8
"""How deep modules can nest."""


class ModuleSource(Struct, frozen=True):
    """A module as it is written: its folder, its `module.yaml`, and its manifests."""

    path: str
    definition: Document
    documents: Sequence[Document]

    @property
    def declarations(self) -> Mapping[str, Any]:
        """The entries of `variables`, each a declaration or a bare default."""
        return self.definition.value.get("variables") or {}

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The entries of `outputs`, with their expressions."""
        return self.definition.value.get("outputs") or {}


class ModuleVariables(Struct):
    """The variables of one declared module. `values` change once references are known."""

    source: ModuleSource
    values: Mapping[str, Any] = {}
    harmless: set[str] = field(default_factory=set)
    """The names of variables that were searched for credentials."""

    def __call__(self, name: str) -> Any:
        """The value of a variable. Raises Problem."""
        if name in self.values:
            self._require_harmless(name)
            return self.values[name]
        if name in self.source.declarations:
            return Unknown(name)  # the declaration without a value was reported at its document
        guess = nearest(name, self.source.declarations)
        hint = guess or f" Add it to variables in {self.source.definition.file}."
        raise ValueProblem("Unknown variable", f'The module declares no variable "{name}".{hint}')

    def _require_harmless(self, name: str) -> None:
        if name not in self.harmless:
            require_no_credential(name, self.values[name])
            self.harmless.add(name)


class DeclaredModule(Struct):
    """One declared module: the context of its manifests, and its outputs."""

    name: str
    source: ModuleSource
    variables: ModuleVariables
    context: Context
    problems: Problems
    location: SourceLocation
    in_progress: set[str] = field(default_factory=set)
    known: dict[str, Any] = field(default_factory=dict)

    def output(self, text: str, path: Sequence[str], reference: Callable[[str], Any]) -> Any:
        """The value of `${Module/NAME.OUTPUT…}`, of which `text` is the expression. Raises Problem."""
        if not path:
            names = ", ".join(f"${{{text}.{name}}}" for name in self.source.outputs)
            known = "The module declares no outputs."
            if names:
                known = f"Write one of {names}."
            raise ValueProblem("Incomplete reference", f'"${{{text}}}" names no output. {known}')
        name = path[0]
        if name not in self.source.outputs:
            guess = nearest(name, self.source.outputs)
            hint = guess or f" Add it to outputs in {self.source.definition.file}."
            raise ValueProblem(
                "Unknown output", f'{self.source.path} has no output "{name}".{hint}'
            )
        if name not in self.known:
            self.known[name] = self._evaluated(name, reference)
        return descend(self.known[name], path[1:], f"Module/{self.name}.{name}")

    def _evaluated(self, name: str, reference: Callable[[str], Any]) -> Any:
        if name in self.in_progress:
            detail = f"The output {name} of Module/{self.name} depends on itself."
            raise ValueProblem("Cycle of outputs", detail)
        self.in_progress.add(name)
        context = replace(self.context, reference=reference)
        definition = self.source.definition.declared_by(self.caller)

        def report(problem: ValueProblem, trail: Trail) -> None:
            place = definition.location_of(("outputs", name, *trail))
            self.problems.take(problem, place=place)

        value = Evaluator(context, report).evaluate(self.source.outputs[name])
        self.in_progress.discard(name)
        return value

    @property
    def caller(self) -> str:
        """The document that declared the module, for locations inside of it."""
        return f"Module/{self.name} at {self.location}"

    def documents(self) -> list[Document]:
        """The manifests, with locations that name the declaration."""
        return [document.declared_by(self.caller) for document in self.source.documents]


class ModuleReader:
    """Reads each module once, however often it is declared."""

    def __init__(self, files: Files, parsed: ParsedFiles, problems: Problems) -> None:
        self._files = files
        self._parsed = parsed
        self._problems = problems
        self._sources: dict[str, ModuleSource | None] = {}

    def source(self, written: str) -> ModuleSource | None:
        """The module in a folder; None if its files have problems, which are reported. Raises
        Problem if there is no module."""
        path = self._folder(written)
        if path not in self._sources:
            self._sources[path] = self._read(path)
        return self._sources[path]

    def _folder(self, written: str) -> str:
        if "://" in written or written.startswith(("git@", "github.com/")):
            detail = (
                f'"{written}" is a network address. Copy the module into the stack, for example '
                "with git subtree or a submodule."
            )
            raise ValueProblem("Module outside of the stack", detail)
        path = normal(relative(written)).removesuffix("/")
        root = self._files.root
        real = require_inside(root, root / path, written)
        self._files.require_open(path)
        if not real.is_dir():
            raise ValueProblem("No such module", f'"{written}" is not a folder of the stack.')
        if not has_module(real):
            detail = f'"{written}" has no {MODULE_FILES[0]}, which declares the variables.'
            raise ValueProblem("Not a module", detail)
        if path == ".":
            raise ValueProblem("Not a module", "The stack's own folder cannot be a module.")
        return path

    def _read(self, path: str) -> ModuleSource | None:
        errors = self._problems.errors
        documents = list(read_folder(self._files, path, self._problems, self._parsed))
        root = self._files.root
        names = {shown(root / path / name, root) for name in MODULE_FILES}
        definitions = [document for document in documents if document.file in names]
        manifests = [document for document in documents if document.file not in names]
        if len(definitions) != 1:
            # A file with a syntax error has no document, and the error is reported already.
            if self._problems.errors == errors:
                place = SourceLocation(min(names), 1, 1)
                detail = "The file must contain exactly one document, with variables and outputs."
                self._problems.add("Not a module", detail, place=place)
            return None
        self._check(definitions[0])
        if self._problems.errors != errors:
            return None
        return ModuleSource(path, definitions[0], manifests)

    def _check(self, definition: Document) -> None:
        # Imported late, because few stacks use modules.
        from reconciler.manifests.module_schema import module_schema

        for violation in Checker(module_schema()).violations(definition.value):
            place = definition.location_of(violation.trail, key=violation.at_key)
            self._problems.add(violation.summary, violation.detail, place=place)


def module_values(source: ModuleSource, given: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The values of a module's variables. Problems are reported at their paths below the document."""
    values: dict[str, Any] = {}
    for name in given:
        if name not in source.declarations:
            guess = nearest(name, source.declarations)
            if not guess and source.declarations:
                guess = f" It declares {', '.join(source.declarations)}."
            detail = f'{source.path} declares no variable "{name}".{guess}'
            report(ValueProblem("Unknown variable", detail), ("spec", "variables", name))
    for name, declaration in source.declarations.items():
        entry = declared_entry(declaration)
        if name in given:
            values[name] = given[name]
        elif "default" in entry:
            values[name] = entry["default"]
        else:
            detail = f'{source.path} needs the variable "{name}". Add it to spec.variables.'
            report(ValueProblem("Variable without a value", detail), ("spec", "variables"))
            continue
        if not _fits(values[name], entry.get("type")):
            detail = f'The variable "{name}" of {source.path} must be of type {entry["type"]}.'
            report(ValueProblem("Wrong type", detail), ("spec", "variables", name))
            values[name] = Unknown(name)
    return values


def _fits(value: Any, type: str | None) -> bool:
    if type is None or isinstance(value, Unknown):
        return True
    if isinstance(value, Reference | Template):
        return type == "string"  # an id, or a text with one
    return fits_type(value, type)
