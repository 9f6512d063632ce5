"""Request bodies: the fields of a spec in the API's form, with our mark in the metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from reconciler.model.comparing import comparable, same, with_hidden
from reconciler.model.kind import Field, Kind
from reconciler.model.resource import MARK_KEY, LiveObject
from reconciler.model.types import SERVER_CHOSEN, Object, Tagged, Type
from reconciler.model.values import Spec


def plain(value: Any) -> Any:
    """A resolved value as JSON. Secret values stay; they are read when the body is sent."""
    if isinstance(value, Mapping):
        return {key: plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [plain(element) for element in value]
    return value


def create_body(
    kind: Kind, spec: Spec, mark: str | None, *, in_path: Collection[str] = frozenset()
) -> dict[str, Any]:
    """The body of a create: fields that it accepts and that are set, except those in its path."""
    body: dict[str, Any] = {}
    for field in kind.fields:
        # Some creates refuse null where they accept an omitted field.
        if not field.in_body or not field.on_create or spec.get(field.name) is None:
            continue
        if field.name not in in_path:
            body[field.name] = plain(spec[field.name])
    # The mark shares the metadata with values of the manifest, so it is merged in.
    if mark and kind.mark:
        body[kind.mark] = {**body.get(kind.mark, {}), MARK_KEY: mark}
    return body


def late_body(live: LiveObject, spec: Spec) -> dict[str, Any]:
    """The body of the modify after a create: fields that only a modify accepts and that differ."""
    body: dict[str, Any] = {}
    for field in live.kind.fields:
        desired = spec.get(field.name)
        if not field.in_body or field.on_create or not field.on_update or desired is None:
            continue
        if not same(*comparable(field.type, desired, live.value(field.name))):
            body[field.name] = plain(desired)
    return body


def changed_body(
    live: LiveObject, changes: Spec, mark: str | None, *, applied: Spec
) -> dict[str, Any]:
    """The body of an update: the changed fields, None as null, and our mark if the object lacks it.

    `applied` are the values that were applied last.
    """
    kind = live.kind
    body = {
        name: plain(_whole(kind.by_name[name], value, live.value(name), applied.get(name)))
        for name, value in changes.items()
        if kind.by_name[name].in_body
    }
    if mark and kind.mark and (kind.mark in body or live.mark != mark):
        # The API does not say whether it merges or replaces metadata. Sent as a whole, with the
        # entries of others, the map ends up the same either way.
        own = body[kind.mark] if kind.mark in body else live.value(kind.mark)
        body[kind.mark] = {**(own or {}), MARK_KEY: mark}
    return body


def whole_body(live: LiveObject, body: Spec, *, applied: Spec) -> dict[str, Any]:
    """A body for an API that replaces the whole object: unchanged fields keep their live value.

    A field that the API does not show keeps the value that was applied last.
    """
    if not live.kind.calls.whole_updates:
        return dict(body)
    whole: dict[str, Any] = {}
    for field in live.kind.fields:
        if field.in_body and field.on_update:
            is_shown = live.shows(field.name)
            whole[field.name] = live.value(field.name) if is_shown else applied.get(field.name)
    # Such an API clears what it is not sent. It may refuse null, so that is left out.
    return set_values({**whole, **body})


def _whole(field: Field, value: Any, live: Any, applied: Any) -> Any:
    """A value in the form of an update. For a partial update: only its changed parts."""
    if field.replaces():
        return _changed_parts(field.type, value, with_hidden(field.type, live, applied))
    if field.merged:
        # The API would keep the old values of parts that are left out.
        return _filled(field.type, value, live)
    return value


def _changed_parts(kind: Type, value: Any, before: Any) -> dict[str, Any]:
    """The parts of a value that differ and can be changed in place, with the tags that they need.

    Removed parts are None.
    """
    value, before = _mapping(value), _mapping(before)
    variant: Type | None = kind
    tag: dict[str, Any] = {}
    if isinstance(kind, Tagged):
        # The tag goes along although it is unchanged: it tells the API what the parts are of.
        tag = {kind.tag: value.get(kind.tag)}
        variant = kind.variants.get(str(value.get(kind.tag)))
    if not isinstance(variant, Object):
        return {}
    parts: dict[str, Any] = {}
    for part in variant.properties:
        desired, shown = value.get(part.name), before.get(part.name)
        if part.in_place and not same(*comparable(part.type, desired, shown)):
            parts[part.name] = desired
        elif not part.in_place and (below := _changed_parts(part.type, desired, shown)):
            parts[part.name] = below
    # A tag alone changes nothing, so it is not sent.
    if not parts:
        return {}
    return {**tag, **parts}


def _filled(kind: Type, value: Any, live: Any) -> Any:
    if not isinstance(kind, Object) or not isinstance(value, Mapping):
        return value
    filled = dict(value)
    for part in kind.properties:
        shown = _mapping(live).get(part.name)
        if filled.get(part.name) is not None:
            filled[part.name] = _filled(part.type, filled[part.name], shown)
            continue
        # A default that the server chooses cannot be written, so the old value stays.
        if part.default is SERVER_CHOSEN:
            continue
        if not same(*comparable(part.type, part.default, shown)):
            filled[part.name] = part.default
    return filled


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def restoring_body(overwritten: Spec) -> dict[str, Any]:
    """The values before our first write. A value that was missing then cannot be written."""
    return set_values(overwritten)


def set_values(values: Spec) -> dict[str, Any]:
    """The values that are not None, as JSON."""
    return {name: plain(value) for name, value in values.items() if value is not None}
