"""Expands documents into instances: kind, `for_each`, name and address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.manifests.credential_scan import CredentialScan, masked
from reconciler.manifests.expressions import Context, Evaluator
from reconciler.manifests.problems import Problem, Problems
from reconciler.manifests.references import AddressIndex
from reconciler.manifests.room import NoRoomError, Room
from reconciler.manifests.source_map import Document
from reconciler.manifests.type_schema import MAX_NAME
from reconciler.manifests.validate import shortened
from reconciler.model.address import Address
from reconciler.model.diagnostic import nearest
from reconciler.model.kind import Declaration, ScopeType
from reconciler.model.paths import Trail
from reconciler.model.values import Unknown

MAX_INSTANCES = 10_000


class Instance(Struct):
    """A future resource or rule: a document, its kind, and its pair of `for_each`.

    `address` is None if the metadata do not give one.
    """

    document: Document
    kind: Declaration
    metadata: Any
    each: tuple[str, Any] | None = None
    address: Address | None = None


class Expander:
    """Expands documents, and adds their addresses to `declared`."""

    def __init__(
        self,
        context: Context,
        declared: AddressIndex,
        leaks: CredentialScan,
        problems: Problems,
        room: Room | None = None,
    ) -> None:
        self._context = context
        self._room = room or Room()
        self._leaks = leaks
        self._declared = declared
        self._problems = problems
        self._postponed: list[tuple[Document, list[Instance]]] = []

    def expand(self, documents: Iterable[Document]) -> list[Instance]:
        """The instances of all documents. A document that cannot be expanded makes the
        configuration incomplete.

        Stops when the size limits are reached.
        """
        expanded: list[Instance] = []
        for document in documents:
            kind = self._kind(document)
            pairs = self._pairs(document) if kind else None
            if kind is None or pairs is None:
                self._declared.complete = False
                continue
            try:
                repeated = [part for name, part in document.value.items() if name != "for_each"]
                self._room.take_resources(len(pairs), repeated)
                instances = [self._instance(document, kind, pair) for pair in pairs]
            except NoRoomError as error:
                self._problems.add("Too much", str(error), place=document.place)
                self._declared.complete = False
                return []
            if self._postponed and self._postponed[-1][0] is document:
                self._postponed[-1][1].extend(instances)
            expanded.extend(instances)
        self._resolve_postponed()
        return expanded

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

    def _unknown_kind(self, value: Mapping[str, Any]) -> Problem:
        known = list(self._declared.declarable)
        if "kind" not in value:
            guess = next((nearest(key, ["kind"]) for key in value if nearest(key, ["kind"])), "")
            return Problem('Missing "kind"', f"A document needs a kind: {', '.join(known)}.{guess}")
        if value["kind"] == "Stack":
            return Problem("Stack in a manifest", "Kind Stack is only allowed in reconciler.yaml.")
        kind_name = masked(value["kind"], self._leaks.redact)
        guess = nearest(kind_name, known) if isinstance(kind_name, str) else ""
        return Problem(
            "Unknown kind",
            f"There is no kind {shortened(kind_name)}.{guess} Known: {', '.join(known)}.",
        )

    def _pairs(self, document: Document) -> list[tuple[str, Any] | None] | None:
        if "for_each" not in document.value:
            return [None]

        def later(text: str) -> Unknown:
            # What is declared is only known when every document is expanded, so references have to
            # wait.
            if not (self._postponed and self._postponed[-1][0] is document):
                self._postponed.append((document, []))
            return Unknown(text)

        written = self._evaluate_for_each(document, replace(self._context, reference=later))
        value = self._leaks.taken_out(written, document, ("for_each",))
        if value is not written:
            return None
        try:
            return list(_pairs_of(value))
        except Problem as problem:
            self._problems.take(problem, place=document.location_of(("for_each",)))
            return None

    def _evaluate_for_each(self, document: Document, context: Context) -> Any:
        def report(problem: Problem, trail: Trail) -> None:
            self._problems.take(problem, place=document.location_of(trail))

        return Evaluator(context, report).evaluate(document.value["for_each"], ("for_each",))

    def _resolve_postponed(self) -> None:
        context = replace(self._context, reference=self._declared.reference)
        for document, instances in self._postponed:
            if not instances:
                continue
            value = self._evaluate_for_each(document, context)
            pairs = [pair for pair in _pairs_of(value) if pair is not None]
            for instance, pair in zip(instances, pairs, strict=True):
                instance.each = pair

    def _instance(
        self, document: Document, kind: Declaration, each: tuple[str, Any] | None
    ) -> Instance:
        raw = document.value.get("metadata")
        metadata = raw
        if isinstance(raw, dict):
            context = Context(
                self._context.variable, self._context.environment, self._context.files, None, each
            )
            metadata = Evaluator(context, self._reporter(document), self._room).evaluate(
                raw, ("metadata",)
            )
            metadata = self._leaks.taken_out(metadata, document, ("metadata",))
        instance = Instance(document, kind, metadata, each)
        instance.address = _address(kind, metadata)
        if instance.address is None:
            self._declared.complete = False
        else:
            self._declare(instance, instance.address)
        return instance

    def _reporter(self, document: Document) -> Any:
        def report(problem: Problem, trail: Trail) -> None:
            self._problems.take(problem, place=document.location_of(trail))

        return report

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


def _address(kind: Declaration, metadata: Any) -> Address | None:
    if not isinstance(metadata, dict):
        return None
    name, project = metadata.get("name"), metadata.get("project")
    if kind.scope is ScopeType.ORGANIZATION:
        project = None
    if not isinstance(name, str) or not isinstance(project, str | None):
        return None
    if max(len(name), len(project or "")) > MAX_NAME:
        return None  # the schema says so; an address is part of every message
    if kind.scope is ScopeType.PROJECT and project is None:
        return None
    try:
        return Address.parse(
            "/".join(part for part in (kind.name, project, name) if part is not None)
        )
    except ValueError:
        return None


def _pairs_of(value: Any) -> Iterator[tuple[str, Any] | None]:
    if isinstance(value, dict):
        pairs = list(value.items())
        _require_few(pairs)
    elif isinstance(value, list) and all(isinstance(text, str) for text in value):
        pairs = [(text, text) for text in value]
        _require_few(pairs)
        twice = next((text for text, count in Counter(value).items() if count > 1), None)
        if twice is not None:
            raise Problem("Not unique", f"for_each contains {shortened(twice)} more than once.")
    elif isinstance(value, Unknown):
        raise Problem("Cannot expand for_each", "The value of for_each must be known before apply.")
    else:
        description = (
            "a list that does not only contain strings"
            if isinstance(value, list)
            else shortened(value)
        )
        raise Problem(
            "Wrong type", f"for_each must be a map or a list of strings; found {description}."
        )
    yield from pairs


def _require_few(pairs: Sized) -> None:
    if len(pairs) > MAX_INSTANCES:
        raise Problem(
            "Too many", f"for_each has {len(pairs):,} entries; the maximum is {MAX_INSTANCES:,}."
        )
