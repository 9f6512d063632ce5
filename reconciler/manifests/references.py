"""Declared addresses, references to them, and cycles of references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from reconciler.manifests.problems import ValueProblem
from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation, nearest
from reconciler.model.kind import Declaration, Kind
from reconciler.model.paths import Trail
from reconciler.model.resource import Resource
from reconciler.model.rule import RuleKind
from reconciler.model.types import (
    Either,
    Json,
    ListOf,
    MapOf,
    Object,
    SecretValueType,
    Tagged,
    Type,
    types_in,
)
from reconciler.model.values import FileSet, Member, Reference, Unknown, references_in

if TYPE_CHECKING:
    from reconciler.manifests.modules import DeclaredModule

MOST_GUESSES = 50
"""How many problems get a suggestion. Finding the nearest of ten thousand names is slow, and that
many problems have one cause."""


class AddressIndex:
    """The addresses of a configuration. `complete` is False if a part of it could not be read.

    References are reported as unknown only in a complete configuration: the target may be in the
    unread part.
    """

    def __init__(
        self, kinds: Mapping[str, Kind], rules: Mapping[str, RuleKind] | None = None
    ) -> None:
        self.kinds = kinds
        self.declarable: Mapping[str, Declaration] = {**kinds, **(rules or {})}
        self.complete = True
        self._places: dict[Address, SourceLocation] = {}
        self._by_text: dict[str, Address] = {}
        self._by_kind: dict[str, list[str]] = {}
        self._known: dict[str, Any] = {}
        """The targets of references by text. The project of a reference only affects problems."""
        self._modules: dict[Address, DeclaredModule] = {}
        self._left_out: dict[str, SourceLocation] = {}
        self._guesses: dict[tuple[str, str | None], str] = {}

    def add(self, address: Address, location: SourceLocation) -> SourceLocation | None:
        """Declare an address. Returns the location of an earlier declaration of the same address,
        if any."""
        earlier = self._places.get(address)
        if earlier is None:
            text = str(address)
            self._places[address] = location
            self._by_text[text] = address
            self._by_kind.setdefault(address.kind, []).append(text)
        return earlier

    def __contains__(self, address: object) -> bool:
        return address in self._places

    def add_module(self, address: Address, module: DeclaredModule) -> None:
        """Let `${Module/NAME.OUTPUT}` read the outputs of a module."""
        self._modules.setdefault(address, module)

    def leave_out(self, address: Address, location: SourceLocation) -> None:
        """Note a document that does not exist, because of its `when` at a location."""
        self._left_out.setdefault(str(address), location)

    def projects(self) -> dict[str, Address]:
        """The declared projects, by name."""
        projects: dict[str, Address] = {}
        for address in self._places:
            kind = self.kinds.get(address.kind)
            if kind is not None and kind.defines_project:
                projects[address.name] = address
        return projects

    def reference(self, text: str, project: str | None = None) -> Any:
        """The target of `Kind/…` in an expression: a Reference, an Unknown, or the value of a
        module's output. Raises Problem. `project` is that of the referring resource."""
        if text not in self._known:
            self._known[text] = self._reference(text, project)
        return self._known[text]

    def _reference(self, text: str, project: str | None) -> Any:
        name = text.partition("/")[0]
        kind = self.kinds.get(name)
        if kind is None:
            return self._reference_without_object(text, name)
        address, path = self._longest(text)
        if address is None:
            if not self.complete:
                return Unknown(text)
            self._refuse_left_out(text)
            if (text, project) not in self._guesses:
                self._guesses[text, project] = self._guess(text, kind, project)
            raise ValueProblem(
                "Unknown reference", f'No manifest declares "{text}".{self._guesses[text, project]}'
            )
        if path == ("id",):
            path = ()
        check_field_path(kind, path)
        return Reference(address, path)

    def _reference_without_object(self, text: str, kind: str) -> Any:
        declaration = self.declarable.get(kind)
        if isinstance(declaration, RuleKind) and declaration.expands:
            return self._output(text)
        if declaration is not None:
            detail = f'"${{{text}}}": kind {kind} declares no object, so it cannot be referred to.'
            raise ValueProblem("Reference not possible", detail)
        detail = f'"${{{text}}}": there is no kind "{kind}".{nearest(kind, self.kinds)}'
        raise ValueProblem("Unknown kind", detail)

    def _output(self, text: str) -> Any:
        """The value of an output of a module, `Module/NAME.OUTPUT…`."""
        address, path = self._longest(text)
        module = self._modules.get(address) if address is not None else None
        if module is not None:
            return module.output(text, path, self.reference)
        if not self.complete:
            return Unknown(text)
        self._refuse_left_out(text)
        known = map(str, self._modules)
        hint = nearest(text.partition(".")[0], known)
        raise ValueProblem("Unknown reference", f'No manifest declares "{text}".{hint}')

    def _refuse_left_out(self, text: str) -> None:
        """Raise Problem if the target does not exist because of its `when`."""
        end = len(text)
        while end > 0 and text[:end] not in self._left_out:
            end = text.rfind(".", 0, end)
        if end > 0:
            detail = (
                f'"{text[:end]}" does not exist here: its "when" at {self._left_out[text[:end]]} '
                'is false. Give this document the same "when", or use a variable instead.'
            )
            raise ValueProblem("Reference to a skipped document", detail)

    def _longest(self, text: str) -> tuple[Address | None, tuple[str, ...]]:
        """The longest declared address that a text begins with, and the path after it."""
        # Names can contain dots, and dots separate the parts of a path.
        end = len(text)
        while end > 0:
            address = self._by_text.get(text[:end])
            if address is not None:
                return address, _path_after(text, end)
            end = text.rfind(".", 0, end)
        return None, ()

    def _guess(self, text: str, kind: Kind, project: str | None) -> str:
        name = text.partition("/")[2]
        if project and "/" not in name:
            inside = self._longest(f"{kind.name}/{project}/{name}")[0]
            if inside:
                return f' A reference to an object in a project names the project: write "${{{inside}}}".'
        if len(self._guesses) >= MOST_GUESSES:
            return ""
        known = self._by_kind.get(kind.name, ())
        return nearest(text, known) or nearest(text.partition(".")[0], known)


def guess_reference(text: str) -> Reference:
    """A reference without knowledge of declarations: the path begins at the first dot before a
    lower-case word."""
    end = len(text)
    for index, char in enumerate(text):
        if char == "." and text[index + 1 : index + 2].islower():
            end = index
            break
    path = _path_after(text, end)
    if path == ("id",):
        path = ()
    try:
        return Reference(Address.parse(text[:end]), path)
    except ValueError as error:
        raise ValueProblem("Unknown reference", f"{error}.") from error


def _path_after(text: str, end: int) -> tuple[str, ...]:
    """The path after an address that ends at an index; empty if nothing follows."""
    if end >= len(text):
        return ()
    return tuple(text[end + 1 :].split("."))


def check_field_path(kind: Kind, path: tuple[str, ...]) -> None:
    """Raise Problem unless a kind has a referable value at the path. The empty path is the id."""
    if not path:
        return
    field = kind.by_name.get(path[0])
    results = kind.job.results if kind.job else ()
    if path[0] in results:
        return
    if field is None:
        shown = [part for part in kind.fields if not part.has_own_calls and not part.client_only]
        names = ["id", *[part.name for part in shown], *results]
        raise ValueProblem(
            "Unknown field", f'{kind.name} has no field "{path[0]}".{nearest(path[0], names)}'
        )
    if field.has_own_calls:
        raise ValueProblem(
            "Field cannot be referenced",
            f'"{path[0]}" of {kind.name} cannot be used in a reference.',
        )
    wrong = unknown_part(field.type, path[1:])
    if wrong:
        raise ValueProblem("Unknown field", f'"{path[0]}" of {kind.name} has nothing at "{wrong}".')
    if _holds_secret(_at(field.type, path[1:])):
        detail = f'"{".".join(path)}" of {kind.name} is or contains a secret, which is sent only to the API.'
        raise ValueProblem("Secret cannot be referenced", detail)


def unknown_part(kind: Type, path: Sequence[str | int]) -> str:
    """The first part of a path that the type cannot have, or empty."""
    for index, part in enumerate(path):
        if not _at(kind, path[: index + 1]):
            return str(part)
    return ""


def _holds_secret(types: Iterable[Type]) -> bool:
    """Whether any of the types is or contains a secret."""
    parts = chain.from_iterable(map(types_in, types))
    return any(isinstance(part, SecretValueType) for part in parts)


def _at(kind: Type, path: Iterable[str | int]) -> list[Type]:
    """The types that a value can have at a path below a type; empty if there are none."""
    types = [kind]
    for part in path:
        types = list(chain.from_iterable(_below(type_, part) for type_ in types))
    return types


def _below(kind: Type, part: str | int) -> Iterator[Type]:
    if isinstance(kind, Json):
        yield kind
    elif isinstance(kind, ListOf) and str(part).isdecimal():
        yield kind.item
    elif isinstance(kind, MapOf) and isinstance(part, str):
        yield kind.value
    elif isinstance(kind, Object):
        for prop in kind.properties:
            if prop.name == part:
                yield prop.type
    elif isinstance(kind, Tagged):
        if part == kind.tag:
            yield Json()
        for variant in kind.variants.values():
            yield from _below(variant, part)
    elif isinstance(kind, Either):
        yield from _below(kind.other, part)


def trail_to(value: Any, target: Address, above: Trail = ()) -> Trail | None:
    """The path of the first reference to an address."""
    if isinstance(value, Member | FileSet) or not isinstance(value, dict | list):
        if any(reference.address == target for reference in references_in(value)):
            return above
        return None
    pairs: Iterable[tuple[str | int, Any]] = enumerate(value)
    if isinstance(value, dict):
        pairs = value.items()
    for part, element in pairs:
        trail = trail_to(element, target, (*above, part))
        if trail is not None:
            return trail
    return None


def needs(resource: Resource, projects: Mapping[str, Address]) -> list[Address]:
    """The addresses that must exist before a resource: the targets of its references, and its
    project if that is declared."""
    addresses = set(resource.references)
    project = projects.get(resource.address.project or "")
    if project is not None:
        addresses.add(project)
    return sorted(addresses)


def cycles(edges: Mapping[Address, list[Address]]) -> Iterator[list[Address]]:
    """One cycle for each group of resources that depend on each other, starting with its first
    address."""
    done: set[Address] = set()
    reported: set[Address] = set()
    # With a stack of its own, because a chain of references can be longer than that of the
    # interpreter. Sorted, so that each run reports the same cycles.
    for start in sorted(edges):
        trail: list[Address] = []
        on_trail: dict[Address, int] = {}
        stack: list[tuple[Address, Iterator[Address]]] = []
        if start not in done:
            stack.append((start, iter(edges[start])))
            on_trail[start] = 0
            trail.append(start)
        while stack:
            address, rest = stack[-1]
            open_targets = (target for target in rest if target in edges and target not in done)
            following = next(open_targets, None)
            if following is None:
                stack.pop()
                done.add(trail.pop())
                del on_trail[address]
            elif following in on_trail:
                ring = trail[on_trail[following] :]
                if reported.isdisjoint(ring):
                    yield _from_first(ring)
                reported.update(ring)
            else:
                on_trail[following] = len(trail)
                trail.append(following)
                stack.append((following, iter(edges[following])))


def _from_first(ring: list[Address]) -> list[Address]:
    first = ring.index(min(ring))
    return [*ring[first:], *ring[:first]]
