"""Turns live objects into the specs that would declare them.

A spec contains only values that can be set and that the API does not fill in by itself. Ids of
exported objects become references. The API hides secrets, so no spec contains one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from reconciler.export.resource import ExportedResource
from reconciler.model.address import Address
from reconciler.model.comparing import comparable, same
from reconciler.model.kind import Field, Kind, Mutability, Readable
from reconciler.model.resource import LiveObject
from reconciler.model.types import (
    SERVER_CHOSEN,
    BundleType,
    Either,
    FileSetType,
    Json,
    KeySinkType,
    ListOf,
    LocalFileType,
    MapOf,
    Object,
    Property,
    SecretValueType,
    Tagged,
    Text,
    Type,
)
from reconciler.model.values import MAP, FileSet, Member, Reference, Spec, Template

_ID = re.compile(
    r"(?:proj|asst|vs|file|user|group|role|key|agent|vault|cred|skill|cntr|eval|batch|ftjob|cert"
    r"|svc_acct|wh|wip|msg|thread|conv|env)[-_][A-Za-z0-9_-]{8,}"
)
"""Texts that look like ids of the API."""

_MOST_IDS = 5
_SURROGATE = re.compile("[\ud800-\udfff]")


class Unexportable(Exception):
    """An object that no manifest can describe. The text says why."""


class ReferenceTargets(Struct, frozen=True):
    """The objects that specs can refer to."""

    ids: Mapping[str, Address]
    """The addresses of exported objects by their own id, where the id names one object alone."""
    secret_in: Callable[[str], str] = lambda _: ""
    """Names the credential that a text contains; empty for none."""
    is_secret_header: Callable[[str], bool] = lambda _: False
    """Whether a header of this name carries a credential."""
    usual: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    """By kind and field: the API's choice for most objects, for fields that it sets at creation."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The labels of objects that are not exported, by id: the names of files."""


class _Notes(Struct):
    """Comments that arise while a spec is made."""

    unknown_ids: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)


def resource_of(
    live: LiveObject, address: Address, known: ReferenceTargets, *, norm: Spec | None = None
) -> ExportedResource:
    """The declaration of an object, without optional values that are those of `norm`.

    Raises Unexportable.
    """
    kind = live.kind
    spec: dict[str, Any] = {}
    comments: dict[str, str] = {}
    values = dict(_values(live))
    shape = _shape_fields(kind, values)
    for declared in kind.fields:
        if declared.name not in values or declared.name in shape:
            continue
        if _is_usual(declared, values[declared.name], kind, known, norm or {}):
            continue
        notes = _Notes()
        value = _with_references(values[declared.name], live, known, notes)
        # A set of files always goes by id, which `_hidden` says once.
        about = "" if isinstance(declared.type, FileSetType) else _comment(notes, known)
        if notes.secrets:
            if declared.required:
                raise Unexportable(f"{declared.name} contains {notes.secrets[0]}")
            comments[""] = f"{declared.name} is left out: it contains {notes.secrets[0]}."
            continue
        spec[declared.name] = value
        if about:
            comments[declared.name] = about
    for declared in kind.fields:
        if kind.shows_key is None and isinstance(declared.type, KeySinkType) and declared.required:
            spec[declared.name], comments[declared.name] = _undelivered(declared.name, address)
    _require_all(kind, spec, live)
    hidden = list(_hidden(kind, live))
    if hidden:
        comments[""] = "\n".join(filter(None, (comments.get("", ""), *hidden)))
    return ExportedResource(
        address=address, id=live.id, spec=spec, project_id=None, comments=comments
    )


def _undelivered(name: str, address: Address) -> tuple[dict[str, Any], str]:
    """A destination for a secret that was shown only at creation, and a comment on it."""
    file = "-".join(filter(None, (address.project, address.name)))
    about = (
        f"The API shows the {name.replace('_', ' ')} once, at creation, and nothing was written to "
        f"this file. `reconciler apply --replace {address}` makes another object, with a new "
        "secret, and writes that."
    )
    return {"write_to": {"file": f"secrets/{file}.key"}}, about


# --- values


def _values(live: LiveObject) -> Iterator[tuple[str, Any]]:
    """The fields that a manifest has to set, with their values as plain JSON."""
    for declared in live.kind.fields:
        if isinstance(declared.type, FileSetType):
            members = live.own_calls.get(declared.name)
            if isinstance(members, FileSet) and members.members and not _has_uploads(members):
                yield declared.name, _attached(members, declared.type)
            continue
        if declared.has_own_calls or declared.client_only or declared.readable is Readable.NEVER:
            continue
        value = settable(declared.type, live.value(declared.name))
        if value is None or _is_default(declared, value):
            continue
        yield declared.name, value


def _is_default(declared: Field, value: Any) -> bool:
    """Whether an object has the value by default, so that no manifest has to declare it."""
    if declared.required or declared.default is SERVER_CHOSEN:
        return False
    return same(*comparable(declared.type, value, declared.default))


def is_chosen_by_api(declared: Field) -> bool:
    """Whether the API chooses the value at creation and it cannot change later."""
    is_free = not declared.required and declared.default is SERVER_CHOSEN
    is_choice = isinstance(declared.type, Text) and bool(declared.type.choices)
    return is_free and is_choice and declared.mutability is not Mutability.IN_PLACE


def _is_usual(declared: Field, value: Any, kind: Kind, known: ReferenceTargets, norm: Spec) -> bool:
    """Whether a value is the API's usual one."""
    if declared.required or declared.name in kind.natural_key:
        return False
    usual = known.usual.get((kind.name, declared.name), norm.get(declared.name))
    return usual is not None and same(*comparable(declared.type, value, usual))


def settable(type_: Type, value: Any) -> Any:
    """The part of a value that can be set and is no default; None if nothing is."""
    match type_:
        case Text():
            return _settable_text(type_, value)
        case Object() if isinstance(value, MAP):
            return _settable_object(type_, value)
        case Tagged() if isinstance(value, MAP):
            tag = value.get(type_.tag)
            variant = type_.variants.get(str(tag))
            if variant is None:
                return None
            return {type_.tag: tag, **_settable_object(variant, value, without=type_.tag)}
        case ListOf(item=inner) if isinstance(value, list | tuple):
            elements = [settable(inner, element) for element in value]
            return [element for element in elements if element is not None]
        case MapOf(value=inner) if isinstance(value, MAP):
            parts = {key: settable(inner, element) for key, element in value.items()}
            return {key: part for key, part in parts.items() if part is not None}
        case Either(text=plain, other=inner):
            is_other = isinstance(value, (*MAP, list, tuple))
            return settable(inner if is_other else plain, value)
        case SecretValueType() | KeySinkType() | LocalFileType() | BundleType():
            return None
    return value


def _settable_text(type_: Text, value: Any) -> Any:
    if type_.inside is not None and isinstance(value, MAP):
        value = value.get(type_.inside)
    # No UTF-8 file can hold half of a surrogate pair.
    if not isinstance(value, str) or _SURROGATE.search(value):
        return None
    spelled = type_.aliases.get(value, value)
    if type_.choices and not type_.open_choices and spelled not in type_.choices:
        return None
    if len(value) < (type_.min_length or 0):
        return None
    return _folded(type_, spelled)


def _folded(type_: Text, value: str) -> str:
    """A value in the normal form of the kind; the case of letters in names of people stays."""
    folded = type_.fold(value) if type_.fold else value
    return value if folded == value.casefold() else folded


def _settable_object(
    type_: Object, value: Mapping[str, Any], *, without: str = ""
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for part in type_.properties:
        if part.name == without or part.is_hidden:
            continue
        element = settable(part.type, value.get(part.name))
        if element is None or _is_default_part(part, element):
            continue
        result[part.name] = element
    return result


def _is_default_part(part: Property, value: Any) -> bool:
    if part.required:
        return False
    if part.default is SERVER_CHOSEN:
        return value in ({}, []) and not part.keeps_empty
    left, right = comparable(part.type, value, part.default)
    is_empty = not part.keeps_empty and left in (None, {}, []) and right in (None, {}, [])
    return is_empty or same(left, right)


def _has_uploads(members: FileSet) -> bool:
    """Whether a stack of ours keeps the collection in step with a folder."""
    return any(member.content is not None for member in members.members)


def _attached(members: FileSet, type_: FileSetType) -> list[dict[str, Any]]:
    """Members by the id of their file, since the API does not give back their content."""
    return [_attached_member(member, type_) for member in members.members if member.file_id]


def _attached_member(member: Member, type_: FileSetType) -> dict[str, Any]:
    entry: dict[str, Any] = {"file_id": member.file_id}
    for name, part in (
        ("attributes", type_.attributes),
        ("chunking_strategy", type_.chunking_strategy),
    ):
        value = settable(part, getattr(member, name))
        if value is not None and not same(*comparable(part, value, None)):
            entry[name] = value
    return entry


# --- references


def _with_references(value: Any, live: LiveObject, known: ReferenceTargets, notes: _Notes) -> Any:
    """The value with references in place of ids of exported objects."""
    if isinstance(value, str):
        return _referring(value, live, known, notes)
    if isinstance(value, MAP):
        notes.secrets += _secret_headers(value.get("headers"), known)
        return {key: _with_references(part, live, known, notes) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_references(part, live, known, notes) for part in value]
    return value


def _secret_headers(headers: Any, known: ReferenceTargets) -> Iterator[str]:
    """Names headers that carry credentials, whose values have no form to be recognized by."""
    if isinstance(headers, MAP):
        for name in headers:
            if known.is_secret_header(name):
                yield f"the header {name}"


def _referring(text: str, live: LiveObject, known: ReferenceTargets, notes: _Notes) -> Any:
    credential = known.secret_in(text)
    if credential:
        notes.secrets.append(credential)
    address = known.ids.get(text)
    if address is not None and not _is_itself(address, live, text):
        return Reference(address)
    if "/" in text and len(text) < 500:
        composed = _composed(text, live, known)
        if composed is not None:
            return composed
    if _ID.fullmatch(text) and text != live.own_id:
        notes.unknown_ids.append(text)
    return text


def _is_itself(address: Address, live: LiveObject, text: str) -> bool:
    return address.kind == live.kind.name and text == live.own_id


def _composed(text: str, live: LiveObject, known: ReferenceTargets) -> Template | None:
    """An id that is composed of others, each of them a reference."""
    parts: list[str | Reference] = re.split(r"([/=])", text)
    has_references = False
    for index, piece in enumerate(parts):
        address = known.ids.get(str(piece))
        if address is not None and piece != live.own_id:
            parts[index] = Reference(address)
            has_references = True
    return Template(tuple(parts)) if has_references else None


# --- comments


def _comment(notes: _Notes, known: ReferenceTargets) -> str:
    ids = [_with_name(id, known) for id in dict.fromkeys(notes.unknown_ids)]
    if not ids:
        return ""
    more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
    return f"Not exported, so by id: {', '.join(ids[:_MOST_IDS])}{more}"


def _with_name(id: str, known: ReferenceTargets) -> str:
    name = known.names.get(id)
    return f"{id} ({name})" if name else id


def _hidden(kind: Kind, live: LiveObject) -> Iterator[str]:
    """Sentences about values that the API does not show."""
    unseen = []
    for declared in kind.fields:
        members = live.own_calls.get(declared.name)
        if isinstance(members, FileSet) and _has_uploads(members):
            yield (
                f"{declared.name} is left out: another stack uploads these files from a folder. "
                "Name the folder with `path` to manage them here."
            )
        elif isinstance(members, FileSet) and members.members:
            yield (
                "The API does not give back the content of these files, so they are attached by "
                "id. To keep the store in step with a folder, name the folder with `path`."
            )
        elif _is_partly_hidden(declared, live):
            unseen.append(f"all parts of {declared.name}")
        elif declared.readable is Readable.NEVER and _is_setting(declared):
            unseen.append(declared.name)
    if unseen:
        names = " and ".join(filter(None, (", ".join(unseen[:-1]), unseen[-1])))
        yield f"The API does not show {names}: what is set there stays as it is."


def _is_setting(declared: Field) -> bool:
    """Whether a field is a setting of the object: neither a key nor an option of our own."""
    return not declared.client_only and not isinstance(declared.type, KeySinkType)


def _is_partly_hidden(declared: Field, live: LiveObject) -> bool:
    return declared.has_hidden and live.value(declared.name) is not None


# --- forms and required fields


def _shape_fields(kind: Kind, values: Mapping[str, Any]) -> frozenset[str]:
    """The fields of forms other than the written one."""
    if not kind.shapes:
        return frozenset()
    shape = next((form for form in kind.shapes if form.fits(values)), None)
    if shape is None:
        return frozenset()
    others: set[str] = set()
    for form in kind.shapes:
        others.update(form.needs, form.takes)
    others -= {*shape.needs, *shape.takes}
    if shape.when:
        others.discard(shape.when[0])  # the field that selects the form
    return frozenset(others)


def never_declarable(kind: Kind) -> str:
    """Why no object of a kind can be declared from what the API shows; empty if some can."""
    for declared in kind.fields:
        if not declared.required or isinstance(declared.type, KeySinkType | FileSetType):
            continue
        if declared.readable is Readable.NEVER or declared.has_own_calls:
            return f"the API does not show {declared.name}"
    return ""


def _require_all(kind: Kind, spec: Mapping[str, Any], live: LiveObject) -> None:
    for declared in kind.fields:
        if not declared.required or declared.name in spec:
            continue
        if isinstance(declared.type, ListOf | MapOf | Json):
            continue
        if isinstance(declared.type, KeySinkType):
            raise Unexportable("its key or secret is shown only once, when it is created")
        if declared.takes_secrets:
            raise Unexportable("it holds secrets, which the API does not show")
        if live.value(declared.name) is None:
            raise Unexportable(f"the answer has no {declared.name}")
        raise Unexportable(
            f"{declared.name} is {live.value(declared.name)!r}, which cannot be declared"
        )
    # A value can be complete for the API's answer and still lack the secret inside it.
    for declared in kind.fields:
        if needs_secret(declared.type, spec.get(declared.name)):
            raise Unexportable("it holds secrets, which the API does not show")


def needs_secret(type_: Type, value: Any) -> bool:
    """Whether a value is incomplete without a secret, which no answer contains."""
    match type_:
        case Object() if isinstance(value, MAP):
            return any(_lacks_secret(part, value) for part in type_.properties)
        case Tagged() if isinstance(value, MAP):
            variant = type_.variants.get(str(value.get(type_.tag)), Object(()))
            return needs_secret(variant, value)
        case ListOf(item=inner) if isinstance(value, list):
            return any(needs_secret(inner, element) for element in value)
        case MapOf(value=inner) if isinstance(value, MAP):
            return any(needs_secret(inner, element) for element in value.values())
        case Either(other=inner):
            return needs_secret(inner, value)
    return False


def _lacks_secret(part: Property, value: Mapping[str, Any]) -> bool:
    if isinstance(part.type, SecretValueType):
        return part.required
    return needs_secret(part.type, value.get(part.name))
