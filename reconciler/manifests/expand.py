"""Expands documents into instances: kind, modules, `when`, `for_each`, name and address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.manifests.credential_scan import CredentialScan, masked
from reconciler.manifests.expressions import Context, Evaluator, ModuleFacts
from reconciler.manifests.for_each import ForEach
from reconciler.manifests.modules import (
    MAX_DEPTH,
    DeclaredModule,
    ModuleReader,
    ModuleSource,
    ModuleVariables,
    module_values,
)
from reconciler.manifests.parsed import ParsedFiles
from reconciler.manifests.problems import Problems, Report, ValueProblem
from reconciler.manifests.references import AddressIndex
from reconciler.manifests.room import NoRoomError, Room
from reconciler.manifests.source_map import Document
from reconciler.manifests.type_schema import MAX_NAME
from reconciler.manifests.validate import shortened
from reconciler.model.address import Address
from reconciler.model.diagnostic import nearest, nearest_few
from reconciler.model.kind import Declaration, ScopeType
from reconciler.model.paths import Trail
from reconciler.model.rule import RuleKind
from reconciler.model.values import Unknown

_ALL_KINDS = "`reconciler explain` lists all kinds."


class Instance(Struct):
    """A future resource or rule: a document, its kind, and its entry of `for_each`.

    `context` is what its expressions can read, without references. `address` is None if the
    metadata is invalid.
    """

    document: Document
    kind: Declaration
    metadata: Any
    context: Context
    each: tuple[str, Any] | None = None
    address: Address | None = None


class _Scope(Struct, frozen=True):
    """The names that documents can read, and the modules that contain them, outermost first."""

    context: Context
    modules: tuple[str, ...] = ()


class Expander:
    """Expands documents, and adds their addresses to `declared`."""

    def __init__(
        self,
        context: Context,
        declared: AddressIndex,
        leaks: CredentialScan,
        problems: Problems,
        room: Room | None = None,
        *,
        modules: ModuleReader | None = None,
    ) -> None:
        self._context = context
        self._room = room or Room()
        self._leaks = leaks
        self._declared = declared
        self._problems = problems
        self._for_each = ForEach(declared, leaks, problems)
        self._modules = modules or ModuleReader(context.files, ParsedFiles(), problems)
        self._postponed: list[Callable[[], None]] = []
        """Evaluations to repeat once all addresses are known, outer modules first."""

    def expand(self, documents: Iterable[Document]) -> list[Instance]:
        """The instances of all documents. A document that cannot be expanded makes the
        configuration incomplete.

        Stops when the size limits are reached.
        """
        try:
            expanded = list(self._expanded(documents, _Scope(self._context)))
        except _Stop:
            return []
        # Once every address is known, since values may refer to any of them.
        for resolve in self._postponed:
            resolve()
        return expanded

    def _expanded(self, documents: Iterable[Document], scope: _Scope) -> Iterator[Instance]:
        for document in documents:
            kind = self._kind(document)
            entries = self._for_each.entries(document, scope.context) if kind else None
            if kind is None or entries is None:
                # From now on, no reference is reported as unknown: its target may be in this
                # document.
                self._declared.complete = False
                continue
            try:
                repeated = [part for name, part in document.value.items() if name != "for_each"]
                # Before the instances are made, since they would take the memory that the limit
                # protects.
                self._room.take_resources(len(entries.pairs), repeated)
                instances = list(self._instances(document, kind, entries.pairs, scope.context))
            except NoRoomError as error:
                self._problems.add("Stack too large", str(error), place=document.place)
                self._declared.complete = False
                raise _Stop from error
            if entries.is_postponed:
                self._postpone_values(document, scope.context, instances)
            yield from instances
            if isinstance(kind, RuleKind) and kind.expands:
                for instance in instances:
                    yield from self._contents(instance, scope)

    def _instances(
        self,
        document: Document,
        kind: Declaration,
        pairs: Iterable[tuple[str, Any] | None],
        context: Context,
    ) -> Iterator[Instance]:
        for pair in pairs:
            own = context if pair is None else replace(context, each=pair)
            if self._exists(document, kind, own):
                yield self._instance(document, kind, own)

    def _kind(self, document: Document) -> Declaration | None:
        value = document.value
        if not isinstance(value, dict):
            self._problems.add(
                "Not a manifest",
                "A document is a map with kind, metadata and spec; a --- line starts the next document.",
                place=document.place,
            )
            return None
        name = value.get("kind")
        kind = self._declared.declarable.get(name) if isinstance(name, str) else None
        if kind is None:
            self._problems.take(self._unknown_kind(value), place=document.location_of(("kind",)))
        return kind

    def _unknown_kind(self, value: Mapping[str, Any]) -> ValueProblem:
        if "kind" not in value:
            guesses = (nearest(key, ["kind"]) for key in value)
            guess = next(filter(None, guesses), "")
            return ValueProblem('Missing "kind"', f"A document needs a kind.{guess} {_ALL_KINDS}")
        if value["kind"] == "Stack":
            return ValueProblem(
                "Stack in a manifest", "Kind Stack is only allowed in reconciler.yaml."
            )
        kind_name = masked(value["kind"], self._leaks.redact)
        guess = ""
        if isinstance(kind_name, str):
            guess = nearest_few(kind_name, list(self._declared.declarable))
        return ValueProblem(
            "Unknown kind", f"There is no kind {shortened(kind_name)}.{guess} {_ALL_KINDS}"
        )

    def _exists(self, document: Document, kind: Declaration, context: Context) -> bool:
        """Whether `when` is true; a document without it exists."""
        if "when" not in document.value:
            return True
        report = self._problems.reporter(document.location_of)
        value = Evaluator(context, report).evaluate(document.value["when"], ("when",))
        # Without an error, an unknown value is a reference. With one, its cause may have been
        # reported at the source of the value.
        if isinstance(value, Unknown) and not self._problems.errors:
            detail = "The value of when must be known before apply."
            report(ValueProblem("Cannot decide when", detail), ("when",))
        elif not isinstance(value, bool | Unknown):
            shown = masked(shortened(value), self._leaks.redact)
            detail = f"when must be true or false; found {shown}."
            report(ValueProblem("Wrong type", detail), ("when",))
        if value is False:
            self._leave_out(document, kind, context)
        elif value is not True:
            self._declared.complete = False
        return value is True

    def _leave_out(self, document: Document, kind: Declaration, context: Context) -> None:
        """Note the address, so that errors about references to it can say why it does not exist."""
        metadata = Evaluator(context, _ignore).evaluate(document.value.get("metadata"))
        address = _address(kind, metadata)
        if address is not None and not self._leaks.holds(str(address)):
            self._declared.leave_out(address, document.location_of(("when",)))

    def _postpone_values(
        self, document: Document, context: Context, instances: Sequence[Instance]
    ) -> None:
        def resolve() -> None:
            values = self._for_each.values(document, context)
            for instance in instances:
                if instance.each is not None:
                    key = instance.each[0]
                    instance.each = key, values[key]
                    instance.context = replace(instance.context, each=instance.each)

        self._postponed.append(resolve)

    # --- modules

    def _contents(self, instance: Instance, scope: _Scope) -> Iterator[Instance]:
        """The instances of the manifests in a module."""
        document = instance.document
        call = document.value.get("spec")
        if not isinstance(call, dict):
            call = {}
        try:
            source = self._source(instance, call.get("source"), scope)
        except ValueProblem as problem:
            self._problems.take(problem, place=document.location_of(("spec", "source")))
            source = None
        if source is None or instance.address is None:
            self._declared.complete = False
            return
        variables = ModuleVariables(source)
        context = Context(
            variables,
            self._context.environment,
            self._context.files,
            module=ModuleFacts(instance.address.name, source.path),
            stack=self._context.stack,
        )

        def evaluate(reference: Callable[[str], Any], report: Report) -> None:
            evaluator = Evaluator(replace(instance.context, reference=reference), report)
            given = evaluator.evaluate(call.get("variables") or {}, ("spec", "variables"))
            if isinstance(given, dict):
                variables.values = module_values(source, given, report)

        # Twice: first without references, so that the module can be expanded and its addresses
        # become known; then with them.
        evaluate(Unknown, self._problems.reporter(document.location_of))
        # Only references can have new problems then, and the resolver reports those.
        self._postponed.append(lambda: evaluate(self._declared.reference, _ignore))
        declared = DeclaredModule(
            name=instance.address.name,
            source=source,
            variables=variables,
            context=context,
            problems=self._problems,
            location=document.place,
        )
        self._declared.add_module(instance.address, declared)
        inner = _Scope(context, (*scope.modules, source.path))
        yield from self._expanded(declared.documents(), inner)

    def _source(self, instance: Instance, written: Any, scope: _Scope) -> ModuleSource | None:
        """The module of a document; None if its problems are reported elsewhere. Raises Problem."""
        report = self._problems.reporter(instance.document.location_of)
        path = Evaluator(instance.context, report).evaluate(written, ("spec", "source"))
        if not isinstance(path, str) or not path:
            return None  # reported by the schema
        source = self._modules.source(path)
        if source is None:
            return None
        chain = (*scope.modules, source.path)
        # By path, because a module may be declared under several names.
        if source.path in scope.modules:
            detail = f"The module declares itself: {' → '.join(chain)}."
            raise ValueProblem("Cycle of modules", detail)
        if len(chain) > MAX_DEPTH:
            detail = f"Modules can nest {MAX_DEPTH} levels deep: {' → '.join(chain)}."
            raise ValueProblem("Modules nested too deeply", detail)
        return source

    # --- names

    def _instance(self, document: Document, kind: Declaration, context: Context) -> Instance:
        raw = document.value.get("metadata")
        metadata = raw
        if isinstance(raw, dict):
            report = self._problems.reporter(document.location_of)
            metadata = Evaluator(context, report, self._room).evaluate(raw, ("metadata",))
            # Before the address is made, since every message quotes addresses.
            metadata = self._leaks.without_keys(metadata, document, ("metadata",))
        instance = Instance(document, kind, metadata, context, context.each)
        instance.address = _address(kind, metadata)
        if instance.address is None:
            self._declared.complete = False
        else:
            self._declare(instance, instance.address)
        return instance

    def _declare(self, instance: Instance, address: Address) -> None:
        location = instance.document.name_place
        earlier = self._declared.add(address, location)
        if earlier is None:
            return
        hint = ""
        if instance.each is not None and earlier == location:
            hint = " Use ${each.key} in metadata.name or metadata.project."
        self._problems.add(
            "Duplicate address",
            f"{address} is also declared at {earlier}.{hint}",
            place=location,
            address=address,
        )


class _Stop(Exception):
    """A limit was reached, so expanding stops."""


def _ignore(problem: ValueProblem, trail: Trail) -> None:
    """For an evaluation whose problems are reported elsewhere."""


def _address(kind: Declaration, metadata: Any) -> Address | None:
    if not isinstance(metadata, dict):
        return None
    name, project = metadata.get("name"), metadata.get("project")
    # The schema reports an unexpected project. The address without it is still the intended one.
    if kind.scope is ScopeType.ORGANIZATION:
        project = None
    if not isinstance(name, str) or not isinstance(project, str | None):
        return None
    # Reported by the schema. An address is part of every message, so its length is bounded.
    if max(len(name), len(project or "")) > MAX_NAME:
        return None
    if kind.scope is ScopeType.PROJECT and project is None:
        return None
    parts = (kind.name, name) if project is None else (kind.name, project, name)
    try:
        return Address.parse("/".join(parts))
    except ValueError:
        return None
