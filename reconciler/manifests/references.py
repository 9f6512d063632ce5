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
        self._found: dict[str, Any] = {}
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
        return {
            address.name: address
            for address in self._places
            if address.kind in self.kinds and self.kinds[address.kind].defines_project
        }

    def reference(self, text: str, project: str | None = None) -> Any:
        """What `Kind/…` of an expression refers to: a Reference, an Unknown, or the value of a
        module's output. Raises Problem. `project` is that of the referring resource."""
        if text not in self._found:
            self._found[text] = self._reference(text, project)
        return self._found[text]

    def _reference(self, text: str, project: str | None) -> Any:
        kind = self.kinds.get(text.partition("/")[0])
        if kind is None:
            name = text.partition("/")[0]
            declaration = self.declarable.get(name)
            if isinstance(declaration, RuleKind) and declaration.expands:
                return self._output(text)
            if declaration is not None:
                detail = (
                    f'"${{{text}}}": kind {name} declares no object, so it cannot be referred to.'
                )
                raise ValueProblem("Reference not possible", detail)
            raise ValueProblem(
                "Unknown kind",
                f'"${{{text}}}": there is no kind "{name}".{nearest(name, self.kinds)}',
            )
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
        end = len(text)
        while end > 0 and text[:end] not in self._left_out:
            end = text.rfind(".", 0, end)
        if end > 0:
            detail = (
                f'"{text[:end]}" does not exist here: its "when" at {self._left_out[text[:end]]} '
                'is false. Give this document the same "when", or use a variable instead.'
            )
            raise ValueProblem("Reference to nothing", detail)

    def _longest(self, text: str) -> tuple[Address | None, tuple[str, ...]]:
        # Names have dots, and so have paths: the longest declared address wins.
        end = len(text)
        while end > 0:
            address = self._by_text.get(text[:end])
            if address is not None:
                return address, tuple(text[end + 1 :].split(".")) if end < len(text) else ()
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
    path = tuple(text[end + 1 :].split(".")) if end < len(text) else ()
    try:
        return Reference(Address.parse(text[:end]), () if path == ("id",) else path)
    except ValueError as error:
        raise ValueProblem("Unknown reference", f"{error}.") from error


def check_field_path(kind: Kind, path: tuple[str, ...]) -> None:
    """Raise Problem unless a kind has a referable value at the path. The empty path is the id."""
    if not path:
        return
    field = kind.by_name.get(path[0])
    results = kind.job.results if kind.job else ()
    if path[0] in results:
        return
    if field is None:
        names = [
            "id",
            *(
                field.name
                for field in kind.fields
                if not field.has_own_calls and not field.client_only
            ),
            *results,
        ]
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
    return next(
        (str(path[end - 1]) for end in range(1, len(path) + 1) if not _at(kind, path[:end])), ""
    )


def _holds_secret(types: Iterable[Type]) -> bool:
    """Whether any of the types is or contains a secret."""
    parts = chain.from_iterable(map(types_in, types))
    return any(isinstance(part, SecretValueType) for part in parts)


def _at(kind: Type, path: Iterable[str | int]) -> list[Type]:
    """The types that a value can have at a path below a type; empty if there are none."""
    types = [kind]
    for part in path:
        types = [below for type_ in types for below in _below(type_, part)]
    return types


def _below(kind: Type, part: str | int) -> Iterator[Type]:
    if isinstance(kind, Json):
        yield kind
    elif isinstance(kind, ListOf) and str(part).isdecimal():
        yield kind.item
    elif isinstance(kind, MapOf) and isinstance(part, str):
        yield kind.value
    elif isinstance(kind, Object):
        yield from (prop.type for prop in kind.properties if prop.name == part)
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
    pairs: Iterable[tuple[str | int, Any]] = (
        value.items() if isinstance(value, dict) else enumerate(value)
    )
    for part, element in pairs:
        trail = trail_to(element, target, (*above, part))
        if trail is not None:
            return trail
    return None


def needs(resource: Resource, projects: Mapping[str, Address]) -> list[Address]:
    """What must exist before a resource: the targets of its references, and its project if that is
    declared."""
    addresses = set(resource.references)
    project = projects.get(resource.address.project or "")
    if project is not None:
        addresses.add(project)
    return sorted(addresses)


def cycles(edges: Mapping[Address, list[Address]]) -> Iterator[list[Address]]:
    """One cycle for each group of resources that depend on each other, starting with its first
    address."""
    done: set[Address] = set()
    told: set[Address] = set()
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
            following = next((one for one in rest if one in edges and one not in done), None)
            if following is None:
                stack.pop()
                done.add(trail.pop())
                del on_trail[address]
            elif following in on_trail:
                ring = trail[on_trail[following] :]
                if told.isdisjoint(ring):
                    yield _from_first(ring)
                told.update(ring)
            else:
                on_trail[following] = len(trail)
                trail.append(following)
                stack.append((following, iter(edges[following])))


def _from_first(ring: list[Address]) -> list[Address]:
    first = ring.index(min(ring))
    return [*ring[first:], *ring[:first]]
